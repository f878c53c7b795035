"""The page of simulations: training steps and frames a second, and the time to the first frame.

The trainer alone is measured in the page's own engine; the rest in the file that `morpho play` writes, in a headless
browser with a worker for each side. Batch 128, widths 64, 64, as in the table of `python -m bench modes`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.studio import browser_page, chromium

__all__ = ["add_arguments", "main", "serve_modules"]

PAGE = Path(__file__).parents[1] / "src" / "morphospace" / "studio" / "page"
HOME = "http://page.test/"
WIDE = "width:64,batch:128"
CASES: dict[str, dict[str, Any]] = {
    "non-saturating": {},
    "R1 + R2": {"r1": 0.02, "r2": 0.02},
    "wgan-gp, five critic turns": {"loss": "wasserstein", "gradient_penalty": 0.1, "turns": 5},
    "packing 2": {"packing": 2},
}
ENGINE = """async ([cases, seconds]) => {
    const { GAN } = await import('/play/gan.js'), { Coder } = await import('/play/coder.js'), out = {};
    const timed = (engine) => {
        for (let i = 0; i < 50; i++) engine.step();
        const start = performance.now();
        let steps = 0;
        while (performance.now() - start < 1000 * seconds) { engine.step(); steps += 1; }
        return (1000 * steps) / (performance.now() - start);
    };
    const wide = { width: 64, batch: 128 };
    for (const [name, settings] of Object.entries(cases)) out[name] = timed(new GAN({ ...wide, ...settings }));
    out['VAE of 8x8 digits'] = timed(new Coder({}));
    return out;
}"""
# Steps and drawn frames of every side, over some seconds at full speed.
COUNT = """() => [...document.querySelectorAll('canvas.plane')]
    .map((canvas) => [+canvas.dataset.steps, +canvas.dataset.drawn, performance.now()])"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument(
        "--repeats", type=int, default=5, help="times that the page is opened and played; medians are printed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if chromium() is None:
        print("no chromium here: `apt-get install chromium`")
        return 1
    from morphospace.studio.play_page import write_page

    found: dict[str, Any] = {}
    with browser_page() as page, tempfile.TemporaryDirectory() as folder:
        serve_modules(page)
        found["engine, steps/s"] = page.evaluate(ENGINE, [CASES, arguments.seconds])
        file = Path(folder) / "play.html"
        found["file, bytes"] = write_page(file)
        found["first frame, s"] = statistics.median(opened(page, file) for _ in range(arguments.repeats))
        for name, against in (("one side", "no"), ("two sides", "r1:0.2,r2:0.2")):
            tries = [played(page, file, against, arguments.seconds) for _ in range(arguments.repeats)]
            found[name] = [tuple(map(statistics.median, zip(*side, strict=True))) for side in zip(*tries, strict=True)]
    for name, value in found["engine, steps/s"].items():
        print(f"{name:30} {value:6.0f} steps/s")
    print(f"{'first frame':30} {found['first frame, s']:6.2f} s, of a file of {found['file, bytes'] / 1000:.0f} kB")
    for name in ("one side", "two sides"):
        rates = ", ".join(f"{steps:.0f} steps/s at {frames:.0f} frames/s" for steps, frames in found[name])
        print(f"{name + ' at full speed':30} {rates}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def serve_modules(page: Any) -> None:
    """Let a browser's page import the studio's modules by their paths, such as `/play/gan.js`, without a server."""

    def answer(route: Any) -> None:
        name = route.request.url.removeprefix(HOME)
        if not name:
            return route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
        if not (PAGE / name).is_file():
            return route.fulfill(status=404, body=name)
        route.fulfill(body=(PAGE / name).read_text(encoding="utf-8"), content_type="text/javascript")

    page.route(f"{HOME}**", answer)
    page.goto(HOME)


def opened(page: Any, file: Path, view: str = "sim=gan") -> float:
    """Open the file and return the seconds until its first frame is drawn."""
    page.goto("about:blank")
    page.goto(f"{file.as_uri()}#{view}")
    return float(
        page.evaluate(
            """() => new Promise((done) => {
                const look = () => document.querySelector('canvas.plane')?.dataset.drawn
                    ? done(performance.now() / 1000) : requestAnimationFrame(look);
                look();
            })"""
        )
    )


def played(page: Any, file: Path, against: str, seconds: float) -> list[tuple[float, float]]:
    """Play at full speed and return steps and frames a second of every side."""
    opened(page, file, f"sim=gan&preset=collapse&set={WIDE}&vs={against}")
    page.get_by_label("Speed").select_option("full")
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_timeout(500)
    before = page.evaluate(COUNT)
    # A run ends by itself: no longer than it takes.
    page.wait_for_timeout(min(seconds, 1.5) * 1000)
    after = page.evaluate(COUNT)
    took = (after[0][2] - before[0][2]) / 1000
    return [((b[0] - a[0]) / took, (b[1] - a[1]) / took) for a, b in zip(before, after, strict=True)]
