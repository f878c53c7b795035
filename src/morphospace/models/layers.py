"""Layers of critics and generators around their towers: spectral norm, minibatch discrimination, conditions."""

from __future__ import annotations

import contextlib
import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from morphospace.models.distributions import full
from morphospace.models.towers import initialise


class SpectralNorm(nn.Module):
    """W -> W / sigma(W), sigma the largest singular value of W as a matrix (outputs, rest) (Miyato et al. 2018).

    The outputs are the first dimension of a weight, of a transposed convolution the second.

    Each use of the weight in training mode takes one step of the power iteration; evaluation mode takes none. The
    vector is a buffer, so checkpoints have it. Unlike torch's own parametrisation it computes in the weight's full
    precision under autocast too: in half precision the norm would be off by a percent.

    Args:
        weight: The weight that it will be registered on.
        transposed: Whether it is a transposed convolution's.
        start: Power iterations at construction, so that the first step has a good norm already.
    """

    u: Tensor

    def __init__(self, weight: Tensor, *, transposed: bool = False, start: int = 15) -> None:
        super().__init__()
        self.transposed = transposed
        matrix = self.matrix(weight)
        self.register_buffer("u", functional.normalize(torch.randn(len(matrix), dtype=weight.dtype), dim=0))
        with torch.no_grad():
            for _ in range(start):
                self.iterate(matrix)

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a weight as a matrix (outputs, rest)."""
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """Take one step: v = W^T u / |.|, u = W v / |.|."""
        v = functional.normalize(matrix.T.mv(self.u), dim=0)
        self.u.copy_(functional.normalize(matrix.mv(v), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight over its norm; u and v are constants to the gradient."""
        # When parameters are only counted, weights are on the meta device, which has no autocast.
        with contextlib.nullcontext() if weight.is_meta else torch.autocast(weight.device.type, enabled=False):
            matrix = self.matrix(weight)
            if self.training:
                self.iterate(matrix)
            u = self.u.clone()  # the next step changes it in place, and backward needs it as it is
            with torch.no_grad():
                v = functional.normalize(matrix.T.mv(u), dim=0)
            return weight / u.dot(matrix.mv(v))


