"""A loaded run, ready to answer, with what is computed once and kept: codes, map, components, directions."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out
from morphospace.data.fitting import fit
from morphospace.data.pack import Split
from morphospace.data.rule import Rule
from morphospace.errors import MorphospaceError, SettingError, require
from morphospace.evaluation.anomaly import critic_scores
from morphospace.latent.components import Components, Moments
from morphospace.latent.directions import Direction
from morphospace.latent.traverse import changes, working
from morphospace.models.contract import Scores, seeded_noise
from morphospace.pictures.maps import LatentMap
from morphospace.randomness import stream
from morphospace.runs import condition as conditions
from morphospace.runs.codes import (
    as_seen,
    choose_rows,
    codes_of,
    conditions_of,
    each_code,
    encoder_of,
    judged_rows,
    prior_for,
)
from morphospace.runs.decoder import Decoder
from morphospace.runs.run import Run, usual_checkpoint
from morphospace.studio.requests import Condition, Move
from morphospace.tools.directions.find_directions import directions
from morphospace.tools.directions.pca import components
from morphospace.tools.map import check_map
from morphospace.tools.map.layout import classes_of, framed, placed

MAPPED = 3000  # images whose codes are kept
TRAINING_IMAGES = 10_000  # searched for the nearest one
DIRECTIONS = 200
REACH = (-2.0, 2.0)  # strengths at which a slider's change is measured
SAME_LINE = 0.98  # cosine of two directions above which a person sees one and the same change
MOST_PIXELS = 8_000_000  # decoded for one question: 32 MB
AT_ONCE_NUMBERS = 8_000_000  # of images that are searched together
THUMBNAIL = 32  # pixels a side
JUDGED, AT_ONCE = 1500, 64  # images that are reconstructed to know how well that goes, and how many at a time
UNLIKE = 0.01  # a picture is unlike what a model has learned if a smaller share of held-out images is as badly rebuilt
AMONG, OPENING, CHOOSE_FLOP = 32, 8, 80e9  # seeds to choose from, how many are chosen, and work that this may take
ERROR = "error"  # of reconstructions, among what a map is coloured by
NO_MAP = "codes of one dimension make no map; use the sliders"
T = TypeVar("T")


@dataclass(frozen=True)
class Gathered:
    """Encoded images.

    Attributes:
        split: The split that holds the images.
        rows: Their rows in the split, (N,).
        numbers: Their numbers as a person names them (`runs/pick.py`), (N,).
        codes: Their codes, (N, D), float32.
    """

    split: Split
    rows: np.ndarray
    numbers: np.ndarray
    codes: Tensor

    def each(self, places: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yield the images, all or those at some places, uint8 (H, W, C)."""
        return (np.asarray(self.split.images[row]) for row in (self.rows if places is None else self.rows[places]))

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Slider:
    """A direction in which a code can be moved, and what is known of it.

    Attributes:
        name: Number of the dimension or component, or name of the attribute.
        change: Mean squared change of a pixel at strengths -2 and 2, from where sliders start; pixels in [0, 1].
        score: How well it works, from 0 to 1; of a component or dimension its change.
        share: Of the codes' variance, of a component.
        accuracy: Balanced accuracy on held-out images, of an attribute; NaN where they do not tell.
        n: On how many images that is measured.
    """

    name: int | str
    change: float
    score: float
    share: float | None = None
    accuracy: float | None = None
    n: int = 0


