"""Morphs: several pairs of points, each becoming the other in step, as a film."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.latent.paths import HOWS, linear
from morphospace.models.contract import seeded_noise
from morphospace.pictures.films import Film, check_film_path, playable, save_film
from morphospace.pictures.sheet import grid, near_square
from morphospace.randomness import stream
from morphospace.runs.codes import AT_ONCE, codes_of, condition_for, decode, encodes, judged_rows, prior_for, told_of
from morphospace.runs.run import Run, loaded
from morphospace.tools.walk.interpolate import check_path, told_pick

MOST_PAIRS, MOST_FRAMES = 4096, 100_000
What = int | str | Path


@dataclass(frozen=True)
class Pairs:
    """Pairs of points, and where they come from.

    Attributes:
        starts: (N, D), float32 on the CPU.
        ends: (N, D).
        words: Where each pair's ends come from.
        conditions: What a conditional model is told at the starts and at the ends, (N, K) each; None for the others.
    """

    starts: Tensor
    ends: Tensor
    words: tuple[tuple[str, str], ...]
    conditions: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Morph:
    """A morph on disk.

    Attributes:
        film: The file, its frames and true rate.
        how: The path that each pair took.
        pairs: Rows and columns of pairs.
        ends: Where each pair's ends come from, in words.
    """

    film: Film
    how: str
    pairs: tuple[int, int]
    ends: tuple[tuple[str, str], ...]


def morph(
    run: Run | str | Path,
    out: str | Path,
    *,
    pairs: tuple[int, int] | None = None,
    fps: float = 30,
    seconds: float = 5,
    how: str = "slerp",
    there_and_back: bool = False,
    starts: Sequence[What] = (),
    ends: Sequence[What] = (),
    seed: int = 0,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> Morph:
    """Write a film in which several pairs of images become each other in step.

    Args:
        run: A loaded run or its folder.
        out: The film to write, a .gif, .webp or .mp4.
        pairs: Rows and columns of pairs; 4 x 4, or as many as `starts` has.
        fps: Frames a second; a GIF holds at most 50.
        seconds: How long one way takes, both ends among its frames.
        how: `linear`, `slerp` or `rotate`.
        there_and_back: Also return, so that the film loops without a jump.
        starts: Where the pairs begin, each as `interpolate` takes it. When empty, images that training did not see,
            or draws from the prior where the model has no encoder.
        ends: Where they end; as many.
        seed: Which images or draws.
        label: The class that a conditional model draws; each end's own when not given.
        attributes: The same for attributes.

    Raises:
        SettingError: Arguments that do not go together, or not so many images.
    """
    path = Path(out)
    check_film_path(path)
    rows, columns = check_pairs(pairs, starts, ends)
    steps = frames_in(path, fps, seconds)
    check_path(how, 2)
    run = loaded(run)
    if starts:
        chosen = pick_pairs(run, starts, ends, label, attributes)
    else:
        chosen = draw_pairs(run, rows * columns, seed, label=label, attributes=attributes)
    t = torch.linspace(0, 1, steps, dtype=torch.float64)
    if there_and_back:
        t = torch.cat([t, t[1:-1].flip(0)])
    facts = {"run": str(run.path), "images": run.images, "how": how, "pairs": f"{rows}x{columns}", "seed": seed}
    facts |= {"there_and_back": there_and_back, "ends": chosen.words}
    samples = torch.tensor([0, 0.5, 1], dtype=torch.float64)
    few = path.suffix.lower() == ".gif" and run.model.shape[2] == 3
    colours = [grid(images, columns) for images in frames_of(run, chosen, samples, how)] if few else []
    frames = (grid(images, columns) for images in frames_of(run, chosen, t, how))
    film = save_film(path, frames, len(t), fps, facts, colours=colours)
    return Morph(film, how, (rows, columns), chosen.words)


def frames_of(run: Run, pairs: Pairs, t: Tensor, how: str) -> Iterator[np.ndarray]:
    """Yield uint8 (N, H, W, C) at each of t (T,): the pairs' images at one time, several times decoded at once."""
    count = len(pairs.starts)
    for times in t.split(max(1, AT_ONCE // count)):
        codes = HOWS[how](pairs.starts, pairs.ends, times).transpose(0, 1).flatten(0, 1)
        told = None if pairs.conditions is None else linear(*pairs.conditions, times).transpose(0, 1).flatten(0, 1)
        images = decode(run.model, codes, told)
        yield from images.reshape(len(times), count, *images.shape[1:])


def draw_pairs(
    run: Run,
    count: int,
    seed: int,
    *,
    images: bool | None = None,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> Pairs:
    """Choose pairs by a seed.

    Args:
        run: A loaded run.
        count: How many.
        seed: Which.
        images: Take codes of images that training did not see, no image twice, or draws from the prior; images where
            there is an encoder when None.
        label: What a conditional model is told; each image's own, or every class in turn, when not given.
        attributes: The same for attributes.

    Raises:
        SettingError: There are not so many images.
    """
    model = run.model
    told = condition_for(model, 2 * count, label, attributes)
    if encodes(run) if images is None else images:
        split, rows, name = judged_rows(run.pack, run.configuration.data.valid)
        most = f"must be from 1 to {len(rows) // 2}, as the {name} split has {len(rows)} images"
        require(1 <= count <= len(rows) // 2, "pairs", count, most)
        numbers = np.random.default_rng(stream(seed, "pairs")).permutation(len(rows))[: 2 * count]
        taken = rows[numbers]
        own = told_of(model, split, taken)  # an encoder is told what an image shows, whatever is to be drawn
        told = own if label is None and attributes is None else told
        pictures = np.stack([np.asarray(split.images[row]) for row in taken])
        codes, words = codes_of(run, pictures, own, rows=taken), [f"{name} image {number}" for number in numbers]
    else:
        codes = prior_for(run, "model").from_noise(seeded_noise(2 * count, model.latent_dim, seed)).float()
        words = [f"sample {i} of seed {seed}" for i in range(2 * count)]
    both = None if told is None else told.cpu().float()
    halves = None if both is None else (both[:count], both[count:])
    return Pairs(codes[:count], codes[count:], tuple(zip(words[:count], words[count:])), halves)


def pick_pairs(
    run: Run,
    starts: Sequence[What],
    ends: Sequence[What],
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> Pairs:
    """Return the pairs that someone names, each end as `interpolate` takes it."""
    sides = [[told_pick(run, what, label, attributes) for what in side] for side in (starts, ends)]
    codes = [torch.stack([pick.code for pick in side]) for side in sides]
    told = [[pick.condition for pick in side if pick.condition is not None] for side in sides]
    words = tuple((first.words, last.words) for first, last in zip(*sides, strict=True))
    conditions = (torch.stack(told[0]), torch.stack(told[1])) if told[0] else None
    return Pairs(codes[0], codes[1], words, conditions)


def check_pairs(pairs: tuple[int, int] | None, starts: Sequence[What], ends: Sequence[What]) -> tuple[int, int]:
    """Return rows and columns of pairs, as asked for or as there are.

    Raises:
        SettingError: Numbers that do not go together.
    """
    alike = f"must be as many as the starts, {len(starts)}; give both, or neither for held-out images"
    require(len(starts) == len(ends), "ends", len(ends), alike)
    if pairs is None:
        columns = near_square(len(starts)) if starts else 4
        pairs = (-(-len(starts) // columns), columns) if starts else (4, 4)
        return pairs
    rows, columns = pairs
    shown = f"{rows}x{columns}"
    require(rows >= 1 and columns >= 1, "pairs", shown, "must be ROWSxCOLUMNS, for instance 4x4")
    require(rows * columns <= MOST_PAIRS, "pairs", shown, f"must be at most {MOST_PAIRS} in all")
    given = f"must be as many as the starts and ends, {len(starts)}; or leave it out"
    require(not starts or rows * columns == len(starts), "pairs", shown, given)
    return rows, columns


def frames_in(path: Path, fps: float, seconds: float) -> int:
    """Return how many frames fill so many seconds at the rate that the format can hold.

    Raises:
        SettingError: No such rate, or a length of less than two frames.
    """
    rate = playable(path, fps)
    steps = round(rate * seconds) if 0 < seconds < MOST_FRAMES else 0
    rule = f"must give from 2 to {MOST_FRAMES} frames at {rate:g} a second"
    require(2 <= steps <= MOST_FRAMES, "seconds", seconds, rule)
    return steps
