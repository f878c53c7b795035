"""InfoVAE (Zhao, Song & Ermon 2019), with MMD: a VAE that matches all codes to the prior, and each one as you like."""

from __future__ import annotations

from morphospace.data.batches import Batch
from morphospace.objectives.discrepancy import squared_mmd
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_regularised import InfoVAESettings
from morphospace.zoo.vae import Variational


class InfoVAE(Variational):
    """Minimises -E_q[log p(x | z)] + (1 - alpha) KL(q(z | x) || p(z)) + (alpha + lambda - 1) MMD^2(q(z), p(z)).

    alpha weighs the information between images and codes, which the KL of a VAE takes away: with alpha = 1 only the
    codes of all images together, q(z), are held to the prior. alpha = 0 and lambda = 1 is the VAE; lambda = 1 - alpha
    is the beta-VAE with beta = 1 - alpha; alpha = 1 is the MMD-VAE, which is WAE-MMD with an encoder that samples.

    The paper begins with a KL of q(z) and then takes MMD^2 for it, which is no number of nats: it is at most 14 with
    the kernel `imq` and 2 with `rbf`, beside hundreds of nats of an image. So its weight is about a hundred where it is
    meant to matter. It is estimated without bias, in each process from its own images.
    """

    settings: InfoVAESettings

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the terms of a batch. Validation decodes means, but compares sampled codes with the prior."""
        s = self.settings
        posterior = self.encode(batch.images)
        z = self.sample_codes(posterior, turn)
        raw = self.raw(z if turn.training else posterior.mean)
        terms = self.reconstruction(Terms(), raw, batch.images, turn).add("kl", posterior.kl(), 1 - s.alpha)
        terms.add("mmd", squared_mmd(z, turn.normal(*z.shape), s.kernel), s.mmd_weight)
        return self.note_bits(terms, terms.means["reconstruction"] + terms.means["kl"]) if turn.training else terms
