"""Paths against closed forms, scipy's rotations, and their degenerate cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import geometric_slerp
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.latent.paths import HOWS, along, linear, rotate, slerp

VALUES = st.floats(-1e6, 1e6, allow_nan=False)
ENDS = hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 5)), elements=VALUES)


def codes(count: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_is_the_straight_line() -> None:
    start, end = codes(2, 7)
    t = torch.tensor([-0.5, 0.25, 2.0])
    expected = np.stack([(1 - s) * start.numpy() + s * end.numpy() for s in t.tolist()])
    assert np.allclose(linear(start, end, t), expected, rtol=1e-14)


def test_slerp_of_unit_vectors_is_scipys() -> None:
    start, end = (v / v.norm() for v in codes(2, 6))
    t = np.linspace(0, 1, 9)
    assert np.allclose(slerp(start, end, torch.from_numpy(t)), geometric_slerp(start.numpy(), end.numpy(), t))


def test_slerp_keeps_the_raw_norms_by_the_closed_form() -> None:
    start, end = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([3 * math.cos(1.0), 3 * math.sin(1.0), 0.0])
    t = 0.3
    weights = math.sin((1 - t) * 1.0) / math.sin(1.0), math.sin(t * 1.0) / math.sin(1.0)
    expected = [2 * weights[0] + 3 * math.cos(1.0) * weights[1], 3 * math.sin(1.0) * weights[1], 0.0]
    assert slerp(start, end, t).tolist() == pytest.approx(expected, rel=1e-6)


def test_rotate_turns_in_the_plane_at_constant_speed_with_a_linear_norm_also_past_the_end() -> None:
    start, end = codes(2, 8, seed=1)
    end = end * 4
    t = torch.linspace(-0.5, 2.5, 13, dtype=torch.float64)
    points = rotate(start, end, t)
    plane = np.linalg.svd(np.stack([start, end]))[2][2:]  # all directions across the plane
    assert np.abs(points.numpy() @ plane.T).max() < 1e-12
    expected = (1 - t) * start.norm() + t * end.norm()
    kept = expected > 0
    assert torch.allclose(points.norm(dim=1), expected.clamp(min=0), atol=1e-12)
    whole = math.acos(float(start @ end / start.norm() / end.norm()))
    units = points[kept] / points[kept].norm(dim=1, keepdim=True)
    turns = torch.arccos((units[1:] * units[:-1]).sum(1).clamp(-1, 1))
    assert torch.allclose(turns, torch.full_like(turns, whole / 4), atol=1e-9)


def test_rotate_is_slerp_between_ends_of_one_norm() -> None:
    start, end = (5 * v / v.norm() for v in codes(2, 9))
    assert torch.allclose(rotate(start, end, torch.linspace(0, 1, 5)), slerp(start, end, torch.linspace(0, 1, 5)))


def test_a_norm_below_zero_past_the_end_stays_zero() -> None:
    start, end = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0])
    assert rotate(start, end, 2.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_ends_are_exact_in_every_type(how: str, dtype: torch.dtype) -> None:
    start, end = codes(3, 5).to(dtype), codes(3, 5, seed=2).to(dtype)
    end[2] = -start[2]
    start[0, 0] = -0.0
    points = along(start, end, 4, how)
    assert points.shape == (3, 4, 5) and points.dtype == dtype
    assert torch.equal(points[:, 0], start) and torch.equal(points[:, -1], end)
    assert math.copysign(1, points[0, 0, 0].item()) == -1  # equal() takes -0 for 0


@pytest.mark.parametrize("how", HOWS)
def test_a_pair_does_not_depend_on_its_batch(how: str) -> None:
    start, end = codes(4, 6), codes(4, 6, seed=3)
    end[1], end[2] = -start[1], start[2]
    together = along(start, end, 5, how)
    for i in range(4):
        assert torch.equal(together[i], along(start[i], end[i], 5, how))
        for j, t in enumerate(torch.linspace(0, 1, 5, dtype=torch.float64)):
            assert torch.equal(HOWS[how](start[i], end[i], t), together[i, j])


@pytest.mark.parametrize("how", HOWS)
def test_where_the_two_span_no_plane_the_path_is_straight(how: str) -> None:
    code = codes(1, 4)[0]
    zero = torch.zeros(4, dtype=torch.float64)
    t = torch.linspace(-0.5, 1.5, 9, dtype=torch.float64)
    for start, end in ((code, code), (code, -code), (code, -2 * code), (code, 3 * code), (zero, code), (code, zero)):
        straight = (1 - t[:, None]) * start + t[:, None] * end
        assert torch.allclose(HOWS[how](start, end, t), straight, atol=1e-12)
    assert torch.equal(HOWS[how](zero, zero, t), zero.expand(9, -1))


def test_the_border_between_straight_and_turned_is_the_sine() -> None:
    """Opposite points turn as soon as there is a plane, and neither side of the border is wild."""
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for gap, middle in ((1e-7, 0.0), (1e-5, 1.0)):
        end = torch.tensor([-math.cos(gap), math.sin(gap)], dtype=torch.float64)
        for path in (slerp, rotate):
            assert float(path(start, end, 0.5).norm()) == pytest.approx(middle, abs=1e-6)


@settings(deadline=None, max_examples=150)
@given(ends=ENDS, t=st.floats(-3, 3), how=st.sampled_from(sorted(HOWS)))
def test_never_nan(ends: np.ndarray, t: float, how: str) -> None:
    start, end = torch.from_numpy(ends.copy())
    assert torch.isfinite(HOWS[how](start, end, t)).all()
    assert torch.isfinite(HOWS[how](start.float(), end.float(), t)).all()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e170, 1e300])
def test_very_short_and_very_long_codes_have_directions_too(how: str, size: float) -> None:
    start, end = codes(2, 4)
    expected = HOWS[how](start, end, 0.4)
    assert torch.allclose(HOWS[how](start * size, end * size, 0.4) / size, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("start", "end", "steps", "how", "words"),
    [
        (torch.zeros(3), torch.zeros(4), 5, "slerp", "start's shape"),
        (torch.zeros(3), torch.zeros(3).double(), 5, "slerp", "start's shape and type"),
        (torch.zeros(3).long(), torch.zeros(3).long(), 5, "rotate", "floating"),
        (torch.zeros(3), torch.zeros(3), 1, "linear", "at least 2"),
        (torch.zeros(3), torch.zeros(3), 5, "slurp", "did you mean 'slerp'"),
    ],
)
def test_refusals(start: Tensor, end: Tensor, steps: int, how: str, words: str) -> None:
    with pytest.raises(SettingError, match=words) as refused:
        along(start, end, steps, how)
    assert "\n" not in str(refused.value)
