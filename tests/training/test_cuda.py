"""What is promised on a GPU: the same bytes again, two precisions that agree, no waiting, graphs. See `bench gpu`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bench.gpu_device import Device

from morphospace.models.contract import seeded_noise
from morphospace.runs.checkpoints import load_checkpoint, save_checkpoint
from morphospace.training.engine import Engine
from tests.contracts.cases import CASES, Case, build, conditions_for, drawn_split, engine_for
from tests.training.recorded import NOT_CAPTURED, as_on_a_gpu, with_graphs

pytestmark = pytest.mark.cuda
cases = pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
SHAPE = (16, 16, 1)
KINDS = 16  # steps after which every kind of step has come


def tensors_of(engine: Engine) -> dict[str, torch.Tensor]:
    return {
        f"{file}/{name}": t.detach().clone()
        for file, some in engine.state().tensors.items()
        for name, t in some.items()
    }


def same(one: Engine, other: Engine) -> bool:
    a, b = tensors_of(one), tensors_of(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@cases
def test_a_resumed_run_is_the_same_run(case: Case, precision: str, device: Device, tmp_path: Path) -> None:
    def begun(steps: int) -> Engine:
        engine = engine_for(case, precision=precision, ema_halflife_images=50, clip=5.0, device=device.where)
        for _ in range(steps):
            engine.step()
        return engine

    straight, first, second = begun(6), begun(3), begun(0)
    path = save_checkpoint(tmp_path, first.state(), best=False, keep=1)
    torch.manual_seed(123)
    second.load_state(load_checkpoint(path))
    for _ in range(3):
        second.step()
    assert same(second, straight)
    assert not same(second, first)


@cases
def test_both_precisions_are_near(case: Case, device: Device) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        engine = engine_for(case, precision=precision, device=device.where)
        engine.step()
        losses.append({name: float(values[0]) for name, values in engine.sums.items() if name.endswith("/loss")})
    fp32, bf16 = losses
    first = next(iter(fp32))  # what comes after it differs by what it moved, too
    assert bf16[first] == pytest.approx(fp32[first], rel=0.1, abs=0.1)


@cases
def test_a_step_waits_for_nothing(case: Case, device: Device) -> None:
    engine = engine_for(case, ema_halflife_images=50, clip=5.0, device=device.where)
    for _ in range(device.of(2 * KINDS + 1, 1)):  # each kind of step is captured when it comes the second time
        engine.step()
    with device.strictly():
        for _ in range(max(phase.every for phase in engine.phases)):
            engine.step()


@cases
def test_it_draws_what_the_cpu_draws(case: Case, device: Device) -> None:
    model = build(case, SHAPE).eval()
    codes, condition = seeded_noise(4, model.latent_dim, seed=3), conditions_for(model, 4)
    with torch.no_grad():
        here = model.decode(codes, condition)
        model.networks.to(device.where)
        there = model.decode(codes.to(device.where), None if condition is None else condition.to(device.where))
    assert (here - there.cpu()).abs().max() < 0.02  # convolutions in TF32


def test_streamed_batches_are_the_resident_ones(device: Device) -> None:
    from morphospace.data.batches import Batches

    made = [
        Batches(drawn_split(40, SHAPE), batch_size=16, seed=1, device=device.where, signed=True, resident=resident)
        for resident in (True, False)
    ]
    for index in range(6):
        resident, streamed = (batches.batch(index) for batches in made)
        assert torch.equal(resident.images, streamed.images) and torch.equal(resident.rows, streamed.rows)


@cases
def test_a_step_from_a_graph_is_the_step_without_it(case: Case, device: Device) -> None:
    more = {"ema_halflife_images": 50, "clip": 5.0, "warmup_images": 100, "schedule": "cosine"}
    plain, captured = (engine_for(case, device=device.where, graphs=how, **more) for how in ("off", "auto"))
    if device.where.type == "cpu":
        as_on_a_gpu(plain)
        with_graphs(captured)
    for _ in range(2 * KINDS + 4):
        plain.step()
        captured.step()
    device.wait()
    assert same(captured, plain)
    assert captured.graphs is not None
    whole = not any(plan.refused for plan in captured.graphs.plans.values())
    assert whole is (case.label not in NOT_CAPTURED)
    assert captured.graphs.replayed > KINDS or not whole


def test_a_capture_that_fails_leaves_training_as_it_was(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    if device.where.type == "cpu":
        pytest.skip("it is torch's capture that fails here")
    case = next(case for case in CASES if case.label == "vae-mlp")
    plain, failing = (engine_for(case, device=device.where, graphs=how) for how in ("off", "auto"))
    assert failing.graphs is not None
    recorder = failing.graphs.recorder
    capture, asked = recorder.capture, []

    def fails_once(step: Callable[[], None]) -> Callable[[], object]:
        def waits() -> None:
            step()
            torch.ones((), device=device.where).item()

        asked.append(step)
        return capture(waits if len(asked) == 1 else step)

    monkeypatch.setattr(recorder, "capture", fails_once)
    for engine in (plain, failing):
        for _ in range(3 * KINDS):  # the kind that comes every 16 steps is captured after the other one failed
            engine.step()
    assert len(asked) == 2 and failing.graphs.replayed > 0
    assert same(failing, plain)
