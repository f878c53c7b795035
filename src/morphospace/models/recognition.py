"""Codes that an image can be asked for: categorical variables within N(0, I), and what a recogniser says of them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from morphospace.models.distributions import DiagonalGaussian, full

LEAST_VARIANCE = 0.1  # of a recognised continuous code, which then says 1.15 nats at most


@functools.cache
def largest_of(count: int) -> tuple[float, float]:
    """Return E[m] and E[m^2] of the largest m of `count` standard normal numbers, by quadrature.

    >>> [round(moment, 4) for moment in largest_of(2)]  # 1 / sqrt(pi), and 1
    [0.5642, 1.0]
    """
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    density = count * (-0.5 * x**2).exp() / math.sqrt(2 * math.pi) * torch.special.ndtr(x) ** (count - 1)
    return float(torch.trapezoid(density * x, x)), float(torch.trapezoid(density * x**2, x))


@dataclass(frozen=True)
class CodeLayout:
    """What the dimensions of a code z ~ N(0, I) stand for: categories, then continuous codes, then noise.

    Each categorical variable has as many dimensions in a row as it has categories. The largest of them is the category,
    so that all are equally probable, and a code is still a vector of N(0, I) that every tool can move.

    Attributes:
        variables: Categorical variables.
        categories: Categories of each.
        continuous: Continuous codes.
    """

    variables: int
    categories: int
    continuous: int

    @property
    def categorical(self) -> int:
        """Dimensions of all categorical variables."""
        return self.variables * self.categories

    @property
    def recognised(self) -> int:
        """Dimensions that are no noise."""
        return self.categorical + self.continuous

    @property
    def entropy(self) -> float:
        """H(c) of categories and continuous codes, in nats."""
        of_categories = self.variables * math.log(self.categories) if self.categorical else 0.0
        return of_categories + 0.5 * self.continuous * math.log(2 * math.pi * math.e)

    def numbers(self, z: Tensor) -> Tensor:
        """Return the number of each variable's category in codes (B, D), (B, variables)."""
        return z[:, : self.categorical].unflatten(1, (self.variables, -1)).argmax(2)

    def spoken(self, z: Tensor) -> Tensor:
        """Return what a generator is given for codes (B, D): one-hot categories, without a gradient, then the rest."""
        if not self.categorical:
            return z
        chosen = self.numbers(z)[:, :, None] == torch.arange(self.categories, device=z.device)
        return torch.cat([chosen.to(z.dtype).flatten(1), z[:, self.categorical :]], 1)

    def with_category(self, z: Tensor, variable: int, category: Tensor) -> Tensor:
        """Return codes (B, D) with the categories (B,) in one variable: the largest dimension changes places with it.

        Codes from N(0, I) become codes from N(0, I) given that category.
        """
        first, rows = variable * self.categories, torch.arange(len(z), device=z.device)
        old, new = first + self.numbers(z)[:, variable], first + category
        changed = z.clone()
        changed[rows, new], changed[rows, old] = z[rows, old], z[rows, new]
        return changed


@dataclass(frozen=True)
class Recognition:
    """q(c | x) of some images: what a recogniser says of the codes that they were generated from.

    Attributes:
        layout: Where they stand in a code.
        logits: Of the categories, (B, variables, categories).
        continuous: Of the continuous codes, (B, continuous).
    """

    layout: CodeLayout
    logits: Tensor
    continuous: DiagonalGaussian

    @classmethod
    def of(cls, layout: CodeLayout, output: Tensor) -> Recognition:
        """Read a network's output (B, categorical + 2 continuous): logits, means, log variances."""
        logits, gaussian = full(output).split([layout.categorical, 2 * layout.continuous], 1)
        mean, log_variance = gaussian.chunk(2, 1)
        continuous = DiagonalGaussian(mean, log_variance.clamp(math.log(LEAST_VARIANCE), 10))
        return cls(layout, logits.unflatten(1, (layout.variables, layout.categories)), continuous)

    def log_probs(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q(c | x) of the categories of codes z (B, D), and of the continuous codes, each (B,), in nats."""
        layout = self.layout
        continuous = self.continuous.log_prob(z[:, layout.categorical : layout.recognised])
        if not layout.categorical:
            return torch.zeros_like(continuous), continuous
        each = functional.log_softmax(self.logits, 2).gather(2, layout.numbers(z)[:, :, None])
        return each.sum((1, 2)), continuous

    def information(self, z: Tensor) -> Tensor:
        """Return H(c) + log q(c | x), (B,): the mean over codes and their images is at most I(c; x), in nats.

        The bound is tight where q is the true posterior (Barber & Agakov 2003).
        """
        of_categories, of_continuous = self.log_probs(z)
        return self.layout.entropy + of_categories + of_continuous

    def posterior(self, dim: int) -> DiagonalGaussian:
        """Return mean and variance of each dimension of the code (B, dim), given what is said of the categories.

        Noise dimensions are N(0, 1), because nothing is said of them.
        """
        layout, rows = self.layout, len(self.logits)
        means, log_variances = [self.continuous.mean], [self.continuous.log_variance]
        if layout.categorical:
            count, share = layout.categories, self.logits.softmax(2).flatten(1)
            first, second = largest_of(count)
            # Each of the others shares what the largest leaves of a mean of 0 and a mean square of 1.
            mean = share * first - (1 - share) * first / (count - 1)
            square = share * second + (1 - share) * (count - second) / (count - 1)
            means.insert(0, mean)
            log_variances.insert(0, (square - mean**2).log())
        rest = self.logits.new_zeros(rows, dim - layout.recognised)
        return DiagonalGaussian(torch.cat([*means, rest], 1), torch.cat([*log_variances, rest], 1))