class Space:
    """A loaded run with what the tabs of the page need of it.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.model = run, run.model
        self.decoder = Decoder(run)
        self._kept: dict[str, Any] = {}
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Memory of the weights and of what is kept."""
        weights = sum(p.numel() * p.element_size() for p in self.model.networks.parameters()) + self.decoder.bytes
        # A copy: another thread may keep something while we count.
        kept = list(self._kept.values())
        thumbnails = sum(one.images.nbytes for one in kept if isinstance(one, LatentMap))
        return weights + thumbnails + sum(one.codes.nbytes for one in kept if isinstance(one, Gathered))

    def current(self) -> bool:
        """Whether training has written no newer checkpoint than the one that is loaded."""
        newest = usual_checkpoint(self.run.folder)
        return newest is None or newest.resolve() == self.run.checkpoint.resolve()

    def kept(self, *keys: str) -> bool:
        """Whether all of these were made already."""
        return all(key in self._kept for key in keys)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what `make` makes; made once, also where two ask at the same time."""
        with self._lock:
            lock = self._making.setdefault(key, threading.Lock())
        with lock:
            if key not in self._kept:
                self._kept[key] = make()
            value: T = self._kept[key]
            return value

    # -- what it can do --------------------------------------------------------------------------------------

    def cannot(self) -> dict[str, str]:
        """Return what the run cannot do, `encode` or `data`, each with the reason and the way out."""
        refused: dict[str, str] = {}
        for name, need in (("encode", lambda: encoder_of(self.run)), ("data", lambda: self.run.pack)):
            try:
                need()
            except MorphospaceError as error:
                refused[name] = error.reason
        return refused

    # -- codes -----------------------------------------------------------------------------------------------

    def condition(self, asked: Condition | None, count: int = 1) -> Tensor | None:
        """Return `count` times the condition that is asked for, (count, K); the first class if none is.

        Raises:
            SettingError: If there is no such class or attribute, or the model takes no condition.
        """
        known = self.model.conditioning
        if known is None:
            require(asked is None, "condition", asked, f"{self.model.settings.name} takes none", "leave it out")
            return None
        attributes = None if asked is None or asked.attributes is None else dict(asked.attributes)
        one = conditions.Condition(asked.label if asked else None, attributes).rows(self.model)
        return None if one is None else one.expand(count, -1)

    def words(self, condition: Tensor | None) -> dict[str, Any] | None:
        """Return a condition (K,) as a page asks for it; None for a model that takes none."""
        known = self.model.conditioning
        if known is None or condition is None:
            return None
        if known.kind == "label":
            return {"label": known.words(condition)}
        return {"attributes": dict(zip(known.names, condition.tolist()))}

    def seeded(self, seeds: tuple[int, ...]) -> Tensor:
        """Return the code of the first image that `morpho sample` draws with each seed, (N, D)."""
        noise = torch.cat([seeded_noise(1, self.model.latent_dim, seed) for seed in seeds])
        return prior_for(self.run, "auto").from_noise(noise).float()

    def given(self, codes: tuple[tuple[float, ...], ...], name: str = "codes") -> Tensor:
        """Return codes that a page sent, (N, D).

        Raises:
            SettingError: If they have another number of dimensions than the codes of the run.
        """
        wide = self.model.latent_dim
        require(
            len(codes[0]) == wide, name, f"{len(codes[0])} numbers", f"must be {wide}, as the codes of this run have"
        )
        return torch.tensor(codes, dtype=torch.float32)

    def at_points(self, points: tuple[tuple[float, ...], ...]) -> Tensor:
        """Return the codes at places of the plane of the two leading components, (N, D)."""
        require(self.model.latent_dim >= 2, "points", len(points), NO_MAP)
        self.gathered()  # raises where nothing can be encoded: there is no map then
        at = torch.tensor(points, dtype=torch.float64)
        return (at if self.model.latent_dim == 2 else self.axes().codes(at)).float()

    # -- kept ------------------------------------------------------------------------------------------------

    def gathered(self) -> Gathered:
        """Return the codes of images that training did not see, in random order: any first part is a fair sample."""

        def made() -> Gathered:
            split, rows, label = judged_rows(self.run.pack, self.run.configuration.data.valid)
            order = np.random.default_rng(stream(0, "map")).permutation(len(rows))[:MAPPED]
            read = np.sort(rows[order])
            codes = torch.cat([block for block, _ in each_code(self.run, split, read)])
            places = np.searchsorted(read, rows[order])
            numbers = rows[order] if label == "train" else order
            return Gathered(split, rows[order], numbers, codes[torch.from_numpy(places)])

        return self.once("codes", made)

    def chart(self, by: str = "pca") -> LatentMap:
        """Return the map of the run's codes, with small images."""
        return self.once(f"chart {by}", lambda: self._chart(by))

    def _chart(self, by: str) -> LatentMap:
        run, dim = self.run, self.model.latent_dim
        check_map(by)
        require(dim >= 2, "map", dim, NO_MAP)
        known = self.gathered()
        require(len(known) >= 3, "map", len(known), "images held out make no map", "train with a larger --valid")
        by = "codes" if dim == 2 else by
        components = self.axes() if by == "pca" else None
        points = placed(known.codes, components, by, 0)
        classes, names = classes_of(run.pack, known.split, known.rows, None)
        return LatentMap(
            run=run.path.name,
            model=run.configuration.model.name,
            split="",
            by=by,
            points=points,
            images=np.concatenate([small(image[None], THUMBNAIL) for image in known.each()]),
            classes=classes,
            class_names=names,
            share=None if components is None else tuple(components.share[:2].tolist()),
            grid=None,  # the page decodes what it shows, as fine as it shows it
            corners=framed(points),
            prior=None,
        )

    def colours(self) -> list[str]:
        """Return what the images of the map can be coloured by, beside their class: names that `coloured` knows."""
        pack, split = self.run.pack, self.gathered().split
        names = [f"attribute:{name}" for name in pack.attribute_names if split.attributes is not None]
        return [*names, *(f"factor:{name}" for name in pack.factor_names if split.factors is not None), ERROR]

    def coloured(self, by: str) -> np.ndarray:
        """Return a number for each of the gathered images, (N,): an attribute, a factor, or the error of its image.

        Raises:
            SettingError: If the data know no such attribute or factor.
        """
        known, pack = self.gathered(), self.run.pack
        if by == ERROR:
            return self.errors()
        kind, _, name = by.partition(":")
        tables = {
            "attribute": (pack.attribute_names, known.split.attributes),
            "factor": (pack.factor_names, known.split.factors),
        }
        names, table = tables.get(kind, ((), None))
        if table is None or name not in names:
            raise SettingError("by", by, "the data know no such attribute or factor", "ask for `map`")
        return np.asarray(table[known.rows])[:, names.index(name)]

    def errors(self) -> np.ndarray:
        """Return the mean squared error of each reconstruction of the first `JUDGED` gathered images, in [0, 1]."""

        def made() -> np.ndarray:
            known = self.gathered()
            found = []
            for first in range(0, min(JUDGED, len(known)), AT_ONCE):
                at = slice(first, min(first + AT_ONCE, JUDGED))
                originals = as_seen(self.run, np.asarray(known.split.images[known.rows[at]]), known.rows[at])
                own = conditions_of(self.model, known.split, known.rows[at])
                images = self.decoder.frames(known.codes[at], None if own is None else own.cpu().float())
                squared = (originals.astype(np.float32) - images) ** 2
                found.append(squared.reshape(len(squared), -1).mean(1) / 255**2)
            return np.concatenate(found)

        return self.once("errors", made)

    def error_of(self, image: np.ndarray, condition: Tensor | None) -> float:
        """Return the mean squared error of the reconstruction of an image (H, W, C) by the encoder, in [0, 1]."""
        told = None if condition is None else condition[None]
        again = self.frames(codes_of(self.run, image[None], told), told)[0]
        return float(((again.astype(np.float64) - image) ** 2).mean() / 255**2)

    def examples(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of some held-out images, one of each class first, and the images, uint8 (N, H, W, C)."""
        split, rows, label = judged_rows(self.run.pack, self.run.configuration.data.valid)
        order = np.random.default_rng(stream(0, "map")).permutation(len(rows))[:MAPPED]
        labels = order if split.labels is None else np.asarray(split.labels[rows[order]])
        first = np.sort(np.unique(labels, return_index=True)[1])  # one of each class
        places = order[np.concatenate([first, np.setdiff1d(np.arange(len(order)), first)])[:count]]
        taken = rows[places]
        images = as_seen(self.run, np.asarray(split.images[taken]), taken)
        return taken if label == "train" else places, images

    def start(self) -> Tensor:
        """Return where sliders start when no code is given: the mean code, else the code of a seed, (D,).

        A model that cannot encode does not start at the mean of its prior: no sample lies near there, and a GAN decodes
        it to grey noise.
        """
        return self.once(
            "start", lambda: self.seeded(self.seeds[:1])[0] if self.cannot() else self.gathered().codes.mean(0)
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds to open with: those that were chosen for the run, else some good ones of the first."""
        return tuple(self.run.folder.facts.get("seeds") or self.once("seeds", self._good_seeds))

    def _good_seeds(self) -> list[int]:
        """Choose seeds whose samples are good, and unlike each other in pixels.

        How good: what the critic says, or else how little of a sample changes when it is encoded and decoded again. The
        better half are candidates; the best comes first, then always the one that is farthest from those before.
        """
        if AMONG * self.decoder.flop > CHOOSE_FLOP:
            return list(range(OPENING))
        codes = self.seeded(tuple(range(AMONG)))
        condition = self.condition(None, AMONG)
        images = self.frames(codes, condition)
        candidates = self._badness(images, condition).argsort(stable=True)[: AMONG // 2]
        pixels = torch.from_numpy(images[candidates.numpy()]).flatten(1).float()
        chosen = [0]
        while len(chosen) < OPENING:
            chosen.append(int(torch.cdist(pixels, pixels[chosen]).amin(1).argmax()))
        return candidates[chosen].tolist()

    def _badness(self, images: np.ndarray, condition: Tensor | None) -> Tensor:
        """Return a number for each sample (N, H, W, C), higher for worse ones; all equal where nothing tells."""
        values = self.model.from_uint8(torch.from_numpy(images))
        if isinstance(self.model, Scores) and getattr(self.model.settings, "packing", 1) == 1:
            return critic_scores(self.model, values, condition)
        if "encode" in self.cannot():
            return torch.zeros(len(images))
        again = self.frames(codes_of(self.run, images, condition), condition)
        changed = ((again.astype(np.float32) - images) ** 2).reshape(len(images), -1).mean(1)
        # Beside what there is to see: an image of nothing is rebuilt without an error.
        return torch.from_numpy(changed / (1 + images.reshape(len(images), -1).var(1)))

    def spread(self) -> Tensor:
        """Return how far strength 1 goes along each dimension: a standard deviation of the codes or the prior, (D,)."""
        ones = torch.ones(self.model.latent_dim)
        return self.once("spread", lambda: ones if self.cannot() else self.gathered().codes.std(0))

    def axes(self) -> Components:
        """Return the leading directions: of the codes, or by the first layer where nothing can be encoded."""

        def made() -> Components:
            if self.cannot():
                return components(self.run, space="weights")
            return Moments.of([self.gathered().codes], self.model.latent_dim).components()

        return self.once("axes", made)

    def sliders(self, by: str) -> list[Slider]:
        """Return the sliders of a kind, those that work best first.

        Args:
            by: `dim` for raw dimensions and `component` for leading components, each by what it changes in the image;
                `direction` for attributes, by `working`.
        """
        return self.once(f"sliders {by}", lambda: self._sliders(by))

    def _sliders(self, by: str) -> list[Slider]:
        if by == "dim":
            found = [Slider(i, size, size) for i, size in enumerate(self._sizes(torch.diag(self.spread())))]
        elif by == "component":
            axes = self.axes()
            sizes = self._sizes((axes.spread[:, None] * axes.directions).float())
            found = [
                Slider(i, size, size, share=share) for i, (size, share) in enumerate(zip(sizes, axes.share.tolist()))
            ]
        else:
            known = list(self.directions().values())
            if not known:
                return []
            held = [one.held.balanced_accuracy if one.held else math.nan for one in known]
            sizes = self._sizes(torch.stack([one.vector for one in known]))
            scores = working(held, sizes)
            found = [
                Slider(one.name, size, score, accuracy=right, n=one.held.n if one.held else 0)
                for one, size, score, right in zip(known, sizes, scores, held)
            ]
        ranked = sorted(found, key=lambda slider: -slider.score)  # stable: equal ones stay in order
        return self._without_doubles(ranked) if by == "direction" else ranked

    def _without_doubles(self, ranked: Sequence[Slider]) -> list[Slider]:
        """Leave out sliders along the line of one before: a class and an attribute of the same images, say."""
        kept: list[Slider] = []
        lines = torch.zeros(0, self.model.latent_dim)
        for slider in ranked:
            line = torch.nn.functional.normalize(self.directions()[str(slider.name)].vector[None])
            if not (lines @ line[0]).abs().gt(SAME_LINE).any():
                kept.append(slider)
                lines = torch.cat([lines, line])
        return kept

    def slider_rows(self, by: str, most: int | None = None) -> list[dict[str, Any]]:
        """Return what a page is told of the sliders of a kind, those that work best first; JSON can hold it."""
        rows = []
        for slider in self.sliders(by)[:most]:
            row: dict[str, Any] = {"name": slider.name, "change": slider.change}
            row |= {"share": slider.share} if by == "component" else {}
            known = slider.accuracy is not None and not math.isnan(slider.accuracy)
            row |= {"accuracy": slider.accuracy if known else None, "n": slider.n} if by == "direction" else {}
            rows.append(row)
        return rows

    def _sizes(self, directions: Tensor) -> list[float]:
        """Return what each of the directions (K, D) changes in the image, in their order."""
        found = changes(
            lambda codes: self.frames(codes, self.condition(None, len(codes))),
            self.start(),
            directions,
            torch.tensor(REACH),
        )
        sizes = {change.index: change.size for change in found}
        return [sizes[i] for i in range(len(directions))]

    def directions(self) -> dict[str, Direction]:
        """Return the directions of the attributes that the data have, by name; none where nothing can be encoded.

        Each is the normal of a linear classifier of codes. A difference of two means also moves whatever else differs
        between the two sets by chance: of the package's faces it told 57 % of smiles right, the normal 82 %.
        """
        if self.cannot():
            return {}
        return self.once("directions", lambda: {d.name: d for d in directions(self.run, DIRECTIONS, by="classifier")})

    def moved(self, base: Tensor, moves: Sequence[Move]) -> Tensor:
        """Return a code (D,) moved along sliders, in standard deviations each.

        Raises:
            SettingError: If there is no such slider.
        """
        code = base.double().clone()
        for move in moves:
            if move.kind == "direction":
                known = self.directions()
                if move.name not in known:
                    raise SettingError("moves", move.name, "the data know no such direction", "ask for `sliders`")
                code += move.value * known[str(move.name)].vector.double()
                continue
            index = int(move.name)
            if move.kind == "dim":
                require(index < len(code), "moves", index, f"must be below {len(code)}, the dimensions of the codes")
                code[index] += move.value * self.spread()[index]
            else:
                axes = self.axes()
                require(index < len(axes), "moves", index, f"must be below {len(axes)}, the number of components")
                code += move.value * axes.spread[index] * axes.directions[index]
        return code.float()

    def nearest_training(self, image: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the training images nearest to one in pixels: rows, root mean square distances, images."""
        (split, trained), _ = held_out(self.run.pack, self.run.configuration.data.valid)
        known = choose_rows(trained, TRAINING_IMAGES, 0, "nearest training")
        target = image.astype(np.float32).reshape(-1)
        squared = np.empty(len(known))
        block = max(1, AT_ONCE_NUMBERS // target.size)
        for first in range(0, len(known), block):
            values = np.asarray(split.images[known[first : first + block]]).reshape(-1, target.size)
            squared[first : first + len(values)] = ((values.astype(np.float32) - target) ** 2).mean(1)
        near = np.argsort(squared, kind="stable")[:count]
        return known[near], np.sqrt(squared[near]) / 255, np.asarray(split.images[known[near]])

    def frames(self, codes: Tensor, condition: Tensor | None) -> np.ndarray:
        """Decode codes (N, D); uint8 (N, H, W, C).

        Raises:
            SettingError: If the images have more pixels than one answer may hold.
        """
        height, width, _ = self.model.shape
        most = MOST_PIXELS // (height * width)
        require(len(codes) <= most, "images", len(codes), f"must be at most {most} of {height}x{width} in one answer")
        parts = [codes.split(64)] if condition is None else [codes.split(64), condition.split(64)]
        return np.concatenate([self.decoder.frames(*part) for part in zip(*parts)])


def small(images: np.ndarray, most: int) -> np.ndarray:
    """Return images (N, H, W, C) no larger than `most` pixels a side."""
    height, width = images.shape[1:3]
    if max(height, width) <= most:
        return images
    scale = most / max(height, width)
    rule = Rule(max(1, round(height * scale)), max(1, round(width * scale)), images.shape[3], "stretch")
    return np.stack([fit(image, rule) for image in images])
