"""VAE-GAN (Larsen et al. 2016): a VAE whose decoded images a critic must also take for real."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.errors import require
from morphospace.models.distributions import DiagonalGaussian, full, per_image
from morphospace.models.layers import judge_with_features
from morphospace.models.priors import LearnedPrior
from morphospace.models.towers import MLP, ConvEncoder, Look, auto_widths, initialise
from morphospace.objectives.adversarial import NONSATURATING
from morphospace.objectives.penalties import zero_centred
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_both import VAEGANSettings
from morphospace.zoo.vae import VAE

PLAIN = "vae"  # name of the plain VAE's phase, on which the random numbers of a step depend


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One forward pass of the VAE.

    Attributes:
        posterior: q(z | x) of the batch.
        z: Codes sampled from it.
        image: Reconstructions (B, C, H, W), of the first code where an image has several.
        samples: Decoded codes from the prior, (B, C, H, W); None if the critic sees none.
        terms: The negative bound in pixels.
    """

    posterior: DiagonalGaussian
    z: Tensor
    image: Tensor
    samples: Tensor | None
    terms: Terms


@dataclass(frozen=True, slots=True)
class Judged:
    """The critic's judgements of a batch.

    Attributes:
        rebuilt: The forward pass of the VAE.
        images: The real images as the critic saw them, at which its gradient is penalised.
        on_real: Judgements of them, (B,).
        on_fake: Judgements of reconstructions, of samples, or of both in a row.
        distance: |f(x) - f(x')|^2 / 2, (B,), no gradient through f(x).
    """

    rebuilt: Rebuilt
    images: Tensor
    on_real: Tensor
    on_fake: Tensor
    distance: Tensor


