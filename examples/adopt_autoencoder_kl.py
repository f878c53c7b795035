"""Use the tools on the autoencoder of a latent diffusion model: `AutoencoderKL` of the library diffusers.

Run it with `python examples/adopt_autoencoder_kl.py`. It adopts a tiny one with random weights, made from its
configuration, so that nothing is downloaded and the pictures show noise. With a trained one the same lines show faces
or landscapes, at 256x256 pixels or more:

    vae = AutoencoderKL.from_pretrained("stabilityai/sd-vae-ft-mse")
    run = adopted(vae, size=256, data="folder:photos", out="runs/kl")

Its codes are small images, (C, h, w): they are flattened to D = C h w numbers, and made images again for the decoder.
They do not lie as N(0, I) does, because a diffusion model is their prior: so samples come from a mixture fitted to the
codes of your images, and show how far a mixture gets. Reconstructions, walks between pictures, components and the map
say more of such a model.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

import morphospace as ms


class Encode(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] to mean and log variance of codes, (B, D) each."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder, self.head, self.scale = vae.encoder, vae.quant_conv, vae.config.scaling_factor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(images)
        mean, log_variance = (features if self.head is None else self.head(features)).chunk(2, dim=1)
        scaled = log_variance.clamp(-30, 20) + 2 * math.log(self.scale)
        return mean.flatten(1) * self.scale, scaled.flatten(1)


class Decode(nn.Module):
    """Codes (B, D) to images (B, 3, H, W) in [-1, 1]."""

    def __init__(self, vae: AutoencoderKL, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.decoder, self.head, self.scale = vae.decoder, vae.post_quant_conv, vae.config.scaling_factor
        self.shape = shape

    def forward(self, codes: Tensor) -> Tensor:
        latents = codes.unflatten(1, self.shape) / self.scale
        return self.decoder(latents if self.head is None else self.head(latents)).clamp(-1, 1)


def adopted(vae: AutoencoderKL, size: int, data: Any, out: str | Path) -> ms.Run:
    """Make a run of it.

    Args:
        vae: The autoencoder.
        size: Height and width of the images; a multiple of the side of its latent pixels.
        data: Images, as for `ms.adopt`.
        out: The run's folder.
    """
    vae = vae.eval().requires_grad_(False)
    side = size // 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (vae.config.latent_channels, side, side)
    how: dict[str, Any] = {"shape": (size, size, 3), "latent_dim": math.prod(shape), "signed": True, "data": data}
    return ms.adopt(Decode(vae, shape), Encode(vae), **how, out=out, say=print)


def tiny(seed: int = 0) -> AutoencoderKL:
    """Make a tiny one with random weights."""
    torch.manual_seed(seed)
    down, up = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    return AutoencoderKL(
        down_block_types=down, up_block_types=up, block_out_channels=(8, 16), latent_channels=2, norm_num_groups=4
    )


def main(folder: Path) -> ms.Run:
    """Adopt a tiny one, and use the tools; return the run."""
    y, x = np.mgrid[0:16, 0:16]
    middles = np.random.default_rng(0).uniform(4, 12, (96, 2, 1, 1))
    discs = (np.hypot(y - middles[:, 0], x - middles[:, 1]) < 4).astype(np.uint8) * 255
    images = np.repeat(discs[..., None], 3, axis=3)

    run = adopted(tiny(), 16, images, folder / "kl")
    ms.reconstruct(run, 16).picture().save(folder / "reconstructions.png")
    ms.interpolate(run, 0, 5).picture().save(folder / "walk.png")
    ms.pca(run).picture().save(folder / "components.png")
    ms.latent_map(run, 64).picture().save(folder / "map.png")
    for result in ms.evaluate(run, n=32, metrics=["mse", "fd"], features="pixels").results:
        print(result.name, result.text())
    return run


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    place.mkdir(parents=True, exist_ok=True)
    print(main(place))
