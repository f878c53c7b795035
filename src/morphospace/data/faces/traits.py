"""What a toy face looks like, as numbers: drawn by hashing (seed, face, trait), never from a stream.

Face i of a seed is therefore the same whatever the count, the order or the number of processes, and since only
whole numbers and exactly rounded operations are used, it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

HAIR_STYLES = ("bald", "short", "swept", "long", "bob", "bun", "curly")
HAIR_COLOURS = ("black", "brown", "auburn", "blond", "silver", "pink", "teal")
GLASSES_FROM, BEARD_FROM = 0.70, 0.75

# Continuous traits and their range; each is uniform in it and independent of all others.
RANGES: Mapping[str, tuple[float, float]] = {
    "head_length": (0.0, 1.0),  # round to long
    "chin": (0.0, 1.0),  # wide to narrow
    "tilt": (-1.0, 1.0),  # to the left, to the right; 12 degrees at most
    "shift_x": (-1.0, 1.0),
    "shift_y": (-1.0, 1.0),
    "skin_tone": (0.0, 1.0),  # light to dark
    "hair_volume": (0.0, 1.0),
    "eye_size": (0.0, 1.0),
    "eye_spacing": (0.0, 1.0),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "eye_colour": (0.0, 1.0),  # brown over green to blue
    "brow_height": (0.0, 1.0),
    "brow_angle": (-1.0, 1.0),  # stern to worried
    "nose_size": (0.0, 1.0),
    "smile": (-0.7, 1.0),  # frown to smile
    "mouth_open": (0.0, 1.0),
    "background_hue": (0.0, 1.0),
    "clothes_hue": (0.0, 1.0),
}
_CHOICES = ("hair_style", "hair_colour", "glasses", "beard", "side", "frame_colour", "glasses_shape")
_COLUMNS = (*RANGES, *_CHOICES)

FACTORS = (*RANGES, "hair_style", "hair_colour", "glasses", "beard")
ATTRIBUTES = (
    "Smiling",
    "Open_Mouth",
    "Eyeglasses",
    "Beard",
    "Bald",
    "Long_Hair",
    "Bangs",
    "Curly_Hair",
    "Dark_Hair",
    "Blond_Hair",
    "Big_Eyes",
    "Long_Face",
)


def _mix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of 64-bit words whose output bits all depend on all input bits."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _uniform(seed: int, rows: np.ndarray, columns: int) -> np.ndarray:
    """(rows, columns) numbers in [0, 1), each a function of (seed, row, column) alone; exact in float32."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        start = _mix(np.array([seed % 2**64], np.uint64) + golden)
        faces = _mix(start + rows.astype(np.uint64) * golden)
        words = _mix(faces[:, None] + np.arange(1, columns + 1, dtype=np.uint64) * golden)
    return (words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)


@dataclass(frozen=True, slots=True)
class Traits:
    """Traits of B faces.

    Attributes:
        values: float32 (B,) by name: the continuous traits in their ranges.
        hair_style: Number in HAIR_STYLES, (B,).
        hair_colour: Number in HAIR_COLOURS, (B,).
        glasses: bool (B,).
        beard: bool (B,).
        side: 1 or -1: where the hair is parted, (B,).
        frame_colour: 0..3, (B,).
        round_glasses: bool (B,).
    """

    values: Mapping[str, np.ndarray]
    hair_style: np.ndarray
    hair_colour: np.ndarray
    glasses: np.ndarray
    beard: np.ndarray
    side: np.ndarray
    frame_colour: np.ndarray
    round_glasses: np.ndarray

    def factors(self) -> np.ndarray:
        """float32 (B, F), columns as FACTORS."""
        chosen = (self.hair_style, self.hair_colour, self.glasses, self.beard)
        return np.stack([*self.values.values(), *chosen], axis=1).astype(np.float32)

    def attributes(self) -> np.ndarray:
        """uint8 0 or 1 (B, A), columns as ATTRIBUTES."""
        value, style, colour = self.values, self.hair_style, self.hair_colour
        haired = style != HAIR_STYLES.index("bald")
        return np.stack(
            [
                value["smile"] > 0.2,
                value["mouth_open"] > 0.5,
                self.glasses,
                self.beard,
                ~haired,
                style == HAIR_STYLES.index("long"),
                style == HAIR_STYLES.index("bob"),
                style == HAIR_STYLES.index("curly"),
                haired & (colour <= HAIR_COLOURS.index("brown")),
                haired & (colour == HAIR_COLOURS.index("blond")),
                value["eye_size"] > 0.6,
                value["head_length"] > 0.6,
            ],
            axis=1,
        ).astype(np.uint8)


def draw_traits(seed: int, rows: np.ndarray) -> Traits:
    """The traits of some faces.

    Args:
        seed: Of the set.
        rows: Numbers of the faces, (B,).
    """
    table = dict(zip(_COLUMNS, _uniform(seed, rows, len(_COLUMNS)).T, strict=True))
    values = {}
    for name, (low, high) in RANGES.items():
        values[name] = table[name] * np.float32(high - low) + np.float32(low)
    return Traits(
        values,
        hair_style=(table["hair_style"] * len(HAIR_STYLES)).astype(np.int64),
        hair_colour=(table["hair_colour"] * len(HAIR_COLOURS)).astype(np.int64),
        glasses=table["glasses"] >= GLASSES_FROM,
        beard=table["beard"] >= BEARD_FROM,
        side=np.where(table["side"] < 0.5, np.float32(-1), np.float32(1)),
        frame_colour=(table["frame_colour"] * 4).astype(np.int64),
        round_glasses=table["glasses_shape"] < 0.5,
    )