class VAEGAN(VAE):
    """Minimises VAE + lambda GAN, or (1 - lambda) VAE + lambda GAN, the GAN's loss being -log D of decoded images.

    D minimises -log D(x) - log(1 - D(fake)). If it sees both reconstructions and samples from the prior, each counts
    half, so that real and fake images have equal weight (Larsen sums them).

    In `pixels` there are two players: the critic, then encoder and decoder together, on one forward pass of theirs.
    That phase has the name of the plain VAE's, hence its random numbers, and at lambda = 0 its loss has no other term:
    encoder, decoder and their buffers then equal those of `vae` with the same optimizer settings, byte for byte.

    In `features` there are three players, as published, which learn simultaneously on one forward pass. The encoder
    minimises |f(x) - f(x')|^2 / 2 + beta KL, f being the critic's last layer and x' the reconstruction; the first term
    is -log N(f(x); f(x'), I) up to a constant. The decoder minimises that term and lambda GAN, the critic its own loss.

    Validation always uses the VAE's negative bound in pixels, without the factor of `mix`, which compares over lambda,
    over both forms, and with `vae`. It rises where sharper images cost likelihood, so the best checkpoint need not have
    the best samples.
    """

    default_ema_halflife_images = 5_000

    settings: VAEGANSettings
    replaceable: ClassVar[tuple[str, ...]] = (*VAE.replaceable, "critic")

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the VAE's networks, then the critic: encoder and decoder thus begin as those of the plain VAE."""
        super().build_networks(parts)
        settings, shape = self.settings, self.shape
        space = settings.reconstruction_space
        why = "compares features of the built-in critic; leave yours out, or use pixels"
        require(space == "pixels" or "critic" not in parts, "reconstruction_space", space, why)
        image = torch.zeros(2, shape[2], *shape[:2])
        self.critic = self.part(parts, "critic", image, (2, 1), self.make_critic)
        self.networks["critic"] = self.critic
        # Weight of a judgement, see `VAEGANSettings.adversarial_unit`.
        self.unit = math.prod(shape) * self.weight if settings.adversarial_unit == "value" else 1.0
        # Weight of reconstruction and KL, see `VAEGANSettings.mixing`.
        self.share = 1 - settings.lambda_ if settings.mixing == "mix" else 1.0
        # At lambda = 0 only what the plain VAE decodes may be decoded: batch norm's statistics would change.
        self.shows_samples = bool(settings.lambda_) and settings.judged != "reconstructions"

    def make_critic(self) -> nn.Module:
        """Build the critic that the settings describe."""
        s = self.settings
        look = Look(norm=s.critic_norm, activation="leaky", slope=0.2, bias=s.critic_norm == "none", norm_first=False)
        tower: nn.Module
        if s.tower == "mlp":
            tower = MLP(math.prod(self.shape), s.critic_widths or (256, 256), 1, look)
        else:
            widths = s.critic_widths or auto_widths(self.shape, s.critic_base_width, 256)
            tower = ConvEncoder(self.shape, widths, 1, look, unnormed_bias=s.critic_bias)
        return initialise(tower, s.init)

    def score(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the critic's judgement of images (B, C, H, W), (B,)."""
        return full(self.critic(self.seen(images))).squeeze(1)

    def seen(self, images: Tensor) -> Tensor:
        """Return images as the critic sees them, in [-1, 1] whatever the VAE's range."""
        return images if self.signed else images * 2 - 1

    def real_seen(self, batch: Batch) -> Tensor:
        """Return the real images as the critic sees them, differentiable where its gradient is penalised."""
        images = self.seen(batch.images)
        return images.detach().requires_grad_() if self.settings.r1 else images

    def prior_codes(self, turn: Turn, count: int) -> Tensor:
        """Return codes (count, D) of the prior, which itself learns from the KL alone."""
        assert self.prior is not None
        return self.prior.from_noise(turn.normal(count, self.latent_dim))

    # -- what the turns of a step share ------------------------------------------------------------------------

    def rebuilt(self, batch: Batch, turn: Turn) -> Rebuilt:
        """Encode and decode a batch once for all players, with the random numbers of the plain VAE's turn.

        Codes of the prior are decoded in the same pass, so that batch norm takes its statistics over all that the
        decoder makes in a step. Two passes would each be normalised on its own, and the running statistics would fit
        neither: the error of reconstructions was up to twice as large.
        """

        def make() -> Rebuilt:
            draws = self.settings.draws
            posterior = self.encode(batch.images)
            z = self.sample_codes(posterior, turn, draws)
            prior = self.prior_codes(turn, len(batch.images)) if self.shows_samples else z[:0]
            raw = self.raw(torch.cat([z, prior]))
            terms = self.negative_bound(batch, posterior, z, raw[: len(z)], turn)
            image = self.likelihood.mean(raw[: len(z) : draws])
            samples = self.likelihood.mean(raw[len(z) :]) if self.shows_samples else None
            return Rebuilt(posterior, z, image, samples, terms)

        return turn.once(PLAIN, make, by=self.learns)

    def fakes(self, rebuilt: Rebuilt) -> list[Tensor]:
        """Return the fakes that the critic sees, a batch of each kind."""
        shown = [] if self.settings.judged == "samples" and self.shows_samples else [rebuilt.image]
        return shown if rebuilt.samples is None else [*shown, rebuilt.samples]

    def judgements(self, fakes: Sequence[Tensor]) -> Tensor:
        """Return the critic's judgements of batches of fakes in a row; batch norm treats each batch on its own."""
        return torch.cat([self.score(fake) for fake in fakes])

    # -- two players: pixels -----------------------------------------------------------------------------------

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's half of the GAN's loss."""
        images = self.real_seen(batch)
        fakes = [fake.detach() for fake in self.fakes(self.rebuilt(batch, turn))]
        return self.critic_terms(full(self.critic(images)).squeeze(1), self.judgements(fakes), images)

    def critic_terms(self, on_real: Tensor, on_fake: Tensor, images: Tensor) -> Terms:
        """Return the critic's loss from its judgements, with the gradient penalty at `images` if there is one."""
        terms, r1 = Terms(), self.settings.r1
        for name, values in NONSATURATING.critic(on_real, on_fake).items():
            terms.add(name, values)
        if r1:
            terms.add("r1", zero_centred(on_real, images), r1)
        return terms.note("score_real", on_real.sigmoid()).note("score_fake", on_fake.sigmoid())

    def adversarial(self, terms: Terms, on_fake: Tensor) -> Terms:
        """Add the GAN's loss of decoded images, -log D."""
        return terms.add("adversarial", NONSATURATING.generator(on_fake, on_fake), self.settings.lambda_ * self.unit)

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the weighted VAE's loss and the adversarial loss; in validation the plain VAE's."""
        if not turn.training:
            return super().loss(batch, turn)
        rebuilt = self.rebuilt(batch, turn)
        if not self.settings.lambda_:
            return rebuilt.terms
        on_fake = self.judgements(self.fakes(rebuilt))
        return self.adversarial(rebuilt.terms.times(self.share), on_fake)

    # -- three players: features -------------------------------------------------------------------------------

    def judged(self, batch: Batch, turn: Turn) -> Judged:
        """Reconstruct a batch and judge it, once for all three players."""

        def make() -> Judged:
            rebuilt, images = self.rebuilt(batch, turn), self.real_seen(batch)
            on_real, real = judge_with_features(self.critic, images)
            on_rebuilt, features = judge_with_features(self.critic, self.seen(rebuilt.image))
            on_fake = [on_rebuilt if fake is rebuilt.image else self.score(fake) for fake in self.fakes(rebuilt)]
            squared = per_image((features - real.detach()) ** 2)
            return Judged(rebuilt, images, on_real, torch.cat(on_fake), 0.5 * squared)

        return turn.once("judged", make, by=(self.encoder, self.decoder, self.critic))

    def feature_terms(self, judged: Judged) -> Terms:
        """Return the distance in the critic's features, and report the errors in pixels beside it."""
        terms, watched = Terms().add("features", judged.distance, self.share), judged.rebuilt.terms.means
        terms.means |= {name: watched[name] for name in ("reconstruction", "mse") if name in watched}
        return terms

    def encoder_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the encoder's loss: distance in features, and KL; in validation the plain VAE's loss."""
        if not turn.training:
            return super().loss(batch, turn)
        judged = self.judged(batch, turn)
        kl = self.add_kl(Terms(), judged.rebuilt.posterior, judged.rebuilt.z, turn)
        return self.feature_terms(judged).join(kl.times(self.share))

    def decoder_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the decoder's loss: distance in features, and the adversarial loss."""
        judged = self.judged(batch, turn)
        terms = self.feature_terms(judged)
        return self.adversarial(terms, judged.on_fake) if self.settings.lambda_ else terms

    def simultaneous_critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's loss from the judgements that the other players use."""
        judged = self.judged(batch, turn)
        return self.critic_terms(judged.on_real, judged.on_fake, judged.images)

    def rounds(self) -> Sequence[Round]:
        """Return two phases in turn where pixels are compared, three simultaneous ones where features are."""
        rate = self.settings.critic_lr
        if self.settings.reconstruction_space == "features":
            learned = (self.prior,) if isinstance(self.prior, LearnedPrior) else ()
            return [
                (
                    Phase("encoder", (self.encoder, *learned), self.encoder_loss, validates=True),
                    Phase("decoder", (self.decoder,), self.decoder_loss),
                    Phase("critic", (self.critic,), self.simultaneous_critic_loss, lr=rate),
                )
            ]
        return [
            Phase("critic", (self.critic,), self.critic_loss, lr=rate),
            Phase(PLAIN, self.learns, self.loss, validates=True),
        ]
