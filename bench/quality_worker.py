"""One contestant of `bench quality`, in a process of its own: python -m bench.quality_worker NAME IMAGES FOLDER ...

Reads minutes from standard input, a line each. Trains until it has had so many, stops its clock, writes samples to a
file, and says where they are, as one JSON object a line. Nothing is imported that the contestant does not need: pythae
runs under a Python of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.quality import CONTESTANTS, SIZE, Contestant, file_name

Train = Callable[[Callable[[int], None]], None]
Sample = Callable[[int, int], np.ndarray]
AT_ONCE = 250


class Over(Exception):
    """Nobody asks for more."""


class Course:
    """Trains up to one mark after another.

    Args:
        clock: Seconds of the processor, or on the wall.
        sample: Draws so many samples by a seed, uint8 (n, H, W, C).
        arguments: Of the command.
        say: Says what was reached.
    """

    def __init__(
        self, clock: Callable[[], float], sample: Sample, arguments: argparse.Namespace, say: Callable[..., None]
    ) -> None:
        self.clock, self.sample, self.arguments, self.say = clock, sample, arguments, say
        self.images = self.steps = 0
        self.mark = self.asked()
        self.began = clock()

    def asked(self) -> float:
        """Wait for the next mark, and return it in seconds."""
        line = sys.stdin.readline()
        if not line:
            raise Over
        return 60 * float(line)

    def tick(self, images: int) -> None:
        """Count a step; at a mark stop the clock, draw samples, and wait for the next mark."""
        self.images += images
        self.steps += 1
        seconds = self.clock() - self.began
        if seconds < self.mark:
            return
        a = self.arguments
        file = a.folder / f"{file_name(CONTESTANTS[a.contestant])}-{a.seed}-{self.steps}.npy"
        state = torch.get_rng_state()
        np.save(file, self.sample(a.samples, a.seed))
        torch.set_rng_state(state)
        self.say(samples=str(file), minutes=seconds / 60, images=self.images, steps=self.steps)
        self.mark = self.asked()
        self.began = self.clock() - seconds


def published(contestant: Contestant, arguments: argparse.Namespace) -> tuple[Train, Sample]:
    """Set a published loop up."""
    from bench.published import LOOPS, batches

    torch.manual_seed(arguments.seed)
    loop = LOOPS["tutorial_dcgan" if contestant.group == "gan" else "mnist_vae"](arguments.images)

    def train(tick: Callable[[int], None]) -> None:
        for images in batches(loop, 128, 0):
            loop.step(images)
            tick(len(images))

    def sample(count: int, seed: int) -> np.ndarray:
        network: Any = loop.networks[0]
        # The tutorial draws with batch norm in training mode; its VAE has none.
        decode = network if contestant.group == "gan" else network.decode
        shape = (100, 1, 1) if contestant.group == "gan" else (20,)
        return drawn(decode, shape, count, seed, signed=contestant.group == "gan")

    return train, sample


def pythae(contestant: Contestant, arguments: argparse.Namespace) -> tuple[Train, Sample]:
    """Set pythae up: its VAE, its MLP and its trainer, with the published loop's loss, batch and learning rate."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    pixels = torch.from_numpy(np.load(arguments.images)).permute(0, 3, 1, 2).float().div(255)
    data = BaseDataset(pixels, torch.zeros(len(pixels)))
    torch.manual_seed(arguments.seed)
    model = VAE(VAEConfig(input_dim=tuple(pixels.shape[1:]), latent_dim=20, reconstruction_loss="bce"))
    out = arguments.folder / "pythae"
    batch = {"per_device_train_batch_size": 128, "num_epochs": 10**6}
    settings = BaseTrainerConfig(
        output_dir=str(out), learning_rate=1e-3, no_cuda=True, keep_best_on_train=True, seed=arguments.seed, **batch
    )

    def train(tick: Callable[[int], None]) -> None:
        class Ticking(TrainingCallback):
            def on_train_step_end(self, training_config: Any, **more: Any) -> None:
                tick(128)

        BaseTrainer(model, data, training_config=settings, callbacks=[Ticking()]).train()

    def sample(count: int, seed: int) -> np.ndarray:
        found = drawn(lambda z: model.decoder(z)["reconstruction"], (20,), count, seed, signed=False)
        return found.reshape(count, SIZE, SIZE, -1)

    return train, sample


def ours(contestant: Contestant, arguments: argparse.Namespace) -> tuple[Train, Sample]:
    """Set our engine up."""
    from bench.ours import engine_of
    from morphospace.data.prepare import prepare
    from morphospace.models.contract import seeded_noise
    from morphospace.runs.configuration import resolve
    from morphospace.tools.train.batch_size import with_batch_size

    recipe = contestant.model.removeprefix("recipe:") if contestant.model.startswith("recipe:") else None
    where = {"data": arguments.data, "size": str(SIZE), "valid": 0.0, "device": "cpu", "seed": arguments.seed}
    settings = dict(contestant.settings)
    configuration = resolve(None if recipe else contestant.model, recipe, {**settings, **where})
    pack = prepare(configuration.data)
    configuration = with_batch_size(configuration, len(pack.split("train")))
    model, engine = engine_of(configuration, pack, steps=10**9)

    def train(tick: Callable[[int], None]) -> None:
        while True:
            engine.step()
            if engine.steps % 50 == 0:  # a report reads and empties them
                engine.sums.clear()
                engine.norms.clear()
            tick(engine.images_per_step)

    def sample(count: int, seed: int) -> np.ndarray:
        codes = seeded_noise(count, model.latent_dim, seed)
        with engine.judging():
            parts = [model.to_uint8(model.decode(part)) for part in codes.split(AT_ONCE)]
        return torch.cat(parts).numpy()

    return train, sample


@torch.no_grad()
def drawn(
    decode: Callable[[Tensor], Tensor], shape: tuple[int, ...], count: int, seed: int, *, signed: bool
) -> np.ndarray:
    """Decode standard normal codes to uint8 images (count, H, W, C)."""
    codes = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
    images = torch.cat([decode(part) for part in codes.split(AT_ONCE)])
    images = (images + 1) / 2 if signed else images
    flat = images.reshape(count, -1, SIZE, SIZE).permute(0, 2, 3, 1)
    return (flat * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def main() -> None:
    """Train as far as standard input asks."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality_worker", description=__doc__)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("images", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true")
    arguments = parser.parse_args()
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is for people

    def say(**what: Any) -> None:
        said.write(json.dumps(what) + "\n")

    torch.set_num_threads(arguments.threads)
    contestant = CONTESTANTS[arguments.contestant]
    make = ours if contestant.ours else pythae if contestant.name == "pythae" else published
    train, sample = make(contestant, arguments)
    clock = time.perf_counter if arguments.wall else time.process_time
    with contextlib.suppress(Over):
        train(Course(clock, sample, arguments, say).tick)


if __name__ == "__main__":
    main()
