"""What the tools make of codes that a model recognises in images, and of classes that it was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import NoEncoder, SettingError
from morphospace.models.contract import seeded_noise
from morphospace.runs.codes import decode, posteriors
from morphospace.tools.evaluate.model_metrics import coded
from tests.conftest import draw_blobs

SMALL = {"tower": "mlp", "widths": (16,), "images": 64, "batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    images, labels = draw_blobs(80, (8, 8, 1)), np.arange(80) % 3
    factors = np.stack([labels, np.arange(80) // 3 % 5], 1).astype(np.float32)
    parts = [Split(images[s], labels=labels[s], factors=factors[s]) for s in (slice(0, 60), slice(60, 80))]
    pack = in_memory_pack("blobs", parts[0], test=parts[1], factor_names=("kind", "place"))
    layout = {"latent_dim": 8, "categories": 3, "variables": 1, "continuous": 2}
    run = ms.train("info-gan", data=pack, out=tmp_path_factory.mktemp("info") / "run", **SMALL, **layout)
    run.__dict__["pack"] = pack  # handed over as an object, which a run does not find again
    return run


def test_a_column_for_each_category_and_a_row_for_each_code(run: ms.Run) -> None:
    made = ms.traverse(run, by="categories", rows=4)
    assert made.names == ("seed 0", "seed 1", "seed 2", "seed 3") and made.strengths == (0, 1, 2)
    z = torch.cat([seeded_noise(1, 8, seed) for seed in range(4)])
    for category in range(3):
        codes = run.model.layout.with_category(z, 0, torch.full((4,), category))
        assert np.array_equal(made.images[category::3], decode(run.model, codes))
    own = int(run.model.layout.numbers(z)[2, 0])
    assert np.array_equal(made.images[6 + own], decode(run.model, z[2:3])[0])
    one = ms.traverse(run, by="categories", image="seed:2")
    assert np.array_equal(one.images, made.images[6:9]) and one.start == "seed 2"
    assert made.picture().size[0] > 0


def test_a_row_for_each_continuous_code(run: ms.Run) -> None:
    made = ms.traverse(run, by="continuous", steps=5, range=2, image="seed:1")
    assert sorted(made.names) == ["dim 3", "dim 4"]
    code = seeded_noise(1, 8, 1)
    code = code.repeat(5, 1)
    code[:, 4] += torch.linspace(-2, 2, 5)
    row = made.names.index("dim 4")
    assert np.abs(made.images[5 * row : 5 * row + 5].astype(int) - decode(run.model, code).astype(int)).max() <= 1


def test_components_are_of_what_the_generator_is_given(run: ms.Run) -> None:
    assert ms.components(run, space="weights").directions.shape[1] == 8
    assert ms.components(run, 50, space="activations").directions.shape[1] == 8


def test_factors_are_compared_with_what_images_say(run: ms.Run) -> None:
    codes = coded(run, n=60)
    assert codes.means.shape == (60, 8) and codes.log_variances is not None
    assert not codes.means[:, 5:].any() and codes.living().means.shape[1] <= 5
    with torch.no_grad():
        said = run.model.recognise(run.model.from_uint8(torch.from_numpy(run.pack.split("train").images[:3].copy())))
    assert torch.allclose(posteriors(run, run.pack.split("train"), np.arange(3)).means, said.mean, atol=1e-6)
    with pytest.raises(NoEncoder, match="no encoder"):
        ms.reconstruct(run)


def test_categories_are_matched_to_classes(run: ms.Run) -> None:
    (found,) = ms.evaluate(run, metrics=("agreement",), n=20).results
    test = run.pack.split("test")
    with torch.no_grad():
        numbers = run.model.categorise(run.model.from_uint8(torch.from_numpy(test.images.copy())))[:, 0].numpy()
    import itertools

    best = max(np.mean(np.array(order)[numbers] == test.labels) for order in itertools.permutations(range(3)))
    assert found.value == pytest.approx(best) and found.low < found.value < found.high and found.better == "higher"
    assert found.each is not None and found.each.mean() == pytest.approx(best)


def test_what_only_such_models_have_is_refused_for_others(run: ms.Run, tmp_path: Path) -> None:
    other = ms.train("dcgan", data=draw_blobs(40, (8, 8, 1)), latent_dim=4, out=tmp_path / "gan", **SMALL)
    for by in ("categories", "continuous"):
        with pytest.raises(SettingError, match="info-gan"):
            ms.traverse(other, by=by)
    with pytest.raises(SettingError, match="agreement"):
        ms.evaluate(other, metrics=("agreement",))
    with pytest.raises(SettingError, match="class-accuracy"):
        ms.evaluate(run, metrics=("class-accuracy",))


@pytest.mark.parametrize("model", ["acgan", "cgan"])
def test_samples_are_judged_by_the_class_that_was_asked_for(model: str, tmp_path: Path) -> None:
    data = {"data": "digits", "size": "8", "latent_dim": 4}
    asked = ms.train(model, out=tmp_path / "run", **SMALL, **data)
    every, worst = ms.evaluate(asked, metrics=("class-accuracy",), n=60, features="classifier").results
    assert 0 <= worst.value <= every.value <= 1 and every.low <= every.value <= every.high
    assert worst.conditions["class"] in asked.model.conditioning.names
