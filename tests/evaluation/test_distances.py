"""Distances between sets against closed forms, numpy, scipy, brute force, and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from morphospace.errors import SettingError
from morphospace.evaluation import neighbours
from morphospace.evaluation.distances import (
    density_coverage,
    frechet_distance,
    half_samples_error,
    inception_score,
    kernel_distance,
    kernel_distance_subsets,
    precision_recall,
)
from morphospace.evaluation.statistics import statistics_of
from morphospace.latent.components import Moments


def of(mean: list[float], covariance: list[list[float]]) -> Moments:
    return Moments(101, torch.tensor(mean).double(), torch.tensor(covariance).double() * 100)


@pytest.fixture(scope="module")
def sets() -> tuple[np.ndarray, np.ndarray]:
    """The two sets whose numbers were computed by other software."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((1000, 16)), rng.standard_normal((800, 16)) * 1.5 + 0.3


def test_frechet_distance_in_closed_form() -> None:
    eye = torch.eye(8).tolist()
    four = (4 * torch.eye(8)).tolist()
    assert frechet_distance(real=of([0.0] * 8, eye), fake=of([0.5] * 8, eye)) == pytest.approx(8 * 0.25, abs=1e-12)
    assert frechet_distance(real=of([0.0] * 8, eye), fake=of([0.0] * 8, four)) == pytest.approx(8.0, abs=1e-12)
    tilted = frechet_distance(real=of([0, 0], [[2, 1], [1, 2]]), fake=of([1, 0], [[1, 0], [0, 3]]))
    assert tilted == pytest.approx(1.5166852264521182, abs=1e-13)


def test_numbers_of_the_reference_sets(sets: tuple[np.ndarray, np.ndarray]) -> None:
    real, fake = sets
    assert frechet_distance(real=real, fake=fake) == pytest.approx(5.6249911419491525, rel=1e-12)
    assert kernel_distance(real=real, fake=fake) == pytest.approx(0.7229809703176149, rel=1e-12)
    five, three = (precision_recall(real=real, fake=fake, k=k) for k in (5, 3))
    assert (five.precision, five.recall) == (0.1975, 1.0)
    assert (three.precision, three.recall) == (0.14375, 0.993)
    deep = density_coverage(real=real, fake=fake, k=5)
    assert (deep.density, deep.coverage) == (0.08725, 0.28)


def by_square_root(a: np.ndarray, b: np.ndarray) -> float:
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    apart = a.mean(0) - b.mean(0)
    return float(apart @ apart + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * np.trace(root))


def test_frechet_distance_against_the_square_root_of_a_matrix() -> None:
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((12, 12))
    a, b = rng.standard_normal((300, 12)) @ mixing, rng.standard_normal((200, 12)) + 2
    assert frechet_distance(real=a, fake=b) == pytest.approx(by_square_root(a, b), rel=1e-9)


@pytest.mark.parametrize("counts", [(6, 200), (200, 6), (6, 5)])
def test_fewer_images_than_features(counts: tuple[int, int]) -> None:
    """Where scipy's root of a singular product has imaginary parts: against roots of eigenvalues."""
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((counts[0], 20)), rng.standard_normal((counts[1], 20)) * 2 + 1
    values, vectors = np.linalg.eigh(np.cov(a.T))
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ np.cov(b.T) @ root).clip(0)).sum()
    apart = a.mean(0) - b.mean(0)
    expected = apart @ apart + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * trace
    assert frechet_distance(real=a, fake=b) == pytest.approx(expected, rel=1e-6)
    streamed = frechet_distance(real=statistics_of(a), fake=statistics_of(b))
    assert streamed == pytest.approx(frechet_distance(real=a, fake=b), rel=1e-9)


@pytest.mark.parametrize("count", [10, 1000])
def test_a_set_is_at_no_distance_from_itself(count: int, sets: tuple[np.ndarray, np.ndarray]) -> None:
    same = sets[0][:count]
    with_dead_unit = np.concatenate([same, np.zeros((count, 1))], 1)
    for values in (same, with_dead_unit):
        assert abs(frechet_distance(real=values, fake=values)) < 1e-12
    found = precision_recall(real=same, fake=same)
    assert (found.precision, found.recall) == (1, 1)


