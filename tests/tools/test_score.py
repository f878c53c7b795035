"""How strange a run finds images: what is scored, how it is written down, and how well it tells."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.data.augment import binarised
from morphospace.data.batches import Batches, held_out
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.errors import DataError, RunError, SettingError
from morphospace.evaluation.anomaly import complexity, negative_bounds
from morphospace.models.conditioning import Conditioning
from morphospace.runs.codes import each_code, posteriors
from morphospace.tools.score import write_scores
from tests.conftest import draw_blobs

SMALL = {"images": 1280, "batch_size": 32, "latent_dim": 4, "device": "cpu"}
QUIET = {"report_images": 10**6, "checkpoint_images": 10**6}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    mlp = {"data": "digits", "tower": "mlp", "widths": (32,), **SMALL, **QUIET}
    made = {
        name: ms.train(name, out=folder / name, **mlp, **more)
        for name, more in (
            ("vae", {"likelihood": "discretised-logistic"}),
            ("ae", {}),
            ("dcgan", {}),
            ("cvae", {}),
        )
    }
    made["binary"] = ms.train("vae", out=folder / "binary", binarise="dynamic", **mlp)
    return made


def noise(shape: tuple[int, int, int] = (8, 8, 1), count: int = 40) -> Pack:
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    labels = np.arange(count) % 2
    return in_memory_pack("noise", Split(images, labels=labels), label_names=("odd", "even"))


@pytest.mark.parametrize("by", ["elbo", "iwae", "reconstruction", "latent"])
def test_noise_is_stranger_than_digits(runs: dict[str, ms.Run], by: str) -> None:
    scored = ms.score(runs["vae"], noise(), by=by, against_own=True)  # type: ignore[arg-type]
    assert len(scored.scores) == 40 + 360 and scored.own == 360
    assert scored.strange is not None and scored.strange[:40].all() and not scored.strange[40:].any()
    assert scored.auroc is not None and scored.auroc.strange == 40
    # What little was learned rebuilds neither; the rest tell them apart.
    assert by == "reconstruction" or scored.auroc.value > 0.9
    assert scored.sources[0] == "40 of noise (train)" and scored.sources[1] == "360 of digits (test)"
    assert np.isfinite(scored.scores).all()


def test_a_bound_is_that_of_the_images_in_the_models_range(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    scored = ms.score(run, "digits", by="elbo", draws=3, seed=2)
    images = run.model.from_uint8(torch.from_numpy(np.array(run.pack.split("test").images)))
    assert np.allclose(scored.scores, negative_bounds(run.model, images, draws=3, seed=2), rtol=1e-5)
    assert np.array_equal(scored.labels, run.pack.split("test").labels) and scored.unit == "nats"
    few = ms.score(run, "digits", by="elbo", draws=3, seed=2, n=7)
    assert np.allclose(few.scores, scored.scores[:7], rtol=1e-5) and few.auroc is None
    tighter = ms.score(run, "digits", by="iwae", draws=200, n=50)
    assert tighter.scores.mean() < ms.score(run, "digits", by="elbo", draws=200, n=50).scores.mean()
    corrected = ms.score(run, "digits", by="elbo", draws=3, seed=2, correct="complexity", n=7)
    assert np.allclose(few.scores - corrected.scores, complexity(run.pack.split("test").images[:7]))


def test_the_critic_and_codes_of_a_gan(runs: dict[str, ms.Run]) -> None:
    run = runs["dcgan"]
    scored = ms.score(run, "digits", by="critic", n=300)
    with torch.no_grad():
        images = run.model.from_uint8(torch.from_numpy(np.array(run.pack.split("test").images[:300])))
        wanted = -run.model.score(images)  # type: ignore[attr-defined]
    assert np.allclose(scored.scores, wanted, atol=1e-5)
    with pytest.raises(RunError, match="no encoder"):
        ms.score(run, "digits", by="latent")


def test_a_conditional_model_is_told_the_label(runs: dict[str, ms.Run]) -> None:
    scored = ms.score(runs["cvae"], "digits", by="elbo", n=50)
    pack = runs["cvae"].pack.split("test")
    wrong = in_memory_pack("w", Split(pack.images[:50], labels=(pack.labels[:50] + 1) % 10))
    assert not np.allclose(ms.score(runs["cvae"], wrong, by="elbo").scores, scored.scores)
    with pytest.raises(SettingError, match="these images have no labels"):
        ms.score(runs["cvae"], in_memory_pack("w", Split(pack.images[:50])), by="elbo")
    with pytest.raises(SettingError, match="label = 10: the model was not trained on it but on 0, 1"):
        ms.score(runs["cvae"], in_memory_pack("w", Split(pack.images[:50], labels=pack.labels[:50] + 5)), by="elbo")
    # Classes are those of the same name, whatever their numbers in other data.
    names = tuple(str(9 - number) for number in range(10))
    turned = in_memory_pack("t", Split(pack.images[:50], labels=9 - pack.labels[:50]), label_names=names)
    assert np.allclose(ms.score(runs["cvae"], turned, by="elbo").scores, scored.scores)


def test_attributes_go_by_name() -> None:
    known = Conditioning.of("attributes:b,a", (), ("a", "b", "c"))
    assert known is not None
    told = torch.tensor([[1, 0, 1]])
    other = in_memory_pack("o", Split(np.zeros((1, 8, 8, 1), np.uint8), attributes=np.array([[1, 0, 1]], np.uint8)))
    other = replace(other, attribute_names=("c", "b", "a"))
    assert known.vectors(None, told).tolist() == [[0, 1]] and known.read_from(other).vectors(None, told).tolist() == [
        [0, 1]
    ]
    other = replace(other, attribute_names=("b", "a", "c"))
    assert known.read_from(other).vectors(None, told).tolist() == [[1, 0]]
    with pytest.raises(SettingError, match="o has no b"):
        known.read_from(replace(other, attribute_names=("a", "c", "d")))


def test_a_folders_own_classes_are_those_of_the_held_out_images(tmp_path: Path) -> None:
    for number, image in enumerate(draw_blobs(60, (8, 8, 1))):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    source = f"folder:{tmp_path / 'photos'}"
    run = ms.train("vae", data=source, out=tmp_path / "run", tower="mlp", widths=(8,), **SMALL, **QUIET, valid=0.2)
    plain = ms.score(run, source, by="elbo")
    assert plain.sources == ("12 of photos (held-out)",) and set(plain.labels) == {-1}
    for same in (source, source.replace("photos", "./photos")):
        scored = ms.score(run, same, by="elbo", strange=["b"])
        assert scored.sources == plain.sources and np.array_equal(scored.scores, plain.scores)
        assert scored.strange is not None and scored.strange.tolist() == (scored.rows >= 30).tolist()


def test_codes_are_those_of_images_as_the_model_was_trained_on_them(runs: dict[str, ms.Run]) -> None:
    run = runs["binary"]
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    batches = Batches(split, rows=rows, batch_size=100, seed=0, signed=run.model.signed, binarise="fixed")
    with torch.no_grad():
        wanted = torch.cat([run.model.encode(batch.images).mean for batch in batches.sequential()])  # type: ignore[attr-defined]
    assert torch.allclose(torch.cat([codes for codes, _ in each_code(run, split, rows)]), wanted, atol=1e-5)
    assert torch.allclose(posteriors(run, split, rows).means, wanted, atol=1e-5)
    assert set(np.unique(ms.reconstruct(run, 8).originals)) == {0, 255}
    assert set(np.unique(ms.project(run, [0]).originals)) == {0, 255}
    # The training images' own distances from their codes' mean: their squares are as many as the codes' dimensions.
    bits = binarised(np.array(split.images[rows]), "fixed", rows)
    own = ms.score(run, in_memory_pack("own", bits), by="latent")
    assert np.mean(own.scores**2) == pytest.approx(run.model.latent_dim, rel=0.02)


def test_images_are_binarised_as_in_training_by_one_draw_each(runs: dict[str, ms.Run]) -> None:
    run = runs["binary"]
    scored = ms.score(run, "digits", by="elbo", n=300)
    assert scored.unit == "nats" and np.allclose(ms.score(run, "digits", by="elbo").scores[:300], scored.scores)
    assert "no density" in ms.score(runs["cvae"], "digits", by="elbo", n=5).unit
    black = ms.score(run, in_memory_pack("black", np.zeros((4, 8, 8, 1), np.uint8)), by="elbo", correct="complexity")
    assert np.isfinite(black.scores).all()


def test_labels_say_what_is_strange(runs: dict[str, ms.Run]) -> None:
    labels = runs["vae"].pack.split("test").labels
    scored = ms.score(runs["vae"], "digits", by="reconstruction", strange=["1", 8])
    assert scored.strange is not None and np.array_equal(scored.strange, np.isin(labels, [1, 8]))
    assert scored.auroc is not None and scored.auroc.strange == int(scored.strange.sum())
    named = ms.score(runs["vae"], noise(), by="reconstruction", strange=["even"])
    assert named.strange is not None and np.array_equal(named.strange, np.arange(40) % 2 == 1)
    with pytest.raises(SettingError, match=r"strange = 'evn': no image .* has this label \(did you mean 'even'"):
        ms.score(runs["vae"], noise(), by="reconstruction", strange=["evn"])
    with pytest.raises(SettingError, match="every image is strange"):
        ms.score(runs["vae"], noise(), by="reconstruction", strange=["even", "odd"])
    with pytest.raises(SettingError, match="have no labels"):
        ms.score(runs["vae"], in_memory_pack("n", noise().split("train").images), strange=[1])


def test_a_folder_is_cut_to_the_runs_shape_and_its_subfolders_are_labels(
    runs: dict[str, ms.Run], tmp_path: Path
) -> None:
    for name, value in (("dark", 0), ("light", 255)):
        (tmp_path / "f" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(tmp_path / "f" / name / f"{i}.png")
    scored = ms.score(runs["vae"], f"folder:{tmp_path / 'f'}", by="reconstruction", strange=["light"])
    assert len(scored.scores) == 6 and scored.auroc is not None and scored.auroc.value == 1
    assert scored.strangest(3).shape == (3, 8, 8, 1) and (scored.strangest(3) == 255).all()


def test_the_strangest_are_those_of_the_highest_scores(runs: dict[str, ms.Run]) -> None:
    scored = ms.score(runs["vae"], noise(), by="elbo", against_own=True)
    order = np.argsort(-scored.scores)
    every = np.concatenate([noise().split("train").images, runs["vae"].pack.split("test").images])
    assert np.array_equal(scored.strangest(5), every[order[:5]])
    assert np.array_equal(scored.strangest(5, least=True), every[order[::-1][:5]])


def test_the_table(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    scored = ms.score(runs["vae"], "digits", by="elbo", strange=[4], n=30)
    write_scores(tmp_path / "s.csv", scored)
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "label", "score", "strange"] and len(rows) == 30
    assert [int(row["index"]) for row in rows] == list(range(30))
    assert [int(row["label"]) for row in rows] == scored.labels.tolist()
    assert np.allclose([float(row["score"]) for row in rows], scored.scores, rtol=1e-7)
    write_scores(tmp_path / "n.csv", ms.score(runs["vae"], in_memory_pack("b", draw_blobs(5, (8, 8, 1)))))
    lines = (tmp_path / "n.csv").read_text().splitlines()
    assert lines[0] == "index,label,score" and lines[1].startswith("0,,") and len(lines) == 6


def test_memory_is_flat_in_the_number_of_images(runs: dict[str, ms.Run]) -> None:
    """What is read from the split at once does not grow with it."""
    images = np.zeros((3000, 8, 8, 1), np.uint8)
    most = [0]

    class Watched(np.ndarray):
        def __getitem__(self, key: object) -> object:
            found = super().__getitem__(key)  # type: ignore[index]
            if self.ndim == 4 and getattr(found, "ndim", 0) == 4:
                most[0] = max(most[0], len(found))  # type: ignore[arg-type]
            return np.asarray(found)

    pack = in_memory_pack("zeros", Split(images))
    watched = Pack("zeros", pack.shape, {"train": Split(images.view(Watched))}, hash="other")
    assert len(ms.score(runs["ae"], watched, by="reconstruction").scores) == 3000
    assert 0 < most[0] <= 256


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vae", {"by": "beauty"}, "by = 'beauty'"),
        ("ae", {"by": "elbo"}, "no bound on log"),
        ("dcgan", {"by": "iwae"}, "no bound on log"),
        ("vae", {"by": "critic"}, "vae has no critic"),
        ("vae", {"by": "latent", "correct": "complexity"}, "is of nats, which latent is not"),
        ("vae", {"by": "latent", "draws": 3}, "nothing is drawn"),
        ("vae", {"draws": 0}, "draws = 0"),
        ("vae", {"n": 0}, "n = 0"),
        ("vae", {"strange": [4], "against_own": True}, "against-own"),
        ("vae", {"strange": [11]}, "no image of"),
        ("vae", {"source": "digts"}, "did you mean 'digits'"),
        ("vae", {"source": noise((9, 9, 1))}, "has images of shape"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    runs: dict[str, ms.Run], name: str, change: dict, message: str
) -> None:
    with pytest.raises((SettingError, DataError), match=message) as refused:
        ms.score(runs[name], **{"source": "digits", **change})
    assert "\n" not in str(refused.value)
