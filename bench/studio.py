"""The studio in a real browser: from a pointer's move to the pixels on the canvas, and thirty pictures in one request.

A DCGAN's decoder (3.6 million parameters, 64x64) is served by `morpho studio`'s own server, in a process of its own as
a person runs it; chromium moves the pointer 300 times over the sliders' plane of seeds. What is timed begins at the
event's own time and ends when the image that answers it has been put on the canvas: the way there and back and the
queue are in it; the frame that begins next, and paints it, is a column of its own. With one other program per core but
one, the same again. Needs a chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.decode import beside

__all__ = ["add_arguments", "browser_page", "main", "served"]

MOVES, QUICK_MOVES, WARMUP = 300, 20, 20
GAP = 1 / 60  # seconds between two moves, as a hand's are
PICTURES, ROUNDS = 30, 15
TARGET_MS, TARGET_P95_MS, TARGET_PICTURES_MS = 16.0, 33.0, 120.0
MORPHO = str(Path(sys.executable).with_name("morpho"))
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
# Notes, for each image put on a canvas, the time since the move that it answers, and that of the frame after it.
WATCH = """
window.times = [];
window.frames = [];
let moved = null, heard = null;
const asked = new Map();
for (const name of ['pointerrawupdate', 'pointermove'])
    addEventListener(name, (event) => { moved = event.timeStamp; }, true);
window.WebSocket = class extends WebSocket {
    constructor(...given) {
        super(...given);
        this.addEventListener('message', ({ data }) => {
            const length = new DataView(data).getUint32(0, true);
            const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
            if (!facts.dropped && asked.has(facts.id)) heard = asked.get(facts.id);
        });
    }
    send(text) {
        if (moved !== null) asked.set(JSON.parse(text).id, moved);
        super.send(text);
    }
};
const put = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function (...given) {
    put.apply(this, given);
    if (heard === null) return;
    const began = heard;
    heard = null;
    window.times.push(performance.now() - began);
    requestAnimationFrame(() => window.frames.push(performance.now() - began));
};
"""
ASK = """async ([count, rounds]) => {
    const { Client } = await import('./client.js');
    const client = new Client();
    const times = [];
    for (let i = 0; i < rounds + 3; i++) {
        const began = performance.now();
        await client.ask('decode', { run: 'r0', seeds: [...Array(count).keys()].map((j) => i * count + j) });
        times.push(performance.now() - began);
    }
    return times.slice(3);
}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="few moves: does it run? The numbers mean nothing")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print a table; 1 where a target is missed."""
    if chromium() is None:
        print("studio: no chromium here; `apt-get install chromium`")
        return int(os.environ.get("CI") == "true")
    moves = QUICK_MOVES if arguments.quick else MOVES
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows = []
    with tempfile.TemporaryDirectory() as folder, served([trained(Path(folder) / "dcgan")]) as address:
        for busy in (0, max(1, cores - 1)):
            with beside(busy), browser_page() as page:
                rows.append({"busy": busy, **measured(page, address, moves)})
    print(f"one 64x64x3 image of a DCGAN's decoder, {moves} moves; {PICTURES} images a request; {cores} cores\n")
    print(f"| other programs | move to canvas, ms | p95 ms | next frame, ms | moves shown | {PICTURES} pictures, ms |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        numbers = (
            f"{row['median']:.1f} | {row['p95']:.1f} | {row['frame']:.1f} | {row['shown']:.0%} | {row['pictures']:.0f}"
        )
        print(f"| {row['busy']} | {numbers} |")
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(not arguments.quick and any(missed(row) for row in rows))


def missed(row: dict[str, Any]) -> bool:
    """Whether a row is slower than the studio promises."""
    late = row["median"] > TARGET_MS or row["p95"] > TARGET_P95_MS
    return bool(late or (not row["busy"] and row["pictures"] > TARGET_PICTURES_MS))


def measured(page: Any, address: str, moves: int) -> dict[str, float]:
    """Move the pointer, then ask for many pictures."""
    page.add_init_script(WATCH)
    page.goto(f"{address}#room=sliders&run=dcgan&seed=1&by=component")
    page.wait_for_selector(".slider")
    box = page.locator(".pad").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for move in range(1, moves + WARMUP + 1):
        page.mouse.move(box["x"] + 20 + (7 * move) % 200, box["y"] + 20 + (3 * move) % 60)
        # Asleep, not asking the page how far it is: that would take the cores from what is timed.
        time.sleep(GAP)
    page.mouse.up()
    page.wait_for_timeout(300)
    times = sorted(page.evaluate("times")[WARMUP:])
    return {
        "median": statistics.median(times),
        "p95": times[int(0.95 * len(times))],
        "frame": statistics.median(page.evaluate("frames")[WARMUP:]),
        "pictures": statistics.median(page.evaluate(ASK, [PICTURES, ROUNDS])),
        "shown": len(times) / moves,
    }


def trained(folder: Path) -> Path:
    """Return a run of the decoder, hardly trained: that costs the same."""
    command = ["train", "dcgan", "--data", "toyfaces:200", "--images", "128", "--batch-size", "64", "--device", "cpu"]
    subprocess.run([MORPHO, *command, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


@contextmanager
def served(runs: list[Path]) -> Iterator[str]:
    """Run `morpho studio` as a person does; its address."""
    command = [MORPHO, "studio", *map(str, runs), "--port", "0", "--no-browser"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        line = process.stdout.readline()
        if "http://" not in line:
            raise SystemExit(f"studio: {line}{process.stdout.read()}")
        yield "http://" + line.split("http://")[1].split()[0]
    finally:
        process.terminate()
        process.wait(20)


def chromium() -> str | None:
    """Return the browser, if there is one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def browser_page(**context: Any) -> Iterator[Any]:
    """Open a page in a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS.split())
        yield browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context}).new_page()
        browser.close()
