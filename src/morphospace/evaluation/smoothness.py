"""How smoothly images change along paths through the latent space, in pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.errors import require


@dataclass(frozen=True)
class Smoothness:
    """How pictures change along arcs between draws from the prior; every number is a mean over the arcs.

    Attributes:
        path_length: E[d(g(t), g(t + e))^2 / e^2], t uniform on the arc, d the root mean square difference of pixels in
            [0, 1]: what Karras et al. 2019 call the perceptual path length, in pixels. Less is smoother; a space in
            which nothing changes has 0.
        detour: Length of the pictures' path over the straight distance of its ends: 1 for a cross-fade, which has
            no shape of its own between; the more the pictures do on their way, the larger.
        jump: Largest step over the mean step: 1 for an even change; a path that leaps from one kind of picture to
            another has as much as there are steps.
        path_lengths: The first, of every arc, (N,).
    """

    path_length: float
    detour: float
    jump: float
    path_lengths: Tensor


def between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Return points (N, D) on the arcs between rows of standard normal noise, at shares (N, 1) of the way.

    Directions turn at an even rate and lengths change evenly, so that a point between is as usual a draw as its ends.
    """
    lengths = start.norm(dim=1, keepdim=True), end.norm(dim=1, keepdim=True)
    a, b = start / lengths[0].clamp(min=1e-12), end / lengths[1].clamp(min=1e-12)
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    straight = a + share * (b - a)
    arc = (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / sine.clamp(min=1e-6)
    direction = torch.where(sine < 1e-4, straight, arc)
    return direction * (lengths[0] + share * (lengths[1] - lengths[0]))


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() - b.double()).flatten(1).square().mean(1).sqrt()


@torch.no_grad()
def smoothness(
    decode: Callable[[Tensor], Tensor], noise: Tensor, uniform: Tensor, *, steps: int = 16, epsilon: float = 1e-3
) -> Smoothness:
    """Measure how pictures change between pairs of draws.

    Args:
        decode: Standard normal noise (B, D) -> pictures (B, C, H, W) in [0, 1], not rounded to levels.
        noise: (2, N, D), the arcs' ends.
        uniform: (N,) in [0, 1), where on its arc each is looked at.
        steps: Steps of an arc, for detour and jump.
        epsilon: The short step, as a share of the arc.

    Reference: Karras, Laine & Aila 2019, "A style-based generator architecture", section 4.1.
    """
    require(2 <= steps <= 1000, "steps", steps, "must be from 2 to 1000")
    require(0 < epsilon < 1, "epsilon", epsilon, "must be between 0 and 1")
    start, end = noise
    at = uniform[:, None] * (1 - epsilon)
    short = _distance(decode(between(start, end, at)), decode(between(start, end, at + epsilon)))
    lengths = (short / epsilon) ** 2
    before = first = decode(start)
    walked = []
    for i in range(1, steps + 1):
        after = decode(between(start, end, torch.full_like(at, i / steps)))
        walked.append(_distance(before, after))
        before = after
    step = torch.stack(walked)
    straight, total = _distance(first, before), step.sum(0)
    # Arcs along which nothing changes have no shape: they say 1 to both.
    still = total <= 1e-9
    detour = (total / straight.clamp(min=1e-9)).masked_fill(still, 1.0)
    jump = (step.amax(0) / step.mean(0).clamp(min=1e-12)).masked_fill(still, 1.0)
    return Smoothness(float(lengths.mean()), float(detour.mean()), float(jump.mean()), lengths)
