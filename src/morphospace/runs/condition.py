"""The condition that someone asks a conditional model for, as one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from morphospace.errors import SettingError, require

if TYPE_CHECKING:
    from torch import Tensor

    from morphospace.models.contract import Model


@dataclass(frozen=True)
class Condition:
    """A class or attributes; false if neither is asked for.

    Attributes:
        label: The class, by number or name.
        attributes: Values by name; attributes that are not named are 0.
    """

    label: int | str | None = None
    attributes: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.label is not None and self.attributes is not None:
            rule = f"does not go with attributes = {self.attributes!r}"
            raise SettingError("label", self.label, rule, "ask for one of them")

    def __bool__(self) -> bool:
        return self.label is not None or self.attributes is not None

    def rows(self, model: Model, n: int = 1, start: int = 0) -> Tensor | None:
        """Return conditions (n, K) for n samples: what is asked for, or every class in turn; None if there are none.

        Sample start + i is of the same class at any n.

        Raises:
            SettingError: If the model is not conditional or not on this.
        """
        if model.conditioning is None:
            for name, asked in vars(self).items():
                why = f"{model.settings.name} takes no condition"
                require(asked is None, name, asked, why, "train a conditional model, cvae or cgan")
            return None
        if self.label is not None:
            return model.conditioning.label(self.label).expand(n, -1)
        if self.attributes is not None:
            return model.conditioning.attributes(self.attributes).expand(n, -1)
        return model.conditioning.spread(start + n)[start:]

    def row(self, model: Model) -> Tensor | None:
        """Return the one condition (K,) that is asked for; None if none is."""
        found = self.rows(model)
        return found[0] if self and found is not None else None


NO_CONDITION = Condition()
