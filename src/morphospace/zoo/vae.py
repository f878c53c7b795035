"""Variational autoencoder (Kingma & Welling 2014), with beta (Higgins et al. 2017) or a capacity (Burgess et al. 2018).

Remedies for posterior collapse: a warm-up of the KL, or free bits (Kingma et al. 2016).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.priors import FlowPrior, LearnedPrior, MixturePrior, Normal, VampPrior
from morphospace.objectives.elbo import capacity_gap, half_closed_kl, importance_bound, sampled_kl, with_free_bits
from morphospace.objectives.phase import Turn, warmed
from morphospace.objectives.terms import Terms
from morphospace.zoo.ae import AE
from morphospace.zoo.settings_vae import PriorSettings, VAESettings


class Variational(AE):
    """An autoencoder whose encoder gives a distribution, and whose codes have a prior: N(0, I), or a learned one."""

    code_outputs = 2  # mean and log variance

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the networks of an autoencoder, then the prior."""
        super().build_networks(parts)
        self.prior = self.make_prior()
        if isinstance(self.prior, LearnedPrior):
            self.networks["prior"] = self.prior
            self.learns = (*self.learns, self.prior)
            self.averaged = (*self.averaged, "prior")

    def make_prior(self) -> Normal | LearnedPrior:
        """Build the prior that the settings name; a member without the setting has N(0, I)."""
        s = self.settings
        if not isinstance(s, PriorSettings) or s.prior == "normal":
            return Normal()
        if s.prior == "mixture":
            return MixturePrior(s.latent_dim, s.prior_components)
        if s.prior == "flow":
            return FlowPrior(s.latent_dim, s.prior_layers)
        return VampPrior(lambda images: self.encode(images), self.shape, s.prior_components, self.signed)

    def start_from(self, images: Tensor, masks: Tensor | None = None) -> None:
        """Begin as an autoencoder does, and let the prior begin at images too."""
        super().start_from(images, masks)
        if isinstance(self.prior, LearnedPrior):
            self.prior.start_from(images)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> DiagonalGaussian:
        """Return q(z | x) of images (B, C, H, W)."""
        return DiagonalGaussian.from_parameters(self.encoder(self.with_image(images, condition)))

    def sample_codes(self, posterior: DiagonalGaussian, turn: Turn, draws: int = 1) -> Tensor:
        """Sample codes (B * draws, D) from posteriors, those of one image in a row."""
        batch, dim = posterior.mean.shape
        return posterior.repeated(draws).sample(turn.normal(batch * draws, dim))

    def weighted_bound(
        self, log_likelihood: Tensor, log_weights: Tensor, raw: Tensor, images: Tensor, turn: Turn
    ) -> Terms:
        """Return the negative importance-weighted bound (Burda et al. 2016), with numbers to watch.

        Args:
            log_likelihood: log p(x | z) of K codes of each image, (B K,), those of one image in a row.
            log_weights: log p(x, z) / q(z | x), (B, K).
            raw: The decoder's output for these codes.
            images: (B, C, H, W).
            turn: Says whether it trains.
        """
        terms = Terms().add("bound", -importance_bound(log_weights)).note("reconstruction", -log_likelihood)
        # How many of the K samples count: 1 where one of them has all the weight.
        terms.note("effective_samples", 1 / log_weights.detach().softmax(1).square().sum(1))
        self.note_error(terms, raw[:: log_weights.shape[1]], images, turn)
        return self.note_bits(terms, terms.means["bound"])


class VAE(Variational):
    """Minimises -E_q[log p(x | z)] + beta KL(q(z | x) || p(z)), the mean over `draws` codes of each image."""

    settings: VAESettings

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the negative bound of a batch; validation decodes the mean instead of sampled codes."""
        condition, draws = self.condition_of(batch), self.settings.draws if turn.training else 1
        posterior = self.encode(batch.images, condition)
        z = self.sample_codes(posterior, turn, draws) if turn.training else posterior.mean
        condition = condition if condition is None else condition.repeat_interleave(draws, 0)
        return self.negative_bound(batch, posterior, z, self.raw(z, condition), turn)

    def negative_bound(self, batch: Batch, posterior: DiagonalGaussian, z: Tensor, raw: Tensor, turn: Turn) -> Terms:
        """Return reconstruction and KL of a batch, given its codes and the decoder's raw output."""
        terms = self.add_kl(self.reconstruction(Terms(), raw, batch.images, turn), posterior, z, turn)
        # Validation decodes the mean, which reconstructs better than the bound's draws: bits would be too few.
        return self.note_bits(terms, terms.means["reconstruction"] + terms.means["kl"]) if turn.training else terms

    def add_kl(self, terms: Terms, posterior: DiagonalGaussian, z: Tensor, turn: Turn) -> Terms:
        """Add the KL as the settings have it: weighted, with free bits, or held at a capacity.

        Validation weighs the KL as at the end of each schedule, so that its numbers compare over the run. It takes the
        closed form whatever the settings, and of a learned prior a sampled code.
        """
        s = self.settings
        if s.free_bits:
            per_unit = posterior.kl_per_unit()
            terms.note("kl", per_unit.sum(1))
            return terms.add("kl_above_free", with_free_bits(per_unit, s.free_bits), self.kl_weight(turn))
        kl = self.kl(posterior, z, turn)
        if s.capacity:
            held = warmed(s.capacity, s.capacity_images, turn)
            return terms.note("kl", kl).add("capacity_gap", capacity_gap(kl, held), s.capacity_weight)
        return terms.add("kl", kl, self.kl_weight(turn))

    def kl(self, posterior: DiagonalGaussian, z: Tensor, turn: Turn) -> Tensor:
        """Return the KL of each posterior to the prior, or an estimate of it from its sampled codes."""
        s, learned = self.settings, isinstance(self.prior, LearnedPrior)
        assert self.prior is not None
        if s.kl != "closed" and turn.training:
            scored = posterior.detached() if s.kl == "path" else posterior
            return sampled_kl(scored.repeated(len(z) // len(posterior.mean)), z, self.prior)
        if not learned:
            return posterior.kl()
        z = z if turn.training else self.sample_codes(posterior, turn)
        return half_closed_kl(posterior.repeated(len(z) // len(posterior.mean)), z, self.prior)

    def kl_weight(self, turn: Turn) -> float | Tensor:
        """Return the weight of a nat of KL at this moment."""
        s = self.settings
        return warmed(s.beta / (s.latent_dim if s.kl_reduction == "mean" else 1), s.kl_warmup_images, turn)
