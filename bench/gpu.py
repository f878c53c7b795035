"""Everything worth knowing about a GPU, quickest first, in eight minutes: rates, models, graphs, data, tests, CelebA.

Each result is printed as it comes, and saved. Run the command again and it goes on with what is missing or failed. A
part that fails never stops the others; the exit status is 1 if one failed or is left for want of time. `docs/gpu.md`
says how to run it on a machine without a network.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "main"]

# The parts in order, each with the seconds of one timing in it, and the most that it may take.
PARTS: dict[str, tuple[float, float]] = {
    "card": (0, 60),
    "mnist-vae": (3, 60),
    "mnist-dcgan": (3, 60),
    "conv-vae": (3, 60),
    "dcgan-64": (3, 60),
    "wgan-gp-64": (3, 60),
    "r3gan-64": (3, 60),
    "dcgan-128": (3, 60),
    "r3gan-128": (3, 60),
    "graphs": (2, 60),
    "streamed": (3, 60),
    "choice": (3, 60),
    "compiled": (2, 150),
    "tests": (0, 240),
    "celeba-dcgan": (60, 600),
}
LAST = "celeba-dcgan"  # takes what is left
LEAST = 20.0  # seconds, below which nothing is begun
AFTER = 20.0  # seconds that the last part needs to save and end
DRY = "DRY RUN: the CPU stands in for a GPU, with tiny sizes. Nothing was measured."
ROOT = Path(__file__).parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--dry", action="store_true", help="try every line on the CPU, with tiny sizes; measures nothing"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-results"), metavar="FOLDER", help="where results are kept"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="when to stop (default 8)")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--again", action="store_true", help="repeat what is there already")


def main(arguments: argparse.Namespace) -> int:
    """Do what is missing, and return the exit status: 0, 1 if something failed or is left, 2 without a GPU."""
    ends = time.monotonic() + 60 * arguments.minutes
    print(f"{DRY}\n" if arguments.dry else "", end="", flush=True)
    worker = Worker(arguments)
    facts = worker.facts()
    if facts is None:
        print(f"error: {worker.missing}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.out, facts, dry=arguments.dry)
    print(f"{facts['card']}; torch {facts['torch']}, Python {facts['python']}", flush=True)
    waiting = [name for name in arguments.only or PARTS if arguments.again or not results.done(name)]
    for name in [name for name in arguments.only or PARTS if name not in waiting]:
        print(f"{name}: kept from {results.file}", flush=True)
    left: list[str] = []
    while waiting:
        name = waiting.pop(0)
        most = min(PARTS[name][1], ends - time.monotonic())
        if not arguments.dry and most < LEAST:
            left.append(name)
            continue
        seconds = max(1.0, most - AFTER) if name == LAST else PARTS[name][0]
        results.begin(name)
        for said in worker.part(name, 0.0 if arguments.dry else seconds, most if not arguments.dry else 600.0):
            if "row" in said:
                said = {"row": unmeasured(said["row"]) if arguments.dry else said["row"]}
                print(f"{name}: {line(said['row'])}", flush=True)
            results.take(name, said)
        if error := results.parts[name].get("error"):
            print(f"{name}: FAILED: {error}", flush=True)
    worker.end()
    failed = [name for name in arguments.only or PARTS if results.parts.get(name, {}).get("error")]
    done = len(arguments.only or PARTS) - len(failed) - len(left)
    print(
        f"{done} parts done, {len(failed)} failed{''.join(f', {name}' for name in failed)}, {len(left)} left",
        flush=True,
    )
    print(
        f"rows: {results.table}" + ("; run the same command again for the rest" if failed or left else ""), flush=True
    )
    print(f"{DRY}\n" if arguments.dry else "", end="", flush=True)
    return 1 if failed or left else 0


def unmeasured(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without its figures, so that nobody takes them for measurements."""
    return {name: None if isinstance(value, float) else value for name, value in row.items()}


def line(row: dict[str, Any]) -> str:
    """Return a row in words.

    >>> line({"what": "mnist-vae", "images/s": 123456.7, "ratio": 0.95})
    'mnist-vae; images/s 123,457; ratio 0.95'
    """
    what = [str(row["what"])] if "what" in row else []
    return "; ".join([*what, *(f"{name} {number(value)}" for name, value in row.items() if name != "what")])


