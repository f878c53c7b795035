"""Colours of toy faces: whole numbers 0..255, from piecewise straight lines, so exact everywhere."""

from __future__ import annotations

import numpy as np

SKIN = np.array([(255, 226, 205), (246, 204, 168), (222, 168, 124), (172, 116, 80), (112, 72, 52)], np.float32)
IRIS = np.array([(92, 58, 36), (122, 92, 48), (86, 128, 78), (72, 128, 172), (64, 92, 152)], np.float32)
HAIR = np.array(
    [(44, 38, 46), (104, 66, 44), (184, 84, 46), (240, 200, 112), (198, 202, 212), (240, 138, 164), (62, 146, 152)],
    np.float32,
)
FRAMES = np.array([(46, 44, 56), (176, 52, 58), (48, 84, 148), (150, 104, 52)], np.float32)


def ramp(anchors: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Colours (B, 3) at places 0..1 along anchors that lie at equal distances."""
    place = at * np.float32(len(anchors) - 1)
    low = np.minimum(place.astype(np.int64), len(anchors) - 2)
    part = (place - low.astype(np.float32))[:, None]
    return anchors[low] * (1 - part) + anchors[low + 1] * part


def hue(at: np.ndarray, light: float, strength: float) -> np.ndarray:
    """Colours (B, 3) round the colour wheel: `light` is their middle grey 0..255, `strength` the swing about it."""
    turn = at[:, None] * 6 + np.array([0, 4, 2], np.float32)
    wave = np.clip(np.abs(turn % 6 - 3) - 1, 0, 1)
    return np.clip(light + strength * (2 * wave - 1), 0, 255).astype(np.float32)


def shade(colour: np.ndarray, factor: float) -> np.ndarray:
    """Darker, and a little warmer, by a factor below 1; towards white by what a factor is above 1."""
    if factor <= 1:
        lost = 1 - factor
        return colour * np.array([factor + 0.3 * lost, factor, factor - 0.12 * lost], np.float32)
    return colour + (255 - colour) * np.float32(factor - 1)
