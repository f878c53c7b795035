"""A run's decoder or encoder as a file that needs no run: ONNX, TorchScript, or named weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from morphospace.errors import DataError, MissingExtra, SettingError
from morphospace.ranges import check_ranges
from morphospace.tools.tool import Answer, Asked, File, tool

if TYPE_CHECKING:
    from torch import nn

    from morphospace.runs.run import Run

Format = Literal["onnx", "torchscript", "safetensors"]
Half = Literal["decoder", "encoder", "both"]
Weights = Literal["fp32", "fp16"]
SUFFIX: dict[str, str] = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
NEEDED = ("onnx", "onnxscript", "onnxruntime")


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

    def show(self, asked: Asked) -> Answer:
        """Return what each file takes and gives, and how exact it is."""
        assert asked.run is not None
        facts = {"run": str(asked.run.path)} | {name: asked.words[name] for name in ("format", "what", "weights")}
        facts |= {"images": asked.run.images, "inputs": dict(self.inputs), "outputs": dict(self.outputs)}
        lines = [
            f"{name}: {', '.join(self.inputs[name])} -> {', '.join(self.outputs[name])}; any number at once"
            for name in self.inputs
        ]
        lines.append(f"checked on random codes: largest error {self.error:.2g}, where outputs are at most 1")
        lines.append(f"{self.bytes / 1e6:.1f} MB: {', '.join(map(str, self.files))}")
        files = [str(file) for file in self.files]
        return Answer({"files": files, **facts, "error": self.error, "bytes": self.bytes}, lines)


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


def check_export(out: str | Path, format: str, **others: Any) -> None:
    """Refuse a file name that is not the format's, and a format whose packages are missing.

    Raises:
        SettingError: If `out` is a folder, or named as another format.
        MissingExtra: If the packages that write and run ONNX are not installed.
    """
    path, suffix = Path(out), SUFFIX[format]
    if path.suffix.lower() != suffix or path.is_dir():
        raise SettingError("out", str(path), f"must be a file name that ends in {suffix} for {format}")
    missing = [name for name in NEEDED if find_spec(name) is None] if format == "onnx" else []
    if missing:
        way = "pip install 'morphospace[export]', or take another --format"
        raise MissingExtra("format = 'onnx'", rule=f"needs {', '.join(missing)}", way_out=way)


FILE = File(tuple(SUFFIX.values()), "The file to write: .onnx, .pt or .safetensors.", required=True)


@tool(files={"out": FILE}, devices=False, images=False, check=check_export)
def export(
    run: Run | str | Path,
    out: str | Path,
    *,
    format: Format = "onnx",
    what: Half = "decoder",
    weights: Weights = "fp32",
) -> Exported:
    """Write a run's decoder or encoder to a file that needs neither the run nor, as ONNX, torch.

    The file is compared with the run's networks, on batches of several sizes, before anything is written.

    Args:
        run: A loaded run or its folder.
        out: The file: `.onnx`, `.pt` or `.safetensors`.
        format: `onnx` (extra `export`), `torchscript`, or `safetensors`: named weights for `ms.load_exported`.
        what: Which half. Both are one file of named weights, and two files in the other formats,
            `NAME-decoder.onnx` and `NAME-encoder.onnx`.
        weights: `fp32`, or `fp16`: stored in half precision. Either computes in float32.

    Raises:
        SettingError: If a choice is none of those, or `out` has another format's ending.
        RunError: If the run has no encoder, or a file differs from the network by more than the tolerance.
        MissingExtra: If the packages for ONNX are not installed.
    """
    check_ranges(export, locals())
    check_export(out, format)
    from morphospace.runs.run import loaded
    from morphospace.tools.export.write import written

    return written(loaded(run), Path(out), format, what, weights)


def load_exported(path: str | Path) -> Networks:
    """Build the networks of a `.safetensors` file that `export` wrote; no run and no data are needed.

    Raises:
        DataError: If it is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError("file", str(path), "no such file", "give one that `morpho export` wrote")
    from morphospace.tools.export.write import networks_in

    return networks_in(file.read_bytes(), str(path))
