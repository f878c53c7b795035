"""Use the tools on networks that were trained without this library.

Run it with `python examples/adopt_decoder.py`: it trains a small autoencoder of 8x8 digits in plain torch, adopts it,
and writes samples, reconstructions, a walk, principal components, projections and an exported decoder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import morphospace as ms

LATENT = 4


def encoder() -> nn.Module:
    """Images (B, 1, 8, 8) to codes (B, 4)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, LATENT))


def decoder() -> nn.Module:
    """Codes (B, 4) to images (B, 1, 8, 8) in [0, 1]."""
    layers = (nn.Linear(LATENT, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())
    return nn.Sequential(*layers, nn.Unflatten(1, (1, 8, 8)))


def fit(encode: nn.Module, decode: nn.Module, images: Tensor, steps: int) -> None:
    """Train as somebody else would: nothing here is of the library."""
    optimizer = torch.optim.Adam([*encode.parameters(), *decode.parameters()], 3e-3)
    for step in range(steps):
        batch = images[torch.randint(len(images), (64,), generator=torch.Generator().manual_seed(step))]
        loss = (decode(encode(batch)) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main(folder: Path, steps: int = 2000) -> ms.Run:
    """Train, adopt, and use the tools; return the run."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    encode, decode = encoder(), decoder()
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
    fit(encode, decode, images, steps)

    run = ms.adopt(decode, encode, shape=(8, 8, 1), latent_dim=LATENT, data="digits", out=folder / "adopted")
    ms.save_samples(run, folder / "samples.zip", n=16)
    ms.reconstruct(run, 16).picture().save(folder / "reconstructions.png")
    ms.interpolate(run, 0, 5).picture().save(folder / "walk.png")
    ms.pca(run).picture().save(folder / "components.png")
    ms.project(run, [0, 1, 2], refine=20).picture().save(folder / "projection.png")
    ms.export(run, folder / "decoder.pt", format="torchscript")
    return ms.load(folder / "adopted")


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    place.mkdir(parents=True, exist_ok=True)
    print(main(place))
