"""Sweeps through the Python API: runs, table, picture, and taking a stopped one up again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.data.pack import in_memory_pack
from morphospace.errors import RunError, SettingError, TrainingError
from morphospace.tools.sweep.grid import Combination
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Checkpointed, Event, Reported, Resumed
from tests.conftest import draw_blobs

SMALL: dict[str, Any] = {
    "data": "digits",
    "images": 128,
    "batch_size": 32,
    "widths": (4,),
    "latent_dim": 4,
    "device": "cpu",
    "report_images": 32,
    "checkpoint_images": 128,
}


def heard(events: list[tuple[str, str]]) -> Any:
    def each(run: Combination, number: int, count: int) -> Hooks:
        return Hooks(listeners=[lambda event: events.append((run.name, type(event).__name__))])

    return each


def test_a_grid_of_runs_one_table_one_picture(tmp_path: Path) -> None:
    events: list[tuple[str, str]] = []
    done = ms.sweep(
        "vae-gan", out=tmp_path / "s", grid={"lambda": [0, 0.5]}, seeds=2, mixing="mix", each=heard(events), **SMALL
    )
    names = [row.name for row in done.table.rows]
    assert names == ["lambda=0_seed=0", "lambda=0_seed=1", "lambda=0.5_seed=0", "lambda=0.5_seed=1"]
    assert list(dict.fromkeys(name for name, _ in events)) == names and not done.stopped
    for row in done.table.rows:
        run = ms.load(tmp_path / "s" / row.name)
        assert run.configuration.model.lambda_ == row.settings["lambda"]
        last = run.folder.read_metrics()[-1]
        assert row.valid_loss == last["valid/loss"] and row.mse == last["valid/vae/mse"]
        assert row.images == 128 and row.kl is not None and set(row.roughness) == {"vae", "critic"}
    assert len(done.csv.read_text().splitlines()) == 5 and done.csv.name == "sweep.csv"
    assert "Mean and standard deviation" in done.page.read_text()
    assert done.panels is not None
    facts = json.loads(Image.open(done.panels).info["morphospace"])
    assert facts["runs"] == names and Image.open(done.panels).height > 5 * 56


def test_the_same_again_trains_nothing_and_more_values_add_runs(tmp_path: Path) -> None:
    first = ms.sweep("vae", out=tmp_path / "s", grid={"beta": [1]}, **SMALL)
    events: list[tuple[str, str]] = []
    second = ms.sweep("vae", out=tmp_path / "s", grid={"beta": [1, 2]}, each=heard(events), **SMALL)
    assert [kind for name, kind in events if name == "beta=1"] == ["Resumed", "Finished"]
    assert ("beta=2", "Reported") in events
    assert second.table.rows[0] == first.table.rows[0] and len(second.table.rows) == 2
    with pytest.raises(RunError, match=r"another configuration \(batch_size = 16, was 32\)"):
        ms.sweep("vae", out=tmp_path / "s", grid={"beta": [1]}, **{**SMALL, "batch_size": 16})


def test_a_stopped_sweep_goes_on_to_the_same_end(tmp_path: Path) -> None:
    def stop_second(run: Combination, number: int, count: int) -> Hooks:
        def listen(event: Event) -> None:
            if number == 2 and isinstance(event, Reported) and event.clock.images == 64:
                os.kill(os.getpid(), signal.SIGINT)

        return Hooks(listeners=[listen])

    grid = {"beta": [0.5, 1.0, 2.0]}
    first = ms.sweep("vae", out=tmp_path / "s", grid=grid, each=stop_second, **SMALL)
    assert first.stopped == "SIGINT" and [row.note for row in first.table.rows] == ["", "SIGINT"]
    assert first.table.rows[1].images < 128
    resumed: list[tuple[str, str]] = []
    second = ms.sweep("vae", out=tmp_path / "s", grid=grid, each=heard(resumed), **SMALL)
    assert not second.stopped and [row.images for row in second.table.rows] == [128] * 3
    assert ("beta=1", Resumed.__name__) in resumed and ("beta=1", Checkpointed.__name__) in resumed
    straight = ms.sweep("vae", out=tmp_path / "t", grid={"beta": [1.0]}, **SMALL)
    weights = [ms.load(path / "beta=1").model.networks.state_dict() for path in (second.path, straight.path)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_that_breaks_is_noted_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from morphospace.training.engine import Engine

    real = Engine.step

    def step(engine: Engine) -> None:
        if engine.model.settings.beta == 2 and engine.steps == 2:  # type: ignore[attr-defined]
            raise TrainingError("vae/kl is nan at step 2")
        real(engine)

    monkeypatch.setattr(Engine, "step", step)
    done = ms.sweep("vae", out=tmp_path / "s", grid={"beta": [1, 2, 3]}, **SMALL)
    assert [row.note for row in done.table.rows] == ["", "vae/kl is nan at step 2", ""]
    assert done.table.columns[-1] == "note" and done.panels is not None


def test_a_combination_that_cannot_be_is_noted_and_the_others_go_on(tmp_path: Path) -> None:
    shared = {key: value for key, value in SMALL.items() if key != "batch_size"}
    done = ms.sweep("vae", out=tmp_path / "s", grid={"batch_size": [32, 5000, 64]}, **shared)
    notes = [row.note for row in done.table.rows]
    assert notes[0] == notes[2] == "" and notes[1].startswith("batch_size = 5000")
    assert done.page is not None and done.panels is not None
    with pytest.raises(SettingError, match="batch_size = 5000"):
        ms.sweep("vae", out=tmp_path / "t", grid={"batch_size": [5000, 32]}, **shared)


def test_models_without_an_encoder_and_datasets_of_ones_own(tmp_path: Path) -> None:
    gan = ms.sweep("dcgan", out=tmp_path / "g", grid={"lr": [1e-4, 1e-3]}, **SMALL)
    assert gan.table.rows[0].mse is None and "kl" not in gan.table.columns and gan.panels is not None
    pack = in_memory_pack("mine", train=draw_blobs(64, (8, 8, 1)))
    mine = {key: value for key, value in SMALL.items() if key != "data"}
    own = ms.sweep("vae", pack, tmp_path / "v", grid={"beta": [1, 2]}, **mine)
    assert own.panels is not None and own.table.rows[1].mse is not None


def test_what_cannot_work_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="beta = -1"):
        ms.sweep("vae", out=tmp_path / "s", grid={"beta": [1.0, -1.0]}, **SMALL)
    assert not (tmp_path / "s").exists()
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="is there already and is not a sweep"):
        ms.sweep("vae", out=tmp_path, grid={"beta": [1.0]}, **SMALL)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="without torchrun"):
        ms.sweep("vae", out=tmp_path / "s", grid={"beta": [1.0]}, **SMALL)


@pytest.mark.parametrize("text", ["", "[]", '{"model": "vae"}', '{"model": 1, "grid": {}, "seeds": 1}', "[" * 90_000])
def test_another_programs_sweep_json_is_left_alone(text: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(RunError, match=r"its sweep\.json is not a sweep's") as refused:
        ms.sweep("vae", out=tmp_path, grid={"beta": [1.0]}, **SMALL)
    assert "\n" not in str(refused.value) and (tmp_path / "sweep.json").read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.json"]


def test_a_sweeps_mark_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").symlink_to(tmp_path / "victim")
    with pytest.raises(RunError, match="is a link or no plain file"):
        ms.sweep("vae", out=tmp_path / "s", grid={"beta": [1.0]}, **SMALL)
    assert (tmp_path / "victim").read_text() == "mine"
