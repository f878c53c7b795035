"""A slider of the explorer beside a Gradio slider with the same decoder: from a key's stroke to the new image.

Each server runs in a process of its own, each page in the same chromium; the arrow key moves one slider, then the
other, a second between two strokes, because Gradio drops strokes that come while it answers. Timed is from the event's
own time until the image stands: on the canvas, or loaded in its element. Gradio is not among this project's
dependencies: give the Python of an environment that has it and torch (`--python`), or install it here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.studio import browser_page, chromium, served, trained

__all__ = ["add_arguments", "main"]

STROKES, QUICK_STROKES, WARMUP = 60, 4, 3
GAP_MS = 1000
SOURCE = str(Path(__file__).resolve().parents[1] / "src")
# The plainest program that a person would write.
PROGRAM = """
import sys
import gradio as gr
import torch
import morphospace as ms
decoder = ms.Decoder(sys.argv[1])
base = torch.randn(1, 100, generator=torch.Generator().manual_seed(0))
way = torch.nn.functional.one_hot(torch.tensor([0]), 100)
with gr.Blocks() as page:
    slider = gr.Slider(-4, 4, value=0, step=0.05, label="Dimension 0")
    image = gr.Image(height=256, width=256)
    slider.input(lambda far: decoder.frames(base + far * way)[0], slider, image, show_progress="hidden", queue=False)
_, address, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
print(address, flush=True)
sys.stdin.read()
"""
WATCH = """
window.times = [];
let struck = null;
const stands = () => {
    if (struck !== null) window.times.push(performance.now() - struck);
    struck = null;
};
addEventListener('keydown', (event) => { struck = event.timeStamp; }, true);
document.addEventListener('load', (event) => { if (event.target.tagName === 'IMG') stands(); }, true);
const put = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function (...given) { put.apply(this, given); stands(); };
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--python", default=sys.executable, help="a Python that can import gradio and torch")
    parser.add_argument("--quick", action="store_true", help="few strokes: does it run? The numbers mean nothing")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")


def main(arguments: argparse.Namespace) -> int:
    """Measure both and print a table; 1 where the explorer is the slower one."""
    if chromium() is None or not has_gradio(arguments.python):
        print("gradio: needs a chromium, and --python with gradio and torch in it; nothing measured")
        return int(chromium() is None and os.environ.get("CI") == "true")
    strokes = QUICK_STROKES if arguments.quick else STROKES
    with tempfile.TemporaryDirectory() as folder:
        run = trained(Path(folder) / "dcgan")
        with served([run]) as ours, gradio(arguments.python, run) as theirs, browser_page() as page:
            other = page.context.new_page()
            opened(page, f"{ours}#room=sliders&run=dcgan&seed=1&by=component", ".slider input[type=range]")
            opened(other, theirs, "input[type=range]")
            times = {"explorer": page, "Gradio": other}
            for _ in range(strokes + WARMUP):
                for one in times.values():
                    one.bring_to_front()
                    one.keyboard.press("ArrowRight")
                    one.wait_for_timeout(GAP_MS)
            rows = {name: one.evaluate("times")[WARMUP:] for name, one in times.items()}
    return told(rows, strokes, arguments)


def told(rows: dict[str, list[float]], strokes: int, arguments: argparse.Namespace) -> int:
    """Print what was measured."""
    print(f"one 64x64x3 image of a DCGAN's decoder, {strokes} strokes of a key on each slider, in turn\n")
    print("| slider | answered | median ms | p95 ms |\n| --- | ---: | ---: | ---: |")
    for name, times in rows.items():
        if not times:
            raise SystemExit(f"gradio: the {name} page showed no image")
        last = sorted(times)[int(0.95 * len(times))]
        print(f"| {name} | {len(times)} | {statistics.median(times):.1f} | {last:.1f} |")
    ratio = statistics.median(rows["Gradio"]) / statistics.median(rows["explorer"])
    print(f"\nGradio's median is {ratio:.1f} times the explorer's")
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(not arguments.quick and ratio < 1)


def opened(page: Any, address: str, slider: str) -> None:
    """Open a page and take its first slider in hand."""
    page.add_init_script(WATCH)
    page.goto(address)
    page.wait_for_selector(slider)
    page.wait_for_timeout(2 * GAP_MS)
    page.locator(slider).first.focus()


def has_gradio(python: str) -> bool:
    """Whether a Python has gradio."""
    return subprocess.run([python, "-c", "import gradio, torch"], capture_output=True).returncode == 0


@contextmanager
def gradio(python: str, run: Path) -> Iterator[str]:
    """Serve the decoder behind a Gradio slider; its address."""
    environment = {**os.environ, "PYTHONPATH": SOURCE, "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [python, "-c", PROGRAM, str(run)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert process.stdout
        line = next((line for line in process.stdout if "http://" in line), "")
        if not line:
            raise SystemExit("gradio: it did not start")
        yield "http://" + line.split("http://")[1].split()[0]
    finally:
        process.terminate()
        process.wait(20)
