"""Importance-weighted autoencoder (Burda, Grosse & Salakhutdinov 2016), with the DReG gradient (Tucker et al. 2019)."""

from __future__ import annotations

from morphospace.data.batches import Batch
from morphospace.objectives.elbo import doubly_reparameterised
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_vae import IWAESettings
from morphospace.zoo.vae import Variational


class IWAE(Variational):
    """Minimises -E[log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x)], the z_k sampled from q(z | x).

    Means would give another number than the bound, so validation samples too, from its own random stream.
    """

    settings: IWAESettings

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the negative bound of a batch, in training and validation alike."""
        s, images = self.settings, batch.images
        condition = self.condition_of(batch)
        posterior = self.encode(images, condition)
        z = self.sample_codes(posterior, turn, s.samples)
        raw = self.raw(z, condition if condition is None else condition.repeat_interleave(s.samples, 0))
        log_likelihood = self.likelihood.log_prob(raw, self.target(images, turn).repeat_interleave(s.samples, 0))
        doubly = s.gradient == "dreg"
        # The score of q has mean zero and a variance; DReG leaves it out.
        scored = (posterior.detached() if doubly else posterior).repeated(s.samples)
        assert self.prior is not None
        log_weights = (log_likelihood + self.prior.log_prob(z) - scored.log_prob(z)).view(len(images), s.samples)
        if doubly:
            doubly_reparameterised(z, log_weights)
        return self.weighted_bound(log_likelihood, log_weights, raw, images, turn).note("kl", posterior.kl())
