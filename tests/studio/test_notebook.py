"""The explorer in a notebook: the exported page in a frame that may run its script, and nothing else."""

from __future__ import annotations

import base64
import re
import time
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import morphospace as ms
from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.studio import notebook
from morphospace.studio.page_file import Made
from tests.studio.browser import CHROMIUM, QUIET, Visitor, needed
from tests.studio.test_exported_page import LEVELS


class Frames(HTMLParser):
    """The frames of a notebook's output."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_it_is_the_exported_page_with_a_height(tiny: dict[str, Path], tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="morpho studio .* opens it, `morpho export .* writes it"):
        shown = ms.load(tiny["dcgan"]).explore(height=500)
    ((tag, frame),) = Frames(shown._repr_html_()).tags
    assert tag == "iframe" and frame["sandbox"] == "allow-scripts" and "height:500px" in str(frame["style"])
    ms.export(tiny["dcgan"], tmp_path / "page.html", format="html")
    assert frame["srcdoc"] == (tmp_path / "page.html").read_text()
    odd = """<p title='"' onload="a&amp;b">&quot;</p></iframe><script>hacked = 1</script>"""
    vars(shown)["page"] = Made({"index.html": odd}, {}, [odd])
    ((_, frame), *others) = Frames(shown._repr_html_()).tags
    assert frame["srcdoc"] == odd and others == [("div", {}), ("em", {})]
    with pytest.raises(SettingError, match="height = 20: must be from 200 to 4000"):
        ms.explore(tiny["dcgan"], height=20)


def test_in_a_notebook_it_says_nothing(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "in_notebook", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = ms.explore(tiny["dcgan"])
    assert "page" in vars(shown)  # made by now: what cannot be shown is an error of the call


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the frame is tried too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


def until(frame: Any, expression: str) -> None:
    """Wait until something is so in a frame, asked from outside: its policy forbids to evaluate texts."""
    end = time.monotonic() + 60
    while not frame.evaluate(expression):
        assert time.monotonic() < end, expression
        frame.page.wait_for_timeout(20)


def test_the_frame_decodes_and_every_tab_opens(browser: Any, tiny: dict[str, Path], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = ms.explore(tiny["cvae"])._repr_html_()
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><title>notebook</title><link rel=icon href=data:,><p>A cell</p>{output}")
    context = browser.new_context()
    visit = Visitor(context.new_page(), file.as_uri())
    visit.page.goto(file.as_uri())
    frame = visit.page.frames[1]
    frame.wait_for_selector("canvas.map[data-drawn]")
    assert frame.evaluate("[location.href.split('#')[0], origin]") == ["about:srcdoc", "null"]
    assert frame.evaluate("morphospace.client.worst") <= 1
    run = ms.load(tiny["cvae"])
    codes = seeded_noise(16, run.model.latent_dim, seed=5)
    assert run.model.conditioning is not None
    condition = run.model.conditioning.label("3").expand(16, -1)
    text = frame.evaluate(LEVELS, [codes.tolist(), {"label": "3"}])
    levels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(16, *run.model.shape[:2], 4)[..., :1]
    assert np.abs(levels.astype(int) - ms.Decoder(run).frames(codes, condition)).max() <= 1
    for room in ("Sliders", "Morph", "Project", "Runs", "Map"):
        frame.get_by_role("link", name=room, exact=True).click()
        until(frame, f"document.title.includes(' {room.lower()} ') && document.querySelector('.visit > *')")
        assert frame.url.startswith("about:srcdoc") and visit.page.url == file.as_uri()
    frame.get_by_role("button", name=re.compile("^Save")).first.click()
    until(frame, "document.querySelector('#status').textContent.includes('does not let the explorer save')")
    assert not visit.wrong
    context.close()
