"""A measured number with its interval and the conditions that it was measured under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from morphospace.files import as_read

if TYPE_CHECKING:
    import numpy as np

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Result:
    """One measured number.

    Attributes:
        name: What it is, with the features it was measured in: `FD[classifier:mnist@3f2a]`, `IWAE-5000`.
        value: The number.
        low: Lower end of its interval; None where there is none.
        high: Upper end of it.
        unit: `nats`, `bits/dim`, `dB`; empty for a plain number.
        conditions: Everything else that the number depends on: n_real, n_fake, split, features, resize, dtype, seed,
            and `interval`, which says what the interval is of. Plain values, so that they can be written as JSON.
        metric: The metric that it is a number of, such as `fd`; empty in files of older versions.
        better: Whether `lower` or `higher` is better; empty where neither is, and in older files.
        null: What two disjoint sets of real images score, where that is not 0: `mean`, `low` and `high` over some
            `divisions`, and their numbers of images `n_real` and `n_fake`. None where it was not measured.
        each: The numbers that the value is the mean of, one for each real image in the order of its rows, (n_real,);
            None where it is no such mean. It is not written to files: `compare` computes it again.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    better: Better = ""
    null: Mapping[str, Any] | None = None
    each: np.ndarray | None = field(default=None, compare=False, repr=False)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Result:
        """Return a result from its plain values as read from JSON, where a value that is null is NaN."""
        return cls(**{**row, "value": as_read(row["value"])})

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        plain = {name: value for name, value in vars(self).items() if name != "each"}
        return {**plain, "conditions": dict(self.conditions), "null": None if self.null is None else dict(self.null)}

    def text(self) -> str:
        """Return the value with its unit and interval.

        >>> Result("FD", 5.624991, 5.4, 5.9).text()
        '5.625 (5.4 to 5.9)'
        """
        unit = f" {self.unit}" if self.unit else ""
        interval = "" if self.low is None or self.high is None else f" ({self.low:.4g} to {self.high:.4g})"
        return f"{self.value:.4g}{unit}{interval}"
