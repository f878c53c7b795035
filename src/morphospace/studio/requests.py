"""What a page may ask: plain dataclasses, read from JSON and checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from morphospace.errors import SettingError, nearest, require
from morphospace.studio.reading import MOST_DIMS, TEXT, Reader, number, shown

MOST_CODES = 256
MOST_STEPS = 240
MOST_ENDS = 8
MOST_RUNS = 4
MOST_WALKED = 1080  # images of a walk, over all its legs and kinds of path
MOST_MOVES = 64
HOWS = ("linear", "slerp", "rotate")
MOVED_BY = ("component", "dim", "direction")


@dataclass(frozen=True)
class Condition:
    """What a conditional model is told: a class, or attributes."""

    label: int | str | None = None
    attributes: tuple[tuple[str, float], ...] | None = None

    @classmethod
    def read(cls, reader: Reader) -> Condition | None:
        """Read `condition`; None where there is none."""
        if not reader.has("condition"):
            return None
        value: Any = reader.message["condition"]
        require(isinstance(value, dict) and len(value) == 1, "condition", shown(value), "must be one object")
        inner = Reader(value)
        if "label" in value:
            label = value["label"]
            return cls(label=label if isinstance(label, int) and not isinstance(label, bool) else inner.text("label"))
        told = value.get("attributes")
        require(
            isinstance(told, dict) and len(told) <= TEXT, "condition", shown(value), "must hold label or attributes"
        )
        return cls(attributes=tuple((str(name), number(str(name), one)) for name, one in told.items()))


@dataclass(frozen=True)
class Runs:
    """Which runs there are."""

    @classmethod
    def read(cls, reader: Reader) -> Runs:
        """Nothing to read."""
        return cls()


@dataclass(frozen=True)
class Describe:
    """What one run is and can do, and its settings."""

    run: str

    @classmethod
    def read(cls, reader: Reader) -> Describe:
        """Read the run."""
        return cls(reader.text("run"))


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
class Sliders:
    """The directions of one kind that a run's codes can be moved along; each kind has a cost of its own."""

    run: str
    by: str

    @classmethod
    def read(cls, reader: Reader) -> Sliders:
        """Read the run and the kind."""
        return cls(reader.text("run"), reader.text("by", "component", MOVED_BY))


@dataclass(frozen=True)
class Move:
    """One slider's position: which, and how far."""

    kind: str
    name: str | int
    value: float

    @classmethod
    def of(cls, value: Any) -> Move:
        """Read `["direction", "Smiling", 1.5]`, `["component", 0, -2]` or `["dim", 5, 0.5]`."""
        rule = 'must be ["direction", NAME, VALUE], ["component", NUMBER, VALUE] or ["dim", NUMBER, VALUE]'
        require(isinstance(value, list) and len(value) == 3, "moves", shown(value), rule)
        kind, name, far = value
        whole = isinstance(name, int) and not isinstance(name, bool)
        good = isinstance(name, str) if kind == "direction" else whole and 0 <= name < MOST_DIMS
        require(kind in MOVED_BY and good, "moves", shown(value), rule)
        return cls(kind, name, number("moves", far))


@dataclass(frozen=True)
class Decode:
    """Images of codes: the codes themselves, seeds, points of the map, or a code moved along sliders."""

    run: str
    codes: tuple[tuple[float, ...], ...] = ()
    seeds: tuple[int, ...] = ()
    points: tuple[tuple[float, ...], ...] = ()
    base: tuple[float, ...] | None = None
    moves: tuple[Move, ...] = ()
    moved: bool = False
    condition: Condition | None = None

    @classmethod
    def read(cls, reader: Reader) -> Decode:
        """Read exactly one of the four ways to say which codes."""
        ways = [way for way in ("codes", "seeds", "points", "moves") if reader.has(way)]
        require(len(ways) == 1, "decode", ", ".join(ways) or "nothing", "give one of codes, seeds, points or moves")
        points = reader.codes("points", MOST_CODES) if "points" in ways else ()
        require(all(len(point) == 2 for point in points), "points", len(points), "must be pairs of numbers")
        return cls(
            run=reader.text("run"),
            codes=reader.codes("codes", MOST_CODES) if "codes" in ways else (),
            seeds=reader.wholes("seeds", MOST_CODES) if "seeds" in ways else (),
            points=points,
            base=reader.code("base") if reader.has("base") else None,
            moves=tuple(Move.of(one) for one in reader.items("moves", MOST_MOVES, 0)) if "moves" in ways else (),
            moved="moves" in ways,
            condition=Condition.read(reader),
        )


@dataclass(frozen=True)
class Encode:
    """The code of an image: one of the data, or a picture that was sent."""

    run: str
    image: str = ""
    picture: str = ""
    condition: Condition | None = None

    @classmethod
    def read(cls, reader: Reader) -> Encode:
        """Read `image` (a number, or train:NUMBER) or `picture`."""
        image, picture = read_source(reader)
        return cls(reader.text("run"), image, picture, Condition.read(reader))


def read_source(reader: Reader) -> tuple[str, str]:
    """Return the image, or the picture, that a request names."""
    if reader.has("picture"):
        return "", reader.text("picture")
    value = reader.message.get("image")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else reader.text("image")
    number_ = text.removeprefix("train:")
    # Never a path: what a page names is a number among the run's own images.
    good = number_.isascii() and number_.isdecimal() and len(number_) <= 12
    require(good, "image", shown(text), "must be the number of an image, or train:NUMBER")
    return text, ""


