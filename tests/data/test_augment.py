from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.data.augment import Augment, binary, row_keys
from morphospace.data.batches import Batches
from morphospace.data.pack import Split, in_memory_pack
from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError

from .conftest import one_line
from .test_batches import on_disk, pack_of, same

ALL = Augment(flip=True, shift=2, brightness=0.2)


def batches(split: Split, **more: object) -> Batches:
    return Batches(split, **{"batch_size": 12, "seed": 5, "signed": False, **more})  # type: ignore[arg-type]


def test_every_image_is_a_moved_mirrored_scaled_copy() -> None:
    """Against plain NumPy: each image must be one of the 2 x 5 x 5 moves of its own, times one factor."""
    split = pack_of(40).split("train")
    plain, varied = batches(split), batches(split, augment=ALL)
    seen = set()
    for index in range(20):
        one, other = plain.batch(index), varied.batch(index)
        assert torch.equal(one.rows, other.rows) and other.masks is not None
        for i, row in enumerate(one.rows.tolist()):
            pixels, masks = split.images[row], split.masks[row]  # type: ignore[index]
            found = []
            for mirrored in (False, True):
                for dy in range(-2, 3):
                    for dx in range(-2, 3):
                        y, x = np.clip(np.arange(8) + dy, 0, 7), np.clip(np.arange(9) + dx, 0, 8)
                        x = 8 - x if mirrored else x
                        if (masks[y][:, x] == other.masks[i].permute(1, 2, 0).numpy()).all():
                            found.append((mirrored, dy, dx, pixels[y][:, x].astype(np.float64)))
            assert len(found) == 1  # masks went the same way
            *move, moved = found[0]
            seen.add(tuple(move))
            got = other.images[i].permute(1, 2, 0).double().numpy() * 255
            factor = got[(got < 254) & (moved > 60)] / moved[(got < 254) & (moved > 60)]
            assert factor.min() >= 0.8 and factor.max() <= 1.2 and np.ptp(factor) < 1e-5
            assert np.abs(np.minimum(moved * factor[0], 255) - got).max() < 1e-3
    assert len(seen) == 50


@settings(max_examples=40, deadline=None)
@given(st.permutations(["l_eye", "r_eye", "skin", "l_brow", "r_brow", "l_lip", "hair_r", "r_"]), st.integers(0, 3))
def test_mirrored_images_swap_the_masks_of_left_and_right_parts(names: list[str], shift: int) -> None:
    """A mask of the left eye marks the left eye of the mirrored face: the other side of the same person."""
    rng, count = np.random.default_rng(len(names)), 24
    images = rng.integers(0, 256, (count, 8, 9, 1)).astype(np.uint8)
    masks = rng.integers(0, 2, (count, 8, 9, len(names))).astype(np.uint8)
    pack = in_memory_pack("faces", Split(images, masks=masks), mask_names=tuple(names))
    augment = Augment.of(DataSettings(flip=True, shift=shift), pack.mask_names)
    plain = Augment.of(DataSettings(flip=True, shift=shift))
    turned, moved = (batches(pack.split("train"), augment=a, batch_size=count).batch(0) for a in (augment, plain))
    assert torch.equal(turned.images, moved.images) and turned.masks is not None and moved.masks is not None
    flipped = augment.draw(5, 0, count, slice(0, count))[:, 0] < 0.5
    assert 0 < flipped.sum() < count
    partner = {"l_eye": "r_eye", "r_eye": "l_eye", "l_brow": "r_brow", "r_brow": "l_brow"}
    for place, name in enumerate(names):
        other = names.index(partner.get(name, name))
        for i in range(count):
            assert torch.equal(turned.masks[i, place], moved.masks[i, other if flipped[i] else place])


def test_augmentation_is_a_function_of_seed_and_index() -> None:
    split = pack_of(40).split("train")
    visited = batches(split, augment=ALL, binarise="dynamic")
    for index in (3, 0, 7, 3):
        same(visited.batch(index), batches(split, augment=ALL, binarise="dynamic").batch(index))
    other = batches(split, augment=ALL, seed=6)
    assert not torch.equal(other.batch(0).images, batches(split, augment=ALL).batch(0).images)


