"""Bounds and their parts against closed forms, known Gaussians and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.likelihoods import Categorical, ContinuousBernoulli, Gaussian
from morphospace.objectives.elbo import (
    bits_per_dim,
    capacity_gap,
    critic_of_codes,
    decomposed_kl,
    dequantised,
    doubly_reparameterised,
    importance_bound,
    normal_log_prob,
    permuted,
    sampled_kl,
    stratified_log_weights,
    with_free_bits,
)

EVIDENCE, ELBO, L_5 = -1.5155121235, -1.6689385332, -1.53254


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_prior_density_agrees_with_scipy() -> None:
    z = noise(5, 3)
    assert normal_log_prob(z).numpy() == pytest.approx(stats.norm.logpdf(z.numpy()).sum(1))


def test_sampled_kl_has_the_closed_form_as_its_mean() -> None:
    q = DiagonalGaussian(
        torch.tensor([[0.5, -1.0], [0.0, 2.0]]).double(), torch.tensor([[-1.0, 0.7], [0.1, -2.0]]).double()
    )
    many = q.repeated(200_000)
    values = sampled_kl(many, many.sample(noise(400_000, 2))).view(2, -1)
    error = values.std(1) / math.sqrt(200_000)
    assert ((values.mean(1) - q.kl()).abs() < 4 * error).all()


# -- the linear-Gaussian model: p(z) = N(0, 1), p(x | z) = N(z, 1), x = 1, q(z | x) = N(x / 2, 1) ---------------------


def log_weights(samples: int, rows: int, *, variance: float = 1.0, seed: int = 0) -> torch.Tensor:
    q = DiagonalGaussian(
        torch.full((1, 1), 0.5, dtype=torch.float64), torch.full((1, 1), math.log(variance), dtype=torch.float64)
    )
    z = q.sample(noise(rows * samples, 1, seed=seed))
    likelihood = -0.5 * ((1 - z[:, 0]) ** 2 + math.log(2 * math.pi))
    return (likelihood + normal_log_prob(z) - q.log_prob(z)).view(rows, samples)


def test_the_bound_of_one_sample_is_the_elbo() -> None:
    assert stats.norm.logpdf(1, 0, math.sqrt(2)) == pytest.approx(EVIDENCE)
    assert EVIDENCE - 0.5 * (2 - 1 - math.log(2)) == pytest.approx(ELBO)  # KL(N(1/2, 1) || N(1/2, 1/2))
    bounds = importance_bound(log_weights(1, 400_000))
    assert float(bounds.mean()) == pytest.approx(ELBO, abs=4 * float(bounds.std()) / math.sqrt(400_000))


def test_the_bound_of_five_samples_is_known_and_it_rises_with_their_number() -> None:
    bounds = importance_bound(log_weights(5, 200_000))
    assert float(bounds.mean()) == pytest.approx(L_5, abs=4 * float(bounds.std()) / math.sqrt(200_000) + 5e-6)
    rising = [float(importance_bound(log_weights(k, 40_000)).mean()) for k in (1, 2, 5, 20, 100)]
    assert rising == sorted(rising) and rising[0] > ELBO - 0.02 and rising[-1] < EVIDENCE
    assert rising[-1] == pytest.approx(EVIDENCE, abs=0.002)


def test_the_exact_posterior_gives_the_evidence_from_every_single_sample() -> None:
    for k in (1, 7):
        bounds = importance_bound(log_weights(k, 100, variance=0.5))
        assert bounds.numpy() == pytest.approx(np.full(100, EVIDENCE), abs=1e-9)


def test_the_best_sample_weighs_most() -> None:
    weights = torch.tensor([[0.0, 3.0, -2.0]], requires_grad=True)
    importance_bound(weights).sum().backward()
    assert weights.grad.flatten().tolist() == pytest.approx(torch.tensor([0.0, 3.0, -2.0]).softmax(0).tolist())
    assert float(importance_bound(torch.tensor([[-5000.0, -1000.0]])).detach()) == pytest.approx(-1000 - math.log(2))


def gradients(doubly: bool, rows: int, samples: int) -> torch.Tensor:
    """Gradients of the bound by q's mean, its log variance and the decoder's shift, of many runs, (rows, 3)."""
    mean, log_variance, shift = (
        torch.full((rows, 1), v, dtype=torch.float64).requires_grad_() for v in (-0.8, 0.8, 0.1)
    )
    q = DiagonalGaussian(mean, log_variance)
    z = q.repeated(samples).sample(noise(rows * samples, 1, seed=int(doubly)))
    scored = (q.detached() if doubly else q).repeated(samples)
    likelihood = -0.5 * ((1 - z - shift.repeat_interleave(samples, 0))[:, 0] ** 2 + math.log(2 * math.pi))
    weights = (likelihood + normal_log_prob(z) - scored.log_prob(z)).view(rows, samples)
    if doubly:
        doubly_reparameterised(z, weights)
    importance_bound(weights).sum().backward()
    return torch.cat([mean.grad, log_variance.grad, shift.grad], 1)


def test_the_doubly_reparameterised_gradient_is_unbiased_and_varies_less() -> None:
    rows = 300_000
    plain, doubly = gradients(False, rows, 4), gradients(True, rows, 4)
    error = ((plain.var(0) + doubly.var(0)) / rows).sqrt()
    assert ((plain.mean(0) - doubly.mean(0)).abs() < 4 * error).all()
    assert error[0] < 0.02 * plain.mean(0)[0].abs()  # sharp enough to see a wrong factor
    assert (doubly.var(0)[:2] < 0.5 * plain.var(0)[:2]).all()  # the encoder's
    assert float(doubly.var(0)[2]) == pytest.approx(float(plain.var(0)[2]), rel=0.05)  # the decoder's is the same


def test_at_the_exact_posterior_the_doubly_reparameterised_gradient_is_nothing() -> None:
    mean = torch.full((50, 1), 0.5, dtype=torch.float64).requires_grad_()
    q = DiagonalGaussian(mean, torch.full((50, 1), math.log(0.5), dtype=torch.float64))
    z = q.repeated(4).sample(noise(200, 1))
    likelihood = -0.5 * ((1 - z[:, 0]) ** 2 + math.log(2 * math.pi))
    weights = (likelihood + normal_log_prob(z) - q.detached().repeated(4).log_prob(z)).view(50, 4)
    doubly_reparameterised(z, weights)
    importance_bound(weights).sum().backward()
    assert float(q.mean.grad.abs().max()) < 1e-12


# -- remedies ---------------------------------------------------------------------------------------------------------


def test_free_bits_and_capacity() -> None:
    per_unit = torch.tensor([[0.0, 3.0, 0.2], [0.1, 1.0, 1.0]], requires_grad=True)
    value = with_free_bits(per_unit, 0.5)
    value.backward()
    assert float(value.detach()) == pytest.approx(0.5 + 2.0 + 0.6)
    assert per_unit.grad.tolist() == [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]  # a unit below its free nats is left alone
    kl = torch.tensor([1.0, 2.0], requires_grad=True)
    capacity_gap(kl, 5.0).backward()
    assert kl.grad.tolist() == [-0.5, -0.5]  # below the capacity the KL is pushed up


# -- total correlation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize(("batch", "dataset"), [(16, 1000), (16, 16), (16, 10), (1, 5), (2, 50)])
def test_the_parts_sum_to_the_kl(batch: int, dataset: int, stratified: bool) -> None:
    q = DiagonalGaussian(noise(batch, 4), noise(batch, 4, seed=1))
    z = q.sample(noise(batch, 4, seed=2))
    parts = decomposed_kl(q, z, dataset, stratified=stratified)
    total = parts.information + parts.total_correlation + parts.per_unit
    assert total.tolist() == pytest.approx(sampled_kl(q, z).tolist(), rel=1e-9, abs=1e-9)


def correlated_codes(count: int, spread: float = 0.6) -> tuple[DiagonalGaussian, torch.Tensor, np.ndarray]:
    """Posteriors whose aggregate is N(0, C), draws of them, and C."""
    covariance = np.array([[1.0, 0.8], [0.8, 1.5]])
    means = noise(count, 2) @ torch.linalg.cholesky(torch.from_numpy(covariance)).T
    q = DiagonalGaussian(means, torch.full((count, 2), math.log(spread), dtype=torch.float64))
    return q, q.sample(noise(count, 2, seed=1)), covariance + spread * np.eye(2)


def total_correlation(covariance: np.ndarray) -> float:
    return 0.5 * math.log(np.prod(np.diag(covariance)) / np.linalg.det(covariance))


def test_the_parts_of_a_known_gaussian() -> None:
    q, z, covariance = correlated_codes(2000)
    parts = decomposed_kl(q, z, 10**9, stratified=True)
    expected = total_correlation(covariance)
    assert float(parts.total_correlation.mean()) == pytest.approx(expected, abs=0.04)
    # information = H(q(z)) - H(q(z | x)), distance of the units = sum_d KL(N(0, C_dd) || N(0, 1))
    information = 0.5 * math.log(np.linalg.det(covariance / 0.6))
    assert float(parts.information.mean()) == pytest.approx(information, abs=0.04)
    per_unit = 0.5 * (np.diag(covariance) - 1 - np.log(np.diag(covariance))).sum()
    assert float(parts.per_unit.mean()) == pytest.approx(per_unit, abs=0.04)
    # Weighted sampling reports the same but for constants: log N in each of the three logarithms of q.
    weighted = decomposed_kl(q, z, 2000)
    shift = math.log(2000)
    assert float(weighted.total_correlation.mean()) - shift == pytest.approx(expected, abs=0.04)
    assert float(weighted.information.mean()) - shift == pytest.approx(information, abs=0.04)


def test_stratified_weights_make_the_aggregate_unbiased() -> None:
    """Over all batches of a small data set that hold image i, the estimate of q(z_i) averages to q(z_i) itself."""
    q, z, _ = correlated_codes(6)
    exact = (-0.5 * ((z[:1] - q.mean) ** 2 / 0.6 + math.log(2 * math.pi * 0.6)).sum(1)).exp().mean()
    rng = np.random.default_rng(0)
    estimates = []
    for _ in range(4000):
        rows = np.concatenate([[0], 1 + rng.permutation(5)[:3]])
        density = (-0.5 * ((z[:1] - q.mean[rows]) ** 2 / 0.6 + math.log(2 * math.pi * 0.6)).sum(1)).exp()
        estimates.append(float((stratified_log_weights(4, 6, z)[0].exp() * density).sum()))
    assert np.mean(estimates) == pytest.approx(float(exact), abs=4 * np.std(estimates) / math.sqrt(4000))
    assert stratified_log_weights(4, 6, z).exp().sum(1).tolist() == pytest.approx([1.0] * 4)


def test_shuffled_codes_keep_their_marginals_and_lose_their_correlation() -> None:
    z = correlated_codes(20_000)[1]
    shuffled = permuted(z, torch.rand(z.shape, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(shuffled.sort(0).values, z.sort(0).values)
    assert np.corrcoef(z.T)[0, 1] > 0.4 and abs(np.corrcoef(shuffled.T)[0, 1]) < 0.03


def test_a_critic_of_shuffled_codes_finds_the_total_correlation() -> None:
    """Between Gaussians the optimal logit is a quadratic form, so that a critic of one can reach it."""
    torch.manual_seed(0)
    z = torch.randn(60_000, 2).double() @ torch.linalg.cholesky(torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double()).T
    both = torch.cat([z, permuted(z, torch.rand(60_000, 2))])
    features = torch.stack([torch.ones(len(both)), both[:, 0] ** 2, both[:, 1] ** 2, both[:, 0] * both[:, 1]], 1)
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        joint, shuffled = (features.double() @ weights).chunk(2)
        loss = sum(part.mean() for part in critic_of_codes(joint, shuffled))
        loss.backward()
        return loss

    optimizer.step(closure)
    logits = (features.double() @ weights.detach()).chunk(2)[0]
    assert float(logits.mean()) == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=0.02)  # 0.511


# -- 8-bit data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
def test_dequantised_values_fill_their_bins(signed: bool) -> None:
    levels = torch.arange(256).double()
    images = 2 * levels / 255 - 1 if signed else levels / 255
    for u in (0.0, 0.5, 1 - 1e-9):
        spread = dequantised(images, torch.full((256,), u, dtype=torch.float64), signed=signed)
        unit = (spread + 1) / 2 if signed else spread
        assert torch.allclose(unit * 256, levels + u)
        assert (unit >= 0).all() and (unit < 1).all()


def test_bits_per_dim_compare_densities_with_masses() -> None:
    """A density that is flat within each bin says exactly the bits of the masses; any other says more."""
    assert bits_per_dim(torch.tensor(math.log(256) * 10), 10) == pytest.approx(8.0)
    uniform = Categorical(False).log_prob(torch.zeros(1, 256, 4, 4), torch.rand(1, 1, 4, 4))
    assert float(bits_per_dim(-uniform, 16)) == pytest.approx(8.0)
    flat = ContinuousBernoulli().log_prob(torch.zeros(1, 1, 4, 4), torch.rand(1, 1, 4, 4))  # logit 0: uniform on [0, 1]
    assert float(bits_per_dim(-flat, 16, levels=256)) == pytest.approx(8.0)
    # Signed: the same Gaussian in twice the range is the same model.
    rng = torch.Generator().manual_seed(0)
    images, u = torch.randint(0, 256, (1, 1, 8, 8), generator=rng) / 255, torch.rand(1, 1, 8, 8, generator=rng)
    raw = torch.zeros(1, 1, 8, 8)
    plain = Gaussian(False, "fixed", 0.3).log_prob(raw, dequantised(images, u))
    signed = Gaussian(True, "fixed", 0.6).log_prob(raw, dequantised(2 * images - 1, u, signed=True))
    one, two = bits_per_dim(-plain, 64, levels=256), bits_per_dim(-signed, 64, levels=256, width=2.0)
    assert float(one) == pytest.approx(float(two), rel=1e-5)


def test_a_dequantised_density_bounds_the_levels_log_probability() -> None:
    """E log density + log width <= log of the density's integral over the bin, for every level (Theis et al. 2016)."""
    x = torch.linspace(0, 1, 4001).double()[None]
    raw = torch.full((1, 1, 1, 1), 0.4, dtype=torch.float64)
    likelihood = Gaussian(False, "fixed", 0.02).double()
    for level in (100, 140, 153, 170):
        spread = dequantised(torch.full((4001, 1, 1, 1), level / 255, dtype=torch.float64), x.view(-1, 1, 1, 1))
        log_density = likelihood.log_prob(raw.expand(4001, 1, 1, 1), spread)
        bound = float(log_density.mean()) - math.log(256)
        exact = float(log_density.exp().mean().log()) - math.log(256)
        mean = float(likelihood.mean(raw))
        assert bound <= exact + 1e-9
        assert math.exp(exact) == pytest.approx(
            np.diff(stats.norm.cdf([level / 256, (level + 1) / 256], mean, 0.02))[0], rel=1e-3
        )
