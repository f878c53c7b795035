"""Variational autoencoder (Kingma & Welling 2014), with beta (Higgins et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Normal
from morphospace.models.distributions import DiagonalGaussian
from morphospace.objectives.clock import ramp
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.ae import AE
from morphospace.zoo.settings import VAESettings

if TYPE_CHECKING:
    from morphospace.data.batches import Batch

__all__ = ["VAE"]


class VAE(AE):
    """Minimises -E_q[log p(x | z)] + beta KL(q(z | x) || N(0, I)), one draw of z an image."""

    settings: VAESettings
    code_outputs = 2  # mean and log variance

    def __init__(
        self,
        settings: VAESettings,
        shape: tuple[int, int, int],
        parts: Mapping[str, nn.Module],
        conditioning: Conditioning | None = None,
    ) -> None:
        super().__init__(settings, shape, parts, conditioning)
        self.prior = Normal()

    def encode(self, images: Tensor, condition: Tensor | None = None) -> DiagonalGaussian:
        """Return q(z | x) of images (B, C, H, W)."""
        return DiagonalGaussian.from_parameters(self.encoder(images))

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the negative bound of a batch; validation decodes the mean instead of a draw."""
        posterior = self.encode(batch.images)
        z = posterior.sample(turn.normal(*posterior.mean.shape)) if turn.training else posterior.mean
        terms = self.reconstruction(Terms(), self.decoder(z), batch.images)
        s = self.settings
        # Validation weighs the KL as the end of the warm-up does, so that its numbers compare over the run.
        warmth = ramp(turn.clock.images, s.kl_warmup_images) if turn.training else 1.0
        shrink = s.latent_dim if s.kl_reduction == "mean" else 1
        return terms.add("kl", posterior.kl(), s.beta * warmth / shrink)
