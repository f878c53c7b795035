"""How codes are sampled, as one object that the tools pass on; free of torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from morphospace.ranges import Between, check_ranges

PriorName = Literal["auto", "model", "normal", "gaussian", "mixture", "flow"]
Truncation = Annotated[float, Between(0, 2)]
TopK = Annotated[int, Between(0, 65_536)]
Hold = Annotated[int | None, Between(1, 63)]

OF_EVERY_MODEL = ("prior", "truncation")


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How codes are sampled, whichever they are.

    Every model understands `prior` and `truncation`. Of the others, a model's settings name those that it understands
    (`ModelSettings.sample_options`), and its method `narrowed` does what they say.

    Attributes:
        prior: The model's own prior (`model`), N(0, I) (`normal`), one fitted to codes of training images, or `auto`.
        truncation: How far codes lie from their mean, or the temperature.
        top_k: Among how many most probable entries of a codebook each place chooses; 0 for all.
        hold: How many levels of a code, from the top, are those of the seed's first sample in all samples.
    """

    prior: PriorName = "auto"
    truncation: Truncation = 1.0
    top_k: TopK = 0
    hold: Hold = None

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}

    @property
    def special(self) -> dict[str, Any]:
        """Those given that only some models understand."""
        return {name: value for name, value in self.given.items() if name not in OF_EVERY_MODEL}
