"""The work of `export`: the halves of a run's model as files, and named weights that this library reads back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from morphospace import __version__
from morphospace.errors import DataError, RunError, SettingError
from morphospace.files import atomic, json_text
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Encodes, Model
from morphospace.runs.codes import encoder_of
from morphospace.runs.configuration import resolve
from morphospace.runs.run import Run
from morphospace.tools.export import Exported, Networks
from morphospace.tools.export.formats import (
    Part,
    Runner,
    checked,
    decoder_part,
    encoder_part,
    exported,
    networks_of,
)


def written(run: Run, path: Path, format: str, what: str, weights: str) -> Exported:
    """Write the files of `export`, which says how."""
    parts = parts_of(run, what)
    made: dict[Path, bytes] = {}
    errors = []
    if format == "safetensors":
        made[path] = named_weights(run, parts, weights)
        again = networks_in(made[path], str(path))
        errors += [checked(part, runner_of(again, part), weights) for part in parts]
    else:
        for part in parts:
            file = path if len(parts) == 1 else path.with_name(f"{path.stem}-{part.name}{path.suffix}")
            made[file], error = exported(part, format, weights, facts_of(run, part, weights))
            errors.append(error)
    for file, content in made.items():
        with atomic(file) as partial:
            partial.write_bytes(content)
    inputs, outputs = {part.name: part.inputs for part in parts}, {part.name: part.outputs for part in parts}
    return Exported(tuple(made), max(errors), inputs, outputs, sum(map(len, made.values())))


def parts_of(run: Run, what: str) -> list[Part]:
    """Return the halves of a run's model that are asked for, on the CPU in float32."""
    encoder: Encodes | None = encoder_of(run) if what in ("encoder", "both") else None
    model, encoder = deepcopy((run.model, encoder))  # at once: where they are one, they stay one
    for holder in (model, encoder):
        if holder is not None:
            networks_of(holder).to("cpu").float().eval()
    parts = [decoder_part(model)] if what in ("decoder", "both") else []
    return parts if encoder is None else [*parts, encoder_part(model, encoder)]


def facts_of(run: Run, part: Part, weights: str) -> dict[str, Any]:
    """Return what a file says of itself: plain values, and no path of this machine."""
    model = run.model
    return {
        "run": run.path.resolve().name,
        "model": run.configuration.model.name,
        "part": part.name,
        "version": f"morphospace {__version__}",
        "shape": list(run.folder.shape),
        "range": [-1, 1] if model.signed else [0, 1],
        "layout": "images are (batch, channels, height, width)",
        "to_uint8": "round((x + 1) * 127.5)" if model.signed else "round(x * 255)",
        "latent_dim": model.latent_dim,
        "condition": list(model.conditioning.names) if model.conditioning else [],
        "weights": weights,
        "data": run.data_name,
        "labels": list(run.folder.facts["labels"]),
        "images_seen": run.images,
    }


# -- named weights -------------------------------------------------------------------------------------------


def named_weights(run: Run, parts: list[Part], weights: str) -> bytes:
    """Return the parts' weights as safetensors, with the settings that build their networks again.

    Raises:
        RunError: If settings alone cannot build the networks again.
    """
    what = f"run = {str(run.path)!r}"
    if run.model.custom:
        rule = f"was trained with the caller's own {list(run.model.custom)}, which only their code can build again"
        raise RunError(what, rule=rule, way_out="take --format onnx or torchscript")
    encodes = any(part.name == "encoder" for part in parts)
    if encodes and not isinstance(run.model, Encodes):
        raise RunError(
            what, rule="its encoder was trained afterwards", way_out="take --format onnx or torchscript for it"
        )
    tensors: dict[str, Tensor] = {}
    for part in parts:
        networks = part.module.get_submodule("networks")
        learned = {name for name, _ in networks.named_parameters()} if weights == "fp16" else set()
        for name, values in networks.state_dict().items():
            tensors[name] = (values.half() if name in learned else values).clone(memory_format=torch.contiguous_format)
    facts = facts_of(run, parts[0], weights) | {
        "part": "+".join(part.name for part in parts),
        "settings": run.configuration.to_dict()["model"],
        "attributes": list(run.folder.facts["attributes"]),
    }
    return save(tensors, {name: v if isinstance(v, str) else json_text(v) for name, v in facts.items()})


def networks_in(content: bytes, name: str) -> Networks:
    """Build the networks whose weights these bytes are."""
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except SafetensorError as error:
        raise DataError("file", name, f"is no safetensors file ({error})", "export it again") from None
    written: dict[str, str] = header.get("__metadata__", {})
    try:
        facts = {key: plain(value) for key, value in written.items()}
        model = built(facts)
        parts = facts["part"].split("+")
        halves = [decoder_part(model)] if "decoder" in parts else []
        if "encoder" in parts:
            assert isinstance(model, Encodes)
            halves.append(encoder_part(model, model))
        for half in halves:
            networks = half.module.get_submodule("networks")
            networks.load_state_dict({key: tensors[key] for key in networks.state_dict()})
    except (KeyError, TypeError, AttributeError, RuntimeError, SettingError) as error:
        raise DataError("file", name, f"is none that `morpho export` wrote ({error!r})", "export it again") from None
    found = {half.name: half.module for half in halves}
    return Networks(found.get("decoder"), found.get("encoder"), facts)


def plain(value: str) -> Any:
    """Return what a line of metadata says: JSON, or the text itself."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def built(facts: Mapping[str, Any]) -> Model:
    """Return a new model of the settings in a file, weights at random."""
    settings = dict(facts["settings"])
    configuration = resolve(settings.pop("name"), overrides=settings)
    conditioning = Conditioning.of(configuration.condition, facts["labels"], facts["attributes"])
    height, width, channels = facts["shape"]
    model: Model = configuration.model.build((height, width, channels), None, conditioning)
    return model.eval()


def runner_of(networks: Networks, part: Part) -> Runner:
    """Return what runs a part of networks read back."""
    module = networks.decoder if part.name == "decoder" else networks.encoder
    assert module is not None
    return Part(part.name, module, part.inputs, part.outputs, part.arguments).__call__
