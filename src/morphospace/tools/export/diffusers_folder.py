"""Folders in the layout of the library diffusers' `AutoencoderKL`: written from a run, and read into a model.

Such a folder has a `config.json`, and the weights of both networks in one file. The library itself is not needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from morphospace.errors import DataError, RunError, one_line
from morphospace.files import atomic, json_text, read_text
from morphospace.models.contract import Model
from morphospace.records import number, read_json
from morphospace.runs.checkpoints import load_tensors
from morphospace.runs.run import Run
from morphospace.tools.export import Exported
from morphospace.tools.export.formats import checked, decoder_part, encoder_part
from morphospace.tools.export.write import facts_of
from morphospace.training.weights import check_shapes, load_weights
from morphospace.zoo.autoencoder_kl import AutoencoderKL
from morphospace.zoo.settings_latent import AutoencoderKLSettings

CLASS, CONFIG, WEIGHTS = "AutoencoderKL", "config.json", "diffusion_pytorch_model.safetensors"
SETTINGS: Mapping[str, tuple[str, Any]] = {
    "block_out_channels": ("widths", (64,)),
    "latent_channels": ("latent_dim", 4),
    "layers_per_block": ("blocks", 1),
    "norm_num_groups": ("groups", 32),
    "mid_block_add_attention": ("attention", True),
    "use_quant_conv": ("quant_conv", True),
    "use_post_quant_conv": ("quant_conv", True),
}
"""What settings are called in the configuration, and what it means if it leaves them out."""
ALONE: Mapping[str, tuple[Any, ...]] = {
    "_class_name": (CLASS,),
    "act_fn": ("silu", "swish"),
    "latents_mean": (None,),
    "latents_std": (None,),
}
"""What these must be, where they are there: the model has no others."""
BLOCKS: Mapping[str, str] = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
OTHERS = ("in_channels", "out_channels", "sample_size", "scaling_factor", "shift_factor", "force_upcast")
MOVED: Mapping[str, str] = {"encoder.quant_conv.": "quant_conv.", "decoder.post_quant_conv.": "post_quant_conv."}
"""Beginnings of the names of our weights, and of theirs, where they are not the same."""
OLD_ATTENTION: Mapping[str, str] = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What older files call the layers of the attention."""
SCALING = 0.18215  # of a configuration that leaves it out


def their_name(ours: str) -> str:
    """Return what a weight of our networks is called there.

    >>> their_name("encoder.quant_conv.bias"), their_name("decoder.conv_in.weight")
    ('quant_conv.bias', 'decoder.conv_in.weight')
    """
    return next((there + ours[len(here) :] for here, there in MOVED.items() if ours.startswith(here)), ours)


def new_name(theirs: str) -> str:
    """Return a weight's present name for the one of an older file.

    >>> new_name("encoder.mid_block.attentions.0.query.weight")
    'encoder.mid_block.attentions.0.to_q.weight'
    """
    old = "|".join(OLD_ATTENTION)
    return re.sub(rf"(\.attentions\.\d+\.)({old})\.", lambda found: f"{found[1]}{OLD_ATTENTION[found[2]]}.", theirs)


def weights_of(model: Model) -> dict[str, Tensor]:
    """Return the weights of a model's encoder and decoder, by their names there."""
    state = model.networks.state_dict()
    return {their_name(name): value for name, value in state.items() if name.startswith(("encoder.", "decoder."))}


# -- write -----------------------------------------------------------------------------------------------------


def written(run: Run, path: Path, format: str, what: str, weights: str) -> Exported:
    """Write a run's model as a folder of this layout; it is read again and compared before.

    Raises:
        RunError: If the run's model is another, or the folder's differs from it by more than the tolerance.
    """
    name = run.configuration.model.name
    if not isinstance(run.model, AutoencoderKL):
        rule = f"is of {name}, and diffusers has no such networks"
        raise RunError("run", str(run.path), rule, "train autoencoder-kl, or take --format onnx or safetensors")
    model = deepcopy(run.model)
    model.networks.to("cpu").float().eval()
    config = config_of(model)
    tensors = {
        key: (value.half() if weights == "fp16" else value).clone(memory_format=torch.contiguous_format)
        for key, value in weights_of(model).items()
    }
    again = settings_of(config, CONFIG).build(model.shape).eval()
    assert isinstance(again, AutoencoderKL)
    fill(again, config, tensors)
    parts = [decoder_part(model), encoder_part(model, model)]
    theirs = {"decoder": decoder_part(again), "encoder": encoder_part(again, again)}
    error = max(checked(part, theirs[part.name].__call__, weights) for part in parts)
    facts = facts_of(run, parts[0], weights) | {"part": "decoder+encoder"}
    said = {key: value if isinstance(value, str) else json_text(value) for key, value in facts.items()}
    made = {WEIGHTS: save(tensors, {"format": "pt", **said}), CONFIG: (json_text(config, indent=2) + "\n").encode()}
    path.mkdir(parents=True, exist_ok=True)
    for file, content in made.items():
        with atomic(path / file) as partial:
            partial.write_bytes(content)
    inputs, outputs = {part.name: part.inputs for part in parts}, {part.name: part.outputs for part in parts}
    notes = (
        f"scaling_factor {config['scaling_factor']:.4g}: one over the deviation of all latents of training images",
        f'open it with AutoencoderKL.from_pretrained("{path}"), whose latents are codes divided by scaling_factor',
    )
    files = tuple(path / file for file in reversed(made))
    return Exported(files, error, inputs, outputs, sum(map(len, made.values())), notes)


