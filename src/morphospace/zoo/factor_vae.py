"""FactorVAE (Kim & Mnih 2018): a VAE that lowers the total correlation of its units, estimated by a critic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.distributions import DiagonalGaussian, full
from morphospace.models.towers import MLP, Look
from morphospace.objectives.elbo import critic_of_codes, permuted
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_vae import FactorVAESettings
from morphospace.zoo.vae import VAE


class FactorVAE(VAE):
    """Minimises the VAE's loss + gamma KL(q(z) || prod_d q(z_d)), estimated by the density ratio trick.

    The critic distinguishes codes from codes whose units were shuffled over the batch. In the paper the shuffled codes
    are of a second batch; here they are of the same one, as is common, which saves an encoder pass: the marginals are
    the same, and two units of one image meet again with probability 1 / B only. The critic's turn comes first, and the
    VAE's turn uses the same codes: one forward pass for both. Processes shuffle within their own images.
    """

    settings: FactorVAESettings
    replaceable = (*VAE.replaceable, "critic")

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the VAE's networks, then the critic of codes."""
        super().build_networks(parts)
        units, widths, look = self.latent_dim, self.settings.critic_widths, Look(activation="leaky", slope=0.2)
        self.critic = self.part(parts, "critic", torch.zeros(2, units), (2, 1), lambda: MLP(units, widths, 1, look))
        self.networks["critic"] = self.critic

    def judged(self, z: Tensor) -> Tensor:
        """Return the critic's logit of codes (B, D), (B,)."""
        return full(self.critic(z)).squeeze(1)

    def codes(self, batch: Batch, turn: Turn) -> tuple[DiagonalGaussian, Tensor]:
        """Encode a batch and sample its codes, while training once for both players."""

        def make() -> tuple[DiagonalGaussian, Tensor]:
            posterior = self.encode(batch.images, self.condition_of(batch))
            return posterior, self.sample_codes(posterior, turn, self.settings.draws if turn.training else 1)

        return turn.once("codes", make, by=(self.encoder,)) if turn.training else make()

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the cross-entropy of distinguishing codes from shuffled ones."""
        z = self.codes(batch, turn)[1].detach()
        joint, shuffled = self.judged(torch.cat([z, permuted(z, turn.uniform(*z.shape))])).chunk(2)
        of_codes, of_shuffled = critic_of_codes(joint, shuffled)
        terms = Terms().add("codes", of_codes).add("shuffled", of_shuffled)
        return terms.note("accuracy", torch.cat([joint > 0, shuffled < 0]).float())

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the VAE's loss and the critic's estimate of the total correlation.

        Validation decodes means, but the critic judges sampled codes.
        """
        posterior, z = self.codes(batch, turn)
        decoded = z if turn.training else posterior.mean
        terms = self.negative_bound(batch, posterior, decoded, self.raw(decoded), turn)
        return terms.add("total_correlation", self.judged(z), self.settings.gamma)

    def rounds(self) -> Sequence[Round]:
        """Return the critic's turn, then that of encoder, decoder and likelihood."""
        return [
            Phase("critic", (self.critic,), self.critic_loss, lr=self.settings.critic_lr),
            Phase(self.settings.name, self.learns, self.loss, validates=True),
        ]