@dataclass(frozen=True)
class MapOf:
    """A map of the data's codes in two dimensions."""

    run: str
    count: int = 1000
    by: str = "pca"

    @classmethod
    def read(cls, reader: Reader) -> MapOf:
        """Read how many images, and which way."""
        return cls(reader.text("run"), reader.whole("count", 3, 3000, 1000), reader.text("by", "pca", ("pca", "umap")))


@dataclass(frozen=True)
class Neighbours:
    """The images nearest to a code: in codes, or in pixels among the training images."""

    run: str
    code: tuple[float, ...]
    count: int = 8
    among: str = "codes"
    condition: Condition | None = None

    @classmethod
    def read(cls, reader: Reader) -> Neighbours:
        """Read the code and where to look."""
        among = reader.text("among", "codes", ("codes", "train"))
        return cls(
            reader.text("run"), reader.code("code"), reader.whole("count", 1, 32, 8), among, Condition.read(reader)
        )


@dataclass(frozen=True)
class Walk:
    """What lies between several codes, one after the other, on each kind of path."""

    run: str
    ends: tuple[tuple[float, ...], ...]
    hows: tuple[str, ...]
    steps: int = 24
    condition: Condition | None = None

    @classmethod
    def read(cls, reader: Reader) -> Walk:
        """Read the ends and the paths."""
        hows = reader.items("hows", len(HOWS))
        for how in hows:
            require(isinstance(how, str) and how in HOWS, "hows", shown(how), f"must be of {', '.join(HOWS)}")
        ends = reader.codes("ends", MOST_ENDS, 2)
        steps = reader.whole("steps", 2, MOST_STEPS, 24)
        drawn = len(hows) * (len(ends) - 1) * steps
        require(drawn <= MOST_WALKED, "steps", steps, f"that makes {drawn} images, and {MOST_WALKED} are the most")
        return cls(reader.text("run"), ends, tuple(hows), steps, Condition.read(reader))


@dataclass(frozen=True)
class Film:
    """A walk as a GIF, forth and back."""

    walk: Walk
    fps: int = 25

    @property
    def run(self) -> str:
        """The run."""
        return self.walk.run

    @classmethod
    def read(cls, reader: Reader) -> Film:
        """Read the walk, of one kind of path, and its pace."""
        walk = Walk.read(reader)
        require(len(walk.hows) == 1, "hows", len(walk.hows), "a film shows one kind of path")
        return cls(walk, reader.whole("fps", 1, 50, 25))


@dataclass(frozen=True)
class Project:
    """A picture that was sent, found in the space: by the encoder, or by optimisation."""

    run: str
    picture: str
    refine: int | None = None
    condition: Condition | None = None

    @classmethod
    def read(cls, reader: Reader) -> Project:
        """Read the picture and how long to search."""
        refine = reader.whole("refine", 0, 500) if reader.has("refine") else None
        return cls(reader.text("run"), reader.text("picture"), refine, Condition.read(reader))


@dataclass(frozen=True)
class Compare:
    """The same code, image or picture in several runs."""

    runs: tuple[str, ...]
    seed: int | None = None
    image: str = ""
    picture: str = ""
    condition: Condition | None = None

    @property
    def run(self) -> str:
        """The first run."""
        return self.runs[0]

    @classmethod
    def read(cls, reader: Reader) -> Compare:
        """Read the runs and what to show in each."""
        runs = tuple(Reader({"run": run}).text("run") for run in reader.items("runs", MOST_RUNS))
        condition = Condition.read(reader)
        if reader.has("seed"):
            return cls(runs, seed=reader.whole("seed", 0, 2**63 - 1), condition=condition)
        image, picture = read_source(reader)
        return cls(runs, None, image, picture, condition)


@dataclass(frozen=True)
class Snapshot:
    """The grid of samples that training drew at a moment."""

    run: str
    images: int

    @classmethod
    def read(cls, reader: Reader) -> Snapshot:
        """Read the moment, in images."""
        return cls(reader.text("run"), reader.whole("images", 0, 10**12))


Request = (
    Runs
    | Describe
    | Card
    | Training
    | Diagnosis
    | Sliders
    | Decode
    | Encode
    | MapOf
    | Neighbours
    | Walk
    | Film
    | Project
    | Compare
    | Snapshot
)
KINDS: dict[str, Callable[[Reader], Request]] = {
    "runs": Runs.read,
    "describe": Describe.read,
    "card": Card.read,
    "training": Training.read,
    "diagnosis": Diagnosis.read,
    "sliders": Sliders.read,
    "decode": Decode.read,
    "encode": Encode.read,
    "map": MapOf.read,
    "neighbours": Neighbours.read,
    "walk": Walk.read,
    "film": Film.read,
    "project": Project.read,
    "compare": Compare.read,
    "snapshot": Snapshot.read,
}


def parse(message: object) -> Request:
    """Read a request.

    Raises:
        SettingError: It is no object, of no known kind, or a value breaks a rule.
    """
    if not isinstance(message, dict):
        raise SettingError("request", shown(message), "must be a JSON object with a kind")
    kind = message.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SettingError("kind", shown(kind), f"there is no such request{nearest(str(kind)[:TEXT], KINDS)}")
    return KINDS[kind](Reader(message))
