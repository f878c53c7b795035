"""What a model is made of and what happens in its training step, found by computing the losses of one step.

Nothing here knows a model by name. A few random images pass through every phase, hooks note the layers, and a tag on
each tensor says what it was computed from. Weights, buffers and random streams are afterwards as they were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.contract import Decodes, Encodes, Model
from morphospace.models.products import as_convolutions
from morphospace.objectives.clock import Clock
from morphospace.objectives.phase import Phase, Trainable, together
from morphospace.training.distributed import World, alone
from morphospace.training.layers_called import Layers, Part
from morphospace.training.origins import Call, Origin, Origination, Origins, Tag, tensors_in, through
from morphospace.training.turn import EngineTurn, Memo, Noise

IMAGES = 4  # in the batch that is played, times the images that a critic judges at once
LATE = 1 << 50  # images seen: after every warm-up, so that each term has its final weight


@dataclass(frozen=True)
class Step:
    """One use of a part: what goes in, and into which part."""

    given: str
    part: str


@dataclass(frozen=True)
class PhaseAnatomy:
    """What one phase does.

    Attributes:
        name: The phase's name, as in the logged numbers.
        turns: Updates in one training step.
        every: Only every n-th step includes it.
        together: Names of the phases that are updated at the same time.
        chains: How values pass through the parts until they reach the loss.
        learns: The parts that are updated.
        terms: What is minimised: names and weights.
    """

    name: str
    turns: int
    every: int
    together: tuple[str, ...]
    chains: tuple[tuple[Step, ...], ...]
    learns: tuple[str, ...]
    terms: tuple[tuple[str, float], ...]

    @property
    def acts(self) -> tuple[str, ...]:
        """The parts that are used, in order."""
        return tuple(dict.fromkeys(step.part for chain in self.chains for step in chain))


@dataclass(frozen=True)
class Anatomy:
    """A model's networks and the phases of its training step.

    Attributes:
        model: The model's name.
        shape: (H, W, C) of its images.
        parts: Its networks that have parameters.
        phases: What each phase of a step does.
    """

    model: str
    shape: tuple[int, int, int]
    parts: tuple[Part, ...]
    phases: tuple[PhaseAnatomy, ...]


# -- one step --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TracedTurn(EngineTurn):
    """A turn whose normal noise is known as such."""

    origination: Origination | None = None

    def normal(self, *shape: int) -> Tensor:
        noise = self.noise.draw(torch.randn, shape)
        assert self.origination is not None
        self.origination.mark(noise, "noise")
        return noise


def random_batch(model: Model) -> Batch:
    """Return a few random images with everything that a model may need to know of them."""
    count = IMAGES * getattr(model.settings, "packing", 1)
    height, width, channels = model.shape
    like = {"device": model.device, "dtype": model.dtype}
    images = torch.rand(count, channels, height, width, **like)  # type: ignore[call-overload]
    columns = 1 + max((0, *(model.conditioning.columns if model.conditioning else ())))
    rows = torch.arange(count, device=model.device)
    labels = rows % max(1, model.conditioning.size if model.conditioning else 1)
    return Batch(
        images * 2 - 1 if model.signed else images,
        rows,
        labels=labels,
        attributes=(rows[:, None] % 2).expand(count, columns).to(model.dtype),
        masks=(torch.rand(count, 1, height, width, **like) > 0.5).to(model.dtype),  # type: ignore[call-overload]
    )


@contextlib.contextmanager
def as_before(model: Model) -> Iterator[None]:
    """Leave buffers, modes and the random stream of a model as they were."""
    modules = (model.networks, model.memory)
    buffers = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    modes = [(one, one.training) for module in modules for one in module.modules()]
    try:
        with (
            alone(model.networks),
            as_convolutions(model.networks),
            torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []),
        ):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for one, training in modes:
            one.training = training


def anatomy(model: Model) -> Anatomy:
    """Return a model's networks and the phases of its training step; no image of the data is needed."""
    networks = {name: part for name, part in model.networks.items() if any(True for _ in part.parameters())}
    origination = Origination()
    for name, part in networks.items():
        for parameter in part.parameters():
            origination.tags[parameter] = Tag(owner=name)
    layers: dict[str, Layers] = {}
    images: set[Call] = set()
    with as_before(model):
        model.networks.train()
        try:
            for name, part in networks.items():
                layers[name] = Layers(part, origination)
                layers[name].handles.append(part.register_forward_hook(leaver(name, origination, images)))

            def resized(tag: Tag, result: Tensor) -> None:
                for call in calls_in(list(tag.origins)):
                    layers[call.part].resize(result)

            origination.resized = resized
            phases = played(model, networks, origination, images)
        finally:
            for one in layers.values():
                for handle in one.handles:
                    handle.remove()
    parts = tuple(layers[name].finished(name) for name in networks)
    return Anatomy(model.settings.name, model.shape, parts, tuple(phases))


def leaver(name: str, origination: Origination, images: set[Call]) -> Callable[..., None]:
    """Return a hook that takes all that a part computed in one call for one use of it."""

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        for one in tensors_in([result]):
            tag = origination.tag(one)
            if tag.origins:
                origination.tags[one] = Tag(through(name, tag.origins), reach=tag.reach)
                if one.dim() == 4:
                    images.update(call for origin in origination.tag(one).origins for call in origin)

    return leave


