"""What a setting is for, said in its type: `epochs: Annotated[float, Role.LENGTH] = 10.0`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from morphospace.ranges import marks_of


class Role(Enum):
    """What a setting is for. Only objective and fit make another run; the others may change when a run goes on."""

    OBJECTIVE = "what is learned: the objective and the images; the role of a setting that names none"
    FIT = "how well the objective is met: networks, optimizer, augmentation"
    LENGTH = "how long the run is, which is part of a schedule that ends with it"
    SCORING = "what is scored on the way, and when that ends the run"
    REPORTING = "how often the run reports, and how much it keeps"
    PLACE = "where the files lie and where it is computed"
    SOURCE = "the name of the images, which are compared by their hash"


# The settings that describe a run to others. Where its files lay and how the machine was used says nothing of the
# model, and may say something of its owner.
DESCRIPTIVE = (Role.OBJECTIVE, Role.FIT, Role.LENGTH, Role.SCORING)


@dataclass(frozen=True)
class HoldsPath:
    """Marks a setting that may hold a path of this machine; others are told its last part only."""

    @staticmethod
    def last_part(value: Any) -> Any:
        """Return a value without the folders of a path in it.

        >>> HoldsPath.last_part("folder:/home/anna/photos"), HoldsPath.last_part(("~/a/train.csv#face", "digits"))
        ('folder:photos', ('train.csv#face', 'digits'))
        """
        if isinstance(value, tuple | list):
            return type(value)(map(HoldsPath.last_part, value))
        if not isinstance(value, str) or not re.search(r"[/\\]", value):
            return value
        kind, colon, path = value.partition(":") if re.match(r"[\w-]{2,}:", value) else ("", "", value)
        return kind + colon + re.split(r"[/\\]", path.rstrip("/"))[-1]


@dataclass(frozen=True)
class Advice:
    """Marks a setting that helps against something.

    Attributes:
        advice: What to try; `{flag}` stands for the setting's flag.
    """

    advice: str = "{flag}"


@dataclass(frozen=True)
class AgainstCollapse(Advice):
    """Marks a setting that helps against posterior collapse."""


@dataclass(frozen=True)
class TowardsPrior(Advice):
    """Marks a setting that holds the codes of images more closely to the prior."""

    advice: str = "a larger {flag}"


def fields_with(cls: type, *roles: Role) -> list[str]:
    """Return the fields of a settings class that have one of the roles."""
    found = {field.name: marks_of(cls, field.name, Role) for field in dataclasses.fields(cls)}
    return [name for name, marks in found.items() if (marks or [Role.OBJECTIVE])[0] in roles]


def changeable(cls: type) -> list[str]:
    """Return the fields of a settings class that may change when a run goes on."""
    return fields_with(cls, Role.LENGTH, Role.SCORING, Role.REPORTING, Role.PLACE)
