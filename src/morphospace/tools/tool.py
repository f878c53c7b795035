"""What a tool is: a typed function, the files it writes, and a result that shows itself.

A tool's function is its only declaration. Its annotations say the type, range and choices of each argument
(`Annotated[int, Between(1, 64)]`, `Literal["std", "raw"]`), its docstring says what each argument means, and the
decorator `tool` says which files its verb on the command line writes. The Python API calls the function as it is;
`cli/verbs.py` makes the verb from it. Modules that hold a tool's function import nothing heavy at the top, because
`--help` must not wait for torch: the work is done in modules beside it, imported inside the function.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from morphospace.errors import require
from morphospace.pictures.display import Displayable as Displayable
from morphospace.pictures.display import Summary as Summary
from morphospace.pictures.display import Table as Table
from morphospace.pictures.display import status as status
from morphospace.plugins import Registry, built_in
from morphospace.runs.condition import Condition

if TYPE_CHECKING:
    from morphospace.runs.run import Run

Function = TypeVar("Function", bound=Callable[..., Any])

ADDED: Registry[Callable[..., Any]] = Registry("tool")
"""The tools of packages outside this one, by the names of their verbs."""


@dataclass(frozen=True)
class File:
    """A file that a verb writes.

    Attributes:
        suffixes: Endings that its name may have.
        help: What it is.
        required: Whether the verb always writes it.
        folder: Whether it may be a folder too, written `DIR/`.
        bare: Whether a name without an ending is a folder as well.
        enlarges: Whether it is a picture or film of images, which `--scale` enlarges.
        check: Checks the path before any work is done, for instance that the encoder of a film is installed.
    """

    suffixes: tuple[str, ...]
    help: str
    required: bool = False
    check: Callable[[Path], Any] | None = None
    folder: bool = False
    bare: bool = False
    enlarges: bool = False

    def path(self, name: str, given: str | Path) -> Path:
        """Return the path of a file to write.

        Raises:
            SettingError: If its ending is none of the file's, it is a folder, or it has a place for a number.
        """
        place = Path(given)
        bare = self.bare and not place.suffix
        if self.folder and (bare or place.is_dir() or str(given).endswith(("/", os.sep))):
            full = place.exists() and (not place.is_dir() or any(place.iterdir()))
            require(not full, name, str(given), "is there already and is not empty", "name a new or an empty folder")
            return place
        *some, last = self.suffixes
        endings = f"{', '.join(some)} or {last}" if some else last
        endings += ", or a folder, DIR/" if self.folder else ""
        fits = place.suffix.lower() in self.suffixes and not place.is_dir()
        require(fits, name, str(given), f"must be a file name that ends in {endings}")
        numbered = re.search(r"%[0-9]*d", place.name)
        way_out = "give a folder, DIR/, for one file an image" if self.folder else "leave that out"
        stands = numbered[0] if numbered else ""
        require(not numbered, name, str(given), f"names one file; {stands} stands for no number", way_out)
        return place


PNG = File((".png",), "The picture to write, a .png.", required=True, enlarges=True)
SAMPLES = File(
    (".png", ".npz", ".zip"),
    "Where to write: a .png shows all samples on one sheet; a folder, DIR/, or a .zip gets a PNG for each; a .npz gets "
    "one array of all, arr_0, uint8 (N, H, W, C), with labels if the model has classes.",
    required=True,
    folder=True,
    enlarges=True,
)


@dataclass(frozen=True)
class Declared:
    """What the decorator `tool` notes on a function for the command line.

    Attributes:
        files: The files that the verb writes, by flag.
        flags: Flags whose names differ from the argument's, by argument.
        loads: Whether the first argument is a run that the verb loads, with `--checkpoint`, `--raw` and `--device`;
            or several, if it is named `runs`.
        devices: Whether there is a `--device`; tools that write files for other machines compute on the CPU.
        images: Whether the tool may look at the run's images, which `--data` then gives where they are not found.
        moves: Whether it moves codes; where the model quantises them, the verb says what that means.
        check: Takes all arguments by name before a run is loaded, and refuses those that do not go together.
        hidden: Arguments that only Python can give.
        defaults: Defaults of the verb where they differ from the function's.
        help: Help of a flag where it differs from the docstring's line.
    """

    files: Mapping[str, File] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    loads: bool = True
    devices: bool = True
    images: bool = True
    moves: bool = False
    check: Callable[..., Any] | None = None
    hidden: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)


def tool(**declared: Any) -> Callable[[Function], Function]:
    """Mark a function as a tool; the arguments are the fields of `Declared`. The function stays as it is.

    A function of another package, `mean_image`, becomes the verb `morpho mean-image`.
    """

    def mark(function: Function) -> Function:
        function.declared = Declared(**declared)  # type: ignore[attr-defined]
        if not built_in(function.__module__):
            ADDED.register(function.__name__.replace("_", "-"), function, function.__module__)
        return function

    return mark


# -- what a verb hands to a result, and what it gets back ------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What the command line asked for; a result shows itself by it.

    Attributes:
        run: The loaded run; None for tools that load none, or several.
        words: Every flag and argument as it was written, by the function's names, defaults and files included.
        files: The paths of the files to write, by flag; those not asked for are left out.
        raw: Whether the raw weights were taken.
    """

    run: Run | None
    words: Mapping[str, Any]
    files: Mapping[str, Path]
    raw: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """The run's folder, the images it had seen and which weights were taken: the beginning of most answers."""
        assert self.run is not None
        return {"run": str(self.run.path), "images": self.run.images, "raw": self.raw}

    @property
    def condition(self) -> dict[str, Any]:
        """The label or the attributes that were asked for; empty if neither was."""
        label, attributes = self.words["label"], self.words["attributes"]
        if label is not None:
            return {"label": label}
        return {} if attributes is None else {"attributes": read_attributes(attributes)}


