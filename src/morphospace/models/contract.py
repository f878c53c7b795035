"""What a model is: two arrows and a prior. Tools ask what a model can do, not what it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.errors import SettingError
from morphospace.models.codebook import Codebook
from morphospace.models.conditioning import Conditioning
from morphospace.models.distributions import DiagonalGaussian, Posterior
from morphospace.models.priors import Normal, Prior, Sampler
from morphospace.models.recognition import CodeLayout
from morphospace.models.sampling import SampleOptions
from morphospace.randomness import stream


@runtime_checkable
class Decodes(Protocol):
    """z -> x; a conditional model also needs a condition (B, size)."""

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class Encodes(Protocol):
    """x -> q(z | x)."""

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Posterior: ...


@runtime_checkable
class Scores(Protocol):
    """x -> how real each image looks, one number an image, higher for more real."""

    def score(self, images: Tensor, condition: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class Recognises(Protocol):
    """x -> what an image says of some dimensions of its code; the others are noise, so it cannot be reconstructed."""

    layout: CodeLayout

    def recognise(self, images: Tensor) -> DiagonalGaussian: ...

    def categorise(self, images: Tensor) -> Tensor: ...


@runtime_checkable
class DecodesMasks(Protocol):
    """z -> the probability that each pixel is within the image's mask, (B, 1, H, W)."""

    def decode_mask(self, z: Tensor) -> Tensor: ...


@runtime_checkable
class Quantises(Protocol):
    """z -> the number of the entry at each place, (B, P), and the code of these entries, which `decode` decodes."""

    codebook: Codebook

    def numbers(self, z: Tensor) -> Tensor: ...

    def quantised(self, z: Tensor) -> Tensor: ...


def masks_uint8(probability: Tensor) -> Tensor:
    """Turn a mask's probabilities (B, 1, H, W) into uint8 (B, H, W, 1), rounded."""
    return (probability.detach().float() * 255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu().contiguous()


def seeded_noise(count: int, dim: int, seed: int, *, start: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal noise (count, dim), each row from its own generator.

    Row i depends on (seed, start + i) only, so that sample 17 is the same at any batch size. Numbers are
    always made on the CPU in float32, so that they are the same on every device.
    """
    rows = torch.empty(count, dim)
    generator = torch.Generator()
    for i in range(count):
        generator.manual_seed(stream(seed, "sample", start + i))
        rows[i] = torch.randn(dim, generator=generator)
    return rows.to(dtype)


class Model:
    """Base of the zoo: networks and a prior.

    A member adds `build_networks`, `rounds()` (its phases, see `objectives.phase`) and those of `decode`, `encode` and
    `score` that it supports. Images are (B, C, H, W) in the model's own range: [-1, 1] where `signed`, else [0, 1].

    Args:
        settings: The member's settings.
        shape: (H, W, C) of its images.
        parts: The caller's own networks by name, in place of the built-in ones.
        conditioning: The conditions of a conditional model.

    Attributes:
        replaceable: Networks that the caller may replace.
        averaged: Networks that have a moving average.
        fits: The prior that is fitted to the codes of a model that has none: `gaussian`, `mixture` or `flow`.
        needs: What the data must have beside images (`masks`, ...), by the names that a pack gives it.
        custom: Names of the networks that the caller brought.
        memory: What training keeps beside the networks: saved with a run, never exported.
        decodes_prior: Whether its decoder learned from codes of the prior, and never from those of its encoder.
        levels: Latent dimensions of each level of a code, from the top; empty where it has but one.

    Raises:
        SettingError: If `parts` names a network that cannot be replaced, or one has the wrong shapes.
    """

    replaceable: ClassVar[tuple[str, ...]] = ()
    averaged: tuple[str, ...] = ()
    fits: ClassVar[str] = "gaussian"
    needs: ClassVar[tuple[str, ...]] = ()
    default_ema_halflife_images: ClassVar[int] = 0
    decodes_prior: ClassVar[bool] = False
    levels: tuple[int, ...] = ()

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
        self.latent_dim: int = settings.code_length(shape)
        self.signed: bool = getattr(settings, "signed", False)
        self.networks = nn.ModuleDict()
        self.memory = nn.ModuleDict()
        self.custom = tuple(sorted(parts))
        self.prior: Prior | None = Normal()
        self.build_networks(parts)

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Fill `self.networks`, taking the caller's own from `parts`; their order decides the initial weights."""

    def given_to_networks(self, z: Tensor) -> Tensor:
        """Return what the decoder's networks are given for codes (B, D), (B, D): most often the codes themselves."""
        return z

    def start_from(self, images: Tensor, masks: Tensor | None = None) -> None:
        """Set what a new model begins with according to its data; most members begin as they are built.

        Args:
            images: Some training images, (N, C, H, W), in the model's range and as training shows them.
            masks: The union of their masks, (N, 1, H, W) in [0, 1], where they have any.
        """

    def narrowed(self, options: SampleOptions, first: Tensor) -> Sampler | None:
        """Return the model's own prior, narrowed by the options of sampling that its settings say it understands.

        Args:
            options: What is asked for.
            first: The noise (1, D) of the first sample.
        """
        return self.prior

    def part(
        self,
        parts: Mapping[str, nn.Module],
        name: str,
        example: Tensor,
        expected: Sequence[int],
        make: Callable[[], nn.Module],
        *,
        pair: bool = False,
        also: Sequence[int] = (),
        way_out: str = "",
    ) -> nn.Module:
        """Return the caller's own network `name` if there is one, else a new one from `make`.

        An own network must map `example` to the shape `expected`. Where `pair` is set it may also return mean and log
        variance: two tensors, each half as wide. `also` is another shape that is allowed, `way_out` what to do about a
        network that does not fit.

        Raises:
            SettingError: If the caller's network fails on the example, or returns another shape.
        """
        if name not in parts:
            return make()
        part = parts[name]
        what, was_training = f"{name} = {type(part).__name__}", part.training
        part.eval()
        try:
            with torch.no_grad():
                output = part(example)
        except Exception as error:
            rule = f"failed on an input of shape {tuple(example.shape)}: {error}"
            raise SettingError(what, rule=rule, way_out=way_out) from error
        finally:
            part.train(was_training)
        outputs = output if isinstance(output, tuple | list) else [output]
        shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in outputs]
        half = (expected[0], expected[1] // 2)
        allowed = [[tuple(expected)], *([[half, half]] if pair else []), *([[tuple(also)]] if also else [])]
        if shapes not in allowed:
            returned = " and ".join(map(str, shapes)) or "nothing"
            wanted = f"{tuple(expected)}{f', or mean and log variance of {half} each' if pair else ''}"
            wanted += f", or {tuple(also)}" if also else ""
            rule = f"maps {tuple(example.shape)} to {returned}, must give {wanted}"
            raise SettingError(what, rule=rule, way_out=way_out)
        return part

    def condition_of(self, batch: Batch) -> Tensor | None:
        """Return a batch's conditions, (B, size); None where the model is not conditional."""
        return None if self.conditioning is None else self.conditioning.from_batch(batch)

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
        """Put every network into evaluation mode (batch norm uses its running statistics) and return the model."""
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

    Each row has one condition and each column one code: down a column only the condition changes.

    Args:
        model: A conditional model.
        columns: Number of codes.
        seed: Seed of the codes.
        rows: Number of conditions, from the first on; all of them when None.
    """
    assert model.conditioning is not None
    each = model.conditioning.shown(rows)
    noise = seeded_noise(columns, model.latent_dim, seed).repeat(len(each), 1)
    return noise, each.repeat_interleave(columns, 0)
