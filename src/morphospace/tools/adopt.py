"""Adopt networks that were trained elsewhere: they become a run, which every tool takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from morphospace.data.datasets import from_dataset
from morphospace.data.pack import Pack
from morphospace.data.prepare import anchored, prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import RunError, require
from morphospace.models.contract import Decodes, Model, seeded_noise
from morphospace.models.described import networks_text, unknown_layer
from morphospace.ranges import Between, check_ranges
from morphospace.records import fields_of
from morphospace.runs.checkpoints import load_tensors, pointed, save_checkpoint
from morphospace.runs.configuration import Configuration, resolve
from morphospace.runs.folder import RunFolder
from morphospace.runs.images import keep_images, warn
from morphospace.runs.run import Run, load
from morphospace.tools.export.diffusers_folder import model_in, read_config, shape_of
from morphospace.training.events import State

TRIED = 16  # codes that are decoded to see whether the images are in the stated range
OUTSIDE, SHARE = 0.05, 0.05  # of the range's width; of the values


def adopt(
    decoder: nn.Module | str | Path,
    encoder: nn.Module | None = None,
    *,
    shape: tuple[int, int, int] | None = None,
    latent_dim: Annotated[int | None, Between(1, 65_536)] = None,
    signed: bool = False,
    data: str | Pack | Any = None,
    out: str | Path = "adopted",
    say: Callable[[str], None] | None = None,
    **settings: Any,
) -> Run:
    """Make a run of a decoder, and maybe an encoder, that were trained elsewhere, so that every tool takes it.

    The networks are put into evaluation mode, and their weights are written to the folder `out`. If they are made of
    plain layers of torch, as `nn.Sequential(nn.Linear(...), ...)`, these are written too, and every command opens the
    folder. Code is never kept: of other networks, later `ms.load(out, parts={"decoder": ...})` needs them again. Codes
    are taken to be distributed as N(0, I). With an encoder and images whose codes are not, samples come from a mixture
    fitted to these.

    A folder that the library diffusers wrote of its `AutoencoderKL` becomes a run of `autoencoder-kl`. Nothing else is
    needed than the folder, neither the library nor a description of the networks.

    Args:
        decoder: Maps codes (B, D) to images (B, C, H, W). Or such a folder, for both networks.
        encoder: Maps such images to codes (B, D), or to mean and log variance: one tensor (B, 2 D) or two of (B, D).
        shape: (H, W, C) of the images; C is 1 or 3. Of a folder, the shape that its `config.json` says if not given.
        latent_dim: D, the number of latent dimensions; a folder says it itself.
        signed: Whether the images that the networks give and take are in [-1, 1] (`tanh`), rather than in [0, 1].
        data: Images to evaluate it by, to encode and to name by number: a source such as `folder:PATH`, an open `Pack`,
            or a dataset as for `train`. Those of the training split count as trained on.
        out: The run's folder. If it holds the same networks already, they are taken from there.
        say: Takes a line for the user; a warning when None.
        settings: Any data setting by its plain name (`crop="pad"`, `classes=True`), for a source.

    Returns:
        The run, loaded.

    Raises:
        SettingError: If a network does not map what it must, or the images have another shape.
        DataError: If the folder holds none, or one with something that `autoencoder-kl` has not.
        RunError: If `out` holds something else.
    """
    check_ranges(adopt, locals())
    if isinstance(decoder, str | Path):
        config, rule = read_config(Path(decoder)), "the folder has it"
        require(encoder is None, "encoder", encoder, rule, "leave it out")
        require(latent_dim is None, "latent_dim", latent_dim, rule, "leave it out")
        shape = shape_of(config) if shape is None else shape
    else:
        way_out = "give the length of a code, for instance latent_dim=32"
        require(latent_dim is not None, "latent_dim", latent_dim, "is needed", way_out)
    sides = isinstance(shape, Sequence) and len(shape) == 3 and all(type(side) is int and side > 0 for side in shape)
    rule, way_out = "must be (H, W, C) of the images, and C is 1 or 3", "give for instance shape=(64, 64, 3)"
    require(sides and shape is not None and shape[2] in (1, 3), "shape", shape, rule, way_out)
    assert shape is not None
    shape = (shape[0], shape[1], shape[2])
    source = isinstance(data, str)
    known = fields_of(DataSettings).keys() - {"valid"}
    unknown = sorted(name for name in settings if name not in known or not source)
    require(not unknown, "settings", unknown, "are no settings of a data source", "leave them out, or give data='...'")
    settings["valid"] = 0.0  # any of the images may be trained on
    if source:
        settings = {"data": data, "size": f"{shape[0]}x{shape[1]}", "channels": shape[2], **settings}
    parts: dict[str, nn.Module] | None = None
    if isinstance(decoder, str | Path):
        model = model_in(Path(decoder), config, shape)
        own = asdict(model.settings)
        configuration = resolve(model.settings.name, overrides=settings | own)
        lines = doubts(model)
    else:
        given = {"decoder": decoder} if encoder is None else {"decoder": decoder, "encoder": encoder}
        described = networks_text(given)
        settings |= {"networks": described, "latent_dim": latent_dim, "signed": signed}
        configuration = resolve("adopted", overrides=settings)
        model = configuration.model.build(shape, given).eval()
        parts, lines = None if described else given, [*doubts(model), *lasting(given, described)]
    for line in lines:
        (say or warn)(line)
    pack = None if data is None else images_of(configuration, data, shape, say or warn)
    folder = written(Path(out), configuration, model, pack, handed_over=not source)
    if pack is not None:
        keep_images(pack, folder, note=say or warn, say=say or (lambda line: None))
    run = load(out, parts=parts, device=model.device.type)
    return run if pack is None else run.with_images(pack)


def images_of(configuration: Configuration, data: Any, shape: tuple[int, int, int], say: Callable[[str], None]) -> Pack:
    """Return the images that were given.

    Raises:
        SettingError: If they are of another shape.
    """
    if isinstance(data, str):
        pack = prepare(anchored(configuration.data), say=None if say is warn else say)
    else:
        pack = data if isinstance(data, Pack) else from_dataset(data, say=say)
    rule = f"its images are {'x'.join(map(str, pack.shape))}, those of the networks {'x'.join(map(str, shape))}"
    require(pack.shape == tuple(shape), "data", pack.name, rule, "give them in that shape")
    return pack


def lasting(parts: Mapping[str, nn.Module], described: str) -> list[str]:
    """Return a line that says what works later, of networks that only their code can build; nothing of others."""
    if described:
        return []
    layer = next(filter(None, map(unknown_layer, parts.values())))
    return [
        f"{layer} is no plain float32 layer of torch, and its code is not kept: every tool works on this run in "
        "Python, later after ms.load(run, parts=...); commands and the explorer cannot open its folder, so "
        "send what ms.export writes"
    ]


@torch.no_grad()
def doubts(model: Model) -> list[str]:
    """Return lines that say what is odd about the images of random codes.

    Raises:
        SettingError: If they are not finite.
    """
    assert isinstance(model, Decodes)
    images = model.decode(seeded_noise(TRIED, model.latent_dim, 0).to(model.device, model.dtype))
    way_out = "check its weights, and the codes that it was trained with"
    require(bool(images.isfinite().all()), "decoder", "NaN or infinity", "comes of codes of N(0, I)", way_out)
    low, high = (-1.0, 1.0) if model.signed else (0.0, 1.0)
    margin = OUTSIDE * (high - low)
    outside = float(((images < low - margin) | (images > high + margin)).float().mean())
    least, most, stated = images.min(), images.max(), f"[{low:.0f}, {high:.0f}]"
    if outside > SHARE:
        other = "signed=True" if not model.signed and least >= -1.1 and most <= 1.1 else "a last layer such as Sigmoid"
        return [
            f"{outside:.0%} of the values that the decoder gives for codes of N(0, I) are outside {stated}, from "
            f"{least:.3g} to {most:.3g}, and will be cut: perhaps it needs {other}"
        ]
    if model.signed and least >= 0:
        return [f"the decoder gives no value below 0, and its range is stated as {stated}: perhaps signed=False"]
    return []


def written(
    path: Path, configuration: Configuration, model: Model, pack: Pack | None, *, handed_over: bool
) -> RunFolder:
    """Write the run's folder, or find it there with the same networks.

    Raises:
        RunError: If it holds something else.
    """
    tensors = {name: value.detach().clone() for name, value in model.networks.state_dict().items()}
    facts = {
        "data": "unknown" if pack is None else pack.name,
        "data_hash": "" if pack is None else pack.hash,
        "data_given": handed_over,
        "adopted": True,
        "shape": list(model.shape),
        "custom": list(model.custom),
        "labels": [] if pack is None else list(pack.label_names),
        "attributes": [] if pack is None else list(pack.attribute_names),
    }
    if not (path / "run.toml").exists():
        folder = RunFolder.create(path, configuration, facts)
    else:
        folder = RunFolder.open(path)
        there = pointed(folder.checkpoints, "last")
        same = folder.configuration == configuration and all(
            list_of(folder.facts.get(k, v)) == v for k, v in facts.items()
        )
        if not (same and (there is None or equal(load_tensors(there / "model.safetensors"), tensors))):
            way_out = "choose another folder with out=..., or delete it"
            raise RunError("out", str(path), "holds a run of other networks, settings or images", way_out)
        if there is not None:
            return folder
    save_checkpoint(folder.checkpoints, State({"model": tensors}, {"step": 0, "images": 0}), best=False, keep=1)
    return folder


def list_of(value: Any) -> Any:
    """Return a tuple as a list, other values as they are."""
    return list(value) if isinstance(value, tuple) else value


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Return whether two sets of tensors are the same, by name and value."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name].cpu()) for name in first)
