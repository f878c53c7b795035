"""Data larger than memory: streamed training beside resident, and what packing costs.

Training: the MLP VAE, the fastest consumer there is, on a pack four times larger than a cap on anonymous memory;
streamed from the memory map and resident in turn, each run in a process of its own, the page cache of the pack's files
dropped first. Packing: JPEG files to 64x64, one worker and all, beside a plain loop over the same files in one process;
then the peak memory of packing few and many files. A row's figure is the median of the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["add_arguments", "main"]

SIDE, BATCH = 28, 128
PHOTO = (218, 178)  # as large as an aligned CelebA picture
PACKED = 64
DIFFERENT = 64  # pictures; the others are links to them
LEAST_CAP_MIB = 400  # torch and the network alone take about 250


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run? The numbers mean nothing")
    parser.add_argument("--cap-mib", type=int, default=512, help="cap on anonymous memory; the pack is 4 times this")
    parser.add_argument("--steps", type=int, help="timed steps of each run (default 4,000)")
    parser.add_argument("--pairs", type=int, help="runs of each side (default 3)")
    parser.add_argument("--files", type=int, nargs=2, help="files whose packing memory is compared (2,000 and 200,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number measured to FILE as well")


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit status: 1 if the cap was broken."""
    quick = arguments.quick
    steps, pairs = arguments.steps or (20 if quick else 4000), arguments.pairs or (1 if quick else 3)
    few, many = arguments.files or ((40, 400) if quick else (2_000, 200_000))
    if arguments.cap_mib < LEAST_CAP_MIB:
        print(f"error: --cap-mib {arguments.cap_mib}: must be at least {LEAST_CAP_MIB}", file=sys.stderr)
        return 2
    pack_mib = 16 if quick else 4 * arguments.cap_mib
    with tempfile.TemporaryDirectory(prefix="morphospace-bench-", dir=os.environ.get("MORPHOSPACE_CACHE")) as name:
        folder = Path(name)
        trained = _training(folder, pack_mib, steps, pairs)
        packed = _packing(folder, few, many, pairs)
    streamed = [run["rate"] for run in trained["streamed"]]
    resident = [run["rate"] for run in trained["resident"]]
    peak = max(run["peak_anonymous_mib"] for run in trained["streamed"])
    print(f"MLP VAE, pack of {pack_mib:,} MiB, batch {BATCH}, {steps:,} steps, {pairs} runs of each side:\n")
    print("| | images/s | first tenth of the steps | peak anonymous MiB |\n|---|---:|---:|---:|")
    for side, runs in trained.items():
        rates = [f"{median(run[key] for run in runs):,.0f}" for key in ("rate", "first", "peak_anonymous_mib")]
        print(f"| {side} | {' | '.join(rates)} |")
    ratio = median(streamed) / median(resident)
    print(f"\nstreamed / resident {ratio:.2f}; cap {arguments.cap_mib} MiB\n")
    print("| packing | images/s | images/s per core | peak MiB |\n|---|---:|---:|---:|")
    for label, runs in packed.items():
        rate, each, most = (median(run[key] for run in runs) for key in ("rate", "per_core", "peak_mib"))
        print(f"| {label} | {rate:,.0f} | {each:,.0f} | {most:,.0f} |")
    if arguments.json:
        said = {"training": trained, "packing": packed, "pack_mib": pack_mib, "cap_mib": arguments.cap_mib}
        arguments.json.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    if peak > arguments.cap_mib:
        print(f"error: streamed training took {peak:.0f} MiB, above the cap of {arguments.cap_mib}", file=sys.stderr)
        return 1
    return 0


def _training(folder: Path, pack_mib: int, steps: int, pairs: int) -> dict[str, list[dict[str, Any]]]:
    pack = folder / "pack"
    _worker("make-pack", pack, pack_mib)
    runs: dict[str, list[dict[str, Any]]] = {"streamed": [], "resident": []}
    for pair in range(pairs):
        for side, done in runs.items():
            done.append(_worker("train", pack, side, steps))
            print(f"pair {pair + 1}, {side}: {done[-1]['rate']:,.0f} images/s", file=sys.stderr, flush=True)
    return runs


def _packing(folder: Path, few: int, many: int, pairs: int) -> dict[str, list[dict[str, Any]]]:
    cores = os.cpu_count() or 1
    sides = {"plain loop": ("plain", 1), "one worker": ("pack", 1), f"{cores} workers": ("pack", cores)}
    runs: dict[str, list[dict[str, Any]]] = {f"{label}, {few:,} files": [] for label in sides}
    _worker("make-files", folder / "few", few, *PHOTO)
    for _ in range(pairs):
        for done, (how, workers) in zip(runs.values(), sides.values()):
            done.append(_worker("pack", folder / "few", how, workers))
    _worker("make-files", folder / "many", many, 32, 32)
    _worker("make-files", folder / "less", few, 32, 32)
    for name, count in (("less", few), ("many", many)):
        print(f"packing {count:,} files", file=sys.stderr, flush=True)
        runs[f"one worker, {count:,} small files"] = [_worker("pack", folder / name, "pack", 1)]
    return runs


