"""The model `sparse-vae`."""

from __future__ import annotations

from torch import Tensor

from morphospace.models.distributions import DiagonalGaussian
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.vae import VAE
from my_plugin.model import SparseVAESettings


class SparseVAE(VAE):
    """Minimises the VAE's loss + sparsity x |mean code|."""

    settings: SparseVAESettings

    def add_kl(self, terms: Terms, posterior: DiagonalGaussian, z: Tensor, turn: Turn) -> Terms:
        """Add the VAE's own term, and the sparsity."""
        terms = super().add_kl(terms, posterior, z, turn)
        return terms.add("sparsity", posterior.mean.abs().sum(1), self.settings.sparsity)
