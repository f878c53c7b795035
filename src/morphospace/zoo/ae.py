"""Autoencoder (Hinton & Salakhutdinov 2006): the baseline whose codes have no prior until one is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model, checked
from morphospace.models.distributions import DiagonalGaussian, Point, likelihood_for
from morphospace.models.towers import MLP, ConvDecoder, ConvEncoder, Look, auto_widths, initialise
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings import AESettings

if TYPE_CHECKING:
    from morphospace.data.batches import Batch

__all__ = ["AE"]


class AE(Model):
    """Encoder and decoder, trained to minimise -log p(x | z = encoder(x))."""

    settings: AESettings
    replaceable = ("encoder", "decoder")
    averaged = ("encoder", "decoder", "likelihood")
    code_outputs = 1  # numbers the encoder gives for each latent dimension

    def __init__(
        self,
        settings: AESettings,
        shape: tuple[int, int, int],
        parts: Mapping[str, nn.Module],
        conditioning: Conditioning | None = None,
    ) -> None:
        super().__init__(settings, shape, parts, conditioning)
        s = settings
        self.likelihood = likelihood_for(s.likelihood, signed=s.signed, variance=s.variance, sigma=s.sigma)
        outputs = self.code_outputs * s.latent_dim
        raw = (shape[2] * self.likelihood.outputs_per_value, *shape[:2])
        if "encoder" in parts:
            self.encoder = checked(parts["encoder"], "encoder", torch.zeros(2, shape[2], *shape[:2]), (2, outputs))
        else:
            self.encoder = initialise(self.make_encoder(outputs), s.init)
        if "decoder" in parts:
            self.decoder = checked(parts["decoder"], "decoder", torch.zeros(2, s.latent_dim), (2, *raw))
        else:
            self.decoder = initialise(self.make_decoder(raw), s.init)
        self.networks = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder, "likelihood": self.likelihood})
        self.prior = None
        # What one image's -log p weighs in the loss, see `AESettings.reduction`.
        self.weight = 1 / math.prod(shape) if s.reduction == "mean" else 1.0

    @property
    def widths(self) -> tuple[int, ...]:
        """The encoder's widths, as set or as chosen from the image's shape."""
        if self.settings.widths:
            return self.settings.widths
        return auto_widths(self.shape, 32) if self.settings.tower == "conv" else (512, 256)

    @property
    def look(self) -> Look:
        """What the inner layers have in common."""
        return Look(norm=self.settings.norm, activation=self.settings.activation, slope=self.settings.slope)

    def make_encoder(self, outputs: int) -> nn.Module:
        """Build the encoder that the settings describe."""
        if self.settings.tower == "mlp":
            return MLP(math.prod(self.shape), self.widths, outputs, self.look)
        return ConvEncoder(self.shape, self.widths, outputs, self.look)

    def make_decoder(self, raw: tuple[int, int, int]) -> nn.Module:
        """Build the encoder's mirror, with raw images (C, H, W) as output."""
        inputs, widths = self.latent_dim, self.widths[::-1]
        if self.settings.tower == "mlp":
            return MLP(inputs, widths, raw, self.look)
        return ConvDecoder(inputs, widths, (*self.shape[:2], raw[0]), self.look)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Point | DiagonalGaussian:
        """Return the code of images (B, C, H, W)."""
        return Point(self.encoder(images))

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the mean images (B, C, H, W) of codes (B, D)."""
        return self.likelihood.mean(self.decoder(z))

    def reconstruction(self, terms: Terms, raw: Tensor, images: Tensor) -> Terms:
        """Add -log p(x | z) to `terms`, and beside it the mean squared error a pixel, to watch."""
        terms.add("reconstruction", -self.likelihood.log_prob(raw, images), self.weight)
        with torch.no_grad():
            return terms.note("mse", (self.likelihood.mean(raw) - images) ** 2)

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return -log p(x | encoder(x)) of a batch."""
        return self.reconstruction(Terms(), self.decoder(self.encoder(batch.images)), batch.images)

    def rounds(self) -> Sequence[Round]:
        """One player: encoder, decoder and likelihood together."""
        learns = (self.encoder, self.decoder, self.likelihood)
        return [Phase(self.settings.name, learns, self.loss, validates=True)]
