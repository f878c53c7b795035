"""A run as a page that decodes by itself: what it says and holds. `morpho export RUN --format html` writes it.

The page is the studio's own (`bundle.py`), with the answers to its questions instead of a server: networks as steps
(`tools/export/program.py`), codes of seeds, components, directions, a map, the card. It holds no path of this machine.
"""

from __future__ import annotations

import base64
import gzip
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from morphospace.data.sources import SOURCES
from morphospace.data.values import to_uint8_image
from morphospace.errors import RunError, require
from morphospace.files import atomic
from morphospace.models.contract import Decodes
from morphospace.runs.codes import decode, encodes
from morphospace.runs.configuration import toml_of
from morphospace.runs.run import Run
from morphospace.studio.bundle import page
from morphospace.studio.run_facts import describe, finite
from morphospace.studio.space import ERROR, UNLIKE, Space
from morphospace.tools.card import card
from morphospace.tools.export import Exported
from morphospace.tools.export.formats import Part, checked
from morphospace.tools.export.program import recorded
from morphospace.tools.export.reader import run as run_program
from morphospace.tools.export.steps import Floats, Program
from morphospace.tools.export.write import parts_of

# Codes by which it is decided how far weights may be rounded: for small images more, whose few pixels say less.
TRIED, TRIED_PIXELS = (48, 256), 50_000
SEEDS, MAPPED, COMPONENTS, DIMS, GOLDEN, EXAMPLES = 64, 360, 24, 24, 4, 6
GOLDEN_PIXELS = 1024  # of each golden picture, spread over it
# Weights are rounded as far as that moves no pixel by more than half a level, and no number of a code by more
# than two hundredths of the largest. So an encoder, of which less is asked, takes less room.
BITS = (8, 9, 10, 11, 12, 13, 14, 16)
ENOUGH = {"decoder": 0.5 / 255, "encoder": 0.02}
ENCODED_WITHIN = 0.05  # of the largest number of a code: how far that of a browser may be off
LOSSLESS_BYTES = 60_000  # a sheet of thumbnails that is no larger stays as it is
LARGE_BYTES = 32_000_000
ALWAYS_LACKS = ("compare", "training", "play", "learn", "umap", "training images", "film", "search")


class Numbers:
    """The numbers of a page: arrays of five kinds, packed into one text."""

    types: ClassVar[dict[str, str]] = {"i8": "i1", "i16": "<i2", "f16": "<f2", "f32": "<f4", "u8": "u1"}

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {kind: [] for kind in self.types}
        self.sizes = dict.fromkeys(self.types, 0)

    def add(self, kind: str, values: np.ndarray | Tensor) -> list[Any]:
        """Add an array; where it is: kind, first number, count."""
        array = np.asarray(values)
        with np.errstate(over="ignore"):  # what half precision cannot hold is infinite, and the check refuses it
            flat = np.ascontiguousarray(array.reshape(-1).astype(self.types[kind]))
        first = self.sizes[kind]
        self._parts[kind].append(flat)
        self.sizes[kind] += flat.size
        return [kind, first, flat.size]

    def bytes_of(self, kind: str) -> bytes:
        """Return the numbers of one kind, in a row."""
        return b"".join(part.tobytes() for part in self._parts[kind])

    def text(self) -> str:
        """Return everything as base64 of gzip; the bytes of wider numbers apart, which packs better."""
        whole = b""
        for kind in self.types:
            joined = np.concatenate([np.zeros(0, self.types[kind]), *self._parts[kind]])
            width = joined.dtype.itemsize
            whole += joined.view(np.uint8).reshape(-1, width).T.tobytes() if joined.size else b""
        return base64.b64encode(gzip.compress(whole, 9, mtime=0)).decode()

    def network(self, program: Program, rounded: Sequence[Rounded]) -> dict[str, Any]:
        """Add a network with its weights, rounded; what the page reads."""
        matrices = []
        for (matrix, _), bias, one in zip(program.weights, program.biases, rounded, strict=True):
            groups, rows, inner = matrix.shape
            facts: dict[str, Any] = {"groups": groups, "rows": rows, "inner": inner}
            facts["numbers"] = self.add(one.kind, one.stored)
            facts["scale"] = None if one.scale is None else self.add("f32", one.scale)
            matrices.append({**facts, "bias": None if bias is None else self.add("f32", bias)})
        steps = {"steps": program.steps, "inputs": program.inputs, "output": program.output, "size": program.size}
        return {"program": steps, "matrices": matrices, "constants": self.add("f32", program.constants)}