def test_frechet_distance_has_the_bias_that_theory_says() -> None:
    d, n, m = 6, 400, 300
    rng = np.random.default_rng(3)
    found = [frechet_distance(real=rng.standard_normal((n, d)), fake=rng.standard_normal((m, d))) for _ in range(200)]
    expected = (1 / n + 1 / m) * (d + d * (d + 1) / 4)
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 200**0.5 + 0.03 * expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(3, 30), st.integers(3, 30))
def test_frechet_distance_is_a_distance(seed: int, d: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, d)) * 10, rng.standard_normal((m, d)) + 100
    there, back = frechet_distance(real=a, fake=b), frechet_distance(real=b, fake=a)
    assert there == pytest.approx(back, rel=1e-6)
    assert there >= 0


def test_kernel_distance_may_be_negative_and_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((60, 5)), rng.standard_normal((50, 5))

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / 5 + 1) ** 3

    within = [(kernel(x, x).sum() - kernel(x, x).trace()) / (len(x) * (len(x) - 1)) for x in (a, b)]
    expected = sum(within) - 2 * kernel(a, b).mean()
    assert kernel_distance(real=a, fake=b) == pytest.approx(expected, rel=1e-10)
    halves = np.random.default_rng(8).standard_normal((40, 30, 5))
    assert min(kernel_distance(real=x[:15], fake=x[15:]) for x in halves) < 0
    subsets = kernel_distance_subsets(real=a, fake=b, subsets=400, size=25)
    assert float(subsets.mean()) == pytest.approx(expected, abs=4 * float(subsets.std()) / 20)
    assert torch.equal(subsets[:3], kernel_distance_subsets(real=a, fake=b, subsets=3, size=25))


def test_inception_score_is_shuffled_and_knows_its_bounds() -> None:
    sure = torch.eye(4).repeat_interleave(50, 0)
    score = inception_score(sure, splits=5)
    assert 3.5 < score.mean <= 4 and len(score.splits) == 5  # in order each split would hold one class and score 1
    assert inception_score(sure, splits=1).mean == pytest.approx(4)
    assert inception_score(torch.full((60, 4), 0.25)).mean == pytest.approx(1)


