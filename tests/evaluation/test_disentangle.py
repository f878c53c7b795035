"""Disentanglement: 1 for a perfect code, about 0 for noise, the same with a dead unit, and tables done by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from morphospace.errors import SettingError
from morphospace.evaluation.disentangle import (
    dci,
    entropies,
    gap,
    mig_binned,
    mig_posterior,
    mutual_information,
    sap,
)
from morphospace.evaluation.factors import Coded, alive, states_of
from morphospace.evaluation.votes import beta_vae_metric, factor_vae_metric

RNG = np.random.default_rng(0)
COUNT = 3000
VALUES = np.stack(
    [RNG.integers(0, 3, COUNT), RNG.random(COUNT), RNG.integers(0, 2, COUNT), RNG.integers(0, 4, COUNT) / 3], 1
)
STATES, NAMES, ORDERED = states_of(VALUES, ("kind", "place", "flag", "size"))
METRICS: dict[str, Callable[[Coded], float]] = {
    "beta-vae": lambda c: beta_vae_metric(c, train=2000, test=1000).above_chance,
    "factor-vae": lambda c: factor_vae_metric(c, train=2000, test=1000).above_chance,
    "mig-binned": mig_binned,
    "mig-posterior": partial(mig_posterior, draws=500),
    "sap": sap,
    "dci": lambda c: dci(c).disentanglement,
}


def coded(means: np.ndarray, log_variance: float = math.log(1e-4)) -> Coded:
    return Coded(means, STATES, NAMES, ORDERED, np.full(means.shape, log_variance))


PERFECT = (STATES - STATES.mean(0)) / STATES.std(0)
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]


@pytest.mark.parametrize("name", METRICS)
def test_one_for_a_perfect_code_and_nothing_for_noise(name: str) -> None:
    assert METRICS[name](coded(PERFECT)) == pytest.approx(1, abs=0.03)
    noise = np.random.default_rng(1).normal(size=(COUNT, 4))
    assert METRICS[name](coded(noise, math.log(0.1))) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("name", METRICS)
def test_a_dead_unit_neither_wins_nor_changes_anything(name: str) -> None:
    rng = np.random.default_rng(2)
    mixed = PERFECT @ TURN + 0.2 * rng.normal(size=(COUNT, 4))
    dead = np.c_[np.full(COUNT, 3.0), mixed, 1e-3 * rng.normal(size=COUNT)]
    assert METRICS[name](coded(dead)) == METRICS[name](coded(mixed))
    nothing = np.zeros((COUNT, 3))
    assert METRICS[name](coded(nothing)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["mig-binned", "mig-posterior", "sap", "dci"])
def test_a_turned_code_is_worse(name: str) -> None:
    assert METRICS[name](coded(PERFECT @ TURN)) < 0.7


def test_the_gap_of_a_table_done_by_hand() -> None:
    """Factor of two states, 8 images: unit 1 knows it but for one image in eight, unit 2 nothing."""
    table = np.array([[3, 1], [1, 3]])
    by_hand = 2 * (3 / 8) * math.log(3 / 2) + 2 * (1 / 8) * math.log(1 / 2)
    assert mutual_information(table) == pytest.approx(by_hand)
    states = np.array([0, 0, 0, 0, 1, 1, 1, 1])[:, None]
    one, two = np.array([-1.0, -1, -1, 1, -1, 1, 1, 1]), np.array([-1.0, 1, -1, 1, -1, 1, -1, 1])
    found = mig_binned(Coded(np.stack([one, two], 1), states, ("side",), (False,)))
    assert found == pytest.approx(by_hand / math.log(2))
    assert gap(np.array([[0.75, 0.2], [0.25, 0.9], [0.5, 0.1]])) == pytest.approx((0.25 + 0.7) / 2)
    assert gap(np.array([[0.4, 0.2]])) == pytest.approx(0.3)  # a lone unit's gap is to nothing
    assert entropies(np.array([[0, 0], [1, 0], [2, 1], [3, 1]])) == pytest.approx([math.log(4), math.log(2)])


def test_information_is_that_of_sklearn() -> None:
    a, b = RNG.integers(0, 5, 400), RNG.integers(0, 3, 400)
    table = np.zeros((5, 3))
    np.add.at(table, (a, b), 1)
    assert mutual_information(table) == pytest.approx(mutual_info_score(a, b))


def test_an_unsure_unit_knows_less_by_its_posteriors_than_by_its_means() -> None:
    """Two states at -1 and 1 with posterior variance 4: I(z; v) by numerical integration."""
    states = np.repeat([0, 1], 1000)[:, None]
    means = np.stack([2.0 * states[:, 0] - 1, np.random.default_rng(0).normal(size=2000)], 1)
    unsure = Coded(means, states, ("side",), (False,), np.log(np.array([[4.0, 1e-2]])).repeat(2000, 0))
    z = np.linspace(-15, 15, 20_001)
    each = [np.exp(-((z - m) ** 2) / 8) / math.sqrt(8 * math.pi) for m in (-1, 1)]
    both = (each[0] + each[1]) / 2
    truth = sum(0.5 * np.trapezoid(p * np.log(p / both), z) for p in each) / math.log(2)
    found = mig_posterior(unsure, draws=2000)
    assert found == pytest.approx(truth, abs=0.02) and found < 0.3 < mig_binned(unsure)
    with pytest.raises(SettingError, match="mig_binned"):
        mig_posterior(Coded(means, states, ("side",), (False,)))


@pytest.mark.parametrize("deviation", [0.01, 0.003, 0.001])
def test_noise_with_sharp_posteriors_knows_nothing(deviation: float) -> None:
    noise = np.random.default_rng(1).normal(size=(COUNT, 1))  # of several the gap between them would hide it
    assert mig_posterior(coded(noise, 2 * math.log(deviation)), draws=1000) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("name", METRICS)
def test_one_large_unit_does_not_silence_the_others(name: str) -> None:
    large = Coded(PERFECT * [12, 1, 1, 1], STATES, NAMES, ORDERED)
    if name != "mig-posterior":
        assert METRICS[name](large) == pytest.approx(1, abs=0.03)
    assert METRICS[name](coded(PERFECT * [12, 1, 1, 1])) == pytest.approx(1, abs=0.05)


def test_one_living_unit_of_noise_is_not_complete() -> None:
    found = dci(coded(np.random.default_rng(1).normal(size=(COUNT, 1))))
    assert (found.disentanglement, found.completeness) == (0, 0) and found.informativeness < 0.05


def test_the_importances_say_which_unit_holds_what() -> None:
    found = dci(coded(PERFECT[:, [2, 0, 3, 1]]))
    assert found.importance.argmax(0).tolist() == [1, 3, 0, 2]
    assert (found.informativeness, found.completeness) == pytest.approx((1, 1), abs=0.02)
    noise = dci(coded(np.random.default_rng(1).normal(size=(COUNT, 4))))
    assert noise.informativeness < 0.05 and noise.completeness < 0.05


def test_votes_hang_on_the_seed_alone() -> None:
    mixed = coded(np.random.default_rng(1).normal(size=(COUNT, 4)))
    first = factor_vae_metric(mixed, train=300, test=300, seed=1)
    assert first == factor_vae_metric(mixed, train=300, test=300, seed=1)
    assert first.chance == 0.25 and first.value != factor_vae_metric(mixed, train=300, test=300, seed=2).value


def test_states_of_factors() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.random(1000), rng.integers(0, 7, 1000), np.full(1000, 2), np.repeat([0.5, 0.6], 500)], 1)
    states, names, ordered = states_of(values, ("smooth", "kind", "still", "scale"), bins=5)
    assert names == ("smooth", "kind", "scale") and ordered == (True, False, True)
    assert np.bincount(states[:, 0]).tolist() == [200] * 5
    order = np.argsort(values[:, 0])
    assert (np.diff(states[order, 0]) >= 0).all()
    assert (states[:, 1] == values[:, 1]).all() and set(states[:, 2]) == {0, 1}
    with pytest.raises(SettingError, match="none of them varies"):
        states_of(np.ones((5, 2)), ("a", "b"))
    each = np.c_[values[:, 0], 0.01 * values[:, 0], np.ones(1000)]
    assert alive(each, points=True).tolist() == [True, True, False]
    assert alive(each, points=False).tolist() == [True, False, False]
