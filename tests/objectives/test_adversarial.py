"""Loss pairs against hand numbers; unrolled updates against explicit ones."""

from __future__ import annotations

import math

import pytest
import torch

from morphospace.objectives.adversarial import (
    HINGE,
    LEAST_SQUARES,
    NONSATURATING,
    RELATIVISTIC,
    WASSERSTEIN,
    AdversarialLoss,
    balanced_weight,
    feature_distance,
    unrolled,
)

REAL, FAKE = torch.tensor([2.0, -0.5]), torch.tensor([0.25, -3.0])


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


HAND = [
    (
        NONSATURATING,
        {
            "real": [-log_sigmoid(2.0), -log_sigmoid(-0.5)],
            "fake": [-math.log(1 - 1 / (1 + math.exp(-0.25))), -math.log(1 - 1 / (1 + math.exp(3.0)))],
        },
        [-log_sigmoid(0.25), -log_sigmoid(-3.0)],
    ),
    (WASSERSTEIN, {"real": [-2.0, 0.5], "fake": [0.25, -3.0]}, [-0.25, 3.0]),
    (HINGE, {"real": [0.0, 1.5], "fake": [1.25, 0.0]}, [-0.25, 3.0]),
    (LEAST_SQUARES, {"real": [0.5, 1.125], "fake": [0.03125, 4.5]}, [0.28125, 8.0]),
    (RELATIVISTIC, {"paired": [-log_sigmoid(1.75), -log_sigmoid(2.5)]}, [-log_sigmoid(-1.75), -log_sigmoid(-2.5)]),
]


@pytest.mark.parametrize(("loss", "critic", "generator"), HAND, ids=["ns", "w", "hinge", "ls", "rel"])
def test_by_hand(loss: AdversarialLoss, critic: dict[str, list[float]], generator: list[float]) -> None:
    named = loss.critic(REAL, FAKE)
    assert {name: pytest.approx(values.tolist(), abs=1e-6) for name, values in named.items()} == critic
    assert loss.generator(FAKE, REAL).tolist() == pytest.approx(generator, abs=1e-6)


@pytest.mark.parametrize("loss", [case[0] for case in HAND], ids=["ns", "w", "hinge", "ls", "rel"])
def test_which_of_them_are_blind_to_a_constant(loss: AdversarialLoss) -> None:
    shift = torch.zeros((), requires_grad=True)
    total = sum(values.mean() for values in loss.critic(REAL.abs() + 1 + shift, FAKE + shift).values())
    (gradient,) = torch.autograd.grad(total, shift)
    assert (float(gradient.abs()) < 1e-6) == loss.shifts


def test_feature_distance_by_hand() -> None:
    real, fake = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [2.0, -2.0]])
    assert feature_distance(real, fake).tolist() == pytest.approx([((2 - 1) ** 2 + (3 + 1) ** 2) / 2])


def test_one_unrolled_step_on_a_quadratic_game_is_two_explicit_updates() -> None:
    """Critic minimises a w^2 / 2 - b w t, generator c w t + d t^2 / 2: all derivatives are known."""
    a, b, c, d, lr = 2.0, 3.0, 5.0, 0.7, 0.1
    t, w = torch.tensor(1.3, requires_grad=True), torch.tensor(-0.4, requires_grad=True)
    ahead = unrolled(lambda p: a * p["w"] ** 2 / 2 - b * p["w"] * t, {"w": w}, 1, lr)
    then = -0.4 - lr * (a * -0.4 - b * 1.3)
    assert ahead["w"].item() == pytest.approx(then)
    (gradient,) = torch.autograd.grad(c * ahead["w"] * t + d * t**2 / 2, t)
    # d/dt of c w'(t) t + d t^2 / 2, with dw'/dt = lr b: the second term is what looking ahead adds.
    assert float(gradient) == pytest.approx(c * then + c * 1.3 * lr * b + d * 1.3)


def test_several_unrolled_steps_are_so_many_explicit_ones() -> None:
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    ahead = unrolled(lambda p: (p["w"] ** 4).sum(), {"w": w}, 3, 0.01)
    by_hand = torch.tensor([1.0, -2.0])
    for _ in range(3):
        by_hand = by_hand - 0.01 * 4 * by_hand**3
    assert torch.allclose(ahead["w"], by_hand)
    assert unrolled(lambda p: p["w"].sum(), {"w": w}, 0, 0.01)["w"] is w


def test_a_balanced_weight_is_the_ratio_of_the_gradients_at_the_last_layer() -> None:
    """By hand: L = 3 u + 4 v has the gradient (3, 4), A = -u / 2 has (-1/2, 0); 5 / (1/2) = 10."""
    w = torch.tensor([2.0, -1.0], requires_grad=True)
    loss, adversarial = (w * torch.tensor([3.0, 4.0])).sum(), -0.5 * w[0]
    assert float(balanced_weight(loss, adversarial, w)) == pytest.approx(5 / (0.5 + 1e-4))
    assert float(balanced_weight(loss, 1e-12 * adversarial, w)) == pytest.approx(10_000)  # as published
