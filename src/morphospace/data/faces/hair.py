"""The hair of toy faces: a cap with a hairline, and what falls, is bound up or curls behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from morphospace.data.faces.canvas import Canvas, Frame, Window, window_of
from morphospace.data.faces.palette import shade
from morphospace.data.faces.shapes import cut, ellipse, join, ring
from morphospace.data.faces.traits import HAIR_STYLES, Traits

_F = np.float32
_STYLE = {name: i for i, name in enumerate(HAIR_STYLES)}

# By style: how much larger than the head the cap is, where the hairline's top lies and how it curves, how far its
# top is to the parted side, where hair ends below the ears, and half the width of a widow's peak.
_CAP = np.array(
    # grow, top, curve, parting, end, peak
    [
        (0.00, 0.00, 0.0, 0.00, 0.00, 0.0),  # bald
        (0.05, -0.34, 2.2, 0.00, 0.03, 0.2),  # short
        (0.065, -0.36, 0.62, 0.24, 0.00, 0.0),  # swept
        (0.065, -0.36, 1.1, 0.12, 0.85, 0.0),  # long
        (0.065, -0.27, 0.15, 0.00, 0.42, 0.0),  # bob
        (0.035, -0.37, 1.0, 0.00, 0.04, 0.0),  # bun
        (0.070, -0.34, 0.9, 0.00, 0.06, 0.0),  # curly
    ],
    np.float32,
)
# Curls behind and over the brow: (u, v, radius) in half heads; symmetric, so only the right ones are listed.
_CURLS = ((0.0, -1.1, 0.42), (0.46, -1.02, 0.42), (0.84, -0.72, 0.40), (1.04, -0.3, 0.36), (1.08, 0.08, 0.30))
_LOCKS = ((0.18, -0.76, 0.24), (0.52, -0.64, 0.24), (0.80, -0.38, 0.22))


def paint_hair(c: Canvas, f: Frame, t: Traits, hair: np.ndarray) -> tuple[Window, np.ndarray, np.ndarray] | None:
    """Paint what lies over the face; give what lies behind it: window, light and rows, to be painted in its turn."""
    for layer, factor in (("fringe", 1.0), ("mane", 0.84), ("shine", 1.28)):
        c.fill(layer, shade(hair, factor))
    rows = np.flatnonzero(t.hair_style != _STYLE["bald"])
    if not len(rows):
        return None
    win = window_of(c.side, -1, 1, -1, 1)
    u, v = f.at(win, rows)
    style = t.hair_style[rows]
    grow, top, curve, parting, end, peak = (_CAP[style, i][:, None, None] for i in range(6))
    full = 0.6 + 0.8 * f.of("hair_volume", rows)
    half, long = f.of("half", rows), f.of("long", rows)
    wide = half + grow * full
    cap = ellipse(u, v, wide, long + grow * full * _F(1.25))
    aside = np.abs(u - parting * f.of("side", rows)) - peak
    line = v - (top * (long / _F(0.56)) + curve * aside * aside)
    crown = cap
    cap = cut(cap, np.maximum(line, v - end))
    shine = _shine(u, v, half, long)
    long_hair = np.flatnonzero((style == _STYLE["long"]) | (style == _STYLE["bob"]))
    mane = np.full_like(cap, 1)
    if len(long_hair):
        mane[long_hair], strands = _falling(
            u[long_hair], v[long_hair], half[long_hair], end[long_hair], crown[long_hair], wide[long_hair]
        )
        cap[long_hair] = join(cap[long_hair], strands)
    buns = np.flatnonzero(style == _STYLE["bun"])
    if len(buns):
        mane[buns] = ring(u[buns], v[buns] + long[buns] + _F(0.08), _F(0.15) * full[buns] + _F(0.04))
    curly = np.flatnonzero(style == _STYLE["curly"])
    if len(curly):
        mane[curly] = _curls(u[curly], v[curly], half[curly], full[curly], _CURLS)
        cap[curly] = join(cap[curly], _curls(u[curly], v[curly], half[curly], full[curly], _LOCKS))
    c.put("shine", win, c.light(cut(shine, cap + _F(0.02)), 0.8), rows)
    c.put("fringe", win, c.light(cap), rows)
    behind = np.flatnonzero((mane < 0.5).any(axis=(1, 2)))
    return win, c.light(mane[behind]), rows[behind]


def _shine(u: np.ndarray, v: np.ndarray, half: np.ndarray, long: np.ndarray) -> np.ndarray:
    """A bright band across the crown, to the upper left."""
    band = np.abs(ellipse(u, v, half * _F(0.93), long * _F(0.93))) - _F(0.022)
    return cut(band, ring(u + half * _F(0.42), v + long * _F(0.72), 0.17))


def _falling(
    u: np.ndarray, v: np.ndarray, half: np.ndarray, end: np.ndarray, crown: np.ndarray, wide: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Hair that falls to `end`: all of it, which lies behind, and the strands before the ears."""
    low = (end + _F(0.05)) / 2
    x, y = np.abs(u) - (wide - _F(0.14)), np.abs(v - end + low) - (low - _F(0.14))
    corner = np.square(np.maximum(x, 0)) + np.square(np.maximum(y, 0))
    block = np.sqrt(corner) + np.minimum(np.maximum(x, y), 0) - _F(0.14)
    # Straight down from where the crown is widest.
    block = cut(block, -v)
    whole = join(block, cut(crown, v - _F(0.12)))
    inner = half * _F(0.86) - np.abs(u) + np.maximum(v - _F(0.1), 0) * _F(0.12)
    return whole, cut(cut(whole, inner), -v - _F(0.45))


def _curls(
    u: np.ndarray, v: np.ndarray, half: np.ndarray, full: np.ndarray, places: Sequence[tuple[float, float, float]]
) -> np.ndarray:
    near = None
    far = np.abs(u)
    for x, y, radius in places:
        one = ring(far - half * _F(x), v - half * _F(y), half * _F(radius) * (0.7 + 0.3 * full))
        near = one if near is None else np.minimum(near, one, out=near)
    assert near is not None
    return near
