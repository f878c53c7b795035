"""Ask people whether images are real or generated: a page that asks, and the error rate of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from morphospace.errors import SettingError, require
from morphospace.ranges import Between, Seed, check_ranges
from morphospace.tools.tool import Answer, Asked, Displayable, File, Summary, Table, at_images, tool

if TYPE_CHECKING:
    from morphospace.runs.run import Run


class Even(Between):
    """Even numbers from `low` to `high`: half of the images are real."""

    @property
    def rule(self) -> str:
        return super().rule.replace("must be", "must be an even number") + ": half are real"

    def check(self, name: str, value: Any) -> None:
        super().check(name, value)
        if value % 2:
            raise SettingError(name, value, self.rule)


Trials = Annotated[int, Even(2, 1000)]
Practice = Annotated[int, Even(0, 1000)]
Seconds = Annotated[float, Between(0, 600, "0 sets no limit")]
PAGE = File((".html",), "The page to write, an .html. It contains the real images that it shows.")


@dataclass(frozen=True)
class Judged(Displayable):
    """A blind test that was written.

    Attributes:
        path: The page.
        page: Hash of the test, by which its answers are recognised.
        trials: How many images count.
        practice: How many come before them and do not count.
        split: The split that the real images come from.
    """

    path: Path
    page: str
    trials: int
    practice: int
    split: str

    def summary(self) -> Summary:
        """Return where the page is, and what to do with it."""
        then = "open it in a browser; it loads and sends nothing. Then `morpho judge --answers FILE ...`"
        return Summary([f"{self.trials} images, half of the {self.split} split, half samples: {self.path}", then])

    def show(self, asked: Asked) -> Answer:
        """Say what the page holds and what to do with it."""
        facts = {**asked.facts, "out": str(self.path), "page": self.page, "trials": self.trials}
        facts |= {"practice": self.practice, "split": self.split}
        facts |= {name: asked.words[name] for name in ("seconds", "seed")}
        facts.pop("raw")
        half = f"half of the {self.split} split, half samples{at_images(facts['images'])}"
        return Answer(facts, [f"{self.trials} images, {half}: {self.path}", self.summary().lines[-1]])


@dataclass(frozen=True)
class Rate:
    """The share of answers that were wrong.

    Attributes:
        wrong: How many were wrong.
        of: Of how many.
        value: The share. Over several people it is the mean of their shares.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        interval: How the interval was computed.
    """

    wrong: int
    of: int
    value: float
    low: float | None
    high: float | None
    interval: str

    @property
    def ends(self) -> str:
        """The interval in words."""
        return "" if self.low is None or self.high is None else f"{self.low:.1%} to {self.high:.1%}"


Rates = tuple[Rate, Rate, Rate]


@dataclass(frozen=True)
class Pooled(Displayable):
    """The answers of several people to one test.

    Attributes:
        run: Name of the run.
        page: Hash of the test.
        seconds: How long an image was shown; 0 for no limit.
        people: Each person's error rates: on all images, on real ones and on generated ones.
        all: Error rate over all people and images; 0.5 where nobody can tell them apart.
        real: Share of real images that were called generated.
        generated: Share of generated images that were called real.
        milliseconds: Median time to an answer.
        files: The file of each person.
    """

    run: str
    page: str
    seconds: float
    people: tuple[Rates, ...]
    all: Rate
    real: Rate
    generated: Rate
    milliseconds: float
    files: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """Return the error rates as a table, a row a person."""
        total = (self.all, self.real, self.generated)
        rows = [_row(Path(file).name, person) for file, person in zip(self.files, self.people)]
        rows += [_row(f"{len(rows)} people", total)] if len(rows) > 1 else []
        limit = f"each shown for {self.seconds:g} s" if self.seconds else "without a time limit"
        ends = f" ({self.all.ends})" if self.all.ends else ""
        lines = [
            f"{self.run}: wrong on {self.all.value:.1%}{ends}; 50 % means that nobody can tell them apart",
            f"intervals: {self.all.interval}; images {limit}, median answer after {self.milliseconds / 1000:.1f} s",
        ]
        columns = ("who", "wrong of all", "95 %", "real called generated", "95 %", "generated called real", "95 %")
        return Summary(lines, Table(columns, rows))

    def show(self, asked: Asked) -> Answer:
        """Return the error rates as a table, a row a person, and as data."""
        people = [{"file": file, **_data(person)} for file, person in zip(self.files, self.people)]
        data: dict[str, Any] = {"run": self.run, "page": self.page, "seconds": self.seconds, "people": people}
        data |= {**_data((self.all, self.real, self.generated)), "milliseconds": self.milliseconds}
        return Answer(data, *self.summary())


def _data(rates: Rates) -> dict[str, Any]:
    """Return three rates as plain values; a rate over no images has no value."""
    named = zip(("all", "real", "generated"), rates)
    return {name: {**asdict(rate), "value": rate.value if rate.of else None} for name, rate in named}


def _row(who: str, rates: Rates) -> list[str]:
    pairs = [(f"{rate.value:.1%} ({rate.wrong} of {rate.of})" if rate.of else "", rate.ends) for rate in rates]
    return [who, *(cell for pair in pairs for cell in pair)]


def judge(
    run: Run | str | Path,
    out: str | Path,
    *,
    trials: Trials = 40,
    seconds: Seconds = 2.0,
    practice: Practice = 4,
    seed: Seed = 0,
) -> Judged:
    """Write a page with a blind test: half real images, half samples, one at a time in random order.

    The real images come from the test split, or from the held-out images where there is no test split. The page loads
    and sends nothing. At its end a person saves a file of answers, which `pool_answers` reads. The answers are stored
    in the page so that nobody reads them by accident, but someone who wants to find them can.

    Args:
        run: A loaded run or its folder.
        out: The page, an .html. It contains the real images that it shows, and their licence terms apply to it.
        trials: How many images count.
        seconds: How long each image is shown; 0 for no limit.
        practice: How many images come before them and do not count.
        seed: Which images, and their order.

    Raises:
        SettingError: If a number is out of range or odd, or there are fewer real images than the test needs.

    References:
        Zhou et al. 2019, "HYPE: a benchmark for human eye perceptual evaluation of generative models".
    """
    check_ranges(judge, locals())
    path = Path(out)
    if path.suffix.lower() not in PAGE.suffixes or path.is_dir():
        raise SettingError("out", str(out), "must be a file name that ends in .html")
    from morphospace.runs.run import loaded
    from morphospace.tools.judge.blind_test import make_test, save_test

    test, split = make_test(loaded(run), trials, practice, float(seconds), seed)
    save_test(test, path)
    return Judged(path, test.hash, trials, practice, split)


def pool_answers(files: Sequence[str | Path]) -> Pooled:
    """Return the error rates of people who took the same test, with their intervals.

    For one person the interval is Wilson's, over the images. For several it is Student's t over their rates, because
    the answers of one person are not independent; it is never narrower than the interval of all answers together.

    Args:
        files: The files that the page saved, one for each person.

    Raises:
        SettingError: If there is no file.
        DataError: If the files are of different pages, or hold something else.
    """
    require(len(files) >= 1, "answers", list(map(str, files)), "name a file or more that the page saved")
    from morphospace.tools.judge.answers import pooled

    return pooled(files)


def _check_words(run: Any, out: Any, answers: Sequence[str], **others: Any) -> None:
    """Refuse a run or a page beside answers, and a page without them."""
    if answers:
        require(run is None and out is None, "answers", answers[0], "needs no run and no --out", "leave them out")
        return
    require(run is not None, "run", run, "give a run to make a page of, or --answers to pool")
    require(out is not None, "out", out, "must be given: the page to write, an .html")


@tool(files={"out": PAGE}, check=_check_words, help={"run": "The run's folder; leave it out to pool --answers."})
def judge_or_pool(
    run: Run | None,
    out: Path | None = None,
    *,
    answers: Sequence[str] = (),
    trials: Trials = 40,
    seconds: Seconds = 2.0,
    practice: Practice = 4,
    seed: Seed = 0,
) -> Judged | Pooled:
    """Make a page with a blind test, real or generated; or pool the answers that people saved from it.

    Args:
        run: A loaded run; None to pool answers.
        out: The page.
        answers: Files that people saved from one page: print their error rates.
        trials: How many images count.
        seconds: How long each image is shown; 0 for no limit.
        practice: How many images come before them and do not count.
        seed: Which images, and in which order.
    """
    if answers:
        return pool_answers(answers)
    assert run is not None and out is not None
    return judge(run, out, trials=trials, seconds=seconds, practice=practice, seed=seed)
