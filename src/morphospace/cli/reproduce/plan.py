"""What a page is made of: trainings, commands, the pictures they draw, and what is said of them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morphospace.errors import command, nearest, require
from morphospace.files import as_read
from morphospace.runs.configuration import Configuration, recipe_named, resolve

QUICK = {"images": 128, "report_images": 64, "checkpoint_images": 128}
QUICK_DATA = {"toyfaces": "toyfaces:200", "digits": "digits"}
QUICK_SIZE = "16"
PICTURES = (".png", ".gif")


@dataclass(frozen=True)
class Training:
    """One `morpho train` or `morpho sweep`.

    Attributes:
        path: The folder of its run or runs, relative to the page's.
        words: Its command.
        recipe: The recipe's name.
        data: The images that it is trained on.
        minutes: CPU minutes, about.
        members: Folders of a sweep's runs below `path`; empty for a training of one run.
    """

    path: str
    words: tuple[str, ...]
    recipe: str
    data: str
    minutes: float
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.path

    def member(self, name: str) -> str:
        """Return the folder of one run of a sweep, by its settings: `beta=4`."""
        assert name in self.members, (name, self.members)
        return f"{self.path}/{name}"

    @property
    def runs(self) -> tuple[str, ...]:
        """The folders of its runs."""
        return tuple(f"{self.path}/{name}" for name in self.members) or (self.path,)


@dataclass(frozen=True)
class Step:
    """A command of a figure.

    Attributes:
        text: The command without `morpho`, its paths relative to the page's folder.
        caption: What its picture, the file behind `--out`, shows; empty if it draws none.
        also: Further pictures that it draws, with their captions.
    """

    text: str
    caption: str = ""
    also: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """The command's words."""
        return tuple(shlex.split(self.text))

    @property
    def pictures(self) -> dict[str, str]:
        """The files that it draws, with their captions."""
        words = self.words
        out = {words[words.index("--out") + 1]: self.caption} if self.caption else {}
        return {**out, **self.also}


@dataclass(frozen=True)
class Table:
    """Measured numbers.

    Attributes:
        columns: The headings.
        rows: As many cells each.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Said:
    """What is said below a figure.

    Attributes:
        text: What to look at, with the numbers that were measured.
        holds: Whether a claim of the source was found to hold; None where the measurement cannot tell.
        table: The numbers.
    """

    text: str
    holds: bool | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Found:
    """What was measured for a figure.

    Attributes:
        answers: The JSON object that each of its steps answered, in order.
        logs: The last value of each number in the log of each run that it needs, by the run's folder.
        first: The first value of each.
        roughness: How unsteady the loss of each player was, by the run's folder; see `evaluation.roughness`.
        best: What chose the best checkpoint of each run, and how it scored; empty where none was chosen.
    """

    answers: Sequence[Mapping[str, Any]]
    logs: Mapping[str, Mapping[str, Any]]
    first: Mapping[str, Mapping[str, Any]]
    roughness: Mapping[str, Mapping[str, float]]
    best: Mapping[str, Mapping[str, Any]]

    def result(self, step: int, name: str) -> Mapping[str, Any]:
        """Return one number that `morpho evaluate` measured, by the beginning of its name."""
        results: Sequence[Mapping[str, Any]] = self.answers[step]["results"]
        found = next(one for one in results if str(one["name"]).lower().startswith(name.lower()))
        return {**found, "value": as_read(found["value"])}

    def value(self, step: int, name: str) -> float:
        """Return its value."""
        return float(self.result(step, name)["value"])

    def text(self, step: int, name: str, form: str = ".3g") -> str:
        """Return its value with its interval where there is one, for a table."""
        one = self.result(step, name)
        ends = "" if one["low"] is None else f" ({one['low']:{form}} to {one['high']:{form}})"
        return f"{one['value']:{form}}{ends}"


@dataclass(frozen=True)
class Figure:
    """A figure of a source.

    Attributes:
        key: Its name in files and links.
        title: Its heading.
        needs: The trainings whose runs it shows.
        steps: The commands that draw it.
        look: Says what to look at, from what was measured.
        claim: What the source claims, if the figure checks a claim.
        curves: Runs whose `curves.png` it shows, with captions.
    """

    key: str
    title: str
    needs: tuple[Training, ...]
    steps: tuple[Step, ...]
    look: Callable[[Found], Said]
    claim: str = ""
    curves: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A published source.

    Attributes:
        name: As `morpho reproduce` takes it.
        title: Its own title.
        about: What it trains and shows, in a sentence or two.
        figures: Its figures, in its order.
        minutes: CPU minutes that the figures take beside the trainings, about.
    """

    name: str
    title: str
    about: str
    figures: tuple[Figure, ...]
    minutes: float

    @property
    def trainings(self) -> tuple[Training, ...]:
        """What the figures need, in the order in which they need it."""
        return tuple(dict.fromkeys(training for figure in self.figures for training in figure.needs))


