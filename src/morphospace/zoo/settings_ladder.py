"""The settings of the ladder VAE; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from morphospace.errors import require
from morphospace.ranges import AtLeast, Below, Between
from morphospace.roles import AgainstCollapse, Role
from morphospace.zoo.registry import member
from morphospace.zoo.settings_vae import AESettings, Likelihoods


@member("ladder-vae", "morphospace.zoo.ladder_vae:LadderVAE", "Sønderby et al. 2016; Child 2021")
@dataclass(frozen=True, kw_only=True)
class LadderVAESettings(AESettings):
    """VAE with several levels of codes: the upper ones say what there is, those below how exactly it looks.

    Attributes:
        latent_dim: Number of latent dimensions of all levels together, those of the top first.
        levels: Number of levels. They share the latent dimensions evenly; the top gets what is left over.
        blocks: Residual blocks after each halving of the encoder, and after each level.
        skips: Keep the decoder's maps beside the codes, so that every level speaks to the image directly. Without them
            an upper level is heard through the codes below it only.
        norm: None: the path has no norms.
        init: None: the lower levels are used because of how the path's own layers begin.
        beta: Weight of the KL term; 1 is the ELBO.
        kl_warmup_images: The KL weight rises linearly from 0 over this many images.
        free_bits: KL of each level, in nats an image, that costs nothing: a remedy for levels that are not used (Kingma
            et al. 2016); 0 for none.
        samples: Number K of codes of each image in the bound; above 1 it is the importance-weighted one, which is
            tighter (Burda et al. 2016).
        samples_begin: Images that are trained on with one code each before, which takes about a K-th of the time.
    """

    sample_options: ClassVar[tuple[str, ...]] = ("hold",)

    likelihood: Likelihoods = "bernoulli"
    norm: Annotated[Literal["none"], Role.FIT] = "none"
    init: Annotated[Literal["default"], Role.FIT] = "default"
    levels: Annotated[int, Role.FIT, Between(1, 64)] = 3
    blocks: Annotated[int, Role.FIT, Between(1, 64)] = 1
    skips: Annotated[bool, Role.FIT] = True
    beta: Annotated[float, Below(0, 1e6), AgainstCollapse("a lower {flag}")] = 1.0
    kl_warmup_images: Annotated[int, AtLeast(0), AgainstCollapse()] = 0
    free_bits: Annotated[float, Below(0, 1000), AgainstCollapse()] = 0.0
    samples: Annotated[int, Between(1, 10_000)] = 1
    samples_begin: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = f"there are {self.latent_dim} latent dimensions, and each level needs one"
        require(self.levels <= self.latent_dim, "levels", self.levels, rule, "give a larger --latent-dim")
        alone = self.samples == 1 or (self.beta == 1 and not self.free_bits and self.reduction == "sum")
        rule, way_out = "importance weights need the whole bound", "leave out --beta, --free-bits and --reduction"
        require(alone, "samples", self.samples, rule, way_out)
        rule = "every image has one code from the beginning to the end"
        require(self.samples > 1 or not self.samples_begin, "samples_begin", self.samples_begin, rule, "add --samples")

    @property
    def dims(self) -> tuple[int, ...]:
        """Latent dimensions of each level, from the top."""
        each, rest = divmod(self.latent_dim, self.levels)
        return (each + rest, *[each] * (self.levels - 1))

    def beta_in_nats(self, values: int) -> float:
        """Return the beta of the equivalent bound in nats, for images of `values` numbers; see `in_nats`."""
        return self.in_nats(self.beta, values)
