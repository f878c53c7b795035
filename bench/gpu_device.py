"""What `bench gpu` measures on: a GPU, or the CPU that stands in for one so that every other line can be tried."""

from __future__ import annotations

import contextlib
import platform
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import nn

__all__ = ["Card", "Device", "StandIn", "device_for"]

T = TypeVar("T")


class Card:
    """A GPU of NVIDIA.

    Attributes:
        where: Where tensors are put.
    """

    where = torch.device("cuda:0")

    def facts(self) -> dict[str, Any]:
        """Return what a figure must say of where it was measured."""
        about = torch.cuda.get_device_properties(self.where)
        return {
            "card": about.name,
            "memory_mib": about.total_memory >> 20,
            "processors": about.multi_processor_count,
            "cuda": torch.version.cuda,
            **versions(),
        }

    def of(self, full: T, tiny: T) -> T:
        """Return the size that is measured here."""
        return full

    def wait(self) -> None:
        """Wait until everything is computed."""
        torch.cuda.synchronize()

    def forget(self) -> None:
        """Give unused memory back, and begin to look for its peak."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def peak_mib(self) -> float:
        """Return the most memory that tensors have held since `forget`."""
        return torch.cuda.max_memory_allocated() / 2**20

    def held_mib(self) -> float:
        """Return the memory that torch holds, the pools of graphs included."""
        return torch.cuda.memory_reserved() / 2**20

    def strictly(self) -> AbstractContextManager[object]:
        """Return a context in which an operation that waits for the card is an error."""
        return _no_waits()

    def compile(self, network: nn.Module) -> None:
        """Let torch compile a network when it is next called."""
        network.compile()


class StandIn:
    """The CPU in place of a card, with tiny sizes. What it measures means nothing."""

    where = torch.device("cpu")

    def facts(self) -> dict[str, Any]:
        """Return that nothing is measured here."""
        return {"card": "none: the CPU stands in, and nothing is measured", **versions()}

    def of(self, full: T, tiny: T) -> T:
        """Return the tiny size."""
        return tiny

    def wait(self) -> None:
        """Do nothing."""

    def forget(self) -> None:
        """Do nothing."""

    def peak_mib(self) -> float:
        """Return nothing measured."""
        return 0.0

    def held_mib(self) -> float:
        """Return nothing measured."""
        return 0.0

    def strictly(self) -> AbstractContextManager[object]:
        """Return a context that allows everything."""
        return contextlib.nullcontext()

    def compile(self, network: nn.Module) -> None:
        """Do nothing."""


Device = Card | StandIn


def device_for(*, dry: bool) -> Device:
    """Return the card, or what stands in for it."""
    return StandIn() if dry else Card()


def versions() -> dict[str, str]:
    """Return the versions of torch and Python."""
    return {"torch": torch.__version__, "python": platform.python_version()}


@contextlib.contextmanager
def _no_waits() -> Any:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
