"""A run's decoder or encoder as a file that needs no run: a page, ONNX, TorchScript, or named weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from morphospace.errors import DataError, MissingExtra, SettingError, require
from morphospace.ranges import check_ranges
from morphospace.tools.tool import Answer, Asked, Displayable, File, Summary, tool

if TYPE_CHECKING:
    from torch import nn

    from morphospace.runs.run import Run

Format = Literal["onnx", "torchscript", "safetensors", "html", "html-folder", "diffusers"]
Half = Literal["decoder", "encoder", "both"]
Weights = Literal["fp32", "fp16", "int8"]
Thumbnails = Literal["none", "auto", "all"]
SUFFIX: dict[str, str] = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors", "html": ".html"}
PAGES = ("html", "html-folder")
FOLDERS = ("html-folder", "diffusers")
# What writes a page stands with the studio, whose page it is; it is imported when it is asked for.
WRITERS = dict.fromkeys(SUFFIX, "morphospace.tools.export.write")
WRITERS |= dict.fromkeys(PAGES, "morphospace.studio.page_file")
WRITERS["diffusers"] = "morphospace.tools.export.diffusers_folder"
FACES = "morphospace.studio.faces"
NEEDED = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Exported(Displayable):
    """Files that were written.

    Attributes:
        files: Where they are: one, or a decoder's and an encoder's.
        error: The largest difference from the run's own networks on random codes, where outputs are at most 1;
            relative to the largest output where that is more.
        inputs: Names of the inputs, by part.
        outputs: Names of the outputs, by part.
        bytes: Size of all files.
        notes: What else is to be said of them.
    """

    files: tuple[Path, ...]
    error: float
    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    bytes: int
    notes: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """Return how exact the files are, and where they are."""
        exact = f"checked on random codes: largest error {self.error:.2g}, where outputs are at most 1"
        return Summary([exact, *self.notes, f"{self.bytes / 1e6:.1f} MB: {', '.join(map(str, self.files))}"])

    def show(self, asked: Asked) -> Answer:
        """Return what each file takes and gives, and how exact it is."""
        run, format = asked.run, asked.words["format"]
        facts: dict[str, Any] = {"run": None if run is None else str(run.path), "format": format}
        facts["what"] = "both" if len(self.inputs) > 1 else next(iter(self.inputs))
        facts["weights"] = asked.words["weights"] or usual_weights(format)
        facts["images"] = None if run is None else run.images
        facts |= {"inputs": dict(self.inputs), "outputs": dict(self.outputs)}
        several = "one at a time" if format in PAGES else "any number at once"
        lines = [
            f"{name}: {', '.join(self.inputs[name])} -> {', '.join(self.outputs[name])}; {several}"
            for name in self.inputs
        ]
        lines += self.summary().lines
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


def usual_weights(format: str) -> str:
    """Return how a format stores weights if nothing else is asked for."""
    return "fp16" if format in PAGES else "fp32"


def check_export(
    out: str | Path,
    format: str,
    weights: str | None = None,
    thumbnails: str = "auto",
    what: str | None = None,
    **others: Any,
) -> None:
    """Refuse a file name that is not the format's, what a format does not have, and one whose packages are missing.

    Raises:
        SettingError: If `out` is a folder where the format is a file, or the other way, or is named as another format;
            or if the format has no such weights, no thumbnails, or no halves.
        MissingExtra: If the packages that write and run ONNX are not installed.
    """
    path = Path(out)
    if format in FOLDERS:
        FILE.path("out", path if path.is_dir() else f"{out}/")
        file = path.suffix.lower() in SUFFIX.values()
        way_out = "take --format html for one file" if format in PAGES else "leave out the ending"
        require(not file, "out", str(path), f"must be a folder, DIR/, for {format}", way_out)
    elif path.suffix.lower() != SUFFIX[format] or path.is_dir():
        raise SettingError("out", str(path), f"must be a file name that ends in {SUFFIX[format]} for {format}")
    known = ("fp16", "int8") if format in PAGES else ("fp32", "fp16")
    fits = weights is None or weights in known
    require(fits, "weights", weights, f"{format} stores {' or '.join(known)}", f"take --weights {known[0]}")
    fits = thumbnails == "auto" or format in PAGES
    require(fits, "thumbnails", thumbnails, f"{format} has no pictures", "leave it out, or take --format html")
    halves = format != "diffusers" or what in (None, "both")
    require(halves, "what", what, "diffusers opens encoder and decoder together", "leave it out")
    missing = [name for name in NEEDED if find_spec(name) is None] if format == "onnx" else []
    if missing:
        way = "pip install 'morphospace[export]', or take another --format"
        raise MissingExtra("format = 'onnx'", rule=f"needs {', '.join(missing)}", way_out=way)


FILE = File(
    tuple(SUFFIX.values()),
    "The file to write: .html, .onnx, .pt or .safetensors; for html-folder and diffusers a folder, DIR/.",
    required=True,
    folder=True,
    bare=True,
)


@tool(
    files={"out": FILE},
    devices=False,
    check=check_export,
    help={"run": "The run's folder; the drawn faces of the package if none."},
)
def export(
    run: Run | str | Path | None,
    out: str | Path,
    *,
    format: Format = "onnx",
    what: Half | None = None,
    weights: Weights | None = None,
    thumbnails: Thumbnails = "auto",
) -> Exported:
    """Write a run's decoder or encoder to a file that needs neither the run nor, as a page or ONNX, torch.

    As `html` it is a page that anybody can open: the studio's map, sliders and morphs of this run, decoded in the
    browser. The file is compared with the run's networks before anything is written.

    Args:
        run: A loaded run or its folder; None for the drawn faces that the package brings.
        out: The file: `.html`, `.onnx`, `.pt` or `.safetensors`; for `html-folder` and `diffusers` a folder.
        format: `onnx` (extra `export`), `torchscript`, `safetensors` (named weights for `ms.load_exported`), `html`
            (one page that decodes by itself), `html-folder` (its numbers in files beside it, for a large model), or
            `diffusers` (of an autoencoder-kl: the folder that the library of this name opens as `AutoencoderKL`).
        what: Which half; if not given the decoder, for a page both if the run has an encoder, and for `diffusers` both.
            Both are one page, one file of named weights, and two files in the other formats, `NAME-decoder.onnx` and
            `NAME-encoder.onnx`.
        weights: `fp32`, or `fp16`: stored in half precision. A page has `fp16`, or `int8`: a byte each, with a scale
            for each channel. All compute in float32.
        thumbnails: Whether a page shows small pictures of the data on its map: `auto` if the terms of the data's source
            allow to pass them on, `all` in any case, or `none`.

    Raises:
        SettingError: If a choice is none of those, or `out` has another format's ending.
        RunError: If the run has no encoder, or a layer that a page cannot hold, or a file differs from the network by
            more than the tolerance.
        MissingExtra: If the packages for ONNX are not installed.
    """
    check_ranges(export, locals())
    check_export(out, format, weights, thumbnails, what)
    from morphospace.runs.run import loaded

    chosen = loaded(import_module(FACES).embedded_run() if run is None else run)
    write = import_module(WRITERS[format]).written
    path, weights_ = Path(out), weights or usual_weights(format)
    result: Exported = (
        write(chosen, path, format, what, weights_, thumbnails)
        if format in PAGES
        else write(chosen, path, format, what or "decoder", weights_)
    )
    return result


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
