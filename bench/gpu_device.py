"""What `bench gpu` measures on: a GPU, or the CPU that stands in for one so that every other line can be tried."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from morphospace.objectives.clock import Clock
from morphospace.training.engine import Engine

__all__ = ["Card", "Device", "GraphStep", "StandIn", "device_for"]

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

    def strictly(self) -> AbstractContextManager[object]:
        """Return a context in which an operation that waits for the card is an error."""
        return _no_waits()

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Return a graph of all that a step computes; the step is taken three times before."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

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

    def strictly(self) -> AbstractContextManager[object]:
        """Return a context that allows everything."""
        return contextlib.nullcontext()

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Take the step three times, and return it: there are no graphs."""
        for _ in range(3):
            step()
        return step

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


class GraphStep:
    """A training step as a graph can hold it: its batch always in one place, its noise from torch's own generator.

    The engine captures no graphs. This says what they would gain, for models whose phases have one turn and weights
    that do not change with time.

    Args:
        engine: Whose phases and optimizers to use.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.batch = engine, engine.data.batch(0)
        self.turn = GraphTurn(engine.clock, engine.device)
        for optimizer in engine.optimizers.values():
            for group in optimizer.param_groups:
                group["capturable"] = engine.device.type == "cuda"

    def take(self, index: int) -> None:
        """Put a batch where the graph reads it."""
        self.batch.images.copy_(self.engine.data.batch(index).images)

    def __call__(self) -> None:
        """Let every phase take its turn."""
        engine = self.engine
        self.turn.shared.clear()
        for phase in engine.phases:
            optimizer = engine.optimizers[phase.optimizer or phase.name]
            optimizer.zero_grad(set_to_none=True)
            with engine.autocast():
                loss = phase.loss(self.batch, self.turn).total()
            loss.backward(inputs=engine.learned[phase.name])
            optimizer.step()


class GraphTurn:
    """What a loss sees of such a step.

    Args:
        clock: The moment, which does not move.
        device: Where noise is made.
    """

    training = True

    def __init__(self, clock: Clock, device: torch.device) -> None:
        self.clock, self.device = clock, device
        self.shared: dict[str, Any] = {}

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal noise."""
        return torch.randn(*shape, device=self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform noise."""
        return torch.rand(*shape, device=self.device)

    def once(self, key: str, make: Callable[[], T], by: object) -> T:
        """Call `make`, or return what it made in this step."""
        return self.shared[key] if key in self.shared else self.shared.setdefault(key, make())
