"""One encoded image -> uint8 pixels of an exact size; free of torch, because worker processes import it.

What happens to every image, in this order:

1. refused: more than `Rule.max_pixels` pixels (read from the header, before anything is unpacked), cut-off
   files, formats other than JPEG, PNG, BMP, GIF, WebP, TIFF and PPM, 32-bit integer and float pixels (no
   agreed range);
2. the first frame of an animation; the EXIF orientation is applied;
3. palettes, CMYK, YCbCr and bilevel become RGB or grey, 16-bit grey is divided by 257, and **what is
   transparent is laid on black**, the same black that `pad` puts around an image;
4. one antialiased bicubic resample in 8 bits straight from the crop box, so nothing is rounded twice.

JPEGs are decoded at a half, a quarter or an eighth where that still leaves at least twice the target on both
sides: quicker for photographs, and the resample still has pixels to average.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Union

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from morphospace.errors import DataError, one_line

Blob = Union[str, bytes, Callable[[], bytes]]  # noqa: UP007 - a Callable inside `|` is an error at run time on 3.11
"""What can be decoded: a path, the encoded bytes, or a picklable callable giving them (as for an archive)."""

# Pillow registers a format when its plugin is imported, and fails on one asked for but not registered. A JPEG of
# several pictures (MPO) is opened by the JPEG plugin.
_PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    WebPImagePlugin.WebPImageFile,
    TiffImagePlugin.TiffImageFile,
    PpmImagePlugin.PpmImageFile,
)
FORMATS = tuple(str(plugin.format) for plugin in _PLUGINS)
RESAMPLE = Image.Resampling.BICUBIC
RESAMPLE_NAME = "bicubic, antialiased, 8 bit"
MAX_PIXELS = 64_000_000
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"}
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Rule:
    """How any image becomes `height` x `width` x `channels` pixels of uint8.

    Attributes:
        height: Rows in pixels.
        width: Columns in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        crop: `center`, `stretch` or `pad`, as in `DataSettings`.
        max_pixels: Images with more pixels than this are refused as decompression bombs.
    """

    height: int
    width: int
    channels: int
    crop: Literal["center", "stretch", "pad"] = "center"
    max_pixels: int = MAX_PIXELS

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


class Chunk(NamedTuple):
    """Some decoded images: the good ones (n, H, W, C), (position, reason) of each bad one, masks (n, H, W, M)."""

    images: np.ndarray
    bad: list[tuple[int, str]]
    masks: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """Size and colour from an image file's header; height and width are those after EXIF orientation."""

    height: int
    width: int
    grey: bool


def _open(blob: Blob, max_pixels: int) -> Image.Image:
    data = Path(blob).read_bytes() if isinstance(blob, str) else blob if isinstance(blob, bytes) else blob()
    if not data:
        raise DataError(rule="empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise DataError(rule=f"more than {max_pixels:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise DataError(rule="not an image of a known format") from None
    if image.width * image.height > max_pixels:
        raise DataError(rule=f"{image.width}x{image.height} is more than {max_pixels:,} pixels")
    return image


def _turned(image: Image.Image) -> bool:
    """Whether the EXIF orientation swaps height and width."""
    return image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)


def read_header(blob: Blob, max_pixels: int = MAX_PIXELS) -> Header:
    """Size and colour of an image, without decoding it.

    Raises:
        DataError: If `decode` would not take the file.
    """
    with warnings.catch_warnings(), _one_line():
        warnings.simplefilter("ignore")
        image = _open(blob, max_pixels)
        width, height = image.size[::-1] if _turned(image) else image.size
        return Header(height, width, image.mode in _GREY)


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn whatever Pillow raises into a DataError of one line."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # plugins raise OSError, SyntaxError, struct.error and others on broken files
        raise DataError(rule=one_line(error)) from None


def to_uint8_image(image: Image.Image, channels: int | None = None) -> Image.Image:
    """Bring any mode to `L` or `RGB`, transparency on black; the mode nearest to its own when `channels` is
    None.

    Raises:
        DataError: If pixels are 32-bit integers or floats.
    """
    mode = image.mode
    if channels is None:
        channels = 1 if mode in _GREY else 3
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        levels = np.asarray(image).astype(np.int64)
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif mode in ("I", "F"):
        raise DataError(rule=f"pixels of mode {mode!r} have no agreed range; convert them to 8 or 16 bits")
    elif mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image).convert("RGB")
    if channels == 1:
        return image if image.mode == "L" else (image if image.mode == "1" else image.convert("RGB")).convert("L")
    return image if image.mode == "RGB" else image.convert("RGB")


