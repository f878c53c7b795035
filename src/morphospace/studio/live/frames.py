"""The one format of frames: what a run shows at a moment, from the server, in a recording and in the page.

A frame is the length of its header (4 bytes, little-endian), the header as JSON, and the bytes of its arrays. The
header has the numbers, and for each array its name, its kind, how many values it holds, and what turns whole numbers
into values: `low + value * scale`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from morphospace.files import as_json

KINDS: Mapping[str, type[np.signedinteger[Any] | np.unsignedinteger[Any]]] = {"u8": np.uint8, "i16": np.int16}


def rounded(
    values: np.ndarray, kind: str, low: float, high: float, levels: int = 0
) -> tuple[np.ndarray, str, float, float]:
    """Return values as whole numbers of a kind, with what turns them back: kind, low and scale.

    Args:
        values: The values; what lies outside the range becomes its end.
        kind: Kind of whole numbers.
        low: The lowest value.
        high: The highest value.
        levels: How many different numbers there are; as many as the kind has if 0.
    """
    info = np.iinfo(KINDS[kind])
    most = levels - 1 if levels else int(info.max) - int(info.min)
    scale = (high - low) / most or 1.0
    steps = np.clip(np.nan_to_num(np.rint((values - low) / scale), nan=0), 0, most)
    whole = (steps + info.min).astype(KINDS[kind])
    return whole, kind, low - info.min * scale, scale


def packed(facts: Mapping[str, Any], arrays: Mapping[str, tuple[np.ndarray, str, float, float]]) -> bytes:
    """Return a frame.

    Args:
        facts: Numbers and texts; a number that is not finite becomes null.
        arrays: Whole numbers by name, as `rounded` returns them.
    """
    parts = [
        {"name": name, "kind": kind, "count": int(values.size), "low": low, "scale": scale}
        for name, (values, kind, low, scale) in arrays.items()
    ]
    header = json.dumps({**as_json(facts), "arrays": parts}, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(header)), header, *(values.tobytes() for values, *_ in arrays.values())])


def unpacked(frame: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a frame's facts, and its arrays as values."""
    (length,) = struct.unpack_from("<I", frame)
    facts: dict[str, Any] = json.loads(frame[4 : 4 + length])
    at, arrays = 4 + length, {}
    for part in facts.pop("arrays"):
        kind = np.dtype(KINDS[part["kind"]])
        whole = np.frombuffer(frame, kind, part["count"], at)
        arrays[part["name"]] = part["low"] + part["scale"] * whole.astype(np.float64)
        at += whole.nbytes
    return facts, arrays
