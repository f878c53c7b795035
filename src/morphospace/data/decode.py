"""One encoded image -> uint8 pixels of an exact size; free of torch, because worker processes import it.

What happens to every image, in this order:

1. refused: more than `Rule.max_pixels` pixels (read from the header, before anything is unpacked), cut-off
   files, formats other than JPEG, PNG, BMP, GIF, WebP, TIFF, PPM and, where the libraries are there, AVIF, JPEG 2000
   and HEIF;
2. the first frame of an animation; the EXIF orientation is applied;
3. palettes, CMYK, YCbCr, bilevel, 16 bits and floats become 8 bits of RGB or grey (`values.py`), and what is
   transparent is laid on `Rule.background`, the same colour that `pad` puts around an image;
4. one antialiased resample in 8 bits straight from the crop box, so nothing is rounded twice. `nearest` picks pixels
   instead; where the sides divide, it takes one of each block.

JPEGs are decoded at a half, a quarter or an eighth where that still leaves at least twice the target on both
sides: quicker for photographs, and the resample still has pixels to average. So is a JPEG 2000 of more than
`LARGE_PIXELS`, which would take 19 bytes a pixel, if four times the target is left.

A large image goes through steps 2 to 4 in bands of rows, so that beside its own pixels only a few bands are in memory.
The result is the same, byte for byte: the resample works along the rows first, each row for itself, and then along the
columns (or along the columns first, as Pillow does).
"""

from __future__ import annotations

import ctypes
import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL
from PIL import Image

from morphospace.data.fitting import averages, nearest_pixels, padded, placement, resampling, resized
from morphospace.data.opening import UPRIGHT, Blob, opened, orientation
from morphospace.data.rule import Rule
from morphospace.data.values import Colours, Met, kind_of, to_uint8_image
from morphospace.errors import DataError

BAND_PIXELS = 1 << 20
LARGE_PIXELS = 16_000_000  # a JPEG 2000 of more is decoded at a reduced scale
_JPEG = ("JPEG", "MPO")
_PILLOW = int(PIL.__version__.partition(".")[0])


class Chunk(NamedTuple):
    """Some decoded images.

    Attributes:
        images: The good ones, (n, H, W, C).
        bad: Position and reason of each bad one.
        masks: (n, H, W, M), where there are any.
        met: What was met in the good ones.
    """

    images: np.ndarray
    bad: list[tuple[int, str]]
    masks: np.ndarray | None = None
    met: Met = Met()


def _draft(image: Image.Image, rule: Rule) -> None:
    """Let an image be decoded at a reduced scale where at least twice the target is left on both sides.

    JPEGs of any size, which is quicker. A JPEG 2000 only if it is large and four times the target is left: halved, its
    pixels lie up to half a pixel beside the middle of those that they stand for, a ninth of the target's.
    """
    large = image.format == "JPEG2000" and image.width * image.height > LARGE_PIXELS
    if not (large or image.format in _JPEG) or rule.resize == "nearest":
        return
    wide, high = (rule.height, rule.width) if orientation(image.getexif()) >= 5 else (rule.width, rule.height)
    ratios = image.width / (2 * wide), image.height / (2 * high)
    # `pad` scales by the longer edge, so there the shorter edge may end well under the target.
    room = max(ratios) if rule.crop == "pad" else min(ratios)
    room = room / 2 if large else room
    scale = next((scale for scale in (8, 4, 2) if room >= scale), 1)
    if large:
        image.reduce = min(scale.bit_length() - 1, _reductions(image))  # type: ignore[method-assign,assignment]
    elif scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def _reductions(image: Image.Image) -> int:
    """Return how many times a JPEG 2000 can be halved: as often as its first tile's header says."""
    stream: Any = image.fp  # type: ignore[attr-defined]
    at = stream.tell()
    stream.seek(0)
    head = stream.read(1 << 16)
    stream.seek(at)
    begin = head.find(b"\xff\x4f\xff\x51")
    place = head.find(b"\xff\x52", begin)
    return head[place + 9] if 0 <= begin < place < len(head) - 9 else 0


