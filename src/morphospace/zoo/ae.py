"""Autoencoder (Hinton & Salakhutdinov 2006): the baseline, whose codes have no prior until one is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.contract import Model
from morphospace.models.distributions import Point, Posterior
from morphospace.models.likelihoods import Likelihood, likelihood_for
from morphospace.models.towers import MLP, ConvDecoder, ConvEncoder, Look, Tower, auto_widths, initialise
from morphospace.objectives.elbo import bits_per_dim, dequantised
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_vae import AESettings

WATCHED_EVERY = 16


@torch.no_grad()
def set_output_bias(decoder: nn.Module, likelihood: Likelihood, images: Tensor) -> None:
    """Set the last bias of a built-in decoder to the raw output that fits images (N, C, H, W) best."""
    output = decoder.output if isinstance(decoder, Tower) else None
    bias = getattr(output, "bias", None)
    if bias is not None:
        pixels = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1], 1, 1)
        bias.copy_(likelihood.start(images if isinstance(output, nn.Linear) else pixels).flatten())


class AE(Model):
    """Encoder and decoder, trained to minimise -log p(x | z = encoder(x)).

    Your own encoder (`parts={"encoder": ...}`) returns codes (B, D). For a VAE it returns mean and log variance, as one
    tensor (B, 2 D) or as two of (B, D).
    """

    settings: AESettings
    replaceable: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    averaged: tuple[str, ...] = ("encoder", "decoder", "likelihood")
    code_outputs = 1  # encoder outputs for each latent dimension

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build encoder, decoder and likelihood."""
        s, shape = self.settings, self.shape
        self.likelihood = likelihood_for(s.likelihood, signed=s.signed, variance=s.variance, sigma=s.sigma)
        self.condition_size = 0 if self.conditioning is None else self.conditioning.size
        outputs = self.code_outputs * self.latent_dim
        raw = (shape[2] * self.likelihood.outputs_per_value, *shape[:2])
        image = torch.zeros(2, shape[2], *shape[:2])
        if "encoder" in parts:
            image = self.with_image(image, torch.zeros(2, self.condition_size))
        code = torch.zeros(2, self.latent_dim + self.condition_size)
        pair = self.code_outputs == 2
        self.encoder = self.part(parts, "encoder", image, (2, outputs), lambda: self.make_encoder(outputs), pair=pair)
        self.decoder = self.part(parts, "decoder", code, (2, *raw), lambda: self.make_decoder(raw))
        self.networks = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder, "likelihood": self.likelihood})
        self.learns: tuple[nn.Module, ...] = (self.encoder, self.decoder, self.likelihood)
        self.prior = None
        # Weight of one image's -log p in the loss, see `AESettings.reduction`.
        self.weight = 1 / math.prod(shape) if s.reduction == "mean" else 1.0

    def start_from(self, images: Tensor, masks: Tensor | None = None) -> None:
        """Begin where the decoder's last bias alone decodes what fits the training images (N, C, H, W) best.

        A convolution has one bias a channel, for all places of the image.
        """
        if self.settings.output_bias == "data":
            set_output_bias(self.decoder, self.likelihood, images)

    @property
    def widths(self) -> tuple[int, ...]:
        """The encoder's widths, as set or as chosen from the image's shape."""
        if self.settings.widths:
            return self.settings.widths
        return auto_widths(self.shape, 32) if self.settings.tower == "conv" else (512, 256)

    @property
    def look(self) -> Look:
        """Norm and activation of the inner layers."""
        return Look(norm=self.settings.norm, activation=self.settings.activation, slope=self.settings.slope)

    @property
    def decoder_look(self) -> Look:
        """The same of the decoder."""
        return self.look

    def make_encoder(self, outputs: int) -> nn.Module:
        """Build the encoder that the settings describe."""
        height, width, channels = self.shape
        tower: nn.Module
        if self.settings.tower == "mlp":
            tower = MLP(math.prod(self.shape) + self.condition_size, self.widths, outputs, self.look)
        else:
            tower = ConvEncoder((height, width, channels + self.condition_size), self.widths, outputs, self.look)
        return initialise(tower, self.settings.init)

    def make_decoder(self, raw: tuple[int, int, int]) -> nn.Module:
        """Build the encoder's mirror, with raw images (C, H, W) as output."""
        inputs, widths = self.latent_dim + self.condition_size, self.widths[::-1]
        tower: nn.Module
        if self.settings.tower == "mlp":
            tower = MLP(inputs, widths, raw, self.decoder_look)
        else:
            tower = ConvDecoder(inputs, widths, (*self.shape[:2], raw[0]), self.decoder_look)
        return initialise(tower, self.settings.init)

    def with_image(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Return the encoder's input: the images."""
        return images

    def with_code(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return the decoder's input: the codes."""
        return z

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the decoder's raw output for codes (B, D)."""
        return self.decoder(self.with_code(z, condition))

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Posterior:
        """Return the code of images (B, C, H, W)."""
        return Point(self.encoder(self.with_image(images, condition)))

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the mean images (B, C, H, W) of codes (B, D)."""
        return self.likelihood.mean(self.raw(z, condition))

    def target(self, images: Tensor, turn: Turn) -> Tensor:
        """Return the images, dequantised where the settings say so."""
        if not self.settings.dequantise:
            return images
        return dequantised(images, turn.uniform(*images.shape), signed=self.signed)

    def reconstruction(
        self, terms: Terms, raw: Tensor, images: Tensor, turn: Turn, mask: Tensor | None = None
    ) -> Terms:
        """Add -log p(x | z) to `terms`, and as a number to watch, the mean squared error of a pixel.

        Args:
            terms: Where to add it.
            raw: The decoder's output for one or several codes of each image, those of one image in a row.
            images: (B, C, H, W).
            turn: Asked for the noise of dequantisation.
            mask: (B, 1, H, W), the weight of each pixel.
        """
        draws = len(raw) // len(images)
        target = self.target(images, turn)
        if draws > 1:
            target, images = target.repeat_interleave(draws, 0), images.repeat_interleave(draws, 0)
            mask = None if mask is None else mask.repeat_interleave(draws, 0)
        terms.add("reconstruction", -self.likelihood.log_prob(raw, target, mask), self.weight)
        return self.note_error(terms, raw, images, turn, mask)

    @torch.no_grad()
    def note_error(self, terms: Terms, raw: Tensor, images: Tensor, turn: Turn, mask: Tensor | None = None) -> Terms:
        """Add the mean squared error of a pixel, weighted by the mask, as a number to watch.

        While training only on every 16th step: in a small network it would cost a twentieth of the time.
        """
        if turn.training and (self.likelihood.costly_mean or not turn.clock.every(WATCHED_EVERY)):
            return terms
        squared = (self.likelihood.mean(raw) - images) ** 2
        if mask is None:
            return terms.note("mse", squared)
        return terms.note("mse", (squared * mask).sum() / (mask.sum() * images.shape[1]).clamp(min=1.0))

    def note_bits(self, terms: Terms, nats: Tensor) -> Terms:
        """Add a bound's bits per dimension as a number to watch, where the likelihood is one of 8-bit images."""
        values = math.prod(self.shape)
        if self.likelihood.over_levels:
            return terms.note("bits_per_dim", bits_per_dim(nats, values))
        if self.settings.dequantise:
            return terms.note("bits_per_dim", bits_per_dim(nats, values, levels=256, width=1.0 + self.signed))
        return terms

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return -log p(x | encoder(x)) of a batch."""
        return self.reconstruction(Terms(), self.decoder(self.encoder(batch.images)), batch.images, turn)

    def rounds(self) -> Sequence[Round]:
        """Return one phase, which trains encoder, decoder and likelihood together."""
        return [Phase(self.settings.name, self.learns, self.loss, validates=True)]
