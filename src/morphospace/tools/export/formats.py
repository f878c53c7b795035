"""A decoder or an encoder as one file for somewhere else: ONNX, TorchScript or named weights.

Whatever the format, the file has the inputs and outputs of `Part`, takes any batch, and says what it is in its
metadata. It is compared with the network it was made of before it is written, and holds no path of this machine.
"""

from __future__ import annotations

import io
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphospace.errors import RunError
from morphospace.files import json_text
from morphospace.models.contract import Decodes, Encodes, Model, seeded_noise
from morphospace.models.distributions import DiagonalGaussian

# How far a file may be from the network, on a scale where outputs are at most 1: in float32 only the order of sums
# differs; half precision keeps 11 bits of each weight, which may move an image by a level or two of 255; bytes keep 8.
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 1e-1}
BATCHES = (1, 2, 5)
"""Batches that a file is compared on: more than one, for a batch that was fixed by mistake works at that size alone."""

Runner = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Part:
    """A half of a model, ready to be written.

    Attributes:
        name: `decoder` or `encoder`.
        module: On the CPU, in float32 and evaluation mode; holds the networks that this half uses, and no others.
        inputs: Names of its inputs: `z` or `images`, then `condition` where the model takes one.
        outputs: Names of its outputs: `images`, or `mean` and, where the code has a distribution, `log_variance`.
        arguments: Makes inputs for a batch of some size.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arguments: Callable[[int], tuple[Tensor, ...]]

    @torch.no_grad()
    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        return several(self.module(*arguments))


class Decoding(nn.Module):
    """Codes (B, D) -> images (B, C, H, W) in the model's range; the networks that this takes are its submodules."""

    def __init__(self, model: Model, *example: Tensor) -> None:
        super().__init__()
        assert isinstance(model, Decodes)
        self.decode = model.decode
        self.networks = used(networks_of(model), lambda: self.decode(*example))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the images of codes."""
        return self.decode(z, condition)


class Encoding(nn.Module):
    """Images (B, C, H, W) in the model's range -> mean (B, D) and, where there is one, log variance (B, D)."""

    def __init__(self, encoder: Encodes, *example: Tensor) -> None:
        super().__init__()
        self.encode = encoder.encode
        self.networks = used(networks_of(encoder), lambda: self.encode(*example))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Return what is known of the codes of images."""
        posterior = self.encode(images, condition)
        if isinstance(posterior, DiagonalGaussian):
            return posterior.mean, posterior.log_variance
        return posterior.mean


def stored_in_half(module: nn.Module) -> nn.Module:
    """Return a copy whose parameters are stored in half precision, each made float32 again before its layer runs."""
    copy = deepcopy(module)
    for layer in copy.modules():
        names = [name for name, _ in layer.named_parameters(recurse=False)]
        for name in names:
            values = getattr(layer, name).detach().half()
            delattr(layer, name)
            layer.register_buffer(f"{name}_half", values)
        if names:
            layer.register_forward_pre_hook(partial(_restore, names))
    return copy


def _restore(names: Sequence[str], layer: nn.Module, _: object) -> None:
    for name in names:
        setattr(layer, name, getattr(layer, f"{name}_half").float())


def networks_of(holder: object) -> nn.ModuleDict:
    """Return the networks by name of a model, or of an encoder that was trained for one."""
    found = holder if isinstance(holder, nn.ModuleDict) else getattr(holder, "networks", None)
    if isinstance(found, nn.ModuleDict):
        return found
    if isinstance(holder, nn.Module):
        return nn.ModuleDict({"encoder": holder})
    return nn.ModuleDict({name: value for name, value in vars(holder).items() if isinstance(value, nn.Module)})


def used(networks: nn.ModuleDict, call: Callable[[], object]) -> nn.ModuleDict:
    """Return the networks of which some layer runs in a call: an encoder has no place in the file of a decoder."""
    ran: set[str] = set()
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: ran.add(name))
        for name, network in networks.items()
        for module in network.modules()
    ]
    try:
        with torch.no_grad():
            call()
    finally:
        for handle in handles:
            handle.remove()
    return nn.ModuleDict({name: networks[name] for name in networks if name in ran})


def several(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return one output or several as several."""
    return result if isinstance(result, tuple) else (result,)


def decoder_part(model: Model) -> Part:
    """Return the half of a model that decodes; the model is on the CPU in evaluation mode."""
    conditioning = model.conditioning

    def arguments(count: int) -> tuple[Tensor, ...]:
        z = seeded_noise(count, model.latent_dim, seed=0)
        return (z,) if conditioning is None else (z, conditioning.spread(count))

    inputs = ("z",) if conditioning is None else ("z", "condition")
    return Part("decoder", Decoding(model, *arguments(2)).eval(), inputs, ("images",), arguments)


