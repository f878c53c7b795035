"""Make a blind test: choose the images, mix them, and write the page that asks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphospace.errors import require
from morphospace.files import write_text
from morphospace.pictures.pages import png_data, render
from morphospace.pictures.sheet import as_picture
from morphospace.randomness import stream
from morphospace.runs.codes import conditions_of, judged_rows, sampled
from morphospace.runs.run import Run
from morphospace.tools.sample import sample

PAUSE = 350  # milliseconds between two images
LARGE = 48  # images with a side of so many pixels are enlarged smoothly, smaller ones by repeating pixels


@dataclass(frozen=True)
class BlindTest:
    """A blind test.

    Attributes:
        run: Name of the run.
        images: uint8 (practice + N, H, W, C) in the order in which they are shown, those for practice first.
        real: Which images are real, (practice + N,).
        practice: How many are for practice and do not count.
        seconds: How long an image is shown; 0 for no limit.
    """

    run: str
    images: np.ndarray
    real: np.ndarray
    practice: int
    seconds: float

    @property
    def hash(self) -> str:
        """A hash of the images, their order and how they are shown."""
        state = hashlib.blake2b(f"{self.run} {self.practice} {self.seconds:g} ".encode(), digest_size=16)
        state.update(f"{self.images.shape}".encode() + np.ascontiguousarray(self.images).tobytes())
        state.update(self.real.astype(np.uint8).tobytes())
        return state.hexdigest()


def make_test(run: Run, trials: int, practice: int, seconds: float, seed: int) -> tuple[BlindTest, str]:
    """Choose real images and draw as many samples; return the test and the split of the real images.

    Raises:
        SettingError: If there are fewer real images than the test needs.
    """
    split, rows, label = judged_rows(run.pack, run.configuration.data.valid)
    half = (trials + practice) // 2
    most = 2 * len(rows) - practice
    way_out = f"take --trials {most} or fewer, or " if most >= 2 else ""
    rule = f"needs {half} real images, and the {label} split has {len(rows)}"
    require(half <= len(rows), "trials", trials, rule, f"{way_out}hold out more when training, as --valid 0.2")
    rng = np.random.default_rng(stream(seed, "judge"))
    chosen = rows[rng.permutation(len(rows))[:half]]
    order = np.sort(chosen)  # packs are read in order
    real = np.asarray(split.images[order])[np.searchsorted(order, chosen)]
    # A conditional model gets the conditions of other real images: every class in turn would give its samples away.
    others = rng.permutation(len(rows))[:half]
    conditions = conditions_of(run.model, split, rows[others])
    fakes = stream(seed, "judge", "samples")
    fake = sample(run, half, fakes) if conditions is None else sampled(run, half, fakes, conditions)
    images, truth = _mixed(real, fake, practice, rng)
    return BlindTest(run.path.resolve().name, images, truth, practice, seconds), label


def _mixed(
    real: np.ndarray, fake: np.ndarray, practice: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return real and generated images in random order, practice first, half of each part real; and which are real."""
    images, truth = np.concatenate([real, fake]), np.arange(2 * len(real)) < len(real)
    split = practice // 2
    first = np.concatenate([np.arange(split), len(real) + np.arange(split)])
    rest = np.concatenate([np.arange(split, len(real)), np.arange(len(real) + split, 2 * len(real))])
    order = np.concatenate([rng.permutation(first), rng.permutation(rest)])
    return images[order], truth[order]


def save_test(test: BlindTest, file: Path) -> None:
    """Write a test as one page that loads nothing and sends nothing."""
    data = {
        "page": test.hash,
        "run": test.run,
        "seconds": test.seconds,
        "practice": test.practice,
        "pause": PAUSE,
        "images": [png_data(as_picture(image), optimize=True) for image in test.images],
        "sealed": sealed(test.real, test.hash),
    }
    trials, limit = len(test.images) - test.practice, f"{test.seconds:g}"
    seconds = f"{limit} second{'' if limit == '1' else 's'}"
    page = render(
        "tools/judge/page.html",
        test=data,
        trials=trials,
        limit=f"Each stays for {seconds}; the answer may take longer." if test.seconds else "Take all your time.",
        practice=f"The first {test.practice} are for practice and do not count." if test.practice else "",
        rendering="pixelated" if max(test.images.shape[1:3]) < LARGE else "auto",
    )
    write_text(file, page)


def sealed(real: np.ndarray, key: str) -> list[int]:
    """Return a number for each image, with an odd count of one bits for real images: hidden from an accidental look."""
    found = []
    for number, truth in enumerate(real):
        digest = hashlib.blake2b(f"{key} {number}".encode(), digest_size=3).digest()
        value = int.from_bytes(digest, "big") & ~1
        found.append(value | (value.bit_count() % 2 != int(truth)))
    return found
