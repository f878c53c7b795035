"""The questions of the page: dataclasses whose types say what each value may be, read from JSON by those types."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from morphospace.errors import SettingError, nearest, require
from morphospace.ranges import Between, Range, Seed, types_of
from morphospace.tools.walk.interpolate import How

LONGEST_TEXT = 400
MOST_DIMS = 65_536
MOST_IMAGES_OF_A_WALK = 1080  # over all its legs and kinds of path
LARGEST = 1e3  # of a number in a code: far outside of any prior, and still finite after a network


@dataclass(frozen=True)
class Items:
    """How many items a list holds.

    Attributes:
        least: The fewest.
        most: The most.
        what: What the items are, for the error.
    """

    least: int
    most: int
    what: str


Number = Annotated[float, Between(-LARGEST, LARGEST)]
Code = Annotated[tuple[Number, ...], Items(1, MOST_DIMS, "numbers")]
Codes = Annotated[tuple[Code, ...], Items(1, 256, "codes")]
Kind = Literal["component", "dim", "direction"]


@dataclass(frozen=True)
class Condition:
    """The condition of a conditional model: a class, or attributes."""

    label: int | str | None = None
    attributes: tuple[tuple[str, float], ...] | None = None

    @classmethod
    def read(cls, name: str, value: Any) -> Condition:
        """Read `{"label": 3}` or `{"attributes": {"Smiling": 1}}`."""
        require(isinstance(value, dict) and len(value) == 1, name, shown(value), "must be one object")
        if "label" in value:
            return cls(label=reader_of(int | str)("label", value["label"]))
        asked = value.get("attributes")
        good = isinstance(asked, dict) and len(asked) <= LONGEST_TEXT
        require(good, name, shown(value), "must hold label or attributes")
        return cls(attributes=tuple((str(key), reader_of(Number)(str(key), one)) for key, one in asked.items()))


@dataclass(frozen=True)
class Move:
    """One slider's position: which, and how far."""

    kind: str
    name: str | int
    value: float

    @classmethod
    def read(cls, name: str, value: Any) -> Move:
        """Read `["direction", "Smiling", 1.5]`, `["component", 0, -2]` or `["dim", 5, 0.5]`."""
        rule = 'must be ["direction", NAME, VALUE], ["component", NUMBER, VALUE] or ["dim", NUMBER, VALUE]'
        require(isinstance(value, list) and len(value) == 3, name, shown(value), rule)
        kind, which, far = value
        good = isinstance(which, str) if kind == "direction" else is_whole(which) and 0 <= which < MOST_DIMS
        require(kind in get_args(Kind) and good, name, shown(value), rule)
        return cls(kind, which, reader_of(Number)(name, far))


class Request:
    """A question of the page."""


@dataclass(frozen=True)
class Runs(Request):
    """List the runs."""


@dataclass(frozen=True)
class Gans(Request):
    """List the GANs that the Play room can train with the library's engine, and their settings."""


@dataclass(frozen=True)
class Describe(Request):
    """Describe one run: what it is and can do, and its settings."""

    run: str


@dataclass(frozen=True)
class Card(Describe):
    """A run's model card."""


@dataclass(frozen=True)
class Training(Describe):
    """A run's curves, checkpoints and sample grids."""


@dataclass(frozen=True)
class Diagnosis(Describe):
    """What is wrong with a run, in words."""


@dataclass(frozen=True)
class Sliders(Request):
    """The directions of one kind that a run's codes can be moved along; each kind has a cost of its own."""

    run: str
    by: Kind = "component"


@dataclass(frozen=True)
class Decode(Request):
    """Decode codes: the codes themselves, seeds, points of the map, or a code moved along sliders."""

    run: str
    codes: Codes | None = None
    seeds: Annotated[tuple[Seed, ...], Items(1, 256, "whole numbers")] | None = None
    points: Codes | None = None
    base: Code | None = None
    moves: Annotated[tuple[Move, ...], Items(0, 64, "moves")] | None = None
    condition: Condition | None = None

    def __post_init__(self) -> None:
        ways = [way for way in ("codes", "seeds", "points", "moves") if getattr(self, way) is not None]
        require(len(ways) == 1, "decode", ", ".join(ways) or "nothing", "give one of codes, seeds, points or moves")
        pairs = all(len(point) == 2 for point in self.points or ())
        require(pairs, "points", len(self.points or ()), "must be pairs of numbers")


