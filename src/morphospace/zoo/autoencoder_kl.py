"""The autoencoder of latent diffusion (Rombach et al. 2022): codes are small maps, hardly held to a prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.contract import Model
from morphospace.models.distributions import DiagonalGaussian, full, per_image
from morphospace.models.features import Trunk
from morphospace.models.latent_maps import LatentDecoder, LatentEncoder, PatchCritic
from morphospace.models.towers import initialise
from morphospace.objectives.adversarial import HINGE, balanced_weight
from morphospace.objectives.perceptual import perceptual_distance
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.settings_latent import AutoencoderKLSettings

LOG_VARIANCES = -30.0, 20.0  # as published
MOMENTUM = 0.1  # of the running deviation of latents, as in batch norm


class LatentScale(nn.Module):
    """Between latent maps, as the encoder gives them, and codes with variance 1: z = (map - shift) / deviation.

    The deviation is that of all numbers of all maps, as latent diffusion takes it (Rombach et al. 2022, appendix G): a
    running mean of its logarithm over the training batches. There is no shift but in adopted models.
    """

    log_deviation: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_deviation", torch.zeros(()))
        self.register_buffer("shift", torch.zeros(()))

    @torch.no_grad()
    def follow(self, maps: Tensor) -> None:
        """Move the deviation towards that of a batch's maps."""
        log_deviation = full(maps).std(correction=0).clamp(min=1e-6).log()
        self.log_deviation.lerp_(log_deviation.to(self.log_deviation.dtype), MOMENTUM)

    def codes(self, maps: DiagonalGaussian) -> DiagonalGaussian:
        """Return the distribution of codes (B, D) that belongs to one of maps (B, D)."""
        mean = (maps.mean - self.shift) * (-self.log_deviation).exp()
        return DiagonalGaussian(mean, maps.log_variance - 2 * self.log_deviation)

    def maps(self, z: Tensor) -> Tensor:
        """Return the maps of codes, in any shape."""
        return z * self.log_deviation.exp() + self.shift

    def forward(self, given: Tensor | DiagonalGaussian) -> Tensor | DiagonalGaussian:
        """Return the maps of codes, or the distribution of codes that belongs to one of maps."""
        return self.maps(given) if isinstance(given, Tensor) else self.codes(given)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One forward pass.

    Attributes:
        posterior: q(map | x) of the batch, (B, D).
        maps: Maps sampled from it, or its mean in validation, (B, D).
        images: Reconstructions (B, C, H, W), without bounds.
    """

    posterior: DiagonalGaussian
    maps: Tensor
    images: Tensor


class AutoencoderKL(Model):
    """Minimises |x - x'| + perceptual CHW d(x, x') + beta KL(q(map | x) || N(0, I)) + w adversarial (-D(x')).

    |.| is summed over the pixels, in [-1, 1]: -log of a Laplace density of scale 1, up to a constant. d is a distance
    by features, which the published code adds to the error of every value of an image, hence the factor CHW. There,
    too, both errors and the KL are sums over an image and its map, so that its weights (KL 1e-6, perceptual 1)
    are ours. D judges patches by the hinge loss, and is averaged over them. w is the ratio of the
    gradients of the first two terms and of -D at the decoder's last layer.

    A code of the model is the map, flattened and divided by the deviation of all maps, as a diffusion model takes it.
    The KL is that of the maps themselves. So small a weight leaves codes far from N(0, I), and the model has no prior
    until one is fitted to the codes of training images.

    Validation leaves the critic out: its loss compares over the whole run, and the best checkpoint is that which
    reconstructs best.
    """

    settings: AutoencoderKLSettings
    averaged: ClassVar[tuple[str, ...]] = ("encoder", "decoder")  # type: ignore[misc]

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build encoder and decoder, the critic if there is one, and the network that features are taken from."""
        s, (height, width, channels) = self.settings, self.shape
        places = (s.latent_dim, *s.grid(self.shape))
        how: dict[str, Any] = {
            "blocks": s.blocks,
            "groups": s.groups,
            "attention": s.attention,
            "quant_conv": s.quant_conv,
        }
        self.encoder = LatentEncoder(channels, s.widths, s.latent_dim, **how)
        self.decoder = LatentDecoder(channels, s.widths, places, **how)
        self.scale = LatentScale()
        self.networks.update({"encoder": self.encoder, "decoder": self.decoder, "scale": self.scale})
        if s.adversarial:
            self.critic = PatchCritic(channels, s.critic_layers(self.shape), s.critic_norm)
            self.networks["critic"] = self.critic
        for network in self.networks.values():
            initialise(network, s.init)
        if s.perceptual:
            self.memory["features"] = Trunk(self.shape).eval()
        self.signed, self.prior = True, None
        self.values = height * width * channels

    def posterior(self, images: Tensor) -> DiagonalGaussian:
        """Return q(map | x) of images (B, C, H, W), maps flattened to (B, D)."""
        mean, log_variance = full(self.encoder(images)).chunk(2, 1)
        return DiagonalGaussian(mean, log_variance.clamp(*LOG_VARIANCES))

    def image(self, maps: Tensor) -> Tensor:
        """Return the decoder's output (B, C, H, W), without bounds, of maps (B, D)."""
        return full(self.decoder(maps))

    def encode(self, images: Tensor, condition: Tensor | None = None) -> DiagonalGaussian:
        """Return the distribution of the codes (B, D) of images (B, C, H, W) in [-1, 1]."""
        return self.scale(self.posterior(images))  # called as a layer, so that exports keep its buffers

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return images (B, C, H, W) in [-1, 1] of codes (B, D)."""
        return self.image(self.scale(z)).clamp(-1, 1)

    def perceptual(self, real: Tensor, rebuilt: Tensor) -> Tensor:
        """Return the distance of reconstructions from images (B, C, H, W) in [-1, 1] by their features, (B,)."""
        features = self.memory["features"]
        assert isinstance(features, Trunk)
        dtype = features.project.weight.dtype
        with torch.no_grad():  # nothing that learns is in the real images
            wanted = features.maps((real.to(dtype) + 1) / 2)
        return perceptual_distance(wanted, features.maps((rebuilt.to(dtype) + 1) / 2))

    def rebuilt(self, batch: Batch, turn: Turn) -> Rebuilt:
        """Encode and decode a batch, once for both players."""

        def make() -> Rebuilt:
            posterior = self.posterior(batch.images)
            maps = posterior.sample(turn.normal(*posterior.mean.shape)) if turn.training else posterior.mean
            return Rebuilt(posterior, maps, self.image(maps))

        return turn.once("rebuilt", make, by=(self.encoder, self.decoder)) if turn.training else make()

    def critic_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the critic's hinge loss, over all patches of real and reconstructed images."""
        on_real, on_fake = self.critic(batch.images), self.critic(self.rebuilt(batch, turn).images.detach())
        terms = Terms()
        for name, values in HINGE.critic(on_real, on_fake).items():
            terms.add(name, values)
        return terms.note("score_real", on_real).note("score_fake", on_fake)

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return the errors and the KL, and while training what the critic says; the scale follows the maps."""
        s, rebuilt = self.settings, self.rebuilt(batch, turn)
        difference = batch.images - rebuilt.images
        errors = difference.abs() if s.reconstruction == "absolute" else difference.square()
        terms = Terms().add("reconstruction", per_image(errors))
        if s.perceptual:
            terms.add("perceptual", self.perceptual(batch.images, rebuilt.images), s.perceptual * self.values)
        if turn.training:
            self.scale.follow(turn.gathered(rebuilt.maps))
            if s.adversarial and turn.clock.reached(s.adversarial_begins):
                self.add_adversarial(terms, rebuilt.images, turn)
        terms.add("kl", rebuilt.posterior.kl(), s.beta)
        return terms.note("mse", (rebuilt.images.clamp(-1, 1) - batch.images).square())

    def add_adversarial(self, terms: Terms, images: Tensor, turn: Turn) -> Terms:
        """Add the critic's word of reconstructed images, weighted by the gradients of the terms that are there."""

        def shared(gradient: Tensor) -> Tensor:
            return turn.gathered(gradient[None]).mean(0)

        values = HINGE.generator(on_fake := self.critic(images), on_fake)
        ratio = balanced_weight(terms.total(), full(values).mean(), self.decoder.conv_out.weight, shared)
        terms.note("adversarial_ratio", ratio)
        return terms.add("adversarial", values * ratio, self.settings.adversarial)

    def rounds(self) -> Sequence[Round]:
        """Return the critic's phase, if there is one, then that of encoder and decoder, on the same pass."""
        s = self.settings
        both = Phase("autoencoder", (self.encoder, self.decoder), self.loss, validates=True)
        if not s.adversarial:
            return [both]
        return [Phase("critic", (self.critic,), self.critic_loss, lr=s.critic_lr, begins=s.adversarial_begins), both]
