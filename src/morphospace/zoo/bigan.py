"""BiGAN (Donahue et al. 2017; ALI, Dumoulin et al. 2017): a GAN with an encoder, whose critic judges pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.distributions import Point, Posterior, full
from morphospace.models.layers import PairCritic, limit_spectrum
from morphospace.models.residual import ResidualEncoder
from morphospace.models.towers import MLP, ConvEncoder, Look, initialise
from morphospace.objectives.adversarial import NONSATURATING, AdversarialLoss
from morphospace.objectives.penalties import differentiable, zero_centred
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.gan import GAN
from morphospace.zoo.gan_towers import critic_widths, make_critic_tower
from morphospace.zoo.settings_both import BiGANSettings


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images with their codes.

    Attributes:
        images: (B, C, H, W), as the critic sees them.
        codes: (B, D).
        judged: The critic's logits, (B,).
    """

    images: Tensor
    codes: Tensor
    judged: Tensor


@dataclass(frozen=True, slots=True)
class Game:
    """One forward pass of all players.

    Attributes:
        real: Images of the data with the encoder's codes.
        fake: Generated images with the codes that they came from.
        again: The encoder's codes of the generated images, (B, D), if it learns from them.
    """

    real: Pairs
    fake: Pairs
    again: Tensor | None = None


class BiGAN(GAN):
    """A critic D of pairs tells (x, E(x)), for images x, from (G(z), z), for z ~ N(0, I).

    D minimises -log D(x, E(x)) - log(1 - D(G(z), z)). Generator and encoder want the opposite: G minimises
    -log D(G(z), z) and E minimises -log(1 - D(x, E(x))). All three learn at the same time, on one forward pass, as
    published. At the optimum both kinds of pairs have one distribution, and then E inverts G almost everywhere
    (Donahue et al. 2017). No pixels are ever compared. E gives one code an image, as in BiGAN; that of ALI (Dumoulin et
    al. 2017) gives a Gaussian.

    Two things are added, because in a CPU's minutes the critic hardly learns what goes with what. Of a generated image
    the code is known, and E minimises `code_error` x |z - E(G(z))|^2 / D as well, as the latent regressor does that
    the paper compares with; no gradient of it reaches G. And R1, over an image and its code together, keeps the critic
    from winning.
    """

    settings: BiGANSettings
    objective: ClassVar[AdversarialLoss] = NONSATURATING
    replaceable: ClassVar[tuple[str, ...]] = ("generator", "encoder")
    averaged: tuple[str, ...] = ("generator", "encoder")
    decodes_prior = True

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build generator and critic, then the encoder."""
        super().build_networks({name: part for name, part in parts.items() if name != "encoder"})
        image = torch.zeros(2, self.shape[2], *self.shape[:2])
        self.encoder = self.part(parts, "encoder", image, (2, self.latent_dim), self.make_encoder)
        self.networks["encoder"] = self.encoder

    def make_encoder(self) -> nn.Module:
        """Build the encoder: the generator's mirror, with batch norm from its second layer on where it convolves."""
        s, widths, units = self.settings, critic_widths(self.settings, self.shape), self.latent_dim
        look = Look(activation="leaky", slope=s.slope, norm_first=False)
        if s.tower == "residual":
            return ResidualEncoder(self.shape, widths, units, s.blocks)
        if s.tower == "mlp":
            return initialise(MLP(math.prod(self.shape), widths, units, look), s.init)
        return initialise(ConvEncoder(self.shape, widths, units, look, attention=s.attention), s.init)

    def make_critic(self) -> nn.Module:
        """Build the critic of pairs."""
        s = self.settings
        critic = PairCritic(make_critic_tower(s, self.shape, s.pair_width), self.latent_dim, s.pair_width, s.slope)
        initialise(critic.code, s.init)
        initialise(critic.join, s.init)
        return limit_spectrum(critic) if s.spectral_norm else critic

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Posterior:
        """Return the codes of images (B, C, H, W) in [-1, 1], one each."""
        return Point(full(self.encoder(images)))

    def score(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the critic's judgement of images in [-1, 1] with their codes, (B,)."""
        return self.judge(images, self.encode(images).mean)

    # -- one forward pass for all players --------------------------------------------------------------------

    def pairs(self, batch: Batch, turn: Turn) -> Game:
        """Return both kinds of pairs as judged; made once for all players."""

        def make() -> Game:
            x, z = batch.images, turn.normal(len(batch.images), self.latent_dim)
            made = self.decode(z)
            # In one pass, so that batch norm takes its statistics over all that the encoder sees.
            code, *again = self.encode(torch.cat([x, made.detach()]) if self.settings.code_error else x).mean.split(
                len(x)
            )
            real, fake = self.shown(turn, x), self.shown(turn, made)
            if self.settings.penalised:  # the others have a gradient already
                real, z = differentiable(real), differentiable(z)
            with self.one_norm():
                first, second = Pairs(real, code, self.judge(real, code)), Pairs(fake, z, self.judge(fake, z))
            return Game(first, second, *again)

        return turn.once("pairs", make, by=(self.generator, self.encoder, self.critic))

    # -- the critic ------------------------------------------------------------------------------------------

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's half of the loss pair, with the gradient penalties if they are due on every step."""
        pairs = self.pairs(batch, turn)
        terms = self.add_judgements(Terms(), pairs.real.judged, pairs.fake.judged)
        return terms.join(self.penalty_loss(batch, turn)) if self.settings.penalty_every == 1 else terms

    def penalty_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the gradient penalties alone, over an image and its code."""
        s, terms, pairs = self.settings, Terms(), self.pairs(batch, turn)
        for name, gamma, pair in (("r1", s.r1, pairs.real), ("r2", s.r2, pairs.fake)):
            if gamma:
                penalty = zero_centred(pair.judged, pair.images) + zero_centred(pair.judged, pair.codes)
                terms.add(name, penalty, self.penalty_weight(gamma, turn))
        return terms

    # -- generator and encoder -------------------------------------------------------------------------------

    def generator_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return what generator and encoder minimise: to the encoder, fakes are the real ones."""
        pairs = self.pairs(batch, turn)
        on_real, on_fake = pairs.real.judged, pairs.fake.judged
        terms = Terms().add("adversarial", self.objective.generator(on_fake, on_real))
        terms.add("encoder", self.objective.generator(-on_real, -on_fake))
        if pairs.again is not None:
            terms.add("code_error", ((pairs.again - pairs.fake.codes) ** 2).mean(1), self.settings.code_error)
        return terms

    def rounds(self) -> Sequence[Round]:
        """Return critic against generator and encoder, simultaneous; then a phase for lazy gradient penalties."""
        s, critic = self.settings, (self.critic,)
        after = self.clip_weights if s.weight_clip else None
        both = (self.generator, self.encoder)
        game = Phase("critic", critic, self.critic_loss, lr=s.critic_lr, after=after)
        rounds: list[Round] = [(game, Phase("generator", both, self.generator_loss))]
        if s.penalised and s.penalty_every > 1:
            every, rate = s.penalty_every, s.critic_lr
            rounds.append(
                Phase("penalty", critic, self.penalty_loss, every=every, optimizer="critic", lr=rate, after=after)
            )
        return rounds
