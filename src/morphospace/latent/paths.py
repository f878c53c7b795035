"""Paths between two codes: a straight line, along the sphere, and by a rotation.

All take a start and an end of shape (..., D) and one floating type, and t, a number or (T,); they return (..., D), or
(..., T, D) for a t of shape (T,), in that type. They compute in float64 (float32 where the device has no float64), pair
by pair: no pair's path depends on the rest of the batch. At t = 0 and t = 1 they return start and end bit for bit. All
raise a SettingError if the shapes or types of start and end differ, or if they are not floating.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.errors import SettingError, nearest, require

# Below this sine of the angle between two ends there is no plane to speak of, and the path is straight.
STRAIGHT = 1e-6


def linear(start: Tensor, end: Tensor, t: Tensor | float) -> Tensor:
    """Return points of the straight line, (1 - t) start + t end.

    In high dimension its middle lies nearer the origin than draws from N(0, I) do: the mean of two has norm
    sqrt(D / 2), not sqrt(D).

    Args:
        start: (..., D).
        end: (..., D).
        t: A number, or (T,). Values outside [0, 1] continue past start and end.

    Returns:
        (..., D), or (..., T, D) for a t of shape (T,).
    """
    pair = _Pair.of(start, end, t)
    return pair.finished(pair.straight())


def slerp(start: Tensor, end: Tensor, t: Tensor | float) -> Tensor:
    r"""Return points of the spherical interpolation of the raw vectors, by the angle of the normalised ones.

    .. math:: \frac{\sin((1 - t)\theta)}{\sin\theta} \text{start} + \frac{\sin(t\theta)}{\sin\theta} \text{end}

    Straight where sin(theta) < 1e-6 (the same direction, opposite ones) and where an end is zero. Between ends of one
    norm it is `rotate`. Between ends of different norms that are nearly opposite it swings far out, since the
    formula divides by a small sine; `rotate` does not.

    Arguments, result and errors are those of `linear`.

    Reference:
        Shoemake (1985), Animating rotation with quaternion curves; White (2016), Sampling generative networks.
    """
    pair = _Pair.of(start, end, t)
    sine = torch.where(pair.no_plane, 1.0, pair.angle.sin())
    turned = (((1 - pair.t) * pair.angle).sin() * pair.start + (pair.t * pair.angle).sin() * pair.end) / sine
    return pair.finished(torch.where(pair.no_plane, pair.straight(), turned))


def rotate(start: Tensor, end: Tensor, t: Tensor | float) -> Tensor:
    r"""Return points of the turn of the start's direction into the end's, in the plane that the two span.

    .. math:: ((1 - t) |\text{start}| + t |\text{end}|) \, (\cos(t\theta) u + \sin(t\theta) w)

    with u the start's direction, theta the angle to the end's, and w the unit vector across u in their plane. The
    angular speed is constant and the norm moves linearly, also past the end (t > 1), where the direction turns on;
    a norm that would fall below zero there stays zero. Straight where there is no plane: ends in the same direction
    or in opposite ones (sin(theta) < 1e-6; then the norm is that of the straight line), or a zero end.

    Arguments, result and errors are those of `linear`.
    """
    pair = _Pair.of(start, end, t)
    across = pair.towards - (pair.towards * pair.heading).sum(-1, keepdim=True) * pair.heading
    across = _direction(across)[0]
    norm = ((1 - pair.t) * pair.start_norm + pair.t * pair.end_norm).clamp(min=0)
    turned = norm * ((pair.t * pair.angle).cos() * pair.heading + (pair.t * pair.angle).sin() * across)
    return pair.finished(torch.where(pair.no_plane, pair.straight(), turned))


HOWS: dict[str, Callable[[Tensor, Tensor, Tensor | float], Tensor]] = {
    "linear": linear,
    "slerp": slerp,
    "rotate": rotate,
}


def along(start: Tensor, end: Tensor, steps: int, how: str = "slerp") -> Tensor:
    """Return `steps` points evenly spaced in t, including start and end.

    Args:
        start: (..., D).
        end: (..., D).
        steps: At least 2.
        how: `linear`, `slerp` or `rotate`.

    Returns:
        (..., steps, D), in the ends' type.

    Raises:
        SettingError: If there are fewer than two steps, or if there is no such path.
    """
    require(steps >= 2, "steps", steps, "must be at least 2, the two ends")
    if how not in HOWS:
        raise SettingError("how", how, f"no such path{nearest(how, HOWS)}")
    return HOWS[how](start, end, torch.linspace(0, 1, steps, dtype=torch.float64))


@dataclass(frozen=True)
class _Pair:
    """Start and end prepared: (..., 1 or no, D) beside t (T, 1) or (1,), all of one type.

    Attributes:
        start: The start in the type that is computed in.
        end: The end.
        t: Where.
        ends: The ends as they came.
        heading: The start's direction; zero for a zero start.
        towards: The end's direction.
        start_norm: Length of the start.
        end_norm: Length of the end.
        angle: Between the directions, in [0, pi].
        no_plane: Where the two span no plane.
    """

    start: Tensor
    end: Tensor
    t: Tensor
    ends: tuple[Tensor, Tensor]
    heading: Tensor
    towards: Tensor
    start_norm: Tensor
    end_norm: Tensor
    angle: Tensor
    no_plane: Tensor

    @classmethod
    def of(cls, start: Tensor, end: Tensor, t: Tensor | float) -> _Pair:
        """Check start and end and prepare them."""
        shapes = f"must be of the start's shape and type, {tuple(start.shape)} {start.dtype}; give two codes alike"
        require(start.shape == end.shape and start.dtype == end.dtype, "end", f"{tuple(end.shape)} {end.dtype}", shapes)
        require(start.is_floating_point(), "start", str(start.dtype), "must be of a floating type", "use .float()")
        require(start.dim() >= 1, "start", tuple(start.shape), "must be of shape (..., D)")
        working = torch.float32 if start.device.type == "mps" else torch.float64
        t = torch.as_tensor(t, dtype=working, device=start.device)
        require(t.dim() <= 1, "t", tuple(t.shape), "must be a number or of shape (T,)")
        ends = (start.unsqueeze(-2), end.unsqueeze(-2)) if t.dim() else (start, end)
        a, b = (tensor.to(working) for tensor in ends)
        (heading, start_norm), (towards, end_norm) = _direction(a), _direction(b)
        # Exact for nearly equal and nearly opposite directions alike, where an arccosine loses half its digits.
        apart, together = (heading - towards).norm(dim=-1, keepdim=True), (heading + towards).norm(dim=-1, keepdim=True)
        angle = 2 * torch.atan2(apart, together)
        no_plane = (angle.sin() < STRAIGHT) | (start_norm == 0) | (end_norm == 0)
        return cls(a, b, t.unsqueeze(-1), ends, heading, towards, start_norm, end_norm, angle, no_plane)

    def straight(self) -> Tensor:
        """Return the points of the straight line."""
        return (1 - self.t) * self.start + self.t * self.end

    def finished(self, points: Tensor) -> Tensor:
        """Return the points in the type of start and end, with these two exactly as given."""
        start, end = self.ends
        return torch.where(self.t == 0, start, torch.where(self.t == 1, end, points.to(start.dtype)))


def _direction(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit vectors and lengths (..., 1); a zero vector stays zero."""
    # Divided by the largest number first: the square of a large one would be infinite, that of a small one zero.
    most = vectors.abs().amax(-1, keepdim=True)
    scaled = vectors / torch.where(most == 0, 1.0, most)
    norm = scaled.norm(dim=-1, keepdim=True)
    return scaled / torch.where(norm == 0, 1.0, norm), norm * most
