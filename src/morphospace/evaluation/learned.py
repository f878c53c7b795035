"""Small networks trained on the data set itself, whose features need no download.

A classifier of attributes where the images have any, a classifier where they have labels, else an autoencoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.data.batches import permutation
from morphospace.data.pack import Split, class_count
from morphospace.errors import require
from morphospace.models.features import FEATURES, Trunk, shrunk_to
from morphospace.randomness import stream
from morphospace.training.guard import check_loss

BATCH = 128
LR = 2e-3
FEWEST_STEPS = 100
JUDGED = 10_000


Taken = tuple[Split, np.ndarray]
"""A split, and which of its rows."""


@dataclass(frozen=True)
class Trained:
    """A network and how good it is.

    Attributes:
        network: In evaluation mode.
        quality: Accuracy of the classifier, mean balanced accuracy of the classifier of attributes, mean squared error
            a pixel in [0, 1] of the autoencoder.
    """

    network: nn.Module
    quality: float


class Classifier(nn.Module):
    """Images (B, C, H, W) in [0, 1] to features, and features to logits.

    Args:
        shape: (H, W, C) of the images.
        classes: How many.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.trunk = Trunk(shape)
        self.head = nn.Linear(FEATURES, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return features (B, 128)."""
        return self.trunk(images)

    def probabilities(self, features: Tensor) -> Tensor:
        """Return p(class | image), (B, K), of features (B, 128)."""
        return self.head(features).softmax(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K)."""
        return self.head(self.trunk(images))


class AttributeClassifier(nn.Module):
    """Images (B, C, H, W) in [0, 1] to features, and features to one logit an attribute.

    Args:
        shape: (H, W, C) of the images.
        attributes: How many.
    """

    def __init__(self, shape: tuple[int, int, int], attributes: int) -> None:
        super().__init__()
        self.trunk = Trunk(shape)
        self.head = nn.Linear(FEATURES, attributes)

    def features(self, images: Tensor) -> Tensor:
        """Return features (B, 128)."""
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, A); above 0 the attribute is more likely present than not."""
        return self.head(self.trunk(images))


class Autoencoder(nn.Module):
    """Images (B, C, H, W) in [0, 1] to features, and features to images of the size that the trunk looks at.

    Args:
        shape: (H, W, C) of the images.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.trunk = Trunk(shape)
        channels, height, width = self.trunk.last
        steps = len(self.trunk.body) // 3
        layers: list[nn.Module] = [nn.Linear(FEATURES, channels * height * width), nn.ReLU(inplace=True)]
        layers.append(nn.Unflatten(1, (channels, height, width)))
        outs = [(32, 64, 128, 128)[i] for i in range(steps - 1)][::-1]
        for out in outs:
            layers += [nn.ConvTranspose2d(channels, out, 4, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)]
            channels = out
        layers.append(nn.ConvTranspose2d(channels, shape[2], 4, 2, 1))
        self.body = nn.Sequential(*layers)

    def features(self, images: Tensor) -> Tensor:
        """Return features (B, 128)."""
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return the images again, (B, C, h, w), without bounds."""
        made = self.body(self.trunk(images))
        height, width = self.trunk.size  # odd sizes were rounded up on the way down
        return made[:, :, :height, :width]


def train_classifier(train: Taken, test: Taken, *, seed: int = 0) -> Trained:
    """Train a classifier on a split's labels, the same for the same images, seed and number of threads."""
    known, wanted = train[0].labels, test[0].labels
    assert known is not None and wanted is not None
    classes = class_count(train[0])
    require(classes > 1, "features", "classifier", "needs labels of at least two classes", "use autoencoder or pixels")
    labels = torch.from_numpy(np.array(known))

    def loss(network: nn.Module, images: Tensor, taken: np.ndarray) -> Tensor:
        return functional.cross_entropy(network(images), labels[taken])

    network = _trained(lambda: Classifier(_shape(train[0]), classes), loss, train, seed)
    with torch.no_grad():
        said = torch.cat([network(unit(part)).argmax(1) for part in _blocks(test)])
    right = said.numpy() == np.array(wanted[test[1][:JUDGED]])
    return Trained(network, float(right.mean()))


