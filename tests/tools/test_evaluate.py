"""`evaluate`: every number with its conditions, the same again, and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import morphospace as ms
from morphospace.data.cache import cache_folder
from morphospace.data.pack import Split, in_memory_pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import RunError, SettingError
from morphospace.evaluation import learned
from morphospace.evaluation.distances import frechet_distance
from morphospace.tools.evaluate import evidence, measure, null_words
from morphospace.tools.evaluate.evidence import Evidence, chosen
from morphospace.tools.evaluate.extractors import extractor_for, kind_of
from morphospace.tools.evaluate.metric import METRICS
from tests.conftest import draw_blobs

SMALL = {"images": 128, "batch_size": 32, "widths": (8,), "latent_dim": 4, "device": "cpu"}
CONDITIONS = {"data", "split", "n_real", "n_fake", "features", "resize", "dtype", "seed", "interval"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: ms.train(name, data="digits", out=folder / name, **SMALL) for name in ("vae", "cgan")}


@pytest.fixture(autouse=True)
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "FEWEST_STEPS", 5)
    monkeypatch.setattr(learned, "images_to_see", lambda shape, count: 2000)


def test_each_number_has_its_conditions_and_is_kept(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    done = ms.evaluate(run, metrics=("fd", "kid", "is", "pr", "dc"), n=120)
    names = [result.name.partition("[")[0] for result in done.results]
    assert names == ["FD", "KID", "IS", "precision", "recall", "density", "coverage"]
    for result in done.results:
        assert set(result.conditions) > CONDITIONS
        assert (result.conditions["split"], result.conditions["n_real"], result.conditions["n_fake"]) == (
            ("test", 120, 120)
        )
        assert result.name.endswith(f"[{result.conditions['features']}]")
        assert result.conditions["features"].startswith("classifier:digits@")
        assert "accuracy" in result.conditions["features_quality"]
        assert result.low is not None and result.high is not None and result.low <= result.value <= result.high
    file = run.path / "evaluation.json"
    assert done.path == file
    assert [entry["name"] for entry in json.loads(file.read_text())["results"]] == [r.name for r in done.results]
    again = ms.evaluate(run.path, metrics=("fd",), n=120)
    assert again.results[0] == done.results[0]
    assert len(json.loads(file.read_text())["results"]) == 7  # the same conditions: replaced
    ms.evaluate(run, metrics=("fd",), n=100)
    assert len(json.loads(file.read_text())["results"]) == 8
    assert ms.evaluate(run, metrics=("fd",), n=120, seed=1).results[0].value != done.results[0].value


def test_samples_are_named_only_where_a_metric_looked_at_them(runs: dict[str, ms.Run]) -> None:
    looked, rebuilt = (ms.evaluate(runs["vae"], metrics=names, n=40, features="pixels") for names in (["fd"], ["mse"]))
    assert looked.fake == "samples at 128 images, 40 images" and f"fake: {looked.fake}" in looked.summary().lines
    assert rebuilt.fake == "" and not any("fake" in line for line in rebuilt.summary().lines)


def test_a_conditional_model_is_asked_for_what_real_images_show(
    runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = runs["cgan"], []
    plain = evidence.sampled

    def drawn(run: ms.Run, n: int, seed: int, condition: Tensor, **more: Any) -> np.ndarray:
        asked.append(condition.argmax(1))
        return plain(run, n, seed, condition, **more)

    monkeypatch.setattr(evidence, "sampled", drawn)
    split = run.pack.split("test")
    (result,) = ms.evaluate(run, metrics=("fd",), n=len(split), features="pixels").results
    assert result.name == "FD[pixels]" and result.conditions["condition"] == "those of real images"
    assert torch.cat(asked).bincount().tolist() == np.bincount(split.labels).tolist()  # its classes in their shares
    other = np.zeros((60, *run.pack.shape), np.uint8)
    (result,) = ms.evaluate(run, real=other, metrics=("fd",), n=50, features="pixels").results
    assert result.conditions["condition"] == "every one in turn"


def test_two_sets_brought_to_another_size_are_another_number() -> None:
    found = []
    for size in ("8", "12"):
        told = ms.evaluate(real="digits", fake="digits", metrics=("fd",), size=size, n=60, features="pixels")
        found.append(told.results[0].conditions)
    assert [about["size"] for about in found] == ["8x8x1", "12x12x1"]
    assert found[0]["data_hash"] == found[0]["fake_hash"] != found[1]["data_hash"]


def test_real_images_are_nearer_than_samples_and_samples_than_noise(runs: dict[str, ms.Run]) -> None:
    pack = runs["vae"].pack
    noise = np.random.default_rng(0).integers(0, 2, (300, *pack.shape), dtype=np.uint8) * 255

    def fd(**sides: object) -> float:
        return ms.evaluate(metrics=("fd",), features="pixels", n=300, **sides).results[0].value  # type: ignore[arg-type]

    real = fd(real=pack, fake=pack, fake_split="train")
    drawn = ms.evaluate(runs["vae"], metrics=("fd",), features="pixels", n=300).results[0].value
    assert real < 0.5 * drawn < drawn < fd(real=pack, fake=noise)
    assert fd(real=pack, fake=pack) < 1e-9


def test_a_frechet_distance_of_few_images_is_shown_beside_that_of_real_ones(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    (done,) = ms.evaluate(run, metrics=("fd",), n=100, features="pixels").results
    null = done.null
    assert null is not None and (null["n_real"], null["n_fake"], null["divisions"]) == (100, 100, 5)
    pixels = np.concatenate([np.asarray(run.pack.split(name).images[:]) for name in ("test", "train")])
    values = pixels.reshape(len(pixels), -1) / 255
    found = []
    for seed in range(40):
        rows = np.random.default_rng(seed).permutation(len(values))
        found.append(frechet_distance(real=values[rows[:100]], fake=values[rows[100:200]]))
    assert null["low"] <= null["mean"] <= null["high"]
    assert null["mean"] == pytest.approx(np.mean(found), rel=0.15) and null["low"] > 0.5 * np.mean(found)
    assert null["high"] < done.value  # this model has hardly begun
    kept = [entry for entry in measure.read(run.path / "evaluation.json") if entry["conditions"]["n_real"] == 100]
    assert null in [entry["null"] for entry in kept] and "each" not in kept[0]


def test_real_images_that_do_not_suffice_for_the_null_are_fewer_and_said(runs: dict[str, ms.Run]) -> None:
    pack = in_memory_pack("few", draw_blobs(60, (8, 8, 1)))
    done = ms.evaluate(real=pack, fake=draw_blobs(60, (8, 8, 1)), metrics=("fd", "kid"), features="pixels")
    null = done.results[0].null
    assert null is not None and (null["n_real"], null["n_fake"]) == (30, 30) and done.results[1].null is None
    assert "30 and 30 (there are no more; of 60 and 60 it would be less)" in null_words(done.results[0])
    side = chosen(pack, pack.split("train"), np.arange(60), "train", 20)
    others = side.further(25)
    assert [len(other.rows) for other in others] == [25] and not set(others[0].rows) & set(side.rows)
    scored = Evidence(side, side, None, 20, 0, "pixels")  # as in training: no time is spent on it
    assert METRICS["fd"].measure(scored)[0].null is None


def test_two_folders_without_a_model(tmp_path: Path) -> None:
    from PIL import Image

    for name, first in (("a", 0), ("b", 20)):
        (tmp_path / name).mkdir()
        for i, pixels in enumerate(draw_blobs(40, (16, 16, 1))[first : first + 20, :, :, 0]):
            side = 16 if name == "a" else 24
            Image.fromarray(pixels).resize((side, side)).save(tmp_path / name / f"{i}.png")
    done = ms.evaluate(real=f"folder:{tmp_path / 'a'}", fake=f"folder:{tmp_path / 'b'}", metrics=("kid", "pr"))
    assert done.path is None and len(done.results) == 3
    assert done.results[0].name.startswith("KID[autoencoder:a@")
    assert done.results[0].conditions["fake"] == "b" and done.results[0].conditions["n_fake"] == 20


def test_reals_are_spread_over_a_sorted_source_and_do_not_hang_on_the_seed() -> None:
    pack = in_memory_pack("sorted", draw_blobs(90, (8, 8, 1)))
    rows = chosen(pack, pack.split("train"), np.arange(90), "train", 30).rows
    assert len(rows) == 30 and rows[0] < 15 and rows[-1] > 75 and (np.diff(rows) > 0).all()


def test_networks_and_features_are_kept_and_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = prepare(DataSettings(data="digits", size="10"))
    said: list[str] = []
    extractor = extractor_for("", pack, say=said.append)
    assert len(said) == 1 and "training a small classifier" in said[0]
    assert extractor_for("classifier", pack, say=said.append).key == extractor.key and len(said) == 1
    assert list((cache_folder() / "networks").glob(f"classifier-*-{pack.hash}.safetensors"))
    side = chosen(pack, pack.split("test"), np.arange(360), "test", 50)
    first = Evidence(side, side, None, 50, 0, say=said.append)
    made = first.real_features.features
    count = len(said)
    second = Evidence(side, side, None, 50, 0, say=said.append)
    assert torch.equal(second.real_features.features, made) and second.real_statistics.count == 50
    assert len(said) == count
    fewer = chosen(pack, pack.split("test"), np.arange(360), "test", 49)
    assert len(Evidence(fewer, fewer, None, 49, 0).real_features.features) == 49


def test_default_features_hang_on_what_the_images_have() -> None:
    images = draw_blobs(8, (8, 8, 1))
    plain = in_memory_pack("plain", images)
    one = in_memory_pack("one", Split(images, np.zeros(8, np.int64)))
    two = in_memory_pack("two", Split(images, np.arange(8) % 2))
    halves = (np.arange(8) % 2).astype(np.uint8)[:, None]
    named = {"attribute_names": ("lit",)}
    lit = in_memory_pack("lit", Split(images, np.arange(8) % 2, halves), **named)
    all_lit = in_memory_pack("all lit", Split(images, attributes=np.ones_like(halves)), **named)
    found = [kind_of("", pack) for pack in (plain, one, two, lit, all_lit)]
    assert found == ["autoencoder", "autoencoder", "classifier", "attributes", "autoencoder"]
    with pytest.raises(SettingError, match="no attribute that some of its images have and others lack"):
        kind_of("attributes", all_lit)


def test_images_with_attributes_are_compared_by_a_classifier_of_them() -> None:
    real = prepare(DataSettings(data="toyfaces:60"))
    said: list[str] = []
    done = ms.evaluate(real=real, fake=real, metrics=("fd",), n=60, say=said.append)
    (result,) = done.results
    assert result.name.startswith(f"FD[attributes:{real.name}@") and result.value == pytest.approx(0, abs=1e-3)
    assert "mean balanced accuracy" in result.conditions["features_quality"]
    assert any("training a small classifier of attributes" in line for line in said)
    count = len(said)
    assert extractor_for("", real, say=said.append).key and len(said) == count  # from the cache
    with pytest.raises(SettingError, match="class probabilities, which attributes features have none of"):
        ms.evaluate(real=real, fake=real, metrics=("is",), n=60)
    # The earlier features are there by their name.
    (earlier,) = ms.evaluate(real=real, fake=real, metrics=("fd",), n=60, features="autoencoder").results
    assert earlier.name.startswith("FD[autoencoder:")


class Means(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).repeat(1, 2) ** torch.tensor([1.0, 2.0])


def test_the_callers_own_features(runs: dict[str, ms.Run]) -> None:
    done = ms.evaluate(runs["vae"], metrics=("fd",), features=Means(), n=40)
    assert done.results[0].name.startswith("FD[Means@")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics": ("fdd",)}, "did you mean 'fd'"),
        ({"metrics": ("is",), "features": "pixels"}, "metrics = 'is': needs class probabilities.*use features classif"),
        ({"features": "incepton"}, "did you mean 'inception'"),
        ({"features": "inception:nowhere.pth"}, "no such file"),
        ({"features": "pixels:3"}, "pixels takes nothing after it"),
        ({"resize": "nearest"}, "must be one of legacy, antialias"),
        ({"n": 1}, "n = 1: must be from 2"),
        ({"fake": "digits"}, "a run samples the fakes itself"),
        ({"real_split": "dev"}, "real_split = 'dev': digits has train, test"),
        ({"size": "16"}, "is the run's own"),
        ({"real": np.zeros((4, 9, 9, 1), np.uint8)}, "its images are 9x9x1, the others 8x8x1"),
    ],
)
def test_refusals_come_before_any_work(runs: dict[str, ms.Run], settings: dict[str, object], words: str) -> None:
    said: list[str] = []
    with pytest.raises(SettingError, match=words):
        ms.evaluate(runs["vae"], say=said.append, **settings)  # type: ignore[arg-type]
    assert not said


def test_more_refusals(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="give a run, or two sets"):
        ms.evaluate(real="digits")
    other = tmp_path / "weights.pth"
    other.write_bytes(b"other weights")
    with pytest.raises(SettingError, match="numbers of another network are not FID"):
        ms.evaluate(runs["vae"], metrics=("fd",), features=f"inception:{other}")
    plain = in_memory_pack("plain", draw_blobs(20, (8, 8, 1)))
    with pytest.raises(SettingError, match="plain has no labels of two classes"):
        ms.evaluate(real=plain, fake=plain, features="classifier")
    broken = tmp_path / "evaluation.json"
    broken.write_text("[]")
    with pytest.raises(RunError, match="does not hold results"):
        measure.read(broken)


def test_only_inception_is_called_fid(runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    from morphospace.evaluation.features import Extractor
    from morphospace.tools.evaluate import evidence as home

    def fake(*arguments: object, **settings: object) -> Extractor:
        return Extractor("inception:2015-12-05@6726", "key", "none", 8, lambda x: (x.flatten(1).float()[:, :5], None))

    monkeypatch.setattr(home, "extractor_for", fake)
    (result,) = ms.evaluate(runs["vae"], metrics=("fd",), features="inception", n=30).results
    assert result.name == "FID-30[inception:2015-12-05@6726]"


def test_a_metric_is_also_known_by_its_numbers() -> None:
    assert measure.metrics_of(("precision", "fd", "recall")) == ("pr", "fd")
    with pytest.raises(SettingError, match=r"metrics = 'precison': there is no such metric .*'precision'"):
        measure.metrics_of(("precison",))


def test_modes_of_stacked_digits_are_counted_a_digit_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of stacks that show the digits 0 to 4 alone, 125 of 1,000 modes are found and all others missed."""
    monkeypatch.setattr(learned, "images_to_see", lambda shape, count: 30_000)  # a judge that knows its digits
    digits = prepare(DataSettings(data="digits"))
    splits = {}
    for number, name in enumerate(("train", "test")):
        split = digits.split(name)
        labels = np.asarray(split.labels)
        rows = np.random.default_rng(number).integers(0, len(split), (5000, 3))
        images = np.stack([np.asarray(split.images)[rows[:, c], :, :, 0] for c in range(3)], -1)
        splits[name] = Split(images, labels[rows] @ np.array([100, 10, 1]))
    pack = in_memory_pack("stacked-mnist", splits.pop("train"), **splits)
    few = np.flatnonzero(np.asarray(digits.split("train").labels) < 5)
    rows = few[np.random.default_rng(2).integers(0, len(few), (10_000, 3))]
    fakes = np.stack([np.asarray(digits.split("train").images)[rows[:, c], :, :, 0] for c in range(3)], -1)
    done = ms.evaluate(real=pack, fake=fakes, metrics=("modes",), n=10_000, device="cpu")
    found, kl = done.results
    assert found.name.startswith("modes[classifier:stacked-mnist, digits@") and 125 <= found.value < 160
    assert found.conditions["with_a_quarter_of_their_share"] == 125  # strays of a classifier that errs do not count
    assert kl.value == pytest.approx(np.log(8), abs=0.2) and kl.unit == "nats"
    assert found.conditions["value_of_real"] > 850 and "a digit a channel" in found.conditions["of"]


def test_modes_need_classes() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    with pytest.raises(SettingError, match="metrics = 'modes': needs data of several classes"):
        ms.evaluate(real=grey, fake=grey, metrics=("modes",))
