"""Regularised autoencoder (Ghosh et al. 2020): no noise and no prior, but a smooth decoder and short codes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.distributions import full, per_image
from morphospace.models.layers import limit_spectrum
from morphospace.models.towers import Look
from morphospace.objectives.penalties import squared_jacobian
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.ae import AE
from morphospace.zoo.settings_regularised import RAESettings


class RAE(AE):
    """Minimises |x - G(E(x))|^2 + beta |E(x)|^2 / 2 + lambda R, and samples by a mixture fitted to the codes E(x).

    R keeps the decoder G smooth around the codes, as a VAE's noise does: the gradient penalty |d G(z) / d z|^2, the sum
    of all squared derivatives of pixels by the code, estimated by one random projection an image; |theta|^2 of the
    decoder's weights (l2); or no term, and spectral norm on each of its layers. Moving a code by noise of variance s
    adds s |d G / d z|^2 to the squared error, to first order: lambda of the gradient penalty is such a variance.

    The error is summed over pixels. The authors' code averages it over N pixels, and |z|^2 over D units: its beta is
    2 N / D times as much here, and its weight of l2 N times. Its gradient penalty is of the sum of squared pixels, not
    of each pixel as in the paper and here. Without beta and R, it is `ae` without batch norm in the decoder.
    """

    settings: RAESettings
    fits: ClassVar[str] = "mixture"

    @property
    def decoder_look(self) -> Look:
        """Activation of the decoder's inner layers, which have no norm."""
        return Look(norm="none", activation=self.settings.activation, slope=self.settings.slope)

    def make_decoder(self, raw: tuple[int, int, int]) -> nn.Module:
        """Build the decoder, with spectral norm where the settings say so."""
        decoder = super().make_decoder(raw)
        return limit_spectrum(decoder) if self.settings.regulariser == "spectral" else decoder

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return error, length of the codes and regulariser of a batch; validation leaves the gradient penalty out."""
        s, z = self.settings, self.encoder(batch.images)
        raw = self.raw(z)
        terms = self.reconstruction(Terms(), raw, batch.images, turn)
        # Weighed already: codes that become long where that costs next to nothing are no loss that explodes.
        terms.add("code_length", 0.5 * s.length_weight * per_image(full(z) ** 2))
        if s.regulariser == "l2":
            terms.add("decoder_l2", self.squared_weights(), s.regulariser_weight)
        if s.regulariser == "gradient" and turn.training:
            images = self.likelihood.mean(raw)
            penalty = squared_jacobian(images, z, turn.normal(*images.shape).to(images))
            terms.add("gradient_penalty", penalty, s.regulariser_weight)
        return terms

    def squared_weights(self) -> Tensor:
        """Return the sum of the decoder's squared parameters."""
        return torch.stack([p.square().sum() for p in self.decoder.parameters()]).sum()
