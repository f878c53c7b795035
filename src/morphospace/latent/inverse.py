"""Train an encoder for a generator that has none, on its own images; the generator does not change."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import require
from morphospace.latent.project import at_rest, mean_squared, pyramid_error
from morphospace.models.contract import Decodes, Model
from morphospace.models.distributions import Point, full
from morphospace.models.towers import ConvEncoder, Look, auto_widths
from morphospace.randomness import stream
from morphospace.training.guard import check_loss

# Errors of images are some hundredths where those of codes are about one: brought to one scale.
IMAGE_WEIGHT = 10.0
BATCH = 64
JUDGED = 256
REPORT_EVERY = 50

RealImages = Callable[[int, int], tuple[Tensor, Tensor | None]]
Report = Callable[[int, float], None]


class GeneratorInverse(nn.Module):
    """Images (B, C, H, W) -> codes: halving convolutions, then one linear layer; a condition joins as planes.

    Args:
        shape: (H, W, C) of the images.
        latent_dim: D, of the generator's codes.
        widths: Channels of the layers; chosen from the shape when empty.
        conditions: Length K of the conditions, 0 where there are none.
    """

    def __init__(
        self, shape: tuple[int, int, int], latent_dim: int, widths: Sequence[int] = (), conditions: int = 0
    ) -> None:
        super().__init__()
        height, width, channels = shape
        self.widths = tuple(widths) or auto_widths(shape, 32, 256)
        self.conditions = conditions
        look = Look(activation="leaky", slope=0.2)
        self.tower = ConvEncoder((height, width, channels + conditions), self.widths, latent_dim, look)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map images in the generator's range, and conditions (B, K), to codes (B, D)."""
        if self.conditions:
            require(condition is not None, "condition", None, "a conditional generator needs what an image shows")
            assert condition is not None
            planes = condition.to(images)[:, :, None, None].expand(-1, -1, *images.shape[2:])
            images = torch.cat([images, planes], 1)
        return full(self.tower(images.contiguous(memory_format=torch.channels_last)))

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Point:
        """Return the codes of images, as every tool asks for them."""
        return Point(self(images, condition))


@dataclass(frozen=True)
class Fitted:
    """How well an encoder learned to undo its generator, on generated images that it was not trained on.

    Attributes:
        images: Images it was trained on.
        cosine: Mean cosine between z and E(G(z)).
        mse: Mean squared error a pixel between G(z) and G(E(G(z))), both in [0, 1].
        spread: Mean squared difference a pixel of two generated images, beside which `mse` is to be read.
    """

    images: int
    cosine: float
    mse: float
    spread: float


def train_inverse(
    model: Model,
    encoder: GeneratorInverse,
    *,
    images: int = 100_000,
    minutes: float | None = None,
    real: RealImages | None = None,
    lr: float = 1e-3,
    seed: int = 0,
    report: Report | None = None,
) -> Fitted:
    """Train an encoder on pairs (z, G(z)) of a generator, which does not change.

    min over E of  |E(G(z)) - z|^2 / D + 10 P(G(E(x)), x),  z ~ N(0, I), x = G(z),

    P being the mean squared error over three sizes of the image. With real images half of each batch is theirs, of
    which the second term alone is asked. The generator is in evaluation mode and no weight of it gets a gradient.

    Args:
        model: The generator's model; it decodes, and draws codes from its prior.
        encoder: What is trained, in place, and left in evaluation mode.
        images: How many to train on.
        minutes: Stop earlier when so many have passed; where it stops is then not repeatable.
        real: Given a step and a count, real images (n, C, H, W) in the model's range with their conditions.
        lr: Adam's rate, falling to 0 by a cosine.
        seed: Of codes and conditions.
        report: Called now and then with images seen and loss.

    Reference: Donahue, Krähenbühl & Darrell 2017, on learning the inverse afterwards; Zhu et al. 2020, "In-domain GAN
    inversion for real image editing", on the image term and real images.
    """
    require(images >= BATCH, "images", images, f"must be at least {BATCH}, one batch")
    require(minutes is None or minutes > 0, "minutes", minutes, "must be positive")
    parameters = list(encoder.parameters())
    optimizer = torch.optim.Adam(parameters, lr=lr)
    steps, began, step, done = math.ceil(images / BATCH), time.monotonic(), 0, 0.0
    with at_rest(model.networks), torch.enable_grad():
        encoder.train()
        while done < 1:
            step += 1
            loss = _loss(model, encoder, seed, step, real)
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
                parameter.grad = gradient
            optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.step()
            spent = 0.0 if minutes is None else (time.monotonic() - began) / (60 * minutes)
            done = min(1.0, max(step / steps, spent))
            if report is not None and (step % REPORT_EVERY == 0 or done == 1):
                report(step * BATCH, float(loss.detach()))
        check_loss(loss, "the encoder")
        encoder.eval()
        return _judged(model, encoder, seed, step * BATCH)


def _drawn(model: Model, seed: int, step: int | str, count: int) -> tuple[Tensor, Tensor | None]:
    """Draw codes (count, D) from the prior, and conditions (count, K) each as often as the next."""
    generator = torch.Generator().manual_seed(stream(seed, "inverse", step))
    noise = torch.randn(count, model.latent_dim, generator=generator)
    z = noise if model.prior is None else model.prior.from_noise(noise)
    if model.conditioning is None:
        return z.to(model.device), None
    every = model.conditioning.spread()
    chosen = torch.randint(len(every), (count,), generator=generator)
    return z.to(model.device), every[chosen].to(model.device)


def _decoded(model: Model, z: Tensor, condition: Tensor | None) -> Tensor:
    assert isinstance(model, Decodes)
    return full(model.decode(z.to(model.dtype), condition))


def _loss(model: Model, encoder: GeneratorInverse, seed: int, step: int, real: RealImages | None) -> Tensor:
    """Return the loss of one batch, generated and real images in one so that batch norm sees both."""
    count = BATCH if real is None else BATCH // 2
    z, condition = _drawn(model, seed, step, count)
    with torch.no_grad():
        shown = _decoded(model, z, condition)
    if real is not None:
        others, shown_as = real(step, BATCH - count)
        shown = torch.cat([shown, others.to(shown)])
        if condition is not None and shown_as is not None:
            condition = torch.cat([condition, shown_as.to(condition)])
    codes = encoder(shown, condition)
    rebuilt = _decoded(model, codes, condition)
    return functional.mse_loss(codes[:count], z) + IMAGE_WEIGHT * pyramid_error(rebuilt, shown, model.signed).mean()


@torch.no_grad()
def _judged(model: Model, encoder: GeneratorInverse, seed: int, images: int) -> Fitted:
    """Measure the encoder on images that it was not trained on."""
    z, condition = _drawn(model, seed, "judged", JUDGED)
    shown = _decoded(model, z, condition)
    codes = encoder(shown, condition)
    rebuilt = _decoded(model, codes, condition)
    close = functional.cosine_similarity(codes, z).mean()
    spread = mean_squared(shown.roll(1, 0), shown, model.signed).mean()
    return Fitted(images, float(close), float(mean_squared(rebuilt, shown, model.signed).mean()), float(spread))
