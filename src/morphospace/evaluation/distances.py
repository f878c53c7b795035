"""Distances between two sets of images, by their features: Frechet, kernel, and those from neighbours.

Every function takes `real=` and `fake=` by name, because most of them differ when the two are swapped. None of them
knows where the features come from; whoever prints the number says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.errors import SettingError, require
from morphospace.evaluation.neighbours import rounding, squared_blocks, squared_radii
from morphospace.evaluation.statistics import Features, matrix, statistics_of
from morphospace.latent.components import Moments
from morphospace.randomness import stream

KERNEL_BLOCK = 2048


@dataclass(frozen=True)
class PrecisionRecall:
    """Which share of the fakes looks real, and which share of the real images has a fake like it."""

    precision: float
    recall: float


@dataclass(frozen=True)
class DensityCoverage:
    """How deep the fakes lie among the real images, and which share of the real images has a fake nearby."""

    density: float
    coverage: float


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation (n - 1) over the splits, and the value of each."""

    mean: float
    deviation: float
    splits: tuple[float, ...]


def _pair(real: Features, fake: Features) -> tuple[Tensor, Tensor]:
    """Return both in float64."""
    a, b = matrix(real, "real").double(), matrix(fake, "fake").double()
    _same_features(a.shape[1], b.shape[1])
    return a, b


def _same_features(real: int, fake: int) -> None:
    if real != fake:
        raise SettingError(f"fake = {fake} features", rule=f"must be as many as the real ones have, {real}")


def _centred_pair(real: Features, fake: Features) -> tuple[Tensor, Tensor]:
    """Return both in float64 about the mean of the real ones, which changes no distance and keeps the digits."""
    a, b = _pair(real, fake)
    centre = a.mean(0)
    return a - centre, b - centre


def frechet_distance(*, real: Features | Moments, fake: Features | Moments) -> float:
    """Return the squared Frechet distance of two Gaussians with the sets' means and covariances.

    d = |m_r - m_f|^2 + tr S_r + tr S_f - 2 tr (S_r S_f)^(1/2), covariances with n - 1 (Heusel et al. 2017, for
    features of an Inception network). With S = L L^T the last trace is the sum of the roots of the eigenvalues of
    L_r^T S_f L_r, which is symmetric: no root of a matrix and no imaginary part ever appears. Where a covariance is
    singular (fewer images than features, features that are always zero) it is the sum of the singular values of
    F_r F_f^T, with S = F^T F, of the centred features themselves where they are the fewer.

    Args:
        real: Features (N, D), or their statistics.
        fake: Features (M, D), or their statistics.

    Returns:
        The distance in float64; never below 0.
    """
    a, b = _side(real, "real"), _side(fake, "fake")
    _same_features(len(a.statistics.mean), len(b.statistics.mean))
    apart = (a.statistics.mean - b.statistics.mean).square().sum()
    one, other = (side.statistics.scatter.trace() / (side.statistics.count - 1) for side in (a, b))
    return max(0.0, float(apart + (one + other) - 2 * _trace_of_root(a, b)))


@dataclass(frozen=True)
class _Side:
    """A set's statistics, and its centred features over sqrt(n - 1) where they are fewer than their numbers."""

    statistics: Moments
    few: Tensor | None


def _side(values: Features | Moments, name: str) -> _Side:
    statistics = values if isinstance(values, Moments) else statistics_of(matrix(values, name))
    require(statistics.count > 1, f"{name} images", statistics.count, "must be at least 2 to have a covariance")
    if isinstance(values, Moments) or statistics.count > len(statistics.mean):
        return _Side(statistics, None)
    centred = matrix(values).double() - statistics.mean
    return _Side(statistics, centred / (statistics.count - 1) ** 0.5)


