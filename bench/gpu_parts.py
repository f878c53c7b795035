"""The parts of `bench gpu`, in a process of their own: python -m bench.gpu_parts [--dry] FOLDER.

Says where it runs; then reads the name of a part and the seconds of one timing, and says what it found, until its input
ends. Everything read and said is one JSON value a line. It ends after a part that failed, because an error of CUDA
leaves a process that can do nothing more: whoever started it starts another.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.flops import Flops
from bench.gpu_device import Device, device_for
from bench.images import fields
from bench.ours import engine_of
from morphospace.data.pack import Pack, in_memory_pack, open_pack
from morphospace.data.prepare import data_list
from morphospace.data.writer import PackWriter
from morphospace.runs.configuration import resolve
from morphospace.training.engine import Engine

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]
# A name, what is trained, what is set beside its defaults, side and channels of its images, and the batch.
MODELS: dict[str, tuple[str, dict[str, Any], int, int, int]] = {
    "mnist-vae": ("recipe:mnist-vae", {}, 28, 1, 128),
    "mnist-dcgan": ("recipe:mnist-dcgan", {}, 64, 1, 128),
    "conv-vae": ("recipe:celebamask-vae-celeba", {}, 64, 3, 32),
    "dcgan-64": ("dcgan", {}, 64, 3, 128),
    "wgan-gp-64": ("wgan-gp", {}, 64, 3, 128),
    "r3gan-64": ("r3gan", {}, 64, 3, 128),
    "dcgan-128": ("recipe:dcgan-128", {}, 128, 3, 64),
    "r3gan-128": ("r3gan", {}, 128, 3, 64),
}
# Models of which a step computes little, so that its calls take the time.
SMALL: dict[str, tuple[str, dict[str, Any], int, int, int]] = {
    "mnist-vae": MODELS["mnist-vae"],
    "vae-8x8": ("vae", {"widths": (32, 64), "latent_dim": 8}, 8, 1, 128),
    "dcgan-16x16": ("dcgan", {"widths": (32, 64), "latent_dim": 16}, 16, 1, 128),
}


class Failed(Exception):
    """A part that ran to its end and found something wrong."""


# -- what parts share --------------------------------------------------------------------------------------------


def images_for(size: int, channels: int, count: int) -> Pack:
    """Return smooth random images in memory."""
    return in_memory_pack("fields", fields(count, size=size, channels=channels, coarse=min(7, size)))


def engine_for(device: Device, model: tuple[str, dict[str, Any], int, int, int], pack: Pack | None = None, **more: Any):
    """Set a model of the tables up on the device."""
    name, settings, size, channels, batch = model
    batch, size = device.of(batch, 4), device.of(size, min(size, 32))
    pack = pack or images_for(size, channels, device.of(2048, 8))
    overrides = {**settings, **more, "batch_size": batch, "device": device.where.type, "data": "digits"}
    overrides |= device.of({}, {"widths": (8, 12)})
    recipe = name.removeprefix("recipe:") if name.startswith("recipe:") else None
    configuration = resolve(None if recipe else name, recipe, overrides)
    return engine_of(configuration, pack, steps=10**6)[1]


def rate(device: Device, step: Callable[[], None], images: int, seconds: float) -> float:
    """Return images/s of a step after a warm-up."""
    for _ in range(device.of(5, 0)):
        step()
    device.wait()
    began, took, steps = time.perf_counter(), 0.0, 0
    while not steps or took < seconds:
        for _ in range(device.of(10, 1)):
            step()
        device.wait()
        steps, took = steps + device.of(10, 1), time.perf_counter() - began
    return steps * images / took


def stepped(engine: Engine) -> Callable[[], None]:
    """Return the engine's step without its growing list of terms, which a report empties."""

    def step() -> None:
        engine.step()
        if engine.steps % 50 == 0:
            engine.sums.clear()
            engine.norms.clear()

    return step


def flop_per_image(engine: Engine) -> float:
    """Count the operations of a step, a mean over as many as it takes until every phase has had its turn."""
    steps = max(phase.every for phase in engine.phases)
    with Flops() as counter:
        for _ in range(steps):
            engine.step()
    return counter.total / steps / engine.images_per_step


def product_rate(device: Device, dtype: torch.dtype, size: int) -> float:
    """Return the TFLOP/s of square matrix products."""
    a, b = (torch.randn(size, size, device=device.where, dtype=torch.float32).to(dtype) for _ in range(2))
    out = torch.mm(a, b)
    seconds = []
    for _ in range(device.of(10, 2)):
        device.wait()
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        device.wait()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / median(seconds) / 1e12


# -- the parts ---------------------------------------------------------------------------------------------------


