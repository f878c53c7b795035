"""Networks of a ladder VAE: an encoder from the image up, and a path from the top down on which each level adds a code.

The path carries a map h (B, C, H, W), or, where it is fully connected, a vector (B, C). At each level it takes in the
level's part e of the noise, and it grows from one stage to the next. So the noise of all levels together is what the
path decodes, and its prior is N(0, I) exactly. With skips, e is added to the map, and the block after it does with it
what the map says. Without, the code z = m(h) + s(h) e takes the map's place, with p(z | h) = N(m(h), s(h)^2).

The posterior is one of the same noise, given the map, which knows the levels above, and what the encoder saw:
q(e | h, x) = N(a, b^2), or q(z | h, x) = N(m + s a, (s b)^2) (the residual form of Vahdat & Kautz 2020). Its KL to the
prior is that of e to N(0, I). The blocks are those of Child 2021, without norms.

Reading z with skips too, as the papers do, was tried: s(h) shrinks before the posterior says anything, and all levels
but the top stay silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from morphospace.models.distributions import Choose, DiagonalGaussian
from morphospace.models.priors import Sampler
from morphospace.models.towers import Look, Shape, Tower, pyramid

RESIDUAL = 0.1  # of a block's last layer at the start, beside its usual weights: a new block is nearly the identity
# Of the posterior at the start: sure enough that the path listens. With 0, it would learn to pass over the noise of the
# lower levels before they say anything.
START_LOG_VARIANCE = -2.0
LOG_DEVIATION_BOUND = 5.0  # of p(z | h)


def pointwise(inputs: int, outputs: int, size: Size) -> nn.Conv2d | nn.Linear:
    """Return a layer that maps the channels of each place, or of a vector."""
    return nn.Linear(inputs, outputs) if size is None else nn.Conv2d(inputs, outputs, 1)


def scaled(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Module:
    """Multiply a layer's weights by a gain, set its biases to 0 and return it."""
    with torch.no_grad():
        layer.weight.mul_(gain)
        assert layer.bias is not None
        layer.bias.zero_()
    return layer


Size = tuple[int, int] | None
"""(H, W) of a map; None for a vector."""


class Block(nn.Module):
    """x + widen(act(mix(act(narrow(act(x)))))): pointwise convolutions around one over space, to half the channels.

    Of a vector: two linear layers, and nothing between them.

    Args:
        channels: Channels of input and output.
        size: Of the maps.
        look: Its activation.
    """

    def __init__(self, channels: int, size: Size, look: Look) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        narrow, widen = pointwise(channels, inner, size), scaled(pointwise(inner, channels, size), RESIDUAL)
        mix = [] if size is None else [nn.Conv2d(inner, inner, 3, padding=1), look.nonlinearity()]
        # Not in place: the map itself is still needed.
        self.body = nn.Sequential(look.nonlinearity(inplace=False), narrow, look.nonlinearity(), *mix, widen)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.body(maps)


def flat(maps: Tensor) -> Tensor:
    """Return maps (B, C, H, W) as vectors, in their order in memory, which is channels-last."""
    return maps if maps.dim() == 2 else maps.permute(0, 2, 3, 1).flatten(1)


def as_maps(values: Tensor, size: Size) -> Tensor:
    """Return vectors (B, H W C) as maps (B, C, H, W): the inverse of `flat`."""
    return values if size is None else values.unflatten(1, (*size, -1)).permute(0, 3, 1, 2)


def stages(shape: Shape, widths: Sequence[int], dense: bool) -> list[Size]:
    """Return the size of each stage's maps, image side first: halved at each, or none where they are vectors."""
    return [None] * len(widths) if dense else [*pyramid(shape, len(widths))[1:]]


class LadderEncoder(nn.Module):
    """Images (B, C, H, W) -> a map for each stage, image side first.

    Args:
        shape: (H, W, C) of the images.
        widths: Channels of the stages, image side first; each halves the size.
        blocks: Residual blocks in each stage.
        look: Its activation.
        dense: Take the image as one vector, so that each stage is fully connected.
    """

    def __init__(self, shape: Shape, widths: Sequence[int], blocks: int, look: Look, *, dense: bool) -> None:
        super().__init__()
        self.dense = dense
        inputs = [math.prod(shape) if dense else shape[2], *widths]
        shrink = [nn.Linear(a, b) if dense else nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(inputs)]
        self.stages = nn.ModuleList(
            nn.Sequential(layer, *(Block(width, size, look) for _ in range(blocks)))
            for layer, width, size in zip(shrink, widths, stages(shape, widths, dense))
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps, found = images.flatten(1) if self.dense else images, []
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        return tuple(found)


def growing(inputs: int, outputs: int, low: Size, high: Size) -> nn.Module:
    """Return a layer that doubles maps, or one that maps vectors."""
    if low is None or high is None:
        return nn.Linear(inputs, outputs)
    odd = (high[0] - 2 * low[0], high[1] - 2 * low[1])
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, output_padding=odd)


