"""Codebooks: nearest entries, the straight-through gradient, moving averages by hand, revival."""

from __future__ import annotations

import pytest
import torch

from morphospace.models.codebook import Codebook

VECTORS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [4.0, 4.0], [6.0, 4.0]])


def book(entries: list[list[float]], share: list[float], *, decay: float = 0.5, dead: float = 0.0) -> Codebook:
    """Return a codebook of these entries with these shares."""
    made = Codebook(len(entries), len(entries[0]), decay, dead)
    made.share.copy_(torch.tensor(share))
    made.sums.copy_(torch.tensor(entries) * made.share[:, None])
    return made


def test_averages_move_as_computed_by_hand_on_four_vectors() -> None:
    codebook = book([[0.0, 1.0], [5.0, 5.0]], [0.25, 0.75])
    assert codebook.nearest(VECTORS).tolist() == [0, 0, 1, 1]
    codebook.learn(VECTORS, torch.rand(4))
    # Each entry was chosen by half of the vectors: n = (n + 1/2) / 2, and m = (m + sum / 4) / 2.
    assert codebook.share.tolist() == pytest.approx([(0.25 + 0.5) / 2, (0.75 + 0.5) / 2])
    first, second = [(0.0 + 0.25) / 2, (0.25 + 0.0) / 2], [(3.75 + 2.5) / 2, (3.75 + 2.0) / 2]
    assert codebook.sums.flatten().tolist() == pytest.approx([*first, *second])
    assert codebook.entries[0].tolist() == pytest.approx([first[0] / 0.375, first[1] / 0.375])


def test_gradient_of_the_entries_passes_straight_to_the_vectors() -> None:
    codebook = book([[0.0, 1.0], [5.0, 5.0]], [0.5, 0.5])
    vectors = VECTORS.clone().requires_grad_()
    quantised = codebook(vectors)
    assert torch.equal(quantised.detach(), codebook.entries[[0, 0, 1, 1]])
    (quantised.square().sum() / 2).backward()
    assert vectors.grad is not None and torch.equal(vectors.grad, quantised.detach())


def test_a_dead_entry_begins_anew_at_a_vector_that_was_far_from_its_entry() -> None:
    codebook = book([[0.0, 0.0], [90.0, 90.0], [4.0, 4.0], [99.0, 99.0]], [0.45, 0.05, 0.45, 0.05], dead=0.2)
    twin = book([[0.0, 0.0], [90.0, 90.0], [4.0, 4.0], [99.0, 99.0]], [0.45, 0.05, 0.45, 0.05], dead=0.2)
    codebook.learn(VECTORS, torch.full((4,), 0.5))
    # By hand: of the squared distances 0, 1, 0 and 4 the largest comes first, then the second.
    assert codebook.entries[1].tolist() == [6.0, 4.0] and codebook.entries[3].tolist() == [1.0, 0.0]
    assert codebook.share[[1, 3]].tolist() == [0.25, 0.25]
    twin.learn(VECTORS, torch.full((4,), 0.5))
    assert torch.equal(codebook.sums, twin.sums) and torch.equal(codebook.share, twin.share)


def test_vectors_are_taken_in_proportion_to_their_squared_distance() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0], [5.0, 4.0]])  # at squared distances 1, 4, 0, 1
    taken = torch.zeros(4)
    for _ in range(600):
        codebook = book([[0.0, 0.0], [4.0, 4.0], [99.0, 99.0]], [0.5, 0.5, 1e-6], dead=0.01)
        codebook.learn(vectors, torch.rand(4))
        taken += torch.isclose(codebook.entries[2], vectors).all(1)
    assert taken.tolist() == pytest.approx([100, 400, 0, 100], abs=50)


def test_the_first_batch_places_all_entries_and_none_is_revived_where_none_may_be() -> None:
    codebook = Codebook(16, 3, decay=0.99, dead=0.1)
    assert torch.isfinite(codebook.entries).all() and codebook.used() == 0
    vectors = 50 + torch.randn(400, 3)
    codebook.learn(vectors, torch.rand(400))
    assert (codebook.entries - 50).abs().max() < 5 and codebook.used() == 1
    never = Codebook(16, 3, decay=0.99, dead=0.0)
    never.learn(vectors, torch.rand(400))
    assert (never.share > 0.001).sum() < 16


def test_perplexity_counts_the_entries_in_even_use() -> None:
    assert float(book([[0.0], [1.0], [2.0], [3.0]], [0.25] * 4).perplexity()) == pytest.approx(4)
    assert float(book([[0.0], [1.0], [2.0]], [0.5, 0.5, 1e-12]).perplexity()) == pytest.approx(2)
