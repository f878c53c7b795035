"""A morph of 64 pairs at 64x64: decoding and writing beside the published script's, seconds and ratios apart.

150 frames, 9,600 images, a GIF. The published side decodes one image at a time (or, `by frame`, the 64 images of one
frame at a time) in float32, pastes them into a sheet with Pillow, keeps all sheets and saves them with Pillow's
`save_all`. Ours is `morphospace.morph`: several frames decoded at once, frames written as they come. Both write the
same model's images: a VAE trained for a moment on drawn faces, or the run that --run names.

Each side is a process of its own; sides alternate, and the ratios are those of the medians. Where the time is spent is
taken at the border between frames: what a frame's pixels cost is decoding, what follows (sheet, palette, file) writing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "main"]

SIDES = ("published", "by frame", "ours")
ROWS, FPS, SECONDS = 8, 30, 5
IMAGES = 8_192  # faces that the stand-in sees in training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--rounds", type=int, default=3, help="times that each side runs (default 3)")
    parser.add_argument("--run", type=Path, help="a run whose model to decode with (default: one made on the spot)")
    parser.add_argument("--kind", choices=("gif", "webp", "mp4"), default="gif", help="what ours writes (default gif)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number measured to FILE as well")


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the table, and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="morphospace-bench-") as name:
        run = arguments.run or Path(name) / "run"
        about = _side("about" if arguments.run else "train", run, Path(name))
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for turn in range(arguments.rounds):
            for side in SIDES:
                out = Path(name) / f"morph.{arguments.kind if side == 'ours' else 'gif'}"
                found[side].append(_side(side, run, out))
                last = found[side][-1]
                said = f"decoding {last['decode']:.2f} s, writing {last['write']:.2f} s"
                print(f"round {turn + 1}, {side}: {said}", file=sys.stderr, flush=True)
    print(markdown(found, about))
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "sides": found}, indent=2) + "\n", encoding="utf-8")
    return 0


def markdown(found: dict[str, list[dict[str, Any]]], about: dict[str, Any]) -> str:
    """Return the table."""
    middle = {
        side: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for side, runs in found.items()
    }
    size, ours = "x".join(map(str, about["shape"])), middle["ours"]
    lines = [
        f"{ROWS * ROWS} pairs, {FPS * SECONDS} frames, {ROWS * ROWS * FPS * SECONDS:,} images of {size}; decoder of "
        f"{about['decoder'] / 1e6:.1f} M parameters; {about['threads']} threads; "
        "ratios are the side's time over ours",
        "",
        "| side | decoding s | writing s | together s | decoding | writing | together | file MB | peak MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for side, of in middle.items():
        whole = of["decode"] + of["write"], ours["decode"] + ours["write"]
        ratios = of["decode"] / ours["decode"], of["write"] / ours["write"], whole[0] / whole[1]
        shown = " | ".join(f"{ratio:.2f}x" for ratio in ratios)
        seconds = " | ".join(f"{value:.2f}" for value in (of["decode"], of["write"], whole[0]))
        lines.append(f"| {side} | {seconds} | {shown} | {of['bytes'] / 1e6:.1f} | {of['peak']:,.0f} |")
    return "\n".join(lines)


def _side(side: str, run: Path, out: Path) -> dict[str, Any]:
    """Run one side in a process of its own and return what it measured."""
    command = [sys.executable, "-m", "bench.morph", side, str(run), str(out)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# -- in a process of its own ---------------------------------------------------------------------------------


def train(run: Path, out: Path) -> dict[str, Any]:
    """Train the stand-in."""
    import morphospace as ms

    settings: dict[str, Any] = {"images": IMAGES, "report_images": 10**6, "checkpoint_images": 10**6}
    ms.train("vae", data="toyfaces", size="64", out=run, latent_dim=128, **settings)
    return about(run, out)


def about(run: Path, out: Path) -> dict[str, Any]:
    """Return what the model is."""
    import torch

    import morphospace as ms

    model = ms.load(run).model
    decoder = next((part for name, part in model.networks.items() if name in ("decoder", "generator")), model.networks)
    count = sum(p.numel() for p in decoder.parameters())
    return {"shape": list(model.shape), "decoder": count, "threads": torch.get_num_threads()}


def published(run: Path, out: Path, at_once: int = 1) -> dict[str, float]:
    """Decode `at_once` images at a time, keep all sheets, save them with Pillow."""
    import torch
    from PIL import Image

    import morphospace as ms
    from morphospace.tools.walk.pairs import draw_pairs

    model = ms.load(run).model
    pairs = draw_pairs(ms.load(run), ROWS * ROWS, 0)
    for network in model.networks.values():
        network.float().to(memory_format=torch.contiguous_format)
    height, width, _ = model.shape
    sheets, seconds = [], {"decode": 0.0, "write": 0.0}
    with torch.no_grad():
        for step in range(FPS * SECONDS):
            began = time.perf_counter()
            t = step / (FPS * SECONDS - 1)
            codes = (1 - t) * pairs.starts + t * pairs.ends
            images = torch.cat([model.decode(part) for part in codes.to(model.device).split(at_once)])
            pixels = ((images + 1) / 2 if model.signed else images).mul(255).clamp(0, 255).byte()
            arrays = [array.squeeze() for array in pixels.permute(0, 2, 3, 1).cpu().numpy()]
            decoded = time.perf_counter()
            sheet = Image.new("L" if arrays[0].ndim == 2 else "RGB", (ROWS * (width + 2) + 2, ROWS * (height + 2) + 2))
            for i, array in enumerate(arrays):
                sheet.paste(Image.fromarray(array), (2 + i % ROWS * (width + 2), 2 + i // ROWS * (height + 2)))
            sheets.append(sheet)
            seconds["decode"] += decoded - began
            seconds["write"] += time.perf_counter() - decoded
    began = time.perf_counter()
    sheets[0].save(out, save_all=True, append_images=sheets[1:], duration=1000 / FPS, loop=0)
    seconds["write"] += time.perf_counter() - began
    return seconds


def ours(run: Path, out: Path) -> dict[str, float]:
    """Write the same with `morphospace.morph`."""
    from collections.abc import Iterator

    import morphospace as ms
    from morphospace.tools.walk import pairs as morphing

    loaded, spent = ms.load(run), 0.0
    plain = morphing.frames_of
    draw = morphing.draw_pairs
    chosen = draw(loaded, ROWS * ROWS, 0)

    def timed(*arguments: Any) -> Iterator[Any]:
        nonlocal spent
        frames = plain(*arguments)
        while True:
            began = time.perf_counter()
            frame = next(frames, None)
            spent += time.perf_counter() - began
            if frame is None:
                return
            yield frame

    morphing.frames_of = timed
    morphing.draw_pairs = lambda *arguments, **settings: chosen
    began = time.perf_counter()
    ms.morph(loaded, out, pairs=(ROWS, ROWS), fps=FPS, seconds=SECONDS, how="linear")
    whole = time.perf_counter() - began
    return {"decode": spent, "write": whole - spent}


def worker(side: str, run: Path, out: Path) -> dict[str, Any]:
    """Do one side's work."""
    import resource

    if side in ("train", "about"):
        return train(run, out) if side == "train" else about(run, out)
    seconds = ours(run, out) if side == "ours" else published(run, out, 1 if side == "published" else ROWS * ROWS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {**seconds, "bytes": out.stat().st_size, "peak": peak}


if __name__ == "__main__":
    print(json.dumps(worker(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
