"""InfoGAN (Chen et al. 2016): a GAN whose images say which codes they were generated from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.distributions import DiagonalGaussian, full
from morphospace.models.layers import judge_with_features
from morphospace.models.recognition import CodeLayout, Recognition
from morphospace.objectives.adversarial import NONSATURATING
from morphospace.objectives.terms import Terms
from morphospace.zoo.gan import GAN
from morphospace.zoo.gan_towers import make_reader
from morphospace.zoo.settings_gan import InfoGANSettings


class InfoGAN(GAN):
    """Critic and generator minimise the non-saturating loss - lambda L_I, L_I = E[log Q(c | G(z, c))] + H(c).

    c are the categories and continuous codes of a code, z the noise beside them. L_I is at most the mutual information
    I(c; G(z, c)). Q, the recogniser, reads the critic's last features and learns with the critic, as published.
    `information` in the log is L_I in nats, at most log K for each variable of K categories.

    Every code is a vector of N(0, I), as of any GAN. The largest of a variable's dimensions is its category, which has
    then no gradient; a continuous code is N(0, 1), where the paper has a uniform one. Q gives it a mean and a variance,
    not below 0.1, and its part of L_I has a smaller lambda, as published: it has no upper limit, and a generator that
    raises it further lets noise change nothing, since this would be in the way. The generator is given 0 and 1 for the
    categories: three times as much, and it learns from them alone, so that all images of a category are the same.
    """

    settings: InfoGANSettings
    objective = NONSATURATING
    replaceable: ClassVar[tuple[str, ...]] = ("generator",)

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build generator, critic, and the recogniser of the critic's features."""
        s = self.settings
        self.layout = CodeLayout(s.variables, s.categories, s.continuous)
        super().build_networks(parts)

    def make_readers(self) -> dict[str, nn.Module]:
        """Build the networks that read the critic's features."""
        outputs = self.layout.categorical + 2 * self.layout.continuous
        return {**super().make_readers(), "recogniser": make_reader(self.settings, self.critic, outputs)}

    def given_to_networks(self, z: Tensor) -> Tensor:
        """Return codes (B, D) as the generator is given them, categories one-hot."""
        return self.layout.spoken(z)

    def recognised(self, features: Tensor) -> Recognition:
        """Return q(c | x) for the critic's features (B, F)."""
        return Recognition.of(self.layout, full(self.readers["recogniser"](features)))

    def looked_at(self, images: Tensor) -> Recognition:
        """Return q(c | x) for images (B, C, H, W) in [-1, 1]."""
        return self.recognised(judge_with_features(self.critic, images)[1])

    def recognise(self, images: Tensor) -> DiagonalGaussian:
        """Return what images say of each dimension of the code; those of noise are N(0, 1)."""
        return self.looked_at(images).posterior(self.latent_dim)

    def categorise(self, images: Tensor) -> Tensor:
        """Return the number of each variable's most probable category, (B, variables)."""
        return self.looked_at(images).logits.argmax(2) if self.layout.categorical else images.new_zeros(len(images), 0)

    def read_fake(self, terms: Terms, features: Tensor, z: Tensor, batch: Batch, *, by_critic: bool) -> None:
        """Add -log Q(c | x) and report the bound on the information."""
        found = self.recognised(features)
        of_categories, of_continuous = found.log_probs(z)
        if self.layout.categorical:
            terms.add("categories", -of_categories, self.settings.information)
        if self.layout.continuous:
            terms.add("continuous", -of_continuous, self.settings.continuous_information)
        terms.note("information", found.information(z))
