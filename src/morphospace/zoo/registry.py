"""The models by name, and the settings that all of them have; free of torch.

A model is one settings class, registered by the decorator `member`, and the class that it names as its implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from morphospace.errors import nearest, require
from morphospace.plugins import BRING_IT, NotHere, Registry
from morphospace.ranges import Above, Below, Between, check_ranges
from morphospace.roles import Role

if TYPE_CHECKING:
    from morphospace.models.conditioning import Conditioning
    from morphospace.models.contract import Model


ZOO: Registry[type[ModelSettings]] = Registry("model")
UNTRAINED: dict[str, type[ModelSettings]] = {}
"""Models that a run may hold and nobody can train here: they are in no list and no help."""

S = TypeVar("S", bound="type[ModelSettings]")


def member(name: str, implementation: str, paper: str = "", *, trains: bool = True) -> Callable[[S], S]:
    """Register a settings class as the settings of a model.

    Args:
        name: What the command line and the API call the model.
        implementation: Its class, as "module:Class"; imported when the model is built, never for a help.
        paper: Authors and year, for the list of models.
        trains: Whether it can be trained. If not, only its runs know it.

    Raises:
        SettingError: If a setting has no default.
    """

    def register(cls: S) -> S:
        for one in fields(cls):
            require(
                one.default is not MISSING, "model", name, f"its setting {one.name!r} has no default", "give it one"
            )
        cls.name, cls.implementation, cls.paper = name, implementation, paper
        if trains:
            ZOO.register(name, cls, cls.__module__)
        else:
            ZOO.reserve([name])
            UNTRAINED[name] = cls
        return cls

    return register


def settings_class(name: str) -> type[ModelSettings]:
    """Return the settings class of the model `name`.

    Raises:
        NotHere: If there is no such model here, or the package that brings it cannot be imported.
    """
    if name in UNTRAINED:
        return UNTRAINED[name]
    if name not in ZOO:
        raise NotHere("model", name, f"no such model here{nearest(name, ZOO)}", f"see `morpho models`; {BRING_IT}")
    return ZOO[name]


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What every model has: a latent space, and one or more optimizers.

    Attributes:
        latent_dim: Number of latent dimensions.
        lr: Learning rate of each network's optimizer (a VAE has one, a GAN two).
        optimizer: Adam, Adam with decoupled weight decay, or RMSprop.
        betas: Adam's decay rates of the first and second moment; RMSprop takes only the second.
        eps: What Adam and RMSprop add to the root of the second moment, below which gradients count for less.
        weight_decay: Weight decay; decoupled in `adamw`, L2 in the others.
        init: Initial weights: torch's own (`default`), Glorot's uniform ones with biases 0 (`glorot`), N(0, 0.02) with
            batch-norm scales N(1, 0.02) (`dcgan`), or N(0, 1) for transposed convolutions only (`wide`, as in a
            published face VAE).
    """

    name: ClassVar[str]
    implementation: ClassVar[str]
    paper: ClassVar[str]
    usual_batch: ClassVar[Mapping[str, int]] = {}
    """Images in a batch when none is asked for, by the kind of device; 128 where it is not named."""
    small_set_batch: ClassVar[int] = 32
    """The same where there are few training images, which large batches would give too few updates."""
    least_batch: ClassVar[int] = 1
    """The fewest images of a batch that the loss can be computed from, in each process."""
    sample_options: ClassVar[tuple[str, ...]] = ()
    """The options of sampling (`SampleOptions`) that this model understands beside those of every model."""
    earlier: ClassVar[Mapping[str, Any]] = {}
    """What settings amount to that an old run's run.toml does not name, where that is not their default."""

    latent_dim: Annotated[int, Role.FIT, Between(1, 65_536)] = 32
    lr: Annotated[float, Role.FIT, Above(0, 10)] = 1e-3
    optimizer: Annotated[Literal["adam", "adamw", "rmsprop"], Role.FIT] = "adam"
    betas: Annotated[tuple[Annotated[float, Below(0, 1)], Annotated[float, Below(0, 1)]], Role.FIT] = (0.9, 0.999)
    eps: Annotated[float, Role.FIT, Above(0, 1)] = 1e-8
    weight_decay: Annotated[float, Role.FIT, Below(0, 10)] = 0.0
    init: Annotated[Literal["default", "glorot", "dcgan", "wide"], Role.FIT] = "default"

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))

    def code_length(self, shape: tuple[int, int, int]) -> int:
        """Return how many numbers a code of images of `shape` (H, W, C) has."""
        return self.latent_dim

    def build(
        self,
        shape: tuple[int, int, int],
        parts: Mapping[str, Any] | None = None,
        conditioning: Conditioning | None = None,
    ) -> Model:
        """Build the model for images of `shape` (H, W, C).

        Args:
            shape: The images' shape.
            parts: The caller's own networks by name, in place of the built-in ones.
            conditioning: The conditions of a conditional model.
        """
        module, _, cls = self.implementation.partition(":")
        return getattr(import_module(module), cls)(self, shape, parts or {}, conditioning)
