"""Runs side by side through the Python API: the same seeds, the same images, numbers and what keeps them apart."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import morphospace as ms
from morphospace.data.pack import in_memory_pack
from morphospace.errors import RunError, SettingError
from morphospace.runs.folder import RunFolder
from morphospace.tools.compare.gather import _in_order, _row_names, _rows
from morphospace.tools.compare.page import page_of
from morphospace.training.precision import choose_precision
from tests.conftest import draw_blobs

SMALL: dict[str, Any] = {
    "data": "digits", "size": "8", "images": 128, "batch_size": 32, "widths": (8,), "latent_dim": 4, "device": "cpu",
    "report_images": 64, "checkpoint_images": 128,
}  # fmt: skip
BRIEF: dict[str, Any] = {"features": "pixels", "n": 60, "device": "cpu"}
VOID = {"meta", "img", "br", "input", "hr", "wbr"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "first": ("vae", {"tower": "mlp"}),
        "second": ("vae", {"tower": "mlp", "seed": 1}),
        "strict": ("vae", {"tower": "mlp", "beta": 8.0}),
        "gan": ("dcgan", {}),
        "told": ("cvae", {"likelihood": "gaussian"}),
    }
    for name, (model, more) in kinds.items():
        ms.train(model, out=folder / name, **{**SMALL, **more})
    return {name: folder / name for name in kinds}


@pytest.fixture(scope="module")
def compared(runs: dict[str, Path]) -> ms.Comparison:
    return ms.compare(list(runs.values()), metrics=("fd", "mse"), **BRIEF)


def column(made: Any, name: str) -> Any:
    return next(measure for measure in made.measures if measure.name.startswith(name))


def test_pictures_are_of_the_same_seeds_and_the_same_images(compared: ms.Comparison, runs: dict[str, Path]) -> None:
    by_name = {member.name: member for member in compared.members}
    assert list(by_name) == list(runs)
    for name, path in runs.items():
        assert np.array_equal(by_name[name].samples, ms.sample(path, 10, 0)), name
    ((originals, split),) = compared.originals.values()
    for name in ("first", "second", "strict", "told"):
        rebuilt = ms.reconstruct(runs[name], 10)
        assert np.array_equal(by_name[name].rebuilt, rebuilt.images) and np.array_equal(originals, rebuilt.originals)
        assert split == rebuilt.split == "test" and by_name[name].latent.points.shape[1] == 2
    assert by_name["gan"].rebuilt == by_name["gan"].latent == "no encoder"


def test_numbers_are_those_of_evaluate_and_say_why_they_are_not_there(
    compared: ms.Comparison, runs: dict[str, Path]
) -> None:
    table = compared.sampling
    assert table.spread == "sampling" and table.rows == tuple(runs)
    for row, path in enumerate(runs.values()):
        (theirs,) = ms.evaluate(path, metrics=["fd"], **BRIEF).results
        mine = column(table, "FD").cells[row]
        assert (mine.value, mine.low, mine.high, mine.n) == (theirs.value, theirs.low, theirs.high, 60)
    gan = column(table, "MSE").cells[3]
    assert gan.value is None and "no encoder" in gan.note
    logged = column(table, "logged mse").cells
    last = ms.load(runs["first"]).folder.read_metrics()[-1]
    assert logged[0].value == last["valid/vae/mse"] and logged[0].low is None and logged[3].note == "not in its log"


def test_seeds_share_a_row_and_have_the_spread_of_training(compared: ms.Comparison) -> None:
    assert [member.row for member in compared.members] == [0, 0, 1, 2, 3]
    assert compared.rows == ("first and its like", "strict", "gan", "told")
    assert compared.training is not None and compared.training.spread == "training"
    values = [cell.value for cell in column(compared.sampling, "FD").cells[:2]]
    cell = column(compared.training, "FD").cells[0]
    ends = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
    assert cell.value == pytest.approx(np.mean(values)) and (cell.low, cell.high) == pytest.approx(ends)
    assert (cell.n, cell.least, cell.most) == (2, min(values), max(values))
    alone = column(compared.training, "FD").cells[1]
    assert alone.value == column(compared.sampling, "FD").cells[2].value and alone.low is None and alone.n == 1


def test_errors_of_the_same_images_are_subtracted_image_by_image(
    compared: ms.Comparison, runs: dict[str, Path], tmp_path: Path
) -> None:
    one = column(compared.sampling, "MSE").contrasts[0, 2]
    errors = [ms.evaluate(runs[name], metrics=["mse"], **BRIEF).results[0].each for name in ("first", "strict")]
    assert one.paired and one.n == (60, 60)
    told = json.loads(ms.save_comparison(compared, tmp_path / "t.json").read_text())
    entry = next(
        e for e in told["differences"] if e["measure"] == "MSE" and (e["first"], e["second"]) == ("first", "strict")
    )
    assert entry["paired"] and entry["n"] == [60, 60] and entry["spread"] == "sampling" and entry["tests"] == 6
    theirs = stats.ttest_rel(errors[1], errors[0])
    assert entry["difference"] == pytest.approx(one.found.value) == pytest.approx(np.mean(errors[1] - errors[0]))
    ends = theirs.confidence_interval(0.95)
    assert (entry["low"], entry["high"], entry["p"]) == pytest.approx((ends.low, ends.high, theirs.pvalue))
    fd = next(e for e in told["differences"] if e["measure"] == "FD[pixels]")
    assert not fd["paired"] and fd["over"] == "two intervals" and fd["n"] is None
    assert {e["over"] for e in told["differences"] if e["spread"] == "training"} <= {"seeds"}
    null = next(number for number in told["numbers"] if number["measure"] == "FD[pixels]")["null"]
    assert null["n_real"] == null["n_fake"] == 60 and 0 < null["low"] <= null["mean"] <= null["high"]
    page = (ms.save_comparison(compared, tmp_path / "t.html")).read_text()
    assert (
        "paired, 60 images" in page
        and "unpaired, from two intervals" in page
        and "Holm" in page
        and "real images: " in page
    )


def test_what_differs_is_named_and_the_rest_is_not(compared: ms.Comparison) -> None:
    assert compared.differ["beta"] == [1.0, 1.0, 8.0, None, 1.0] and compared.differ["seed"] == [0, 1, 0, 0, 0]
    assert compared.differ["model"] == ["vae", "vae", "vae", "dcgan", "cvae"]
    assert compared.same["batch_size"] == 32 and "batch_size" not in compared.differ
    assert not {"root", "device", "report_images"} & {*compared.differ, *compared.same}
    computed = compared.members[0].cost
    usual = choose_precision("auto", torch.device("cpu"))  # bf16 where the processor multiplies it natively
    assert computed.precision == usual and computed.device.startswith("cpu, ") and "torch 2" in computed.device


class Tags(HTMLParser):
    """Follows which elements are open, and what they ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.alts: list[str | None] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self.asked += [str(told[name]) for name in ("src", "href", "srcset", "action") if name in told]
        if tag == "img":
            self.alts.append(told.get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()


def test_the_page_is_whole_asks_for_nothing_and_names_no_path(
    compared: ms.Comparison, runs: dict[str, Path], tmp_path: Path
) -> None:
    file = ms.save_comparison(compared, tmp_path / "report.html")
    page = file.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert not tags.open and tags.asked and all(url.startswith("data:image/png;base64,") for url in tags.asked)
    assert all(tags.alts) and len(tags.alts) == 5 + 1 + 4 + 4  # samples, originals, reconstructions, maps
    text = re.sub(r"data:image/png;base64,[^\"]*", "", page)
    assert "://" not in text and str(tmp_path.parent.parent) not in text and "/tmp" not in text
    for words in ("prefers-color-scheme:dark", "no encoder", "Numbers over seeds", "sampling spread", "<svg"):
        assert words in text, words
    pair = [page_of(ms.compare([runs["gan"], runs["strict"]], metrics=("fd",), **BRIEF)) for _ in range(2)]
    assert pair[0] == pair[1]


def test_the_table_in_full_as_csv_and_json(compared: ms.Comparison, tmp_path: Path) -> None:
    with ms.save_comparison(compared, tmp_path / "t.csv").open() as file:
        read = list(csv.DictReader(file))
    first = next(line for line in read if line["measure"].startswith("FD") and line["spread"] == "sampling")
    cell = column(compared.sampling, "FD").cells[0]
    assert (float(first["value"]), float(first["low"]), float(first["high"])) == (cell.value, cell.low, cell.high)
    assert json.loads(first["conditions"])["n_fake"] == 60 and first["n"] == "60"
    assert {line["spread"] for line in read} == {"sampling", "training"}
    told = json.loads(ms.save_comparison(compared, tmp_path / "t.json").read_text())
    counts = told["runs"][0]["parameters"]
    assert counts["encoder"] > 0 and counts["decoder"] > 0 and counts == told["runs"][1]["parameters"]
    assert len(told["numbers"]) == len(read) and told["runs"][3]["row"] == "gan"
    with pytest.raises(SettingError, match=r"must be a file name that ends in \.html or \.csv or \.json or \.tex"):
        ms.save_comparison(compared, tmp_path / "t.pdf")


def test_what_fails_for_one_run_is_said_in_its_place(runs: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(runs["first"], broken)
    for file in broken.glob("checkpoints/*/model.safetensors"):
        file.write_bytes(b"nonsense")
    made = ms.compare([runs["first"], broken], metrics=("fd",), **BRIEF)
    member = made.members[1]
    assert isinstance(member.samples, str) and "model.safetensors" in member.samples
    assert column(made.sampling, "FD").cells[0].value is not None
    assert column(made.sampling, "FD").cells[1].note == member.samples
    assert any(line.startswith("No numbers of broken") for line in made.warnings)
    assert "/" not in re.sub(r"checkpoints/\S+", "", member.samples) and member.cost.parameters is None
    ms.save_comparison(made, tmp_path / "page.html")


def test_other_data_is_said_aloud_and_measured_apart(runs: dict[str, Path], tmp_path: Path) -> None:
    larger = ms.train("vae", out=tmp_path / "first", **{**SMALL, "size": "16", "images": 64, "tower": "mlp"})
    made = ms.compare([runs["first"], larger.path], metrics=("mse",), **BRIEF)
    assert any("not all runs were trained on the same data" in line.lower() for line in made.warnings)
    assert len(made.originals) == 2 and made.rows == (f"{runs['first'].parent.name}/first", f"{tmp_path.name}/first")
    measure = column(made.sampling, "MSE")
    assert all(cell.value is not None for cell in measure.cells)
    assert "16x16x1" in ms.save_comparison(made, tmp_path / "p.html").read_text()


def test_a_copy_of_a_run_is_no_other_seed(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("first_seed0", "first_seed1"):
        shutil.copytree(runs["first"], tmp_path / name)
    folders = [RunFolder.open(path) for path in (tmp_path / "first_seed0", tmp_path / "first_seed1", runs["second"])]
    assert _rows(folders) == [0, 1, 0]
    assert _row_names(["a_seed0", "b", "a_seed1"], [0, 1, 0]) == ("a", "b")
    assert _row_names(["a", "a_seed1", "a_seed2"], [0, 1, 1]) == ("a", "a_seed1 and its like")
    fine = ms.train("vae", out=tmp_path / "fine", start_from=runs["first"], **{**SMALL, "tower": "mlp", "seed": 5})
    assert _rows([*folders, fine.folder]) == [0, 1, 0, 2]  # begun from other weights: no seed of theirs


def test_refusals_before_any_work(runs: dict[str, Path], tmp_path: Path) -> None:
    for given, more, message in (
        ([runs["first"]], {}, "give two or more"),
        ([runs["first"], runs["first"]], {}, "is there twice"),
        (list(runs.values()), {"metrics": ("fid",)}, "did you mean 'fd'"),
        (list(runs.values()), {"n": 1}, "n = 1"),
        (list(runs.values()), {"seed": -1}, "seed = -1"),
    ):
        with pytest.raises(SettingError, match=message):
            ms.compare(given, **more)
    with pytest.raises(RunError, match=r"no run\.toml"):
        ms.compare([runs["first"], tmp_path / "none"])
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(RunError, match="holds no run yet"):
        ms.compare([tmp_path])


def test_a_sweep_ends_in_the_same_page(tmp_path: Path) -> None:
    pack = in_memory_pack("mine", train=draw_blobs(64, (8, 8, 1)))
    mine = {key: value for key, value in SMALL.items() if key != "data"} | {"images": 64, "batch_size": 32}
    how = {"compare": ("mse",), "compare_n": 40}
    done = ms.sweep("vae", pack, tmp_path / "s", grid={"beta": [10.0]}, seeds=2, **how, **mine)
    assert done.comparison == tmp_path / "s" / "compare.html"
    page = done.comparison.read_text()
    assert "MSE" in page and "Numbers over seeds" in page and "2 seeds" in page and "no run" not in page
    made = ms.compare([tmp_path / "s"], metrics="none")
    assert made.rows == ("beta=10",) and len(made.members) == 2
    names = [measure.name for measure in made.sampling.measures]
    assert names == ["logged held-out loss", "logged mse", "logged kl"]  # one objective: its loss compares
    assert sorted(map(Path, ("beta=10", "beta=2", "beta=0.5")), key=_in_order)[2] == Path("beta=10")
    with pytest.raises(SettingError, match="no such metric"):
        ms.sweep("vae", pack, tmp_path / "t", grid={"beta": [1.0, 2.0]}, compare=("nonsense",), **mine)
    assert not (tmp_path / "t").exists()