class Level(nn.Module):
    """A level of the path: the map takes in the level's noise, or becomes a code that is made of both.

    Args:
        channels: Of the map.
        size: (H, W) of the map.
        dim: Latent dimensions of the level.
        blocks: Residual blocks after it.
        look: Its activation.
        keeps: Whether the map stays beside what the noise adds to it; else only the code gets through.
    """

    def __init__(self, channels: int, size: Size, dim: int, blocks: int, look: Look, *, keeps: bool) -> None:
        super().__init__()
        self.size, self.keeps = size, keeps
        values = channels * math.prod(size or (1,))
        self.read = None
        if not keeps:
            self.before = nn.Sequential(Block(channels, size, look), look.nonlinearity())
            self.read = scaled(nn.Linear(values, 2 * dim), RESIDUAL)
        self.write = nn.Linear(dim, values)
        self.after = nn.Sequential(*(Block(channels, size, look) for _ in range(blocks)))

    def forward(self, maps: Tensor, noise: Tensor) -> Tensor:
        """Return the map that knows the level's code, given the one that knows those above, and noise (B, d)."""
        code = noise
        if self.read is not None:
            mean, log_deviation = self.read(flat(self.before(maps))).chunk(2, 1)
            code = mean + log_deviation.clamp(-LOG_DEVIATION_BOUND, LOG_DEVIATION_BOUND).exp() * noise
        added = as_maps(self.write(code), self.size)
        return self.after(maps + added if self.keeps else added)


Chooses = Callable[[int, slice, Tensor], Tensor]
"""Returns the noise (B, d) of a level, given its number, which latent dimensions it has, and the map before it."""


