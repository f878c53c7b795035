"""Which deep convolutions this CPU computes faster as matrix products, found by trial when a run begins."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from morphospace.models.contract import Model
from morphospace.models.products import KINDS, can_be_product
from morphospace.objectives.clock import Clock
from morphospace.objectives.phase import Trainable, phases_of
from morphospace.training.anatomy import as_before, random_batch
from morphospace.training.distributed import World
from morphospace.training.precision import autocast
from morphospace.training.turn import EngineTurn, Memo, Noise

LEAST_CHANNELS = 64  # on both sides of a layer; with fewer, patches cost more than the product gains
LARGEST_MAP = 8  # pixels of a side
MOST_IMAGES = 32  # of a trial
TRIALS = 3
LEAST_GAIN = 1.25  # well above what chance adds to a tie, so that two runs of one command choose alike

Size = tuple[int, int]


def deep_layers(model: Model) -> dict[str, Size]:
    """Return the layers that may be faster as products, with the size of their inputs in a training step."""
    sizes: dict[str, Size] = {}

    def note(name: str) -> Callable[..., None]:
        def enter(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            height, width = inputs[0].shape[2:]
            largest = max(height, width) * (2 if isinstance(layer, nn.ConvTranspose2d) else 1)
            if largest <= LARGEST_MAP and can_be_product(layer, height, width):
                sizes[name] = height, width

        return enter

    wide = [
        (name, layer)
        for name, layer in model.networks.named_modules()
        if type(layer) in KINDS and min(layer.in_channels, layer.out_channels) >= LEAST_CHANNELS
    ]
    if wide:
        with as_before(model):
            handles = [layer.register_forward_pre_hook(note(name)) for name, layer in wide]
            try:
                step_once(model)
            finally:
                for handle in handles:
                    handle.remove()
    return sizes


def step_once(model: Model) -> None:
    """Compute the losses of one step on a few random images; nothing learns from them."""
    noise, memo, batch = Noise(0, model.device, model.dtype, World()), Memo(), random_batch(model)
    model.networks.train()
    for phase in phases_of(cast(Trainable, model)):
        turn = EngineTurn(noise, memo, Clock(1, 1, 1.0), phase.name, 0)
        turn.seed(phase.name)
        phase.loss(batch, turn)


def gain(layer: nn.Module, size: Size, batch: int, precision: str) -> float:
    """Return how many times as fast as torch's own a layer is as a product, forward and backward, in CPU time.

    Args:
        layer: A convolution, which does not change.
        size: (H, W) of its input.
        batch: Images at a time.
        precision: `fp32` or `bf16`.
    """
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    twins = [copy.deepcopy(layer).train(), copy.deepcopy(layer).train()]
    twins[1].__class__ = KINDS[type(layer)]  # type: ignore[assignment]
    maps = torch.ones(batch, layer.in_channels, *size).contiguous(memory_format=torch.channels_last)
    maps.requires_grad_()
    fastest = [float("inf")] * 2
    for trial in range(TRIALS + 1):
        for side, twin in enumerate(twins):
            began = time.process_time()
            with autocast(maps.device, precision):
                results = twin(maps)
            torch.autograd.grad(results, (maps, twin.weight), torch.ones_like(results))
            if trial:  # the first one prepares kernels
                fastest[side] = min(fastest[side], time.process_time() - began)
    return fastest[0] / fastest[1]


def faster_as_products(model: Model, batch: int, precision: str) -> dict[str, float]:
    """Return the layers that this CPU computes faster as products, with how many times as fast.

    Args:
        model: On a CPU.
        batch: Images that one process sees in a step.
        precision: `fp32` or `bf16`.
    """
    # Each shape is tried once.
    tried: dict[tuple[object, ...], float] = {}
    found = {}
    for name, size in deep_layers(model).items():
        layer = model.networks.get_submodule(name)
        shape = type(layer), layer.in_channels, layer.out_channels, size
        if shape not in tried:
            tried[shape] = gain(layer, size, min(batch, MOST_IMAGES), precision)
        if tried[shape] >= LEAST_GAIN:
            found[name] = tried[shape]
    return found
