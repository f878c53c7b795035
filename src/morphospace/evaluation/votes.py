"""Disentanglement by votes: which unit, or which pattern of units, identifies the factor that was held fixed.

Votes are drawn from codes that were computed once; no image is encoded again for a vote.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphospace.errors import require
from morphospace.evaluation.factors import Coded
from morphospace.randomness import stream

TRAIN, TEST, AVERAGED = 10_000, 5_000, 64


@dataclass(frozen=True)
class Accuracy:
    """An accuracy over factors.

    Attributes:
        value: As published: share of votes whose factor is named correctly.
        chance: What guessing gets.
    """

    value: float
    chance: float

    @property
    def above_chance(self) -> float:
        """The same scaled so that guessing has 0 and a perfect code 1."""
        return (self.value - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


class _Groups:
    """Rows of the codes by the state of each factor, to draw from at once for any number of votes."""

    def __init__(self, states: np.ndarray) -> None:
        self.states = states
        self.order = [np.argsort(column, kind="stable") for column in states.T]
        counts = [np.bincount(column) for column in states.T]
        self.counts = counts
        self.first = [np.cumsum(count) - count for count in counts]

    def rows(self, factor: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return rows (votes, size) that share the state of each vote's factor, the state as often as it is seen."""
        votes = len(factor)
        found = np.empty((votes, size), np.int64)
        seen, at = rng.integers(len(self.states), size=votes), rng.random((votes, size))
        for k in range(self.states.shape[1]):
            mine = factor == k
            state = self.states[seen[mine], k]
            place = self.first[k][state][:, None] + (at[mine] * self.counts[k][state][:, None]).astype(np.int64)
            found[mine] = self.order[k][place]
        return found

    def partners(self, factor: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for rows (votes, size) others of the same state of each vote's factor."""
        at = rng.random(rows.shape)
        found = np.empty_like(rows)
        for k in range(self.states.shape[1]):
            mine = factor == k
            state = self.states[rows[mine], k]
            place = self.first[k][state] + (at[mine] * self.counts[k][state]).astype(np.int64)
            found[mine] = self.order[k][place]
        return found


def _checked(coded: Coded) -> Coded | None:
    """Return the codes' active units; None if there is none."""
    require(len(coded.means) >= 2, "means", coded.means.shape, "must hold at least two codes")
    living = coded.living()
    return living if living.means.shape[1] else None


def factor_vae_metric(
    coded: Coded, *, seed: int = 0, train: int = TRAIN, test: int = TEST, averaged: int = AVERAGED
) -> Accuracy:
    """Return the accuracy of the FactorVAE metric (Kim & Mnih 2018).

    A vote holds one factor still in some images and names the unit whose variance, over its variance in the whole
    set, is least. Each unit stands for the factor that it was named with most often; the accuracy is that of votes
    drawn afresh. Inactive units take no part.

    Args:
        coded: Codes and factors of a whole set.
        seed: Of the votes.
        train: Votes that give each unit its factor.
        test: Votes that are judged.
        averaged: Images of a vote.
    """
    living, factors = _checked(coded), coded.states.shape[1]
    if living is None:
        return Accuracy(1 / factors, 1 / factors)
    rng = np.random.default_rng(stream(seed, "factor-vae metric"))
    codes = living.means.astype(np.float64)
    codes = (codes - codes.mean(0)) / codes.std(0)
    groups = _Groups(living.states)
    factor = rng.integers(factors, size=train + test)
    units = np.empty(train + test, np.int64)
    for first in range(0, train + test, 1024):
        part = slice(first, first + 1024)
        units[part] = codes[groups.rows(factor[part], averaged, rng)].var(1, ddof=1).argmin(1)
    table = np.zeros((codes.shape[1], factors), np.int64)
    np.add.at(table, (units[:train], factor[:train]), 1)
    return Accuracy(float((table.argmax(1)[units[train:]] == factor[train:]).mean()), 1 / factors)


def beta_vae_metric(
    coded: Coded, *, seed: int = 0, train: int = TRAIN, test: int = TEST, averaged: int = AVERAGED
) -> Accuracy:
    """Return the accuracy of the beta-VAE metric (Higgins et al. 2017).

    A vote holds one factor equal within each of some pairs of images, and takes the mean |z_1 - z_2| over the pairs;
    a linear classifier (logistic regression, on differences divided by each unit's mean one) must name the factor.
    """
    from sklearn.linear_model import LogisticRegression

    living, factors = _checked(coded), coded.states.shape[1]
    if living is None or factors < 2:
        return Accuracy(1 / factors, 1 / factors)
    rng = np.random.default_rng(stream(seed, "beta-vae metric"))
    codes = living.means.astype(np.float64)
    groups = _Groups(living.states)
    factor = rng.integers(factors, size=train + test)
    seen = np.empty((train + test, codes.shape[1]))
    for first in range(0, train + test, 1024):
        part = slice(first, first + 1024)
        one = rng.integers(len(codes), size=(len(factor[part]), averaged))
        two = groups.partners(factor[part], one, rng)
        seen[part] = np.abs(codes[one] - codes[two]).mean(1)
    seen /= seen[:train].mean(0)
    model = LogisticRegression(max_iter=1000).fit(seen[:train], factor[:train])
    return Accuracy(float(model.score(seen[train:], factor[train:])), 1 / factors)
