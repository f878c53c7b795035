"""The studio's server by itself: how long a decoded image takes there and back, and whether memory stays flat.

The network is that of `bench studio`, a DCGAN's decoder of 64x64 images (3.6 million parameters), hardly trained.
Questions go over a real websocket on this machine, one after the other, as a hand on a slider asks them; the server has
a process of its own, whose resident memory is read after the first thousand questions and after the last.
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

from bench.studio import trained

__all__ = ["add_arguments", "main"]

QUESTIONS, QUICK_QUESTIONS, WARMUP, STRIP = 10_000, 300, 20, 30
TARGET_MS, STRIP_MS, GROWN_MB = 16.0, 120.0, 16.0
SERVE = "import sys; from morphospace.cli import main; sys.exit(main())"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="few questions: does it run? The numbers mean nothing")
    parser.add_argument("--run", type=Path, help="a run to ask, in place of a DCGAN that is trained for a moment")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print a table; 1 where a target is missed."""
    with tempfile.TemporaryDirectory(prefix="morphospace-bench-") as folder:
        run = arguments.run or trained(Path(folder) / "dcgan")
        command = [sys.executable, "-c", SERVE, "studio", str(run), "--port", "0", "--no-browser", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                address = json.loads(server.stdout.readline())["address"]
                found = measured(address, server.pid, QUICK_QUESTIONS if arguments.quick else QUESTIONS)
            finally:
                server.terminate()
    print("| measured | value |\n| :--- | ---: |")
    for name, value in found.items():
        print(f"| {name} | {value:,.2f} |")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    met = found["median ms"] < TARGET_MS and found["30 images ms"] < STRIP_MS and found["grown MB"] < GROWN_MB
    return int(not met and not arguments.quick)


def measured(address: str, process: int, questions: int) -> dict[str, float]:
    """Ask so many questions."""
    from websockets.sync.client import connect

    with connect(address.replace("http", "ws") + "ws", origin=address[:-1], compression=None, max_size=None) as socket:  # type: ignore[arg-type]

        def asked(**fields: Any) -> float:
            began = time.perf_counter()
            socket.send(json.dumps({"kind": "decode", "run": "r0", "id": 1, **fields}))
            frame = socket.recv()
            assert b'"error"' not in frame[:2000]  # type: ignore[operator]
            return 1000 * (time.perf_counter() - began)

        for seed in range(WARMUP):
            asked(seeds=[seed])
        taken: list[float] = []
        early = 0.0
        for number in range(questions):
            taken.append(asked(seeds=[number]))
            if number == questions // 10:
                early = resident_mb(process)
        late = resident_mb(process)
        strip = statistics.median(asked(seeds=list(range(STRIP))) for _ in range(20))
    cuts = statistics.quantiles(taken, n=20)
    return {
        "questions": float(questions), "median ms": statistics.median(taken), "p95 ms": cuts[-1],
        "longest ms": max(taken), "30 images ms": strip, "resident MB": late, "grown MB": late - early,
    }  # fmt: skip


def resident_mb(process: int) -> float:
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS: this measurement needs Linux")
