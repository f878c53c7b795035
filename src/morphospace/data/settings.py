"""What a user may say about data; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DataSettings"]


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, in which shape, and which of them are held out.

    Attributes:
        data: A source (`digits`, `mnist`, `fashion-mnist`, `celeba`, `folder:PATH`, ...) or the path of a
            pack.
        root: Folder that holds the source's files; MORPHOSPACE_DATA when not given.
        size: Height and width in pixels, as `64` or `64x48`; the source's own size when not given.
        channels: 1 for grey, 3 for colour; the source's own when not given.
        crop: How an image meets `size`: `center` (short edge to size, then the middle), `stretch` (ignore the
            aspect ratio) or `pad` (whole image on black).
        classes: Take the subfolders of `folder:PATH` as class labels.
        valid: Share of the training split held out for validation where the source has no validation split
            of its own; 0 turns it off.
        strict: Stop at the first unreadable file instead of skipping and counting it.
    """

    data: str = "digits"
    root: str | None = None
    size: str | None = None
    channels: Literal[1, 3] | None = None
    crop: Literal["center", "stretch", "pad"] = "center"
    classes: bool = False
    valid: float = 0.05
    strict: bool = False
