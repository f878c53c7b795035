"""Decode paths of codes, and keep them in files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from morphospace.errors import DataError, RunError, require
from morphospace.files import json_text, read_bytes, write_text
from morphospace.models.contract import Decodes, Model
from morphospace.pictures.display import Media, animated
from morphospace.pictures.films import Film, save_film
from morphospace.pictures.sheet import grid, grid_with_row_labels, save_picture
from morphospace.records import read_json
from morphospace.runs.codes import chunks
from morphospace.runs.condition import NO_CONDITION, Condition
from morphospace.runs.pick import Pick, picked
from morphospace.runs.run import Run, loaded
from morphospace.tools.tool import Answer, Asked, Displayable, PointName, Summary, Table


@dataclass(frozen=True)
class Pace:
    """How fast images change along a path.

    Attributes:
        mean: Mean over the steps of the root mean square change of a pixel, pixels in [0, 1].
        spread: Standard deviation over the steps; 0 for a path that changes evenly.
    """

    mean: float
    spread: float


@dataclass(frozen=True)
class Walk(Displayable):
    """A path and its decoded images.

    Attributes:
        how: `linear`, `slerp`, `rotate`, or another word for a path from a file.
        codes: float32 (T, D), on the CPU.
        images: uint8 (T, H, W, C).
        pace: How fast the images change, before they are rounded to 8 bits.
        ends: Where it begins and where it ends, in words.
        conditions: The conditions (T, K) of a conditional model; None for the others.
    """

    how: str
    codes: Tensor
    images: np.ndarray = field(repr=False)
    pace: Pace
    ends: tuple[str, str]
    conditions: Tensor | None = None

    @property
    def norms(self) -> list[float]:
        """The codes' norms over sqrt(z), the norm that codes from N(0, I) have: about 1 for a typical code."""
        return (self.codes.norm(dim=1) / math.sqrt(self.codes.shape[1])).tolist()

    def picture(self) -> Image.Image:
        """Return the images in a row."""
        return Walks((self,)).picture()

    def media(self) -> Media:
        """Return the walk as a film."""
        return Walks((self,)).media()

    def summary(self) -> Summary:
        """Return how evenly the images change."""
        return Walks((self,)).summary()

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON, without the images."""
        return {
            "how": self.how,
            "speed": self.pace.mean,
            "speed_spread": self.pace.spread,
            "norms": self.norms,
            "codes": self.codes.tolist(),
            "conditions": None if self.conditions is None else self.conditions.tolist(),
        }


@dataclass(frozen=True)
class Walks(Displayable):
    """Paths between the same ends.

    Attributes:
        walks: The paths, with as many steps each.
    """

    walks: tuple[Walk, ...]

    def picture(self, step: int | None = None) -> Image.Image:
        """Return the images in a row for each path, named if there are several; of one step only if it is given."""
        taken = slice(None) if step is None else slice(step, step + 1)
        rows = [walk.images[taken] for walk in self.walks]
        images, columns = np.concatenate(rows), len(rows[0])
        if len(rows) == 1:
            return grid(images, columns)
        return grid_with_row_labels(images, columns, [walk.how for walk in self.walks])

    def media(self) -> Media:
        """Return the walks as a film, a frame for each step."""
        return animated(len(self.walks[0].images), self.picture)

    def summary(self) -> Summary:
        """Return where the walks begin and end, and how evenly the images change."""
        (start, end), steps = self.walks[0].ends, len(self.walks[0].codes)
        return Summary([f"{start} to {end} in {steps} steps"], self._table())

    def show(self, asked: Asked) -> Answer:
        """Write the strip or film, and the codes; return the codes, and how evenly the images change."""
        words, out, path, told = asked.words, asked.files.get("out"), asked.words["path"], self.summary()
        (start, end), steps = self.walks[0].ends, len(self.walks[0].codes)
        facts = asked.facts | {"from": start, "to": end, "steps": steps, "how": [walk.how for walk in self.walks]}
        facts |= asked.condition
        film, lines = None, []
        if words["start"] is not None and path is not None:
            assert asked.run is not None
            save_walk(Path(path), asked.run, self.walks[0])
            lines = [f"codes: {path}"]
        if out is not None:
            film = self._draw(out, words["fps"], facts)
            about = "" if film is None else f" ({film.words})"
            lines = [f"{told.lines[0]}: {out}{about}", *lines]
        paths = [walk.as_dict() for walk in self.walks]
        data = {"out": words["out"], **facts, **({} if film is None else film.as_dict()), "paths": paths}
        return Answer(data, lines, told.table)

    def _draw(self, out: Path, fps: float, facts: dict[str, Any]) -> Film | None:
        """Write a strip, or a film with a frame for each step."""
        if out.suffix.lower() == ".png":
            save_picture(out, self.picture(), facts)
            return None
        steps = len(self.walks[0].images)
        colours = [self.picture(i) for i in (0, steps // 2, steps - 1)]
        return save_film(out, (self.picture(i) for i in range(steps)), steps, fps, facts, colours=colours)

    def _table(self) -> Table:
        rows = []
        for walk in self.walks:
            norms = (walk.norms[0], min(walk.norms), max(walk.norms), walk.norms[-1])
            pace = [f"{walk.pace.mean:.4f}", f"{walk.pace.spread:.4f}"]
            rows.append([walk.how, *pace, *(f"{norm:.2f}" for norm in norms)])
        return Table(("path", "change a step", "its spread", "norm / sqrt(z): start", "least", "most", "end"), rows)


def point_of(run: Run, what: PointName, asked: Condition = NO_CONDITION) -> Pick:
    """Return the code that someone names, with the condition of a conditional model.

    Raises:
        SettingError: If a conditional model is given a seed or a picture without label or attributes.
    """
    pick = picked(run, what, condition=asked.row(run.model))
    known = run.model.conditioning
    if known is not None:
        way = "label" if known.kind == "label" else "attributes"
        rule = f"{run.model.settings.name} needs the condition of {str(what)!r}"
        require(pick.condition is not None, way, None, rule, f"give {way}, or an image by its number")
    return pick


@torch.no_grad()
def walk_along(run: Run, codes: Tensor, how: str, ends: tuple[str, str], conditions: Tensor | None = None) -> Walk:
    """Decode a path of codes (T, D)."""
    model = run.model
    assert isinstance(model, Decodes)
    codes = codes.float().cpu()
    images, units = [], []
    for parts in chunks(codes, conditions):
        decodings = model.decode(*(part.to(model.device, model.dtype) for part in parts))
        images.append(model.to_uint8(decodings).numpy())
        units.append(unit_range(model, decodings))
    return Walk(how, codes, np.concatenate(images), pace(torch.cat(units)), ends, conditions)


def unit_range(model: Model, images: Tensor) -> Tensor:
    """Return images in the model's range as float32 in [0, 1] on the CPU."""
    images = images.float().cpu()
    return ((images + 1) * 0.5 if model.signed else images).clamp(0, 1)


