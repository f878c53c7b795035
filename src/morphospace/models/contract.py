"""What a model is: two arrows and a prior. Tools ask what it can do, never what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from morphospace.errors import SettingError
from morphospace.models.conditioning import Conditioning
from morphospace.models.distributions import DiagonalGaussian, Point
from morphospace.models.priors import Normal, Prior
from morphospace.randomness import stream


@runtime_checkable
class Decodes(Protocol):
    """z -> x; a conditional model is told a condition (B, size) too."""

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class Encodes(Protocol):
    """x -> q(z | x)."""

    def encode(self, images: Tensor, condition: Tensor | None = None) -> DiagonalGaussian | Point: ...


@runtime_checkable
class Scores(Protocol):
    """x -> how real it looks, one number an image, higher for more real."""

    def score(self, images: Tensor, condition: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class DecodesMasks(Protocol):
    """z -> the probability that each pixel is within the image's mask, (B, 1, H, W)."""

    def decode_mask(self, z: Tensor) -> Tensor: ...


def masks_uint8(probability: Tensor) -> Tensor:
    """Turn a mask's probabilities (B, 1, H, W) into uint8 (B, H, W, 1), rounded."""
    return (probability.detach().float() * 255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu().contiguous()


def seeded_noise(count: int, dim: int, seed: int, *, start: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw standard normal noise (count, dim), each row from a generator of its own.

    Row i depends on (seed, start + i) only, so that sample 17 is the same at any batch size. Always drawn on
    the CPU in float32: the same numbers on every device.
    """
    rows = torch.empty(count, dim)
    generator = torch.Generator()
    for i in range(count):
        generator.manual_seed(stream(seed, "sample", start + i))
        rows[i] = torch.randn(dim, generator=generator)
    return rows.to(dtype)


class Model:
    """Base of the zoo: networks, what of them is averaged, and a prior.

    A member adds `rounds()` (its phases, see `objectives.phase`) and whichever of `decode`, `encode` and
    `score` it can do. Images are (B, C, H, W) in the model's own range: [-1, 1] where `signed`, else [0, 1].

    Args:
        settings: The member's settings.
        shape: (H, W, C) of its images.
        parts: The caller's own networks by name, in place of ours.
        conditioning: What a conditional model is told.

    Attributes:
        replaceable: Networks that the caller may bring.
        averaged: Networks that have a moving average.
        needs: What the data must hold beside images (`masks`, ...), by the names that a pack gives it.
    """

    replaceable: ClassVar[tuple[str, ...]] = ()
    averaged: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    default_ema_halflife_images: ClassVar[int] = 0

    def __init__(
        self,
        settings: Any,
        shape: tuple[int, int, int],
        parts: Mapping[str, nn.Module],
        conditioning: Conditioning | None = None,
    ) -> None:
        unknown = sorted(set(parts) - set(self.replaceable))
        if unknown:
            known = ", ".join(self.replaceable)
            raise SettingError("parts", unknown, f"{settings.name} has no such part to replace", f"it has {known}")
        self.settings = settings
        self.shape = shape
        self.conditioning = conditioning
        self.latent_dim: int = settings.latent_dim
        self.signed: bool = getattr(settings, "signed", False)
        self.networks = nn.ModuleDict()
        self.memory = nn.ModuleDict()
        self.custom = tuple(sorted(parts))
        self.prior: Prior | None = Normal()

    @property
    def device(self) -> torch.device:
        """The device that the networks are on."""
        return next(self.networks.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the networks' weights."""
        return next(self.networks.parameters()).dtype

    def parameters(self) -> int:
        """Return the number of trainable numbers."""
        return sum(p.numel() for p in self.networks.parameters())

    def eval(self) -> Model:
        """Put every network into evaluation mode (batch norm by its running statistics) and return the model."""
        self.networks.eval()
        return self

    def to_uint8(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) in the model's range into uint8 (B, H, W, C), rounded, not truncated."""
        images = images.detach().float().permute(0, 2, 3, 1)
        unit = (images + 1) * 0.5 if self.signed else images
        return (unit * 255).round_().clamp_(0, 255).to(torch.uint8).cpu().contiguous()

    def from_uint8(self, images: Tensor) -> Tensor:
        """Turn uint8 images (B, H, W, C) into (B, C, H, W) in the model's range, dtype and device."""
        values = images.to(self.device, self.dtype)
        scaled = values * (2 / 255) - 1 if self.signed else values / 255
        return scaled.permute(0, 3, 1, 2)


def each_condition(model: Model, columns: int, seed: int, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Return noise (R * columns, D) and conditions (R * columns, K) of a grid, row by row.

    Each row has a condition of its own, each column a code of its own: down a column only the condition changes.

    Args:
        model: A conditional model.
        columns: Codes.
        seed: Which codes.
        rows: The first so many conditions; all of them when None.
    """
    assert model.conditioning is not None
    each = model.conditioning.spread()[:rows]
    noise = seeded_noise(columns, model.latent_dim, seed).repeat(len(each), 1)
    return noise, each.repeat_interleave(columns, 0)


def checked(part: nn.Module, name: str, example: Tensor, expected: Sequence[int]) -> nn.Module:
    """Return `part` if it maps `example` to `expected` shape, else say what it did.

    Raises:
        SettingError: The module fails on the example, or returns another shape.
    """
    was_training = part.training
    part.eval()
    try:
        with torch.no_grad():
            result = part(example)
    except Exception as error:
        raise SettingError(
            f"{name} = {type(part).__name__}", rule=f"failed on an input of shape {tuple(example.shape)}: {error}"
        ) from error
    part.train(was_training)
    if tuple(result.shape) != tuple(expected):
        raise SettingError(
            f"{name} = {type(part).__name__}",
            rule=f"maps {tuple(example.shape)} to {tuple(result.shape)}, must give {tuple(expected)}",
        )
    return part
