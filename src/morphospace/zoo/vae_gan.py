"""VAE and GAN at once (Larsen et al. 2016): a VAE whose decoder must also pass for real before a critic."""

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
from morphospace.models.towers import MLP, ConvEncoder, Look, auto_widths
from morphospace.objectives.adversarial import NONSATURATING
from morphospace.objectives.penalties import zero_centred
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_both import VAEGANSettings
from morphospace.zoo.vae import VAE

PLAIN = "vae"  # the plain VAE's phase: what is drawn at a step depends on its name


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What one forward pass of the VAE gives.

    Attributes:
        posterior: q(z | x) of the batch.
        z: The codes drawn from it.
        image: Its reconstructions (B, C, H, W), of the first draw where there are several.
        samples: What codes from the prior are decoded to, (B, C, H, W); None where the critic is shown none.
        terms: The negative bound in pixels.
    """

    posterior: DiagonalGaussian
    z: Tensor
    image: Tensor
    samples: Tensor | None
    terms: Terms


@dataclass(frozen=True, slots=True)
class Judged:
    """What the critic makes of a batch.

    Attributes:
        rebuilt: The batch's reconstructions.
        images: The real images as the critic saw them, for the penalty on its gradient there.
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
    """Minimises VAE + lambda GAN, or (1 - lambda) VAE + lambda GAN, the GAN's loss being -log D of what is decoded.

    D learns -log D(x) - log(1 - D(fake)); reconstructions and samples from the prior count half each where it is shown
    both, so that it sees as much real as fake (Larsen sums them).

    In `pixels` there are two players, as in the exercise: the critic, then encoder and decoder together, on one
    forward pass of theirs. That phase is the plain VAE's by name, hence by what it draws, and at lambda = 0 its loss
    has no other term: encoder, decoder and their buffers are then those of `vae`, byte for byte.

    In `features` there are three, as published, all at the same time on one forward pass: the encoder learns
    |f(x) - f(x')|^2 / 2 + beta KL, f being the critic's last layer and x' the reconstruction, which is
    -log N(f(x); f(x'), I) up to a constant; the decoder learns the former and lambda GAN, the critic its own loss.

    Held-out images are judged by the VAE's negative bound in pixels, without the factor of `mix`, whatever is
    trained: the one number that compares over lambda, over both forms, and with `vae`. It rises where sharpness is
    paid for in likelihood, so the best checkpoint need not be the one that draws best.
    """

    settings: VAEGANSettings
    replaceable: ClassVar[tuple[str, ...]] = (*VAE.replaceable, "critic")

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the VAE's networks, then the critic: encoder and decoder thus begin as those of the plain VAE."""
        super().build_networks(parts)
        settings, shape = self.settings, self.shape
        space = settings.reconstruction_space
        why = "compares features of our own critic; leave yours out, or take pixels"
        require(space == "pixels" or "critic" not in parts, "reconstruction_space", space, why)
        image = torch.zeros(2, shape[2], *shape[:2])
        self.critic = self.part(parts, "critic", image, (2, 1), self.make_critic)
        self.networks["critic"] = self.critic
        # What a judgement weighs, see `VAEGANSettings.adversarial_unit`.
        self.unit = math.prod(shape) * self.weight if settings.adversarial_unit == "value" else 1.0
        # What reconstruction and KL weigh, see `VAEGANSettings.mixing`.
        self.share = 1 - settings.lambda_ if settings.mixing == "mix" else 1.0
        # At lambda = 0 nothing may be decoded that the plain VAE does not: batch norm would take note of it.
        self.shows_samples = bool(settings.lambda_) and settings.judged != "reconstructions"

    def make_critic(self) -> nn.Module:
        """Build the critic that the settings describe."""
        s = self.settings
        look = Look(norm=s.critic_norm, activation="leaky", slope=0.2, bias=s.critic_norm == "none", norm_first=False)
        if s.tower == "mlp":
            return MLP(math.prod(self.shape), s.critic_widths or (256, 256), 1, look)
        return ConvEncoder(self.shape, s.critic_widths or auto_widths(self.shape, 64, 256), 1, look)

    def score(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the critic's judgement of images (B, C, H, W), (B,)."""
        return full(self.critic(self.seen(images))).squeeze(1)

    def seen(self, images: Tensor) -> Tensor:
        """Return images as the critic sees them, in [-1, 1] whatever the VAE's range."""
        return images if self.signed else images * 2 - 1

    def features(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return judgements (B,) and the features (B, F) behind them, by one forward pass."""
        features = self.critic.features(seen)  # type: ignore[operator]
        return full(self.critic.head(features)).squeeze(1), full(features)  # type: ignore[operator]

    # -- what the turns of a step share ------------------------------------------------------------------------

    def rebuilt(self, batch: Batch, turn: Turn) -> Rebuilt:
        """Encode, draw and decode a batch, once for all players; drawn exactly as the plain VAE's turn draws.

        Codes of the prior are decoded in the same pass, so that batch norm takes its statistics, of the batch and for
        later, over all that the decoder draws at a step. Of two passes each would be normalised by itself, and what is
        kept of both would fit neither when the model is asked: reconstructions were up to twice as far off.
        """

        def make() -> Rebuilt:
            draws = self.settings.draws
            posterior = self.encode(batch.images)
            z = self.drawn(posterior, turn, draws)
            drawn = turn.normal(len(batch.images), self.latent_dim) if self.shows_samples else z[:0]
            raw = self.raw(torch.cat([z, drawn]))
            terms = self.negative_bound(batch, posterior, z, raw[: len(z)], turn)
            image = self.likelihood.mean(raw[: len(z) : draws])
            samples = self.likelihood.mean(raw[len(z) :]) if self.shows_samples else None
            return Rebuilt(posterior, z, image, samples, terms)

        return turn.once(PLAIN, make, by=(self.encoder, self.decoder, self.likelihood))

    def fakes(self, rebuilt: Rebuilt) -> list[Tensor]:
        """Return what the critic is to tell from real images, a batch of each kind."""
        shown = [] if self.settings.judged == "samples" and self.shows_samples else [rebuilt.image]
        return shown if rebuilt.samples is None else [*shown, rebuilt.samples]

    def judgements(self, fakes: Sequence[Tensor]) -> Tensor:
        """Return the critic's judgements of batches of fakes, in a row, each a batch of its own to batch norm."""
        return torch.cat([self.score(fake) for fake in fakes])

    # -- two players: pixels -----------------------------------------------------------------------------------

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's half of the GAN's loss."""
        images = self.seen(batch.images)
        if self.settings.r1:
            images = images.detach().requires_grad_()
        fakes = [fake.detach() for fake in self.fakes(self.rebuilt(batch, turn))]
        return self.criticised(full(self.critic(images)).squeeze(1), self.judgements(fakes), images)

    def criticised(self, on_real: Tensor, on_fake: Tensor, images: Tensor) -> Terms:
        """Return the critic's loss from its judgements, of which those of `images` may have a price on their slope."""
        terms, r1 = Terms(), self.settings.r1
        for name, values in NONSATURATING.critic(on_real, on_fake).items():
            terms.add(name, values)
        if r1:
            terms.add("r1", zero_centred(on_real, images), r1)
        return terms.note("score_real", on_real.sigmoid()).note("score_fake", on_fake.sigmoid())

    def adversarial(self, terms: Terms, on_fake: Tensor) -> Terms:
        """Add the GAN's loss of what is decoded, -log D."""
        return terms.add("adversarial", NONSATURATING.generator(on_fake, on_fake), self.settings.lambda_ * self.unit)

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the VAE's loss with its share, and the adversarial one; validation judges as the plain VAE does."""
        if not turn.training:
            return super().loss(batch, turn)
        rebuilt = self.rebuilt(batch, turn)
        if not self.settings.lambda_:
            return rebuilt.terms
        on_fake = self.judgements(self.fakes(rebuilt))
        return self.adversarial(rebuilt.terms.times(self.share), on_fake)

    # -- three players: features -------------------------------------------------------------------------------

    def judged(self, batch: Batch, turn: Turn) -> Judged:
        """Rebuild a batch and show the critic everything, once for all three players."""

        def make() -> Judged:
            rebuilt, images = self.rebuilt(batch, turn), self.seen(batch.images)
            if self.settings.r1:
                images = images.detach().requires_grad_()
            on_real, real = self.features(images)
            on_rebuilt, features = self.features(self.seen(rebuilt.image))
            on_fake = [on_rebuilt if fake is rebuilt.image else self.score(fake) for fake in self.fakes(rebuilt)]
            squared = per_image((features - real.detach()) ** 2)
            return Judged(rebuilt, images, on_real, torch.cat(on_fake), 0.5 * squared)

        return turn.once("judged", make, by=(self.encoder, self.decoder, self.critic))

    def featured(self, judged: Judged) -> Terms:
        """Return the distance in the critic's features, with the numbers of the pixels to watch."""
        terms, watched = Terms().add("features", judged.distance, self.share), judged.rebuilt.terms.means
        terms.means |= {name: watched[name] for name in ("reconstruction", "mse") if name in watched}
        return terms

    def encoder_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the encoder's loss: distance in features, and KL; validation judges as the plain VAE does."""
        if not turn.training:
            return super().loss(batch, turn)
        judged = self.judged(batch, turn)
        kl = self.add_kl(Terms(), judged.rebuilt.posterior, judged.rebuilt.z, turn)
        return self.featured(judged).join(kl.times(self.share))

    def decoder_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the decoder's loss: distance in features, and the adversarial one."""
        judged = self.judged(batch, turn)
        terms = self.featured(judged)
        return self.adversarial(terms, judged.on_fake) if self.settings.lambda_ else terms

    def simultaneous_critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's loss from the judgements that the others learn by."""
        judged = self.judged(batch, turn)
        return self.criticised(judged.on_real, judged.on_fake, judged.images)

    def rounds(self) -> Sequence[Round]:
        """Two players in turn where pixels are compared, three at once where features are."""
        rate = self.settings.critic_lr
        if self.settings.reconstruction_space == "features":
            return [
                (
                    Phase("encoder", (self.encoder,), self.encoder_loss, validates=True),
                    Phase("decoder", (self.decoder,), self.decoder_loss),
                    Phase("critic", (self.critic,), self.simultaneous_critic_loss, lr=rate),
                )
            ]
        learns = (self.encoder, self.decoder, self.likelihood)
        return [
            Phase("critic", (self.critic,), self.critic_loss, lr=rate),
            Phase(PLAIN, learns, self.loss, validates=True),
        ]
