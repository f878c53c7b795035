"""What can be said of a run before it begins: shape, parameters, precision, and what its beta amounts to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError, require
from morphospace.runs.configuration import Configuration
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import ModelSettings
from morphospace.zoo.settings_vae import AESettings

if TYPE_CHECKING:
    from morphospace.models.conditioning import Conditioning
    from morphospace.runs.folder import RunFolder


Shape = tuple[int, int, int]


def shape_of(data: DataSettings) -> Shape | None:
    """Return the (H, W, C) that data settings lead to, or None where only the files can tell.

    Raises:
        SettingError: A size that is none.
        DataError: Neither a source nor a pack.
    """
    from morphospace.data.prepare import parse_size, prepare
    from morphospace.data.sources import SOURCES

    size, name = parse_size(data.size), data.data.partition(":")[0]
    if name not in SOURCES:
        return prepare(data).shape  # a pack, only opened; or the refusal
    native = SOURCES[name].info.shape
    if native is None:
        return (*size, data.channels) if size and data.channels else None
    return (*(size or native[:2]), data.channels or native[2])


def condition_of_data(configuration: Configuration) -> Conditioning | None:
    """Return the conditions of a conditional model, as far as they are known before the data are read.

    Raises:
        SettingError: A condition that is none, or that the pack given does not have.
        DataError: Neither a source nor a pack.
    """
    from morphospace.data.prepare import prepare
    from morphospace.data.sources import SOURCES
    from morphospace.models.conditioning import Conditioning

    text, name = configuration.condition, configuration.data.data.partition(":")[0]
    if not text:
        return None
    if name not in SOURCES:
        return Conditioning.for_pack(text, prepare(configuration.data))  # a pack, only opened
    classes = getattr(SOURCES[name], "classes", ())
    if text == "label" and not classes:
        return None
    return Conditioning.of(text, classes, [name.strip() for name in text.partition(":")[2].split(",")])


def check_batch(configuration: Configuration, conditioning: Conditioning | None) -> None:
    """Refuse a batch that is too small for the model's batch norm, where the size of the images is known.

    Raises:
        SettingError: A feature map of 1x1 meets a batch of one image.
    """
    from morphospace.data.prepare import parse_size

    size, data = parse_size(configuration.data.size), configuration.data
    shape = shape_of(data) or ((*size, data.channels or 3) if size else None)  # no tower's height depends on channels
    if shape is None or configuration.training.batch_size is None:
        return
    from morphospace.tools.train.batch_size import check_foretold

    check_foretold(configuration, shape, conditioning)


def parameter_counts(model: ModelSettings, shape: Shape, conditioning: Conditioning | None = None) -> dict[str, int]:
    """Count a model's parameters, network by network, without making them.

    Args:
        model: The model's settings.
        shape: (H, W, C) of its images.
        conditioning: The conditions of a conditional model.

    Raises:
        SettingError: The towers cannot make such images.
    """
    import torch

    with torch.device("meta"):
        networks = model.build(shape, None, conditioning).networks
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in networks.named_children()}
    return {name: count for name, count in counts.items() if count}


def beta_line(model: ModelSettings, shape: Shape) -> str:
    """Return what a model's beta amounts to in nats, where its reductions make it something else; else nothing."""
    beta = getattr(model, "beta", None)
    if not isinstance(model, AESettings) or beta is None:
        return ""
    values = math.prod(shape)
    # Where there is no `beta_in_nats`, beta weighs another term than the KL.
    nats = model.beta_in_nats(values) if hasattr(model, "beta_in_nats") else model.in_nats(beta, values)
    if math.isclose(nats, beta):
        return ""
    reductions = {name: getattr(model, name, "sum") for name in ("reduction", "kl_reduction")}
    why = [f"{name}={value}" for name, value in reductions.items() if value != "sum"]
    why += ["likelihood=squared-error"] if model.likelihood == "squared-error" else []
    return f"beta {beta:g} with {', '.join(why)} amounts to beta {nats:,.6g} in nats"


def counted(model: ModelSettings, shape: Shape, conditioning: Conditioning | None) -> str:
    """Return a line with a model's parameters; how many a conditional one has is known with its data only."""
    condition = getattr(model, "condition", "")
    if condition and conditioning is None:
        return f"{model.name}: conditional on {condition}"
    counts = parameter_counts(model, shape, conditioning)
    each = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{model.name}: {sum(counts.values()):,} parameters ({each})"


def opening(
    configuration: Configuration,
    shape: Shape | None,
    conditioning: Conditioning | None = None,
    run: RunFolder | None = None,
) -> list[str]:
    """Return the lines that a run begins with; few where it is not known yet what the model will be like.

    Args:
        configuration: All settings.
        shape: (H, W, C) of the images, if known.
        conditioning: The conditions of a conditional model, if known.
        run: The run that is there already, if there is one.

    Raises:
        SettingError: The towers cannot make such images, or there is no such device, precision or metric.
    """
    from morphospace.runs.checkpoints import last_numbers
    from morphospace.tools.train.batch_size import SMALL_SET, usual_batch
    from morphospace.training.precision import choose_device, choose_precision

    scored = scores_line(configuration.training)
    model, s = configuration.model, configuration.training
    device = choose_device(s.device)
    precision = choose_precision(s.precision, device, None if run is None else last_numbers(run.checkpoints))
    length = f"{s.images:,} images" if s.images else f"{s.epochs:g} epochs"
    data = configuration.data.data
    many, few = usual_batch(configuration, SMALL_SET), usual_batch(configuration, 0)
    batch = s.batch_size or (f"{many}, or {few} for fewer than {SMALL_SET:,} images" if many != few else f"{many}")
    about = f"{length}, batch {batch}, {precision} on {device}, seed {s.seed}"
    if shape is None:
        return [f"{model.name} on {data}: {about}", *scored]
    height, width, channels = shape
    lines = [
        counted(model, shape, conditioning),
        f"{data} at {height}x{width}x{channels}: {about}",
    ]
    return [*lines, *filter(None, [beta_line(model, shape)]), *scored]


def foretold(configuration: Configuration, run: RunFolder | None) -> list[str]:
    """Return the lines that training begins with, as far as they are known before the data are read.

    Args:
        configuration: All settings.
        run: The run that is there already, if there is one.

    Raises:
        SettingError: As `opening`.
    """
    from morphospace.models.conditioning import Conditioning

    if run is None:
        return opening(configuration, shape_of(configuration.data), condition_of_data(configuration))
    if run.facts["custom"] or run.facts["data_given"]:
        return []
    known = Conditioning.of(configuration.condition, run.facts["labels"], run.facts["attributes"])
    return opening(configuration, run.shape, known, run)


def scores_line(training: TrainingSettings) -> list[str]:
    """Return a line with what is scored on the way; none where nothing is.

    Raises:
        SettingError: There is no such metric, or nothing can be chosen by it.
    """
    if not training.scores:
        return []
    from morphospace.tools.train.scoring import planned

    plan = planned(training)
    return [] if plan is None else [plan.words]


def checked_start(start_from: str | None, new_layers: bool = False) -> None:
    """Refuse a run to start from that is none, and new layers without one.

    Raises:
        SettingError: There is no such run.
    """
    require(
        start_from is not None or not new_layers, "new_layers", True, "goes with --from", "give the run, or leave it"
    )
    from morphospace.runs.hub import is_address

    if start_from is not None and not is_address(start_from) and not (Path(start_from) / "run.toml").is_file():
        raise SettingError("from", start_from, "no run.toml there", "give the folder of a finished run")
