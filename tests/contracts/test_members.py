"""The same promises, held by every zoo member."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import morphospace.zoo
from morphospace.models.contract import Decodes, Encodes, Model, seeded_noise
from morphospace.objectives.phase import Phase
from morphospace.plugins import built_in
from morphospace.runs.checkpoints import load_checkpoint, save_checkpoint
from morphospace.runs.configuration import recipes
from morphospace.training.engine import Engine
from morphospace.training.events import State
from morphospace.training.turn import EngineTurn
from morphospace.zoo.registry import UNTRAINED
from morphospace.zoo.settings import ZOO, ModelSettings
from tests.contracts.cases import CASES, SHAPES, Case, build, conditions_for, engine_for

OURS = {name: cls for name, cls in ZOO.items() if built_in(cls.__module__)}  # a plugin of another test is not
WITHOUT_RECIPE = {"factor-vae", "beta-tcvae", "lsgan"}  # their papers' trainings are not here

cases = pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])


def implementation_of(settings: type[ModelSettings]) -> type[Model]:
    module, _, name = settings.implementation.partition(":")
    return getattr(import_module(module), name)


def test_every_model_of_the_zoo_can_be_trained_or_is_built_upon() -> None:
    folder = Path(morphospace.zoo.__file__).parent
    modules = [vars(import_module(f"morphospace.zoo.{file.stem}")) for file in folder.glob("*.py")]
    found = {value for module in modules for value in module.values() if isinstance(value, type)}
    untrained = tuple(implementation_of(settings) for settings in UNTRAINED.values())
    models = {cls for cls in found if issubclass(cls, Model) and not issubclass(cls, untrained)}
    members = {implementation_of(settings) for settings in OURS.values()}
    assert len(models) > 15 and members <= models
    assert [cls for cls in models if not any(issubclass(member, cls) for member in members)] == []


def test_every_member_has_a_case_a_recipe_and_a_place_in_the_docs() -> None:
    """All else, such as its flags, its line in the lists and its rows in the benchmarks, follows from its settings."""
    cased = {case.member for case in CASES}
    taught = {recipe.sections["model"].get("name") for recipe in recipes().values()}
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    assert [name for name in OURS if name not in cased] == [], "need a case in tests/contracts/cases.py"
    assert [name for name in OURS if name not in taught | WITHOUT_RECIPE] == [], "need a file in recipes/"
    assert [name for name in OURS if f"`{name}`" not in page] == [], "need a line in docs/models.md"


@cases
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(case: Case, shape: tuple[int, int, int]) -> None:
    if len(getattr(case.settings, "widths", ())) > 1 and min(shape[:2]) < 16:
        shape = (12, 16, shape[2])
    model = build(case, shape).eval()
    height, width, channels = shape
    assert isinstance(model, Decodes)
    images = model.decode(torch.randn(3, model.latent_dim), conditions_for(model, 3))
    assert images.shape == (3, channels, height, width)
    low = -1.0 if model.signed else 0.0
    assert low <= images.min() and images.max() <= 1
    if isinstance(model, Encodes):
        assert model.encode(images, conditions_for(model, 3)).mean.shape == (3, model.latent_dim)
    assert model.to_uint8(images).shape == (3, height, width, channels)


@cases
def test_parameters_are_counted_without_being_made(case: Case) -> None:
    with torch.device("meta"):
        model = case.settings.build((16, 16, 1), None, case.conditioning)
    assert model.parameters() == build(case).parameters() > 0


@cases
def test_uint8_round_trip(case: Case) -> None:
    model = build(case)
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    assert torch.equal(model.to_uint8(model.from_uint8(levels)), levels)


def judge(engine: Engine, phase: Phase, step: int = 0) -> torch.Tensor:
    """Return a phase's loss on the first batch."""
    engine.memo = {}
    engine.noise.start(step, phase.name, 0)
    return phase.loss(engine.data.batch(0), engine.turn(phase.name)).total()


@cases
def test_every_parameter_gets_a_gradient_from_some_phase(case: Case) -> None:
    engine, wanted = engine_for(case), set(engine_for(case).names.values())
    moved: set[str] = set()
    # Not at once: a layer that starts at zero passes nothing back before it has moved, and a hinge pulls real and
    # fake apart equally until the first of them is past its margin.
    for _ in range(40):
        engine.step()
        for phase in engine.phases:
            learned = engine.learned[phase.name]
            gradients = torch.autograd.grad(judge(engine, phase), learned, allow_unused=True)
            moved |= {engine.names[p] for p, g in zip(learned, gradients) if g is not None and g.abs().sum() > 0}
        if moved == wanted:
            break
    assert moved == wanted


@cases
def test_only_what_a_turn_learns_moves(case: Case) -> None:
    engine = engine_for(case)
    for phase in engine.phases:
        before = {name: p.detach().clone() for p, name in engine.names.items()}
        engine.memo = {}
        engine.play([phase], engine.data.batch(0))
        learned = {engine.names[p] for p in engine.learned[phase.name]}
        changed = {name for p, name in engine.names.items() if not torch.equal(p, before[name])}
        assert changed and changed <= learned


