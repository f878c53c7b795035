"""Unpacks a picture that was sent; a large one in a process of its own.

Its memory ends with that process. And threads that unpack would hold Python's lock again and again, so that everybody's
decoded images would come late.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np

from morphospace.data.decode import decode
from morphospace.data.opening import read_header
from morphospace.data.rule import Rule
from morphospace.errors import DataError

APART_PIXELS = 4_000_000
SECONDS = 60.0
_REFUSED = 3  # exit status; the reason stands on standard error


def unpacked(data: bytes, rule: Rule) -> np.ndarray:
    """Return a picture's pixels, uint8 of `rule.shape`.

    Args:
        data: The encoded picture.
        rule: How large it becomes.

    Raises:
        DataError: If it is no whole picture, or takes too much time or memory.
    """
    header = read_header(data, rule.max_pixels)
    if header.height * header.width <= APART_PIXELS:
        return decode(data, rule)
    # -P: a folder in which somebody starts the studio is no place to import from.
    command = [sys.executable, "-P", "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, input=pickle.dumps((data, rule)), capture_output=True, timeout=SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise DataError(rule=f"takes longer than {SECONDS:g} s to unpack") from None
    if done.returncode == _REFUSED:
        raise DataError(rule=done.stderr.decode(errors="replace"))
    if done.returncode:
        raise DataError(rule="cannot be unpacked, perhaps for want of memory")
    return np.frombuffer(done.stdout, np.uint8).reshape(rule.shape)


def main() -> int:
    """Unpack what the studio writes to standard input."""
    os.nice(10)
    data, rule = pickle.load(sys.stdin.buffer)
    try:
        pixels = decode(data, rule)
    except DataError as error:
        sys.stderr.write(str(error))
        return _REFUSED
    sys.stdout.buffer.write(pixels.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
