"""Train a VAE with an encoder and a decoder of your own.

Run it with `python examples/own_networks.py`: it trains for a minute on 8x8 digits and writes own-networks.png.
The encoder returns mean and log variance as a pair, the decoder images of raw values (before the sigmoid).
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor, nn

import morphospace as ms

LATENT = 4


class Encoder(nn.Module):
    """Images (B, 1, 8, 8) to mean and log variance, (B, 4) each."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(128, LATENT), nn.Linear(128, LATENT)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance."""
        hidden = self.body(images)
        return self.mean(hidden), self.log_variance(hidden)


def decoder() -> nn.Module:
    """Codes (B, 4) to images (B, 1, 8, 8)."""
    return nn.Sequential(nn.Linear(LATENT, 128), nn.ReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))


def main(folder: Path, epochs: float = 20) -> ms.Run:
    """Train, and load the run again: the networks are handed over both times, because a run's files hold no code."""
    parts = {"encoder": Encoder(), "decoder": decoder()}
    hooks = ms.Hooks(say=print)
    settings = {"size": "8", "latent_dim": LATENT, "epochs": epochs, "device": "cpu"}
    ms.train("vae", data="digits", out=folder / "run", parts=parts, hooks=hooks, **settings)
    run = ms.load(folder / "run", parts={"encoder": Encoder(), "decoder": decoder()})
    ms.reconstruct(run, 16).picture().save(folder / "own-networks.png")
    return run


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
