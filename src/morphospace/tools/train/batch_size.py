"""The batch size: what it is when none is given, and whether batch norm can work with it."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.errors import SettingError, require
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.objectives.clock import Clock
from morphospace.objectives.phase import Trainable, phases_of
from morphospace.runs.configuration import Configuration
from morphospace.training.distributed import World
from morphospace.training.precision import choose_device
from morphospace.training.turn import EngineTurn, Noise
from morphospace.zoo.registry import ModelSettings

Shape = tuple[int, int, int]
SMALL_SET = 10_000
"""With fewer training images an epoch has few updates, and smaller batches learn more in the same time."""


def with_batch_size(configuration: Configuration, images: int, processes: int = 1) -> Configuration:
    """Choose the batch size if none is given: the model's usual one for so many images, or all of them if fewer.

    Each process gets an equal share, of whole groups where a critic judges several images at once.
    """
    group = processes * packing_of(configuration.model)
    size = max(group, min(usual_batch(configuration, images), images) // group * group)
    return configuration.with_batch_size(size)


def usual_batch(configuration: Configuration, images: int) -> int:
    """Return the batch size of a model on the device that it is trained on, if none is asked for."""
    model = configuration.model
    usual = model.usual_batch.get(choose_device(configuration.training.device).type, 128)
    return min(usual, model.small_set_batch) if images < SMALL_SET else usual


def packing_of(model: Any) -> int:
    """Return how many images a model's critic judges together, by the model's settings."""
    return int(getattr(model, "packing", 1))


def check_least(settings: ModelSettings, share: int) -> None:
    """Refuse a process's share of a batch that the loss cannot be computed from.

    Raises:
        SettingError: It is smaller than the settings say.
    """
    least, name = settings.least_batch, settings.name
    rule = f"{name} compares the codes of a batch with each other, and a process gets {share}"
    require(share >= least, "batch_size", share, rule, f"take {least} or more images a process")


def check_batch_norm(model: Model, batch: Batch) -> None:
    """Refuse a batch in which a batch norm would have to normalise a single value by itself.

    It runs a copy of the model on the batch, if the batch is that small: a tower of the caller's own is checked too.

    Raises:
        SettingError: A feature map of 1x1 meets a batch of one image.
    """
    size, settings = len(batch.images), model.settings
    fewest = 2 * packing_of(settings)
    if size >= fewest:
        return
    trial = copy.deepcopy(model)
    for name, module in trial.networks.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(partial(_refuse_one_value, name.partition(".")[0]))
    trial.networks.train()
    noise = Noise(0, trial.device, trial.dtype, World())
    memo: dict[str, Any] = {}
    try:
        with torch.random.fork_rng():
            for phase in phases_of(cast(Trainable, trial)):
                phase.loss(batch, EngineTurn(noise, memo, Clock(0, 0, 0.0, size), phase.name, 0))
    except _OneValue as error:
        rule = "batch norm needs 2 images where a tower ends in 1x1"
        field = next((name for name in (f"{error.network}_norm", "norm") if hasattr(settings, name)), None)
        norm = f" or --{field.replace('_', '-')} none" if field else ""
        raise SettingError("batch_size", size, rule, f"take {fewest} or more, fewer --widths{norm}") from error


class _OneValue(Exception):
    """A batch norm met one value a channel."""

    def __init__(self, network: str) -> None:
        super().__init__(network)
        self.network = network


def _refuse_one_value(network: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if module.training and inputs[0].numel() == inputs[0].shape[1]:
        raise _OneValue(network)


def check_foretold(configuration: Configuration, shape: Shape, conditioning: Conditioning | None) -> None:
    """Check the batch size that is asked for before the data are read, on black images with every annotation zero.

    Raises:
        SettingError: As `check_batch_norm`.
    """
    size = configuration.training.batch_size
    if size is None or size >= 2 * packing_of(configuration.model):
        return
    check_least(configuration.model, size)
    if conditioning is None and configuration.condition:
        conditioning = Conditioning("label", ("0", "1"))  # the classes are not known yet; any number will do
    model = configuration.model.build(shape, None, conditioning)
    height, width, channels = shape
    columns = max(conditioning.columns, default=0) + 1 if conditioning is not None else 1
    blank = Batch(
        torch.zeros(size, channels, height, width),
        torch.arange(size),
        labels=torch.zeros(size, dtype=torch.int64),
        attributes=torch.zeros(size, columns),
        masks=torch.zeros(size, 1, height, width),
    )
    check_batch_norm(model, blank)
