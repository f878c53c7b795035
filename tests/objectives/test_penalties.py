"""Gradient penalties of critics whose gradient is known."""

from __future__ import annotations

import pytest
import torch

from morphospace.objectives.penalties import between, one_centred, zero_centred


def linear(w: torch.Tensor):
    return lambda x: (x * w).flatten(1).sum(1)


def test_a_linear_critic_has_its_weights_as_gradient() -> None:
    torch.manual_seed(0)
    w, x = torch.randn(3, 4, 5, dtype=torch.float64), torch.randn(7, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    norm = float((w**2).sum().sqrt())
    assert one_centred(linear(w), x).tolist() == pytest.approx([(norm - 1) ** 2] * 7)
    assert zero_centred(linear(w)(x), x).tolist() == pytest.approx([norm**2 / 2] * 7)


def test_the_norm_is_over_the_whole_image_not_a_pixel() -> None:
    w = torch.full((1, 2, 2), 0.5)  # norm 1 over the image, 0.5 at each pixel
    assert one_centred(linear(w), torch.zeros(3, 1, 2, 2)).tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def test_a_quadratic_critic_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [0.0, -3.0]], requires_grad=True)
    assert zero_centred((x**2).sum(1), x).tolist() == pytest.approx([0.5 * 4 * 5, 0.5 * 4 * 9])


def test_the_penalty_teaches_the_critic() -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = one_centred(linear(w), torch.zeros(1, 2)).sum()
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    assert torch.autograd.grad(penalty, w)[0].tolist() == pytest.approx([2 * 4 * 0.6, 2 * 4 * 0.8])


def test_a_flat_critic_has_a_finite_derivative() -> None:
    w = torch.zeros(2, requires_grad=True)
    penalty = one_centred(linear(w), torch.zeros(1, 2)).sum()
    assert torch.isfinite(torch.autograd.grad(penalty, w)[0]).all()


def test_points_between_have_a_share_each() -> None:
    real, fake = torch.ones(3, 1, 2, 2), torch.full((3, 1, 2, 2), -1.0)
    points = between(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    assert points[:, 0, 0, 0].tolist() == pytest.approx([-1.0, -0.5, 1.0])
    assert (points == points[:, :, :1, :1]).all()