@dataclass(frozen=True)
class Encode(Request):
    """Encode an image: one of the data (`12`, `train:12`), or a picture that was sent."""

    run: str
    image: int | str = ""
    picture: str = ""
    condition: Condition | None = None

    def __post_init__(self) -> None:
        check_image(self.image, needed=not self.picture)


@dataclass(frozen=True)
class Map(Request):
    """Map the data's codes in two dimensions."""

    run: str
    count: Annotated[int, Between(3, 3000)] = 1000
    by: Literal["pca", "umap"] = "pca"


@dataclass(frozen=True)
class Colours(Request):
    """A number for each image of the map: `attribute:NAME`, `factor:NAME`, or the `error` of its reconstruction."""

    run: str
    by: str = "error"
    count: Annotated[int, Between(3, 3000)] = 1000


@dataclass(frozen=True)
class Neighbours(Request):
    """Find the images nearest to a code: by their codes, or among the training images by their pixels."""

    run: str
    code: Code
    count: Annotated[int, Between(1, 32)] = 8
    among: Literal["codes", "train"] = "codes"
    condition: Condition | None = None


@dataclass(frozen=True)
class Walk(Request):
    """Walk between several codes, one after the other, on each kind of path."""

    run: str
    ends: Annotated[Codes, Items(2, 8, "codes")]
    hows: Annotated[tuple[How, ...], Items(1, 3, "kinds of path")]
    steps: Annotated[int, Between(2, 240)] = 24
    condition: Condition | None = None

    def __post_init__(self) -> None:
        count, most = len(self.hows) * (len(self.ends) - 1) * self.steps, MOST_IMAGES_OF_A_WALK
        require(count <= most, "steps", self.steps, f"that makes {count} images, must be at most {most}")


@dataclass(frozen=True)
class Film(Walk):
    """Make a walk into a GIF that goes there and back."""

    fps: Annotated[int, Between(1, 50)] = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.hows) == 1, "hows", len(self.hows), "must be one, for a film shows one kind of path")


@dataclass(frozen=True)
class Project(Request):
    """Find a picture that was sent, or an image of the data, in the latent space: by the encoder or a search."""

    run: str
    picture: str = ""
    image: int | str = ""
    refine: Annotated[int, Between(0, 500)] | None = None
    condition: Condition | None = None

    def __post_init__(self) -> None:
        check_image(self.image, needed=not self.picture)


@dataclass(frozen=True)
class Examples(Request):
    """Show some held-out images, of different classes where the data have any."""

    run: str
    count: Annotated[int, Between(1, 32)] = 6


@dataclass(frozen=True)
class Likeness(Request):
    """How many held-out images are reconstructed as badly as a picture with this squared error."""

    run: str
    error: Annotated[float, Between(0, 1)] = 0.0


@dataclass(frozen=True)
class Compare(Request):
    """Show the same code, image or picture in several runs."""

    runs: Annotated[tuple[str, ...], Items(1, 4, "runs")]
    seed: Seed | None = None
    image: int | str = ""
    picture: str = ""
    condition: Condition | None = None

    def __post_init__(self) -> None:
        check_image(self.image, needed=self.seed is None and not self.picture)


@dataclass(frozen=True)
class Snapshot(Request):
    """Show the grid of samples that training wrote after so many images."""

    run: str
    images: Annotated[int, Between(0, 10**12)]


KINDS: dict[str, type[Request]] = {
    question.__name__.lower(): question
    for question in (
        *(Runs, Gans, Describe, Card, Training, Diagnosis, Sliders, Decode, Encode),
        *(Map, Colours, Neighbours, Walk, Film, Project, Examples, Likeness, Compare, Snapshot),
    )
}


