"""The place of a toy face in its picture, and exact painting, front to back: the same bytes on every machine.

A layer is given by the light it lets through, 0..1 a pixel, from the signed distance to its edge. What is still to be
painted, T, starts at 65,536 a pixel; a layer takes T - round(T * light) of it, a whole number. A pixel is the sum of
those whole weights times whole colours, which float32 holds exactly (65,536 * 255 < 2^24), in whatever order the matrix
product adds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from morphospace.data.faces.traits import Traits

Window = tuple[slice, slice]
_WHOLE = np.float32(65536)
_F = np.float32


class Canvas:
    """B pictures of `side` x `side` pixels, painted at once.

    Args:
        count: B.
        side: Height and width in pixels.
        layers: Names of the layers, front to back; the last lies under everything.
    """

    def __init__(self, count: int, side: int, layers: Sequence[str]) -> None:
        self.count, self.side = count, side
        self.index = {name: i for i, name in enumerate(layers)}
        self.weights = np.zeros((count, len(layers), side, side), _F)
        self.colours = np.zeros((count, 3, len(layers)), _F)
        self.left = np.full((count, side, side), _WHOLE, _F)
        self.edge = _F(side / 2)  # pixels a unit: the picture is 2 units wide

    def fill(self, layer: str, colour: np.ndarray) -> None:
        """Give a layer its colour: whole numbers 0..255, (B, 3) or (3,)."""
        self.colours[:, :, self.index[layer]] = np.rint(colour)

    def light(self, distance: np.ndarray, opacity: float = 1.0) -> np.ndarray:
        """What a shape lets through, from the signed distance to its edge in units; negative inside."""
        through = distance * self.edge
        through += _F(0.5)
        np.clip(through, _F(0), _F(1), out=through)
        if opacity < 1:
            through *= _F(opacity)
            through += _F(1 - opacity)
        return through

    def put(self, layer: str, window: Window, through: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Paint a layer where nothing before it hides it.

        Args:
            layer: Its name.
            window: The part of the picture that `through` covers.
            through: (B, h, w), or of the pictures `rows` alone.
            rows: Which pictures; all when None.
        """
        at = (slice(None) if rows is None else rows, *window)
        before = self.left[at]
        after = np.multiply(before, through, out=through)
        np.rint(after, out=after)
        self.weights[(at[0], self.index[layer], *window)] = before - after
        self.left[at] = after

    def pictures(self, under: str) -> np.ndarray:
        """uint8 (B, side, side, 3), with the layer `under` wherever something is left."""
        self.weights[:, self.index[under]] += self.left
        flat = self.weights.reshape(self.count, len(self.index), -1)
        planes = np.matmul(self.colours, flat)
        planes += _WHOLE / 2
        planes *= 1 / _WHOLE  # a power of two: exact
        return planes.astype(np.uint8).transpose(0, 2, 1).reshape(self.count, self.side, self.side, 3)

    def mask(self, layers: Sequence[str]) -> np.ndarray:
        """uint8 0 or 1 (B, side, side): where these layers are at least half of what is seen."""
        total = self.weights[:, self.index[layers[0]]]
        for layer in layers[1:]:
            total = total + self.weights[:, self.index[layer]]
        return (total >= _WHOLE / 2).view(np.uint8)


@dataclass(slots=True)
class Frame:
    """The measures of B heads, each (B, 1, 1), and the places of all pixels in their frames, (B, side, side)."""

    u: np.ndarray
    v: np.ndarray
    x: np.ndarray
    y: np.ndarray
    m: Mapping[str, np.ndarray]

    def at(self, window: Window, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        where = (slice(None) if rows is None else rows, *window)
        return self.u[where], self.v[where]

    def of(self, name: str, rows: np.ndarray | None = None) -> np.ndarray:
        return self.m[name] if rows is None else self.m[name][rows]


def head_frame(traits: Traits, side: int) -> Frame:
    m = {name: value[:, None, None] for name, value in traits.values.items()}
    turn = m["tilt"] * _F(0.105)  # the tangent of half the angle: no sine is needed, and 1 is 12 degrees
    square = turn * turn
    cos, sin = (1 - square) / (1 + square), 2 * turn / (1 + square)
    m["half"] = 0.47 + 0.03 * (1 - m["head_length"])
    m["long"] = 0.51 + 0.11 * m["head_length"]
    m["taper"] = 0.05 + 0.15 * m["chin"]
    m["apart"] = 0.185 + 0.05 * m["eye_spacing"]
    m["side"] = traits.side[:, None, None]
    m["sx"], m["sy"] = 0.05 * m["shift_x"], 0.03 * m["shift_y"] - 0.01
    grid = (np.arange(side, dtype=_F) + _F(0.5)) * _F(2 / side) - 1
    x = grid[None, None, :] - m["sx"]
    y = grid[None, :, None] - m["sy"]
    # The head turns about the neck, 0.55 below its middle.
    y = y - _F(0.55)
    return Frame(cos * x + sin * y, cos * y - sin * x + _F(0.55), x, y + _F(0.55), m)


def window_of(side: int, left: float, right: float, top: float, bottom: float) -> Window:
    """Pixels from `left` to `right` and `top` to `bottom` in units, one more all round."""

    def span(low: float, high: float) -> slice:
        return slice(max(0, int((low + 1) * side / 2) - 1), min(side, int((high + 1) * side / 2) + 2))

    return span(top, bottom), span(left, right)