def played(
    model: Model, networks: Mapping[str, nn.Module], origination: Origination, images: set[Call]
) -> Iterator[PhaseAnatomy]:
    """Compute the loss of every phase once and return what each does."""
    noise, memo = Noise(0, model.device, model.dtype, World()), Memo()
    clock = Clock(1, LATE, float(LATE))
    batch = random_batch(model)
    origination.mark(batch.images, "x", (1, 1))
    for tensor, word in ((batch.labels, "y"), (batch.attributes, "y"), (batch.masks, "mask")):
        origination.mark(tensor, word)
    found: list[PhaseAnatomy] = []
    rounds = cast(Trainable, model).rounds()
    if not rounds:  # trained elsewhere: that it encodes and decodes is all that is known
        with origination:
            if isinstance(model, Encodes):
                model.encode(batch.images)
            cast(Decodes, model).decode(noise_like(batch.images, model.latent_dim))
    for one in rounds:
        for phase in together(one):
            turn = TracedTurn(noise, memo, clock, phase.name, 0, True, origination)
            turn.seed(phase.name)
            with origination:
                terms = phase.loss(batch, turn)
            origins = [origination.tag(mean).origins for _, mean, _ in terms.weighted]
            chains = chains_to([origin for some in origins for origin in some], images)
            weights = tuple((name, float(weight)) for name, _, weight in terms.weighted)
            others = tuple(other.name for other in together(one) if other is not phase)
            learns = learned(phase, networks)
            found.append(PhaseAnatomy(phase.name, phase.turns, phase.every, others, chains, learns, weights))
    return iter(found)


def noise_like(images: Tensor, size: int) -> Tensor:
    """Return as many codes (B, size) as there are images, of their type and device."""
    return torch.randn(len(images), size, device=images.device, dtype=images.dtype)


def learned(phase: Phase, networks: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Return the names of the parts that a phase updates."""
    own = {id(p) for module in phase.learns for p in module.parameters()}
    return tuple(name for name, part in networks.items() if any(id(p) in own for p in part.parameters()))


# -- what happened, in words -----------------------------------------------------------------------------------


def calls_in(origins: Sequence[Origin]) -> list[Call]:
    """Return the calls that values come from directly, in a fixed order."""
    return sorted({one for origin in origins for one in origin if isinstance(one, Call)}, key=described)


def described(call: Call) -> str:
    """Return a text that orders calls: by part, then by what they were given."""
    given = sorted(sorted(one if isinstance(one, str) else described(one) for one in origin) for origin in call.given)
    return f"{len(str(given)):06d} {call.part} {given}"


def chains_to(origins: Sequence[Origin], images: set[Call]) -> tuple[tuple[Step, ...], ...]:
    """Return the chains of calls that lead to values of these origins; one that is part of another is left out."""
    chains: list[tuple[Step, ...]] = []
    for call in calls_in(origins):
        chains += chains_of(call, images)
    unique = list(dict.fromkeys(chains))
    return tuple(one for one in unique if not any(len(o) > len(one) and o[: len(one)] == one for o in unique))


def chains_of(call: Call, images: set[Call]) -> list[tuple[Step, ...]]:
    """Return the chains that end with a call; one for each call that its input was computed by."""
    given = " or ".join(dict.fromkeys(value(origin, images) for origin in in_order(call.given)))
    step = Step("noise" if call.given == {frozenset(["noise"])} and call.part == "prior" else given, call.part)
    before = calls_in(list(call.given))
    return [(*chain, step) for each in before for chain in chains_of(each, images)] or [(step,)]


def in_order(origins: Origins) -> list[Origin]:
    """Return alternatives in a fixed order, those that come from images first."""
    return sorted(origins, key=lambda origin: (not any(from_images(one) for one in origin), str(described_all(origin))))


def described_all(origin: Origin) -> list[str]:
    """Return the sources of an origin as texts, sorted."""
    return sorted(one if isinstance(one, str) else described(one) for one in origin)


def from_images(source: Any) -> bool:
    """Return whether a source is an image of the data or was computed from some."""
    if isinstance(source, Call):
        return any(from_images(one) for origin in source.given for one in origin)
    return bool(source == "x")


def value(origin: Origin, images: set[Call]) -> str:
    """Return what a value is in the notation of the docs: x, x̂, z ~ q(z | x), z ~ p(z), y; or a critic's features."""
    calls = [one for one in origin if isinstance(one, Call)]
    made = any(call in images for call in calls)
    if any(call.part == "critic" for call in calls):
        return "features"
    codes = [call for call in calls if call not in images]
    found = [" and ".join(["x"] * ("x" in origin) + ["x̂"] * made)] if "x" in origin or made else []
    if any(from_images(call) for call in codes):
        found.append("z ~ q(z | x)" if "noise" in origin else "z")
    elif codes or ("noise" in origin and "x" not in origin):  # alone, or with the image that it became
        found.append("z ~ p(z)")
    found += [word for word in ("y", "mask") if word in origin]
    return ", ".join(found) or "parameters"