def brute_force(a: np.ndarray, b: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sqrt(((x[:, None] - y[None]) ** 2).sum(2))

    real, fake = (np.sort(apart(x, x), 1)[:, k] for x in (a, b))
    across = apart(a, b)
    return (
        (across <= real[:, None]).any(0).mean(),
        (across <= fake[None]).any(1).mean(),
        (across < real[:, None]).sum(0).mean() / k,
        (across.min(1) < real).mean(),
    )


@pytest.mark.parametrize("entries", [64, 1 << 23])
def test_neighbours_in_blocks_against_brute_force(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ENTRIES", entries)
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((90, 4)) + 1000, rng.standard_normal((70, 4)) * 0.7 + 1000.4
    pr, dc = precision_recall(real=a, fake=b, k=4), density_coverage(real=a, fake=b, k=4)
    assert (pr.precision, pr.recall, dc.density, dc.coverage) == pytest.approx(brute_force(a, b, 4), abs=1e-12)
    swapped = precision_recall(real=b, fake=a, k=4)
    assert (swapped.precision, swapped.recall) == (pr.recall, pr.precision)


def test_a_fake_on_the_edge_of_a_ball() -> None:
    """Two real points 10 apart, a fake 10 beyond each: within by `<=`, outside by `<`."""
    real, fake = np.array([[0.0], [10.0]]), np.array([[-10.0], [20.0]])
    assert precision_recall(real=real, fake=fake, k=1).precision == 1
    outside = density_coverage(real=real, fake=fake, k=1)
    assert (outside.density, outside.coverage) == (0, 0)


def test_equal_distances_of_black_and_white_images_are_equal() -> None:
    """Against whole numbers, in which nothing is rounded."""
    rng = np.random.default_rng(4)
    real, fake = (rng.random((120, 24)) < 0.3 for _ in range(2))
    apart = [(a[:, None] != b[None]).sum(2) for a, b in ((real, real), (fake, fake), (fake, real))]
    np.fill_diagonal(apart[0], 99)
    np.fill_diagonal(apart[1], 99)
    of_real, of_fake = (np.sort(each, 1)[:, 2] for each in apart[:2])
    found = precision_recall(real=real.astype(np.float32), fake=fake.astype(np.float32), k=3)
    assert found.precision == (apart[2] <= of_real).any(1).mean()
    assert found.recall == (apart[2] <= of_fake[:, None]).any(0).mean()
    told = density_coverage(real=real.astype(np.float32), fake=fake.astype(np.float32), k=3)
    assert told.density == pytest.approx((apart[2] < of_real).sum() / 3 / 120)
    assert told.coverage == (apart[2] < of_real).any(0).mean()


@pytest.mark.parametrize("entries", [64, 1 << 23])
def test_nearest_is_exact_and_a_copy_is_at_zero(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ENTRIES", entries)
    rng = np.random.default_rng(6)
    known, wanted = rng.standard_normal((83, 7)) + 50, rng.standard_normal((21, 7)) + 50
    wanted[3] = known[40]
    found = neighbours.nearest(wanted, known, 4)
    apart = np.linalg.norm(wanted[:, None] - known, axis=2)
    assert np.array_equal(found.rows.numpy(), np.argsort(apart, 1)[:, :4])
    assert np.allclose(found.distances.numpy(), np.sort(apart, 1)[:, :4], atol=1e-12)
    assert found.distances[3, 0] == 0 and found.rows[3, 0] == 40


def test_errors_of_half_samples_are_those_of_new_sets() -> None:
    rng = np.random.default_rng(7)

    def measure(a: Tensor, b: Tensor) -> tuple[float]:
        return (frechet_distance(real=a, fake=b),)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        return rng.standard_normal((300, 3)), rng.standard_normal((200, 3)) + 0.5

    drawn = [measure(*map(torch.from_numpy, draw()))[0] for _ in range(300)]
    errors = []
    for _ in range(10):
        real, fake = draw()
        errors += half_samples_error(measure, real=real, fake=fake)
    assert np.mean(errors) == pytest.approx(np.std(drawn), rel=0.25)


class Shared(nn.Module):
    """Features that both sides take: torchmetrics hands over uint8 images (B, 3, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(192, 24, generator=torch.Generator().manual_seed(0)) / 10

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1).double() / 255 @ self.weight.double()).tanh()


def test_against_torchmetrics_with_shared_features() -> None:
    generator = torch.Generator().manual_seed(1)
    real = torch.randint(0, 256, (200, 3, 8, 8), dtype=torch.uint8, generator=generator)
    fake = torch.randint(0, 200, (150, 3, 8, 8), dtype=torch.uint8, generator=generator)
    network = Shared()
    a, b = network(real), network(fake)
    theirs = {
        "fd": FrechetInceptionDistance(feature=network, input_img_size=(3, 8, 8)).set_dtype(torch.float64),
        "kid": KernelInceptionDistance(feature=network, subsets=1, subset_size=150),
    }
    for metric in theirs.values():
        metric.update(real[:150] if metric is theirs["kid"] else real, real=True)
        metric.update(fake, real=False)
    assert frechet_distance(real=a, fake=b) == pytest.approx(float(theirs["fd"].compute()), rel=1e-6)
    expected = float(theirs["kid"].compute()[0])
    assert kernel_distance(real=a[:150], fake=b) == pytest.approx(expected, rel=1e-4)
    score = InceptionScore(feature=network, splits=1)
    score.update(fake)
    assert inception_score(b.softmax(1), splits=1).mean == pytest.approx(float(score.compute()[0]), rel=1e-5)


def test_refusals(sets: tuple[np.ndarray, np.ndarray]) -> None:
    real, fake = sets
    with pytest.raises(SettingError, match="fake = 15 features: must be as many"):
        frechet_distance(real=real, fake=fake[:, :15])
    with pytest.raises(SettingError, match="must be at least 2"):
        frechet_distance(real=real, fake=fake[:1])
    with pytest.raises(SettingError, match="k = 3: must be from 1 to 2"):
        precision_recall(real=real[:3], fake=fake, k=3)
    with pytest.raises(SettingError, match="not finite"):
        kernel_distance(real=real, fake=np.full((5, 16), np.nan))
    with pytest.raises(SettingError, match="size = 900"):
        kernel_distance_subsets(real=real, fake=fake, size=900)
