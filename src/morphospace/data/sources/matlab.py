"""Arrays of numbers out of MATLAB's files of version 5; nothing else of such a file is looked at."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from morphospace.data.sources.base import damaged

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_HEAD = 128


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]], most: int) -> dict[str, np.ndarray]:
    """Read some arrays by name.

    Args:
        path: The file.
        shapes: The shape of each wanted array; 0 stands for any number.
        most: How many bytes an array may have; larger ones are passed over.

    Returns:
        The arrays in the file's order of bytes: their axes are those of MATLAB in reverse.

    Raises:
        DataError: If it is no such file, or lacks one of them in that shape.
    """
    found: dict[str, np.ndarray] = {}
    try:
        data = path.read_bytes()
        order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEAD])
        if order is None or data[124:126] not in (b"\0\1", b"\1\0"):
            raise ValueError("it is no MATLAB file of version 5")
        for kind, content in _elements(memoryview(data)[_HEAD:], order):
            if kind == _COMPRESSED:
                unpacker = zlib.decompressobj()
                head = unpacker.decompress(content, 8)
                inner, size = struct.unpack(order + "II", head)
                if inner != _MATRIX or size > most:
                    continue
                content = memoryview(unpacker.decompress(unpacker.unconsumed_tail, size))
            elif kind != _MATRIX:
                continue
            name, array = _matrix(content, order, shapes)
            if array is not None:
                found[name] = array
    except (OSError, ValueError, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise damaged(path, f"cannot be read ({error})") from None
    if missing := [name for name in shapes if name not in found]:
        raise damaged(path, f"lacks the array {missing[0]} of {'x'.join(str(n or 'N') for n in shapes[missing[0]])}")
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the bytes of each element; small ones stand in their own heads."""
    while len(data) >= 8:
        kind, size = struct.unpack(order + "II", data[:8])
        if kind >> 16:
            kind, size, first = kind & 0xFFFF, kind >> 16, 4
        else:
            first = 8
        if first + size > len(data) or (first == 4 and size > 4):
            raise ValueError("it is cut off")
        yield kind, data[first : first + size]
        data = data[8:] if first == 4 else data[first + size + (-size % 8 if kind != _COMPRESSED else 0) :]


def _matrix(content: memoryview, order: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, np.ndarray | None]:
    """Return the name of an array and, if it is wanted and has the wanted shape, its numbers."""
    parts = list(zip(range(4), _elements(content, order)))
    if len(parts) < 4:
        return "", None
    _, (_, sides), (_, name), (kind, values) = (part for _, part in parts)
    shape = tuple(np.frombuffer(sides, order + "i4").tolist())
    called = bytes(name).decode("ascii")
    wanted = shapes.get(called)
    if wanted is None or len(wanted) != len(shape) or any(w not in (0, s) for w, s in zip(wanted, shape)):
        return called, None
    array = np.frombuffer(values, order + _TYPES[kind]) if kind in _TYPES else None
    fits = array is not None and array.size == math.prod(shape)
    return called, array.reshape(shape[::-1]) if array is not None and fits else None