@dataclass(frozen=True)
class Answer:
    """What a verb answers.

    Attributes:
        data: The JSON object of `--json`.
        lines: The same for people.
        table: A table above the lines.
        code: The exit status.
    """

    data: Mapping[str, Any]
    lines: Sequence[str] = ()
    table: Table | None = None
    code: int = 0


# -- arguments that many tools have ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """How an argument that is no plain text or number is written on the command line.

    Attributes:
        read: Returns the value of a text, or raises a `SettingError`.
    """

    read: Callable[[str], Any]


def at_images(count: int) -> str:
    """Return after how many images a model was taken, with a space before it; nothing where that is not known.

    >>> f"4 samples{at_images(60_000)}", f"4 samples{at_images(0)}"
    ('4 samples at 60,000 images', '4 samples')
    """
    return f" at {count:,} images" if count else ""  # none is known of networks trained elsewhere


def read_names(text: str) -> tuple[str, ...]:
    """Read names separated by commas.

    >>> read_names("fd, kid")
    ('fd', 'kid')
    """
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def read_attributes(text: str) -> dict[str, float]:
    """Read `Smiling=1,Male=0`.

    >>> read_attributes("Smiling=1, Male=0")
    {'Smiling': 1.0, 'Male': 0.0}

    Raises:
        SettingError: If a part is not NAME=NUMBER, or a name is there twice.
    """
    wanted: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        fine = bool(name) and abs(number) < float("inf")
        require(fine, "attributes", text, "must be NAME=1,NAME=0, each with a number")
        require(name not in wanted, "attributes", text, f"names {name} twice", "name it once")
        wanted[name] = number
    return wanted


def check_condition(label: Any = None, attributes: Any = None, **others: Any) -> None:
    """Refuse a label and attributes at once."""
    Condition(label, attributes)


PointName = int | str | Path  # of an image, a seed, a file: see `runs.pick.picked`
Label = int | str | None
Attributes = Annotated[Mapping[str, float] | None, Written(read_attributes)]
Names = Annotated[Sequence[str], Written(read_names)]
