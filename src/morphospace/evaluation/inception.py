"""The Inception network of 2015-12-05, whose pooled features the published FID, KID and Inception Score are taken in.

It is not torchvision's: average pools leave the padding out, the last block has a maximum pool, and there are 1,008
classes (Szegedy et al. 2016, as published for TensorFlow in `inception-2015-12-05.tgz`). The parts have the names that
the weights converted to torch have, so that these load as they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import SettingError, one_line
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
        kernel: int | tuple[int, ...] = 1,
        stride: int = 1,
        padding: int | tuple[int, ...] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)  # type: ignore[arg-type]
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


def _size(text: str) -> int | tuple[int, ...]:
    sides = tuple(map(int, text.split("x")))
    return sides[0] if len(sides) == 1 else sides


class Block(nn.Module):
    """Branches of convolutions whose outputs are joined.

    Args:
        inputs: Channels coming in.
        branches: One line a branch, as `inception.toml` writes them.
    """

    def __init__(self, inputs: int, branches: Sequence[str]) -> None:
        super().__init__()
        self.branches: list[tuple[str, list[str], list[str]]] = []
        self.outputs = 0
        for line in branches:
            pool, _, rest = line.rpartition(": ") if " " in line else (line, "", "")
            row, beside = ([spec for spec in part.split(", ") if spec] for part in rest.partition(" | ")[::2])
            channels = inputs
            for spec in row:
                channels = self._add(channels, spec)
            self.outputs += sum(self._add(channels, spec) for spec in beside) or channels
            self.branches.append((pool, [spec.split()[0] for spec in row], [spec.split()[0] for spec in beside]))

    def _add(self, inputs: int, spec: str) -> int:
        """Add the convolution that is written as `NAME 96 1x7 /2 +0x3`, and return its channels."""
        name, outputs, kernel, *others = spec.split()
        stride = next((int(word[1:]) for word in others if word[0] == "/"), 1)
        padding = next((_size(word[1:]) for word in others if word[0] == "+"), 0)
        self.add_module(name, BasicConv2d(inputs, int(outputs), _size(kernel), stride, padding))
        return int(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, h, w)."""
        joined = []
        pools = {"average": _average, "maximum": _maximum, "halved": _halved}
        for pool, row, beside in self.branches:
            value = pools[pool](x) if pool else x
            for name in row:
                value = getattr(self, name)(value)
            joined += [getattr(self, name)(value) for name in beside] or [value]
        return torch.cat(joined, 1)


class Inception(nn.Module):
    """Images (B, 3, 299, 299) in [-1, 1] to pooled features (B, 2048), and features to logits of 1,008 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        table = tomllib.loads((Path(__file__).parent / "inception.toml").read_text(encoding="utf-8"))
        channels = 192
        for name, branches in table.items():
            block = Block(channels, branches)
            self.add_module(name, block)
            channels = block.outputs
        self.blocks = tuple(table)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, 299, 299) in [-1, 1] to features (B, 2048)."""
        x = _halved(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = _halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in self.blocks:
            x = getattr(self, name)(x)
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
        rule = f"the weights do not fit the network ({one_line(error)})"
        raise SettingError("features = 'inception'", rule=rule, way_out="fetch them again") from None
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