def number(value: Any) -> str:
    """Return a cell's text."""
    if value is None:
        return "not measured"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Results:
    """What was found, saved after every line.

    Args:
        folder: Where it is kept: a JSON file and a Markdown file for each card and version of torch.
        facts: Where it was found.
        dry: Whether nothing was measured.

    Attributes:
        parts: Rows and error of each part.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], *, dry: bool) -> None:
        name = "dry" if dry else re.sub(r"[^\w.]+", "-", f"{facts['card']}-{facts['torch']}")
        self.file, self.table = folder / f"{name}.json", folder / f"{name}.md"
        self.facts, self.dry = facts, dry
        self.parts: dict[str, dict[str, Any]] = {}
        if not dry and self.file.is_file():
            self.parts = json.loads(self.file.read_text(encoding="utf-8"))["parts"]

    def done(self, name: str) -> bool:
        """Return whether a part is there, and ended well."""
        return bool(self.parts.get(name, {}).get("done"))

    def begin(self, name: str) -> None:
        """Forget what was found of a part before."""
        self.parts[name] = {"rows": []}

    def take(self, name: str, said: dict[str, Any]) -> None:
        """Take what a part says."""
        part = self.parts[name]
        if "row" in said:
            part["rows"].append(said["row"])
        part |= {key: said[key] for key in ("error", "done") if key in said}
        text = json.dumps({"dry": self.dry, "facts": self.facts, "parts": self.parts}, indent=2)
        self.file.write_text(text + "\n", encoding="utf-8")
        self.table.write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """Return the rows as tables, one for each kind of row."""
        lines = [f"{DRY}\n" if self.dry else f"Measured on {line(self.facts)}.\n"]
        heads: list[str] = []
        for name, part in self.parts.items():
            for row in part["rows"]:
                if list(row) != heads:
                    heads = list(row)
                    lines += ["", f"| {' | '.join(heads)} | card |", f"|---|{'---:|' * (len(heads) - 1)}---|"]
                lines.append(f"| {' | '.join(map(number, row.values()))} | {self.facts['card']} |")
            if "error" in part:
                lines += ["", f"{name}: failed: {part['error']}"]
                heads = []
        return "\n".join(lines) + "\n"


def command_of(arguments: argparse.Namespace) -> list[str]:
    """Return what starts the process that does the parts."""
    dry = ["--dry"] if arguments.dry else []
    return [sys.executable, "-m", "bench.gpu_parts", *dry, str(arguments.out.absolute())]


class Worker:
    """The process that does the parts; another is started when one ends.

    Args:
        arguments: Of the command.

    Attributes:
        missing: Why there is nothing to measure on.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.command = command_of(arguments)
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.missing = ""

    def facts(self) -> dict[str, Any] | None:
        """Start a process if there is none, and return where it runs; None if nothing can be measured."""
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, args=(self.process, self.lines), daemon=True).start()
        said = self.lines.get() or {"missing": "the process ended before it began; what it said stands above"}
        self.missing = said.get("missing", "")
        return said.get("facts")

    @staticmethod
    def read(process: subprocess.Popen[str], lines: queue.Queue[dict[str, Any] | None]) -> None:
        """Pass on what a process says, and that it has ended."""
        assert process.stdout is not None
        for text in process.stdout:
            lines.put(json.loads(text))
        lines.put(None)

    def part(self, name: str, seconds: float, most: float) -> Iterator[dict[str, Any]]:
        """Do a part, and yield its rows and how it ended."""
        if self.process is None and self.facts() is None:
            yield {"error": self.missing}
            return
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, as the next line says
            self.process.stdin.write(json.dumps([name, seconds]) + "\n")
            self.process.stdin.flush()
        ends = time.monotonic() + most
        while True:
            try:
                said = self.lines.get(timeout=max(0.1, ends - time.monotonic()))
            except queue.Empty:
                said = {"error": f"took more than {most:.0f} s, and was ended"}
            if said is None:
                said = {"error": f"the process ended, with status {self.process.wait()}"}
            if "row" in said or "done" in said or "error" in said:
                yield said
            if "error" in said:
                self.end()
                return
            if "done" in said:
                return

    def end(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None
