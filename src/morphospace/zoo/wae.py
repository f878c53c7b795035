"""Wasserstein autoencoder (Tolstikhin et al. 2018), WAE-MMD: its codes together are matched to the prior."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from morphospace.data.batches import Batch
from morphospace.models.priors import Normal
from morphospace.objectives.discrepancy import squared_mmd
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.ae import AE
from morphospace.zoo.settings_regularised import WAESettings


class WAE(AE):
    """Minimises E c(x, G(Q(x))) + lambda MMD^2(Q_z, N(0, I)), the encoder Q giving one code an image.

    c is -log p(x | z), by default the paper's |x - G(z)|^2 summed over pixels. Q_z is the distribution of the codes of
    all images, of which a batch is a sample; an image's own code may lie anywhere. MMD^2 is estimated without bias
    (Algorithm 2 of the paper), in each process from its own images.

    The authors' code multiplies c by .05. So its lambda = 10 (MNIST) is 200 here, and its 100 (CelebA) is 2,000 beside
    pixels in [-1, 1] as theirs, or 500 beside pixels in [0, 1], where c is a quarter of that.
    """

    settings: WAESettings

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the networks of an autoencoder, whose prior is N(0, I)."""
        super().build_networks(parts)
        self.prior = Normal()

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return reconstruction and discrepancy of a batch; validation has its own draws of the prior."""
        s, z = self.settings, self.encoder(batch.images)
        terms = self.reconstruction(Terms(), self.raw(z), batch.images, turn)
        return terms.add("mmd", squared_mmd(z, turn.normal(*z.shape), s.kernel), s.lambda_)
