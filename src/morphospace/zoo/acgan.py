"""Auxiliary-classifier GAN (Odena et al. 2017): a critic that also says which class an image shows."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from morphospace.data.batches import Batch
from morphospace.models.distributions import full
from morphospace.objectives.terms import Terms
from morphospace.zoo.gan import CGAN
from morphospace.zoo.gan_towers import make_reader
from morphospace.zoo.settings_gan import ACGANSettings


class ACGAN(CGAN):
    """Critic and generator minimise the non-saturating loss + lambda L_C, L_C = -log C(y | x).

    The critic is not given the condition y; C, the classifier, reads its last features. The critic's turn has L_C of
    real images, the generator's L_C of generated ones. Attributes are classified one by one, and their cross-entropies
    added.

    As published, the critic's turn has L_C of generated images as well (`classify_generated`). Then C and the generator
    can agree on any image for a class, as long as C tells real from generated: a row of trousers may show shirts.

    L_C alone gains by images that lie far from the other classes. So images of a class become alike, and one that could
    belong to two classes is not drawn (Shu et al. 2017; Gong et al. 2019). `cgan` gives its critic the condition, and
    has no such pull.
    """

    settings: ACGANSettings
    informs_critic = False

    def make_readers(self) -> dict[str, nn.Module]:
        """Build the networks that read the critic's features."""
        assert self.conditioning is not None
        return {**super().make_readers(), "classifier": make_reader(self.settings, self.critic, self.conditioning.size)}

    def classify(self, terms: Terms, name: str, features: Tensor, batch: Batch) -> None:
        """Add L_C of images with features (B, F), and report how many are classified correctly."""
        assert self.conditioning is not None
        logits, wanted = full(self.readers["classifier"](features)), full(self.conditioning.from_batch(batch))
        if self.conditioning.kind == "label":
            cost = functional.cross_entropy(logits, wanted, reduction="none")
            right = logits.argmax(1) == wanted.argmax(1)
        else:
            cost = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)
            right = ((logits > 0) == (wanted > 0.5)).all(1)
        terms.add(f"class_{name}", cost, self.settings.classification).note(f"accuracy_{name}", right.float())

    def read_real(self, terms: Terms, features: Tensor, shown: Tensor, batch: Batch) -> None:
        """Add L_C of real images."""
        super().read_real(terms, features, shown, batch)
        self.classify(terms, "real", features, batch)

    def read_fake(self, terms: Terms, features: Tensor, z: Tensor, batch: Batch, *, by_critic: bool) -> None:
        """Add L_C of generated images; in the critic's turn only if the settings say so."""
        if not by_critic or self.settings.classify_generated:
            self.classify(terms, "fake", features, batch)
