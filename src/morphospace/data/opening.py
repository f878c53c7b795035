"""Opens the image files of strangers: what Pillow may try, how large an image may be, and one line for any error."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Union

from PIL import Image

from morphospace.data.formats import FORMATS, HEAD_BYTES, format_of, way_out
from morphospace.data.rule import MAX_PIXELS
from morphospace.data.values import GREY, has_alpha, kind_of
from morphospace.errors import DataError, one_line

Blob = Union[str, bytes, Callable[[], bytes]]  # noqa: UP007 - a Callable inside `|` is an error at run time on 3.11
"""What can be decoded: a path, the encoded bytes, or a picklable callable giving them (as for an archive)."""

_COPIED = ("WEBP", "AVIF", "JPEG2000", "HEIF")  # decoding one holds several copies: at most half of `max_pixels`
_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW_LIMIT = threading.Lock()


@dataclass(frozen=True, slots=True)
class Header:
    """Size and colour from an image file's header.

    Attributes:
        height: Height after EXIF orientation.
        width: Width after EXIF orientation.
        grey: Whether it has no colours.
        plain: Whether it has 8 bits and nothing transparent, so that ranges and backgrounds do not matter.
    """

    height: int
    width: int
    grey: bool
    plain: bool = True


class _Silence:
    """A context in which nothing reaches standard error: libtiff prints there, past Python, what our own error says.

    Several threads may be in it; the last to leave gives the stream back.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._kept = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                with contextlib.suppress(OSError):  # a process without standard error
                    sys.stderr.flush()
                    self._kept = os.dup(2)
                    nothing = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nothing, 2)
                    os.close(nothing)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._kept >= 0:
                os.dup2(self._kept, 2)
                os.close(self._kept)
                self._kept = -1


_SILENCE = _Silence()


@contextmanager
def opened(blob: Blob, max_pixels: int) -> Iterator[Image.Image]:
    """Give an image of which the header is read, and turn whatever Pillow raises into a DataError of one line."""
    try:
        with _stream(blob) as stream:
            head = stream.read(HEAD_BYTES)
            if not head:
                raise DataError(rule="empty file")
            kind = format_of(head)
            if kind is not None and kind not in FORMATS:
                raise DataError(rule=f"its format is {kind}", way_out=way_out(kind))
            stream.seek(0)
            image = _identified(stream)
            most = max_pixels // 2 if image.format in _COPIED else max_pixels
            if image.width * image.height > most:
                rule = f"{image.width}x{image.height} is more than {most:,} pixels"
                rule += f", the most of a {image.format}, of which several copies are made" * (most < max_pixels)
                raise DataError(rule=rule, way_out="raise --max-pixels if that is meant")
            try:
                with _SILENCE if image.format == "TIFF" else contextlib.nullcontext():
                    yield image
            finally:
                image.close()  # an error that is still being handled would keep the pixels
    except (DataError, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise DataError(rule="not an image of a known format") from None
    except Exception as error:  # plugins raise OSError, SyntaxError, struct.error and others on broken files
        raise DataError(rule=one_line(error)) from None


def _stream(blob: Blob) -> BinaryIO:
    return Path(blob).open("rb") if isinstance(blob, str) else io.BytesIO(blob if isinstance(blob, bytes) else blob())


def _identified(stream: BinaryIO) -> Image.Image:
    """Open an image of any size: the limit is ours, and Pillow's own would not say how large the image is."""
    try:
        return Image.open(stream, formats=FORMATS)
    except Image.DecompressionBombError:
        stream.seek(0)
        with _PILLOW_LIMIT:
            usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(stream, formats=FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = usual


def orientation(exif: Image.Exif) -> int:
    """Return the orientation, 1 to 8; from 5 on, height and width are swapped."""
    found = exif.get(_ORIENTATION)
    return found if found in UPRIGHT else 1


def read_header(blob: Blob, max_pixels: int = MAX_PIXELS) -> Header:
    """Size and colour of an image, without decoding it.

    Raises:
        DataError: If `decode` would not take the file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with opened(blob, max_pixels) as image:
            # A PNG's own `getexif` unpacks the whole image, to look behind it too.
            turn = orientation(Image.Image.getexif(image))
            # Of a TIFF, some versions of Pillow give the size as stored, and others as it is to be seen.
            tags: Any = getattr(image, "tag_v2", None)
            size = (tags[256], tags[257]) if tags else image.size
            width, height = size[::-1] if turn >= 5 else size
            return Header(height, width, image.mode in GREY, kind_of(image) == "8-bit" and not has_alpha(image))
