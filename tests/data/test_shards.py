"""Packs in several files: the same rows, the same hash, and each process touches its own share only."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.data.batches import Batches
from morphospace.data.pack import Pack, open_pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.data.shards import Sharded
from morphospace.data.writer import PackWriter
from morphospace.errors import DataError

from .conftest import one_line
from .test_batches import pack_of, same

NAMES = ("label_names", "attribute_names", "factor_names", "mask_names")


def on_disk(pack: Pack, out: Path, most_bytes: int | None, step: int = 7) -> Pack:
    with PackWriter(out, most_bytes) as writer:
        for name, split in pack.splits.items():
            for kind, array in split.arrays().items():
                for first in range(0, len(array), step):
                    writer.append(name, kind, array[first : first + step])
        writer.finish(name=pack.name, shape=pack.shape, names={k: getattr(pack, k) for k in NAMES}, about={})
    return open_pack(out, verify=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.data())
def test_sharded_rows_are_those_of_one_array(sizes: list[int], data: st.DataObject) -> None:
    whole = np.arange(sum(sizes) * 6, dtype=np.int64).reshape(-1, 3, 2)
    several = Sharded(np.split(whole, np.cumsum(sizes)[:-1]))
    count = len(whole)
    assert several.shape == whole.shape and len(several) == count and several.nbytes == whole.nbytes
    rows = np.array(data.draw(st.lists(st.integers(-count, count - 1), max_size=12)), np.int64)
    assert (several[rows] == whole[rows]).all() and several[rows].shape == whole[rows].shape
    ends = st.none() | st.integers(-count - 2, count + 2)
    cut = slice(data.draw(ends), data.draw(ends), data.draw(st.sampled_from([None, 1, 2, -1, -3])))
    assert np.array_equal(several[cut], whole[cut])
    one = data.draw(st.integers(-count, count - 1))
    assert np.array_equal(several[one], whole[one])
    assert np.array_equal(np.asarray(several), whole)
    chosen = whole[:, 0, 0] % 5 == 0
    assert np.array_equal(several[chosen], whole[chosen])
    for wrong in (count, -count - 1):
        with pytest.raises(IndexError):
            several[wrong]


def test_a_pack_in_several_files_is_the_same_pack(tmp_path: Path) -> None:
    memory = pack_of(41)
    whole, several = on_disk(memory, tmp_path / "one", None), on_disk(memory, tmp_path / "many", 3 * 8 * 9 * 3)
    assert whole.hash == several.hash == memory.hash
    assert sorted(f.name for f in (tmp_path / "one").glob("train.images*")) == ["train.images.npy"]
    files = sorted((tmp_path / "many").glob("train.images*"))
    assert [f.name for f in files] == [f"train.images.{i:03d}.npy" for i in range(14)]
    assert all(len(np.load(f)) == 3 for f in files[:-1]) and len(np.load(files[-1])) == 2  # each a plain array
    made = [Batches(p.split("train"), batch_size=8, seed=5, signed=True, resident=r) for p, r in
            ((memory, True), (several, True), (several, False))]  # fmt: skip
    for index in (0, 1, 5, 6, 40):
        first, *others = (b.batch(index) for b in made)
        for other in others:
            same(first, other)


def test_packing_splits_large_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings(data="toyfaces:50", size="16")
    plain = prepare(settings, out=tmp_path / "plain")
    monkeypatch.setattr("morphospace.data.writer.MOST_BYTES", 20 * 16 * 16 * 3)
    several = prepare(settings, out=tmp_path / "several")
    assert plain.hash == several.hash and isinstance(several.split("train").images, Sharded)
    assert isinstance(plain.split("train").images, np.memmap)
    monkeypatch.undo()
    assert prepare(settings, out=tmp_path / "several").hash == plain.hash  # opened, not packed again
    assert json.loads((tmp_path / "several" / "manifest.json").read_text())["format"] == 2
    assert json.loads((tmp_path / "plain" / "manifest.json").read_text())["format"] == 1


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda p: (p / "train.images.001.npy").unlink(), r"images\.001\.npy: missing"),
        (lambda p: (p / "train.images.001.npy").write_bytes(b"x"), r"images\.001\.npy: has 1 bytes"),
        (lambda p: (p / "train.images.013.npy").rename(p / "train.images.000.npy"), r"images\.000\.npy"),
        (lambda p: rewritten(p, lambda files: files.pop()), "do not fit"),
        (lambda p: rewritten(p, lambda files: files[0].update(rows=2)), "3 rows, the manifest says 2"),
        (lambda p: rewritten(p, lambda files: files.clear()), "do not fit"),
        (lambda p: rewritten(p, lambda files: files[0].clear()), "manifest"),
        (lambda p: flipped(p / "train.images.004.npy"), r"train\.images\.\*\.npy: content"),
    ],
)
def test_spoiled_files_are_named(tmp_path: Path, spoil, match: str) -> None:
    path = tmp_path / "p"
    on_disk(pack_of(41), path, 3 * 8 * 9 * 3)
    spoil(path)
    with pytest.raises(DataError, match=match) as caught:
        open_pack(path, verify=True)
    one_line(caught.value)


def rewritten(path: Path, change) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest["splits"]["train"]["arrays"]["images"]["files"])
    (path / "manifest.json").write_text(json.dumps(manifest))


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


class Counted(Sharded):
    """Remembers which rows were read."""

    def __init__(self, whole: np.ndarray) -> None:
        super().__init__(np.array_split(whole, 4))
        self.read: list[int] = []

    def __getitem__(self, at):
        self.read += np.arange(len(self))[at].ravel().tolist()
        return super().__getitem__(at)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_each_process_reads_its_own_share_and_all_of_them_everything_once(world: int) -> None:
    import dataclasses

    pack, epochs, size = pack_of(48), 2, 16
    everything: list[int] = []
    for rank in range(world):
        images, masks = (Counted(getattr(pack.split("train"), kind)) for kind in ("images", "masks"))
        split = dataclasses.replace(pack.split("train"), images=images, masks=masks)
        batches = Batches(split, batch_size=size, seed=3, signed=False, rank=rank, world=world, resident=False)
        steps = epochs * len(pack.split("train")) // size
        seen = [row for i in range(steps) for row in batches.batch(i).rows.tolist()]
        assert batches._ahead is not None
        batches._ahead[1].result()  # of the batch after the last, read ahead
        assert sorted(images.read[: -size // world]) == sorted(seen) and images.read == masks.read
        assert len(images.read) == (steps + 1) * size // world
        everything += seen
    assert sorted(everything) == sorted(list(range(48)) * epochs)


def test_processes_that_share_a_memory_share_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = on_disk(pack_of(24), tmp_path / "p", None).split("train")
    each = split.images.nbytes + split.masks.nbytes  # type: ignore[union-attr]
    monkeypatch.setattr("morphospace.data.batches.free_bytes", lambda device: 3 * each)
    fits = [Batches(split, batch_size=8, seed=0, signed=False, world=world).resident for world in (1, 2)]
    assert fits == [True, False]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the kernel cannot be told")
@pytest.mark.parametrize("several", [False, True])
def test_rows_of_a_pack_larger_than_memory_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Every row that is read has been announced before, once a visit, at its place in its file."""
    memory = pack_of(400)
    split = on_disk(memory, tmp_path / "p", 70 * 8 * 9 * 3 if several else None).split("train")
    told: list[bytes] = []

    def advise(file: int, at: int, size: int, how: int) -> None:
        assert how == os.POSIX_FADV_WILLNEED
        told.append(os.pread(file, size, at))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    free = {"bytes": 10**9}
    monkeypatch.setattr("morphospace.data.batches.free_bytes", lambda device: free["bytes"])
    fits = Batches(split, batch_size=16, seed=1, signed=False, resident=False)
    for index in range(4):
        fits.batch(index)
    assert fits._ahead is not None and fits._ahead[1].result() and not told
    free["bytes"] = 1000
    batches = Batches(split, batch_size=16, seed=1, signed=False)
    assert not batches.resident
    reference = Batches(memory.split("train"), batch_size=16, seed=1, signed=False)
    for index in [*range(30), 7, 8, 90]:  # beyond an epoch, and back
        told_before = set(told)
        rows = reference.batch(index).rows.numpy()
        same(batches.batch(index), reference.batch(index))
        assert batches._ahead is not None
        batches._ahead[1].result()
        if 2 <= index < 30 or index == 8:
            assert {memory.split("train").images[row].tobytes() for row in rows} <= told_before
    assert len(told) < 2 * 16 * (30 + 3 * 8 + 3)  # images and masks, each announced once but for the jumps
