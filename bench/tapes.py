"""Records runs of the library's engine for the lessons and the page of simulations, and writes them into the page.

Each is a GAN of 16x16 digits, trained by `studio/live` as the Play room does; 40 moments of it are kept, the first ones
closer together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphospace.studio.live.settings import Chosen, Data

__all__ = ["TAPES", "add_arguments", "main"]

FOLDER = Path(__file__).parents[1] / "src" / "morphospace" / "studio" / "page" / "play"
MOMENTS, LAST = 40, 1000
IMAGES = 25  # samples, five by five
LEVELS = 16  # of a grey value, as the digits themselves have
TAPES: dict[str, tuple[str, Data, dict[str, Any]]] = {
    "dcgan": ("dcgan", "digits", {}),
    "dcgan-mlp": ("dcgan", "digits", {"tower": "mlp", "widths": [128, 128]}),
    "dcgan-pale": ("dcgan", "digits", {"critic_bias": False}),
    "dcgan-plain": ("dcgan", "digits", {"critic_norm": "none"}),
    "lambda-0": ("vae-gan", "digits", {"lambda": 0.0}),
    "lambda-0.1": ("vae-gan", "digits", {"lambda": 0.1}),
}


def moments(count: int = MOMENTS, last: int = LAST) -> list[int]:
    """Return the moments of a recording, in steps: from 0 to the last, their distances growing evenly."""
    return [round(last * (at / (count - 1)) ** 2) for at in range(count)]


def recorded(made: Chosen, steps: Sequence[int]) -> list[bytes]:
    """Train, and return the frames of some moments, in steps."""
    from morphospace.studio.live.run import Run

    run, frames = Run(made, images=IMAGES, levels=LEVELS), []
    for moment in steps:
        while run.steps < moment and not run.failed:
            run.step()
        frames.append(run.frame(measure=True))
    return frames


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's flags."""
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TAPES)}; all of them if none")


def main(arguments: argparse.Namespace) -> int:
    """Record, and write the files."""
    import torch

    from morphospace.studio.live.settings import chosen
    from morphospace.studio.live.tapes import PREFIX, packed
    from morphospace.training.precision import keep_freed_blocks

    torch.set_num_threads(1)
    keep_freed_blocks()
    for name in arguments.names or TAPES:
        gan, data, changes = TAPES[name]
        began = time.process_time()
        frames = recorded(chosen(gan, data, changes), moments())
        text = packed(name, {"gan": gan, "data": data, "settings": changes}, frames)
        file = FOLDER / f"{PREFIX}{name}.js"
        file.write_text(text, encoding="utf-8")
        seconds = time.process_time() - began
        print(f"{file}: {len(text):,} bytes, {len(frames)} frames, {seconds:.0f} s of CPU time", flush=True)
    return 0
