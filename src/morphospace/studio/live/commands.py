"""What a page can ask of its run: dataclasses whose types say what each value may be, as the explorer's questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from morphospace.errors import require
from morphospace.ranges import Between, Seed
from morphospace.studio.live.settings import MOST_BATCH, Chosen, Data, chosen
from morphospace.studio.requests import Request, parse, shown

MOST_SETTINGS = 64
LONGEST_LIST = 8  # of a setting
MOST_STEPS = 10_000_000
Picture = Annotated[int, Between(0, 1)]
"""Which of the two pictures that a page has side by side."""


@dataclass(frozen=True)
class Changes:
    """Settings by name, as JSON has them; the zoo's own types say later whether each is right."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, value: Any) -> Changes:
        """Read `{"unrolled": 4, "betas": [0.5, 0.999]}`."""
        good = isinstance(value, dict) and len(value) <= MOST_SETTINGS and all(map(small, value.values()))
        require(good, name, shown(value), f"must be an object of at most {MOST_SETTINGS} settings")
        return cls(value)


def small(value: Any) -> bool:
    """Return whether a setting's value is a number, a switch, a short text or a short list of these."""
    if isinstance(value, list):
        return len(value) <= LONGEST_LIST and all(small(one) and not isinstance(one, list) for one in value)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 80)


@dataclass(frozen=True)
class Make(Request):
    """Begin a run, in place of the picture's run before."""

    gan: str
    data: Data
    picture: Picture = 0
    own: str = ""
    seed: Seed = 0
    batch: Annotated[int, Between(0, MOST_BATCH)] = 0
    run: Annotated[int, Between(0, 10**9)] = 0  # stands in its frames, so that those of an earlier run are known
    settings: Changes = Changes()

    def chosen(self) -> Chosen:
        """Return what to train.

        Raises:
            SettingError: If there is no such GAN or setting, or a value breaks its rule or is too large here.
        """
        return chosen(self.gan, self.data, self.settings.values, own=self.own, batch=self.batch, seed=self.seed)


@dataclass(frozen=True)
class Go(Request):
    """Train until so many steps are completed."""

    until: Annotated[int, Between(0, MOST_STEPS)]
    picture: Picture = 0


@dataclass(frozen=True)
class Halt(Request):
    """Stop training, and show what there is."""

    picture: Picture = 0


@dataclass(frozen=True)
class Turn(Request):
    """Take one turn of one player, the next turn of a step, or a whole step."""

    player: Literal["critic", "generator", "next", "all"] = "all"
    picture: Picture = 0


@dataclass(frozen=True)
class Took(Request):
    """A frame was drawn: the next may come."""

    picture: Picture = 0


@dataclass(frozen=True)
class Close(Request):
    """Forget a picture's run."""

    picture: Picture = 0


COMMANDS: Mapping[str, type[Request]] = {one.__name__.lower(): one for one in (Make, Go, Halt, Turn, Took, Close)}


def read(message: object) -> Request:
    """Read a command from JSON.

    Raises:
        SettingError: If it is no object or of an unknown kind, lacks a value, or holds one that its type forbids.
    """
    return parse(message, COMMANDS)