class LadderDecoder(Tower):
    """The noise of all levels (B, D), that of the top first -> raw images (B, C, H, W).

    Args:
        dims: Latent dimensions of each level, from the top.
        widths: Channels of the stages, image side first; from the top, each stage but the last doubles the size.
        shape: (H, W, channels) of the output.
        blocks: Residual blocks after each level.
        look: Its activation.
        dense: Make the image from one vector, so that each stage is fully connected.
        skips: Whether levels below the top keep the map; see `Level`.

    Attributes:
        units: Which latent dimensions each level has.
        stage_of: The stage of each level; the levels are spread over the stages evenly.
        sizes: The size of the map at each level.
    """

    def __init__(
        self,
        dims: Sequence[int],
        widths: Sequence[int],
        shape: Shape,
        blocks: int,
        look: Look,
        *,
        dense: bool,
        skips: bool,
    ) -> None:
        super().__init__()
        sizes, last = stages(shape, widths, dense), len(widths) - 1
        whole = [None if dense else shape[:2], *sizes]
        self.units = [slice(end - dim, end) for end, dim in zip(accumulate(dims), dims)]
        self.stage_of = [last - level * len(widths) // len(dims) for level in range(len(dims))]
        self.sizes = [sizes[stage] for stage in self.stage_of]
        self.start = nn.Parameter(torch.zeros(1, widths[-1], *(sizes[-1] or ())))
        self.levels = nn.ModuleList(
            Level(widths[stage], sizes[stage], dim, blocks, look, keeps=skips or level == 0)
            for level, (stage, dim) in enumerate(zip(self.stage_of, dims))
        )
        outputs = [math.prod(shape) if dense else shape[2], *widths]
        layers = [growing(b, a, low, high) for (a, b), (high, low) in zip(pairwise(outputs), pairwise(whole))]
        self.grow = nn.ModuleList(layers[1:])
        self.image = (shape[2], *shape[:2])
        self.activation, self.output = look.nonlinearity(), layers[0]

    def top(self, count: int) -> Tensor:
        """Return the map before the first level, (count, C, H, W)."""
        maps = self.start.expand(count, *self.start.shape[1:])
        return maps if maps.dim() == 2 else maps.contiguous(memory_format=torch.channels_last)

    def reach(self, level: int, maps: Tensor) -> Tensor:
        """Return the map before a level, given the one after the level above."""
        above = self.stage_of[level - 1] if level else len(self.grow)
        return self.grown(maps, above, self.stage_of[level])

    def grown(self, maps: Tensor, above: int, below: int) -> Tensor:
        """Return a map of one stage as one of a stage below it."""
        for stage in range(above, below, -1):
            maps = self.grow[stage - 1](maps)
        return maps

    def finish(self, maps: Tensor) -> Tensor:
        """Return raw images, given the map after the last level."""
        raw = self.output(self.activation(self.grown(maps, self.stage_of[-1], 0)))
        return raw.view(-1, *self.image) if raw.dim() == 2 else raw

    def walk(self, count: int, choose: Chooses) -> Tensor:
        """Return the map after the last level, given how to choose each level's noise from the map before it."""
        maps = self.top(count)
        for level, units in enumerate(self.units):
            maps = self.reach(level, maps)
            maps = self.levels[level](maps, choose(level, units, maps))
        return maps

    def forward(self, noise: Tensor, choose: Chooses | None = None) -> Tensor:
        return self.finish(self.walk(noise.shape[0], choose or (lambda level, units, maps: noise[:, units])))


@dataclass(frozen=True)
class HeldLevels:
    """Samples codes whose upper levels are the same in all of them.

    Attributes:
        prior: What codes are sampled from.
        upper: The noise (1, d) of the upper levels.
    """

    prior: Sampler
    upper: Tensor

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return codes of noise (N, D), of which only that of the levels below counts."""
        lower = noise[:, self.upper.shape[1] :]
        return self.prior.from_noise(torch.cat([self.upper.to(lower).expand(len(lower), -1), lower], 1), truncation)


class LadderPosterior(nn.Module):
    """The map before a level, and what the encoder saw -> mean and log variance (B, 2 d) of the level's noise.

    Args:
        decoder: The path.
        widths: Channels of the stages, image side first.
        look: Its activation.
    """

    def __init__(self, decoder: LadderDecoder, widths: Sequence[int], look: Look) -> None:
        super().__init__()
        self.stage_of = decoder.stage_of
        bodies: list[nn.Module] = []
        outputs: list[nn.Module] = []
        for level, units in enumerate(decoder.units):
            width, size = widths[self.stage_of[level]], decoder.sizes[level]
            output = nn.Linear(width * math.prod(size or (1,)), 2 * (units.stop - units.start))
            with torch.no_grad():
                output.bias[len(output.bias) // 2 :] = START_LOG_VARIANCE
            bodies.append(nn.Sequential(Block(width, size, look), look.nonlinearity()))
            outputs.append(output)
        self.bodies, self.outputs = nn.ModuleList(bodies), nn.ModuleList(outputs)

    def forward(self, level: int, maps: Tensor, seen: Sequence[Tensor]) -> Tensor:
        maps = self.bodies[level](maps + seen[self.stage_of[level]])
        return self.outputs[level](flat(maps))


class Descent:
    """Chooses the noise of each level from its posterior, and keeps what was chosen.

    Args:
        posterior: The heads of the posterior.
        seen: What the encoder has of the images.
        choose: Returns the noise of a level, given its Gaussian.
    """

    def __init__(self, posterior: LadderPosterior, seen: Sequence[Tensor], choose: Choose) -> None:
        self.posterior, self.seen, self.choose = posterior, seen, choose
        self.noise: list[Tensor] = []
        self.each: list[DiagonalGaussian] = []

    def __call__(self, level: int, units: slice, maps: Tensor) -> Tensor:
        self.each.append(DiagonalGaussian.from_parameters(self.posterior(level, maps, self.seen)))
        self.noise.append(self.choose(self.each[-1], units))
        return self.noise[-1]

    @property
    def codes(self) -> Tensor:
        """The noise of all levels, (B, D)."""
        return torch.cat(self.noise, 1)

    @property
    def own(self) -> DiagonalGaussian:
        """The Gaussian that each level's noise was chosen from, (B, D)."""
        means, log_variances = ([getattr(one, name) for one in self.each] for name in ("mean", "log_variance"))
        return DiagonalGaussian(torch.cat(means, 1), torch.cat(log_variances, 1))
