"""Where a toy face lies in its picture: its measures, and every pixel's place in the head's own frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morphospace.data.faces.canvas import Window
from morphospace.data.faces.traits import Traits

_F = np.float32


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