@dataclass(frozen=True)
class Rounded:
    """A product's weights as a page stores them.

    Attributes:
        kind: How they are stored, see `Numbers`.
        stored: Whole numbers, or numbers in half precision.
        scale: What whole numbers are multiplied by, one number for each channel; None in half precision.
        values: What the page computes with.
    """

    kind: str
    stored: np.ndarray
    scale: np.ndarray | None
    values: Floats

    @classmethod
    def of(cls, matrix: Floats, shared: int, bits: int) -> Rounded:
        """Round weights (groups, rows, inner), `shared` rows being a channel.

        Args:
            matrix: The weights.
            shared: Rows that share a scale.
            bits: Of a whole number; 16 for half precision.
        """
        if bits == 16:
            with np.errstate(over="ignore"):  # what half precision cannot hold is infinite, and the check refuses it
                half = matrix.astype(np.float16)
            return cls("f16", half, None, half.astype(np.float32))
        channels = matrix.reshape(-1, shared * matrix.shape[2])
        scale = np.maximum(np.abs(channels).max(1, keepdims=True), 1e-30).astype(np.float32) / (2 ** (bits - 1) - 1)
        whole = np.round(channels / scale)
        values = (whole * scale).astype(np.float32).reshape(matrix.shape)
        return cls("i8" if bits == 8 else "i16", whole, scale, values)


