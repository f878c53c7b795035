"""Categories within a Gaussian code, and the bound on the information that an image has of its codes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.recognition import LEAST_VARIANCE, CodeLayout, Recognition, largest_of


def codes(count: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [2, 3, 10, 50])
def test_moments_of_the_largest(count: int) -> None:
    largest = codes(200_000, count).double().amax(1)
    first, second = largest_of(count)
    assert first == pytest.approx(float(largest.mean()), abs=0.01)
    assert second == pytest.approx(float((largest**2).mean()), abs=0.03)
    if count == 3:
        assert first == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)


@given(variables=st.integers(1, 3), categories=st.integers(2, 6), continuous=st.integers(0, 2), seed=st.integers(0, 99))
def test_a_category_changes_and_nothing_else_of_what_the_generator_gets(
    variables: int, categories: int, continuous: int, seed: int
) -> None:
    layout = CodeLayout(variables, categories, continuous)
    z = codes(7, layout.recognised + 2, seed)
    wanted = torch.arange(7) % categories
    changed = layout.with_category(z, variables - 1, wanted)
    assert torch.equal(layout.numbers(changed)[:, -1], wanted)
    assert torch.equal(layout.numbers(changed)[:, :-1], layout.numbers(z)[:, :-1])
    assert torch.equal(changed[:, layout.categorical :], z[:, layout.categorical :])
    assert torch.equal(changed.sort(1).values, z.sort(1).values)  # moved, so that it is still one of N(0, I)
    given_to = layout.spoken(changed)
    assert given_to.shape == z.shape and torch.equal(given_to[:, layout.categorical :], z[:, layout.categorical :])
    hot = given_to[:, : layout.categorical].unflatten(1, (variables, categories))
    assert torch.equal(hot.argmax(2), layout.numbers(changed))


def test_categories_are_even_and_given_one_hot() -> None:
    layout = CodeLayout(2, 5, 0)
    z = codes(40_000, 10)
    given_to = layout.spoken(z)
    assert given_to.unique().tolist() == [0, 1] and torch.equal(
        given_to.unflatten(1, (2, 5)).sum(2), torch.ones(40_000, 2)
    )
    assert (given_to.mean(0) - 0.2).abs().max() < 0.01
    assert torch.equal(CodeLayout(1, 0, 2).spoken(codes(3, 4)), codes(3, 4))


def test_the_bound_is_the_information_where_it_is_known_exactly() -> None:
    """x is the category, another one in a share of cases, and c + noise: Q is their true posterior, by Bayes."""
    count, wrong, variance = 4, 0.3, 0.25
    layout = CodeLayout(1, count, 1)
    z = codes(100_000, 6).double()
    generator = torch.Generator().manual_seed(1)
    seen = layout.numbers(z)[:, 0]
    other = (seen + torch.randint(1, count, seen.shape, generator=generator)) % count
    seen = torch.where(torch.rand(seen.shape, generator=generator) < wrong, other, seen)
    noisy = z[:, count] + math.sqrt(variance) * torch.randn(len(z), generator=generator, dtype=torch.float64)
    logits = torch.full((len(z), 1, count), math.log(wrong / (count - 1)), dtype=torch.float64)
    logits[torch.arange(len(z)), 0, seen] = math.log(1 - wrong)
    posterior = DiagonalGaussian(
        noisy[:, None] / (1 + variance), torch.full((len(z), 1), math.log(variance / (1 + variance))).double()
    )
    of_category = math.log(count) + (1 - wrong) * math.log(1 - wrong) + wrong * math.log(wrong / (count - 1))
    exact = of_category + 0.5 * math.log(1 + 1 / variance)
    bound = float(Recognition(layout, logits, posterior).information(z).mean())
    assert bound == pytest.approx(exact, abs=0.015)
    # Any other Q is below it, by its KL from the true posterior.
    flat = Recognition(layout, torch.zeros_like(logits), posterior)
    assert float(flat.information(z).mean()) == pytest.approx(exact - of_category, abs=0.015)
    unsure = Recognition(layout, logits, DiagonalGaussian(posterior.mean, torch.zeros_like(posterior.mean)))
    assert float(unsure.information(z).mean()) < exact - 0.2


def test_an_ignorant_recogniser_has_no_information() -> None:
    layout = CodeLayout(2, 3, 1)
    said = Recognition(layout, torch.zeros(50_000, 2, 3), DiagonalGaussian(*torch.zeros(2, 50_000, 1)))
    assert float(said.information(codes(50_000, 9)).mean()) == pytest.approx(0, abs=0.01)
    assert layout.entropy == pytest.approx(2 * math.log(3) + 0.5 * math.log(2 * math.pi * math.e))


def test_the_posterior_has_the_moments_of_codes_with_these_categories() -> None:
    layout = CodeLayout(2, 4, 1)
    z = codes(400_000, 11).double()
    chosen = layout.numbers(z)
    of = z[(chosen[:, 0] == 2) & (chosen[:, 1] == 0)]
    sure = torch.full((1, 2, 4), -50.0).double()
    sure[0, 0, 2] = sure[0, 1, 0] = 50
    found = Recognition(layout, sure, DiagonalGaussian(*torch.zeros(2, 1, 1).double())).posterior(11)
    assert (found.mean[0] - of.mean(0)).abs().max() < 0.02
    assert (found.log_variance[0].exp() - of.var(0)).abs().max() < 0.04
    assert torch.equal(layout.numbers(found.mean), torch.tensor([[2, 0]]))
    unsure = Recognition(layout, torch.zeros(1, 2, 4), DiagonalGaussian(*torch.zeros(2, 1, 1))).posterior(11)
    assert float(unsure.kl()) == pytest.approx(0, abs=1e-4)  # nothing is said: it is the prior


def test_a_network_cannot_be_surer_of_a_continuous_code_than_allowed() -> None:
    output = torch.tensor([[1.0, 2.0, 0.5, -99.0]])
    found = Recognition.of(CodeLayout(1, 2, 1), output)
    assert found.logits.tolist() == [[[1.0, 2.0]]] and float(found.continuous.mean) == 0.5
    assert float(found.continuous.log_variance.exp()) == pytest.approx(LEAST_VARIANCE)