def _trace_of_root(a: _Side, b: _Side) -> Tensor:
    """Return tr (S_a S_b)^(1/2)."""
    if a.few is None and b.few is None:
        lower, failed = torch.linalg.cholesky_ex(a.statistics.covariance)
        _, failed_too = torch.linalg.cholesky_ex(b.statistics.covariance)
        if not (failed or failed_too):
            product = lower.T @ b.statistics.covariance @ lower
            return torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum()
    return torch.linalg.svdvals(_factor(a) @ _factor(b).T).sum()


def _factor(side: _Side) -> Tensor:
    """Return F with F^T F = S."""
    if side.few is not None:
        return side.few
    values, vectors = torch.linalg.eigh(side.statistics.covariance)
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return (vectors[:, kept] * values[kept].sqrt()).T


def _kernel_sum(a: Tensor, b: Tensor, *, same: bool = False) -> Tensor:
    """Return the sum of (x.y / D + 1)^3 over all pairs of rows; of a set with itself without the diagonal."""
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for block in a.split(KERNEL_BLOCK):
        total += (block @ b.T).div_(a.shape[1]).add_(1).pow_(3).sum()
    if same:
        total -= (a.square().sum(1) / a.shape[1] + 1).pow(3).sum()
    return total


def _unbiased(real: Tensor, fake: Tensor) -> float:
    n, m = len(real), len(fake)
    within = _kernel_sum(real, real, same=True) / (n * (n - 1)) + _kernel_sum(fake, fake, same=True) / (m * (m - 1))
    return float(within - 2 * _kernel_sum(real, fake) / (n * m))


def _not_centred(real: Features, fake: Features) -> tuple[Tensor, Tensor]:
    """Return both in float64 as they are: unlike a distance, the kernel depends on the origin."""
    a, b = _pair(real, fake)
    for name, values in (("real", a), ("fake", b)):
        require(len(values) > 1, f"{name} images", len(values), "must be at least 2 for a kernel distance")
    return a, b


def kernel_distance(*, real: Features, fake: Features) -> float:
    """Return the squared maximum mean discrepancy with the kernel (x.y / D + 1)^3 (KID; Binkowski et al. 2018).

    The unbiased estimate over all pairs, exact, in blocks. Its mean does not depend on how many images there are, and
    it may be negative: that only means that the sets cannot be distinguished.

    Args:
        real: Features (N, D).
        fake: Features (M, D).
    """
    return _unbiased(*_not_centred(real, fake))


def kernel_distance_subsets(
    *, real: Features, fake: Features, subsets: int = 100, size: int = 1000, seed: int = 0
) -> Tensor:
    """Return the kernel distance of random subsets of both sets, (subsets,): the estimate that is usually published.

    Args:
        real: Features (N, D).
        fake: Features (M, D).
        subsets: How many.
        size: Images of each set in a subset, drawn without putting back.
        seed: Which subsets.
    """
    a, b = _not_centred(real, fake)
    most = min(len(a), len(b))
    require(2 <= size <= most, "size", size, f"must be from 2 to {most}, the images of the smaller set")
    found = []
    for number in range(subsets):
        rows = (_shuffled(len(values), seed, "kid", side, number)[:size] for side, values in (("real", a), ("fake", b)))
        found.append(_unbiased(*(values[chosen] for values, chosen in zip((a, b), rows))))
    return torch.tensor(found, dtype=torch.float64)


def inception_score(probabilities: Features, *, splits: int = 10, seed: int = 0) -> InceptionScore:
    """Return exp of the mean of KL(p(y|x) || p(y)) (Salimans et al. 2016), in shuffled splits.

    Shuffled, because samples that come a class at a time make every split look poor.

    Args:
        probabilities: p(y|x), (N, K), each row adding to 1.
        splits: Equal parts that are scored each for itself.
        seed: Which shuffle.
    """
    p = matrix(probabilities, "probabilities").double()
    require(1 <= splits <= len(p), "splits", splits, f"must be from 1 to {len(p)}, the number of images")
    p = p[_shuffled(len(p), seed, "inception score")]
    # xlogy and not a small number beside the logarithm: a class that is never given costs nothing.
    scores = []
    for part in p.tensor_split(splits):
        divergence = (torch.xlogy(part, part) - torch.xlogy(part, part.mean(0))).sum(1)
        scores.append(float(divergence.mean().exp()))
    values = torch.tensor(scores, dtype=torch.float64)
    return InceptionScore(float(values.mean()), float(values.std()) if splits > 1 else 0.0, tuple(scores))


