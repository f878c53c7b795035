"""Features by name: networks trained on the data and kept in the cache, and the Inception network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from morphospace.data.batches import held_out
from morphospace.data.cache import cache_folder, locked, make_folder
from morphospace.data.pack import Pack, class_count
from morphospace.data.sources.download import download
from morphospace.errors import DataError, SettingError, nearest, require
from morphospace.evaluation.features import Extractor, module_features, pixel_features, trained_features
from morphospace.evaluation.inception import SHA256, WEIGHTS, Resize, inception_features
from morphospace.evaluation.learned import (
    AttributeClassifier,
    Autoencoder,
    Classifier,
    Taken,
    Trained,
    train_attributes,
    train_autoencoder,
    train_classifier,
    varied,
)
from morphospace.files import atomic
from morphospace.runs.checkpoints import load_tensors, save_tensors

LEARNED: Mapping[str, tuple[Callable[[Taken, Taken], Trained], str]] = {
    "attributes": (train_attributes, "mean balanced accuracy {:.4f}"),
    "classifier": (train_classifier, "accuracy {:.4f}"),
    "autoencoder": (train_autoencoder, "mean squared error {:.5f}"),
}
"""How each kind of network is trained, and its quality in words."""
KINDS = (*LEARNED, "pixels", "inception")
VERSION = 2
"""Version of how the networks are trained; networks of an older version in the cache are not used."""
RELEASE = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"

Say = Callable[[str], None]


def kind_of(features: str | nn.Module, pack: Pack, resize: str = "legacy") -> str:
    """Return the kind of features that a name means: one of `KINDS`, or `module`. Nothing is computed yet.

    Args:
        features: A name, `inception:PATH`, the caller's own network, or empty: the classifier of attributes where the
            images have any, the classifier where they have labels, else the autoencoder.
        pack: The data.
        resize: How images are resized for the Inception network.

    Raises:
        SettingError: If there are no such features, or the data have nothing to train a classifier on.
    """
    if resize not in get_args(Resize):
        raise SettingError("resize", resize, "must be 'legacy' or 'antialias'")
    if isinstance(features, nn.Module):
        return "module"
    kind, colon, path = features.partition(":")
    train, _, _ = _to_learn_from(pack)
    classes, attributes = class_count(train[0]), bool(varied(train).any())
    if not kind:
        return "attributes" if attributes else "classifier" if classes > 1 else "autoencoder"
    if kind not in KINDS:
        raise SettingError("features", features, f"there are no such features{nearest(kind, KINDS)}")
    if kind == "classifier" and classes < 2:
        raise SettingError(
            "features = 'classifier'",
            rule=f"{pack.name} has no labels of two classes to train one on",
            way_out="use attributes" if attributes else "use autoencoder",
        )
    if kind == "attributes" and not attributes:
        raise SettingError(
            "features = 'attributes'",
            rule=f"{pack.name} has no attribute that some of its images have and others lack",
            way_out="use classifier" if classes > 1 else "use autoencoder",
        )
    if colon and (kind != "inception" or not Path(path).expanduser().is_file()):
        raise SettingError(
            "features",
            features,
            "no such file" if kind == "inception" else f"{kind} takes nothing after it",
            "write inception:PATH with the path of the weights",
        )
    return kind


def check_at_hand(features: str, name: str) -> None:
    """Refuse features that would be downloaded: for settings of a run, which may be anyone's.

    Args:
        features: A name, as for `kind_of`.
        name: The setting that says it.

    Raises:
        SettingError: If they are the Inception network, and it is not in the cache.
    """
    here = features != "inception" or (_downloads() / WEIGHTS).is_file()
    way_out = f"name it yourself, with --{name.replace('_', '-')} {features}"
    require(here, name, features, "is not here, and a run may not name a server to ask", way_out)


def _downloads() -> Path:
    return cache_folder() / "downloads" / "inception"


def extractor_for(
    features: str | nn.Module, pack: Pack, *, resize: str = "legacy", device: str = "cpu", say: Say = lambda line: None
) -> Extractor:
    """Return the extractor that a name means.

    A network is trained once for a data set, and kept in the cache by the hash of the data.

    Args:
        features: As for `kind_of`.
        pack: The data.
        resize: `legacy` or `antialias`, for the Inception network.
        device: Where to compute.
        say: Takes one line at a time for the user.
    """
    kind = kind_of(features, pack, resize)
    if isinstance(features, nn.Module):
        return module_features(features, device)
    if kind == "pixels":
        return pixel_features(pack.shape)
    if kind == "inception":
        weights = _inception_weights(features.partition(":")[2], say)
        return inception_features(weights, "legacy" if resize == "legacy" else "antialias", device)
    trained, split = _trained(kind, pack, say)
    number = LEARNED[kind][1].format(trained.quality)
    assert isinstance(trained.network, AttributeClassifier | Classifier | Autoencoder)
    return trained_features(trained.network, pack.name, f"{number} on the {split} images", device)


def learned_network(
    kind: str, pack: Pack, say: Say = lambda line: None
) -> AttributeClassifier | Classifier | Autoencoder:
    """Return the network of a kind in `LEARNED`, trained on the data, from the cache if it is there."""
    network = _trained(kind, pack, say)[0].network
    assert isinstance(network, AttributeClassifier | Classifier | Autoencoder)
    return network


def _trained(kind: str, pack: Pack, say: Say) -> tuple[Trained, str]:
    """Return the network from the cache, or train and keep it; and the name of the images that its quality is of."""
    train, test, name = _to_learn_from(pack)
    file = make_folder(cache_folder() / "networks") / f"{kind}-{VERSION}-{pack.hash}.safetensors"
    with locked(file):
        if file.is_file():
            tensors = load_tensors(file)
            return Trained(_network(kind, pack, tensors).eval(), float(tensors["quality"])), name
        network = "classifier of attributes" if kind == "attributes" else kind
        say(f"training a small {network} on {pack.name} for its features; kept in the cache")
        trained = LEARNED[kind][0](train, test)
        state = {f"network.{key}": value for key, value in trained.network.state_dict().items()}
        with atomic(file) as partial:
            save_tensors(partial, {**state, "quality": torch.tensor(trained.quality, dtype=torch.float64)})
    return trained, name


def _network(kind: str, pack: Pack, tensors: dict[str, Tensor]) -> nn.Module:
    state = {name.removeprefix("network."): value for name, value in tensors.items() if name != "quality"}
    network: nn.Module = Autoencoder(pack.shape)
    if kind != "autoencoder":
        network = (Classifier if kind == "classifier" else AttributeClassifier)(pack.shape, len(state["head.bias"]))
    network.load_state_dict(state)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _to_learn_from(pack: Pack) -> tuple[Taken, Taken, str]:
    """Return the images to train on, the images to test the network on, and their name."""
    first = pack.split("train" if "train" in pack.splits else next(iter(pack.splits)))
    whole = (first, np.arange(len(first)))
    for name in ("test", "valid"):
        if name in pack.splits:
            return whole, (pack.split(name), np.arange(len(pack.split(name)))), name
    train, valid = held_out(pack, 0.05) if "train" in pack.splits else (whole, None)
    return (train, train, "training") if valid is None else (train, valid, "held-out")


def _inception_weights(path: str, say: Say) -> dict[str, Tensor]:
    """Read the weights from a path, or download them; a file with another checksum is not opened."""
    if path:
        file = Path(path).expanduser()
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != SHA256:
            raise SettingError(
                f"features = 'inception:{path}'",
                rule=f"its sha256 begins with {found[:8]}, that of the network of 2015-12-05 with {SHA256[:8]}",
                way_out="numbers of another network are not FID",
            )
    else:
        manual = f"put {WEIGHTS} anywhere and write inception:PATH, or take features from classifier or autoencoder"
        file = download(WEIGHTS, SHA256, (RELEASE,), _downloads(), say, manual)
    try:
        weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            file, rule=f"cannot be read as weights ({' '.join(str(error).split())})", way_out="fetch it again"
        ) from None
    return weights
