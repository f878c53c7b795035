"""The loss of a phase: named terms with weights, one value for each image."""

from __future__ import annotations

from torch import Tensor

from morphospace.models.distributions import full


class Terms:
    """Named per-image values with weights; the loss is the weighted sum of their means.

    >>> import torch
    >>> terms = Terms().add("reconstruction", torch.tensor([3.0, 5.0])).add("kl", torch.tensor([2.0]), 0.5)
    >>> float(terms.total()), {name: float(mean) for name, mean in terms.means.items()}
    (5.0, {'reconstruction': 4.0, 'kl': 2.0})
    """

    def __init__(self) -> None:
        self.weighted: list[tuple[str, Tensor, float | Tensor]] = []
        self.means: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor, weight: float | Tensor = 1.0) -> Terms:
        """Add a term to minimise: values (B,) and their weight, a number or a tensor ()."""
        mean = full(values).mean()
        self.weighted.append((name, mean, weight))
        self.means[name] = mean.detach()
        return self

    def note(self, name: str, values: Tensor) -> Terms:
        """Add a number that is reported, not minimised."""
        self.means[name] = full(values.detach()).mean()
        return self

    def join(self, others: Terms) -> Terms:
        """Add all terms and numbers of `others`."""
        self.weighted += others.weighted
        self.means |= others.means
        return self

    def times(self, factor: float) -> Terms:
        """Return the same terms with every weight multiplied by `factor`; reported means do not change."""
        scaled = Terms()
        scaled.weighted = [(name, mean, weight * factor) for name, mean, weight in self.weighted]
        scaled.means = dict(self.means)
        return scaled

    def total(self) -> Tensor:
        """Return the loss: the sum of weight * mean over the terms."""
        first, *rest = (mean if _is_one(weight) else mean * weight for _, mean, weight in self.weighted)
        return sum(rest, first)


def _is_one(weight: float | Tensor) -> bool:
    return not isinstance(weight, Tensor) and weight == 1.0  # a tensor is not asked: a GPU would have to be waited for