@pytest.mark.parametrize("binarise", ["none", "threshold", "fixed", "dynamic"])
def test_ranks_together_see_what_one_process_sees(binarise: str) -> None:
    split = pack_of(40).split("train")
    whole = batches(split, augment=ALL, binarise=binarise).batch(4)
    slices = [batches(split, augment=ALL, binarise=binarise, rank=r, world=3).batch(4) for r in range(3)]
    assert torch.equal(torch.cat([s.images for s in slices]), whole.images)
    assert torch.equal(torch.cat([s.masks for s in slices]), whole.masks)  # type: ignore[misc]


def test_streamed_is_resident(tmp_path: Path) -> None:
    split = on_disk(pack_of(40), tmp_path / "p").split("train")
    for how in ("none", "dynamic"):
        made = [batches(split, augment=ALL, binarise=how, resident=r) for r in (True, False)]
        for index in range(4):
            same(made[0].batch(index), made[1].batch(index))


def test_fixed_and_sequential_are_never_varied() -> None:
    split = pack_of(40).split("train")
    plain, varied = batches(split), batches(split, augment=ALL)
    same(plain.fixed(7), varied.fixed(7))
    for one, other in zip(plain.sequential(), varied.sequential(), strict=True):
        same(one, other)


def test_dynamic_is_drawn_anew_for_training_and_fixed_for_validation() -> None:
    split = pack_of(12).split("train")
    one = batches(split, binarise="dynamic")
    first, second = one.batch(0), one.batch(1)
    order = [torch.argsort(b.rows) for b in (first, second)]
    assert not torch.equal(first.images[order[0]], second.images[order[1]])
    assert torch.equal(one.fixed(12).images, batches(split, binarise="dynamic", seed=99).fixed(12).images)
    assert torch.equal(one.fixed(12).images, torch.cat([b.images for b in one.sequential(5)]))
    fixed = batches(split, binarise="fixed")
    assert torch.equal(fixed.batch(0).images, fixed.fixed(12).images[fixed.batch(0).rows])


def test_binarised_values_and_their_range() -> None:
    split = pack_of(30).split("train")
    raw = torch.from_numpy(split.images[:12]).permute(0, 3, 1, 2)
    for how in ("threshold", "fixed", "dynamic"):
        assert set(batches(split, binarise=how).batch(0).images.unique().tolist()) == {0.0, 1.0}
        assert set(batches(split, binarise=how, signed=True).batch(0).images.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(batches(split, binarise="threshold").fixed(12).images, (raw >= 128).float())


def test_the_chance_of_one_is_the_grey_value() -> None:
    """z scores of 256 grey levels against the binomial; neighbours, in place and in key, are uncorrelated."""
    values = np.arange(256, dtype=np.float32)
    images = torch.from_numpy(np.broadcast_to(values[None, None, :, None], (50, 1, 256, 200)).copy())
    made = binary(images, row_keys(np.arange(50))).numpy()[:, 0]
    chance, count = values / 255, 50 * 200
    rate = made.mean(axis=(0, 2))
    assert rate[0] == 0 and rate[255] == 1
    score = (rate - chance)[1:-1] / np.sqrt(chance * (1 - chance) / count)[1:-1]
    assert np.abs(score).max() < 4.5 and 0.8 < score.std() < 1.2
    noise = made[:, 128] - chance[128]
    for pairs in (noise[:, 1:] * noise[:, :-1], noise[1:] * noise[:-1]):
        assert abs(pairs.mean()) < 4.5 * 0.25 / np.sqrt(pairs.size)


def test_the_draws_are_pinned() -> None:
    """Likelihoods of fixed binarisation are compared across versions, and runs are resumed by later ones."""
    images = torch.full((2, 1, 4, 4), 127.5)
    assert binary(images, row_keys(np.arange(2))).flatten().int().tolist() == PINNED
    drawn = ALL.draw(1, 2, 4, slice(0, 1))
    assert np.allclose(drawn, DRAWN, atol=1e-6)


PINNED = [0, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1]
DRAWN = [[0.2357776165008545, 0.7533557415008545, 0.3683193325996399, 0.9985212087631226]]


def test_settings() -> None:
    assert not Augment.of(DataSettings()) and Augment.of(DataSettings(flip=True)).flip
    for wrong in (
        {"shift": -1},
        {"shift": 65},
        {"shift": True},
        {"brightness": 1.0},
        {"brightness": float("nan")},
        {"brightness": "x"},
    ):
        with pytest.raises(SettingError) as caught:
            Augment(**wrong)  # type: ignore[arg-type]
        one_line(caught.value)
    with pytest.raises(SettingError, match="binarise = "):
        batches(pack_of(20).split("train"), binarise="often")
