"""Counting modes: against shares that are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from morphospace.evaluation.modes import modes_of


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.lists(st.integers(0, 50), min_size=7, max_size=7))
def test_the_divergence_is_scipys(seen: list[int], data: list[int]) -> None:
    found = modes_of(torch.tensor(seen), torch.tensor(data))
    shares, wanted = [seen.count(k) for k in range(7)], [n + 1 for n in data]
    assert found.found == len(set(seen))
    assert found.kl == pytest.approx(entropy(shares, wanted), abs=1e-12)


def test_half_the_modes_is_a_bit_and_all_of_them_evenly_is_nothing() -> None:
    even = torch.full((1000,), 60)
    half = modes_of(torch.arange(500).repeat(20), even)
    assert half.found == half.shared == 500 and half.kl == pytest.approx(math.log(2))
    whole = modes_of(torch.arange(1000).repeat(20), even)
    assert whole.found == whole.shared == 1000 and whole.kl == pytest.approx(0, abs=1e-12)


def test_a_stray_sample_finds_a_mode_but_gives_it_no_share() -> None:
    strays = torch.cat([torch.arange(100).repeat(200), torch.arange(100, 200)])
    found = modes_of(strays, torch.full((200,), 60))
    assert (found.found, found.shared) == (200, 100)