def parse(message: object, kinds: Mapping[str, type[Request]] = KINDS) -> Request:
    """Read a question of one of some kinds from JSON.

    Raises:
        SettingError: If the message is no object or of an unknown kind, lacks a value, or holds one that its type
            does not allow.
    """
    if not isinstance(message, dict):
        raise SettingError("request", shown(message), "must be a JSON object with a kind")
    kind = message.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise SettingError("kind", shown(kind), f"there is no such request{nearest(str(kind)[:LONGEST_TEXT], kinds)}")
    question: Any = kinds[kind]
    values = {}
    for field in fields(question):
        if field.name in message or field.default is MISSING:
            read = reader_of(types_of(question)[field.name][0])
            values[field.name] = read(field.name, message.get(field.name))
    request: Request = question(**values)
    return request


@cache
def reader_of(hint: Any) -> Callable[[str, Any], Any]:
    """Return a function that reads a JSON value of a type, given its name, and raises a `SettingError` for others."""
    mark: Any = None
    if get_origin(hint) is Annotated:
        mark, hint = hint.__metadata__[-1], hint.__origin__
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return union_reader(options)
    if origin is Literal:
        return lambda name, value: allowed(
            isinstance(value, str) and value in options, name, value, f"must be one of {', '.join(options)}"
        )
    if origin is tuple:
        return list_reader(reader_of(options[0]), mark)
    if hint is str:
        rule = f"must be a text of at most {LONGEST_TEXT}"
        return lambda name, value: allowed(isinstance(value, str) and len(value) <= LONGEST_TEXT, name, value, rule)
    if hint in (int, float):
        return number_reader(hint, mark)
    read: Callable[[str, Any], Any] = hint.read
    return read


def union_reader(options: tuple[Any, ...]) -> Callable[[str, Any], Any]:
    """Return a reader of whole numbers or texts, or of another type or nothing."""
    readers = {option: reader_of(option) for option in options if option is not type(None)}
    *_, last = readers.values()

    def read(name: str, value: Any) -> Any:
        if value is None and type(None) in options:
            return None
        return (readers[int] if int in readers and is_whole(value) else last)(name, value)

    return read


def list_reader(read_item: Callable[[str, Any], Any], size: Items) -> Callable[[str, Any], tuple[Any, ...]]:
    """Return a reader of lists of a bounded length; those of lists must all be as long as the first."""
    rule = f"must be a list of {size.what}, {size.least} to {size.most}"

    def read(name: str, value: Any) -> tuple[Any, ...]:
        allowed(isinstance(value, list) and size.least <= len(value) <= size.most, name, value, rule)
        items = tuple(read_item(name, item) for item in value)
        lengths = {len(item) for item in items if isinstance(item, tuple)}
        require(len(lengths) <= 1, name, len(items), "must be codes of one length")
        return items

    return read


def number_reader(kind: type, bounds: Range | None) -> Callable[[str, Any], Any]:
    """Return a reader of finite numbers within a range, where there is one; whole numbers if the kind is int."""
    kinds, noun = ((int,), "whole number") if kind is int else ((int, float), "finite number")
    rule = f"must be a {noun}" + (f" {bounds.words}" if bounds else "")

    def read(name: str, value: Any) -> Any:
        good = isinstance(value, kinds) and not isinstance(value, bool) and (bounds is None or bounds.holds(value))
        return kind(allowed(good, name, value, rule))

    return read


def allowed(good: bool, name: str, value: Any, rule: str) -> Any:
    """Return a value that is allowed.

    Raises:
        SettingError: If it is not.
    """
    if not good:
        raise SettingError(name, shown(value), rule)
    return value


def check_image(image: int | str, *, needed: bool) -> None:
    """Refuse an image that is no number among the run's own images: never a path.

    Raises:
        SettingError: If it is neither NUMBER nor train:NUMBER, or is needed and missing.
    """
    number = str(image).removeprefix("train:")
    good = number.isascii() and number.isdecimal() and len(number) <= 12
    require(
        good or (image == "" and not needed), "image", shown(image), "must be the number of an image, or train:NUMBER"
    )


def is_whole(value: Any) -> bool:
    """Return whether a JSON value is a whole number, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: object) -> str:
    """Return a value as a message may hold it: short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