def pace(images: Tensor) -> Pace:
    """Return how fast images (T, ...) in [0, 1] change: mean and spread of the root mean square change a step."""
    changes = (images[1:] - images[:-1]).flatten(1).double().square().mean(1).sqrt()
    return Pace(float(changes.mean()), float(changes.std(correction=0)))


def save_walk(path: Path, run: Run, walk: Walk) -> None:
    """Write a path as JSON that `follow`, and other tools, read back: float32 codes to the last bit."""
    facts = {"run": str(run.path), "images": run.images, "how": walk.how, "ends": list(walk.ends)}
    kept = {name: walk.as_dict()[name] for name in ("codes", "conditions")}
    write_text(path, json_text({"morphospace": "path", **facts, **kept}))


def follow(run: Run | str | Path, path: str | Path) -> Walk:
    """Decode a path that was saved as JSON: by `save_walk`, or by anything that writes `{"codes": [[...], ...]}`.

    Args:
        run: A loaded run or its folder.
        path: The file. `codes` is (T, D); `conditions` (T, K) for a conditional model; `how` and `ends` are words.

    Raises:
        DataError: If the file is missing or is no such file.
        RunError: If its codes are not of this run's space.
    """
    run = loaded(run)
    name = f"path = {str(path)!r}"
    try:
        kept: Any = read_json(read_bytes(path, links=True))
        codes = _matrix(kept["codes"])
        conditions = None if kept.get("conditions") is None else _matrix(kept["conditions"])
    except OSError as error:
        raise DataError(
            name, rule=error.strerror or error, way_out="give a path that `morpho interpolate` saved"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise DataError(
            name,
            rule="is no path",
            way_out="it must be JSON with `codes`, rows of as many finite numbers each, two at least",
        ) from None
    wide, known = run.model.latent_dim, run.model.conditioning
    if codes.shape[1] != wide:
        raise RunError(
            name,
            rule=f"codes of {codes.shape[1]} numbers, the run's have {wide}",
            way_out="take the run it was made in",
        )
    found = None if conditions is None else tuple(conditions.shape)
    wanted = None if known is None else (len(codes), known.size)
    if found != wanted:
        raise RunError(
            name, rule=f"conditions of shape {found}, must be {wanted}", way_out="take the run it was made in"
        )
    ends = kept.get("ends")
    words = (str(ends[0]), str(ends[-1])) if isinstance(ends, list) and ends else ("start", "end")
    return walk_along(run, codes, str(kept.get("how", "given")), words, conditions)


def _matrix(rows: Any) -> Tensor:
    """Return rows of numbers as float32 (T, D)."""
    values = torch.tensor(rows, dtype=torch.float32)
    if values.dim() != 2 or len(values) < 2 or not torch.isfinite(values).all():
        raise ValueError(rows)
    return values