def _box(width: int, height: int, rule: Rule) -> tuple[float, float, float, float]:
    """The part of a `width` x `height` image that `center` keeps: the largest of the target's aspect."""
    scale = min(width / rule.width, height / rule.height)
    wide, high = rule.width * scale, rule.height * scale
    left, top = max(0.0, (width - wide) / 2), max(0.0, (height - high) / 2)  # rounding may fall below 0
    return left, top, min(left + wide, width), min(top + high, height)


def _pad_size(width: int, height: int, rule: Rule) -> tuple[int, int]:
    scale = min(rule.width / width, rule.height / height)
    return max(1, min(rule.width, round(width * scale))), max(1, min(rule.height, round(height * scale)))


def _resampled(image: Image.Image, rule: Rule, filter_: Image.Resampling) -> Image.Image:
    size = (rule.width, rule.height)
    if image.size == size:
        return image
    if rule.crop == "center":
        return image.resize(size, filter_, box=_box(*image.size, rule))
    if rule.crop == "stretch":
        return image.resize(size, filter_)
    inner = image.resize(_pad_size(*image.size, rule), filter_)
    whole = Image.new(image.mode, size, 0)
    whole.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
    return whole


def fit(image: Image.Image | np.ndarray, rule: Rule) -> np.ndarray:
    """Resample an image, or its (H, W) or (H, W, C) uint8 pixels, to `rule`.

    Returns:
        uint8 array of `rule.shape`.
    """
    if isinstance(image, np.ndarray):
        if image.shape == rule.shape:
            return image
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    pixels = np.asarray(_resampled(to_uint8_image(image, rule.channels), rule, RESAMPLE))
    return pixels.reshape(rule.shape)


def fit_mask(mask: np.ndarray, rule: Rule) -> np.ndarray:
    """Carry an (H, W, M) 0/1 mask through the same crop as its image, by nearest neighbour."""
    nearest = Image.Resampling.NEAREST
    layers = [np.asarray(_resampled(Image.fromarray(mask[..., m]), rule, nearest)) for m in range(mask.shape[-1])]
    return np.stack(layers, axis=-1)


def _draft(image: Image.Image, rule: Rule) -> None:
    """Let a JPEG be decoded at a reduced scale where at least twice the target is left on both sides."""
    if image.format not in ("JPEG", "MPO"):
        return
    wide, high = (rule.height, rule.width) if _turned(image) else (rule.width, rule.height)
    ratios = image.width / (2 * wide), image.height / (2 * high)
    # `pad` scales by the longer edge, so there the shorter edge may end well under the target.
    room = max(ratios) if rule.crop == "pad" else min(ratios)
    for scale in (8, 4, 2):
        if room >= scale:
            image.draft(None, (image.width // scale, image.height // scale))
            return


def decode(blob: Blob, rule: Rule) -> np.ndarray:
    """Decode one image to uint8 pixels of `rule.shape`.

    Raises:
        DataError: If this is not a whole image; one line says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and of large images; both are decided here
        return _decode(blob, rule)


def _decode(blob: Blob, rule: Rule) -> np.ndarray:
    with _one_line():
        image = _open(blob, rule.max_pixels)
        _draft(image, rule)
        if _ORIENTATION in image.getexif():
            upright = ImageOps.exif_transpose(image)
            upright.format = image.format
            image = upright
        image.load()
        return fit(image, rule)


def decode_chunk(blobs: Sequence[Blob], rule: Rule) -> Chunk:
    """Decode many images; what a worker process runs."""
    good: list[np.ndarray] = []
    bad: list[tuple[int, str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for position, blob in enumerate(blobs):
            try:
                good.append(_decode(blob, rule))
            except DataError as error:
                bad.append((position, str(error)))
    return Chunk(np.stack(good) if good else np.empty((0, *rule.shape), np.uint8), bad)
