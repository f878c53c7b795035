"""The files of answers that a blind test's page saves: read them and pool their error rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np

from morphospace.errors import DataError, one_line
from morphospace.evaluation.intervals import mean_over, wilson
from morphospace.files import read_text
from morphospace.ranges import AtLeast, Between
from morphospace.records import read_json, typed
from morphospace.tools.judge import Pooled, Rate

WORDS = {"real": True, "generated": False}


class Trial(TypedDict):
    """One answer, as a page saves it."""

    image: Annotated[int, Between(0, 2**63 - 1)]
    truth: Literal["real", "generated"]
    answer: Literal["real", "generated"]
    milliseconds: Annotated[float, AtLeast(0)]


class Saved(TypedDict):
    """What a page saves."""

    page: str
    run: str
    seconds: Annotated[float, AtLeast(0)]
    trials: list[Trial]


@dataclass(frozen=True)
class Answers:
    """The answers of one person.

    Attributes:
        page: Hash of the test.
        run: Name of the run.
        seconds: How long an image was shown; 0 for no limit.
        image: Number of each image in its page, (N,).
        real: Which images were real, (N,).
        called_real: Which images were called real, (N,).
        milliseconds: Time from the image to the answer, (N,).
    """

    page: str
    run: str
    seconds: float
    image: np.ndarray
    real: np.ndarray
    called_real: np.ndarray
    milliseconds: np.ndarray


def pooled(files: Sequence[str | Path]) -> Pooled:
    """Read the files and pool their error rates; `pool_answers` says how."""
    found = read_answers(files)
    people = tuple((_rate(one), _rate(one, True), _rate(one, False)) for one in found)
    whole, real, generated = (_over([person[kind] for person in people]) for kind in range(3))
    median = float(np.median(np.concatenate([one.milliseconds for one in found])))
    first, names = found[0], tuple(map(str, files))
    return Pooled(first.run, first.page, first.seconds, people, whole, real, generated, median, names)


def _rate(answers: Answers, real: bool | None = None) -> Rate:
    """Return a person's error rate on all images, or on the real or generated ones only."""
    judged = np.full(len(answers.real), True) if real is None else answers.real == real
    wrong, of = int((answers.real != answers.called_real)[judged].sum()), int(judged.sum())
    if not of:
        return Rate(0, 0, float("nan"), None, None, "no such image was judged")
    return Rate(wrong, of, wrong / of, *wilson(wrong, of), "95 % over images (Wilson)")


def _over(rates: Sequence[Rate]) -> Rate:
    """Return the mean rate of several people; a single person's rate stays as it is.

    A few people may agree by chance, so the interval is never narrower than that of all their answers together.
    """
    rated = [rate for rate in rates if rate.of]
    if len(rated) < 2:
        return rated[0] if rated else rates[0]
    wrong, of = sum(rate.wrong for rate in rated), sum(rate.of for rate in rated)
    mean, low, high, _ = mean_over([rate.value for rate in rated])
    least, most = wilson(wrong, of)
    assert low is not None and high is not None
    ends = max(min(low, least), 0.0), min(max(high, most), 1.0)
    return Rate(wrong, of, mean, *ends, "95 % over people (Student's t), no narrower than over images (Wilson)")


def read_answers(paths: Sequence[str | Path]) -> list[Answers]:
    """Read the answers of several people to one test.

    Raises:
        DataError: If a file holds something else or answers to another page, or two files are the same.
    """
    found: list[Answers] = []
    texts: dict[str, Path] = {}
    for path in map(Path, paths):
        try:
            text = read_text(path, links=True)
            read = _parsed(read_json(text))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
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


def _parsed(data: Any) -> Answers:
    """Return answers read from JSON."""
    saved: Saved = typed(data, Saved, "answers")
    trials = saved["trials"]
    if not trials or len({trial["image"] for trial in trials}) < len(trials):
        raise ValueError("no trials, or an image that was judged twice")
    return Answers(
        saved["page"],
        saved["run"],
        saved["seconds"],
        np.array([trial["image"] for trial in trials]),
        np.array([WORDS[trial["truth"]] for trial in trials]),
        np.array([WORDS[trial["answer"]] for trial in trials]),
        np.array([trial["milliseconds"] for trial in trials]),
    )
