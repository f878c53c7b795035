"""Beta-TCVAE (Chen, Li, Grosse & Duvenaud 2018): the KL in three parts, with most weight on the total correlation."""

from __future__ import annotations

from morphospace.data.batches import Batch
from morphospace.objectives.elbo import decomposed_kl
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_vae import BetaTCVAESettings
from morphospace.zoo.vae import Variational


class BetaTCVAE(Variational):
    """Minimises -log p(x | z) + alpha information + beta total correlation + gamma distance of units from the prior.

    The three are estimated from the pairs within a batch, in each process from its own.
    """

    settings: BetaTCVAESettings

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the terms of a batch. Validation decodes means, but estimates parts of the KL from sampled codes."""
        s = self.settings
        posterior = self.encode(batch.images)
        z = self.sample_codes(posterior, turn)
        raw = self.raw(z if turn.training else posterior.mean)
        terms = self.reconstruction(Terms(), raw, batch.images, turn)
        parts = decomposed_kl(posterior, z, turn.clock.dataset, stratified=s.sampling == "stratified")
        terms.add("information", parts.information, s.alpha)
        terms.add("total_correlation", parts.total_correlation, s.beta)
        terms.add("per_unit", parts.per_unit, s.gamma).note("kl", posterior.kl())
        return self.note_bits(terms, terms.means["reconstruction"] + terms.means["kl"]) if turn.training else terms
