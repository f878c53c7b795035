"""Training steps as CUDA graphs: captured once, then replayed with new inputs. They compute the bytes of the steps.

A step of a small network takes as long as Python needs to call its few hundred operations. A CUDA graph of it calls
them all at once. The graph holds operations with their numbers and addresses, so whatever differs between two steps
must enter through a tensor that stays where it is. `Inputs` is all that a step asks for: batches, random numbers, the
clock, and the learning rates. The engine runs the same code with each of the three kinds of inputs:

- `Inputs` makes what is asked for. Without a GPU this is the only kind.
- `Recorded` makes it too, and notes how in a `Plan`: a buffer for each tensor, and what to do before each replay.
- `Held` gives the plan's buffers, while the step is captured.

Steps differ in which phases are due and in what is only computed now and then. Each kind of step has a plan of its own.
Its first step is recorded. At its second one it is captured, replayed, and compared with the same step without a graph.
Only if every tensor that training changes has the same bytes do later steps replay the graph. While recording, `Watch`
finds what a graph would freeze: a loss that reads the clock itself, a number read by Python, random numbers that are
not the turn's. Such steps are taken call by call, and the engine says why, once.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from morphospace.data.batches import Batch
from morphospace.objectives.clock import Clock
from morphospace.training.turn import Noise

if TYPE_CHECKING:
    from morphospace.training.engine import Engine

Question = tuple[str, int]
"""What a step asks the clock: `every` or `reached`, and how many steps or images."""
Kind = tuple[tuple[str, int, bool], ...]
"""Questions with their answers."""

aten = torch.ops.aten
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
COPIED = (aten._to_copy.default, aten.copy_.default)
READS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


# -- what a step asks for ----------------------------------------------------------------------------------------


class Inputs:
    """What a step takes from outside, made when it is asked for.

    Args:
        engine: Whose step.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def clock(self) -> Clock:
        """The moment of training."""
        return self.engine.clock

    @property
    def noise(self) -> Noise:
        """Where a turn's random numbers come from."""
        return self.engine.noise

    def batch(self, index: int) -> Batch:
        """Return the images of this step's turn `index`."""
        engine = self.engine
        return engine.data.batch(engine.steps * engine.turns + index)

    def set_rate(self, optimizer: torch.optim.Optimizer, rate: Callable[[Clock], float]) -> None:
        """Let an optimizer take its step at a rate."""
        value = rate(self.engine.clock)
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value


@dataclass
class Plan:
    """One kind of step, as a graph needs it.

    Attributes:
        buffers: What the step is given, in the order in which it asks.
        batches: The images of its turns.
        fills: What to do before a replay, in order.
        refused: Why it cannot be captured; empty if it can.
        names: Where each number that the step reports belongs: an attribute of the engine, and a key.
        values: These numbers, where the graph puts them, (N,).
        replay: Replays the graph; None until it is proven.
    """

    buffers: list[Tensor] = field(default_factory=list)
    batches: dict[int, Batch] = field(default_factory=dict)
    fills: list[Callable[[], object]] = field(default_factory=list)
    refused: str = ""
    names: list[tuple[str, str]] = field(default_factory=list)
    values: Tensor | None = None
    replay: Callable[[], object] | None = None

    def fill(self) -> None:
        """Put the inputs of the step at hand where the graph reads them."""
        for each in self.fills:
            each()


