"""The explorer's server: one client alone, then 50 clients while others attack it.

It serves the drawn faces that come with the package (or `--run`) in a process of its own; what attacks it has another.
Alone, one client asks for one image after the other, as a hand on a slider does. Then 50 clients ask at a steady pace,
each in its own time: nine of ten questions decode an image, the others ask for the runs and for a run's facts. Of
10,000 questions they ask 1,000 while nothing else happens. During the others, 450 connections are held that never
finish their header and come again when they are closed, and small files of large pictures and broken ones are uploaded
one after the other (8000x8000 as PNG and JPEG, one that claims 10 gigapixels). Every answer is checked to be no error.
Resident memory is read before the attack and twenty seconds after it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import io
import json
import multiprocessing
import random
import statistics
import struct
import subprocess
import sys
import time
import zlib
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from bench.report import machine

__all__ = ["add_arguments", "main"]

QUESTIONS, WARMUP, STRIP = 10_000, 20, 30
CLIENTS, HALF_OPEN, PER_SECOND = 50, 450, 25
SETTLE_SECONDS = 20.0
ALONE_MS, STRIP_MS, CROWD_P95_MS, GROWN_MB = 16.0, 120.0, 20.0, 50.0
SERVE = "import sys; from morphospace.cli import main; sys.exit(main())"
Times = dict[str, list[float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="few questions: does it run? The numbers mean nothing")
    parser.add_argument("--run", type=Path, help="a run to ask, in place of the drawn faces")
    parser.add_argument("--rate", type=float, default=PER_SECOND, help="questions a second, of all clients together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which the clients ask")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print a table; 1 where a target is missed."""
    questions = QUESTIONS // 20 if arguments.quick else QUESTIONS
    runs = [str(arguments.run)] if arguments.run else []
    command = [sys.executable, "-c", SERVE, "studio", *runs, "--port", "0", "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            found = alone(address, questions // 10)
            found |= besieged(address, server.pid, questions, arguments.rate, arguments.seed)
        finally:
            server.terminate()
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores; {questions:,} questions, {arguments.rate:g} a second")
    print("\n| measured | value |\n| :--- | ---: |")
    for name, value in found.items():
        print(f"| {name} | {value:,.1f} |")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    met = found["alone: median ms"] < ALONE_MS and found["alone: 30 images, ms"] < STRIP_MS
    met &= found["attacked: decode p95 ms"] <= CROWD_P95_MS and found["memory kept after the attack, MB"] <= GROWN_MB
    return int(not met and not arguments.quick)


def dial(address: str) -> dict[str, Any]:
    """Return how a client connects."""
    return {"uri": address.replace("http", "ws") + "ws", "origin": address[:-1], "compression": None, "max_size": None}


def alone(address: str, questions: int) -> dict[str, float]:
    """Ask one question after the other."""
    from websockets.sync.client import connect

    with connect(**dial(address)) as socket:

        def asked(**fields: Any) -> float:
            began = time.perf_counter()
            socket.send(json.dumps({"kind": "decode", "run": "r0", "id": 1, **fields}))
            frame = socket.recv()
            assert b'"error"' not in frame[:2000]  # type: ignore[operator]
            return 1000 * (time.perf_counter() - began)

        taken = [asked(seeds=[number]) for number in range(questions + WARMUP)][WARMUP:]
        strip = statistics.median(asked(seeds=list(range(STRIP))) for _ in range(20))
    return {"alone: median ms": statistics.median(taken), "alone: p95 ms": p95(taken), "alone: 30 images, ms": strip}


def besieged(address: str, process: int, questions: int, rate: float, seed: int) -> dict[str, float]:
    """Ask as many clients do, in peace and while the server is attacked."""
    peace = asyncio.run(crowd(address, questions // 10, rate, seed))
    found = {"memory before the attack, MB": resident_mb(process)}
    end, ready = multiprocessing.Event(), multiprocessing.Event()
    attacker = multiprocessing.Process(target=attack, args=(address, end, ready), daemon=True)
    attacker.start()
    ready.wait(60)
    war = asyncio.run(crowd(address, questions - questions // 10, rate, seed + 1))
    found["memory under attack, at the end, MB"] = resident_mb(process)
    end.set()
    attacker.join(60)
    time.sleep(SETTLE_SECONDS)
    after = resident_mb(process)
    found |= {
        "memory after it, MB": after,
        "memory kept after the attack, MB": after - found["memory before the attack, MB"],
    }
    for name, times in (("in peace", peace), ("attacked", war)):
        for kind, taken in times.items():
            found |= {f"{name}: {kind} median ms": statistics.median(taken), f"{name}: {kind} p95 ms": p95(taken)}
            found[f"{name}: {kind} longest ms"] = max(taken)
    return found


async def crowd(address: str, questions: int, rate: float, seed: int) -> Times:
    """Ask as many clients at once; the milliseconds that each kind of question took."""
    from websockets.asyncio.client import connect

    times: Times = {"decode": [], "runs": [], "describe": []}

    async def client(number: int) -> None:
        chance = random.Random(1000 * seed + number)
        gap = CLIENTS / rate
        async with connect(**dial(address)) as socket:
            due = time.perf_counter() + gap * chance.random()
            for index in range(questions // CLIENTS):
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += gap * chance.uniform(0.5, 1.5)
                kind = chance.choices(("decode", "runs", "describe"), (18, 1, 1))[0]
                fields = {"seeds": [1000 * number + index]} if kind == "decode" else {}
                began = time.perf_counter()
                await socket.send(json.dumps({"kind": kind, "run": "r0", "id": index, **fields}))
                frame = await socket.recv()
                times[kind].append(1000 * (time.perf_counter() - began))
                assert b'"error"' not in frame[:2000] and f'"id": {index}'.encode() in frame[:20_000]  # type: ignore[operator]

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
    return times


def attack(address: str, end: Event, ready: Event) -> None:
    """Hold half-open connections and upload bombs until the end."""
    asyncio.run(attacking(address, end, ready, bombs()))


async def attacking(address: str, end: Event, ready: Event, pictures: list[bytes]) -> None:
    """Do all of it at once."""
    name = address.split("/")[2]
    host, port = name.rsplit(":", 1)

    async def half_open() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET / HTTP/1.1\r\nHost: ")
                await reader.read()  # until the server closes it
                writer.close()
            await asyncio.sleep(1)

    async def upload() -> None:
        while True:
            for picture in pictures:
                await asyncio.to_thread(send_picture, name, picture)

    tasks = [asyncio.create_task(one()) for one in [half_open] * HALF_OPEN + [upload]]
    await asyncio.sleep(3)
    ready.set()
    await asyncio.to_thread(end.wait)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def send_picture(name: str, picture: bytes) -> None:
    """Upload a picture; whatever the answer is."""
    connection = http.client.HTTPConnection(name, timeout=60)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/picture", picture, {"Origin": f"http://{name}"})
        connection.getresponse().read()
    connection.close()


def bombs() -> list[bytes]:
    """Return small files of large pictures, and broken ones."""
    from PIL import Image

    jpeg = io.BytesIO()
    Image.new("L", (8000, 8000), 90).save(jpeg, "JPEG")
    large = png(8000, 8000, 8, 6)
    return [
        large,
        png(8000, 8000, 16, 0),
        jpeg.getvalue(),
        png(100_000, 100_000, 8, 0, rows=1),
        large[:-200],
        b"GIF89a",
    ]


def png(width: int, height: int, depth: int, colour: int, rows: int = 0) -> bytes:
    """Return a PNG of one colour; with fewer rows than its header says, if so many are given."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(1 + width * {0: 1, 6: 4}[colour] * depth // 8)
    packing = zlib.compressobj(6)
    data = b"".join(packing.compress(row) for _ in range(rows or height)) + packing.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def p95(taken: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(taken, n=20)[-1]


def resident_mb(process: int) -> float:
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS: this measurement needs Linux")
