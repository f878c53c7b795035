"""The header of an .npy file, read as what a stranger wrote."""

from __future__ import annotations

import math
import warnings
from typing import IO, Any

import numpy as np

from morphospace.errors import one_line

MOST_ROWS = 2**48  # along any axis


def array_header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of an array in C order; the stream then stands at its first number.

    Args:
        stream: The file from its beginning.
        size: Its bytes in all.

    Raises:
        ValueError: If it is no such header, holds Python objects, or promises other than `size` bytes; in one line.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of headers that Python 2 wrote, which are read all the same
            shape, fortran, dtype = read(stream)
    except Exception as error:  # numpy parses it as Python, and raises whatever the tokenizer or a type's name does
        raise ValueError(one_line(error)) from None
    if not all(type(side) is int and 0 <= side < MOST_ROWS for side in shape):
        raise ValueError(f"its shape is {str(shape)[:100]}")
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are never loaded; save plain numbers, or names as text")
    if dtype.itemsize == 0 or dtype.names or dtype.subdtype:
        raise ValueError(f"is of type {str(dtype)[:100]}; save plain numbers")
    if fortran and len(shape) > 1:
        raise ValueError("is in Fortran order; save np.ascontiguousarray of it")
    there, want = size - stream.tell(), math.prod(shape) * dtype.itemsize
    if there != want:
        raise ValueError(f"has {there:,} bytes of data, its header promises {want:,}")
    return shape, dtype
