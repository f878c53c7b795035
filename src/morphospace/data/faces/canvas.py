"""Paints layers front to back with exact arithmetic, so that a picture is the same bytes on every machine.

A layer is given by the light it lets through, 0..1 a pixel, from the signed distance to its edge. What is still to be
painted, T, starts at 65,536 a pixel; a layer takes T - round(T * light) of it, a whole number. A pixel is the sum of
those whole weights times whole colours, which float32 holds exactly (65,536 * 255 < 2^24), in whatever order the matrix
product adds them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
