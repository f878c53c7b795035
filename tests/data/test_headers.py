"""Headers of arrays: what is no array says so, and a shape is compared with the file before anything is made of it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from morphospace.data.headers import array_header

GOOD = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8)}"


def file_of(header: str, rows: int = 4) -> tuple[io.BytesIO, int]:
    """Return an .npy file with a header of one's own, and its size."""
    head = header.encode() + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(rows * 64)
    return io.BytesIO(data), len(data)


def test_a_good_header_is_read() -> None:
    assert array_header(*file_of(GOOD)) == ((4, 8, 8), np.dtype(np.uint8))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (GOOD.replace("(4, 8, 8)", "(4, 8, 10**9)"), "."),
        (GOOD.replace("(4, 8, 8)", "(99999999999, 99999999, 3)"), "promises"),
        (GOOD.replace("(4, 8, 8)", "(True, 8, 8)"), "shape"),
        (GOOD.replace("(4, 8, 8)", f"({'9' * 3000},)"), "."),
        (GOOD.replace("'|u1'", "'|O'"), "Python objects"),
        (GOOD.replace("'|u1'", "[('a', '<u4'), ('a', '<u4')]"), "."),
        (GOOD.replace("'|u1'", "('<u4', (2, 2))"), "save plain numbers"),
        (GOOD.replace("False", "True"), "Fortran"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (4,", "."),
        ("(" * 300, "."),
        ("\0", "."),
        ("", "."),
    ],
)
def test_a_bad_header_is_refused_in_one_line(header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        array_header(*file_of(header))
    assert "\n" not in str(caught.value)
