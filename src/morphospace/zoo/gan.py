"""The GANs of the zoo: turns of generator and critic, remedies, and each member's loss pair."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import parametrize

from morphospace.data.batches import Batch
from morphospace.errors import SettingError, require
from morphospace.models.contract import Model
from morphospace.models.distributions import full
from morphospace.models.layers import judge_with_features, pack
from morphospace.models.memory import ReplayMemory
from morphospace.objectives.adversarial import (
    HINGE,
    LEAST_SQUARES,
    NONSATURATING,
    RELATIVISTIC,
    WASSERSTEIN,
    AdversarialLoss,
    feature_distance,
    unrolled,
)
from morphospace.objectives.augment import DRAWS, augment
from morphospace.objectives.clock import cosine
from morphospace.objectives.penalties import between, differentiable, one_centred, zero_centred
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.gan_towers import make_critic, make_generator, make_redrawer
from morphospace.zoo.settings_gan import ConditionalGANSettings, GANSettings

KEPT = 8  # one of so many fakes of the critic goes into the replay memory


class GAN(Model):
    """A generator that ends in tanh and a critic that judges images; images are in [-1, 1].

    Real and generated images pass the critic in batches of their own, so that its batch norm sees one kind at a
    time, as published.
    """

    settings: GANSettings
    objective: ClassVar[AdversarialLoss]
    replaceable: ClassVar[tuple[str, ...]] = ("generator", "critic")
    averaged: tuple[str, ...] = ("generator",)
    default_ema_halflife_images = 10_000
    informs_critic: ClassVar[bool] = True
    """Whether the critic is given the condition of a conditional model."""

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build generator, critic and replay memory."""
        self.signed = True
        s, shape, conditioning = self.settings, self.shape, self.conditioning
        code, seen = torch.zeros(2, self.latent_dim), torch.zeros(2, shape[2] * s.packing, *shape[:2])
        self.generator = self.part(
            parts, "generator", code, (2, shape[2], *shape[:2]), lambda: make_generator(s, shape, conditioning)
        )
        if "critic" in parts:
            for name in ("spectral_norm", "minibatch_discrimination", "feature_matching", "critic_reconstruction"):
                value = getattr(s, name)
                way_out = "build it into yours, or leave it out"
                require(not value, name, value, "is part of the built-in critic", way_out)
        self.critic = self.part(parts, "critic", seen, (2, 1), self.make_critic)
        self.networks = nn.ModuleDict({"generator": self.generator, "critic": self.critic})
        self.readers = self.make_readers()
        self.networks.update(self.readers)
        if s.replay:
            self.replay = ReplayMemory(s.replay_images, shape)
            self.memory["replay"] = self.replay

    def make_critic(self) -> nn.Module:
        """Build the critic that the settings describe."""
        conditioning = self.conditioning if self.informs_critic else None
        return make_critic(self.settings, self.shape, conditioning, self.objective.shifts)

    def make_readers(self) -> dict[str, nn.Module]:
        """Build the networks that read the critic's features, and learn with it, by name."""
        s = self.settings
        return {"redrawer": make_redrawer(s, self.shape)} if s.critic_reconstruction else {}

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return images (B, C, H, W) in [-1, 1] for codes (B, D), and conditions (B, K) where the model has any."""
        z = self.given_to_networks(z)
        if self.conditioning is None:
            return torch.tanh(full(self.generator(z)))
        if condition is None:
            names = ", ".join(self.conditioning.names[:8])
            raise SettingError("condition = None", rule=f"{self.settings.name} needs a condition: {names}")
        return torch.tanh(full(self.generator(z, condition)))

    def score(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the critic's judgement of images in [-1, 1], (B,).

        Raises:
            SettingError: If the critic judges several images at once, or needs a condition and gets none.
        """
        m, kernels = self.settings.packing, self.settings.minibatch_discrimination
        why = "this critic compares the images of a batch, so no image has a score of its own"
        way_out = "take a run without it"
        require(not kernels, "minibatch_discrimination", kernels, why, way_out)
        why = "this critic judges several images at once, so none has a score of its own"
        require(m == 1, "packing", m, why, way_out)
        if self.conditioning is None or not self.informs_critic:
            return self.judge(images)
        require(condition is not None, "condition", condition, "this critic needs the condition of every image")
        return self.judge(images, condition)

    # -- what the critic sees --------------------------------------------------------------------------------

    def fakes(self, turn: Turn, batch: Batch) -> tuple[Tensor, Tensor]:
        """Generate as many images as there are real ones, for the conditions of the real ones; return codes, images."""
        z = turn.normal(len(batch.images), self.latent_dim)
        return z, self.decode(z, self.condition_of(batch))

    def shared_fakes(self, turn: Turn, batch: Batch) -> tuple[Tensor, Tensor]:
        """Generate fakes that both players see."""
        return turn.once("fakes", lambda: self.fakes(turn, batch), by=(self.generator,))

    def fresh_fakes(self, turn: Turn, batch: Batch) -> tuple[Tensor, Tensor]:
        """Generate fakes for the critic's turn."""
        if self.settings.share_fakes:
            z, images = self.shared_fakes(turn, batch)
            return z, images.detach()

        def make() -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                return self.fakes(turn, batch)

        # When the turn is over the memory stores some of the same ones.
        return turn.once("critic/fakes", make, by=(self.generator,)) if self.settings.replay else make()

    def critics_fakes(self, turn: Turn, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return codes and fakes for the critic, some of the fakes from the replay memory, which keeps no codes."""
        (z, fakes), share = self.fresh_fakes(turn, batch), self.settings.replay
        return z, self.replay.mix(fakes, share, turn.uniform(len(fakes))) if share else fakes

    def shown(self, turn: Turn, images: Tensor) -> Tensor:
        """Return images as the critic sees them: augmented and packed, real and generated ones in the same way."""
        s = self.settings
        why = f"a batch of {len(images)} images does not divide by it; choose a --batch-size that does"
        require(len(images) % s.packing == 0, "packing", s.packing, why)
        if s.augment:
            images = augment(images, s.augment, turn.uniform(len(images), DRAWS))
        return pack(images, s.packing)

    def condition_shown(self, batch: Batch) -> Tensor | None:
        """Return the conditions as the critic sees them, packed as its images are; None if it is given none."""
        condition = self.condition_of(batch) if self.informs_critic else None
        return None if condition is None else pack(condition, self.settings.packing)

    def judge(self, shown: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the critic's judgements, (B,), of images that are augmented and packed already."""
        return full(self.critic(shown) if condition is None else self.critic(shown, condition)).squeeze(1)

    # -- the critic's turn -----------------------------------------------------------------------------------

    def one_norm(self) -> AbstractContextManager[object]:
        """Return a context in which a spectral norm takes one step and is the same for real and generated images."""
        return parametrize.cached() if self.settings.spectral_norm else contextlib.nullcontext()

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's half of the loss pair, with the gradient penalties if they are due on every step."""
        return self.critic_terms(batch, turn, penalised=self.settings.penalty_every == 1, adversarial=True)

    def penalty_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the gradient penalties alone."""
        return self.critic_terms(batch, turn, penalised=True, adversarial=False)

    def critic_terms(self, batch: Batch, turn: Turn, *, penalised: bool, adversarial: bool) -> Terms:
        """Return what the critic minimises; a penalty differentiates the judgements that the loss is computed from."""
        s, terms, condition = self.settings, Terms(), self.condition_shown(batch)
        r1, r2 = (penalised and gamma > 0 for gamma in (s.r1, s.r2))
        z, fakes = self.critics_fakes(turn, batch)
        fake = self.shown(turn, fakes)
        real = self.shown(turn, batch.images)
        real, fake = (differentiable(side) if on else side for side, on in ((real, r1), (fake, r2)))
        with self.one_norm():
            if adversarial or r1 or r2:
                on_real, of_real = self.judge_and_look(real, condition)
                on_fake, of_fake = self.judge_and_look(fake, condition)
            if adversarial:
                self.add_judgements(terms, on_real, on_fake)
                if of_real is not None and of_fake is not None:
                    self.read_real(terms, of_real, real, batch)
                    self.read_fake(terms, of_fake, z, batch, by_critic=True)
            if r1:
                terms.add("r1", zero_centred(on_real, real), self.penalty_weight(s.r1, turn))
            if r2:
                terms.add("r2", zero_centred(on_fake, fake), self.penalty_weight(s.r2, turn))
            if penalised and s.gradient_penalty:
                points = between(real.detach(), fake.detach(), turn.uniform(len(real)))
                penalty = one_centred(lambda x: self.judge(x, condition), points)
                terms.add("gradient_penalty", penalty, s.gradient_penalty)
        return terms

    def add_judgements(self, terms: Terms, on_real: Tensor, on_fake: Tensor) -> Terms:
        """Add the critic's half of the loss pair, and as numbers to watch what it says of real and generated images."""
        for name, values in self.objective.critic(on_real, on_fake).items():
            terms.add(name, values)
        for name, score in (("score_real", on_real), ("score_fake", on_fake)):
            terms.note(name, score.sigmoid() if self.objective.logits else score)
        return terms

    def judge_and_look(self, shown: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the critic's judgements, (B,), and the features behind them, if a network reads them."""
        if self.readers:
            return judge_with_features(self.critic, shown, condition)
        return self.judge(shown, condition), None

    def read_real(self, terms: Terms, features: Tensor, shown: Tensor, batch: Batch) -> None:
        """Add what must be read from the critic's features of real images: the images, if they are drawn again."""
        if weight := self.settings.critic_reconstruction:
            terms.add("redrawn", self.redrawn(features, shown), weight)

    def read_fake(self, terms: Terms, features: Tensor, z: Tensor, batch: Batch, *, by_critic: bool) -> None:
        """Add what must be read from the critic's features of generated images; the generator learns from it too.

        Args:
            terms: The terms of the critic's turn, or of the generator's.
            features: (B, F).
            z: (B, D), the codes of the images.
            batch: The batch whose conditions they have.
            by_critic: Whether it is the critic's turn.
        """

    def redrawn(self, features: Tensor, shown: Tensor) -> Tensor:
        """Return the mean |T(f(x)) - small(x)| over pixels, (B,): T draws from the last map f (Liu et al. 2021).

        small(x) is the image that the critic saw, averaged to the size that T draws, at most 32x32.
        """
        pictures = full(self.readers["redrawer"](features))
        height, width = pictures.shape[2:]
        small = functional.adaptive_avg_pool2d(full(shown.detach()), (height, width))
        return (pictures - small).abs().flatten(1).mean(1)

    def penalty_weight(self, gamma: float, turn: Turn) -> float | Tensor:
        """Return r1's or r2's weight, `gamma`, as it is for the images' size and the images seen."""
        s, (height, width, _) = self.settings, self.shape
        by_size = height * width / 64**2 if s.penalty_by_size else 1.0
        if not s.penalty_decay_images:
            return gamma * by_size
        decays = s.penalty_decay_images
        return turn.clock.scheduled(lambda clock: gamma * (by_size * (0.1 + 0.9 * cosine(clock.images, decays))))

    @torch.no_grad()
    def clip_weights(self, batch: Batch, turn: Turn) -> None:
        """Clip the critic's weights, if the settings limit them."""
        if most := self.settings.weight_clip:
            for parameter in self.critic.parameters():
                parameter.clamp_(-most, most)

    @torch.no_grad()
    def after_critic(self, batch: Batch, turn: Turn) -> None:
        """Clip the critic's weights, and store some of the fakes in the replay memory."""
        s = self.settings
        self.clip_weights(batch, turn)
        if s.replay:
            _, fakes = self.fresh_fakes(turn, batch)
            fakes = fakes[: math.ceil(len(fakes) / KEPT)]
            self.replay.push(fakes, turn.once("replay/places", lambda: turn.uniform(len(fakes)), by=()))

    # -- the generator's turn --------------------------------------------------------------------------------

    def generator_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the generator's half of the loss pair; it learns through the critic, which does not move."""
        s, condition = self.settings, self.condition_shown(batch)
        z, fakes = self.shared_fakes(turn, batch) if s.share_fakes else self.fakes(turn, batch)
        fake = self.shown(turn, fakes)
        needs_real = self.objective.pairs or s.feature_matching or s.unrolled
        real = self.shown(turn, batch.images) if needs_real else fake
        if s.unrolled:
            on_fake, on_real = self.judge_ahead(real, fake, condition)
            return Terms().add("adversarial", self.objective.generator(on_fake, on_real))
        features: Tensor | None
        with self.one_norm():
            if s.feature_matching:
                on_fake, features = judge_with_features(self.critic, fake, condition)
                with torch.no_grad():  # real images do not depend on the generator
                    on_real, wanted = judge_with_features(self.critic, real, condition)
            else:
                on_fake, features = self.judge_and_look(fake, condition)
                with torch.no_grad():
                    on_real = self.judge(real, condition) if self.objective.pairs else on_fake
        terms = Terms().add("adversarial", self.objective.generator(on_fake, on_real))
        if features is not None:
            self.read_fake(terms, features, z, batch, by_critic=False)
            if s.feature_matching:
                terms.add("features", feature_distance(wanted, features), s.feature_matching)
        return terms

    def judge_ahead(self, real: Tensor, fake: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the judgements of fake and real by the critic as it will be some steps ahead.

        The critic's buffers are copies: this updates no batch norm and no spectral norm.
        """
        buffers = {name: buffer.clone() for name, buffer in self.critic.named_buffers()}
        more = () if condition is None else (condition,)

        def judge(weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
            return full(functional_call(self.critic, {**weights, **buffers}, (images, *more))).squeeze(1)

        def loss(weights: Mapping[str, Tensor]) -> Tensor:
            values = self.objective.critic(judge(weights, real), judge(weights, fake)).values()
            return torch.stack([value.mean() for value in values]).sum()

        now = {name: p for name, p in self.critic.named_parameters() if p.requires_grad}
        ahead = unrolled(loss, now, self.settings.unrolled, self.settings.unrolled_lr)
        on_fake = judge(ahead, fake)
        return on_fake, judge(ahead, real) if self.objective.pairs else on_fake

    def rounds(self) -> Sequence[Round]:
        """Return the critic's turns, a phase for lazy gradient penalties if there are any, and the generator's turn."""
        s = self.settings
        learns = (self.critic, *self.readers.values())
        after = self.after_critic if s.weight_clip or s.replay else None
        phases = [Phase("critic", learns, self.critic_loss, turns=s.turns, lr=s.critic_lr, after=after)]
        if s.penalised and s.penalty_every > 1:
            clip = self.clip_weights if s.weight_clip else None
            # As many turns as the critic has, so that an update of it has the same penalty on average as with each.
            penalty = Phase(
                "penalty",
                (self.critic,),
                self.penalty_loss,
                turns=s.turns,
                every=s.penalty_every,
                optimizer="critic",
                lr=s.critic_lr,
                after=clip,
            )
            phases.append(penalty)
        return [*phases, Phase("generator", (self.generator,), self.generator_loss)]


class DCGAN(GAN):
    """-log D(x) - log(1 - D(G(z))) against -log D(G(z)), in convolutional towers (Radford et al. 2016)."""

    objective = NONSATURATING


class WGAN(GAN):
    """f(G(z)) - f(x) against -f(G(z)), the critic's slope limited by clipping its weights (Arjovsky et al. 2017).

    The critic's lead on real images bounds a multiple of the earth mover's distance from below.
    """

    objective = WASSERSTEIN


class WGANGP(GAN):
    """WGAN with 10 (|gradient| - 1)^2 at points between real and generated images (Gulrajani et al. 2017).

    The gradient's norm is taken over the whole image, as in the paper; some teaching material takes it pixel by pixel.
    """

    objective = WASSERSTEIN


class SNGAN(GAN):
    """Hinge loss and a critic whose layers have a largest singular value of 1 (Miyato et al. 2018)."""

    objective = HINGE


class FastGAN(GAN):
    """GAN for few images, small and quick: the hinge loss, after FastGAN (Liu et al. 2021).

    The critic sees augmented images only, and its layers have a largest singular value of 1; it learns twice as fast as
    the generator (Heusel et al. 2017). The generator doubles its maps by repeating places, and its small maps scale the
    channels of its large ones (skip-layer excitation).

    Parts of the paper that are not here: gated units and noise in the generator, batch norm in the critic, and by
    default the critic's redrawing of real images (`--critic-reconstruction 1`).
    """

    objective = HINGE


class LSGAN(GAN):
    """Squared errors to the targets 1 for real and 0 for generated images, 1 for the generator (Mao et al. 2017)."""

    objective = LEAST_SQUARES


class R3GAN(GAN):
    """Each fake is compared with a real image; R1 and R2 make the game converge locally (Huang et al. 2024).

    The paper's generator has a linear output. This one ends in tanh, as every GAN here, so that pixels stay in range.
    """

    objective = RELATIVISTIC


class CGAN(GAN):
    """An embedding of the condition joins the code; the critic judges whether an image is real and of that kind.

    Fakes have the conditions of the real images in the batch, so that both sides have each condition equally often
    (Mirza & Osindero 2014; Miyato & Koyama 2018 for the projection critic).
    """

    settings: ConditionalGANSettings
    objective = NONSATURATING
    replaceable: ClassVar[tuple[str, ...]] = ()

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the networks.

        Raises:
            SettingError: If the data give no condition.
        """
        rule = "a conditional model needs data with this condition for each image"
        require(self.conditioning is not None, "condition", self.settings.condition, rule)
        super().build_networks(parts)
