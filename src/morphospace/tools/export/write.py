"""The work of `export`: the halves of a run's model as files, and named weights that this library reads back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from morphospace import __version__
from morphospace.data.pack import Side
from morphospace.errors import DataError, RunError, one_line, require
from morphospace.files import atomic, json_text
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Encodes, Model
from morphospace.records import read_json, typed
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
from morphospace.training.weights import check_shapes, load_weights, shapes_of

_TIMES = 100  # as many weights as a file holds may the whole model have, of which it holds a half


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


class Metadata(TypedDict):
    """What a file of named weights must say of itself; it says more."""

    part: Literal["decoder", "encoder", "decoder+encoder"]
    shape: tuple[Side, Side, Literal[1, 3]]
    settings: dict[str, Any]
    labels: list[str]
    attributes: list[str]


def networks_in(content: bytes, name: str) -> Networks:
    """Build the networks whose weights these bytes are.

    Raises:
        DataError: If they are of no file that `named_weights` wrote; nothing of the size that they claim is allocated.
    """
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise DataError("file", name, f"is no safetensors file ({one_line(error)})", "export it again") from None
    try:
        header = read_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
        written = typed(header.get("__metadata__"), dict[str, str], "metadata")
        said = {key: plain(value) for key, value in written.items()}
        facts: dict[str, Any] = typed(said, Metadata, "metadata")
        with torch.device("meta"):
            _check_held(tensors, shapes_of(built(facts).networks))
        model = built(facts)
        parts = facts["part"].split("+")
        halves = [decoder_part(model)] if "decoder" in parts else []
        if "encoder" in parts:
            require(
                isinstance(model, Encodes),
                "part",
                facts["part"],
                f"{model.settings.name} has no encoder",
                "export it again",
            )
            halves.append(encoder_part(model, model))  # type: ignore[arg-type]
        for half in halves:
            networks = half.module.get_submodule("networks")
            load_weights(networks, {key: tensors[key] for key in shapes_of(networks) if key in tensors}, "it")
    except (ValueError, TypeError, RuntimeError) as error:  # a SettingError is a ValueError
        rule = f"is none that `morpho export` wrote ({one_line(error)})"
        raise DataError("file", name, rule, "export it again") from None
    found = {half.name: half.module for half in halves}
    return Networks(found.get("decoder"), found.get("encoder"), said)


def _check_held(tensors: Mapping[str, Tensor], wanted: Mapping[str, Sequence[int]]) -> None:
    """Refuse settings that ask for other networks than a file holds, before any is allocated.

    A half of a model holds some of its networks; the others may not be out of all proportion to them.
    """
    mine = {key.partition(".")[0] for key in tensors}
    of_mine = {key: shape for key, shape in wanted.items() if key.partition(".")[0] in mine}
    check_shapes({key: values.shape for key, values in tensors.items()}, of_mine, "it")
    held, asked = (sum(map(math.prod, shapes)) for shapes in (of_mine.values(), wanted.values()))
    if asked > _TIMES * held:
        raise DataError(rule=f"its settings ask for {asked:,} weights, and it holds {held:,}")


def plain(value: str) -> Any:
    """Return what a line of metadata says: JSON, or the text itself."""
    try:
        return read_json(value)
    except ValueError:
        return value


def built(facts: Mapping[str, Any]) -> Model:
    """Return a new model of the settings in a file, weights at random."""
    settings = dict(facts["settings"])
    configuration = resolve(typed(settings.pop("name", None), str, "model"), overrides=settings)
    conditioning = Conditioning.of(configuration.condition, facts["labels"], facts["attributes"])
    model: Model = configuration.model.build(facts["shape"], None, conditioning)
    return model.eval()


def runner_of(networks: Networks, part: Part) -> Runner:
    """Return what runs a part of networks read back."""
    module = networks.decoder if part.name == "decoder" else networks.encoder
    assert module is not None
    return Part(part.name, module, part.inputs, part.outputs, part.arguments).__call__