def _worker(*words: object) -> dict[str, Any]:
    """Run one of the tasks below in a process of its own and return what it printed last."""
    command = [sys.executable, "-m", "bench.streaming", *map(str, words)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


# -- in a process of its own ---------------------------------------------------------------------------------


def make_pack(out: Path, mib: int) -> dict[str, Any]:
    """Write a pack of noise of that size."""
    import numpy as np

    from morphospace.data.writer import PackWriter

    generator, left = np.random.default_rng(0), mib << 20
    with PackWriter(out) as writer:
        while left > 0:
            rows = generator.integers(0, 256, (4096, SIDE, SIDE, 1), dtype=np.uint8)
            writer.append("train", "images", rows)
            left -= rows.nbytes
        names: dict[str, tuple[str, ...]] = {f"{kind}_names": () for kind in ("label", "attribute", "factor", "mask")}
        writer.finish(name="noise", shape=(SIDE, SIDE, 1), names=names, about={"skipped": {"count": 0, "first": []}})
    return {}


def make_files(folder: Path, count: int, height: int, width: int) -> dict[str, Any]:
    """Write a few JPEG files and links to them under as many names."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    sources = [folder / f"{i:07d}.jpg" for i in range(min(count, DIFFERENT))]
    for i in range(count):
        name = folder / f"{i:07d}.jpg"
        if i < len(sources):
            coarse = generator.integers(0, 256, (9, 7, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(name, quality=90)
        else:
            name.hardlink_to(sources[i % len(sources)])
    return {}


def train(pack: Path, side: str, steps: int) -> dict[str, Any]:
    """Train on the pack, from the disk or from memory."""
    import time

    import torch

    from morphospace.data.batches import Batches
    from morphospace.data.pack import open_pack
    from morphospace.randomness import stream
    from morphospace.runs.configuration import resolve
    from morphospace.training.engine import Engine
    from morphospace.training.precision import choose_precision, keep_freed_blocks, to_device

    for file in pack.iterdir():
        _drop(file)
    keep_freed_blocks()
    watch = _Watch()
    configuration = resolve(recipe="mnist-vae", overrides={"batch_size": BATCH, "device": "cpu"})
    s, device = configuration.training, torch.device("cpu")
    torch.manual_seed(stream(s.seed, "weights"))
    opened = open_pack(pack)
    model = configuration.model.build(opened.shape)
    to_device(model.networks, device)
    resident = side == "resident"
    data = Batches(opened.split("train"), batch_size=BATCH, seed=0, signed=model.signed, resident=resident)
    precision = choose_precision(s.precision, device)
    engine = Engine(model, data, s, total_images=10**9, precision=precision)  # type: ignore[arg-type]
    model.networks.train()
    for _ in range(max(1, steps // 40)):
        engine.step()
    times = [time.perf_counter()]
    for _ in range(steps):
        engine.step()
        engine.sums.clear()
        times.append(time.perf_counter())
    tenth = max(1, steps // 10)
    return {
        "rate": steps * BATCH / (times[-1] - times[0]),
        "first": tenth * BATCH / (times[tenth] - times[0]),
        "peak_anonymous_mib": watch.most(),
    }


def pack(folder: Path, how: str, workers: int) -> dict[str, Any]:
    """Pack a folder by ours, or by the loop that anyone would write."""
    import time

    from morphospace.data.prepare import prepare
    from morphospace.data.settings import DataSettings

    count = sum(1 for _ in folder.iterdir())
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        began = time.perf_counter()
        if how == "plain":
            _plain(folder, Path(name) / "images.npy")
        else:
            settings = DataSettings(data=f"folder:{folder}", size=str(PACKED), channels=3)
            prepare(settings, out=Path(name) / "pack", workers=workers)
        rate = count / (time.perf_counter() - began)
    return {"rate": rate, "per_core": rate / workers, "peak_mib": _status("VmHWM") / 1024}


def _plain(folder: Path, out: Path) -> None:
    import numpy as np
    from PIL import Image, ImageOps

    rows = []
    for file in sorted(folder.iterdir()):
        with Image.open(file) as image:
            upright = ImageOps.fit(image.convert("RGB"), (PACKED, PACKED), Image.Resampling.BICUBIC)
            rows.append(np.asarray(upright))
    np.save(out, np.stack(rows))


def _drop(file: Path) -> None:
    """Ask the kernel to forget what it keeps of a file in memory."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _status(key: str) -> int:
    """KiB that Linux says of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


class _Watch:
    """Looks at the anonymous memory of this process, some fifty times a second."""

    def __init__(self) -> None:
        import threading

        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, _status("RssAnon"))

    def most(self) -> float:
        """End, and return the most MiB seen."""
        self._over.set()
        self._thread.join()
        return max(self._most, _status("RssAnon")) / 1024


def _task(words: list[str]) -> dict[str, Any]:
    task, folder, *rest = words
    if task == "make-pack":
        return make_pack(Path(folder), int(rest[0]))
    if task == "make-files":
        return make_files(Path(folder), *map(int, rest))
    if task == "train":
        return train(Path(folder), rest[0], int(rest[1]))
    return pack(Path(folder), rest[0], int(rest[1]))


if __name__ == "__main__":
    print(json.dumps(_task(sys.argv[1:])))
