"""Path lengths of decoders whose pictures are known functions of the angle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.evaluation.smoothness import between, smoothness

NOISE = torch.randn(2, 200, 512, generator=torch.Generator().manual_seed(0))
UNIFORM = torch.rand(200, generator=torch.Generator().manual_seed(1))


def test_arcs_turn_evenly_and_keep_their_length() -> None:
    start, end = NOISE
    assert torch.allclose(between(start, end, torch.zeros(200, 1)), start, atol=1e-4)
    assert torch.allclose(between(start, end, torch.ones(200, 1)), end, atol=1e-4)
    half = between(start, end, torch.full((200, 1), 0.5))
    lengths = (start.norm(dim=1) + end.norm(dim=1)) / 2
    assert torch.allclose(half.norm(dim=1), lengths, rtol=1e-4)
    cosine = torch.nn.functional.cosine_similarity
    assert torch.allclose(cosine(start, half), cosine(half, end), atol=1e-4)
    assert torch.allclose(between(start, start, torch.full((200, 1), 0.3)), start, atol=1e-4)


def test_a_linear_decoder_has_the_arcs_own_length() -> None:
    """Pictures that are the codes themselves: speed is angle times radius, the detour arc over chord."""
    found = smoothness(lambda z: z.view(-1, 1, 16, 32), NOISE, UNIFORM, steps=64, epsilon=1e-2)
    radius, angle = math.sqrt(512), math.pi / 2
    assert found.path_length == pytest.approx((angle * radius) ** 2 / 512, rel=0.05)
    assert found.detour == pytest.approx(angle / (2 * math.sin(angle / 2)), rel=0.02)
    assert found.jump == pytest.approx(1, abs=0.05)


def test_a_leap_is_seen_and_stillness_too() -> None:
    def leaping(z: Tensor) -> Tensor:
        return (z[:, :1] > 0).float().view(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    opposite = NOISE.clone()
    opposite[0, :, 0], opposite[1, :, 0] = 3.0, -3.0
    found = smoothness(leaping, opposite, UNIFORM, steps=16)
    assert found.jump == pytest.approx(16) and found.detour == pytest.approx(1)
    still = smoothness(lambda z: torch.zeros(len(z), 1, 4, 4), NOISE, UNIFORM)
    assert (still.path_length, still.detour, still.jump) == (0, 1, 1)


def test_refusals() -> None:
    with pytest.raises(SettingError, match="steps = 1"):
        smoothness(lambda z: z, NOISE, UNIFORM, steps=1)
    assert np.isfinite(smoothness(lambda z: z.view(-1, 1, 16, 32), NOISE, UNIFORM, steps=2).jump)
