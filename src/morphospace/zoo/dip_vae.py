"""DIP-VAE (Kumar, Sattigeri & Balakrishnan 2018): a VAE whose codes are uncorrelated over all images."""

from __future__ import annotations

from torch import Tensor

from morphospace.data.batches import Batch
from morphospace.models.distributions import DiagonalGaussian
from morphospace.objectives.moments import covariance, from_identity
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_regularised import DIPVAESettings
from morphospace.zoo.vae import VAE


class DIPVAE(VAE):
    """Minimises the VAE's loss + lambda_od sum_{i != j} C_ij^2 + lambda_d sum_i (C_ii - 1)^2.

    With the posteriors N(mu(x), Sigma(x)), C is Cov_x[mu(x)] in DIP-VAE-I, and Cov_x[mu(x)] + E_x[Sigma(x)] in
    DIP-VAE-II, which is the covariance of the codes themselves. It is estimated from a batch (divided by B - 1), in
    each process from its own. The sums are over latent dimensions, beside a bound in nats per image, as in the paper:
    its weights are the weights here.
    """

    settings: DIPVAESettings

    def negative_bound(self, batch: Batch, posterior: DiagonalGaussian, z: Tensor, raw: Tensor, turn: Turn) -> Terms:
        """Return reconstruction and KL of a batch, and how far the covariance of its codes is from the identity."""
        s, terms = self.settings, super().negative_bound(batch, posterior, z, raw, turn)
        variances = posterior.log_variance.exp() if s.variant == "II" else None
        off_diagonal, diagonal = from_identity(covariance(posterior.mean, variances))
        terms.add("off_diagonal", off_diagonal, s.off_diagonal)
        return terms.add("diagonal", diagonal, s.diagonal_weight)