@dataclass(frozen=True)
class Setup:
    """What a page is made of and for whom: whose images, and how much time.

    Attributes:
        name: The source's name.
        data: The images to take in place of those that the recipes name; empty for these.
        quick: Whether to train for seconds only, on embedded images: a trial of the commands, not of the models.
    """

    name: str
    data: str = ""
    quick: bool = False

    def n(self, usual: int, quick: int) -> int:
        """Return a number of images: the usual one, or a few."""
        return quick if self.quick else usual

    @property
    def features(self) -> str:
        """The flag for the features that distances are measured in: a network's as a rule, pixels if time is short."""
        return " --features pixels" if self.quick else ""

    def file(self, name: str) -> str:
        """Return the path of a figure's file."""
        return f"figures/{self.name}/{name}"

    def data_of(self, recipe: str, own: bool = False) -> tuple[str, str]:
        """Return the images of a recipe's run, and the size they are brought to where that is not the recipe's.

        Args:
            recipe: Its name.
            own: Whether it keeps its images whatever the user has.
        """
        from morphospace.data.prepare import embedded_instead
        from morphospace.data.sources import SOURCES

        named = resolve(recipe=recipe).data
        info = SOURCES[named.data.partition(":")[0]].info
        data, size = named.data, ""
        if self.data and not own:
            data = self.data
        elif instead := embedded_instead(named) or (info.embedded if self.quick else ""):
            data = instead
        if self.quick and data.partition(":")[0] in QUICK_DATA:
            return QUICK_DATA[data.partition(":")[0]], QUICK_SIZE
        if data != named.data and not named.size and not size and info.shape:
            size = "x".join(map(str, info.shape[:2])) if info.shape[0] != info.shape[1] else str(info.shape[0])
        return data, size

    def train(
        self,
        recipe: str,
        name: str = "",
        *,
        start_from: Training | None = None,
        grid: str = "",
        own: bool = False,
        **settings: Any,
    ) -> Training:
        """Return the training of a recipe. Equal trainings have one folder, so that sources share their runs.

        Args:
            recipe: Its name.
            name: The folder's name; the recipe's with the settings if left out.
            start_from: A training whose run it begins with.
            grid: The settings that a sweep varies, `beta=0.5,1,4`.
            own: Whether it keeps its images whatever the user has.
            settings: Further settings; they win.
        """
        data, size = self.data_of(recipe, own)
        wanted = resolve(recipe=recipe)
        if data != wanted.data.data:
            settings = {"data": data, **({"size": size} if size else {}), **settings}
        about = recipe_named(recipe).about
        share = settings["images"] / _length(wanted) if settings.get("images") else 1
        settings = {**settings, **(QUICK if self.quick else {})}
        values = grid.partition("=")[2].split(",") if grid else []
        varied = grid.partition("=")[0]
        suffix = "-quick" if self.quick else "" if data == wanted.data.data else f"-{_in_a_path(data)}"
        folder = f"runs/{name or recipe}{f'-by-{varied}' if grid and not name else ''}{suffix}"
        flags = [word for key, value in settings.items() for word in _flag(key, value)]
        grown = ["--grid", grid] if grid else []
        source = ["--from", str(start_from)] if start_from else []
        words = ("sweep" if grid else "train", "--recipe", recipe, *grown, *source, *flags, "--out", folder)
        minutes = float(about.get("minutes", 0)) * share * max(1, len(values))
        made = tuple(f"{varied}={float(value):.12g}" for value in values)
        data = str(settings.get("data", data))
        return Training(folder, words, recipe, data, 0.02 if self.quick else minutes, made)


def _length(wanted: Configuration) -> float:
    """Return how many images a recipe's run sees; for a length in passes, over a set of 60,000 or 10,000."""
    whole = 10_000 if wanted.data.data.startswith("toyfaces") else 60_000
    return wanted.training.images or wanted.training.epochs * whole


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.rstrip('_').replace('_', '-')}"
    return [flag] if value is True else [flag, str(value)]


def _in_a_path(data: str) -> str:
    kind, _, place = data.partition(":")
    return f"{kind}-{Path(place).name}" if place else kind


def relative_data(data: str, out: Path) -> str:
    """Return a source that a user named, seen from the page's folder: the page tells nobody this machine's folders.

    Raises:
        SettingError: If there is no such source.
    """
    from morphospace.data.prepare import anchored
    from morphospace.data.settings import DataSettings
    from morphospace.data.sources import SOURCES

    kind, colon, place = anchored(DataSettings(data=data)).data.rpartition(":")
    if not Path(place).is_absolute():
        known = data.partition(":")[0] in SOURCES
        rule = f"neither a source nor the folder of a pack{nearest(data, SOURCES)}"
        require(known, "data", data, rule, "see `morpho data list`, or give folder:PATH")
        return data
    return f"{kind}{colon}{os.path.relpath(place, out.absolute())}"


def as_typed(words: Sequence[str]) -> str:
    """Return a command as someone may paste it into a shell."""
    return command(*words)
