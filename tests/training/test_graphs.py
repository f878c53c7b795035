"""Captured steps are the steps that the engine takes, for every model; what cannot be captured is found and said."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from morphospace.models.distributions import full
from morphospace.models.priors import _at_once
from morphospace.objectives.phase import Phase
from morphospace.objectives.terms import Terms
from morphospace.training.engine import Engine
from morphospace.training.graphs import CudaRecorder, Graphs, Watch
from morphospace.zoo.settings import VAESettings
from tests.contracts.cases import CASES, Case, engine_for
from tests.training.recorded import NOT_CAPTURED, Operations, as_on_a_gpu, with_graphs

SHAPE = (16, 16, 1)


@pytest.fixture(autouse=True)
def as_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let kinds of steps alternate, so that all come soon, and torch do what it does on a GPU."""
    monkeypatch.setattr("morphospace.training.engine.NORM_STEPS", 2)
    monkeypatch.setattr("morphospace.zoo.ae.WATCHED_EVERY", 2)
    rmsprop = import_module("torch.optim.rmsprop")  # torch.optim hides it
    monkeypatch.setattr(rmsprop, "_get_capturable_supported_devices", lambda: ["cpu"])
    monkeypatch.setattr("morphospace.models.priors._by_row", _at_once)
    # On the CPU it looks whether every number is within the range.
    monkeypatch.setattr(nn.functional, "one_hot", lambda numbers, size: (numbers[:, None] == torch.arange(size)).long())


def pair(case: Case, **more: Any) -> tuple[Engine, Engine, list[str]]:
    """Return an engine that takes steps call by call, one that captures them, and what the second one says."""
    plain, captured = (engine_for(case, **more) for _ in range(2))
    said: list[str] = []
    return as_on_a_gpu(plain), with_graphs(captured, said), said


def differences(plain: Engine, captured: Engine) -> list[str]:
    """Return what differs between two engines: tensors, and numbers since the last report."""

    def found(engine: Engine) -> dict[str, Tensor]:
        tensors = {f"{file}/{name}": each for file, some in engine.tensors().items() for name, each in some.items()}
        return tensors | {name: torch.stack([*each]) for name, each in {**engine.sums, **engine.norms}.items()}

    a, b = found(plain), found(captured)
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]


def cycle(engine: Engine) -> int:
    """Return after how many steps every kind of step has come."""
    return math.lcm(2, *(phase.every for phase in engine.phases))


@pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
def test_steps_from_graphs_are_those_of_the_engine(case: Case) -> None:
    """All kinds of steps are recorded, then proven, then replayed; schedules of rates and of losses go on."""
    plain, captured, said = pair(case, ema_halflife_images=50, warmup_images=100, schedule="cosine")
    steps = 2 * cycle(plain) + 2
    for _ in range(steps):
        plain.step()
        captured.step()
    assert differences(plain, captured) == []
    assert captured.graphs is not None
    # The first step of each kind is recorded, its second one proven.
    assert captured.graphs.replayed == (0 if said else steps - 2 * len(captured.graphs.plans)), said
    assert bool(said) is (case.label in NOT_CAPTURED)


BEGINS = {"autoencoder-kl": "adversarial_begins", "vq-vae": "autoencoder_images", "ladder-mlp": "samples_begin"}


@pytest.mark.parametrize("case", [case for case in CASES if case.label in BEGINS], ids=lambda case: case.label)
def test_what_begins_later_has_a_graph_before_and_another_after(case: Case) -> None:
    later = Case(replace(case.settings, **{BEGINS[case.label]: 64}), case.label)  # after eight steps
    plain, captured, said = pair(later)
    for _ in range(16):
        plain.step()
        captured.step()
    assert not said and differences(plain, captured) == []
    assert captured.graphs is not None
    assert {answer for name, _, answer in captured.graphs.kind() if name == "reached"} == {True}
    assert captured.graphs.replayed == 16 - 2 * len(captured.graphs.plans) > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_clipping_and_schedules_of_the_loss_are_in_the_graph(precision: str) -> None:
    settings = VAESettings(latent_dim=4, widths=(8,), tower="mlp", kl_warmup_images=200, beta=3.0)
    plain, captured, said = pair(Case(settings, "warm"), clip=0.5, precision=precision)
    for _ in range(8):
        plain.step()
        captured.step()
    assert not said and differences(plain, captured) == []


