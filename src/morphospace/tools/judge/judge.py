"""Judgement by people: a page that asks whether images are real or generated, and what their answers add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphospace.errors import require
from morphospace.evaluation.intervals import mean_over, wilson
from morphospace.randomness import stream
from morphospace.runs.codes import drawn, judged_rows, told_of
from morphospace.runs.run import Run, loaded
from morphospace.tools.judge.blind_test import Answers, BlindTest, check_page_path, read_answers, save_test
from morphospace.tools.sample import sample

MOST_TRIALS, MOST_SECONDS = 1000, 600.0


@dataclass(frozen=True)
class Judged:
    """A test that was made.

    Attributes:
        path: The page.
        page: Hash of the test, by which its answers are known.
        trials: How many images count.
        practice: How many do not.
        split: Which split the real ones come from.
    """

    path: Path
    page: str
    trials: int
    practice: int
    split: str


@dataclass(frozen=True)
class Rate:
    """A share of answers that were wrong.

    Attributes:
        wrong: How many.
        of: Of how many.
        value: The share; over several people the mean of theirs.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end of it.
        interval: What the interval is of.
    """

    wrong: int
    of: int
    value: float
    low: float | None
    high: float | None
    interval: str


@dataclass(frozen=True)
class Pooled:
    """What people answered to one test.

    Attributes:
        run: Name of the run.
        page: Hash of the test.
        seconds: How long an image was seen; 0 for no limit.
        people: Of each person the error rate on all images, on real ones and on generated ones.
        all: Error rate over all: 0.5 where nobody can tell.
        real: Share of real images that were called generated.
        generated: Share of generated images that were called real.
        milliseconds: Median time to an answer.
    """

    run: str
    page: str
    seconds: float
    people: tuple[tuple[Rate, Rate, Rate], ...]
    all: Rate
    real: Rate
    generated: Rate
    milliseconds: float


def judge(
    run: Run | str | Path,
    out: str | Path,
    *,
    trials: int = 40,
    seconds: float = 2.0,
    practice: int = 4,
    seed: int = 0,
) -> Judged:
    """Make a page for a blind test: half real images, half samples, one at a time in random order.

    The real ones are drawn from the test split, else from the held-out images. The page needs no network and sends
    nothing; the person saves a file of answers in the end, and `pool_answers` reads it. The answers stand in the page
    so that nobody reads them by accident, not so that nobody can.

    Args:
        run: A loaded run or its folder.
        out: The page, an .html. It holds the real images it shows: their terms hold for it too.
        trials: Images that count, an even number.
        seconds: How long each is seen; 0 for as long as one likes.
        practice: Images before them that do not count, an even number.
        seed: Which images, and their order.

    Raises:
        SettingError: A number that breaks a rule, or not so many real images.

    References:
        Zhou et al. 2019, "HYPE: a benchmark for human eye perceptual evaluation of generative models".
    """
    for name, value, least in (("trials", trials, 2), ("practice", practice, 0)):
        rule = f"must be an even number from {least} to {MOST_TRIALS}: half are real"
        require(least <= value <= MOST_TRIALS and value % 2 == 0, name, value, rule)
    require(0 <= seconds <= MOST_SECONDS, "seconds", seconds, "must be from 0 (no limit) to 600")
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    path = check_page_path(out)
    run = loaded(run)
    split, rows, label = judged_rows(run.pack, run.configuration.data.valid)
    half = (trials + practice) // 2
    require(half <= len(rows), "trials", trials, f"needs {half} real images, and the {label} split has {len(rows)}")
    rng = np.random.default_rng(stream(seed, "judge"))
    chosen = rows[rng.permutation(len(rows))[:half]]
    order = np.sort(chosen)  # packs are read in order
    real = np.asarray(split.images[order])[np.searchsorted(order, chosen)]
    # A conditional model is told what other real images show: its classes in turn would give it away by their shares.
    others = rng.permutation(len(rows))[:half]
    told = told_of(run.model, split, rows[others])
    fakes = stream(seed, "judge", "samples")
    fake = sample(run, half, fakes) if told is None else drawn(run, half, fakes, told)
    images, truth = _mixed(real, fake, practice, rng)
    test = BlindTest(run.path.resolve().name, images, truth, practice, float(seconds))
    return Judged(save_test(test, path), test.hash, trials, practice, label)


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


def pool_answers(files: Sequence[str | Path]) -> Pooled:
    """Return the error rates of people who took the same test, with their intervals.

    Of one person the interval is Wilson's, over the images. Of several it is Student's t over their rates: a person's
    answers hang together, so that throwing all of them into one pot would make it too small. It is widened to that of
    the pot where people happen to agree.

    Args:
        files: What the page saved, a file each.

    Raises:
        SettingError: No file.
        DataError: Files of different pages, or of something else.
    """
    require(len(files) >= 1, "answers", list(map(str, files)), "name a file or more that the page saved")
    found = read_answers(files)
    people = tuple((_rate(one), _rate(one, True), _rate(one, False)) for one in found)
    whole, real, generated = (_over([person[kind] for person in people]) for kind in range(3))
    median = float(np.median(np.concatenate([one.milliseconds for one in found])))
    first = found[0]
    return Pooled(first.run, first.page, first.seconds, people, whole, real, generated, median)


def _rate(answers: Answers, real: bool | None = None) -> Rate:
    """Return a person's error rate, on all images or on one kind."""
    judged = np.full(len(answers.real), True) if real is None else answers.real == real
    wrong, of = int((answers.real != answers.called_real)[judged].sum()), int(judged.sum())
    if not of:
        return Rate(0, 0, float("nan"), None, None, "no such image was judged")
    return Rate(wrong, of, wrong / of, *wilson(wrong, of), "95 % over images (Wilson)")


def _over(rates: Sequence[Rate]) -> Rate:
    """Return the rate of several people; that of one as it is.

    People who happen to agree tell little of others: the interval is never narrower than that of all their answers.
    """
    there = [rate for rate in rates if rate.of]
    if len(there) < 2:
        return there[0] if there else rates[0]
    wrong, of = sum(rate.wrong for rate in there), sum(rate.of for rate in there)
    mean, low, high = mean_over([rate.value for rate in there])
    least, most = wilson(wrong, of)
    assert low is not None and high is not None
    ends = max(min(low, least), 0.0), min(max(high, most), 1.0)
    return Rate(wrong, of, mean, *ends, "95 % over people (Student's t), no narrower than over images (Wilson)")
