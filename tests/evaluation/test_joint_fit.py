"""Codes against N(0, I), all dimensions together."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from morphospace.evaluation.collapse import code_facts, off_prior
from morphospace.evaluation.joint_fit import joint_fit


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def signed_twins(seed: int, count: int, units: int) -> Tensor:
    """Codes of which each unit is N(0, 1), and every other one is the one before it with a random sign."""
    codes = normal(seed, count, units)
    codes[:, 1::2] = codes[:, ::2] * normal(seed + 1, count, units // 2).sign()
    return codes


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(40, 400), units=st.integers(1, 12))
def test_codes_of_the_prior_stay_with_it_however_few(seed: int, count: int, units: int) -> None:
    fit = joint_fit(normal(seed, count, units))
    assert fit is not None and not fit.off and fit.codes == count // 4 and fit.low <= fit.mixture <= fit.high


def test_units_that_are_normal_one_by_one_but_not_together_are_seen() -> None:
    codes, noise = signed_twins(0, 1200, 4), normal(5, 1200, 4)
    alone = code_facts(codes, None, noise, noise)
    assert off_prior(alone) is None and float(alone.ks.max()) < 0.1  # none of the dimensions tells
    found = off_prior(code_facts(codes, None, noise, noise, normal=True), "a larger --lambda")
    assert found is not None and found.name == "codes off the prior"
    assert found.advice == "sample with --prior mixture, fitted to the codes; or train with a larger --lambda"
    assert found.evidence["nats_mixture"] > 1 > 0.1 > abs(found.evidence["nats_gaussian"])  # uncorrelated: no Gaussian


def test_a_gaussian_is_told_apart_by_as_many_nats_as_it_differs() -> None:
    """KL(N(0, S) || N(0, I)) = (tr S - D - log det S) / 2, which held-out codes estimate."""
    factor = torch.tensor([[1.0, 0.0], [0.95, 0.3122]])
    codes = normal(1, 4000, 2) @ factor.T
    covariance = factor @ factor.T
    exact = 0.5 * float(covariance.trace() - 2 - covariance.logdet())
    fit = joint_fit(codes)
    assert fit is not None
    assert fit.gaussian == pytest.approx(exact, abs=0.1) and fit.low < exact < fit.high + 0.05 and fit.off


def test_a_part_of_the_prior_is_as_many_nats_away_as_its_share_says() -> None:
    """Codes that lie evenly over half of N(0, I) have log 2 nats more there."""
    codes = normal(2, 6000, 2)
    fit = joint_fit(codes[codes[:, 0].sign() == codes[:, 1].sign()])
    assert fit is not None and 0.4 < fit.mixture < 0.72


def test_hardly_any_codes_and_too_many_dimensions_are_not_judged() -> None:
    assert joint_fit(normal(3, 39, 2)) is None and joint_fit(normal(3, 200, 129)) is None
