"""The one drawer of grids: images in rows, with words around them, as PNG files that carry their parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from morphospace.errors import SettingError, require
from morphospace.files import atomic, json_text
from morphospace.pictures.enlarge import asked, enlarged, scale_for
from morphospace.pictures.lettering import LINE, cut, text_width, write

PAD = 2
WIDEST = 104  # pixels that a caption may widen its cell to
EDGE = 6
GREY = (110, 110, 110)
WIDEST_WORD = 180  # pixels of a word beside a row


def as_picture(image: np.ndarray) -> Image.Image:
    """Return an image (H, W, C) with 1 or 3 channels as Pillow has it."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def grid(
    images: np.ndarray, columns: int | None = None, *, scale: int | None = None, captions: Sequence[str] | None = None
) -> Image.Image:
    """Lay uint8 images (N, H, W, C) out in rows, on white.

    Args:
        images: C is 1 or 3.
        columns: Images in a row; as square as leaves no cell empty, or few, when None.
        scale: Whole-number enlargement; when None as asked for by `enlarging`, else small images are brought to about
            64 pixels.
        captions: Words under each image, of one line or several; what is too long for its cell is cut.
    """
    count, channels = len(images), images.shape[-1]
    columns = columns or near_square(count)
    rows = -(-count // columns)
    images = enlarged(images, scale)
    height, width = images.shape[1:3]
    across, down = (width, 0) if captions is None else _caption_size(captions, width)
    tall, wide = height + down + PAD, across + PAD
    sheet = np.full((rows * tall + PAD, columns * wide + PAD, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = PAD + i // columns * tall, PAD + i % columns * wide + (across - width) // 2
        sheet[top : top + height, left : left + width] = image
    picture = as_picture(sheet)
    for i, caption in enumerate(captions or ()):
        _write(picture, caption, PAD + i % columns * wide, PAD + i // columns * tall + height, across)
    return picture


def sheet_size(count: int, columns: int, height: int, width: int) -> tuple[int, int]:
    """Return the height and width of the grid of so many images without captions, in pixels."""
    scale = scale_for(height, width)
    return -(-count // columns) * (height * scale + PAD) + PAD, columns * (width * scale + PAD) + PAD


def _caption_size(captions: Sequence[str], width: int) -> tuple[int, int]:
    """Return how wide cells must be for captions, within reason, and how high the captions are."""
    longest = max((math.ceil(text_width(caption)) for caption in captions), default=0)
    most = max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    return max(width, min(longest + 6, WIDEST)), most * LINE + (4 if most else 0)


def _write(picture: Image.Image, caption: str, left: int, top: int, width: int) -> None:
    """Write a caption's lines below each other, each in the middle of `width` pixels."""
    pen = ImageDraw.Draw(picture)
    for i, line in enumerate(caption.split("\n")):
        shown = cut(line, width)
        ink = 40 if picture.mode == "L" else (40, 40, 40)
        write(pen, (left + (width - text_width(shown)) // 2, top + i * LINE), shown, ink)


def grid_of_pairs(
    images: np.ndarray, masks: np.ndarray, columns: int | None = None, *, captions: Sequence[str] | None = None
) -> Image.Image:
    """Lay images out as `grid` does, each with its mask at its right.

    Args:
        images: uint8 (N, H, W, C).
        masks: uint8 (N, H, W, 1), or 3 in colour.
        columns: Pairs in a row.
        captions: Words under each pair.
    """
    channels = max(images.shape[-1], masks.shape[-1])
    halves = [enlarged(half.repeat(channels // half.shape[-1], axis=-1)) for half in (images, masks)]
    columns = columns or max(1, near_square(2 * len(images)) // 2)  # a pair is as wide as two images
    return grid(np.concatenate(halves, axis=2), columns, scale=1, captions=captions)


def grid_with_row_labels(
    images: np.ndarray, columns: int, words: Sequence[str], *, scale: int | None = None
) -> Image.Image:
    """Lay uint8 images (R * columns, H, W, C) out in rows as `grid` does, with a word to the left of each row.

    Args:
        images: Row by row.
        columns: Images in a row.
        words: One a row; what is too long is cut.
        scale: As for `grid`.

    Raises:
        SettingError: If there are not as many images as the rows hold, so that words would stand beside other rows.
    """
    wanted = columns * len(words)
    require(len(images) == wanted, "images", len(images), f"must be {wanted}: {columns} for each of {len(words)} rows")
    return with_row_labels(grid(images, columns, scale=scale), words)


def with_row_labels(sheet: Image.Image, words: Sequence[str]) -> Image.Image:
    """Return a sheet with a word to the left of each of its rows, which are of one height."""
    words = [cut(word, WIDEST_WORD) for word in words]
    margin = EDGE + max(math.ceil(text_width(word)) for word in words) + EDGE
    picture = Image.new(sheet.mode, (margin + sheet.width, sheet.height), "white")
    picture.paste(sheet, (margin, 0))
    pen, height = ImageDraw.Draw(picture), (sheet.height - PAD) / len(words)
    for row, word in enumerate(words):
        write(pen, (margin - EDGE, PAD + (row + 0.5) * height - PAD / 2), word, "black", "rm")
    return picture


def signed(value: float) -> str:
    """Return a number as a heading: with its sign, short.

    >>> signed(-3.0), signed(0.75), signed(0.0)
    ('-3', '+0.75', '0')
    """
    return "0" if abs(value) < 5e-4 else f"{value:+.2f}".rstrip("0").rstrip(".")


def annotated_grid(
    images: np.ndarray,
    columns: int,
    *,
    rows: Sequence[str] = (),
    headings: Sequence[str] = (),
    across: str = "",
    up: str = "",
    scale: int | None = None,
) -> Image.Image:
    """Lay uint8 images (N, H, W, C) out in rows, with words beside the rows and over the columns.

    Args:
        images: C is 1 or 3.
        columns: Images in a row.
        rows: What stands to the left of each row, of several lines perhaps; the first is black, the others grey.
        headings: What stands over each column, of several lines perhaps.
        across: What goes on from left to right, under the images.
        up: What goes on upwards, written upwards at the left edge.
        scale: Whole-number enlargement; when None as asked for by `enlarging`, else small images are brought to about
            64 pixels.
    """
    count, big = len(images), enlarged(images, scale)
    height, width = big.shape[1] + PAD, big.shape[2] + PAD
    rows = ["\n".join(cut(line, WIDEST_WORD) for line in text.splitlines()) for text in rows]
    headings = ["\n".join(cut(line, WIDEST_WORD) for line in text.splitlines()) for text in headings]
    wide = max((text_width(text) for text in rows), default=0.0)
    left = (LINE + EDGE if up else 0) + (round(wide) + 2 * EDGE if rows else EDGE)
    # Headings wider than a column would run into each other.
    column = max([width, *(round(text_width(text)) + EDGE for text in headings)])
    row = max([height, *(LINE * len(text.splitlines()) + PAD for text in rows)])
    lines = max((len(text.splitlines()) for text in headings), default=0)
    top, count_rows = LINE * lines + EDGE, -(-count // columns)
    bottom = LINE + EDGE if across else EDGE
    right = max(left + columns * column + EDGE, round(text_width(across)) + 2 * EDGE)
    middle = max(left + columns * column / 2, text_width(across) / 2 + EDGE)
    sheet = Image.new("RGB", (right, top + count_rows * row + bottom), "white")
    pen = ImageDraw.Draw(sheet)
    for i, text in enumerate(headings):
        for j, line in enumerate(text.splitlines()):
            write(pen, (left + i * column + width / 2, EDGE / 2 + j * LINE), line, "black", "ma")
    for i, text in enumerate(rows):
        tall = LINE * len(text.splitlines())
        for j, line in enumerate(text.splitlines()):
            place = (left - EDGE, top + i * row + (height - tall) / 2 + j * LINE)
            write(pen, place, line, "black" if j == 0 else GREY, "ra")
    for i, image in enumerate(big):
        sheet.paste(as_picture(image), (left + i % columns * column + (column - width) // 2, top + i // columns * row))
    middle = min(middle, right - EDGE - text_width(across) / 2)
    write(pen, (middle, sheet.height - LINE - 2), across, "black", "ma")
    _write_upwards(sheet, up, top + count_rows * row // 2)
    return sheet


def _write_upwards(sheet: Image.Image, text: str, middle: int) -> None:
    """Write along the left edge, from below upwards."""
    if not text:
        return
    strip = Image.new("RGB", (round(text_width(text)) + 2, LINE + 2), "white")
    write(ImageDraw.Draw(strip), (0, 0), text, "black")
    strip = strip.rotate(90, expand=True)
    sheet.paste(strip, (2, max(0, middle - strip.height // 2)))


def near_square(count: int) -> int:
    """Return how many columns make a good grid: a divisor a little above the square root, else its ceiling.

    >>> near_square(64), near_square(40), near_square(7), near_square(16)
    (8, 8, 3, 4)
    """
    least = int(np.ceil(np.sqrt(count)))
    return next((c for c in range(least, 2 * least) if count % c == 0 and c * c <= 2 * count), least)


def grid_of_rows(
    first: np.ndarray, second: np.ndarray, most: int, masks: tuple[np.ndarray, np.ndarray] | None = None
) -> Image.Image:
    """Lay two sets of images out so that each row of the first stands over a row of the second, at any count.

    Args:
        first: uint8 (N, H, W, C).
        second: As many.
        most: Most images in a row; the last row is filled up with white.
        masks: The masks of both, uint8 (N, H, W, 1), each drawn at the right of its image.
    """
    columns = min(len(first), most)
    images = interleave(first, second, columns)
    return grid(images, columns) if masks is None else grid_of_pairs(images, interleave(*masks, columns), columns)


def interleave(first: np.ndarray, second: np.ndarray, columns: int) -> np.ndarray:
    """Order two sets of images so that a grid of so many columns shows a row of the first over a row of the second.

    The last row is filled up with white.
    """
    white = np.full((-len(first) % columns, *first.shape[1:]), 255, np.uint8)
    sides = [np.concatenate([side, white]) for side in (first, second)]
    return np.concatenate([side[i : i + columns] for i in range(0, len(sides[0]), columns) for side in sides])


def save_picture(path: Path, picture: Image.Image, parameters: Mapping[str, Any]) -> None:
    """Write a PNG, whole or not at all, with what made it in its `morphospace` text chunk (JSON).

    Raises:
        SettingError: If the path is a folder, or not named .png.
    """
    if path.suffix.lower() != ".png" or path.is_dir():
        raise SettingError("out", str(path), "must be a file name that ends in .png")
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("Software", "morphospace")
    chunk.add_text("morphospace", json_text({**parameters, **asked().facts}, sort_keys=True))
    with atomic(path) as partial:
        picture.save(partial, format="PNG", pnginfo=chunk)