class Recorded(Inputs):
    """Inputs that note in a plan how they are made.

    Args:
        engine: Whose step.
        plan: The plan.
        asked: Takes what the step asks the clock: the name of a question, and its number.
        watch: Sees all other operations.
    """

    def __init__(self, engine: Engine, plan: Plan, asked: set[Question], watch: Watch) -> None:
        super().__init__(engine)
        self.plan, self.asked, self.watch = plan, asked, watch

    @property
    def clock(self) -> Clock:
        return StepClock(self)  # type: ignore[return-value]

    @property
    def noise(self) -> Noise:
        return StepNoise(self)  # type: ignore[return-value]

    def batch(self, index: int) -> Batch:
        with self.watch.aside():
            live = super().batch(index)
        if index not in self.plan.batches:
            held = self.plan.batches[index] = replace(live, **{name: each.clone() for name, each in tensors(live)})
            self.plan.fills.append(lambda: copy_batch(held, Inputs.batch(self, index)))
        return live

    def set_rate(self, optimizer: torch.optim.Optimizer, rate: Callable[[Clock], float]) -> None:
        self.do(lambda: Inputs.set_rate(self, optimizer, rate))

    def do(self, action: Callable[[], object]) -> None:
        """Do something now and before each replay."""
        with self.watch.aside():
            action()
        self.plan.fills.append(action)

    def give(self, make: Callable[[], Tensor]) -> Tensor:
        """Return a tensor that is made now and before each replay."""
        with self.watch.aside():
            live = make()
            buffer = live.clone()
        self.plan.buffers.append(buffer)
        self.plan.fills.append(lambda: buffer.copy_(make()))
        return live


class Held(Recorded):
    """Inputs that are the buffers of a plan, in the order in which the recorded step asked for them."""

    def __init__(self, engine: Engine, plan: Plan, asked: set[Question], watch: Watch) -> None:
        super().__init__(engine, plan, asked, watch)
        self.left = iter(plan.buffers)

    def batch(self, index: int) -> Batch:
        return self.plan.batches[index]

    def do(self, action: Callable[[], object]) -> None:
        pass  # it was done before

    def give(self, make: Callable[[], Tensor]) -> Tensor:
        return next(self.left)


class StepClock:
    """The clock of a step that is recorded or captured; see `objectives.clock.Clock`.

    Args:
        inputs: The step's.
    """

    def __init__(self, inputs: Recorded) -> None:
        self._inputs = inputs
        self.dataset = inputs.engine.clock.dataset

    def __getattr__(self, name: str) -> Any:
        """Return what a graph would freeze, and say so."""
        value = getattr(self._inputs.engine.clock, name)
        self._inputs.watch.note(f"reads clock.{name}; clock.scheduled, clock.every and clock.reached can be captured")
        return value

    def every(self, steps: int) -> bool:
        """Return whether this step is one of every so many; those with another answer get another graph."""
        if steps > 1:
            self._inputs.asked.add(("every", steps))
        return self._inputs.engine.clock.every(steps)

    def reached(self, images: int) -> bool:
        """Return whether training has seen so many images; the steps before and after get a graph each."""
        if images > 0:
            self._inputs.asked.add(("reached", images))
        return self._inputs.engine.clock.reached(images)

    def scheduled(self, number: Callable[[Clock], float]) -> Tensor:
        """Return a number that changes with time, as a tensor ()."""
        engine = self._inputs.engine
        where: dict[str, Any] = {"dtype": engine.noise.dtype, "device": engine.device}
        return self._inputs.give(lambda: torch.full((), number(engine.clock), **where))


