"""A blind test, real or generated: the page that asks, and the files of answers that it saves."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from morphospace.errors import DataError, SettingError
from morphospace.files import write_text
from morphospace.tools.judge.page import PAGE

WORDS = {"real": True, "generated": False}
PAUSE = 350  # milliseconds between two images
LARGE = 48  # pixels of a side from which enlarging smoothly looks better than repeating pixels


@dataclass(frozen=True)
class BlindTest:
    """A blind test.

    Attributes:
        run: Name of the run.
        images: uint8 (practice + N, H, W, C) in the order they are shown, those for practice first.
        real: Which are real, (practice + N,).
        practice: How many are for practice, and are not counted.
        seconds: How long an image is seen; 0 for as long as one likes.
    """

    run: str
    images: np.ndarray
    real: np.ndarray
    practice: int
    seconds: float

    @property
    def hash(self) -> str:
        """A hash of all that makes the test this one."""
        state = hashlib.blake2b(f"{self.run} {self.practice} {self.seconds:g} ".encode(), digest_size=16)
        state.update(f"{self.images.shape}".encode() + np.ascontiguousarray(self.images).tobytes())
        state.update(self.real.astype(np.uint8).tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class Answers:
    """What a person answered.

    Attributes:
        page: Hash of the test.
        run: Name of the run.
        seconds: How long an image was seen; 0 for no limit.
        image: Number of each image in its page, (N,).
        real: Which were real, (N,).
        called_real: Which were called so, (N,).
        milliseconds: From the image to the answer, (N,).
    """

    page: str
    run: str
    seconds: float
    image: np.ndarray
    real: np.ndarray
    called_real: np.ndarray
    milliseconds: np.ndarray


def check_page_path(path: str | Path) -> Path:
    """Return the path of a page to write.

    Raises:
        SettingError: It is a folder, or not named .html.
    """
    file = Path(path)
    if file.suffix.lower() != ".html" or file.is_dir():
        raise SettingError("out", str(path), "must be a file name that ends in .html")
    return file


def save_test(test: BlindTest, path: str | Path) -> Path:
    """Write a test as one page that needs nothing beside it and sends nothing anywhere."""
    file = check_page_path(path)
    told = {
        "page": test.hash,
        "run": test.run,
        "seconds": test.seconds,
        "practice": test.practice,
        "pause": PAUSE,
        "images": [_png(image) for image in test.images],
        "sealed": sealed(test.real, test.hash),
    }
    trials, limit = len(test.images) - test.practice, f"{test.seconds:g}"
    seconds = f"{limit} second{'' if limit == '1' else 's'}"
    words = {
        "test": json.dumps(told).replace("<", "\\u003c"),  # no name may open or end a script
        "trials": str(trials),
        "limit": f"Each stays for {seconds}; the answer may take longer." if test.seconds else "Take all your time.",
        "practice": f"The first {test.practice} are for practice and do not count." if test.practice else "",
        "rendering": "pixelated" if max(test.images.shape[1:3]) < LARGE else "auto",
    }
    write_text(file, Template(PAGE).substitute(words))
    return file


def _png(image: np.ndarray) -> str:
    """Return an image as base64 of a PNG; real and generated are written alike, so that no file gives itself away."""
    plain = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    with io.BytesIO() as buffer:
        plain.save(buffer, format="PNG", optimize=True)
        return base64.b64encode(buffer.getvalue()).decode()


def sealed(real: np.ndarray, key: str) -> list[int]:
    """Return a number for each truth, with an odd number of ones for real: no lock, but nothing read by accident."""
    found = []
    for number, truth in enumerate(real):
        digest = hashlib.blake2b(f"{key} {number}".encode(), digest_size=3).digest()
        value = int.from_bytes(digest, "big") & ~1
        found.append(value | (value.bit_count() % 2 != int(truth)))
    return found


def read_answers(paths: Sequence[str | Path]) -> list[Answers]:
    """Read files of answers to one and the same test, a person each.

    Raises:
        DataError: A file that holds something else, of another test, or the same answers twice.
    """
    found: list[Answers] = []
    texts: dict[str, Path] = {}
    for path in map(Path, paths):
        try:
            text = path.read_text(encoding="utf-8")
            read = _parsed(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DataError(
                "answers", str(path), f"holds no answers ({why})", "give files that a page of `morpho judge` saved"
            ) from None
        if found and read.page != found[0].page:
            raise DataError(
                "answers",
                str(path),
                f"is of another page ({read.page[:8]}, the first of {found[0].page[:8]})",
                "pool the answers of one page",
            )
        if text in texts:
            raise DataError("answers", str(path), f"is the same as {str(texts[text])!r}", "give each person once")
        texts[text] = path
        found.append(read)
    return found


def _parsed(told: Any) -> Answers:
    """Return answers read from JSON.

    Raises:
        ValueError: They are not what a page saves.
    """
    trials = told["trials"]
    if not (isinstance(trials, list) and trials and isinstance(told["page"], str) and isinstance(told["run"], str)):
        raise ValueError("no trials, page or run")
    image = [trial["image"] for trial in trials]
    milliseconds = [float(trial["milliseconds"]) for trial in trials]
    if any(type(number) is not int or number < 0 for number in image) or len(set(image)) < len(image):
        raise ValueError("an image without its number, or judged twice")
    if not all(0 <= value < float("inf") for value in milliseconds):
        raise ValueError("a time that is none")
    return Answers(
        told["page"],
        told["run"],
        float(told["seconds"]),
        np.array(image),
        np.array([WORDS[trial["truth"]] for trial in trials]),
        np.array([WORDS[trial["answer"]] for trial in trials]),
        np.array(milliseconds),
    )
