"""Detectors fire on planted collapse and stay silent where all is well."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from morphospace.evaluation.collapse import (
    CodeFacts,
    SampleFacts,
    code_facts,
    entry_facts,
    memorised,
    missing_modes,
    mmd,
    off_prior,
    posterior_collapse,
    same_samples,
    two_sample_ks,
    untaught_prior,
    unused_entries,
)
from morphospace.evaluation.novelty import Novelty

COUNT, UNITS = 1500, 20


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def facts(active: int, *, shift: float = 0.0, scale: float = 1.0, units: int = UNITS) -> CodeFacts:
    """Codes of which some units say nearly all there is to say and the others nothing."""
    means, log_variances = torch.zeros(COUNT, units), torch.zeros(COUNT, units)
    means[:, :active] = scale * math.sqrt(0.95) * normal(1, COUNT, active) + shift
    log_variances[:, :active] = math.log(0.05 * scale**2)
    return code_facts(means, log_variances, normal(2, COUNT, units), normal(3, COUNT, units))


def test_statistics_are_those_of_scipy() -> None:
    a, b = normal(0, 300, 3), normal(1, 200, 3) * torch.tensor([1.0, 2.0, 1.0]) + torch.tensor([0.0, 0.0, 0.5])
    found = two_sample_ks(a, b)
    theirs = [stats.ks_2samp(a[:, i].numpy(), b[:, i].numpy()).statistic for i in range(3)]
    assert found.numpy() == pytest.approx(theirs)
    ties = two_sample_ks(torch.zeros(5, 1), torch.tensor([[0.0], [0.0], [1.0], [1.0]]))
    assert float(ties) == pytest.approx(0.5)
    assert abs(mmd(normal(5, 400, 4), normal(6, 400, 4))) < 0.005
    assert mmd(normal(5, 400, 4), normal(6, 400, 4) + 1) > 0.1


def test_units_and_nats_are_counted() -> None:
    found = facts(8)
    assert (found.units, found.active) == (20, 8)
    kl = 0.5 * (0.95 + 0.05 - 1 - math.log(0.05))
    assert found.kl == pytest.approx(8 * kl, rel=0.05)
    assert found.spread.numpy() == pytest.approx(np.ones(20), abs=0.3) and float(found.ks.max()) < 0.08
    points = code_facts(normal(1, 200, 4), None, normal(2, 200, 4), normal(3, 200, 4))
    assert points.kl is None and points.active == 4


def test_collapse_is_found_and_named_with_its_cause() -> None:
    for healthy in (facts(20), facts(11)):
        assert posterior_collapse(healthy) is None and off_prior(healthy) is None
    total = posterior_collapse(facts(0), beta_in_nats=3072, averaged=True)
    assert total is not None and total.severity == "fault" and total.name == "posterior collapse"
    assert "0 of 20 units" in total.says and "3,072 times" in total.says and "--reduction sum --beta 1" in total.advice
    assert total.evidence["active_units"] == 0 and total.evidence["kl_nats"] < 0.01
    fair = posterior_collapse(facts(0), beta_in_nats=0.5, against="--free-bits")
    assert fair is not None and fair.advice == "--free-bits, or a decoder of fewer --widths"
    bare = posterior_collapse(facts(0))
    assert bare is not None and bare.advice == "a decoder of fewer --widths"
    assert "0 of 20" in fair.says and "times what" not in fair.says
    few = posterior_collapse(facts(2, units=64))
    assert few is not None and few.severity == "warning"
    spare = posterior_collapse(facts(7))
    assert spare is not None and spare.severity == "note" and "--latent-dim 7" in spare.advice
    assert posterior_collapse(code_facts(torch.zeros(9, 2), None, normal(2, 9, 2), normal(3, 9, 2))) is None


@pytest.mark.parametrize(("shift", "scale"), [(3.0, 1.0), (0.0, 5.0), (0.0, 0.2)])
def test_codes_off_the_prior(shift: float, scale: float) -> None:
    found = off_prior(facts(20, shift=shift, scale=scale))
    assert found is not None and found.severity == "warning" and "--prior" in found.advice
    assert "or train" not in found.advice
    held = off_prior(facts(20, shift=shift, scale=scale), "a larger --lambda")
    assert held is not None and held.advice.endswith("; or train with a larger --lambda")
    inverse = off_prior(facts(20, shift=shift, scale=scale), decodes_prior=True)  # samples do not depend on its codes
    assert inverse is not None and "longer training" in inverse.advice and "--prior" not in inverse.advice


def test_codes_are_held_against_a_fitted_prior_in_its_own_units() -> None:
    codes = 40 * normal(1, COUNT, 4) + 100
    assert off_prior(code_facts(codes, None, 40 * normal(2, COUNT, 4) + 100, normal(3, COUNT, 4))) is None


def test_samples_alike() -> None:
    assert same_samples(SampleFacts(0.6, 0.0, 0.0, 500), encodes=False) is None
    assert same_samples(SampleFacts(0.9, 0.4, 0.4, 500), encodes=False) is None  # the data have doubles themselves
    assert same_samples(SampleFacts(0.25, 0.0, 0.0, 500), encodes=True) is None  # means, blurred, of healthy codes
    narrow = same_samples(SampleFacts(0.25, 0.0, 0.0, 500), encodes=False)
    assert narrow is not None and narrow.severity == "warning"
    one = same_samples(SampleFacts(0.001, 1.0, 0.0, 500), encodes=True, against="a lower --beta")
    assert one is not None and one.severity == "fault" and one.advice == "a lower --beta, so that codes say more"
    astray = same_samples(SampleFacts(0.01, 0.0, 0.0, 500), encodes=True, codes=facts(20, scale=5.0))
    assert astray is not None and "--prior gaussian" in astray.advice
    modes = same_samples(SampleFacts(0.7, 0.3, 0.0, 500), encodes=False)
    assert modes is not None and modes.severity == "warning" and "--packing" in modes.advice
    pairs = same_samples(SampleFacts(0.7, 0.3, 0.0, 500), encodes=False, takes=lambda given: "r1" in given)
    assert pairs is not None and pairs.advice.startswith("--r1 1 with --critic-norm none; train r3gan")
    none = same_samples(SampleFacts(0.7, 0.3, 0.0, 500), encodes=False, takes=lambda given: False)
    assert none is not None and none.advice.startswith("train r3gan")


def test_memory() -> None:
    assert memorised(Novelty(0.1, 0.15, 0.0, 0.0)) is None
    assert memorised(Novelty(0.1, 0.15, 0.3, 0.3)) is None
    found = memorised(Novelty(0.01, 0.15, 0.9, 0.0))
    assert found is not None and found.severity == "fault" and "90%" in found.says


def test_missing_modes() -> None:
    names = ("zero", "one", "two", "three")
    even = torch.full((4,), 0.25)
    assert missing_modes(torch.tensor([30, 20, 25, 25]), even, names) is None
    found = missing_modes(torch.tensor([50, 49, 0, 1]), even, names)
    assert found is not None and found.severity == "warning" and "2 of 4" in found.says and "two, three" in found.says
    lone = missing_modes(torch.tensor([100, 0, 0, 0]), even, names)
    assert lone is not None and lone.severity == "fault"
    assert missing_modes(torch.tensor([50, 50, 0, 0]), torch.tensor([0.5, 0.5, 0.0, 0.0]), names) is None


def test_entries_hardly_used_and_a_prior_that_has_learned_nothing_are_found() -> None:
    even = entry_facts(torch.arange(64).view(16, 4), torch.full((16,), 9.0), 64)
    assert (
        even.used == 64 and even.perplexity == pytest.approx(64) and even.even_nats == pytest.approx(4 * math.log(64))
    )
    assert unused_entries(even) is None and untaught_prior(even) is None
    few = unused_entries(entry_facts(torch.arange(64).view(16, 4) % 4, torch.zeros(16), 64))
    assert few is not None and few.severity == "warning" and few.evidence["entries_used"] == 4
    one = unused_entries(entry_facts(torch.zeros(16, 4, dtype=torch.long), torch.zeros(16), 64))
    assert one is not None and one.severity == "fault"
    untaught = untaught_prior(entry_facts(torch.arange(64).view(16, 4), torch.full((16,), 16.6), 64))
    assert untaught is not None and "--autoencoder-images" in untaught.advice
