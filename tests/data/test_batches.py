from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.data.batches import Batch, Batches, held_out
from morphospace.data.datasets import from_dataset
from morphospace.data.pack import Pack, Split, in_memory_pack, open_pack
from morphospace.data.writer import PackWriter
from morphospace.errors import DataError, SettingError

from .conftest import one_line


def pack_of(count: int, channels: int = 3) -> Pack:
    rng = np.random.default_rng(count)
    split = Split(
        rng.integers(0, 256, (count, 8, 9, channels)).astype(np.uint8),
        labels=rng.integers(0, 5, count),
        attributes=rng.integers(0, 2, (count, 3)).astype(np.uint8),
        factors=rng.random((count, 2)).astype(np.float32),
        masks=rng.integers(0, 2, (count, 8, 9, 2)).astype(np.uint8),
    )
    return in_memory_pack("noise", split)


def on_disk(pack: Pack, out: Path) -> Pack:
    with PackWriter(out) as writer:
        for name, split in pack.splits.items():
            for kind, array in split.arrays().items():
                writer.append(name, kind, array)
        names = {k: getattr(pack, k) for k in ("label_names", "attribute_names", "factor_names", "mask_names")}
        writer.finish(name=pack.name, shape=pack.shape, names=names, about={})
    return open_pack(out, verify=True)


def same(one: Batch, other: Batch) -> None:
    for kind in Batch.__slots__:
        left, right = getattr(one, kind), getattr(other, kind)
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == right.dtype and torch.equal(left, right)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data())
def test_each_epoch_is_a_permutation_and_nothing_is_dropped(count: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, count))
    batches = Batches(Split(np.zeros((count, 8, 8, 1), np.uint8)), batch_size=size, seed=3, signed=False)
    stream = torch.cat([batches.batch(i).rows for i in range(-(-3 * count // size))])
    epochs = [stream[e * count : (e + 1) * count].tolist() for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(count))
    if count > 10:
        assert epochs[0] != epochs[1] != epochs[2]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.integers(0, 2**40))
def test_a_batch_depends_on_seed_and_index_alone(indices: list[int], seed: int) -> None:
    split = Split(np.zeros((23, 8, 8, 1), np.uint8))
    visited = Batches(split, batch_size=7, seed=seed, signed=False)
    for index in indices:
        fresh = Batches(split, batch_size=7, seed=seed, signed=False)
        assert torch.equal(visited.batch(index).rows, fresh.batch(index).rows)
        assert len(visited._orders) <= 2


def test_seeds_differ() -> None:
    split = Split(np.zeros((100, 8, 8, 1), np.uint8))
    one, other = (Batches(split, batch_size=50, seed=s, signed=False).batch(0).rows for s in (0, 1 << 32))
    assert not torch.equal(one, other)


def test_the_order_is_pinned() -> None:
    """Runs are resumed by later versions: this order may never change."""
    rows = Batches(Split(np.zeros((10, 8, 8, 1), np.uint8)), batch_size=10, seed=0, signed=False).batch(0).rows
    assert rows.tolist() == PINNED


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_partition_the_global_batch(world: int) -> None:
    pack = pack_of(31)
    whole = Batches(pack.split("train"), batch_size=12, seed=1, signed=True)
    ranks = [
        Batches(pack.split("train"), batch_size=12, seed=1, signed=True, rank=r, world=world) for r in range(world)
    ]
    for index in range(8):
        parts = [rank.batch(index) for rank in ranks]
        assert torch.equal(torch.cat([p.rows for p in parts]), whole.batch(index).rows)
        assert torch.equal(torch.cat([p.images for p in parts]), whole.batch(index).images)


@pytest.mark.parametrize("signed", [False, True])
def test_streamed_equals_resident_bit_for_bit(tmp_path: Path, signed: bool) -> None:
    memory = pack_of(41)
    disk = on_disk(memory, tmp_path / "pack")
    assert disk.hash == memory.hash
    rows = np.arange(3, 40)[::-1].copy()
    made = [
        Batches(pack.split("train"), rows=rows, batch_size=8, seed=5, signed=signed, resident=resident)
        for pack, resident in ((memory, True), (disk, True), (disk, False))
    ]
    for index in (0, 1, 2, 9, 3, 4, 4):
        first, *others = (b.batch(index) for b in made)
        for other in others:
            same(first, other)
    for batches in made[1:]:
        same(made[0].fixed(5, 2), batches.fixed(5, 2))
        for one, other in zip(made[0].sequential(10), batches.sequential(10), strict=True):
            same(one, other)


def test_contents_are_the_right_rows() -> None:
    pack = pack_of(20)
    split = pack.split("train")
    batch = Batches(split, batch_size=6, seed=0, signed=False).batch(2)
    rows = batch.rows.numpy()
    assert batch.images.shape == (6, 3, 8, 9) and batch.images.is_contiguous(memory_format=torch.channels_last)
    assert np.allclose(batch.images.permute(0, 2, 3, 1).numpy(), split.images[rows] / 255, atol=1e-7)
    assert batch.labels is not None and (batch.labels.numpy() == split.labels[rows]).all()
    assert batch.attributes is not None and batch.attributes.dtype == torch.float32
    assert (batch.attributes.numpy() == split.attributes[rows]).all()
    assert batch.factors is not None and (batch.factors.numpy() == split.factors[rows]).all()
    assert batch.masks is not None and batch.masks.shape == (6, 2, 8, 9)
    assert (batch.masks.permute(0, 2, 3, 1).numpy() == split.masks[rows]).all()


def test_range_is_exact() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    for signed, low in ((False, 0.0), (True, -1.0)):
        images = Batches(Split(levels), batch_size=1, seed=0, signed=signed).fixed(1).images
        assert images.min() == low and images.max() == 1.0 and images.dtype == torch.float32


def test_sequential_sees_every_row_once_whatever_the_rank() -> None:
    batches = Batches(pack_of(10).split("train"), batch_size=4, seed=0, signed=False, rank=1, world=2)
    seen = [b.rows.tolist() for b in batches.sequential()]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches.fixed(3, 8).rows.tolist() == [8, 9]
    assert batches.images == 10


def test_batches_do_not_write_into_the_pack() -> None:
    pack = pack_of(8)
    before = pack.split("train").images.copy()
    Batches(pack.split("train"), batch_size=8, seed=0, signed=True).batch(0).images.zero_()
    assert (pack.split("train").images == before).all()


def test_one_copy_is_shared(tmp_path: Path) -> None:
    split = on_disk(pack_of(12), tmp_path / "p").split("train")
    a, b = (Batches(split, rows=r, batch_size=2, seed=0, signed=False) for r in (np.arange(6), np.arange(6, 12)))
    assert a.resident and a._held["images"] is b._held["images"]
    plain = pack_of(5).split("train")
    held = Batches(plain, batch_size=2, seed=0, signed=False)._held["images"]
    assert held.data_ptr() == plain.images.ctypes.data


def test_large_packs_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphospace.data.batches.free_bytes", lambda device: 1000)
    split = on_disk(pack_of(12), tmp_path / "p").split("train")
    assert not Batches(split, batch_size=2, seed=0, signed=False).resident


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"batch_size": 11}, "11.*10 images"),
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 2.5}, "whole number"),
        ({"batch_size": 4, "world": 3}, "divide among 3"),
        ({"batch_size": 4, "world": 2, "rank": 2}, "rank = 2"),
        ({"batch_size": 2, "rows": np.array([3, 10])}, "run to 10"),
    ],
)
def test_bad_settings(words: dict, match: str) -> None:
    with pytest.raises(SettingError, match=match) as caught:
        Batches(Split(np.zeros((10, 8, 8, 1), np.uint8)), seed=0, signed=False, **words)
    one_line(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.floats(0, 0.9))
