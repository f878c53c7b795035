"""The settings of data; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from morphospace.data.rule import MAX_PIXELS, Crop, Resize
from morphospace.ranges import Below, Between, check_ranges
from morphospace.roles import HoldsPath, Role

HeldOut = Annotated[float, Between(0, 0.9, "0.05 is usual, 0 holds nothing out")]
Shift = Annotated[int, Between(0, 64, "an eighth of the side is usual")]
Pixels = Annotated[int, Between(1_000_000, 10_000_000_000, f"{MAX_PIXELS} is usual")]
Brightness = Annotated[float, Below(0, 1, "0.1 is mild")]


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, in which shape, and which of them are held out.

    Attributes:
        data: A source (`digits`, `mnist`, `fashion-mnist`, `celeba`, `folder:PATH`, ...) or the path of a
            pack.
        root: Folder that holds the source's files; MORPHOSPACE_DATA when not given.
        size: Height and width in pixels, as `64` or `64x48`; the source's own size when not given.
        channels: 1 for grey, 3 for colour; the source's own when not given.
        crop: How an image is fitted to `size`: `center` (short edge to size, then the centre), `stretch` (ignore the
            aspect ratio) or `pad` (whole image on `background`).
        resize: Filter of the resize. `nearest` keeps the colours of pixel art: it picks pixels, one of each block where
            the sides divide. The others average where an image shrinks.
        range: Lowest and highest value of 16-bit and float images, as `0:4095`, which become black and white; `auto`
            takes those of the whole set. Also for 8-bit images, where it lies within 0:255. If not given, 16-bit
            values run from 0 to 65535 and floats from 0 to 1.
        classes: Take the subfolders of `folder:PATH` as class labels; of `wds:SHARDS`, each sample's text.
        labels: Files that say what images show, with a column of file names: `train.csv`, `metadata.jsonl`, stylegan's
            `dataset.json`; looked for here and among the images. A column becomes the class, and columns of 0 and 1
            attributes; `FILE#COLUMN` names the column. Images that they leave out are left out. Of arrays, an `.npy` of
            labels, or a table with a row for each image.
        valid: Share of the training split held out for validation where the source has no validation split
            of its own; 0 turns it off.
        parts: Parts of the images that are kept and given as masks, for sources with part masks (`hair`,
            `skin`, ...; `all` for a mask of each); the source's usual ones when not given.
        background: Colour behind transparent pixels, around a padded image and outside all of the parts: `black`,
            `white`, `grey`, `#rrggbb`, or `keep` to paint over no part; `black` when not given, for toyfaces `keep`.
        flip: Mirror each training image with probability one half.
        shift: Move training images by up to this many pixels each way, repeating the edge (a crop of the
            padded image).
        brightness: Multiply training images by a random factor from 1 - this to 1 + this.
        binarise: Make pixels 0 or 1, for likelihoods: `threshold` at one half, `fixed` (sampled once for an
            image) or `dynamic` (sampled anew at every visit; validation takes the fixed sample).
        max_pixels: Images with more pixels than this are refused, for they may be made to fill the memory; a WebP,
            AVIF, JPEG 2000 or HEIF with more than half of it.
        strict: Stop at the first unreadable file instead of skipping and counting it.
    """

    data: Annotated[str, Role.SOURCE, HoldsPath()] = "digits"
    root: Annotated[str | None, Role.PLACE] = None
    size: str | None = None
    channels: Literal[1, 3] | None = None
    crop: Crop = "center"
    resize: Resize = "bicubic"
    range: str | None = None
    classes: bool = False
    labels: Annotated[tuple[str, ...], HoldsPath()] = ()
    valid: Annotated[HeldOut, Role.FIT] = 0.05
    parts: tuple[str, ...] = ()
    background: str | None = None
    flip: Annotated[bool, Role.FIT] = False
    shift: Annotated[Shift, Role.FIT] = 0
    brightness: Annotated[Brightness, Role.FIT] = 0.0
    binarise: Literal["none", "threshold", "fixed", "dynamic"] = "none"
    max_pixels: Annotated[Pixels, Role.FIT] = MAX_PIXELS
    strict: Annotated[bool, Role.FIT] = False

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))
