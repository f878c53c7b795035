"""Roughness: nothing for a straight fall, little for a smooth one, much for a noisy one."""

from __future__ import annotations

import numpy as np
import pytest

from morphospace.evaluation.roughness import roughness, roughness_of


def test_known_values() -> None:
    assert roughness(list(np.linspace(9.0, 2.0, 50))) == pytest.approx(0, abs=1e-12)
    # Increments 0, -2, 0, -2 ... of spread 1; from 10 down to 1, the median of the last two of eleven.
    assert roughness([10.0, 10, 8, 8, 6, 6, 4, 4, 2, 2, 0]) == pytest.approx(1.0 / 9)


def test_a_smooth_fall_is_small_and_noise_adds_what_it_says() -> None:
    steps = np.arange(400)
    falling = 100 * np.exp(-steps / 60.0)
    rng = np.random.default_rng(0)
    smooth = roughness(falling.tolist())
    assert smooth is not None and smooth < 0.01
    straight = np.linspace(100.0, 0.0, 400)
    for spread in (0.5, 2.0, 5.0):
        noisy = np.mean([roughness((straight + rng.normal(0, spread, 400)).tolist()) for _ in range(40)])
        assert noisy == pytest.approx(np.sqrt(2) * spread / 95, rel=0.05)  # the median of the last tenth is 5
    going_nowhere = roughness((1.4 + rng.normal(0, 0.3, 400)).tolist())
    assert going_nowhere is not None and going_nowhere > 0.5


def test_a_single_spike_shows_and_the_last_value_alone_decides_nothing() -> None:
    straight = np.linspace(100.0, 0.0, 100)
    spiked, ended = straight.copy(), straight.copy()
    spiked[50] += 200
    assert roughness(spiked.tolist()) > 0.2  # type: ignore[operator]
    ended[-1] = 100.0  # as high as the first: taken for the end there would be no fall at all
    assert roughness(ended.tolist()) < 0.2  # type: ignore[operator]


def test_scale_and_offset_do_not_matter() -> None:
    values = np.random.default_rng(1).normal(0, 1, 50) + np.linspace(10, 0, 50)
    assert roughness(values.tolist()) == pytest.approx(roughness((7 * values - 300).tolist()))


@pytest.mark.parametrize("values", [[], [1.0, 0.5], [1.0, 2.0, float("nan")], [1.0, 1.0, 1.0]])
def test_where_there_is_no_answer(values: list[float]) -> None:
    assert roughness(values) is None


def test_by_player_from_the_lines_of_a_run() -> None:
    lines = [{"images": i, "vae/loss": 10.0 - i, "critic/loss": float(i % 2), "vae/kl": 1.0} for i in range(9)]
    lines.append({"images": 9, "valid/loss": 3.0, "valid/vae/loss": 1.0})
    found = roughness_of(lines)
    assert set(found) == {"vae"}  # the critic's first and last agree: no fall, no number
    assert found["vae"] == 0
