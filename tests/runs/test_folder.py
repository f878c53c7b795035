"""The run folder: what is damaged says so in a line, and takes nothing else with it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from morphospace.errors import RunError
from morphospace.runs.configuration import resolve
from morphospace.runs.folder import RunFolder
from morphospace.runs.report import write_report

FACTS = {"data": "digits", "data_hash": "0", "data_given": False, "shape": [8, 8, 1], "custom": []}


def test_settings_that_lack_what_is_needed_are_refused(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "r", resolve("vae"), FACTS)
    assert RunFolder.open(tmp_path / "r").shape == (8, 8, 1)
    file = tmp_path / "r" / "run.toml"
    file.write_text(file.read_text().replace("shape = ", "shade = "))
    with pytest.raises(RunError, match=r"run\.toml is broken .*lacks shape"):
        RunFolder.open(tmp_path / "r")


@pytest.mark.parametrize("last", [b'{"step": 2, "im', b"\xff\xfe", b"7", b"{}"])
def test_lines_are_read_up_to_the_first_that_is_none(last: bytes, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "r", resolve("vae"), FACTS)
    run.metrics.write_bytes(b'{"step": 1, "images": 32}\n' + last + b"\n")
    assert run.read_metrics() == [{"step": 1, "images": 32}]


def test_null_is_a_number_that_was_not_finite(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "r", resolve("vae"), FACTS)
    run.metrics.write_text('{"step": 1, "images": 32, "vae/loss": null}\n')
    assert math.isnan(run.read_metrics()[0]["vae/loss"])
    conditions = {"n_real": 9, "split": "test"}
    entry = {"name": "FD", "value": None, "low": None, "high": None, "unit": "", "conditions": conditions}
    about = {"checkpoint": 32, "by": "fd", "better": "lower", "selection": {"fd": entry}, "report": {"fd": entry}}
    run.best.write_text(json.dumps(about))
    assert "nan" in write_report(run).read_text()
    run.best.write_text('{"selection": {"fd": 3}, "report": {}}')
    with pytest.raises(RunError, match=r"best\.json is broken"):
        run.read_best()