def config_of(model: AutoencoderKL) -> dict[str, Any]:
    """Return the configuration of a model."""
    s, (height, width, channels) = model.settings, model.shape
    levels = len(s.widths)
    shift = float(model.scale.shift)
    return {
        "_class_name": CLASS,
        "act_fn": "silu",
        **{key: [kind] * levels for key, kind in BLOCKS.items()},
        **{key: getattr(s, setting) for key, (setting, _) in SETTINGS.items()},
        "in_channels": channels,
        "out_channels": channels,
        "sample_size": height if height == width else [height, width],
        "scaling_factor": math.exp(-float(model.scale.log_deviation)),
        "shift_factor": shift or None,
    }


# -- read ------------------------------------------------------------------------------------------------------


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder.

    Raises:
        DataError: If there is none, or it cannot be read.
    """
    file = folder / CONFIG
    if not file.is_file():
        way_out = "give one that diffusers wrote with save_pretrained; of a pipeline, its folder vae"
        raise DataError("folder", str(folder), f"has no {CONFIG}", way_out)
    try:
        config = read_json(read_text(file, links=True))
    except (OSError, ValueError) as error:
        raise DataError("config", str(file), f"cannot be read ({one_line(error)})", "save the model again") from None
    if not isinstance(config, dict):
        raise DataError("config", str(file), "must be a JSON object", "save the model again")
    return config


def settings_of(config: Mapping[str, Any], name: str) -> AutoencoderKLSettings:
    """Return the settings of the model that a configuration describes, which has no critic and no features.

    Args:
        config: The configuration.
        name: What it is called, for errors.

    Raises:
        DataError: If it has something that the model has not.
    """

    def need(holds: bool, key: str, rule: str) -> None:
        if not holds:
            raise DataError(key, config.get(key), rule, f"only such an {CLASS} is known here; {name} is another")

    known = {*SETTINGS, *ALONE, *BLOCKS, *OTHERS}
    for key in config:
        need(key in known or key.startswith("_"), key, "is nothing that this library knows of such a model")
    for key, allowed in ALONE.items():
        need(config.get(key, allowed[0]) in allowed, key, f"must be {' or '.join(json_text(one) for one in allowed)}")
    values: dict[str, Any] = {}
    for key, (setting, usual) in SETTINGS.items():
        value = config.get(key, usual)
        whole = type(value) is int or isinstance(value, bool)
        many = isinstance(value, list | tuple) and all(type(one) is int for one in value)
        need(many if setting == "widths" else whole and type(value) is type(usual), key, "is of another type")
        value = tuple(value) if many else value
        need(values.setdefault(setting, value) == value, key, "differs from use_quant_conv")
    for key, kind in BLOCKS.items():
        given = config.get(key, [kind])
        rule = f"must be {kind}, as often as there are block_out_channels"
        need(isinstance(given, list | tuple) and list(given) == [kind] * len(values["widths"]), key, rule)
    channels = config.get("in_channels", 3)
    need(type(channels) is int and channels in (1, 3), "in_channels", "must be 1 or 3")
    need(config.get("out_channels", 3) == channels, "out_channels", f"must be those of the input, {channels}")
    for key in ("scaling_factor", "shift_factor"):
        value = config.get(key)
        need(value is None or number(value), key, "must be a number")
    need((config.get("scaling_factor") or SCALING) > 0, "scaling_factor", "must be positive")
    return AutoencoderKLSettings(**values, adversarial=0.0, perceptual=0.0)


def shape_of(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return (H, W, C) of the images that a configuration was made for.

    Raises:
        DataError: If it says no such size.
    """
    size, channels = config.get("sample_size", 32), config.get("in_channels", 3)
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or not all(type(one) is int and one > 0 for one in [*sides, channels]):
        raise DataError("sample_size", size, "must be one whole number, or two", "give the images' shape=(H, W, C)")
    return sides[0], sides[1], channels


def fill(model: Model, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Give a new model weights by their names there, and the scale of its codes."""
    assert isinstance(model, AutoencoderKL)
    theirs = {new_name(name): value for name, value in tensors.items()}
    own = model.networks.state_dict()
    names = {their_name(name): name for name in own}
    scaling, shift = config.get("scaling_factor") or SCALING, config.get("shift_factor") or 0.0
    scale = {"scale.log_deviation": torch.tensor(-math.log(scaling)), "scale.shift": torch.tensor(float(shift))}
    load_weights(model.networks, {names.get(name, name): value for name, value in theirs.items()} | scale, WEIGHTS)


def model_in(folder: Path, config: Mapping[str, Any], shape: tuple[int, int, int]) -> Model:
    """Return the model that a folder holds, for images of `shape` (H, W, C).

    Raises:
        DataError: If the weights are not there, or not those that the configuration describes.
        SettingError: If the images cannot be halved as often as the model does.
    """
    file, settings = folder / WEIGHTS, settings_of(config, str(folder / CONFIG))
    if not file.is_file():
        way_out = "save the model again, with safe_serialization=True and no variant"
        raise DataError("folder", str(folder), f"has no {WEIGHTS}", way_out)
    try:
        tensors = load_tensors(file.resolve())
        with torch.device("meta"):  # the configuration may be a stranger's, and ask for any size
            wanted = {name: value.shape for name, value in weights_of(settings.build(shape)).items()}
        check_shapes({new_name(name): value.shape for name, value in tensors.items()}, wanted, "it")
        model: Model = settings.build(shape)
        fill(model, config, tensors)
    except RunError as error:
        raise DataError("weights", str(file), error.rule, f"give those that belong to its {CONFIG}") from None
    return model.eval()