def test_a_graph_freezes_numbers_and_addresses() -> None:
    """What stands in for CUDA graphs repeats no Python: otherwise these tests would prove nothing."""
    weight, factor, operations = torch.ones(3), 2.0, Operations()
    with operations:
        held = weight * factor
    factor = 5.0
    weight.fill_(7.0)
    operations.replay()
    assert held.tolist() == [14.0] * 3


class Tried:
    """A model of one phase, whose loss is what a test wants.

    Args:
        loss: Of (batch, turn, network).
    """

    averaged = ()

    def __init__(self, loss: Any) -> None:
        self.settings = VAESettings(latent_dim=2, widths=(8,))
        network = nn.Linear(256, 1)
        self.networks, self.memory = nn.ModuleDict({"network": network}), nn.ModuleDict()
        self.signed = False
        self.phases = (Phase("one", (network,), lambda batch, turn: Terms().add("it", loss(batch, turn, network))),)

    def rounds(self) -> Any:
        return self.phases


def score(batch: Any, network: nn.Module) -> Tensor:
    return full(network(batch.images.flatten(1))).square()


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (lambda batch, turn, net: score(batch, net) * turn.clock.images, "one reads clock.images"),
        (lambda batch, turn, net: score(batch, net) * (1 + turn.clock.step), "one reads clock.step"),
        (lambda batch, turn, net: score(batch, net) * torch.rand(()), "one draws random numbers of its own"),
        (lambda batch, turn, net: nn.functional.dropout(score(batch, net)), "one draws random numbers of its own"),
        (lambda batch, turn, net: score(batch, net) * float(batch.images.mean()), "one reads a number"),
        (lambda batch, turn, net: score(batch, net) * batch.images.flatten().tolist()[0], "one reads numbers (tolist)"),
        (lambda batch, turn, net: score(batch, net)[batch.images[:, 0, 0, 0] >= 0], "one selects by a mask"),
        (lambda batch, turn, net: score(batch, net) * turn.clock.scheduled(lambda clock: clock.images), ""),
        (lambda batch, turn, net: score(batch, net) * turn.uniform(8) * (2 if turn.clock.every(3) else 1), ""),
        (lambda batch, turn, net: score(batch, net) * turn.uniform(8) * (2 if turn.clock.reached(48) else 1), ""),
    ],
)
def test_what_a_graph_would_freeze_is_found_and_said_once(loss: Any, why: str) -> None:
    from morphospace.data.batches import Batches
    from morphospace.training.settings import TrainingSettings
    from tests.contracts.cases import drawn_split

    engines = []
    for _ in range(2):
        torch.manual_seed(0)
        data = Batches(drawn_split(64, SHAPE), batch_size=8, seed=0, signed=False)
        engines.append(Engine(Tried(loss), data, TrainingSettings(batch_size=8), total_images=10**6))
    plain, captured = engines
    said: list[str] = []
    as_on_a_gpu(plain)
    with_graphs(captured, said)
    for _ in range(14):
        plain.step()
        captured.step()
    assert differences(plain, captured) == []
    assert captured.graphs is not None
    if why:
        assert len(said) == 1 and said[0].startswith(f"no CUDA graph of the step: {why}"), said
        assert captured.graphs.replayed == 0
    else:
        assert not said and captured.graphs.replayed > 0


