"""Streamed, merged and saved statistics are those of the whole set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from morphospace.errors import SettingError
from morphospace.evaluation.statistics import statistics_of
from morphospace.latent.components import Moments
from morphospace.runs.checkpoints import load_tensors, save_tensors


def same(statistics: Moments, values: np.ndarray) -> None:
    assert statistics.count == len(values)
    assert np.allclose(statistics.mean.numpy(), values.mean(0), rtol=1e-12, atol=0)
    assert np.allclose(statistics.covariance.numpy(), np.cov(values.T), rtol=1e-8, atol=1e-10)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_blocks_of_any_size_merge_into_the_whole(seed: int, sizes: list[int]) -> None:
    values = np.random.default_rng(seed).standard_normal((sum(sizes), 3)) + 1e4  # far from zero no digit is lost
    blocks = np.split(values, np.cumsum(sizes)[:-1])
    same(statistics_of(iter(blocks)), values)
    parts = [statistics_of(block) for block in blocks]
    last = parts[-1]
    for part in parts[:-1]:
        last = last.merge(part)
    same(last, values)


def test_float32_features_are_summed_in_float64() -> None:
    values = (np.random.default_rng(0).standard_normal((10_000, 4)) + 300).astype(np.float32)
    same(statistics_of(values), values.astype(np.float64))


def test_they_can_be_saved(tmp_path: Path) -> None:
    made = statistics_of(np.random.default_rng(0).standard_normal((20, 3)))
    save_tensors(tmp_path / "s.safetensors", made.tensors())
    read = Moments.from_tensors(load_tensors(tmp_path / "s.safetensors"))
    assert read.count == 20 and torch.equal(read.mean, made.mean) and torch.equal(read.scatter, made.scatter)


def test_refusals() -> None:
    with pytest.raises(SettingError, match="no blocks"):
        statistics_of(iter([]))
    with pytest.raises(SettingError, match="must be a matrix"):
        statistics_of(np.zeros((3, 4, 5)))
    with pytest.raises(SettingError, match="must be of the same features"):
        statistics_of(np.ones((3, 4))).merge(statistics_of(np.ones((3, 5))))
