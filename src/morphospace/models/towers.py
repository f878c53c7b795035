"""Fully connected and convolutional encoders, decoders and critics for images of any shape.

Convolutions have kernel 4, stride 2 and padding 1: each halves the image (rounding down) and its transpose doubles it.
Where a side was odd, output padding adds the lost row back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import SettingError

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """Norm, activation and biases of a tower's inner layers.

    Attributes:
        norm: `batch`, `layer` (over all values of an image's map; Ba et al. 2016) or `none`.
        activation: `relu`, `leaky`, `silu` or `tanh`.
        slope: Negative slope of `leaky`.
        bias: Whether inner convolutions have biases.
        norm_first: Whether the layer next to the image is normalised (in an encoder).
        condition: Length of the condition that scales and shifts the channels after each batch norm, 0 for none.
    """

    norm: str = "batch"
    activation: str = "relu"
    slope: float = 0.01
    bias: bool = True
    norm_first: bool = True
    condition: int = 0

    def nonlinearity(self, inplace: bool = True) -> nn.Module:
        """Return a new activation module, which may write over its input unless that is needed elsewhere."""
        makers: dict[str, Callable[[], nn.Module]] = {
            "relu": partial(nn.ReLU, inplace=inplace),
            "leaky": partial(nn.LeakyReLU, self.slope, inplace=inplace),
            "silu": nn.SiLU,
            "tanh": nn.Tanh,
        }
        return makers[self.activation]()

    def after(self, channels: int, normalise: bool = True) -> list[nn.Module]:
        """Return the layers after a convolution to `channels`: norm and activation."""
        if self.norm == "none" or not normalise:
            return [self.nonlinearity()]
        if self.norm == "layer":
            return [nn.GroupNorm(1, channels), self.nonlinearity()]
        norm = ConditionalNorm(channels, self.condition) if self.condition else nn.BatchNorm2d(channels)
        return [norm, self.nonlinearity()]


class ConditionalNorm(nn.Module):
    """Batch norm whose scale and shift depend on a condition y (B, K): norm(x) (1 + G y) + S y.

    Reference: de Vries et al. 2017; Miyato & Koyama 2018 use it in their generator.

    Args:
        channels: Channels of the maps.
        size: Length K of a condition.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.embed = nn.Linear(size, 2 * channels, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.embed(condition.to(maps.dtype))[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, self.norm(maps), 1 + scale)


class SelfAttention(nn.Module):
    """x + gamma o(softmax(f(x)^T g(x)) h(x)): every place of a map looks at all others (Zhang et al. 2019).

    f, g, h and o are 1x1 convolutions; f and g have an eighth of the channels and h a half. As in the authors' code the
    places that are looked at, g and h, are pooled by 2. gamma begins at 0, so that a new layer changes nothing.

    Args:
        channels: Channels C of the maps (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, small, 1, bias=False)
        self.key = nn.Conv2d(channels, small, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        query = self.query(maps).flatten(2)
        key, value = (functional.max_pool2d(layer(maps), 2).flatten(2) for layer in (self.key, self.value))
        weights = (query.transpose(1, 2) @ key).float().softmax(-1).to(value.dtype)  # (B, HW, HW / 4)
        seen = (value @ weights.transpose(1, 2)).unflatten(2, maps.shape[2:])
        return maps + self.gamma * self.out(seen)


class NearestDoubling(nn.ConvTranspose2d):
    """Maps (B, C, H, W) -> (B, C', 2H, 2W): each place repeated twice in both directions, then a 3x3 convolution.

    A map of one value stays so except at its edges; a transposed convolution makes a chequered pattern of it, until it
    learns not to (Odena et al. 2016). Both steps together are a transposed convolution with stride 2 whose 4x4 kernel
    is the 3x3 one spread over 2x2 places, w4[i] = w3[i] + w3[i - 1] in each direction: half the work of two steps.

    Args:
        inputs: Channels C.
        outputs: Channels C'.
        odd: Rows and columns to add, 0 or 1 each.
        bias: Whether to add a bias.
    """

    def __init__(self, inputs: int, outputs: int, odd: tuple[int, int] = (0, 0), *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, 2, 1, output_padding=odd, bias=bias)

    def spread(self) -> Tensor:
        """Return the kernel (C, C', 4, 4) of the transposed convolution."""
        rows = functional.pad(self.weight, (0, 0, 0, 1)) + functional.pad(self.weight, (0, 0, 1, 0))
        return functional.pad(rows, (0, 1)) + functional.pad(rows, (1, 0))

    def plain(self) -> nn.ConvTranspose2d:
        """Return the same as a plain transposed convolution, whose weights are a copy."""
        height, width = self.output_padding
        has = self.bias is not None
        made = nn.ConvTranspose2d(self.in_channels, self.out_channels, 4, 2, 1, (height, width), bias=has)
        made.weight = nn.Parameter(self.spread().detach(), requires_grad=False)
        made.bias = self.bias
        return made.train(self.training)

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        return functional.conv_transpose2d(maps, self.spread(), self.bias, 2, 1, self.output_padding)


class Excitation(nn.Module):
    """Maps of a small size -> one factor from 0 to 1 for each channel of a large one (Liu et al. 2021).

    The small map is averaged to 4x4, and a 4x4 convolution, SiLU, a 1x1 convolution and a sigmoid make the factors: a
    short way for the gradient past the layers between.

    Args:
        low: Channels of the small maps.
        high: Channels of the large ones.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(low, high, 4, bias=False)
        self.expand = nn.Conv2d(high, high, 1, bias=False)

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        factors = self.expand(functional.silu(self.squeeze(functional.adaptive_avg_pool2d(small, 4))))
        return large * factors.sigmoid()


def check_attention(attention: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Check that a tower has a map of so many halvings, large enough to be pooled.

    Args:
        attention: Halvings of the image before the map that self-attention follows, 0 for none.
        sizes: The image's size, and its size after each halving.

    Raises:
        SettingError: If it has none.
    """
    most = sum(min(size) > 1 for size in sizes[1:])
    rule = f"self-attention needs a map of 2 pixels a side, and these towers halve the image to it {most} times"
    if attention > most:
        raise SettingError("attention", attention, rule, f"give a number up to {most}, or 0 for none")


def auto_widths(shape: Shape, first: int, most: int = 512) -> tuple[int, ...]:
    """Choose channels: doubling from `first` up to `most`, one layer for each halving that leaves 3 pixels.

    >>> auto_widths((64, 64, 3), 32), auto_widths((28, 28, 1), 64), auto_widths((8, 12, 1), 32)
    ((32, 64, 128, 256), (64, 128, 256), (32,))
    """
    layers = max(1, int(math.log2(min(shape[:2]) / 3)))
    return tuple(min(first * 2**i, most) for i in range(layers))


def pyramid(shape: Shape, layers: int) -> list[tuple[int, int]]:
    """Return the image's size before and after each of `layers` halvings.

    >>> pyramid((28, 30, 1), 3)
    [(28, 30), (14, 15), (7, 7), (3, 3)]

    Raises:
        SettingError: If a side would fall below one pixel.
    """
    height, width, _ = shape
    most = int(math.log2(min(height, width)))
    if layers > most:
        rule = f"an image of {height}x{width} can be halved {most} times at most"
        raise SettingError(f"widths of {layers} layers", rule=rule, way_out="give fewer widths or a larger --size")
    return [(height >> i, width >> i) for i in range(layers + 1)]


class Tower(nn.Module):
    """A network whose layer `output` gives its output; a model may set that layer's bias by its data."""


class MLP(Tower):
    """Values (B, ...) -> (B, outputs) or images (B, C, H, W): fully connected layers.

    Args:
        inputs: Number of input values; images are flattened.
        widths: Units of the hidden layers.
        outputs: A number of outputs, or an image shape (C, H, W).
        look: Only its activation is used.
        head_bias: Whether the last layer has a bias.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        outputs: int | tuple[int, int, int],
        look: Look,
        *,
        head_bias: bool = True,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(inputs, width), look.nonlinearity()]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.channels = inputs
        self.head = nn.Linear(inputs, outputs if isinstance(outputs, int) else math.prod(outputs), bias=head_bias)

    @property
    def output(self) -> nn.Linear:
        """The layer that gives the output."""
        return self.head

    def features(self, values: Tensor) -> Tensor:
        """Return the last hidden layer, (B, widths[-1])."""
        return self.body(values.flatten(1))

    def forward(self, values: Tensor) -> Tensor:
        result = self.head(self.features(values))
        return result if isinstance(self.outputs, int) else result.view(-1, *self.outputs)


class ConvEncoder(nn.Module):
    """Images (B, C, H, W) -> (B, outputs): halving convolutions, then one linear layer.

    Args:
        shape: (H, W, C) of the images.
        widths: Channels of the layers, image side first.
        outputs: Number of outputs: two per latent dimension for a Gaussian posterior, one for a critic.
        look: Norm, activation, biases.
        head_bias: Whether the last linear layer has a bias.
        unnormed_bias: Whether the layer next to the image has a bias where no norm follows it, whatever `look` says of
            biases. Without it everything before the first norm is proportional to the image, so a norm removes the
            image's contrast.
        attention: Halvings of the image before the map that self-attention follows, 0 for none.
        head: Makes another last layer of flattened maps from their shape (C, h, w).
    """

    def __init__(
        self,
        shape: Shape,
        widths: Sequence[int],
        outputs: int,
        look: Look,
        *,
        head_bias: bool = True,
        unnormed_bias: bool = True,
        attention: int = 0,
        head: Callable[[Shape], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        sizes = pyramid(shape, len(widths))
        check_attention(attention, sizes)
        self.map = (widths[-1], *sizes[-1])
        layers: list[nn.Module] = []
        channels = shape[2]
        for i, out in enumerate(widths):
            normalise = look.norm_first or i > 0
            layers.append(nn.Conv2d(channels, out, 4, 2, 1, bias=look.bias or (unnormed_bias and not normalise)))
            layers += look.after(out, normalise=normalise)
            layers += [SelfAttention(out)] if attention == i + 1 else []
            channels = out
        self.body = nn.Sequential(*layers)
        self.channels = channels
        self.head = nn.Linear(math.prod(self.map), outputs, bias=head_bias) if head is None else head(self.map)

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature map, flattened, (B, widths[-1] * h * w)."""
        return self.body(images).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class ConvDecoder(Tower):
    """Codes (B, D) -> raw images (B, C, H, W): a first feature map, then convolutions that double it.

    Args:
        inputs: Number of latent dimensions.
        widths: Channels of the feature maps, code side first.
        shape: (H, W, channels) of the output, no nonlinearity after it.
        look: Norm, activation, biases.
        stem: `linear`, or `conv`: a transposed convolution on a 1x1 map, the same map initialised differently; or what
            makes another layer from the first map's shape (C, h, w).
        stem_bias: Whether the stem has a bias.
        stem_norm: Whether norm and activation follow the stem.
        attention: Halvings of the image before the map that self-attention follows, 0 for none.
        excitation: Whether maps scale the channels of those half the tower later (of 4x4 those of 16x16, of four).
        upsampling: `transposed` convolutions, or `nearest` (see `NearestDoubling`).
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        shape: Shape,
        look: Look,
        *,
        stem: str | Callable[[Shape], nn.Module] = "linear",
        stem_bias: bool = True,
        stem_norm: bool = False,
        attention: int = 0,
        excitation: bool = False,
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        sizes = pyramid(shape, len(widths))[::-1]
        check_attention(attention, sizes[::-1])
        self.base = (widths[0], *sizes[0])
        self.stem: nn.Module
        if callable(stem):
            self.stem = stem(self.base)
        elif stem == "conv":
            self.stem = nn.ConvTranspose2d(inputs, widths[0], sizes[0], bias=stem_bias)
        else:
            self.stem = nn.Linear(inputs, math.prod(self.base), bias=stem_bias)
        layers: list[nn.Module] = look.after(widths[0]) if stem_norm else []
        self.reach = max(1, len(widths) // 2)
        later = range(self.reach, len(widths)) if excitation else ()
        self.gates = nn.ModuleDict({str(i): Excitation(widths[i - self.reach], widths[i]) for i in later})
        for i, channels in enumerate(widths):
            layers += [SelfAttention(channels)] if attention == len(widths) - i else []
            last = i == len(widths) - 1
            (height, width), (low, narrow) = sizes[i + 1], sizes[i]
            odd = (height - 2 * low, width - 2 * narrow)
            out = shape[2] if last else widths[i + 1]
            if upsampling == "nearest":
                layers.append(NearestDoubling(channels, out, odd, bias=look.bias))
            else:
                layers.append(nn.ConvTranspose2d(channels, out, 4, 2, 1, output_padding=odd, bias=look.bias))
            layers += [] if last else look.after(out)
        self.body = nn.Sequential(*layers)
        self.doubling: type[nn.Module] = nn.ConvTranspose2d
        """What doubles a map in the body; other code that replaces these layers says so here."""

    @property
    def output(self) -> nn.Module:
        """The layer that gives the output."""
        return self.body[-1]

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        code = z[:, :, None, None] if isinstance(self.stem, nn.ConvTranspose2d) else z
        first = self.stem(code).view(-1, *self.base)
        maps = first.contiguous(memory_format=torch.channels_last)
        if condition is None and not self.gates:
            return self.body(maps)
        seen: list[Tensor] = []  # the maps of each size, as the next size is made from them
        for layer in self.body:
            if isinstance(layer, self.doubling):
                if (place := str(len(seen))) in self.gates:
                    maps = self.gates[place](seen[len(seen) - self.reach], maps)
                seen.append(maps)
            maps = layer(maps, condition) if isinstance(layer, ConditionalNorm) else layer(maps)
        return maps


def initialise(network: nn.Module, scheme: str) -> nn.Module:
    """Set initial weights in place by one of the published schemes and return the network.

    `glorot`: uniform with variance 2 / (fan-in + fan-out) for every weight matrix and kernel, biases 0 (Glorot & Bengio
    2010). `dcgan`: N(0, 0.02) for every weight matrix and kernel, batch-norm scales N(1, 0.02), biases 0 (Radford
    2016).
    `wide`: N(0, 1) and bias 0 for transposed convolutions only. `default`: as torch initialises them.
    """
    for module in network.modules():
        if scheme == "dcgan" and isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif scheme == "glorot" and isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif scheme == "dcgan" and isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
        elif scheme == "wide" and isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 1.0)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
