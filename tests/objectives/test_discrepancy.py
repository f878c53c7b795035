"""The squared MMD: a direct double sum, its mean where both sets are of one distribution, and its kernels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from morphospace.objectives.discrepancy import KERNELS, SCALES, squared_distances, squared_mmd


def codes(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(kernel: str, z: Tensor, y: Tensor) -> float:
    """Return the kernel of two codes, written out as the papers have it."""
    squared = sum((a - b) ** 2 for a, b in zip(z.tolist(), y.tolist()))
    dim = len(z)
    if kernel == "rbf":
        return math.exp(-squared / (2 * dim))
    return sum(2 * dim * s / (2 * dim * s + squared) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))


@pytest.mark.parametrize("kernel", KERNELS)
@given(n=st.integers(2, 5), m=st.integers(2, 5), dim=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_it_is_the_double_sum_over_pairs(kernel: str, n: int, m: int, dim: int, seed: int) -> None:
    a, b = codes(seed, n, dim), 2 * codes(seed + 1, m, dim) + 0.3
    of_a = sum(by_hand(kernel, a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    of_b = sum(by_hand(kernel, b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(by_hand(kernel, a[i], b[j]) for i in range(n) for j in range(m)) / (n * m)
    assert float(squared_mmd(a, b, kernel)) == pytest.approx(of_a + of_b - 2 * across, abs=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_its_mean_is_zero_for_small_samples_of_one_distribution(kernel: str) -> None:
    """With every code compared with itself it would be about .3 (rbf): 2 (1 - E k) / 5."""
    drawn = codes(0, 2000, 2, 5, 3)
    found = torch.stack([squared_mmd(a, b, kernel) for a, b in drawn])
    error = float(found.std()) / math.sqrt(len(found))
    assert abs(float(found.mean())) < 3.5 * error < 0.1
    apart = torch.stack([squared_mmd(a, b + 1, kernel) for a, b in drawn[:500]])
    assert float(apart.mean()) > 10 * error


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_it_can_be_at_most(kernel: str) -> None:
    """Codes all in one place, far from others that are all in one place."""
    most = 2.0 * (len(SCALES) if kernel == "imq" else 1)
    assert float(squared_mmd(torch.zeros(4, 3), torch.full((4, 3), 1e6), kernel)) == pytest.approx(most, rel=1e-3)


def test_codes_that_fall_together_have_a_gradient() -> None:
    z = torch.zeros(4, 2, requires_grad=True)
    squared_mmd(z, codes(0, 4, 2).float()).backward()
    assert z.grad is not None and z.grad.isfinite().all() and z.grad.abs().sum() > 0


def test_under_autocast_it_is_computed_in_full_precision() -> None:
    a, b = 30 + codes(0, 8, 4).float(), 30 + codes(1, 8, 4).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = squared_mmd(a, b)
    assert torch.equal(found, squared_mmd(a, b))


def test_distances_are_never_below_zero() -> None:
    far = 1e4 + 1e-3 * codes(0, 50, 3).float()
    assert float(squared_distances(far, far).min()) >= 0


def test_a_single_code_has_no_pairs() -> None:
    one, others = codes(0, 1, 3), codes(1, 5, 3)
    within = (sum(by_hand("imq", x, y) for x in others for y in others) - 5 * 7) / 20
    across = sum(by_hand("imq", one[0], y) for y in others) / 5
    assert float(squared_mmd(one, others)) == pytest.approx(within - 2 * across)