class StepNoise:
    """The random numbers of a step that is recorded or captured; see `training.turn.Noise`.

    Args:
        inputs: The step's.
    """

    def __init__(self, inputs: Recorded) -> None:
        self.inputs, self.live = inputs, inputs.engine.noise
        self.world = self.live.world

    def at(self, clock: Clock, purpose: str, index: int) -> None:
        """Start a stream, from which the tensors that are drawn next come."""
        self.inputs.watch.purpose = purpose
        self.inputs.do(lambda: self.live.at(self.inputs.engine.clock, purpose, index))

    def draw(self, make: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        """Return random numbers."""
        return self.inputs.give(lambda: self.live.draw(make, shape))


class Watch(TorchDispatchMode):
    """Finds what a graph would freeze or cannot hold.

    Attributes:
        found: The first such thing, in words; empty if there is none.
        purpose: The stream of random numbers that was started last, which names the phase.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = self.purpose = ""
        self.on = True

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.on:
            if torch.Tag.nondeterministic_seeded in function.tags:
                self.note(f"draws random numbers of its own ({function})")
            elif function in INDEXED:
                if any(index is not None and index.dtype == torch.bool for index in args[1]):
                    self.note(f"selects by a mask ({function})")
                elif any(each is not None and each.device != args[0].device for each in (*args[1], *args[2:3])):
                    self.note(f"copies between the device and the CPU ({function})")
            elif any(tag in function.tags for tag in READS):
                self.note(f"reads a number ({function})")
            elif function in COPIED and self.leads_away(function, args, kwargs):
                self.note(f"copies between the device and the CPU ({function})")
        return function(*args, **kwargs)

    @staticmethod
    def leads_away(function: Any, args: Any, kwargs: Any) -> bool:
        """Return whether a copy changes the device."""
        if function is aten.copy_.default:
            return bool(args[0].device != args[1].device)
        return kwargs.get("device") is not None and torch.device(kwargs["device"]).type != args[0].device.type

    def note(self, what: str) -> None:
        """Note what was found."""
        self.found = self.found or f"{self.purpose} {what}"

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Look away while inputs are made."""
        before, self.on = self.on, False
        try:
            yield
        finally:
            self.on = before


class Lists(TorchFunctionMode):
    """Finds values that are taken out of a tensor on the CPU without an operation.

    Args:
        watch: Takes note of them.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.watch.on and function in (Tensor.tolist, Tensor.numpy, Tensor.__array__):
            self.watch.note(f"reads numbers ({function.__name__})")
        return function(*args, **(kwargs or {}))


def tensors(batch: Batch) -> list[tuple[str, Tensor]]:
    """Return the tensors of a batch, with their names."""
    named = [(each.name, getattr(batch, each.name)) for each in fields(batch)]
    return [(name, each) for name, each in named if each is not None]


def copy_batch(held: Batch, live: Batch) -> None:
    """Copy a batch into another's tensors."""
    for (_, target), (_, source) in zip(tensors(held), tensors(live), strict=True):
        target.copy_(source)


# -- what captures -----------------------------------------------------------------------------------------------


class Recorder(Protocol):
    """What captures a step."""

    def aside(self) -> AbstractContextManager[object]:
        """Return a context for a step that comes before a capture."""

    def capture(self, step: Callable[[], None]) -> Callable[[], object]:
        """Capture what a step computes, and return what computes it again."""


class CudaRecorder:
    """Captures by torch's CUDA graphs. They share one pool of memory: nothing in it outlives a replay.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Use the stream of the captures, so that what is set up by a first call is set up there."""
        here = torch.cuda.current_stream()
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            yield
        here.wait_stream(self.stream)

    def capture(self, step: Callable[[], None]) -> Callable[[], object]:
        """Capture a step; nothing is computed. Other threads, which read images ahead, go on.

        A capture that fails leaves torch's generator and the pool as if it were still going on, so both are replaced.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                without_collection(),
                torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"),
            ):
                step()
        except RuntimeError:
            generator = torch.cuda.default_generators[self.device.index]
            generator.graphsafe_set_state(generator.clone_state())
            self.pool = torch.cuda.graph_pool_handle()
            raise
        return graph.replay


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Let Python collect its garbage before, not meanwhile: an old graph that is freed during a capture breaks it."""
    gc.collect()
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


# -- the steps ---------------------------------------------------------------------------------------------------


class Graphs:
    """Takes an engine's steps, from graphs where it can.

    Args:
        engine: Whose steps.
        recorder: What captures them.
        say: Takes one line where a kind of step cannot be captured.

    Attributes:
        plans: The plan of each kind of step.
        replayed: How many steps came from a graph.
    """

    def __init__(self, engine: Engine, recorder: Recorder, say: Callable[[str], None]) -> None:
        self.engine, self.recorder, self.say = engine, recorder, say
        self.replayed = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew, as where tensors of the optimizers were replaced."""
        self.plans: dict[Kind, Plan] = {}
        self.asked: set[Question] = set()

    def step(self) -> None:
        """Take the turns of one step."""
        plan = self.plans.get(self.kind())
        if plan is None:
            self.record()
        elif plan.replay is not None:
            plan.fill()
            plan.replay()
            assert plan.values is not None
            self.report(plan.names, plan.values.clone())
            self.replayed += 1
        elif plan.refused:
            self.engine.take_turns()
        else:
            self.prove(plan)

    def kind(self) -> Kind:
        """Return what makes this step differ from others: the clock's answer to each question that steps ask it."""
        clock = self.engine.clock
        return tuple((name, number, getattr(clock, name)(number)) for name, number in sorted(self.asked))

    def record(self) -> None:
        """Take a step, and note what it asks for."""
        plan, watch = Plan(), Watch()
        inputs = Recorded(self.engine, plan, self.asked, watch)
        with self.recorder.aside(), self.given(inputs), watch, Lists(watch):
            self.engine.take_turns()
        self.plans[self.kind()] = plan
        if watch.found:
            self.refuse(plan, watch.found)

    def prove(self, plan: Plan) -> None:
        """Capture a step, take it as it is, replay it from the same state, and compare."""
        engine = self.engine
        live = [*(tensor for file in engine.tensors().values() for tensor in file.values()), engine.guard.flag]
        before: list[Tensor] = []
        replay, failed = None, ""
        try:
            before = [tensor.clone() for tensor in live]
            plan.fill()
            replay = self.recorder.capture(lambda: self.capture(plan))
        except RuntimeError as error:  # also where the memory does not suffice
            failed = f"the capture failed: {str(error).strip().splitlines()[0]}"
            for optimizer in engine.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
        put_back(live[: len(before)], before)
        names, values = self.collected()
        self.report(names, values)
        if replay is not None:
            assert plan.values is not None
            after = [tensor.clone() for tensor in live]
            put_back(live, before)
            plan.fill()
            replay()
            alike = all(torch.equal(one, other) for one, other in zip([*live, plan.values], [*after, values]))
            if names == plan.names and alike:
                plan.replay = replay
                return
            put_back(live, after)
            failed = "a graph of it computed other bytes"
        self.refuse(plan, failed)

    def capture(self, plan: Plan) -> None:
        """Take the turns of a step with the plan's buffers."""
        with self.given(Held(self.engine, plan, self.asked, Watch())):
            plan.names, plan.values = self.collected()

    def collected(self) -> tuple[list[tuple[str, str]], Tensor]:
        """Take the turns of a step, and return the names of the numbers that it reports, with their values (N,)."""
        engine = self.engine
        kept = engine.sums, engine.norms
        engine.sums, engine.norms = {}, {}
        try:
            engine.take_turns()
            found = [("sums", key, each) for key, values in engine.sums.items() for each in values]
            found += [("norms", key, each) for key, values in engine.norms.items() for each in values]
        finally:
            engine.sums, engine.norms = kept
        return [(where, key) for where, key, _ in found], torch.stack([each for *_, each in found])

    def report(self, names: Sequence[tuple[str, str]], values: Tensor) -> None:
        """Add the numbers of a step to those since the last report."""
        for (where, key), value in zip(names, values.unbind(), strict=True):
            getattr(self.engine, where).setdefault(key, []).append(value)

    def refuse(self, plan: Plan, why: str) -> None:
        """Take such steps call by call from now on, and say so once."""
        if not any(other.refused for other in self.plans.values()):
            self.say(f"no CUDA graph of the step: {why}")
        plan.refused = why
        plan.buffers, plan.batches, plan.fills, plan.values = [], {}, [], None

    @contextlib.contextmanager
    def given(self, inputs: Inputs) -> Iterator[None]:
        """Let the engine take its turns with other inputs."""
        before, self.engine.inputs = self.engine.inputs, inputs
        try:
            yield
        finally:
            self.engine.inputs = before
            self.engine.memo.clear()


@torch.no_grad()
def put_back(live: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give tensors the values that they had."""
    for tensor, value in zip(live, values, strict=True):
        tensor.copy_(value)
