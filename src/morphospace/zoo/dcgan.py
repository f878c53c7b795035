"""Convolutional GAN (Radford, Metz & Chintala 2016) with the non-saturating loss (Goodfellow et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model, checked
from morphospace.models.distributions import full
from morphospace.models.towers import ConvDecoder, ConvEncoder, Look, auto_widths, initialise
from morphospace.objectives.adversarial import nonsaturating_critic, nonsaturating_generator
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings import DCGANSettings

if TYPE_CHECKING:
    from morphospace.data.batches import Batch

__all__ = ["DCGAN"]


class DCGAN(Model):
    """A generator that ends in tanh and a critic that gives a logit; images are in [-1, 1].

    Real and generated images pass the critic in batches of their own, so that its batch norm sees one kind at a
    time, as published.
    """

    settings: DCGANSettings
    replaceable = ("generator", "critic")
    averaged = ("generator",)
    default_ema_halflife_images = 10_000

    def __init__(
        self,
        settings: DCGANSettings,
        shape: tuple[int, int, int],
        parts: Mapping[str, nn.Module],
        conditioning: Conditioning | None = None,
    ) -> None:
        super().__init__(settings, shape, parts, conditioning)
        self.signed = True
        image = (2, shape[2], *shape[:2])
        if "generator" in parts:
            self.generator = checked(parts["generator"], "generator", torch.zeros(2, self.latent_dim), image)
        else:
            self.generator = initialise(self.make_generator(), settings.init)
        if "critic" in parts:
            self.critic = checked(parts["critic"], "critic", torch.zeros(image), (2, 1))
        else:
            self.critic = initialise(self.make_critic(), settings.init)
        self.networks = nn.ModuleDict({"generator": self.generator, "critic": self.critic})

    @property
    def widths(self) -> tuple[int, ...]:
        """The critic's widths, as set or as chosen from the image's shape."""
        return self.settings.widths or auto_widths(self.shape, 64)

    def make_generator(self) -> nn.Module:
        """Build the generator: stem, batch norm, ReLU, then transposed convolutions; raw output."""
        s = self.settings
        widths = s.generator_widths or self.widths[::-1]
        look = Look(activation="relu", bias=s.generator_bias)
        return ConvDecoder(self.latent_dim, widths, self.shape, look, stem=s.stem, stem_bias=False, stem_norm=True)

    def make_critic(self) -> nn.Module:
        """Build the critic: no biases, batch norm from the second layer on, leaky ReLU, one logit."""
        look = Look(activation="leaky", slope=self.settings.slope, bias=False, norm_first=False)
        return ConvEncoder(self.shape, self.widths, 1, look, head_bias=False)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return images (B, C, H, W) in [-1, 1] for codes (B, D)."""
        return torch.tanh(full(self.generator(z)))

    def score(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the critic's logit of images in [-1, 1], (B,)."""
        return full(self.critic(images)).squeeze(1)

    def fakes(self, turn: Turn, like: Tensor) -> Tensor:
        """Draw as many generated images as there are real ones."""
        return self.decode(turn.normal(len(like), self.latent_dim))

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return -log D(x) - log(1 - D(G(z)))."""
        if self.settings.share_fakes:
            fake = turn.once("fakes", lambda: self.fakes(turn, batch.images), by=(self.generator,)).detach()
        else:
            with torch.no_grad():
                fake = self.fakes(turn, batch.images)
        on_real, on_fake = self.score(batch.images), self.score(fake)
        real, generated = nonsaturating_critic(on_real, on_fake)
        terms = Terms().add("real", real).add("fake", generated)
        return terms.note("score_real", on_real.sigmoid()).note("score_fake", on_fake.sigmoid())

    def generator_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return -log D(G(z)), learned through the critic, which stays as it is."""
        if self.settings.share_fakes:
            fake = turn.once("fakes", lambda: self.fakes(turn, batch.images), by=(self.generator,))
        else:
            fake = self.fakes(turn, batch.images)
        return Terms().add("adversarial", nonsaturating_generator(self.score(fake)))

    def rounds(self) -> Sequence[Round]:
        """The critic's turn, then the generator's."""
        return [
            Phase("critic", (self.critic,), self.critic_loss, lr=self.settings.critic_lr),
            Phase("generator", (self.generator,), self.generator_loss),
        ]