def train_attributes(train: Taken, test: Taken, *, seed: int = 0) -> Trained:
    """Train a classifier of all attributes at once, the same for the same images, seed and number of threads.

    The images with an attribute weigh as much as those without it, however rare it is.
    """
    known, wanted = train[0].attributes, test[0].attributes
    assert known is not None and wanted is not None
    values = np.array(known)
    both = varied(train)
    rule, way_out = "needs an attribute that some images have and others lack", "use autoencoder or pixels"
    require(bool(both.any()), "features", "attributes", rule, way_out)
    attributes = torch.from_numpy(values).float()
    share = attributes[train[1]].mean(0).clamp(1e-6, 1 - 1e-6)
    present, absent = torch.from_numpy(both) / (2 * share), torch.from_numpy(both) / (2 * (1 - share))

    def loss(network: nn.Module, images: Tensor, taken: np.ndarray) -> Tensor:
        target = attributes[taken]
        weight = target * present + (1 - target) * absent
        return functional.binary_cross_entropy_with_logits(network(images), target, weight)

    network = _trained(lambda: AttributeClassifier(_shape(train[0]), values.shape[1]), loss, train, seed)
    with torch.no_grad():
        said = torch.cat([network(unit(part)) > 0 for part in _blocks(test)]).numpy()
    return Trained(network, float(np.nanmean(balanced_accuracies(said, np.array(wanted[test[1][:JUDGED]]) > 0))))


def varied(taken: Taken) -> np.ndarray:
    """Return which attributes some of the images have and others lack, bool (A,); empty where there are none."""
    split, rows = taken
    if split.attributes is None or not len(rows):
        return np.zeros(0, bool)
    share = np.asarray(split.attributes[rows]).mean(0)
    return (share > 0) & (share < 1)


def balanced_accuracies(said: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the mean of the shares right among images with an attribute and without it, (A,); nan where one lacks.

    Args:
        said: bool (N, A).
        true: bool (N, A).

    >>> balanced_accuracies(np.array([[True], [True], [False]]), np.array([[True], [False], [False]]))
    array([0.75])
    """
    present, absent = true.sum(0).astype(float), (~true).sum(0).astype(float)
    present[present == 0], absent[absent == 0] = np.nan, np.nan
    return ((said & true).sum(0) / present + (~said & ~true).sum(0) / absent) / 2


def train_autoencoder(train: Taken, test: Taken, *, seed: int = 0) -> Trained:
    """Train an autoencoder, the same for the same images, seed and number of threads."""

    def error(network: nn.Module, images: Tensor) -> Tensor:
        assert isinstance(network, Autoencoder)
        wanted = functional.interpolate(images, network.trunk.size, mode="area")
        return (network(images) - wanted).square().flatten(1).mean(1)

    network = _trained(lambda: Autoencoder(_shape(train[0])), lambda net, x, _: error(net, x).mean(), train, seed)
    with torch.no_grad():
        errors = torch.cat([error(network, unit(part)) for part in _blocks(test)])
    return Trained(network, float(errors.double().mean()))


def unit(images: np.ndarray | Tensor) -> Tensor:
    """Turn uint8 images (B, H, W, C) into float32 (B, C, H, W) in [0, 1]."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).to(torch.float32).div_(255)


def images_to_see(shape: tuple[int, int, int], count: int) -> int:
    """Return how many images training sees: a minute or two on a CPU, at most 20 epochs of a small set."""
    height, width = shrunk_to(shape)
    return min(20 * count, min(120_000, round(120_000 * 784 / (height * width))))


def _shape(split: Split) -> tuple[int, int, int]:
    height, width, channels = split.images.shape[1:]
    return height, width, channels


def _blocks(test: Taken) -> list[np.ndarray]:
    """Return the judged images in blocks."""
    split, rows = test[0], test[1][:JUDGED]
    return [np.array(split.images[rows[i : i + 512]]) for i in range(0, len(rows), 512)]


def _trained(
    make: Callable[[], nn.Module], loss: Callable[[nn.Module, Tensor, np.ndarray], Tensor], train: Taken, seed: int
) -> nn.Module:
    """Train with Adam and a rate that rises and falls once."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "features"))
        network = make().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    split, rows = train
    batch = min(BATCH, len(rows))
    steps = max(FEWEST_STEPS, images_to_see(_shape(split), len(rows)) // batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.2)
    epochs = range(steps * batch // len(rows) + 1)
    order = np.concatenate([permutation(len(rows), seed, "features", epoch) for epoch in epochs])
    network.train()
    for step in range(steps):
        taken = np.sort(rows[order[step * batch : (step + 1) * batch]])
        value = loss(network, unit(np.array(split.images[taken])), taken)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        if step + 1 < steps:
            rates.step()
    check_loss(value, "the network that features are taken from")
    return network.eval()
