"""Nearest training images against a brute-force search, and copies told from new images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from morphospace.errors import SettingError
from morphospace.evaluation.novelty import median_ratio, nearest, novelty, shrunk

RNG = np.random.default_rng(0)
TRAINING = RNG.integers(0, 256, (300, 4, 5, 1)).astype(np.uint8)
QUERIES = RNG.integers(0, 256, (40, 4, 5, 1)).astype(np.uint8)


@pytest.mark.parametrize("block", [7, 64, 4096])
def test_neighbours_are_those_of_sklearn(block: int) -> None:
    found = nearest(QUERIES, TRAINING, block=block)
    search = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(TRAINING.reshape(300, -1).astype(float))
    distance, index = search.kneighbors(QUERIES.reshape(40, -1).astype(float))
    assert np.allclose(found.distance, distance[:, 0] / np.sqrt(20)) and (found.index == index[:, 0]).all()
    assert np.allclose(found.ratio, distance[:, 0] / distance[:, 1:].mean(1))


def test_the_same_set_leaves_out_itself() -> None:
    flat = TRAINING.reshape(300, -1).astype(float)
    distances = cdist(flat, flat) + np.diag(np.full(300, np.inf))
    found = nearest(TRAINING, TRAINING, block=64, skip_self=True)
    assert np.allclose(found.distance, distances.min(1) / np.sqrt(20))


def test_an_equal_picture_is_at_zero_though_pictures_are_large_and_bright() -> None:
    bright = (250 + RNG.integers(0, 6, (50, 3000))).astype(np.uint8)
    found = nearest(bright[[3, 17]], bright)
    assert (found.distance == 0).all() and found.index.tolist() == [3, 17] and (found.ratio == 0).all()


def test_copies_are_found_and_blur_is_none() -> None:
    unseen = RNG.integers(0, 256, (60, 4, 5, 1)).astype(np.uint8)
    copied = TRAINING[:100].astype(float) + RNG.normal(0, 2, (100, 4, 5, 1))
    found = novelty(samples=copied, training=TRAINING, unseen=unseen)
    assert found.copies == 1 and found.unseen_copies == 0 and found.ratio < 0.1
    blurred = TRAINING[:80].reshape(20, 4, 4, 5, 1).mean(1)
    found = novelty(samples=blurred, training=TRAINING, unseen=unseen)
    assert found.copies == 0 and found.ratio < 0.95  # nearer to everything, and yet no copy
    found = novelty(samples=QUERIES, training=TRAINING, unseen=unseen)
    assert found.copies == 0 and 0.9 < found.ratio < 1.1


def test_large_pictures_are_averaged_down() -> None:
    large = RNG.integers(0, 256, (5, 64, 48, 3)).astype(np.uint8)
    small = shrunk(large)
    means = large.reshape(5, 32, 2, 24, 2, 3).mean((2, 4))
    assert small.shape == (5, 32, 24, 3) and np.abs(small - means).max() <= 0.5
    assert (shrunk(large, np.array([3, 1])) == small[[3, 1]]).all() and shrunk(TRAINING) is TRAINING


def test_refusals() -> None:
    with pytest.raises(SettingError, match="as many numbers a row"):
        nearest(QUERIES, TRAINING[:, :2])
    with pytest.raises(SettingError, match="too few rows"):
        nearest(QUERIES[:1], QUERIES[:1], skip_self=True)
    assert nearest(QUERIES, TRAINING[:1]).ratio.tolist() == [1.0] * 40


def test_the_interval_of_a_ratio_of_medians_covers_it() -> None:
    """Of two samples of one skewed distribution the ratio of medians is 1, which 95 % intervals cover."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        values, of = rng.lognormal(size=200), rng.lognormal(size=200)
        ratio, low, high = median_ratio(values, of, seed=seed)
        assert low <= ratio <= high and ratio == np.median(values) / np.median(of)
        covered += low <= 1 <= high
    assert covered >= 90
