"""Draws flowers: a small folder of pictures like the one that a person brings, of several sizes and formats.

`python -m bench.drawings FOLDER --n 300 --seed 0`
"""

from __future__ import annotations

import argparse
import colorsys
import math
import random
from pathlib import Path

from PIL import Image, ImageDraw

SIDES = (480, 512, 600, 640, 720)
FORMATS = ("jpg", "jpg", "png", "webp")
BENDS = 24  # pieces that a curved stem is drawn in


def colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    """Return a colour by hue, saturation and value, each from 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(saturation, 1), min(value, 1))
    return (round(255 * red), round(255 * green), round(255 * blue))


def petal(length: float, width: float, fill: tuple[int, int, int]) -> Image.Image:
    """Draw one petal that points to the right from the middle of a square."""
    side = round(2 * length + 24)
    image = Image.new("RGBA", (side, side))
    edge = tuple(round(0.7 * value) for value in fill)
    middle = side / 2
    box = (middle, middle - width / 2, middle + length, middle + width / 2)
    ImageDraw.Draw(image).ellipse(box, fill=(*fill, 255), outline=(*edge, 255), width=3)
    return image


def flower(rng: random.Random) -> Image.Image:
    """Draw one flower: background, stem, leaves, a ring or two of petals, and the heart."""
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    image = Image.new("RGB", (width, height), colour(rng.random(), rng.uniform(0.05, 0.3), rng.uniform(0.8, 1)))
    draw = ImageDraw.Draw(image)
    x, y = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.32, 0.45)
    radius = min(width, height) * rng.uniform(0.16, 0.28)
    leaf = colour(rng.uniform(0.25, 0.42), rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.8))
    bend = width * rng.uniform(-0.15, 0.15)
    stem = [(x + bend * math.sin(math.pi * t / BENDS), y + (height - y) * t / BENDS) for t in range(BENDS + 1)]
    draw.line(stem, fill=leaf, width=rng.randint(8, 18), joint="curve")
    for side in (-1, 1):
        if rng.random() < 0.8:
            at, long, high = stem[rng.randint(BENDS // 2, BENDS - 5)], rng.uniform(70, 120), rng.uniform(25, 55)
            ends = sorted((at[0], at[0] + side * long))
            draw.ellipse((ends[0], at[1] - high / 2, ends[1], at[1] + high / 2), fill=leaf)
    hue, count, turn = rng.random(), rng.choice((5, 6, 7, 8, 10, 12)), rng.random()
    plump, rings = rng.uniform(0.35, 0.8), rng.choice((1, 1, 2))
    for ring in range(rings):
        long = radius * (1 - 0.35 * ring)
        for k in range(count):
            fill = colour(hue + 0.06 * ring + rng.uniform(-0.02, 0.02), rng.uniform(0.5, 0.95), rng.uniform(0.75, 1))
            one = petal(long, long * plump, fill).rotate(360 * (k + turn + ring / 2) / count, Image.Resampling.BICUBIC)
            image.paste(one, (round(x - one.width / 2), round(y - one.height / 2)), one)
    heart = radius * rng.uniform(0.2, 0.4)
    core = colour(rng.uniform(0.08, 0.16), 0.9, rng.uniform(0.5, 1))
    draw.ellipse((x - heart, y - heart, x + heart, y + heart), fill=core)
    return image


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(given.seed)
    for number in range(given.n):
        flower(rng).save(given.folder / f"IMG_{number:04d}.{rng.choice(FORMATS)}", quality=92)


if __name__ == "__main__":
    main()
