"""What the replay memory holds."""

from __future__ import annotations

import torch

from morphospace.models.memory import ReplayMemory


def numbered(*numbers: int) -> torch.Tensor:
    return torch.tensor([float(n) for n in numbers]).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def held(memory: ReplayMemory) -> list[int]:
    return memory.images[:, 0, 0, 0].int().tolist()


def test_it_fills_up_and_then_replaces_one_place_in_each_part() -> None:
    memory = ReplayMemory(6, (8, 8, 1))
    memory.push(numbered(1, 2), torch.zeros(2))
    memory.push(numbered(3, 4), torch.ones(2))
    assert held(memory) == [1, 2, 3, 4, 0, 0] and int(memory.count) == 4
    memory.push(numbered(5, 6), torch.zeros(2))
    assert held(memory) == [1, 2, 3, 4, 5, 6] and int(memory.count) == 6
    memory.push(numbered(7, 8), torch.tensor([0.0, 0.99]))
    assert held(memory) == [7, 2, 3, 4, 5, 8] and int(memory.count) == 6


def test_more_than_it_holds_fills_every_place() -> None:
    memory = ReplayMemory(3, (8, 8, 1))
    memory.push(numbered(1, 2, 3, 4), torch.rand(4))
    assert held(memory) == [1, 2, 3] and int(memory.count) == 3


def test_nearly_full_it_counts_no_place_that_was_never_written() -> None:
    memory = ReplayMemory(5, (8, 8, 1))
    memory.push(numbered(1, 2), torch.zeros(2))
    memory.push(numbered(3, 4), torch.zeros(2))
    memory.push(numbered(5, 6), torch.zeros(2))
    assert held(memory) == [1, 2, 3, 4, 5] and int(memory.count) == 5


def test_mixing_takes_stored_ones_by_the_draws_and_nothing_from_an_empty_memory() -> None:
    memory, fakes = ReplayMemory(4, (8, 8, 1)), numbered(10, 11, 12, 13)
    assert memory.mix(fakes, 0.5, torch.rand(4)) is fakes
    memory.push(numbered(1, 2), torch.zeros(2))
    mixed = memory.mix(fakes, 0.5, torch.tensor([0.99, 0.0, 0.3, 0.3]))
    assert mixed[:, 0, 0, 0].tolist() == [2, 1, 12, 13]
    assert memory.mix(fakes, 0.1, torch.rand(4)) is fakes  # a share of less than half an image
