"""VAE with several levels of codes and top-down inference (Sønderby et al. 2016; Maaløe et al. 2019; Child 2021).

The model is p(z_1) p(z_2 | z_1) ... p(x | z_1 ... z_L), from the top. The posterior goes the same way, q(z_1 | x)
q(z_2 | z_1, x) ..., on the path that also decodes. The bound is

    E_q[log p(x | z)] - sum_l E_q[KL(q(z_l | z_<l, x) || p(z_l | z_<l))]

or, with K codes of each image, E[log 1/K sum_k p(x, z_k) / q(z_k | x)], which is at least as tight (Burda et al. 2016).

The code that tools see is the noise of all levels together, those of the top first: its prior is N(0, I), and decoding
is a function of it. See `models.ladder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.errors import require
from morphospace.models.distributions import Choose, DiagonalGaussian, TopDownGaussian
from morphospace.models.ladder import Descent, HeldLevels, LadderDecoder, LadderEncoder, LadderPosterior
from morphospace.models.priors import Sampler
from morphospace.models.sampling import SampleOptions
from morphospace.objectives.elbo import with_free_bits
from morphospace.objectives.phase import Turn, warmed
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_ladder import LadderVAESettings
from morphospace.zoo.vae import Variational


class LadderVAE(Variational):
    """Minimises -E_q[log p(x | z)] + beta sum_l KL_l, one code for each image, or the bound of several.

    The KL of a level depends on the code sampled above it, so validation samples too, from its own random stream.
    """

    settings: LadderVAESettings
    replaceable: ClassVar[tuple[str, ...]] = ()  # encoder and decoder are parts of one path
    averaged: tuple[str, ...] = ("encoder", "decoder", "posterior", "likelihood")
    decoder: LadderDecoder

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build encoder, path and likelihood, then the heads of the posterior."""
        super().build_networks(parts)
        self.posterior = LadderPosterior(self.decoder, self.widths, self.look)
        self.networks["posterior"] = self.posterior
        self.learns = (*self.learns, self.posterior)
        self.levels = tuple(units.stop - units.start for units in self.decoder.units)

    def narrowed(self, options: SampleOptions, first: Tensor) -> Sampler | None:
        """Return the prior, of which `options.hold` levels are those of the first sample.

        Raises:
            SettingError: If the code has not that many levels, and one more that varies.
        """
        if options.hold is None or self.prior is None:
            return self.prior
        levels = len(self.levels)
        rule = f"must be from 1 to {levels - 1}" if levels > 1 else "the code of this run has one level"
        require(options.hold < levels, "hold", options.hold, rule, "" if levels > 1 else "leave it out")
        return HeldLevels(self.prior, first[:, : sum(self.levels[: options.hold])])

    def make_encoder(self, outputs: int) -> nn.Module:
        """Build the encoder that the settings describe."""
        s = self.settings
        return LadderEncoder(self.shape, self.widths, s.blocks, self.look, dense=s.tower == "mlp")

    def make_decoder(self, raw: tuple[int, int, int]) -> nn.Module:
        """Build the path from the top to raw images (C, H, W)."""
        s, dense = self.settings, self.settings.tower == "mlp"
        shape = (*self.shape[:2], raw[0])
        return LadderDecoder(s.dims, self.widths, shape, s.blocks, self.look, dense=dense, skips=s.skips)

    def descend(self, seen: tuple[Tensor, ...], choose: Choose) -> tuple[Tensor, DiagonalGaussian]:
        """Go through the levels from the top; see `TopDownGaussian`."""
        descent = Descent(self.posterior, seen, choose)
        self.decoder.walk(seen[0].shape[0], descent)
        return descent.codes, descent.own

    def encode(self, images: Tensor, condition: Tensor | None = None) -> TopDownGaussian:  # type: ignore[override]
        """Return q(z | x) of images (B, C, H, W)."""
        return TopDownGaussian(self.encoder(images), self.descend, self.latent_dim)

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the negative bound of a batch, in training and validation alike.

        Validation takes as many codes of an image as the end of training does, so that its numbers compare.
        """
        s = self.settings
        draws = s.samples if not turn.training or turn.clock.reached(s.samples_begin) else 1
        noise = turn.normal(len(batch.images) * draws, self.latent_dim)
        seen = self.encode(batch.images).repeated(draws).seen
        descent = Descent(self.posterior, seen, lambda own, units: own.sample(noise[:, units]))
        raw = self.decoder(noise, descent)
        return self.bound(batch, raw, descent, turn) if draws == 1 else self.weighted(batch, raw, descent, turn)

    def bound(self, batch: Batch, raw: Tensor, descent: Descent, turn: Turn) -> Terms:
        """Return the negative bound of one code for each image."""
        s, terms = self.settings, self.reconstruction(Terms(), raw, batch.images, turn)
        weight = warmed(s.beta, s.kl_warmup_images, turn)
        levels = self.note_levels(terms, descent)
        if s.free_bits:
            terms.add("kl_above_free", with_free_bits(levels, s.free_bits), weight)
        else:
            terms.add("kl", levels.sum(1), weight)
        return self.note_bits(terms, terms.means["reconstruction"] + terms.means["kl"])

    def weighted(self, batch: Batch, raw: Tensor, descent: Descent, turn: Turn) -> Terms:
        """Return the negative importance-weighted bound of several codes for each image."""
        s, draws, z = self.settings, self.settings.samples, descent.codes
        log_likelihood = self.likelihood.log_prob(raw, self.target(batch.images, turn).repeat_interleave(draws, 0))
        assert self.prior is not None
        surplus = descent.own.log_prob(z) - self.prior.log_prob(z)
        log_weights = (log_likelihood - warmed(s.beta, s.kl_warmup_images, turn) * surplus).view(-1, draws)
        terms = self.weighted_bound(log_likelihood, log_weights, raw, batch.images, turn)
        self.note_levels(terms, descent)
        return terms

    def note_levels(self, terms: Terms, descent: Descent) -> Tensor:
        """Note the KL and what each level has of it, and return the latter, (N, levels)."""
        levels = torch.stack([kl.sum(1) for kl in descent.own.kl_per_unit().split(self.levels, 1)], 1)
        terms.note("kl", levels.sum(1))
        for number, kl in enumerate(levels.T, 1):
            terms.note(f"kl_level_{number}", kl)
        return levels