def precision_recall(*, real: Features, fake: Features, k: int = 3) -> PrecisionRecall:
    """Return improved precision and recall (Kynkaanniemi et al. 2019).

    A set's manifold is the union of balls around each of its points, as far as its k-th nearest other point;
    precision is the share of fakes within that of the real ones (distance <= radius), recall the other way round.

    Args:
        real: Features (N, D).
        fake: Features (M, D).
        k: Which neighbour.
    """
    a, b = _centred_pair(real, fake)
    real_radii, fake_radii = (_edges(rows, k, 1) for rows in (a, b))
    recalled = torch.zeros(len(a), dtype=torch.bool, device=a.device)
    precise = 0
    for taken, squared in squared_blocks(b, a):
        precise += int((squared <= real_radii).any(1).sum())
        recalled |= (squared <= fake_radii[taken, None]).any(0)
    return PrecisionRecall(precise / len(b), float(recalled.double().mean()))


def _edges(rows: Tensor, k: int, side: int) -> Tensor:
    """Return squared radii (N,), a rounding further out (1) where what lies on them counts, further in (-1) else."""
    radii = squared_radii(rows, k)
    return radii + side * rounding(rows, radii)


def density_coverage(*, real: Features, fake: Features, k: int = 5) -> DensityCoverage:
    """Return density and coverage (Naeem et al. 2020).

    With balls around the real points only, as far as their k-th nearest other real point: density is the number of
    balls that a fake lies in (distance < radius), over k, in the mean, and may pass 1; coverage is the share of balls
    with a fake in them. One odd image cannot make a large ball that every fake falls into count for much.

    Args:
        real: Features (N, D).
        fake: Features (M, D).
        k: Which neighbour.
    """
    a, b = _centred_pair(real, fake)
    radii = _edges(a, k, -1)
    covered = torch.zeros(len(a), dtype=torch.bool, device=a.device)
    inside = 0
    for _, squared in squared_blocks(b, a):
        within = squared < radii
        inside += int(within.sum())
        covered |= within.any(0)
    return DensityCoverage(inside / (k * len(b)), float(covered.double().mean()))


def half_samples_error(
    measure: Callable[[Tensor, Tensor], tuple[float, ...]],
    *,
    real: Features,
    fake: Features,
    resamples: int = 20,
    seed: int = 0,
    paired: bool = False,
) -> tuple[float, ...]:
    """Return the standard error of each number that `measure(real, fake)` gives, by resampling both sets.

    Each resample is a random half of each set without putting back. That is the bootstrap for numbers that depend on
    neighbours, where an image drawn twice is its own nearest neighbour and every ball shrinks; the spread of halves is
    that of newly drawn whole sets (the delete-d jackknife with d = n / 2, Shao & Wu 1989). The halves' own mean is not
    used, because most of these numbers have a bias that grows as sets shrink.

    Args:
        measure: What is measured.
        real: Features (N, D).
        fake: Features (M, D).
        resamples: How many.
        seed: Which halves.
        paired: Whether each fake belongs to the real image of its row, so that the halves must be of the same rows.
    """
    require(resamples >= 2, "resamples", resamples, "must be at least 2")
    a, b = matrix(real, "real"), matrix(fake, "fake")
    found = []
    for number in range(resamples):
        halves = (
            values[_shuffled(len(values), seed, "half", side, number)[: len(values) // 2]]
            for side, values in (("real", a), ("real" if paired else "fake", b))
        )
        found.append(measure(*halves))
    return tuple(torch.tensor(found, dtype=torch.float64).std(0).tolist())


def _shuffled(count: int, *words: int | str) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(stream(*words)))