def encoder_part(model: Model, encoder: Encodes) -> Part:
    """Return what encodes a model's images; it is compared on images that the model makes of random codes."""
    conditioning = model.conditioning

    @torch.no_grad()
    def arguments(count: int) -> tuple[Tensor, ...]:
        assert isinstance(model, Decodes)
        codes = (
            seeded_noise(count, model.latent_dim, seed=0),
            *((conditioning.spread(count),) if conditioning else ()),
        )
        return (model.decode(*codes).contiguous(), *codes[1:])

    module = Encoding(encoder, *arguments(2)).eval()
    inputs = ("images",) if conditioning is None else ("images", "condition")
    with torch.no_grad():
        outputs = ("mean", "log_variance")[: len(several(module(*arguments(2))))]
    return Part("encoder", module, inputs, outputs, arguments)


def exported(part: Part, format: str, weights: str, facts: Mapping[str, Any]) -> tuple[bytes, float]:
    """Return a part as the bytes of a file, and how far that file is from the part.

    Args:
        part: The part.
        format: `onnx` or `torchscript`; named weights need the rest of the model, see `write.named_weights`.
        weights: `fp32`, or `fp16` for weights stored in half precision; both compute in float32.
        facts: What the file says of itself.
    """
    writer, reader = {"onnx": (to_onnx, run_onnx), "torchscript": (to_torchscript, run_torchscript)}[format]
    content = writer(part, weights == "fp16", facts)
    return content, checked(part, reader(content, part), weights)


def checked(part: Part, runner: Runner, weights: str) -> float:
    """Return the largest error of a file.

    Raises:
        RunError: If it is above the tolerance, or no number.
    """
    error, most = largest_error(part, runner), TOLERANCE[weights]
    if not error <= most:
        way = (
            "store the weights more exactly, --weights fp32, or fp16 in a page"
            if weights != "fp32"
            else "take another --format"
        )
        raise RunError("weights", weights, f"the {part.name} is off by {error:.3g}, more than {most:g}", way)
    return error


def largest_error(part: Part, runner: Runner) -> float:
    """Return max |file - part| / max(1, max |part|) over outputs, on random codes in batches of several sizes."""
    found = []
    for count in BATCHES:
        arguments = part.arguments(count)
        for ours, theirs in zip(part(*arguments), runner(*arguments), strict=True):
            if ours.shape != theirs.shape:
                raise RunError(
                    part.name,
                    rule=f"its file maps a batch of {count} to {tuple(theirs.shape)}",
                    way_out="this is a bug",
                )
            found.append(((theirs - ours).abs().max() / ours.abs().max().clamp(min=1)).item())
    return float(np.max(found))  # unlike max() it lets no NaN through unseen


@contextmanager
def quietly() -> Iterator[None]:
    """Keep torch's warnings of its own affairs (deprecations, packages it would like to see) from the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


# -- ONNX ----------------------------------------------------------------------------------------------------


def to_onnx(part: Part, half: bool, facts: Mapping[str, Any]) -> bytes:
    """Return a part as ONNX, weights included, with the facts as its metadata."""
    batch = torch.export.Dim("batch")
    arguments = part.arguments(3)
    with quietly(), torch.no_grad():
        program = torch.onnx.export(
            part.module,
            arguments,
            dynamo=True,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_shapes=tuple({0: batch} for _ in arguments),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip(model)
    if half:
        halve(model)
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) else json_text(value))
    return model.SerializeToString()


def strip(model: Any) -> None:
    """Remove what the exporter says of where each node comes from: names of files on this machine, line by line."""
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.doc_string = ""
        del holder.metadata_props[:]
    del graph.value_info[:]  # shapes of what lies between, which every runtime works out for itself


def halve(model: Any) -> None:
    """Store float32 weights as float16, each with a Cast to float32, which a runtime does once when it loads them."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name, stored = tensor.name, f"{tensor.name}.fp16"
        with np.errstate(over="ignore"):  # what half precision cannot hold is infinite, and the check refuses it
            values = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def run_onnx(content: bytes, part: Part) -> Runner:
    """Return what runs an ONNX file, by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(*arguments: Tensor) -> tuple[Tensor, ...]:
        fed = {name: values.numpy() for name, values in zip(part.inputs, arguments)}
        return tuple(torch.from_numpy(np.array(output)) for output in session.run(list(part.outputs), fed))

    return run


# -- TorchScript ---------------------------------------------------------------------------------------------


def to_torchscript(part: Part, half: bool, facts: Mapping[str, Any]) -> bytes:
    """Return a part as TorchScript, with the facts in its extra file `morphospace.json`."""
    module, buffer = stored_in_half(part.module) if half else part.module, io.BytesIO()
    with quietly(), torch.no_grad():
        # Our own comparison takes the place of trace's, which looks at the one batch that it traced.
        traced = torch.jit.trace(module, part.arguments(3), check_trace=False)
        torch.jit.save(traced, buffer, _extra_files={"morphospace.json": json_text(dict(facts))})
    return without_sources(buffer.getvalue())


def without_sources(archive: bytes) -> bytes:
    """Return a TorchScript archive without its `.debug_pkl` entries, which name the files its code was traced from."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            if not name.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(name), old.read(name))
    return kept.getvalue()


def run_torchscript(content: bytes, part: Part) -> Runner:
    """Return what runs a TorchScript file."""
    with quietly():
        module = torch.jit.load(io.BytesIO(content))

    @torch.no_grad()
    def run(*arguments: Tensor) -> tuple[Tensor, ...]:
        return several(module(*arguments))

    return run
