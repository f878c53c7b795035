"""Taking a run's networks away: ONNX, TorchScript, or named weights that this library reads back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from morphospace import __version__
from morphospace.errors import DataError, RunError, SettingError, require
from morphospace.files import atomic
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Encodes, Model
from morphospace.runs.codes import encoder_of
from morphospace.runs.configuration import resolve
from morphospace.runs.run import Run, loaded
from morphospace.tools.export.formats import (
    FORMATS,
    SUFFIX,
    Part,
    Runner,
    check_extra,
    checked,
    decoder_part,
    encoder_part,
    exported,
    networks_of,
)

WHAT = ("decoder", "encoder", "both")
WEIGHTS = ("fp32", "fp16")


@dataclass(frozen=True)
class Exported:
    """Files that were written.

    Attributes:
        files: Where they are: one, or a decoder's and an encoder's.
        error: The largest difference from the run's own networks on random codes, where outputs are at most 1;
            relative to the largest output where that is more.
        inputs: Names of the inputs, by part.
        outputs: Names of the outputs, by part.
        bytes: Size of all files.
    """

    files: tuple[Path, ...]
    error: float
    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    bytes: int


@dataclass(frozen=True)
class Networks:
    """What a file of named weights holds, ready to use.

    Attributes:
        decoder: Maps codes (B, D), and conditions (B, K) where the model takes any, to images (B, C, H, W) in its
            range; None if the file has none.
        encoder: Maps images, and conditions, to the codes' mean and, where there is one, log variance; or None.
        facts: What the file says of itself.
    """

    decoder: nn.Module | None
    encoder: nn.Module | None
    facts: Mapping[str, Any]


def export(
    run: Run | str | Path, out: str | Path, *, format: str = "onnx", what: str = "decoder", weights: str = "fp32"
) -> Exported:
    """Write a run's networks to a file that needs neither the run nor, as ONNX, torch.

    The file is compared with the run's networks, on batches of several sizes, before anything is written.

    Args:
        run: A loaded run or its folder.
        out: The file: `.onnx`, `.pt` or `.safetensors`.
        format: `onnx`, `torchscript` or `safetensors`.
        what: `decoder`, `encoder` or `both`; both are one file of named weights, and two files in the other formats,
            `NAME-decoder.onnx` and `NAME-encoder.onnx`.
        weights: `fp32`, or `fp16`: stored in half precision, computed with in float32.

    Raises:
        SettingError: A choice or path that is none.
        RunError: The run has no encoder, or a file differs from the network by more than the tolerance.
        MissingExtra: The packages for ONNX are not here.
    """
    require(format in FORMATS, "format", format, f"must be one of {', '.join(FORMATS)}")
    require(what in WHAT, "what", what, f"must be one of {', '.join(WHAT)}")
    require(weights in WEIGHTS, "weights", weights, f"must be one of {', '.join(WEIGHTS)}")
    path = check_export_path(out, format)
    check_extra(format)
    run = loaded(run)
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
    names = {part.name: part for part in parts}
    return Exported(
        tuple(made),
        max(errors),
        {name: part.inputs for name, part in names.items()},
        {name: part.outputs for name, part in names.items()},
        sum(map(len, made.values())),
    )


def check_export_path(out: str | Path, format: str) -> Path:
    """Return the path of a file to write.

    Raises:
        SettingError: It is a folder, or named as another format.
    """
    path, suffix = Path(out), SUFFIX[format]
    if path.suffix.lower() != suffix or path.is_dir():
        raise SettingError("out", str(path), f"must be a file name that ends in {suffix} for {format}")
    return path


def parts_of(run: Run, what: str) -> list[Part]:
    """Return the halves of a run's model that are asked for, on the CPU in float32.

    Raises:
        RunError: It has no encoder.
    """
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
    values = {
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
        "data": source_name(run),
        "labels": list(run.folder.facts["labels"]),
        "images_seen": run.images,
    }
    return values


def source_name(run: Run) -> str:
    """Return the name of the run's data, without the folder that some sources are named with."""
    return Path(str(run.folder.facts.get("data", run.configuration.data.data)).partition(":")[0]).name


# -- named weights -------------------------------------------------------------------------------------------


def named_weights(run: Run, parts: list[Part], weights: str) -> bytes:
    """Return the parts' weights as safetensors, with the settings that build their networks again.

    Raises:
        RunError: Settings do not say all of the networks.
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
    return save(tensors, {name: v if isinstance(v, str) else json.dumps(v) for name, v in facts.items()})


def load_exported(path: str | Path) -> Networks:
    """Build the networks of a `.safetensors` file that `export` wrote; no run and no data are needed.

    Raises:
        DataError: It is not such a file.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError("file", str(path), "no such file", "give one that `morpho export` wrote")
    return networks_in(file.read_bytes(), str(path))


def networks_in(content: bytes, name: str) -> Networks:
    """Build the networks whose weights these bytes are."""
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        try:
            with safe_open(file.name, framework="pt") as opened:
                written = opened.metadata() or {}
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it is no mapping
        except SafetensorError as error:
            raise DataError("file", name, f"is no safetensors file ({error})", "export it again") from None
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
    told = Conditioning.of(configuration.condition, facts["labels"], facts["attributes"])
    height, width, channels = facts["shape"]
    model: Model = configuration.model.build((height, width, channels), None, told)
    return model.eval()


def runner_of(networks: Networks, part: Part) -> Runner:
    """Return what runs a part of networks read back."""
    module = networks.decoder if part.name == "decoder" else networks.encoder
    assert module is not None
    return Part(part.name, module, part.inputs, part.outputs, part.arguments).__call__