@dataclass(frozen=True)
class Written:
    """A network as it stands in a page.

    Attributes:
        part: What it was made of.
        program: Its steps.
        rounded: The weights that the page computes with.
        error: How far it is from the run's own network.
    """

    part: Part
    program: Program
    rounded: Sequence[Rounded]
    error: float = 0.0

    @classmethod
    def of(cls, part: Part, weights: str) -> Written:
        """Write a network, with no more bits than it takes to decode the same images.

        Raises:
            RunError: If it has a layer that cannot be written, or is off by too much.
        """
        program = recorded(part.module, *(one[:1] for one in part.arguments(2)))
        for bits in BITS:
            rounded = [Rounded.of(matrix, shared, bits) for matrix, shared in program.weights]
            made = cls(part, program, rounded)
            if weights == "int8" or bits == BITS[-1] or made.off() <= ENOUGH[part.name]:
                break
        return replace(made, error=checked(part, made.runner, weights))

    def __call__(self, *values: Tensor) -> Floats:
        """Run it as the page does, one by one."""
        given, weights = zip(*(np.asarray(one) for one in values)), [one.values for one in self.rounded]
        return np.stack([run_program(self.program, weights, *one) for one in given])

    def off(self) -> float:
        """Return how far it is from the part, at most, over some random codes; relative where numbers are above 1."""
        least, most = TRIED
        one = self.part.arguments(1)
        places = max(values.numel() for values in (*one, *self.part(*one)))
        given = self.part.arguments(min(most, max(least, TRIED_PIXELS // places)))
        wanted = self.part(*given)[0]
        found = torch.from_numpy(self(*given)).view_as(wanted)
        return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))

    def runner(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Run it as the part that it was made of runs; a page has no variances, so those are the part's own."""
        first, *others = self.part(*values)
        return (torch.from_numpy(self(*values)).view_as(first), *others)


@dataclass(frozen=True)
class Made:
    """A page, not written yet.

    Attributes:
        files: The page's files by name; the page itself is `index.html`.
        networks: What it decodes and encodes with, by name.
        notes: What is to be said of it.
    """

    files: dict[str, str]
    networks: dict[str, Written]
    notes: list[str]


def page_of(run: Run, format: str, what: str | None, weights: str, thumbnails: str) -> Made:
    """Make the page of `export`, which says how.

    Raises:
        RunError: If a network cannot be written, or is off by too much.
    """
    numbers, space = Numbers(), Space(run)
    what = what or ("both" if encodes(run) else "decoder")
    require(what != "encoder", "what", what, "alone makes no page", "take both, or decoder")
    networks = {part.name: Written.of(part, weights) for part in parts_of(run, what)}
    facts, notes = space_of(space, numbers, networks, thumbnails)
    terms = terms_of(run)
    note = f"A model of images, made with morphospace. Training data: {run.data_name}. Their terms: {terms}."
    return Made(page(facts, numbers.text(), note, parts=format == "html-folder"), networks, notes)


def written(run: Run, path: Path, format: str, what: str | None, weights: str, thumbnails: str) -> Exported:
    """Write the page of `export`, which says how."""
    made = page_of(run, format, what, weights, thumbnails)
    files = write_folder(path, made.files) if format == "html-folder" else write_file(path, made.files["index.html"])
    size, notes, networks = sum(len(text.encode()) for text in made.files.values()), made.notes, made.networks
    if format == "html" and size > LARGE_BYTES:
        notes.append("this is large for one file; --format html-folder opens sooner where a server sends it")
    return Exported(
        files=files,
        error=max(one.error for one in networks.values()),
        inputs={name: one.part.inputs for name, one in networks.items()},
        outputs={name: one.part.outputs[:1] for name, one in networks.items()},
        bytes=size,
        notes=tuple(notes),
    )


def write_file(path: Path, text: str) -> tuple[Path, ...]:
    """Write one page."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return (path,)


def write_folder(path: Path, made: dict[str, str]) -> tuple[Path, ...]:
    """Write the files of a page, the page itself last."""
    path.mkdir(parents=True, exist_ok=True)
    names = [*(name for name in made if name != "index.html"), "index.html"]
    for name in names:
        write_file(path / name, made[name])
    return tuple(path / name for name in reversed(names))


def terms_of(run: Run) -> str:
    """Return the terms of a run's data, as far as the library knows them."""
    info = known_source(run)
    return info.licence if info else "not known to the library"


def known_source(run: Run) -> Any:
    """Return what the library knows of the source of a run's data; None where the caller gave them."""
    known = SOURCES.get(run.configuration.data.data.partition(":")[0])
    return None if known is None or run.folder.facts.get("data_given") else known.info


def space_of(
    space: Space, numbers: Numbers, networks: dict[str, Written], thumbnails: str
) -> tuple[dict[str, Any], list[str]]:
    """Return what the page's client reads, and what is to be said of it."""
    run, model = space.run, space.model
    notes: list[str] = []
    cannot = space.cannot()
    mapped = not cannot and model.latent_dim >= 2 and len(space.gathered()) >= 3
    shown = mapped and shows_thumbnails(run, thumbnails, notes)
    if thumbnails == "all" and not mapped:
        why = "; ".join(cannot.values()) or "its codes make no map"
        raise RunError("thumbnails", "all", f"belong on the map, and there is none: {why}", "take none or auto")
    if "data" in cannot:
        notes.append("no map and no attributes: the images of its data are not here; --data says where they are")
    lacks = [*ALWAYS_LACKS]
    lacks += [] if mapped else ["map"]
    lacks += [] if shown else ["images"]
    lacks += [] if "encoder" in networks else ["project"]
    known = model.conditioning
    axes, directions = space.axes(), space.slider_rows("direction")
    vectors = [space.directions()[one["name"]].vector for one in directions]
    share = [finite(one) or 0.0 for one in axes.share[:COMPONENTS].tolist()]
    opening = space.seeds
    numbered = tuple(dict.fromkeys((*range(SEEDS), *opening)))
    facts = describe("r0", run.folder.name, space) | {
        "seeds": SEEDS,
        "opening": list(opening),
        "data": run.data_name,
        "settings": toml_of(run.configuration.described()),
        "cannot": {name: REASONS[name] for name in cannot},
        "terms": terms_of(run),
        "signed": model.signed,
    }
    return {
        "lacks": lacks,
        "describe": facts,
        "card": str(card(run)),
        **{name: numbers.network(one.program, one.rounded) for name, one in networks.items()},
        "conditions": None if known is None else {"kind": known.kind, "names": list(known.names)},
        "rule": rule_facts(run) if "encoder" in networks else None,
        "seeds": numbers.add("f32", space.seeded(numbered)),
        "numbered": list(numbered),
        "start": numbers.add("f32", space.start()),
        "spread": numbers.add("f32", space.spread()),
        "axes": {
            "mean": numbers.add("f32", axes.mean),
            "directions": numbers.add("f32", axes.directions[:COMPONENTS]),
            "spread": numbers.add("f32", axes.spread[:COMPONENTS]),
            "share": share,
        },
        "directions": directions,
        "components": [one for one in space.slider_rows("component") if one["name"] < COMPONENTS],
        "vectors": numbers.add("f32", torch.stack(vectors) if vectors else np.zeros(0)),
        "dims": space.slider_rows("dim", DIMS),
        **(map_facts(space, numbers, shown) if mapped else {"map": None, "codes": None, "sheet": None}),
        "examples": examples_sheet(space) if shown else None,
        "errors": None if cannot else numbers.add("f32", np.sort(space.errors())),
        "unlike": UNLIKE,
        "golden": golden(space, numbers, networks),
        "sizes": numbers.sizes,
    }, notes


REASONS = {
    "encode": "The model has no encoder.",
    "data": "The images of its data were not there when this page was exported.",
}


def shows_thumbnails(run: Run, thumbnails: str, notes: list[str]) -> bool:
    """Return whether the page shows small pictures of the data: `auto` asks the terms of their source."""
    info = known_source(run)
    if thumbnails == "auto" and not (info and info.may_be_shown):
        why = (
            f"the terms of {run.data_name} are: {info.licence}"
            if info
            else f"the terms of {run.data_name} are not known"
        )
        notes.append(f"no pictures of the data in it ({why}); --thumbnails all puts them in")
        return False
    return thumbnails != "none"


def map_facts(space: Space, numbers: Numbers, shown: bool) -> dict[str, Any]:
    """Return the map: where the codes of images lie; with their codes and small pictures, or without."""
    chart, known = space.chart(), space.gathered()
    count = min(MAPPED, len(chart.points))
    left, bottom, right, top = chart.corners
    facts = {
        "points": numbers.add("f32", chart.points[:count]),
        "labels": None if chart.classes is None else chart.classes[:count].tolist(),
        "label_names": list(chart.class_names),
        "rows": known.numbers[:count].tolist(),
        "bounds": [left, right, bottom, top],
        "share": None if chart.share is None else list(chart.share),
        "flat": True,
        "colours": space.colours() if shown else [ERROR],
    }
    facts["coloured"] = [numbers.add("f32", space.coloured(by)[:count]) for by in facts["colours"]]
    # Whoever has an image's code can decode it: codes of images that must not be shown stay out.
    codes = numbers.add("f16", known.codes[:count]) if shown else None
    return {"map": facts, "codes": codes, "sheet": sheet(chart.images[:count]) if shown else None}


def examples_sheet(space: Space) -> dict[str, Any]:
    """Return some held-out images in full, to begin with."""
    found, images = space.examples(EXAMPLES)
    return {**sheet(images), "numbers": found.tolist()}


def sheet(images: np.ndarray) -> dict[str, Any]:
    """Return small pictures (N, H, W, C) as one, in rows."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    whole = np.zeros((math.ceil(count / columns), columns, height, width, channels), np.uint8)
    whole.reshape(-1, height, width, channels)[:count] = images
    pixels = whole.transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, channels)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    with io.BytesIO() as plain, io.BytesIO() as packed:
        picture.save(plain, "PNG", optimize=True)
        kind, data = "png", plain.getvalue()
        if len(data) > LOSSLESS_BYTES:
            picture.convert("RGB").save(packed, "WEBP", quality=60, method=6)
            kind, data = "webp", packed.getvalue()
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"url": url, "count": count, "width": width, "height": height, "columns": columns}


def rule_facts(run: Run) -> dict[str, Any]:
    """Return how a picture that is dropped becomes an image of the run."""
    rule = run.rule
    every = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.asarray(to_uint8_image(every, 1, span=rule.range)).reshape(-1).tolist()
    facts = {"width": rule.width, "height": rule.height, "channels": rule.channels, "crop": rule.crop}
    # A drawn binary version of a picture depends on its row in the data, and a dropped picture has none.
    binarise = "none" if run.configuration.data.binarise == "none" else "threshold"
    return facts | {"resize": rule.resize, "background": list(rule.background), "levels": levels, "binarise": binarise}


def golden(space: Space, numbers: Numbers, networks: dict[str, Written]) -> dict[str, Any]:
    """Return codes with what the run itself decodes and encodes, by which the page checks itself when it opens."""
    model, decoder = space.model, networks["decoder"]
    codes = space.seeded(tuple(range(GOLDEN)))
    conditions = None if model.conditioning is None else model.conditioning.spread(GOLDEN)
    given = (codes,) if conditions is None else (codes, conditions)
    assert isinstance(model, Decodes)
    images = decode(model, *given).transpose(0, 3, 1, 2).reshape(GOLDEN, -1)
    every = max(1, images.shape[1] // GOLDEN_PIXELS)
    values = decoder(*given)
    scaled = (values + 1) * 127.5 if model.signed else values * 255
    shown = np.clip(np.round(scaled), 0, 255)
    facts: dict[str, Any] = {
        "codes": numbers.add("f32", codes),
        "conditions": None if conditions is None else numbers.add("f32", conditions),
        "levels": numbers.add("u8", images[:, ::every]),
        "every": every,
        "tolerance": 1 + int(np.abs(shown - images).max()),
    }
    if "encoder" in networks:
        seen = shown[:1] / 127.5 - 1 if model.signed else shown[:1] / 255
        picture = torch.from_numpy(seen.astype(np.float32)).view(1, model.shape[2], *model.shape[:2])
        code = networks["encoder"](picture, *(one[:1] for one in given[1:]))
        tolerance = ENCODED_WITHIN * max(1.0, float(np.abs(code).max()))
        facts |= {"code": numbers.add("f32", code), "code_tolerance": tolerance}
    return facts