def test_held_out_is_disjoint_complete_and_fixed(count: int, fraction: float) -> None:
    pack = in_memory_pack("n", np.zeros((count, 8, 8), np.uint8))
    (_, train), valid = held_out(pack, fraction)
    again = held_out(pack, fraction)
    assert len(train) >= 1
    rows = np.array([], int) if valid is None else valid[1]
    assert len(rows) == min(round(fraction * count), count - 1)
    assert sorted([*train, *rows]) == list(range(count))
    assert (again[0][1] == train).all() and (again[1] is None) == (valid is None)


def test_held_out_takes_the_packs_own() -> None:
    images = np.zeros((9, 8, 8), np.uint8)
    pack = in_memory_pack("n", images, valid=images[:4])
    (train, rows), valid = held_out(pack, 0.5)
    assert len(rows) == 9 and train is pack.split("train")
    assert valid is not None and valid[0] is pack.split("valid") and len(valid[1]) == 4
    assert held_out(pack, 0)[1] is None


@pytest.mark.parametrize("fraction", [-0.1, 0.91, float("nan"), "half", True])
def test_held_out_fraction(fraction: float) -> None:
    with pytest.raises(SettingError) as caught:
        held_out(in_memory_pack("n", np.zeros((9, 8, 8), np.uint8)), fraction)
    one_line(caught.value)


def test_from_dataset_takes_what_torch_datasets_give() -> None:
    pytest.importorskip("PIL")
    from PIL import Image

    array = np.random.default_rng(0).integers(0, 256, (8, 10, 3)).astype(np.uint8)
    forms = [
        Image.fromarray(array),
        torch.from_numpy(array).permute(2, 0, 1),
        torch.from_numpy(array).permute(2, 0, 1) / 255,
        array,
        array / 255.0,
    ]
    pack = from_dataset([(form, torch.tensor(i)) for i, form in enumerate(forms)], "forms")
    split = pack.split("train")
    assert pack.shape == (8, 10, 3) and pack.path is None
    assert (split.images == array).all()
    assert split.labels is not None and split.labels.tolist() == [0, 1, 2, 3, 4]
    assert from_dataset([array[..., 0]]).shape == (8, 10, 1)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [(np.zeros((8, 8), np.uint8), 0), (np.zeros((9, 8), np.uint8), 0)],
        [(np.full((8, 8), 1.5), 0)],
        [(np.full((8, 8), np.nan), 0)],
        [(torch.zeros(8, 8, 3), 0)],
        [(np.zeros((8, 8), np.int64), 0)],
        [(np.zeros((8, 8), np.uint8), {"a": "cat"})],
    ],
)
def test_from_dataset_refuses(samples: list) -> None:
    with pytest.raises(DataError) as caught:
        from_dataset(samples)
    one_line(caught.value)


PINNED = [2, 4, 3, 5, 1, 7, 6, 0, 9, 8]
