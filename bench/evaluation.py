"""Likelihood and disentanglement: what 5,000 importance samples cost, and votes from codes beside votes from images.

The bound is that of a fully connected VAE (784-400-20-400-784, untrained: its time is the same) on binary images of
28 x 28. The FactorVAE metric has 10,000 + 5,000 votes of 64 images: from codes computed once (their computation
counted), and with a share of the votes whose images are encoded anew for each, as the metric is often written, scaled
up to all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "main"]

IMAGES, DRAWS, VOTES, AVERAGED, TIMED_VOTES = 10_000, 5000, 15_000, 64, 150
QUICK_IMAGES, QUICK_DRAWS = 20, 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="few images and draws: does it run?")
    parser.add_argument("--images", type=int, help=f"images of the bound (default {IMAGES:,})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number measured to FILE as well")


def main(arguments: argparse.Namespace) -> int:
    """Measure, print, and return the exit status."""
    images = arguments.images or (QUICK_IMAGES if arguments.quick else IMAGES)
    bound = measured_bound(images, QUICK_DRAWS if arguments.quick else DRAWS)
    votes = measured_votes(2000 if arguments.quick else IMAGES, 10 if arguments.quick else TIMED_VOTES)
    print(
        f"importance bound, k = {bound['k']:,}, {images:,} images: {bound['seconds']:.1f} s on {bound['threads']} "
        f"thread(s), {bound['draws_per_second']:,.0f} draws/s, {bound['extra_mib']:,.0f} MiB beyond the images"
    )
    print(
        f"FactorVAE metric, {VOTES:,} votes of {AVERAGED}: {votes['codes_seconds']:.2f} s from codes (of which "
        f"encoding {votes['encoding_seconds']:.2f} s), {votes['anew_seconds']:,.0f} s encoding anew for each vote "
        f"({votes['timed_votes']} votes timed): {votes['anew_seconds'] / votes['codes_seconds']:.0f} times as fast"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"bound": bound, "votes": votes}, indent=2) + "\n", encoding="utf-8")
    return 0


def _vae(shape: tuple[int, int, int], **settings: Any) -> Any:
    import torch

    from morphospace.zoo.settings_vae import VAESettings

    torch.manual_seed(0)
    return VAESettings(**settings).build(shape, {}, None).eval()


def measured_bound(images: int, k: int) -> dict[str, Any]:
    """Time the bound."""
    import torch

    from bench.worker import peak_mib
    from morphospace.evaluation.likelihood import importance_bound

    model = _vae((28, 28, 1), tower="mlp", widths=(400,), latent_dim=20)
    pixels = (torch.rand(images, 1, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    importance_bound(model, pixels[:2], k)
    before = peak_mib()
    began = time.perf_counter()
    found = importance_bound(model, pixels, k)
    seconds = time.perf_counter() - began
    return {
        "k": k,
        "images": images,
        "seconds": seconds,
        "draws_per_second": images * k / seconds,
        "extra_mib": peak_mib() - before,
        "threads": torch.get_num_threads(),
        "value": float(found.values.mean()),
    }


def measured_votes(images: int, timed: int) -> dict[str, Any]:
    """Time the FactorVAE metric both ways, on the same encoder and images of 64 x 64."""
    import numpy as np
    import torch

    from morphospace.evaluation.factors import Coded
    from morphospace.evaluation.votes import factor_vae_metric

    model = _vae((64, 64, 1), tower="conv", widths=(32, 32, 64, 64), latent_dim=10)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, 64, 64, 1), dtype=np.uint8)
    states = rng.integers(0, 8, (images, 5))

    def encode(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            parts = [
                model.encode(model.from_uint8(torch.from_numpy(pixels[rows[i : i + 256]]))).mean
                for i in range(0, len(rows), 256)
            ]
        return torch.cat(parts).numpy()

    began = time.perf_counter()
    means = encode(np.arange(images))
    encoded = time.perf_counter()
    factor_vae_metric(Coded(means, states, tuple("abcde"), (True,) * 5))
    voted = time.perf_counter()
    spread = means.std(0)
    for _ in range(timed):
        factor = rng.integers(5)
        rows = rng.choice(np.flatnonzero(states[:, factor] == rng.integers(8)), AVERAGED)
        (encode(rows) / spread).var(0).argmin()
    anew = (time.perf_counter() - voted) / timed * VOTES
    return {
        "encoding_seconds": encoded - began,
        "codes_seconds": voted - began,
        "anew_seconds": anew,
        "timed_votes": timed,
        "threads": torch.get_num_threads(),
    }