def test_a_graph_that_computes_other_bytes_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in CASES if case.label == "ae-mlp")
    plain, captured, said = pair(case)
    replay = Operations.replay

    def wrong(self: Operations) -> None:
        replay(self)
        next(iter(captured.learned.values()))[0].data.add_(1e-3)

    monkeypatch.setattr(Operations, "replay", wrong)
    for _ in range(6):
        plain.step()
        captured.step()
    assert said == ["no CUDA graph of the step: a graph of it computed other bytes"]
    assert differences(plain, captured) == []


def test_a_capture_that_fails_leaves_the_step_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in CASES if case.label == "ae-mlp")
    plain, captured, said = pair(case)
    assert captured.graphs is not None

    def fails(step: Any) -> None:
        step()
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(captured.graphs.recorder, "capture", fails)
    for _ in range(6):
        plain.step()
        captured.step()
    assert said == ["no CUDA graph of the step: the capture failed: operation not permitted when stream is capturing"]
    assert differences(plain, captured) == []


def test_a_run_that_continues_captures_anew() -> None:
    case = next(case for case in CASES if case.label == "vae-mlp")
    plain, captured, said = pair(case)
    for _ in range(5):
        plain.step()
        captured.step()
    state = copy.deepcopy(plain.state())
    for engine in (plain, captured):
        engine.load_state(state)
    assert captured.graphs is not None and not captured.graphs.plans
    for _ in range(6):
        plain.step()
        captured.step()
    assert not said and differences(plain, captured) == []


def test_the_recorder_of_a_gpu_captures_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of CUDA is one that stands in for it here: streams note who waits for whom, a graph its operations."""
    waits: list[tuple[str, str]] = []

    class Stream:
        def __init__(self, name: Any) -> None:
            self.name = str(name)

        def wait_stream(self, other: Stream) -> None:
            waits.append((self.name, other.name))

    class Graph(Operations):
        pass

    def graph(made: Graph, **how: Any) -> Graph:
        assert how["pool"] == "pool" and how["stream"].name == "own" and how["capture_error_mode"] == "thread_local"
        assert not gc.isenabled()  # an old graph that is freed during a capture breaks it
        return made

    stand_ins = {"Stream": lambda device: Stream("own"), "current_stream": lambda: Stream("main"), "CUDAGraph": Graph}
    stand_ins |= {"graph_pool_handle": lambda: "pool", "graph": graph, "stream": lambda stream: nullcontext()}
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    plain, captured, said = pair(next(case for case in CASES if case.label == "vae-mlp"))
    captured.graphs = Graphs(captured, CudaRecorder(torch.device("cpu")), said.append)
    for _ in range(6):
        plain.step()
        captured.step()
    assert waits == [("own", "main"), ("main", "own")] * 2  # for the first step of each of two kinds
    assert captured.graphs.replayed == 2 and not said and differences(plain, captured) == []
    assert gc.isenabled()


def test_after_a_capture_that_fails_generator_and_pool_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else torch takes every later draw of the process for one of the capture."""
    pools, states = iter(("first", "second")), []

    class Generator:
        graphsafe_set_state = staticmethod(states.append)

        def clone_state(self) -> str:
            return "a new state"

    stand_ins = {"Stream": lambda device: None, "CUDAGraph": lambda: None, "default_generators": (None, Generator())}
    stand_ins |= {"graph_pool_handle": lambda: next(pools), "graph": lambda made, **how: nullcontext()}
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    recorder = CudaRecorder(torch.device("cuda", 1))

    def fails() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        recorder.capture(fails)
    assert (recorder.pool, states) == ("second", ["a new state"])
    assert gc.isenabled()


def test_a_number_that_is_copied_to_the_device_is_found() -> None:
    """`tensor[rows, columns] = number` makes a tensor on the CPU of the number, where `tensor` lies on a GPU."""
    weights, rows = torch.zeros(3, 3, device="meta"), torch.arange(3, device="meta")
    for value, found in ((torch.ones(()), True), (torch.ones((), device="meta"), False)):
        watch = Watch()
        with contextlib.suppress(RuntimeError), watch:
            torch.ops.aten.index_put_(weights, (rows, rows), value)
        assert bool(watch.found) is found