def decode(blob: Blob, rule: Rule) -> np.ndarray:
    """Decode one image to uint8 pixels of `rule.shape`.

    Raises:
        DataError: If this is not a whole image; one line says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and of large images; both are decided here
        return _decode(blob, rule, Met())


class _Upright:
    """A decoded image as the EXIF orientation says it is to be seen, read by bands of rows."""

    def __init__(self, image: Image.Image) -> None:
        image.load()  # which turns a TIFF, and takes the orientation away
        self.turn, self.kind, self.exact = orientation(image.getexif()), kind_of(image), image.format not in _JPEG
        image.load()
        self.image = image
        self.width, self.height = image.size[::-1] if self.turn >= 5 else image.size

    def part(self, left: int, top: int, right: int, bottom: int) -> Image.Image:
        """Return what a box holds."""
        wide, high = self.image.size
        box = {
            2: (wide - right, top, wide - left, bottom),
            3: (wide - right, high - bottom, wide - left, high - top),
            4: (left, high - bottom, right, high - top),
            5: (top, left, bottom, right),
            6: (top, high - right, bottom, high - left),
            7: (wide - bottom, high - right, wide - top, high - left),
            8: (wide - bottom, left, wide - top, right),
        }.get(self.turn, (left, top, right, bottom))
        part = self.image if box == (0, 0, wide, high) else self.image.crop(box)
        return part.transpose(UPRIGHT[self.turn]) if self.turn in UPRIGHT else part

    def bands(self, columns: bool = False) -> Iterator[tuple[int, Image.Image]]:
        """Yield bands of rows, or of columns, each with the number of its first one."""
        along, across = (self.height, self.width) if columns else (self.width, self.height)
        step = max(1, BAND_PIXELS // along)
        for first in range(0, across, step):
            last = min(first + step, across)
            yield first, self.part(*((first, 0, last, along) if columns else (0, first, along, last)))


def _decode(blob: Blob, rule: Rule, met: Met) -> np.ndarray:
    large = False
    try:
        with opened(blob, rule.max_pixels) as image:
            met.pages = _further_pages(image)
            met.paged = int(met.pages > 0)
            _draft(image, rule)
            upright = _Upright(image)
            large = upright.width * upright.height > BAND_PIXELS
            made = _in_bands(upright, rule, met) if large else _at_once(upright, rule, met)
            return np.array(padded(made, rule)).reshape(rule.shape)
    finally:
        if large:
            give_back()


def _further_pages(image: Image.Image) -> int:
    """Return how many pages or frames follow the first; the second picture of a photo (MPO) is a part of it."""
    if image.format in _JPEG or not getattr(image, "is_animated", False):
        return 0
    try:
        return max(1, int(getattr(image, "n_frames", 2)) - 1)
    except Exception:  # what follows may be damaged, which the first does not suffer from
        return 1
    finally:
        image.seek(0)


def _levels(upright: _Upright, rule: Rule, met: Met) -> Callable[[Image.Image], Image.Image]:
    """Return what makes 8 bits of grey or RGB of a part of the image."""
    met.deep, met.floats = int(upright.kind == "16-bit"), int(upright.kind == "float")
    return functools.partial(
        to_uint8_image, channels=rule.channels, kind=upright.kind, background=rule.background, span=rule.range, met=met
    )


def _at_once(upright: _Upright, rule: Rule, met: Met) -> Image.Image:
    levels = _levels(upright, rule, met)(upright.part(0, 0, upright.width, upright.height))
    if upright.exact and averages(levels.size, rule):
        met.few_colours = Colours.of(levels).few
    return resized(levels, placement(*levels.size, rule), rule)


def _in_bands(upright: _Upright, rule: Rule, met: Met) -> Image.Image:
    """Resample a large image: along the rows band by band, then the narrow rest along the columns; or the other way."""
    where, levels, colours = placement(upright.width, upright.height, rule), _levels(upright, rule, met), Colours()
    left, top, right, bottom = where.box
    wide, high = where.size
    if rule.resize == "nearest":
        rows = nearest_pixels(top, bottom, high, upright.height)
        columns = nearest_pixels(left, right, wide, upright.width)
        parts = [
            np.asarray(levels(band))[rows[(rows >= first) & (rows < first + band.height)] - first][:, columns]
            for first, band in upright.bands()
        ]
        return Image.fromarray(np.concatenate(parts))
    down = _columns_first(upright, where.size)
    rest = Image.new("L" if rule.channels == 1 else "RGB", (upright.width, high) if down else (wide, upright.height))
    for first, band in upright.bands(columns=down):
        whole = levels(band)
        colours.add(whole)
        if down:
            rest.paste(whole.resize((band.width, high), resampling(rule), box=(0, top, band.width, bottom)), (first, 0))
        else:
            rest.paste(
                whole.resize((wide, band.height), resampling(rule), box=(left, 0, right, band.height)), (0, first)
            )
    met.few_colours = colours.few if upright.exact and averages((upright.width, upright.height), rule) else 0
    return rest.resize((wide, high), resampling(rule), box=(left, 0, right, high) if down else (0, top, wide, bottom))


def _columns_first(image: _Upright, size: tuple[int, int]) -> bool:
    """Return whether Pillow resamples the columns before the rows: from 13 on, where they shrink by much more."""
    shorter, narrower = image.height - size[1], image.width - size[0]
    return _PILLOW >= 13 and shorter > 0 and shorter > 2 * narrower


def give_back() -> None:
    """Return freed memory to the system, which the C library would keep for later."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; others have none
        if trim is not None:
            trim(0)


