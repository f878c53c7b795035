"""The Inception network of 2015-12-05, whose pooled features the published FID, KID and Inception Score are taken in.

It is not torchvision's: average pools leave the padding out, the last block has a maximum pool, and there are 1,008
classes (Szegedy et al. 2016, as published for TensorFlow in `inception-2015-12-05.tgz`). The parts have the names that
the weights converted to torch have, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.evaluation.features import Extractor

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
SIZE = 299

Resize = Literal["legacy", "antialias"]


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, h, w)."""
        return functional.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: Tensor) -> Tensor:
    """Average over 3x3, the padding left out of the count as TensorFlow does."""
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 1, 1)


def _halved(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 2)


# Branches of a block: a part's name, then outputs, kernel, stride and padding of its convolution. A branch that begins
# with a function pools first; a list at its end is several convolutions of the same input, side by side.
Part = tuple[str, int, int | tuple[int, int], int, int | tuple[int, int]]
WIDE, TALL = (1, 7), (7, 1)
OVER, DOWN = (0, 3), (3, 0)


class Block(nn.Module):
    """Branches of convolutions whose outputs are joined.

    Args:
        inputs: Channels coming in.
        branches: For each branch what is pooled first (or None), its parts in a row, and parts side by side after them.
    """

    def __init__(self, inputs: int, branches: Sequence[tuple[str | None, Sequence[Part], Sequence[Part]]]) -> None:
        super().__init__()
        self.branches = branches
        for _, parts, beside in branches:
            channels = inputs
            for name, outputs, *shape in parts:
                self.add_module(name, BasicConv2d(channels, outputs, *shape))  # type: ignore[arg-type]
                channels = outputs
            for name, outputs, *shape in beside:
                self.add_module(name, BasicConv2d(channels, outputs, *shape))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, h, w)."""
        joined = []
        pools = {"average": _average, "maximum": _maximum, "halved": _halved}
        for pool, parts, beside in self.branches:
            value = pools[pool](x) if pool else x
            for name, *_ in parts:
                value = getattr(self, name)(value)
            joined += [getattr(self, name)(value) for name, *_ in beside] or [value]
        return torch.cat(joined, 1)


def _row(name: str, *shapes: tuple[int, int | tuple[int, int], int, int | tuple[int, int]]) -> list[Part]:
    """Parts `<name>_1`, `<name>_2`, ... in a row."""
    return [(f"{name}_{number}", *shape) for number, shape in enumerate(shapes, 1)]


def _block_a(inputs: int, pooled: int) -> Block:
    """35x35: 1x1, 5x5, two 3x3, and a pool."""
    five = _row("branch5x5", (48, 1, 1, 0), (64, 5, 1, 2))
    three = _row("branch3x3dbl", (64, 1, 1, 0), (96, 3, 1, 1), (96, 3, 1, 1))
    pool: list[Part] = [("branch_pool", pooled, 1, 1, 0)]
    return Block(
        inputs, [(None, [("branch1x1", 64, 1, 1, 0)], []), (None, five, []), (None, three, []), ("average", pool, [])]
    )


def _block_b(inputs: int) -> Block:
    """35x35 to 17x17."""
    three = _row("branch3x3dbl", (64, 1, 1, 0), (96, 3, 1, 1), (96, 3, 2, 0))
    return Block(inputs, [(None, [("branch3x3", 384, 3, 2, 0)], []), (None, three, []), ("halved", [], [])])


def _block_c(inputs: int, c: int) -> Block:
    """17x17: convolutions of 7 as 1x7 and 7x1."""
    wide, tall = (c, WIDE, 1, OVER), (c, TALL, 1, DOWN)
    once = _row("branch7x7", (c, 1, 1, 0), wide, (192, TALL, 1, DOWN))
    twice = _row("branch7x7dbl", (c, 1, 1, 0), tall, wide, tall, (192, WIDE, 1, OVER))
    pool: list[Part] = [("branch_pool", 192, 1, 1, 0)]
    return Block(
        inputs, [(None, [("branch1x1", 192, 1, 1, 0)], []), (None, once, []), (None, twice, []), ("average", pool, [])]
    )


def _block_d(inputs: int) -> Block:
    """17x17 to 8x8."""
    three = _row("branch3x3", (192, 1, 1, 0), (320, 3, 2, 0))
    seven = _row("branch7x7x3", (192, 1, 1, 0), (192, WIDE, 1, OVER), (192, TALL, 1, DOWN), (192, 3, 2, 0))
    return Block(inputs, [(None, three, []), (None, seven, []), ("halved", [], [])])


def _block_e(inputs: int, pool: str) -> Block:
    """8x8; the pool is an average in the first of the two and, as published, a maximum in the second."""

    def beside(name: str) -> list[Part]:
        return [(f"{name}a", 384, (1, 3), 1, (0, 1)), (f"{name}b", 384, (3, 1), 1, (1, 0))]

    return Block(
        inputs,
        [
            (None, [("branch1x1", 320, 1, 1, 0)], []),
            (None, [("branch3x3_1", 384, 1, 1, 0)], beside("branch3x3_2")),
            (None, [("branch3x3dbl_1", 448, 1, 1, 0), ("branch3x3dbl_2", 384, 3, 1, 1)], beside("branch3x3dbl_3")),
            (pool, [("branch_pool", 192, 1, 1, 0)], []),
        ],
    )


class Inception(nn.Module):
    """Images (B, 3, 299, 299) in [-1, 1] to pooled features (B, 2048), and features to logits of 1,008 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        for letter, c in zip("bcde", (128, 160, 160, 192)):
            self.add_module(f"Mixed_6{letter}", _block_c(768, c))
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b = _block_e(1280, "average")
        self.Mixed_7c = _block_e(2048, "maximum")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, 299, 299) in [-1, 1] to features (B, 2048)."""
        x = _halved(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = _halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        return x.mean((2, 3))

    def probabilities(self, features: Tensor) -> Tensor:
        """Return p(class | image) from features, by the logits without their bias, as the Inception Score is taken."""
        return (features @ self.fc.weight.T).softmax(1)


def resized_as_tensorflow(images: Tensor, size: int = SIZE) -> Tensor:
    """Resize float images (B, C, H, W) as TensorFlow 1's `resize_bilinear` does: what published FIDs are taken with.

    Corners are not aligned and pixels have no centres: output i looks at input i H / size, between its two neighbours,
    however much the image shrinks, so that shrinking aliases (Parmar et al. 2022).
    """
    for dim in (3, 2):  # across first: the same numbers to the last bit
        length = images.shape[dim]
        at = torch.arange(size, dtype=torch.float32, device=images.device) * torch.tensor(length / size)
        low = at.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        weight = (at - low).to(images.dtype).view(-1, *[1] * (3 - dim))
        below, above = images.index_select(dim, low), images.index_select(dim, high)
        images = below + (above - below) * weight
    return images


def resized_smoothly(images: Tensor, size: int = SIZE) -> Tensor:
    """Resize float images (B, C, H, W) by an antialiased bicubic filter, as "clean" FID does (Parmar et al. 2022)."""
    made = functional.interpolate(images, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return made.clamp(0, 255)


def inception_features(weights: Mapping[str, Tensor], resize: Resize = "legacy", device: str = "cpu") -> Extractor:
    """Return the features of the Inception network.

    Args:
        weights: Its weights by name.
        resize: `legacy` as TensorFlow 1, or `antialias`.
        device: Where to compute.

    Raises:
        SettingError: If the weights are not those of this network.
    """
    with torch.device("meta"):  # no first weights are drawn only to be replaced
        network = Inception()
    try:
        network.load_state_dict(dict(weights), assign=True)
    except RuntimeError as error:
        raise SettingError("features = 'inception'", rule=f"the weights do not fit the network ({error})") from None
    network.eval().to(device)
    change = resized_as_tensorflow if resize == "legacy" else resized_smoothly

    def extract(images: Tensor) -> tuple[Tensor, Tensor]:
        values = images.to(device).permute(0, 3, 1, 2).to(torch.float32)
        values = change(values.expand(-1, 3, -1, -1) if values.shape[1] == 1 else values)
        features = network((values - 128) / 128)
        return features, network.probabilities(features)

    words = "bilinear as TensorFlow 1 to 299x299" if resize == "legacy" else "antialiased bicubic to 299x299"
    kind = "inception" if resize == "legacy" else "inception-antialias"
    name = f"{kind}:2015-12-05@{SHA256[:4]}"
    return Extractor(name, f"{name}:{resize}", words, 32, extract, probable=True)
