"""What a run's history gives away: each detector fires on a planted trouble and stays silent on a healthy curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from morphospace.evaluation.diagnose import (
    Finding,
    barely_trained,
    critic_balance,
    diverging,
    exploding,
    not_finite,
    oscillation,
    worst,
)

STEPS = np.arange(200)
RNG = np.random.default_rng(0)
CHANCE = 2 * math.log(2)


def lines(**curves: Any) -> list[dict[str, Any]]:
    """Reports with these numbers, `__` for the slash."""
    names = {name.replace("__", "/"): np.asarray(values, float) for name, values in curves.items()}
    count = len(next(iter(names.values())))
    return [{"images": 64 * i, "step": i, **{n: float(v[i]) for n, v in names.items()}} for i in range(count)]


FALL = 100 + 400 * np.exp(-STEPS / 40) + RNG.normal(0, 3, 200)
VAE = lines(vae__loss=FALL, valid__loss=FALL + 5, vae__kl=np.minimum(STEPS / 4, 25))
GAN = lines(
    critic__real=0.5 + 0.1 * RNG.normal(size=200),
    critic__fake=0.4 + 0.1 * RNG.normal(size=200),
    critic__score_real=np.full(200, 0.7),
    critic__score_fake=np.full(200, 0.3),
    critic__loss=0.9 + 0.2 * RNG.normal(size=200),
    generator__adversarial=1.4 + 0.4 * RNG.normal(size=200) + STEPS / 100,
    generator__loss=1.4 + 0.4 * RNG.normal(size=200) + STEPS / 100,
)


@pytest.mark.parametrize("history", [VAE, GAN, [], VAE[:3]], ids=["vae", "gan", "none", "short"])
def test_a_healthy_history_has_no_findings(history: list[dict[str, Any]]) -> None:
    found = [not_finite(history), exploding(history), diverging(history), oscillation(history)]
    assert [*found, critic_balance(history, CHANCE)] == [None] * 5


def test_a_run_that_has_hardly_begun() -> None:
    found = barely_trained(640, 1437)
    assert found is not None and found.severity == "note" and "0.45 of one pass" in found.says
    assert barely_trained(1437, 1437) is None


def test_numbers_that_are_none() -> None:
    broken = lines(vae__loss=[3.0, 2.0, math.nan])
    found = not_finite(broken)
    assert found is not None and found.severity == "fault" and "vae/loss is nan at 128 images" in found.says


def test_growth_without_end() -> None:
    found = exploding(lines(critic__score_real=np.exp(STEPS / 12.0), critic__loss=-np.exp(STEPS / 12.0)))
    assert found is not None and found.severity == "fault" and "--gradient-penalty" in found.advice
    assert set(found.evidence) == {"critic/score_real", "critic/loss"}
    # From nearly nothing to a little is no explosion, nor is a KL that rises from 0 to 25.
    assert exploding(lines(vae__kl=STEPS / 4.0)) is None
    assert exploding(lines(critic__gradient_norm=np.r_[np.ones(150), np.full(50, 1e4)])) is not None


def test_a_loss_that_comes_up_again() -> None:
    turned = np.r_[np.linspace(500, 100, 100), np.linspace(100, 400, 100)]
    found = diverging(lines(vae__loss=FALL, valid__loss=turned))
    assert found is not None and found.severity == "warning" and "valid/loss" in found.says
    assert diverging(lines(vae__loss=turned)) is not None
    assert diverging(lines(critic__loss=turned, generator__loss=turned)) is None  # players' losses need not fall
    assert diverging(lines(vae__loss=FALL, valid__loss=np.r_[np.linspace(500, 100, 150), np.full(50, 150)])) is None


def test_a_critic_that_has_won_and_one_that_tells_nothing() -> None:
    won = critic_balance(lines(critic__real=np.full(40, 1e-3), critic__fake=np.full(40, 2e-3)), CHANCE)
    assert won is not None and won.severity == "warning" and "--critic-lr" in won.advice
    lost = critic_balance(lines(critic__paired=np.full(40, math.log(2))), math.log(2))
    assert lost is not None and lost.severity == "note"
    assert critic_balance(lines(critic__real=np.zeros(40), critic__fake=np.zeros(40)), 0.0) is None


def test_players_that_chase_each_other() -> None:
    swings = 2 + 1.8 * np.sin(STEPS / 5) + 0.1 * RNG.normal(size=200)
    for player in ("decoder__adversarial", "vae__adversarial"):
        assert oscillation(lines(**{player: swings})) is not None
    found = oscillation(lines(generator__adversarial=swings))
    assert found is not None and found.evidence["crossings"] >= 4 and "roughness" in found.evidence
    assert oscillation(lines(generator__adversarial=2 + 1.8 * RNG.normal(size=200))) is None  # noise, no swing
    assert oscillation(lines(generator__adversarial=2 + 0.2 * np.sin(STEPS / 5))) is None  # small
    assert oscillation(lines(generator__adversarial=np.full(200, 2.0))) is None


def test_the_worst_of_several() -> None:
    note, fault = Finding("a", "note", ""), Finding("b", "fault", "")
    assert worst([note, fault]) == "fault" and worst([note]) == "note" and worst([]) is None