def card(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
    """Measure the card's rates: matrix products and copies."""
    size = device.of(8192, 128)
    rates = {
        name: product_rate(device, kind, size) for name, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32))
    }
    source = torch.empty(device.of(2**28, 2**12), device=device.where)
    target = torch.empty_like(source)
    device.wait()
    began = time.perf_counter()
    for _ in range(10):
        target.copy_(source)
    device.wait()
    copied = 10 * 2 * source.nbytes / (time.perf_counter() - began) / 1e9
    (folder / "rates.json").write_text(json.dumps(rates))
    yield {"what": f"matrix products of {size}x{size}", **{f"{name} TFLOP/s": value for name, value in rates.items()}}
    yield {"what": "copies on the card, bytes read and written", "GB/s": copied}


def of_model(name: str) -> Callable[[Device, Path, float], Iterator[Row]]:
    """Return the part that trains one model of the table."""

    def part(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
        engine = engine_for(device, MODELS[name])
        each = flop_per_image(engine)
        device.forget()
        images = rate(device, stepped(engine), engine.images_per_step, seconds)
        row = {"what": name, "precision": engine.precision, "batch": engine.data.batch_size, "images/s": images}
        row |= {"GFLOP per image": each / 1e9, "TFLOP/s": images * each / 1e12, "peak MiB": device.peak_mib()}
        rates = folder / "rates.json"
        if rates.is_file():
            row["share of the card's bf16 rate"] = row["TFLOP/s"] / json.loads(rates.read_text())["bf16"]
        yield row

    return part


def choice(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
    """Say what it costs that convolutions are repeatable."""
    for repeatable in (True, False):
        engine = engine_for(device, MODELS["dcgan-64"])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = repeatable, not repeatable
        try:
            images = rate(device, stepped(engine), engine.images_per_step, seconds)
        finally:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        how = "the same bytes each time" if repeatable else "the quickest kernels, not the same bytes"
        yield {"what": f"dcgan-64, {how}", "images/s": images}


def graphs(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
    """Train small models and larger ones call by call, and from CUDA graphs of their steps."""
    for name, model in {**SMALL, "dcgan-64": MODELS["dcgan-64"]}.items():
        rates, engine = {}, None
        for how in ("off", "auto"):
            del engine  # with all that it holds, which is in circles
            gc.collect()
            device.forget()
            engine = engine_for(device, model, graphs=how)
            for _ in range(device.of(40, 0)):  # until each kind of step is captured
                engine.step()
            rates[how] = rate(device, stepped(engine), engine.images_per_step, seconds), device.held_mib()
        row = {"what": name, **{f"images/s, graphs {how}": images for how, (images, _) in rates.items()}}
        row["auto / off"] = rates["auto"][0] / rates["off"][0]
        row["steps replayed"] = engine.graphs.replayed if engine.graphs else 0
        yield {**row, **{f"MiB held, graphs {how}": held for how, (_, held) in rates.items()}}


def compiled(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
    """Train with networks that torch compiles, call by call: graphs would hide what the compiler gains."""
    for name in ("mnist-vae", "conv-vae", "dcgan-64"):
        engine = engine_for(device, MODELS[name])
        plain = rate(device, stepped(engine), engine.images_per_step, seconds)
        engine = engine_for(device, MODELS[name], graphs="off")
        for network in engine.model.networks.values():
            device.compile(network)
        began = time.perf_counter()
        engine.step()
        device.wait()
        first = time.perf_counter() - began
        quick = rate(device, stepped(engine), engine.images_per_step, seconds)
        row = {"what": name, "images/s, graphs": plain, "images/s, compiled": quick, "compiled / graphs": quick / plain}
        yield {**row, "first step, s": first}


def streamed(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
    """Train the quickest model from images on the device, and from the disk."""
    for name, size, channels in (("mnist-vae", 28, 1), ("conv-vae", 64, 3)):
        size = device.of(size, 32)
        pack = written(folder / f"pack-{size}-{channels}", size, channels, device.of(20_000, 32))
        rates = {}
        for how, resident in (("resident", True), ("streamed", False)):
            engine = engine_for(device, MODELS[name], pack, resident=resident)
            rates[how] = rate(device, stepped(engine), engine.images_per_step, seconds)
        ratio = rates["streamed"] / rates["resident"]
        yield {"what": name, **{f"images/s, {how}": value for how, value in rates.items()}, "ratio": ratio}


def tests(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
    """Run the tests marked `cuda`."""
    try:
        import pytest
    except ImportError:
        raise Failed("needs pytest: install it, or name the parts to run with --only") from None
    seen = Outcomes()
    os.environ |= device.of({}, {"MORPHOSPACE_CUDA_STAND_IN": "cpu"})
    words = ["-q", "-m", "cuda", "-o", "addopts=", "-p", "no:cacheprovider"]
    words += [str(ROOT / "tests" / name / "test_cuda.py") for name in ("training", "tools")]
    words += device.of([], ["-k", "ae-mlp-fp32 or ae-mlp-near or (graph and ae-mlp) or streamed or tool"])
    if device.of(importlib.util.find_spec("xdist"), None):  # many small tests, and a lent GPU costs by the minute
        words += ["-n", str(max(1, min(12, (os.cpu_count() or 1) - 2)))]
    pytest.main(words, plugins=[seen])
    yield {"what": "tests marked cuda", "passed": seen.counts["passed"], "skipped": seen.counts["skipped"]}
    if seen.failed or not seen.counts["passed"]:
        raise Failed(f"{len(seen.failed)} tests failed: {', '.join(seen.failed) or 'none ran'}")


class Outcomes:
    """Counts what tests did; a plugin of pytest."""

    def __init__(self) -> None:
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take one report."""
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
            if report.outcome == "failed":
                self.failed.append(report.nodeid.rpartition("::")[2])


def celeba(device: Device, folder: Path, seconds: float) -> Iterator[Row]:
    """Train `celeba-dcgan` as published, for the time that is left; a run that is there goes on."""
    import signal

    import morphospace as ms
    from morphospace.tools.train.train import Hooks
    from morphospace.training.events import Event, Progressed

    here = any(info.name == "celeba" and info.here for info in data_list())
    count = device.of(20_000, 64)
    data = "celeba" if here and device.of(True, False) else str(written(folder / "pack-64-3", 64, 3, count).path)
    ends = time.perf_counter() + seconds

    def listen(event: Event) -> None:
        if isinstance(event, Progressed) and time.perf_counter() > ends:
            signal.raise_signal(signal.SIGTERM)  # as a scheduler does: the run saves and ends

    settings = device.of({}, {"images": 64, "widths": (8, 12, 16)})
    began, out = time.perf_counter(), folder / "celeba-dcgan"
    before = ms.load(out).images if (out / "run.toml").is_file() else 0
    hooks = Hooks(listeners=[listen])
    device.forget()
    where = {"data": data, "device": device.where.type}
    run = ms.train(recipe="celeba-dcgan", out=out, hooks=hooks, **where, **settings)  # type: ignore[call-overload]
    took = time.perf_counter() - began
    row = {"what": "celeba-dcgan", "images": "CelebA" if data == "celeba" else f"{count:,} synthetic ones, 64x64"}
    row |= {"images seen": run.images, "minutes": took / 60, "images/s, all in": (run.images - before) / took}
    yield {**row, "peak MiB": device.peak_mib()}


def written(folder: Path, size: int, channels: int, count: int) -> Pack:
    """Return a pack of smooth random images on disk, written if it is not there."""
    if not folder.is_dir():
        with PackWriter(folder) as writer:
            writer.append("train", "images", fields(count, size=size, channels=channels, coarse=7))
            names: dict[str, tuple[str, ...]] = {
                f"{kind}_names": () for kind in ("label", "attribute", "factor", "mask")
            }
            about = {"skipped": {"count": 0, "first": []}}
            writer.finish(name="fields", shape=(size, size, channels), names=names, about=about)
    return open_pack(folder)


PARTS: dict[str, Callable[[Device, Path, float], Iterator[Row]]] = {
    "card": card,
    **{name: of_model(name) for name in MODELS},
    "graphs": graphs,
    "streamed": streamed,
    "choice": choice,
    "compiled": compiled,
    "tests": tests,
    "celeba-dcgan": celeba,
}


# -- the process -------------------------------------------------------------------------------------------------


def main() -> None:
    """Say where this is, then do the parts that standard input names."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_parts", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry", action="store_true")
    arguments = parser.parse_args()
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what others print, pytest for one, is for people

    def say(**what: Any) -> None:
        said.write(json.dumps(what) + "\n")

    if not arguments.dry and not torch.cuda.is_available():
        say(missing="torch sees no CUDA device here; `--dry` tries the command on the CPU")
        return
    device = device_for(dry=arguments.dry)
    say(facts=device.facts())
    for text in sys.stdin:
        name, seconds = json.loads(text)
        try:
            for row in PARTS[name](device, arguments.folder, seconds):
                say(row=row)
        except Exception as error:
            if not isinstance(error, Failed):
                traceback.print_exc()
            say(error=str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}".splitlines()[0])
            return
        say(done=name)
        gc.collect()
        device.forget()


if __name__ == "__main__":
    main()
