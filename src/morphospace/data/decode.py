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

import contextlib
import ctypes
import functools
import io
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Union

import numpy as np
import PIL
from PIL import Image

from morphospace.data.formats import FORMATS, HEAD_BYTES, format_of, way_out
from morphospace.data.rule import MAX_PIXELS, Rule
from morphospace.data.values import GREY, Colours, Met, has_alpha, kind_of, to_uint8_image
from morphospace.errors import DataError, one_line

Blob = Union[str, bytes, Callable[[], bytes]]  # noqa: UP007 - a Callable inside `|` is an error at run time on 3.11
"""What can be decoded: a path, the encoded bytes, or a picklable callable giving them (as for an archive)."""

BAND_PIXELS = 1 << 20
LARGE_PIXELS = 16_000_000  # a JPEG 2000 of more is decoded at a reduced scale
_JPEG = ("JPEG", "MPO")
_COPIED = ("WEBP", "AVIF", "JPEG2000", "HEIF")  # decoding one holds several copies: at most half of `max_pixels`
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW = int(PIL.__version__.partition(".")[0])
_PILLOW_LIMIT = threading.Lock()


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
def _open(blob: Blob, max_pixels: int) -> Iterator[Image.Image]:
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


def _turn(exif: Image.Exif) -> int:
    """Return the orientation, 1 to 8; from 5 on, height and width are swapped."""
    found = exif.get(_ORIENTATION)
    return found if found in _UPRIGHT else 1


