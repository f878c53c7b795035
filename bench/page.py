"""The exported page in a real browser: its size, the time to the first picture, and pictures under the pointer.

Two files, opened from disk in chromium, each in a fresh page: the drawn faces that come with the package, and a DCGAN's
generator of 3.6 million parameters at 64x64. First picture: from the start of loading to the first picture on a canvas.
Frames: pictures put on the canvas while the pointer moves over the map (or the plane of seeds) for some seconds. A
picture: one code decoded and made into an image, the median of many, one after the other. Needs a chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.studio import MORPHO, browser_page, chromium

__all__ = ["add_arguments", "main"]

SECONDS, QUICK_SECONDS = 5.0, 0.5
PICTURES, QUICK_PICTURES = 200, 10
OPENED = 5  # times; the median counts
TARGETS = {
    "faces": {"bytes": 1_500_000, "first": 500.0, "frames": 55.0},
    "dcgan": {"picture": 8.0},
}
GENERATOR = ["--widths", "64,128,256,512", "--latent-dim", "100"]
WATCH = """
window.put = [];
const draw = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function (...given) {
    draw.apply(this, given);
    if (this.canvas.classList.contains('picture')) window.put.push(performance.now());
};
"""
DECODE = """async ([count, width]) => {
    const { client } = morphospace, times = [];
    await client.ready;
    for (let i = 0; i < count + 5; i++) {
        const code = Array.from({ length: width }, (_, j) => Math.sin(i * 7.3 + j));
        const began = performance.now();
        await client.decode([code]);
        times.push(performance.now() - began);
    }
    return times.slice(5);
}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="short: does it run? The numbers mean nothing")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print a table; 1 where a target is missed."""
    if chromium() is None:
        print("page: no chromium here; `apt-get install chromium`")
        return int(os.environ.get("CI") == "true")
    with tempfile.TemporaryDirectory() as folder:
        files = exported(Path(folder))
        rows = [measured(name, file, arguments.quick) for name, file in files.items()]
    load = os.getloadavg()[0]
    print(f"exported pages in chromium; load of the machine {load:.1f} on {os.cpu_count()} cores\n")
    print("| page | MB | first picture, ms | pictures/s under the pointer | a picture, ms | kernel |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for row in rows:
        numbers = f"{row['bytes'] / 1e6:.2f} | {row['first']:.0f} | {row['frames']:.0f} | {row['picture']:.1f}"
        print(f"| {row['page']} | {numbers} | {row['kernel']} |")
    if arguments.out:
        arguments.out.write_text(json.dumps({"load": load, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return int(not arguments.quick and any(missed(row) for row in rows))


def exported(folder: Path) -> dict[str, Path]:
    """Write the pages; the GAN is hardly trained, which costs the same."""
    brief = ["--images", "128", "--batch-size", "64", "--device", "cpu"]
    train = ["train", "dcgan", "--data", "toyfaces:200", *GENERATOR, *brief, "--out", str(folder / "run")]
    files = {name: folder / f"{name}.html" for name in TARGETS}
    for words in (
        train,
        ["export", str(folder / "run"), "--format", "html", "--out", str(files["dcgan"])],
        ["export", "--format", "html", "--out", str(files["faces"])],
    ):
        subprocess.run([MORPHO, *words], check=True, stdout=subprocess.DEVNULL)
    return files


def measured(name: str, file: Path, quick: bool) -> dict[str, Any]:
    """Open a page, move the pointer over it, and decode codes in it."""
    room, place = ("map", "canvas.map") if name == "faces" else ("sliders", ".pad")
    firsts = []
    for _ in range(1 if quick else OPENED):
        with browser_page() as page:
            page.add_init_script(WATCH)
            page.goto(f"{file.as_uri()}#room={room}")
            drawn(page)
            firsts.append(page.evaluate("window.put[0]"))
    with browser_page() as page:
        page.add_init_script(WATCH)
        page.goto(f"{file.as_uri()}#room={room}")
        drawn(page)
        page.wait_for_timeout(500)
        frames = moved(page, place, QUICK_SECONDS if quick else SECONDS)
        width = page.evaluate("morphospace.client.space.describe.latent_dim")
        times = page.evaluate(DECODE, [QUICK_PICTURES if quick else PICTURES, width])
        kernel = page.evaluate("morphospace.client.decoder.kind")
    return {
        "page": name,
        "bytes": file.stat().st_size,
        "first": statistics.median(firsts),
        "frames": frames,
        "picture": statistics.median(times),
        "kernel": kernel,
    }


def drawn(page: Any) -> None:
    """Wait for the first picture; asked from outside, as the page's own policy forbids to evaluate texts."""
    while not page.evaluate("window.put.length"):
        page.wait_for_timeout(20)


def moved(page: Any, place: str, seconds: float) -> float:
    """Move the pointer without a pause; how many pictures a second were drawn."""
    box = page.locator(place).bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    if place == ".pad":
        page.mouse.down()
    before, began, move = page.evaluate("window.put.length"), time.monotonic(), 0
    while time.monotonic() - began < seconds:
        move += 1
        page.mouse.move(
            box["x"] + 20 + (7 * move) % (box["width"] - 40), box["y"] + 20 + (3 * move) % (box["height"] - 40)
        )
        time.sleep(1 / 250)
    return float((page.evaluate("window.put.length") - before) / (time.monotonic() - began))


def missed(row: dict[str, Any]) -> bool:
    """Whether a row misses one of its targets."""
    targets = TARGETS[row["page"]]
    return any(row[what] < least if what == "frames" else row[what] > least for what, least in targets.items())