def limit_spectrum(network: nn.Module) -> nn.Module:
    """Put spectral norm on every convolution and linear layer of a network and return the network."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            norm = SpectralNorm(module.weight, transposed=isinstance(module, nn.ConvTranspose2d))
            parametrize.register_parametrization(module, "weight", norm)
    return network


class MinibatchDiscrimination(nn.Module):
    """Features (B, F) -> nearness (B, kernels) to those of the other images in the batch (Salimans et al. 2016).

    M = T f in (B, n, d);  o_b(x_i) = sum over j != i of exp(-|M_ib - M_jb|_1). A critic then easily recognises a
    generator that repeats one image. With several processes each compares its own share of the batch.

    Args:
        inputs: Number of features F.
        kernels: n, the number of outputs for each image.
        dimensions: d, of each kernel.
    """

    def __init__(self, inputs: int, kernels: int, dimensions: int = 5) -> None:
        super().__init__()
        self.kernels, self.dimensions = kernels, dimensions
        self.project = nn.Linear(inputs, kernels * dimensions, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        places = full(self.project(features)).view(-1, self.kernels, self.dimensions)
        # One kernel dimension after the other, as (n, B, B): no tensor (n, d, B, B), whose dimension d is short.
        each = places.permute(2, 1, 0).contiguous()
        distance = functools.reduce(torch.add, [(row[:, :, None] - row[:, None, :]).abs() for row in each])
        return (-distance).exp().sum(-1).T - 1  # each image is at distance 0 from itself


class ConditionalGenerator(nn.Module):
    """Codes (B, D) and conditions (B, K) -> raw images.

    An embedding of the condition joins the code (Mirza & Osindero 2014), or it scales and shifts the channels after
    each batch norm of the body (`ConditionalNorm`).

    Args:
        body: The generator, of latent + embedded inputs.
        size: Length of a condition.
        embedded: Length of its embedding, 0 where the norms have the condition. It begins as N(0, 0.1). With N(0, 1),
            the scale of the code, the generator learns to use the condition alone, and all images of a class become the
            same (standard deviation within a class, digits in [-1, 1]: .04 against .19).
    """

    def __init__(self, body: nn.Module, size: int, embedded: int) -> None:
        super().__init__()
        self.body = body
        self.embed = nn.Linear(size, embedded, bias=False) if embedded else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=0.1)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        if self.embed is None:
            return self.body(z, condition)
        return self.body(torch.cat([z, self.embed(condition).to(z.dtype)], 1))


class Judge(nn.Module):
    """Images (B, C, H, W) and conditions (B, K) -> judgements (B, 1): a tower and what joins its features.

    By `projection` (Miyato & Koyama 2018) the judgement is f(x, y) = y^T V phi(x) + psi(x): phi the tower's last
    features summed over the image, psi the tower's own head. By `embedding` the condition is an additional plane of
    the image.

    Args:
        tower: Encoder with `features`, `channels` and a `head`, which moves to this module.
        minibatch: Kernels of minibatch discrimination, 0 for none.
        condition: Length of a condition, 0 for none.
        plane: (H, W) of the plane by `embedding`; None for `projection`.
        init: Scheme of the initial weights, as for `initialise`; empty where the tower has its own.
    """

    def __init__(
        self,
        tower: nn.Module,
        *,
        minibatch: int = 0,
        condition: int = 0,
        plane: tuple[int, int] | None = None,
        init: str = "",
    ) -> None:
        super().__init__()
        head = tower.head
        assert isinstance(head, nn.Linear)
        self.tower, self.plane, self.channels = tower, plane, int(tower.channels)  # type: ignore[arg-type]
        self.discriminate = MinibatchDiscrimination(head.in_features, minibatch) if minibatch else None
        if minibatch:
            head = nn.Linear(head.in_features + minibatch, 1, bias=head.bias is not None)
        self.head = head
        tower.head = nn.Identity()
        self.embed: nn.Linear | None = None
        if condition:
            width = self.channels if plane is None else math.prod(plane)
            self.embed = nn.Linear(condition, width, bias=False)
        self.initialise(init)

    @torch.no_grad()
    def initialise(self, scheme: str) -> None:
        """Set the initial weights of what stands around the tower, by the tower's own scheme.

        A projection begins at the deviation of the head's weights: its product runs over the same features as the head
        does, and with torch's own scale the class alone would decide what the critic says at first.
        """
        if scheme:
            for module in (self.head, self.discriminate, self.embed):
                if module is not None:
                    initialise(module, scheme)
        if self.embed is not None and self.plane is None:
            nn.init.normal_(self.embed.weight, std=1.0 if self.head.weight.is_meta else float(self.head.weight.std()))

    def features(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the tower's features of images (B, C, H, W), (B, F)."""
        if self.embed is not None and self.plane is not None:
            plane = self.embed(condition).view(-1, 1, *self.plane).to(images.dtype)
            images = torch.cat([images, plane], 1).contiguous(memory_format=torch.channels_last)
        return self.tower.features(images)  # type: ignore[operator]

    def decide(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the judgements (B, 1) of features (B, F)."""
        seen = features
        if self.discriminate is not None:
            seen = torch.cat([features, self.discriminate(features).to(features.dtype)], 1)
        judgement = self.head(seen)
        if self.embed is not None and self.plane is None:
            phi = features.view(len(features), self.channels, -1).sum(2)
            judgement = full(judgement) + (full(self.embed(condition)) * full(phi)).sum(1, keepdim=True)
        return judgement

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.decide(self.features(images, condition), condition)


class PairCritic(nn.Module):
    """Images (B, C, H, W) and codes (B, D) -> judgements of each image with its code, (B, 1).

    Features of both, `units` each, pass a common hidden layer. Only there can the critic see whether they go together.

    Args:
        tower: Encoder of images with `units` outputs.
        codes: Latent dimensions D.
        units: Units of each layer.
        slope: Negative slope of the leaky ReLUs.
    """

    def __init__(self, tower: nn.Module, codes: int, units: int, slope: float) -> None:
        super().__init__()
        self.tower = tower
        self.code = nn.Sequential(nn.Linear(codes, units), nn.LeakyReLU(slope), nn.Linear(units, units))
        self.join = nn.Sequential(
            nn.LeakyReLU(slope), nn.Linear(2 * units, units), nn.LeakyReLU(slope), nn.Linear(units, 1)
        )

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        return self.join(torch.cat([self.tower(images), self.code(codes)], 1))


def judge_with_features(critic: nn.Module, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return a critic's judgements (B,) of images and the features (B, F) behind them, by one forward pass."""
    if isinstance(critic, Judge):
        features = critic.features(images, condition)
        return full(critic.decide(features, condition)).squeeze(1), full(features)
    features = critic.features(images)  # type: ignore[operator]
    return full(critic.head(features)).squeeze(1), full(features)  # type: ignore[operator]


def pack(values: Tensor, count: int) -> Tensor:
    """Join every `count` items of a batch on the second dimension, (B, C, ...) -> (B / count, count C, ...).

    Reference: Lin et al. 2018, "PacGAN".
    """
    if count == 1:
        return values
    joined = values.reshape(len(values) // count, count * values.shape[1], *values.shape[2:])
    return joined.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else joined