def read_header(blob: Blob, max_pixels: int = MAX_PIXELS) -> Header:
    """Size and colour of an image, without decoding it.

    Raises:
        DataError: If `decode` would not take the file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open(blob, max_pixels) as image:
            # A PNG's own `getexif` unpacks the whole image, to look behind it too.
            turn = _turn(Image.Image.getexif(image))
            # Of a TIFF, some versions of Pillow give the size as stored, and others as it is to be seen.
            tags: Any = getattr(image, "tag_v2", None)
            size = (tags[256], tags[257]) if tags else image.size
            width, height = size[::-1] if turn >= 5 else size
            return Header(height, width, image.mode in GREY, kind_of(image) == "8-bit" and not has_alpha(image))


class _Fit(NamedTuple):
    """Which part of a `width` x `height` image is resized, and to which size; the rest of the target is background."""

    box: tuple[float, float, float, float]
    size: tuple[int, int]


def _fit(width: int, height: int, rule: Rule) -> _Fit:
    whole, target = (0, 0, width, height), (rule.width, rule.height)
    if (width, height) == target or rule.crop == "stretch":
        return _Fit(whole, target)
    if rule.crop == "pad":
        scale = min(rule.width / width, rule.height / height)
        sides = (max(1, min(most, round(side * scale))) for most, side in zip(target, (width, height)))
        return _Fit(whole, (next(sides), next(sides)))
    scale = min(width / rule.width, height / rule.height)  # the largest part of the target's aspect, in the middle
    wide, high = rule.width * scale, rule.height * scale
    left, top = max(0.0, (width - wide) / 2), max(0.0, (height - high) / 2)  # rounding may fall below 0
    return _Fit((left, top, min(left + wide, width), min(top + high, height)), target)


def _filter(rule: Rule) -> Image.Resampling:
    return Image.Resampling[rule.resize.upper()]


def _nearest(begin: float, end: float, count: int, length: int) -> np.ndarray:
    """Return the pixels in whose middle `count` equal pieces of a side have theirs."""
    middles = begin + (np.arange(count) + 0.5) * ((end - begin) / count)
    return np.clip(middles.astype(np.int64), 0, length - 1)


def _resized(image: Image.Image, fit: _Fit, rule: Rule) -> Image.Image:
    if image.size == fit.size:
        return image
    if rule.resize != "nearest":
        return image.resize(fit.size, _filter(rule), box=fit.box)
    left, top, right, bottom = fit.box
    rows = _nearest(top, bottom, fit.size[1], image.height)
    columns = _nearest(left, right, fit.size[0], image.width)
    return Image.fromarray(np.asarray(image)[rows][:, columns])


def _padded(image: Image.Image, rule: Rule) -> Image.Image:
    """Return an image in the middle of the target, with the background around it."""
    size = (rule.width, rule.height)
    if image.size == size:
        return image
    colour = Image.new("RGB", size, rule.background)
    whole = colour if image.mode == "RGB" else colour.convert(image.mode)
    whole.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return whole


def _resampled(image: Image.Image, rule: Rule) -> Image.Image:
    return _padded(_resized(image, _fit(*image.size, rule), rule), rule)


def fit(image: Image.Image | np.ndarray, rule: Rule, met: Met | None = None) -> np.ndarray:
    """Resample an image, or its (H, W) or (H, W, C) uint8 pixels, to `rule`; `met` takes what is met.

    Returns:
        uint8 array of `rule.shape`.
    """
    if isinstance(image, np.ndarray):
        if image.shape == rule.shape:
            return image
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    levels = to_uint8_image(image, rule.channels)
    if met is not None and _averages(levels.size, rule):
        met.few_colours = Colours.of(levels).few
    return np.asarray(_resampled(levels, rule)).reshape(rule.shape)


def _averages(size: tuple[int, int], rule: Rule) -> bool:
    return rule.resize != "nearest" and size != (rule.width, rule.height)


def fit_mask(mask: np.ndarray, rule: Rule) -> np.ndarray:
    """Carry an (H, W, M) 0/1 mask through the same crop as its image, by nearest neighbour."""
    where = _fit(mask.shape[1], mask.shape[0], rule)
    layers = []
    for m in range(mask.shape[-1]):
        layer = Image.fromarray(mask[..., m])
        if layer.size != where.size:
            layer = layer.resize(where.size, Image.Resampling.NEAREST, box=where.box)
        whole = Image.new("L", (rule.width, rule.height), 0)
        whole.paste(layer, ((rule.width - layer.width) // 2, (rule.height - layer.height) // 2))
        layers.append(np.asarray(whole))
    return np.stack(layers, axis=-1)


def _draft(image: Image.Image, rule: Rule) -> None:
    """Let an image be decoded at a reduced scale where at least twice the target is left on both sides.

    JPEGs of any size, which is quicker. A JPEG 2000 only if it is large and four times the target is left: halved, its
    pixels lie up to half a pixel beside the middle of those that they stand for, a ninth of the target's.
    """
    large = image.format == "JPEG2000" and image.width * image.height > LARGE_PIXELS
    if not (large or image.format in _JPEG) or rule.resize == "nearest":
        return
    wide, high = (rule.height, rule.width) if _turn(image.getexif()) >= 5 else (rule.width, rule.height)
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
        self.turn, self.kind, self.exact = _turn(image.getexif()), kind_of(image), image.format not in _JPEG
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
        return part.transpose(_UPRIGHT[self.turn]) if self.turn in _UPRIGHT else part

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
        with _open(blob, rule.max_pixels) as image:
            met.pages = _further_pages(image)
            met.paged = int(met.pages > 0)
            _draft(image, rule)
            upright = _Upright(image)
            large = upright.width * upright.height > BAND_PIXELS
            made = _in_bands(upright, rule, met) if large else _at_once(upright, rule, met)
            return np.array(_padded(made, rule)).reshape(rule.shape)
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
    if upright.exact and _averages(levels.size, rule):
        met.few_colours = Colours.of(levels).few
    return _resized(levels, _fit(*levels.size, rule), rule)


def _in_bands(upright: _Upright, rule: Rule, met: Met) -> Image.Image:
    """Resample a large image: along the rows band by band, then the narrow rest along the columns; or the other way."""
    where, levels, colours = _fit(upright.width, upright.height, rule), _levels(upright, rule, met), Colours()
    left, top, right, bottom = where.box
    wide, high = where.size
    if rule.resize == "nearest":
        rows = _nearest(top, bottom, high, upright.height)
        columns = _nearest(left, right, wide, upright.width)
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
            rest.paste(whole.resize((band.width, high), _filter(rule), box=(0, top, band.width, bottom)), (first, 0))
        else:
            rest.paste(whole.resize((wide, band.height), _filter(rule), box=(left, 0, right, band.height)), (0, first))
    met.few_colours = colours.few if upright.exact and _averages((upright.width, upright.height), rule) else 0
    return rest.resize((wide, high), _filter(rule), box=(left, 0, right, high) if down else (0, top, wide, bottom))


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
    with warnings.catch_warnings(), _open(blob, rule.max_pixels) as image:
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
