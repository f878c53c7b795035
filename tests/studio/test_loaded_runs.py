"""Runs are found, loaded when asked for, loaded again when training goes on, and put away by size."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

import morphospace as ms
from morphospace.errors import RunError, SettingError
from morphospace.runs.run import Run, load
from morphospace.studio.loaded_runs import MOST_RUNS, LoadedRuns, names_of, run_folders


def test_runs_are_found_below_folders_once_and_in_order(tiny: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny["vae"].parent
    assert run_folders([tiny["dcgan"], folder]) == [tiny["dcgan"], tiny["cvae"], tiny["vae"]]
    with pytest.raises(RunError, match="no run there and none below"):
        run_folders([tmp_path])
    with pytest.raises(RunError, match="no run there"):
        run_folders([tmp_path / "missing"])
    with pytest.raises(SettingError, match="needs a run"):
        LoadedRuns([])


def test_runs_that_begin_later_are_found_at_intervals_and_none_is_called_as_another(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "again"
    place.mkdir()
    (place / "vae").symlink_to(tiny["cvae"])
    shutil.copytree(tiny["dcgan"], place / "drawn-faces-0123456789ab")
    runs = LoadedRuns([tiny["vae"]], find=lambda: [tiny["vae"], *run_folders([place])])
    assert not runs.refresh()  # it has just looked
    monkeypatch.setattr("morphospace.studio.loaded_runs.LOOK_SECONDS", 0.0)
    assert runs.refresh() and not runs.refresh()
    assert list(runs.names.values()) == ["vae", "drawn faces", "cvae"]
    folders = [tmp_path / one for one in ("a/beta=1", "b/beta=1", "b/beta=2")]
    assert names_of(folders) == ["a/beta=1", "b/beta=1", "beta=2"]
    assert names_of([tmp_path / "c" / "beta=2"], {"beta=2"}) == ["c/beta=2"]
    hashed = [f"drawn-faces-{number:012x}" for number in (1, 2)]
    assert names_of([tmp_path / one for one in hashed]) == hashed
    many = LoadedRuns([tiny["vae"]], find=lambda: [tmp_path / str(i) for i in range(MOST_RUNS + 9)])
    assert many.refresh() and len(many.folders) == MOST_RUNS and not many.refresh()


@pytest.mark.parametrize("key", ["r9", "../r0", "/etc/passwd", "", "vae"])
def test_only_the_ids_that_it_gave_name_runs(tiny: dict[str, Path], key: str) -> None:
    runs = LoadedRuns(list(tiny.values()))
    for ask in (runs.folder, runs.space):
        with pytest.raises(SettingError, match="no such run here"):
            ask(key)
    assert runs.ready(key) is None


def test_models_are_put_away_by_bytes_the_one_asked_for_longest_ago_first(tiny: dict[str, Path]) -> None:
    loaded: list[str] = []

    def loader(path: Path) -> Run:
        loaded.append(path.name)
        return load(path)

    runs = LoadedRuns(list(tiny.values()), loader=loader)
    spaces = {key: runs.space(key) for key in ("r0", "r1", "r2")}
    assert loaded == ["vae", "dcgan", "cvae"]
    assert all(runs.space(key) is space for key, space in spaces.items())  # asked again, none is loaded again
    weights = {key: 4 * space.model.parameters() + space.decoder.bytes for key, space in spaces.items()}
    assert {key: space.bytes for key, space in spaces.items()} == weights and spaces["r1"].decoder.bytes > 0
    runs.most = weights["r1"] + weights["r2"]
    runs.space("r2"), runs.space("r1")
    assert runs.ready("r0") is None and runs.ready("r2") is spaces["r2"] and runs.ready("r1") is spaces["r1"]
    spaces["r2"].chart()  # codes and thumbnails count too
    assert spaces["r2"].bytes > weights["r2"]
    runs.space("r1")
    assert runs.ready("r2") is None and runs.ready("r1") is spaces["r1"]
    runs.most = 0
    assert runs.space("r0") is not spaces["r0"] and runs.ready("r0") is not None  # the last one always stays
    assert loaded == ["vae", "dcgan", "cvae", "vae"]


def test_a_new_checkpoint_is_picked_up(tmp_path: Path) -> None:
    small = {"data": "digits", "widths": (4,), "latent_dim": 2, "device": "cpu", "report_images": 320}
    ms.train("dcgan", out=tmp_path / "r", images=320, checkpoint_images=320, batch_size=32, **small)
    runs = LoadedRuns([tmp_path / "r"])
    runs.every = 3600.0
    first = runs.space("r0")
    ms.resume(tmp_path / "r", images=640)
    assert runs.space("r0") is first  # looked at a moment ago
    runs.every = 0.0
    assert runs.ready("r0") is None
    assert runs.space("r0").run.images == 640 and runs.ready("r0") is not first


def test_a_run_is_loaded_once_however_many_ask_at_the_same_time(tiny: dict[str, Path]) -> None:
    loaded: list[Path] = []

    def loader(path: Path) -> Run:
        loaded.append(path)
        return load(path)

    runs = LoadedRuns([tiny["cvae"]], loader=loader)
    threads = [threading.Thread(target=lambda: runs.space("r0").chart()) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(loaded) == 1