@cases
def test_each_player_learns_on_eight_images(case: Case) -> None:
    """A likelihood falls by a third; a critic and a generator each lower their own loss, the other one frozen."""
    engine = engine_for(case, images=8)
    # Likelihoods first: a critic of codes has nothing to tell apart before the codes say something.
    for phase in sorted(engine.phases, key=lambda phase: not phase.validates):
        # Judged with the same draws before and after; the losses of the turns in between use their own.
        engine.model.networks.train()
        first = float(judge(engine, phase))
        # A density may be negative: its fall is measured against the size of the first loss.
        enough = abs(first) / 3 if phase.validates else 0.05
        for turn in range(12):
            for step in range(15 * turn, 15 * (turn + 1)):
                engine.steps, engine.memo = step, {}
                engine.play([phase], engine.data.batch(0))
            engine.steps = 0
            last = float(judge(engine, phase))
            if first - last > enough:
                break
        assert first - last > enough


def fingerprint(engine: Engine) -> str:
    """Hash weights, buffers, optimizer state, averages and memory, byte for byte."""
    digest = hashlib.sha256()
    for group, tensors in sorted(engine.state().tensors.items()):
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{group}/{name}".encode())
            digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@cases
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_is_the_same_run_byte_for_byte(case: Case, precision: str, tmp_path: Path) -> None:
    straight = engine_for(case, precision=precision, ema_halflife_images=50, clip=5.0)
    for _ in range(12):
        straight.step()
    first = engine_for(case, precision=precision, ema_halflife_images=50, clip=5.0)
    for _ in range(6):
        first.step()
    path = save_checkpoint(tmp_path, first.state(), best=False, keep=1)
    second = engine_for(case, precision=precision, ema_halflife_images=50, clip=5.0)
    torch.manual_seed(123)  # whatever happened in between must not matter
    second.load_state(load_checkpoint(path))
    for _ in range(6):
        second.step()
    assert fingerprint(second) == fingerprint(straight)
    assert fingerprint(second) != fingerprint(first)


@cases
def test_saved_and_loaded_it_draws_the_same_samples(case: Case, tmp_path: Path) -> None:
    engine = engine_for(case)
    for _ in range(3):
        engine.step()
    path = save_checkpoint(tmp_path, engine.state(), best=False, keep=1)
    loaded = build(case, seed=1)
    loaded.networks.load_state_dict(load_checkpoint(path).tensors["model"])
    z = seeded_noise(5, loaded.latent_dim, seed=3)
    original = engine.model
    with torch.no_grad():
        condition = conditions_for(loaded, 5)
        assert torch.equal(loaded.eval().decode(z, condition), original.eval().decode(z, condition))


@cases
def test_sample_17_is_sample_17_at_any_batch_size(case: Case) -> None:
    model = build(case).eval()
    dim = model.latent_dim
    alone, among = seeded_noise(1, dim, 0, start=17), seeded_noise(7, dim, 0, start=12)
    assert torch.equal(alone[0], among[5])
    with torch.no_grad():
        condition = conditions_for(model, 7)
        one = model.to_uint8(model.decode(alone, None if condition is None else condition[5:6]))[0]
        seven = model.to_uint8(model.decode(among, condition))[5]
    assert np.abs(one.numpy().astype(int) - seven.numpy().astype(int)).max() <= 1


@cases
def test_float64_runs(case: Case) -> None:
    engine = engine_for(case, dtype=torch.float64)
    engine.data = _Double(engine.data)
    engine.step()
    assert all(p.dtype == torch.float64 and torch.isfinite(p).all() for p in engine.names)


class _Double:
    """Batches in float64."""

    def __init__(self, batches: object) -> None:
        self.batches = batches
        self.batch_size, self.images = batches.batch_size, batches.images

    def batch(self, index: int) -> object:
        import dataclasses

        batch = self.batches.batch(index)
        return dataclasses.replace(batch, images=batch.images.double())


@cases
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sharing_a_forward_pass_changes_no_weight(case: Case, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(engine: Engine) -> dict[str, torch.Tensor]:
        for _ in range(4):
            engine.step()
        return {name: p.detach().clone() for p, name in engine.names.items()}

    shared = weights(engine_for(case, precision=precision))

    def make_anew(turn: EngineTurn, key, make, by):
        turn.seed(key)
        made = make()
        turn.seed(turn.phase)
        return made

    monkeypatch.setattr(EngineTurn, "once", make_anew)
    apart = weights(engine_for(case, precision=precision))
    assert all(torch.equal(shared[name], apart[name]) for name in shared)


@cases
def test_state_of_another_model_is_refused(case: Case) -> None:
    from morphospace.errors import RunError

    engine = engine_for(case)
    state = engine.state()
    weights = dict(state.tensors["model"])
    weights.pop(next(iter(weights)))
    with pytest.raises(RunError, match="has not the weights of this model"):
        engine.load_state(State({**state.tensors, "model": weights}, state.numbers))
