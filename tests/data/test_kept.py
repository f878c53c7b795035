"""Packs that runs use: found by hash, kept, shown and freed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from morphospace.data.kept import cached_packs, find_pack, free_packs, keep_pack, note_use, users
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.data.prepare import CHANGED, anchored, changed_since, prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError

from .conftest import encoded, picture

Tree = Callable[..., Path]


def run_of(path: Path, pack: Pack) -> Path:
    """A run's folder, as far as a pack's user goes."""
    path.mkdir(parents=True)
    (path / "run.toml").write_text(f'[run]\ndata_hash = "{pack.hash}"\n')
    note_use(pack, path)
    return path


def of(base: Path) -> DataSettings:
    return DataSettings(data=f"folder:{base}")


def test_a_pack_stays_as_long_as_a_run_uses_it(tree: Tree, tmp_path: Path, cache: Path) -> None:
    base = tree("a", "b")
    first = prepare(of(base))
    run = run_of(tmp_path / "run", first)
    (base / "c.png").write_bytes(encoded(picture(7)))
    second = prepare(of(base))
    assert len(second.split("train")) == 3
    kept = find_pack(first.hash)
    assert kept is not None and len(kept.split("train")) == 2
    (base / "d.png").write_bytes(encoded(picture(8)))
    prepare(of(base))  # in the place of the second, which no run uses
    assert find_pack(second.hash) is None and find_pack(first.hash) is not None
    (run / "run.toml").unlink()
    assert users(first.hash) == []


def test_files_that_only_look_newer_make_no_second_pack(tree: Tree, tmp_path: Path, cache: Path) -> None:
    base = tree("a", "b")
    run_of(tmp_path / "run", prepare(of(base)))
    (base / "a.png").write_bytes((base / "a.png").read_bytes())
    prepare(of(base))
    assert len(list((cache / "packs").iterdir())) == 1


def test_a_copy_of_a_folder_does_not_make_the_first_look_changed(tree: Tree, tmp_path: Path) -> None:
    base = tree("a", "b")
    for name in ("0-copy", "z-copy"):  # one of them comes before the first in the cache, or after it
        shutil.copytree(base, tmp_path / name)
        prepare(of(tmp_path / name))
    pack = find_pack(prepare(of(base)).hash)
    assert pack is not None and changed_since(of(base), pack) == ""
    assert changed_since(of(tmp_path / "z-copy"), pack) == "" and changed_since(of(tmp_path / "0-copy"), pack) == ""
    os.utime(base / "a.png", (0, 0))
    assert changed_since(of(base), pack) == CHANGED


def test_a_users_own_pack_is_not_replaced_under_a_run(tree: Tree, tmp_path: Path) -> None:
    base = tree("a", "b")
    pack = prepare(of(base), out=tmp_path / "own")
    run = run_of(tmp_path / "run", pack)
    (base / "c.png").write_bytes(encoded(picture(7)))
    with pytest.raises(DataError, match=f"the run {run} uses the pack"):
        prepare(of(base), out=tmp_path / "own")
    (run / "run.toml").unlink()
    assert len(prepare(of(base), out=tmp_path / "own").split("train")) == 3


def test_a_pack_outside_the_cache_is_found_where_it_was_seen_last(tree: Tree, tmp_path: Path) -> None:
    pack = prepare(of(tree("a")), out=tmp_path / "own")
    note_use(pack, tmp_path / "run")
    assert find_pack(pack.hash) is not None
    (tmp_path / "own").rename(tmp_path / "moved")
    assert find_pack(pack.hash) is None
    note_use(prepare(DataSettings(data=str(tmp_path / "moved"))), tmp_path / "run")
    assert find_pack(pack.hash) is not None


def test_a_pack_in_memory_is_kept_with_everything_in_it(cache: Path) -> None:
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 255, (2050, 4, 4, 1)).astype(np.uint8),
        labels=np.arange(2050) % 3,
        attributes=rng.integers(0, 2, (2050, 2)).astype(np.uint8),
        factors=rng.normal(size=(2050, 1)).astype(np.float32),
    )
    pack = in_memory_pack(
        "mine",
        split,
        label_names=("a", "b", "c"),
        test=Split(split.images[:2], split.labels[:2], split.attributes[:2], split.factors[:2]),
    )  # type: ignore[index]
    keep_pack(pack)
    found = find_pack(pack.hash)
    assert found is not None and found.path is not None and found.path.is_relative_to(cache)
    assert (found.name, found.label_names, found.attribute_names) == ("mine", pack.label_names, pack.attribute_names)
    for name, each in pack.splits.items():
        for kind, array in each.arrays().items():
            assert np.array_equal(array, found.split(name).arrays()[kind])
    (one,) = cached_packs()
    assert one.given and one.free


def test_prune_frees_what_no_run_uses(tree: Tree, tmp_path: Path, cache: Path) -> None:
    names = ("used", "moved", "lost")
    packs = [prepare(of(tree(*"abc"[: i + 1], name=name))) for i, name in enumerate(names)]
    runs = [run_of(tmp_path / "runs" / name, pack) for name, pack in zip(names, packs)]
    for run in runs[1:]:
        run.rename(tmp_path / f"{run.name}-away")
    (cache / "packs" / "folder-x.partial-1").mkdir()
    shown = {one.path.name.split(".")[-1]: one for one in cached_packs()}
    assert shown["partial-1"].unfinished
    by_path = {one.path: one for one in cached_packs([tmp_path / "moved-away"])}
    assert [by_path[pack.path].free for pack in packs if pack.path] == [False, False, True]
    assert by_path[packs[2].path].gone == (runs[2],)  # type: ignore[index]
    free = [one for one in by_path.values() if one.free]
    assert free_packs(free) == sum(one.bytes for one in free)
    assert [find_pack(pack.hash) is None for pack in packs] == [False, False, True]
    assert len(list((cache / "packs").iterdir())) == 2


def test_a_pack_that_a_run_took_since_it_was_shown_is_not_freed(tree: Tree, tmp_path: Path) -> None:
    pack = prepare(of(tree("a")))
    shown = cached_packs()
    run_of(tmp_path / "run", pack)
    assert free_packs(shown) == 0 and find_pack(pack.hash) is not None


def test_what_a_strangers_run_says_names_no_file_elsewhere(cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    for hash in ("../../evil", "/etc/x", "", "0" * 31 + "/"):
        note_use(Pack("x", (8, 8, 1), {}, hash=hash), tmp_path / "run")
        assert users(hash) == [] and find_pack(hash) is None
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        ("folder:images", "folder:{here}/images"),
        ("folder:~/images", "folder:{home}/images"),
        ("folder:sub/../images", "folder:{here}/images"),
        ("zip:a.zip", "zip:{here}/a.zip"),
        ("npz:/x/a.npz", "npz:/x/a.npz"),
        ("wds:a-{00..02}.tar", "wds:{here}/a-{{00..02}}.tar"),
        ("wds:https://host/a.tar", "wds:https://host/a.tar"),
        ("hub:owner/name", "hub:owner/name"),
        ("hub:images", "hub:{here}/images"),
        ("images", "{here}/images"),
        ("toyfaces:8", "toyfaces:8"),
        ("digits", "digits"),
    ],
)
def test_a_source_means_the_same_from_any_folder(
    data: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert anchored(DataSettings(data=data)).data == whole.format(here=tmp_path, home=Path.home())
    assert anchored(DataSettings(root="x")).root == str(tmp_path / "x") and anchored(DataSettings()).root is None
