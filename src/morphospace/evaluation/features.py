"""Feature extractors: images -> features, with a name that says which ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.evaluation.learned import AttributeClassifier, Autoencoder, Classifier, unit
from morphospace.evaluation.statistics import matrix

MOST_PIXELS = 1024
"""Numbers that `pixels` keeps of an image: a covariance of more would not fit."""


@dataclass(frozen=True)
class Extractor:
    """Images to features, and what they are called.

    Attributes:
        name: What is printed with a distance: `classifier:fashion-mnist@3f2a`, the last the hash of the weights.
        key: The same with the whole hash: equal key, equal features. Empty where nothing tells: such are not kept.
        resize: What is done to an image before the network sees it.
        at_once: Images that are taken together.
        extract: uint8 images (B, H, W, C) to features (B, D), and to class probabilities (B, K) where there are any.
        quality: How good the network is at what it was trained for, in words; empty where there is nothing to say.
        probable: Whether there are class probabilities.
    """

    name: str
    key: str
    resize: str
    at_once: int
    extract: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    quality: str = ""
    probable: bool = False


@dataclass(frozen=True)
class Extracted:
    """Features of some images.

    Attributes:
        features: float32, (N, D), on the CPU.
        probabilities: p(class | image), float32, (N, K); None where the extractor has none.
    """

    features: Tensor
    probabilities: Tensor | None


@torch.no_grad()
def extracted(extractor: Extractor, images: np.ndarray | Iterable[np.ndarray]) -> Extracted:
    """Return the features of uint8 images (N, H, W, C), or of blocks of them.

    Raises:
        SettingError: If the network does not give a row of finite numbers for each image.
    """
    blocks = [images] if isinstance(images, np.ndarray) else images
    found: list[Tensor] = []
    classes: list[Tensor] = []
    for block in blocks:
        for first in range(0, len(block), extractor.at_once):
            part = torch.from_numpy(np.array(block[first : first + extractor.at_once]))
            features, probabilities = extractor.extract(part)
            if features.dim() != 2 or len(features) != len(part):
                rule = f"gave {tuple(features.shape)} for {len(part)} images, must give (images, numbers)"
                raise SettingError("features", extractor.name, rule)
            found.append(matrix(features.float().cpu(), f"features of {extractor.name}"))
            if probabilities is not None:
                classes.append(probabilities.float().cpu())
    return Extracted(torch.cat(found), torch.cat(classes) if classes else None)


def weights_hash(network: nn.Module) -> str:
    """Return a hash over a network's weights and buffers, by name."""
    state = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        state.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def pixel_features(shape: tuple[int, int, int]) -> Extractor:
    """Return the pixels themselves, in [0, 1]; large images are averaged down to about a thousand numbers."""
    height, width, channels = shape
    size = _few_pixels(height, width, channels)
    same = size == (height, width)
    resize = "none" if same else f"area to {size[0]}x{size[1]}"

    def extract(images: Tensor) -> tuple[Tensor, None]:
        values = unit(images)
        return (values if same else functional.interpolate(values, size, mode="area")).flatten(1), None

    name = "pixels" if same else f"pixels:{size[0]}x{size[1]}"
    return Extractor(name, f"{name}:{height}x{width}x{channels}", resize, 1024, extract)


def _few_pixels(height: int, width: int, channels: int) -> tuple[int, int]:
    """Return the largest size of the same proportions with at most `MOST_PIXELS` numbers."""
    scale = min(1.0, (MOST_PIXELS / (height * width * channels)) ** 0.5)
    return max(1, int(height * scale)), max(1, int(width * scale))


def trained_features(
    network: Classifier | AttributeClassifier | Autoencoder, data: str, quality: str, device: str = "cpu"
) -> Extractor:
    """Return the features of a network that was trained on the data at hand.

    Args:
        network: In evaluation mode.
        data: What it was trained on.
        quality: How good it is, in words.
        device: Where to compute.
    """
    kinds = {Classifier: "classifier", AttributeClassifier: "attributes", Autoencoder: "autoencoder"}
    kind = kinds[type(network)]
    digest = weights_hash(network)
    network.to(device)
    size = network.trunk.size

    def extract(images: Tensor) -> tuple[Tensor, Tensor | None]:
        features = network.features(unit(images.to(device)))
        return features, network.probabilities(features) if isinstance(network, Classifier) else None

    resize = f"area to {size[0]}x{size[1]} where larger"
    name = f"{kind}:{data}@"
    return Extractor(name + digest[:4], name + digest, resize, 512, extract, quality, isinstance(network, Classifier))


def module_features(module: nn.Module, device: str = "cpu") -> Extractor:
    """Return the features of the caller's own network.

    Args:
        module: Maps float32 images (B, C, H, W) in [0, 1] to features (B, D); put into evaluation mode.
        device: Where to compute.
    """
    digest = weights_hash(module)
    module.eval().to(device)

    def extract(images: Tensor) -> tuple[Tensor, None]:
        return module(unit(images.to(device))).flatten(1), None

    # No key: the weights of a module do not tell what its `forward` does with them.
    return Extractor(f"{type(module).__name__}@{digest[:4]}", "", "the module's own", 256, extract)