def measure(blob: Blob, rule: Rule) -> Met:
    """Return the lowest and the highest value of an image, 8 bits included; transparency does not count.

    Raises:
        DataError: As for `decode`.
    """
    met = Met()
    with warnings.catch_warnings(), opened(blob, rule.max_pixels) as image:
        warnings.simplefilter("ignore")
        upright = _Upright(image)
        for _, band in upright.bands():
            if upright.kind == "8-bit":
                band = to_uint8_image(band) if band.mode not in ("RGBA", "LA") else band
                extremes: Any = band.getextrema()
                pairs = [extremes] if isinstance(extremes[0], int) else extremes[: 1 if band.mode == "LA" else 3]
                met.seen(min(low for low, _ in pairs), max(high for _, high in pairs))
            else:
                to_uint8_image(band, kind=upright.kind, span=(0, 1), met=met)
    return met


def measure_chunk(blobs: Sequence[Blob], rule: Rule) -> Chunk:
    """Measure many images; what a worker process runs. The chunk has no images."""
    return _each(blobs, rule, lambda blob, met: met.add(measure(blob, rule)))


def decode_chunk(blobs: Sequence[Blob], rule: Rule) -> Chunk:
    """Decode many images; what a worker process runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _each(blobs, rule, lambda blob, met: _decode(blob, rule, met))


def _each(blobs: Sequence[Blob], rule: Rule, read: Callable[[Blob, Met], np.ndarray | None]) -> Chunk:
    """Read each image, and collect the pixels, the failures and what was met."""
    good: list[np.ndarray] = []
    bad: list[tuple[int, str]] = []
    every = Met()
    for position, blob in enumerate(blobs):
        one = Met()
        try:
            pixels = read(blob, one)
        except DataError as error:
            bad.append((position, str(error)))
            continue
        every.add(one)
        if pixels is not None:
            good.append(pixels)
    return Chunk(np.stack(good) if good else np.empty((0, *rule.shape), np.uint8), bad, None, every)
