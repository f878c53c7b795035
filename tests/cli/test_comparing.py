"""`morpho compare` and `morpho judge`, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import TINY, Morpho

BRIEF = ["--metrics", "fd,mse", "--features", "pixels", "--n", 60, "--device", "cpu"]


@pytest.fixture
def own_runs(runs: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Copies of the runs: what is measured is kept with a run, and the others' tests look for it."""
    return {name: Path(shutil.copytree(path, tmp_path / name)) for name, path in runs.items()}


def test_compare_says_the_numbers_and_writes_what_is_asked_for(
    morpho: Morpho, own_runs: dict[str, Path], tmp_path: Path
) -> None:
    files = {flag: tmp_path / f"report.{end}" for flag, end in (("out", "html"), ("csv", "csv"), ("latex", "tex"))}
    words = [word for flag, path in files.items() for word in (f"--{flag}", path)]
    said = morpho("compare", *own_runs.values(), *BRIEF, *words)
    assert said.code == 0 and all(path.stat().st_size > 500 for path in files.values())
    assert "FD[pixels] ↓" in said.out and "vae  " in said.out and "other samples or images" in said.out
    assert all(str(path) in said.out for path in files.values())
    told = morpho("compare", own_runs["vae"], own_runs["dcgan"], "--metrics", "none", "--json").json
    assert [run["run"] for run in told["runs"]] == ["vae", "dcgan"] and told["out"] is None
    assert told["differ"]["model"] == ["vae", "dcgan"]


def test_a_sweep_compares_in_one_go(morpho: Morpho, tmp_path: Path) -> None:
    words = ["sweep", "vae", *TINY, "--tower", "mlp", "--widths", 4, "--grid", "beta=1,4", "--out", tmp_path / "s"]
    said = morpho(*words, "--compare", "mse", "--compare-n", 40, "--checkpoint-images", 1000)
    page = tmp_path / "s" / "compare.html"
    assert said.code == 0 and f"side by side    {page}" in said.out and "MSE" in page.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["RUN"], "give two or more"),
        ([], "give two or more"),
        (["RUN", "RUN"], "is there twice"),
        (["RUN", "nowhere"], "no run.toml there"),
        (["RUN", "GAN", "--metrics", "fid"], "did you mean 'fd'"),
        (["RUN", "GAN", "--out", "page.pdf"], "out = 'page.pdf': must be a file name that ends in .html"),
        (["RUN", "GAN", "--csv", "table.html"], "csv = 'table.html': must be a file name that ends in .csv"),
        (["RUN", "GAN", "--latex", "/proc/none/t.tex"], "latex = '/proc/none/t.tex': '/proc' cannot be written to"),
    ],
)
def test_compare_refuses(morpho: Morpho, runs: dict[str, Path], words: list[str], why: str) -> None:
    names = {"RUN": str(runs["vae"]), "GAN": str(runs["dcgan"])}
    before = _written(runs)
    said = morpho("compare", *(names.get(word, word) for word in words))
    assert said.code == 2 and why in said.err and said.err.count("\n") == 1, said.err
    assert _written(runs) == before, "it was refused only after the work was done"


def _written(runs: dict[str, Path]) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for path in runs.values() for file in path.rglob("*") if file.is_file()}


def test_judge_makes_a_page_and_pools_answers(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = morpho("judge", runs["dcgan"], "--out", page, "--trials", 8, "--seconds", 1)
    assert said.code == 0 and "8 images, half of the test split" in said.out and "1 second;" in page.read_text()
    files = []
    for person in range(2):
        trials = [
            {"image": i, "truth": ("real", "generated")[i % 2], "answer": "real", "milliseconds": 400 + person}
            for i in range(8)
        ]
        files.append(tmp_path / f"{person}.json")
        files[-1].write_text(json.dumps({"page": "p", "run": "gan", "seconds": 1, "trials": trials}))
    said = morpho("judge", "--answers", *files)
    assert said.code == 0 and "gan: wrong on 50.0%" in said.out and "2 people" in said.out
    assert "100.0% (4 of 4)" in said.out and "0.0% (0 of 4)" in said.out
    told = morpho("judge", "--answers", files[0], "--json").json
    assert told["all"]["wrong"] == 4 and told["real"]["value"] == 0 and told["generated"]["value"] == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give a run to make a page of, or --answers to pool"),
        (["RUN"], "out = None: must be given"),
        (["RUN", "--out", "page.png"], "must be a file name that ends in .html"),
        (["RUN", "--out", "p.html", "--trials", "5"], "trials = 5: must be an even number"),
        (["RUN", "--answers", "a.json"], "needs no run and no --out"),
        (["--answers", "none.json"], "holds no answers"),
    ],
)
def test_judge_refuses(morpho: Morpho, runs: dict[str, Path], words: list[str], why: str) -> None:
    said = morpho("judge", *(str(runs["dcgan"]) if word == "RUN" else word for word in words))
    assert said.code == 2 and why in said.err and said.err.count("\n") == 1, said.err
