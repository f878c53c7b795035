"""Features: what their names promise, and networks that come out the same each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from morphospace.data.pack import Split
from morphospace.errors import SettingError
from morphospace.evaluation import learned
from morphospace.evaluation.features import (
    extracted,
    module_features,
    pixel_features,
    trained_features,
    weights_hash,
)
from morphospace.evaluation.inception import (
    Inception,
    inception_features,
    resized_as_tensorflow,
    resized_smoothly,
)
from morphospace.evaluation.learned import (
    AttributeClassifier,
    Autoencoder,
    Classifier,
    balanced_accuracies,
    train_attributes,
    train_autoencoder,
    train_classifier,
)
from morphospace.models.features import shrunk_to
from tests.conftest import draw_blobs


@pytest.fixture(scope="module")
def two_classes() -> Split:
    """Discs, and discs that are not lit."""
    blobs = draw_blobs(32, (12, 10, 1))
    labels = (np.arange(32) % 2).astype(np.int64)
    # Some discs are lit, and every one of them is a disc.
    attributes = np.stack([labels, np.ones(32)], 1).astype(np.uint8)
    return Split(np.where(labels[:, None, None, None] == 1, 255 - blobs, blobs), labels, attributes)


def test_the_same_images_and_seed_make_the_same_network(two_classes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "FEWEST_STEPS", 3)
    monkeypatch.setattr(learned, "images_to_see", lambda shape, count: 96)
    taken = (two_classes, np.arange(32))
    for train in (train_classifier, train_attributes, train_autoencoder):
        one, same, other = (weights_hash(train(taken, taken, seed=s).network) for s in (0, 0, 1))
        assert one == same != other


def test_a_classifier_learns(two_classes: Split) -> None:
    one = train_classifier((two_classes, np.arange(32)), (two_classes, np.arange(32)))
    assert one.quality == 1.0
    assert isinstance(one.network, Classifier)
    features = trained_features(one.network, "discs", "")
    assert features.name == f"classifier:discs@{weights_hash(one.network)[:4]}"
    found = extracted(features, two_classes.images)
    assert found.features.shape == (32, 128) and found.probabilities is not None
    assert torch.allclose(found.probabilities.sum(1), torch.ones(32), atol=1e-5)
    assert (found.probabilities.argmax(1).numpy() == two_classes.labels).all()
    assert float(found.features.std(0).min()) > 0  # no unit is dead: the covariance has an inverse


def test_a_classifier_of_attributes_learns_those_that_vary(two_classes: Split) -> None:
    one = train_attributes((two_classes, np.arange(32)), (two_classes, np.arange(32)))
    assert one.quality == 1.0  # the constant attribute counts neither for nor against
    assert isinstance(one.network, AttributeClassifier)
    features = trained_features(one.network, "discs", "")
    assert features.name == f"attributes:discs@{weights_hash(one.network)[:4]}"
    found = extracted(features, two_classes.images)
    assert found.features.shape == (32, 128) and found.probabilities is None
    assert float(found.features.std(0).min()) > 0


def test_a_rare_attribute_weighs_as_much_as_a_common_one() -> None:
    """Three of 64 discs are lit; to say that none is would be right for 95 % of them."""
    blobs = draw_blobs(64, (12, 10, 1))
    lit = np.arange(64) < 3
    images = np.where(lit[:, None, None, None], 255 - blobs, blobs)
    taken = (Split(images, attributes=lit[:, None].astype(np.uint8)), np.arange(64))
    assert train_attributes(taken, taken).quality == 1.0


def test_balanced_accuracy_by_hand() -> None:
    said = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], bool)
    true = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]], bool)
    assert np.allclose(balanced_accuracies(said, true), [(1 + 2 / 3) / 2, (0.5 + 1) / 2, np.nan], equal_nan=True)


def test_an_autoencoder_learns(two_classes: Split) -> None:
    trained = train_autoencoder((two_classes, np.arange(32)), (two_classes, np.arange(32)))
    spread = float((two_classes.images / 255.0).var(0).mean())
    assert trained.quality < 0.5 * spread
    assert isinstance(trained.network, Autoencoder)
    found = extracted(trained_features(trained.network, "discs", ""), two_classes.images)
    assert found.features.shape == (32, 128) and found.probabilities is None


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (64, 64, 3), (13, 17, 3), (109, 89, 3), (5, 4, 1)])
def test_any_shape_of_image(shape: tuple[int, int, int]) -> None:
    images = torch.rand(2, shape[2], *shape[:2])
    assert Classifier(shape, 3).eval()(images).shape == (2, 3)
    assert Autoencoder(shape).eval()(images).shape == (2, shape[2], *shrunk_to(shape))


def test_training_leaves_the_global_generator_alone(two_classes: Split) -> None:
    few = Split(two_classes.images[:8], np.asarray(two_classes.labels)[:8])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_classifier((few, np.arange(8)), (few, np.arange(8)))
    assert torch.equal(torch.rand(1), expected)


def test_pixels_are_the_pixels_until_there_are_too_many() -> None:
    images = draw_blobs(3, (12, 10, 1))
    small = pixel_features((12, 10, 1))
    assert small.resize == "none" and small.name == "pixels"
    assert np.allclose(extracted(small, images).features.numpy(), images.reshape(3, -1) / 255.0, atol=1e-7)
    large = pixel_features((64, 64, 3))
    found = extracted(large, draw_blobs(3, (64, 64, 3))).features
    assert found.shape == (3, 18 * 18 * 3) and large.resize == "area to 18x18"


def test_the_callers_own_network() -> None:
    images = draw_blobs(5, (12, 10, 1))
    network = nn.Sequential(nn.Flatten(), nn.Linear(120, 7), nn.Dropout(0.5))
    features = module_features(network)
    found = extracted(features, iter([images[:2], images[2:]]))
    expected = network.eval()(torch.from_numpy(images / 255.0).float().permute(0, 3, 1, 2))
    assert torch.allclose(found.features, expected, atol=1e-6)
    # What `forward` does is in no weight: nothing of it is kept under their hash.
    assert features.name.startswith("Sequential@") and features.key == ""
    with torch.no_grad():
        network[1].bias.add_(1)
    assert module_features(network).name != features.name
    wrong = module_features(nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, -1))))
    with pytest.raises(SettingError, match=r"gave \(1, 600\) for 5 images"):
        extracted(wrong, images)
    network[1].bias.data.fill_(torch.nan)
    with pytest.raises(SettingError, match="not finite"):
        extracted(module_features(network), images)


def test_resize_of_tensorflow_by_hand() -> None:
    """Twice as wide: output 0, 1, 2, 3 look at inputs 0, 0.5, 1, 1.5, and the last has no neighbour beyond."""
    row = torch.tensor([10.0, 20.0]).expand(1, 1, 2, 2)
    assert resized_as_tensorflow(row, 4)[0, 0, 0].tolist() == [10, 15, 20, 20]
    stripes = (torch.arange(8) % 2 * 255.0).expand(1, 1, 8, 8)
    assert resized_as_tensorflow(stripes, 4).unique().tolist() == [0]  # every other pixel is never looked at
    assert resized_smoothly(stripes, 4).mean() == pytest.approx(127.5, abs=1)


def test_the_inception_network_and_its_names() -> None:
    torch.manual_seed(0)
    network = Inception()
    assert sum(p.numel() for p in network.parameters()) == 23_850_960
    assert network.state_dict()["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert len(network.state_dict()) == 566
    features = inception_features(network.state_dict())
    assert features.name == "inception:2015-12-05@6726" and features.resize == "bilinear as TensorFlow 1 to 299x299"
    found = extracted(features, draw_blobs(1, (16, 16, 1)))  # grey becomes three channels
    assert found.features.shape == (1, 2048)
    assert found.probabilities is not None and found.probabilities.shape == (1, 1008)
    clean = inception_features(network.state_dict(), "antialias")
    assert clean.name != features.name and clean.key != features.key
    with pytest.raises(SettingError, match="do not fit the network"):
        inception_features({"fc.weight": torch.zeros(1000, 2048)})
