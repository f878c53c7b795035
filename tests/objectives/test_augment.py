"""Augmentation: what each policy does to a pixel, and that the generator learns through it."""

from __future__ import annotations

import pytest
import torch

from morphospace.objectives.augment import DRAWS, POLICIES, augment


def draws(count: int, **at: float) -> torch.Tensor:
    names = ("brightness", "saturation", "contrast", "down", "right", "top", "left")
    row = torch.tensor([at.get(name, 0.5) for name in names])
    return row.expand(count, DRAWS)


@pytest.mark.parametrize("policies", [("colour",), ("translation",), ("cutout",), tuple(POLICIES)])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_pass_and_equal_draws_change_equally(policies: tuple[str, ...], channels: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, channels, 10, 13, requires_grad=True)
    uniform = torch.rand(4, DRAWS)
    changed = augment(images, policies, uniform)
    assert changed.shape == images.shape and not torch.equal(changed, images)
    (gradient,) = torch.autograd.grad((changed * torch.randn_like(changed)).sum(), images)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()
    # Real and fake are treated alike: what happens depends on the draws alone, and on no other image of the batch.
    assert torch.allclose(augment(images[2:3], policies, uniform[2:3]), changed[2:3], atol=1e-6)


def test_no_policy_changes_nothing_and_middle_colours_are_kept() -> None:
    images = torch.randn(2, 3, 8, 8)
    assert augment(images, (), draws(2)) is images
    assert torch.allclose(augment(images, ("colour",), draws(2)), images, atol=1e-6)


def test_colour_by_hand() -> None:
    image = torch.tensor([[[[1.0]], [[0.0]], [[-1.0]]]])
    assert augment(image, ("colour",), draws(1, brightness=1.0)).flatten().tolist() == pytest.approx([1.5, 0.5, -0.5])
    assert augment(image, ("colour",), draws(1, saturation=1.0)).flatten().tolist() == pytest.approx([2.0, 0.0, -2.0])
    assert augment(image, ("colour",), draws(1, contrast=0.0)).flatten().tolist() == pytest.approx([0.5, 0.0, -0.5])


def test_translation_moves_whole_pixels_and_brings_zeros_in() -> None:
    image = torch.arange(256.0).view(1, 1, 16, 16) + 1
    moved = augment(image, ("translation",), draws(1, down=0.999, right=0.0))[0, 0]  # 2 down, 2 left
    assert torch.equal(moved[2:, :-2], image[0, 0, :-2, 2:])
    assert moved[:2].abs().sum() == 0 and moved[:, -2:].abs().sum() == 0
    assert torch.equal(augment(image, ("translation",), draws(1)), image)


def test_translation_reaches_every_offset_equally_often() -> None:
    image = torch.zeros(1, 1, 16, 16)
    image[0, 0, 8, 8] = 1
    uniform = torch.full((50, DRAWS), 0.5)
    uniform[:, 3] = (torch.arange(50) + 0.5) / 50
    rows = augment(image.expand(50, -1, -1, -1), ("translation",), uniform).sum((1, 3)).argmax(1)
    assert rows.bincount()[6:].tolist() == [10] * 5


def test_cutout_is_half_the_size_in_the_middle_and_less_at_the_rim() -> None:
    image = torch.ones(1, 1, 8, 8)
    assert float(augment(image, ("cutout",), draws(1)).sum()) == 64 - 16
    assert float(augment(image, ("cutout",), draws(1, top=0.0, left=0.0)).sum()) == 64 - 4
