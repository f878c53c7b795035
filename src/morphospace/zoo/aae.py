"""Adversarial autoencoder (Makhzani et al. 2016): a critic of codes holds all of them together to the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.distributions import full
from morphospace.models.priors import Normal
from morphospace.models.towers import MLP, Look
from morphospace.objectives.adversarial import NONSATURATING, AdversarialLoss
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.ae import AE
from morphospace.zoo.settings_regularised import AAESettings


class AAE(AE):
    """Two phases on each batch, as published; the encoder E gives one code an image, and its codes are the fakes.

    Reconstruction: encoder and decoder minimise -log p(x | E(x)), by default |x - G(E(x))|^2 summed over pixels.
    Regularisation: the critic of codes minimises -log D(z) - log(1 - D(E(x))) for z ~ N(0, I), then the encoder
    minimises -log D(E(x)). Each of the three has an optimizer of its own, so that no weight stands between error and
    adversarial loss: with Adam it would change nothing, and their learning rates decide. Both players of the
    regularisation see the same codes.
    """

    settings: AAESettings
    objective: ClassVar[AdversarialLoss] = NONSATURATING
    replaceable: ClassVar[tuple[str, ...]] = (*AE.replaceable, "critic")

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the networks of an autoencoder, whose prior is N(0, I), then the critic of codes."""
        super().build_networks(parts)
        self.prior = Normal()
        units, widths, look = self.latent_dim, self.settings.critic_widths, Look(activation="leaky", slope=0.2)
        self.critic = self.part(parts, "critic", torch.zeros(2, units), (2, 1), lambda: MLP(units, widths, 1, look))
        self.networks["critic"] = self.critic

    def judged(self, z: Tensor) -> Tensor:
        """Return the critic's logit of codes (B, D), (B,)."""
        return full(self.critic(z)).squeeze(1)

    def codes(self, batch: Batch, turn: Turn) -> Tensor:
        """Encode a batch, once for critic and encoder."""
        return turn.once("codes", lambda: self.encoder(batch.images), by=(self.encoder,))

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's half of the GAN's loss, codes of the prior being the real ones."""
        z = self.codes(batch, turn).detach()
        on_real, on_fake = self.judged(turn.normal(*z.shape)), self.judged(z)
        terms = Terms()
        for name, values in self.objective.critic(on_real, on_fake).items():
            terms.add(name, values)
        return terms.note("score_real", on_real.sigmoid()).note("score_fake", on_fake.sigmoid())

    def encoder_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the encoder's half of the GAN's loss."""
        on_fake = self.judged(self.codes(batch, turn))
        return Terms().add("adversarial", self.objective.generator(on_fake, on_fake))

    def rounds(self) -> Sequence[Round]:
        """Return the turn of encoder and decoder, then the critic's, then the encoder's against the critic."""
        s = self.settings
        return [
            Phase("autoencoder", self.learns, self.loss, validates=True),
            Phase("critic", (self.critic,), self.critic_loss, lr=s.critic_lr),
            Phase("encoder", (self.encoder,), self.encoder_loss, lr=s.encoder_lr),
        ]
