"""The notebook in examples/, run as Jupyter runs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)  # of a machine that does much else beside it
TOUR = Path(__file__).parents[1] / "examples" / "tour.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The notebook's cells of code, run in a kernel of its own."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(TOUR, as_version=4)
    folder = str(tmp_path_factory.mktemp("tour"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def output(cells: list[Any], words: str) -> dict[str, str]:
    """Return what the one cell that holds these words displays in the end."""
    (cell,) = (cell for cell in cells if words in cell.source)
    found: dict[str, str] = cell.outputs[-1].data
    return found


def test_it_is_kept_without_outputs() -> None:
    import nbformat

    notebook = nbformat.read(TOUR, as_version=4)
    assert TOUR.stat().st_size < 10_000
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_training_shows_a_bar_and_leaves_a_line(cells: list[Any]) -> None:
    *packed, stream, ended = next(cell for cell in cells if cell.source.startswith("settings")).outputs
    assert all(one.data["text/plain"].startswith("packing 1,797/1,797 images  100%") for one in packed)
    assert stream.text.count("\n") == 1 and stream.text.startswith("vae on digits, 1,437 images of 16x16x1")
    assert re.fullmatch(r"trained in \d:\d\d, held-out loss [\d.]+: vae of digits, .*", ended.data["text/plain"])
    assert not any("text/html" in one.data for one in [*packed, ended])  # the bars have gone


def test_results_display_themselves(cells: list[Any]) -> None:
    assert "<h2>Intended use and limits</h2>" in output(cells, "model card")["text/html"]
    assert output(cells, "ms.sample(")["image/png"].startswith("iVBOR")
    assert "data:image/png" in output(cells, "ms.reconstruct(")["text/html"]
    assert "data:image/webp" in output(cells, "ms.interpolate(")["text/html"]
    compared = output(cells, "ms.compare(")["text/html"]
    assert "<table>" in compared and "<td" in compared and "PSNR" in compared
    assert "<table>" in output(cells, "ms.diagnose(")["text/html"]
    assert "digits.html" in output(cells, "ms.export(")["text/html"]
    for cell in cells:  # the words beside each of them, for whoever sees no pictures
        assert all(len(one.data.get("text/plain", "")) < 3000 for one in cell.outputs if "data" in one)


def test_the_explorer_is_a_frame_with_the_page(cells: list[Any]) -> None:
    shown = output(cells, ".explore(")["text/html"]
    assert shown.startswith("<iframe ") and 'sandbox="allow-scripts"' in shown and "height:640px" in shown
    assert "&lt;script type=&#34;application/json&#34; id=&#34;space&#34;&gt;" in shown
