"""Components, traversals and attributes of trained runs, through the Python API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

import morphospace as ms
from morphospace.data.batches import held_out
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import RunError, SettingError
from morphospace.runs.codes import codes_of, judged_rows
from morphospace.tools.directions.attribute import load_direction, save_direction
from morphospace.tools.directions.pca import load_components, save_components

SMALL = {"images": 64, "batch_size": 32, "widths": (8,), "latent_dim": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    made = {name: ms.train(name, data="digits", out=folder / name, **SMALL) for name in ("ae", "vae", "dcgan", "cvae")}
    told = {**SMALL, "condition": "label"}
    return made | {"cgan": ms.train("cgan", data="digits", out=folder / "cgan", **told)}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    """A run on images of one bar, left or right (an attribute), high or low (another), bright as a factor says."""
    rng = np.random.default_rng(0)
    has = rng.integers(0, 2, (600, 2)).astype(np.uint8)
    bright = rng.uniform(0.3, 1.0, (600, 1)).astype(np.float32)
    images = np.zeros((600, 8, 8, 1), np.uint8)
    for image, (right, low), value in zip(images, has, bright[:, 0]):
        image[4 * low : 4 * low + 4, 5 * right : 5 * right + 3] = round(255 * value)
    parts = [Split(images[s], attributes=has[s], factors=bright[s]) for s in (slice(0, 500), slice(500, None))]
    names = {"attribute_names": ("Right", "Low"), "factor_names": ("bright",)}
    pack = in_memory_pack("bars", parts[0], test=parts[1], **names)
    settings = {**SMALL, "images": 8000, "tower": "mlp", "widths": (32,), "lr": 3e-3, "checkpoint_images": 8000}
    run = ms.train("ae", data=pack, out=tmp_path_factory.mktemp("bars") / "r", **settings)
    run.__dict__["pack"] = pack  # handed over as an object, which a run does not find again
    return run


def test_components_of_codes_are_those_of_scikit_learn(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    found = ms.components(run, 5000)
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    codes = codes_of(run, np.asarray(split.images)[rows]).double().numpy()
    wanted = PCA().fit(codes)
    assert np.allclose(found.variance, wanted.explained_variance_, rtol=1e-4)
    assert np.allclose(np.abs(found.directions), np.abs(wanted.components_), atol=1e-3)
    assert not torch.equal(ms.components(run, 100).variance, ms.components(run, 100, seed=1).variance)


def test_the_plane_goes_through_the_mean_unless_as_published(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    made = ms.pca(run, 500, grid=3, range=2.0)
    found = made.components
    assert made.images.shape == (9, 8, 8, 1) and made.strengths == (-2.0, 0.0, 2.0)
    assert np.abs(made.images[4].astype(int) - _decoded(run, found.mean)).max() <= 1
    top_right = found.mean + 2 * (found.directions[:2] * found.spread[:2, None]).sum(0)
    assert np.abs(made.images[2].astype(int) - _decoded(run, top_right)).max() <= 1
    published = ms.pca(run, 500, grid=3, range=2.0, as_published=True)
    assert published.units == "raw"
    assert np.abs(published.images[4].astype(int) - _decoded(run, found.mean * 0)).max() <= 1
    corner = 2 * (found.directions[0] - found.directions[1])
    assert np.abs(published.images[8].astype(int) - _decoded(run, corner)).max() <= 1
    assert made.dims == found.dims_for(0.9) and 0 <= (made.active or 0) <= 4


def _decoded(run: ms.Run, code: torch.Tensor) -> np.ndarray:
    from morphospace.runs.codes import decode

    return decode(run.model, code[None].float())[0].astype(int)


@pytest.mark.parametrize("space", ["activations", "weights", "auto"])
def test_a_generator_without_encoder_has_components_too(runs: dict[str, ms.Run], space: str) -> None:
    for name in ("dcgan", "cgan"):
        made = ms.pca(runs[name], 300, grid=2, space=space)
        assert made.components.directions.shape == (4, 4) and made.active is None and made.start == "seed 0"
        assert made.components.space == ("activations" if space == "auto" else space)
    with pytest.raises(RunError, match=r"dcgan has no encoder.*--space activations or weights"):
        ms.pca(runs["dcgan"], space="codes")


def test_components_come_back_from_a_file(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    found = ms.components(runs["ae"], 100)
    save_components(tmp_path / "c.safetensors", found)
    again = load_components(tmp_path / "c.safetensors")
    assert torch.equal(again.directions, found.directions) and again.total == found.total and again.space == "codes"


@pytest.mark.parametrize("name", ["ae", "vae", "dcgan", "cvae", "cgan"])
@pytest.mark.parametrize("by", ["dims", "components"])
def test_traversals_keep_what_changes_most(runs: dict[str, ms.Run], name: str, by: str) -> None:
    made = ms.traverse(runs[name], by=by, rows=2, steps=3, images=300)
    assert made.images.shape == (6, 8, 8, 1) and len(made.every) == 4
    assert list(made.changes) == sorted(made.every.values(), reverse=True)[:2]
    assert (made.condition == "0") == (name in ("cvae", "cgan"))
    rows = made.images.reshape(2, 3, 8, 8, 1).astype(float)
    assert np.array_equal(rows[0, 1], rows[1, 1])  # the middle of every row is the start
    measured = ((rows - rows[:, 1:2]) ** 2).mean((1, 2, 3, 4)) / 255**2
    assert np.allclose(measured, made.changes, rtol=0.1, atol=1e-4)
    seeded = ms.traverse(runs[name], by=by, rows=9, steps=3, images=300, image="seed:3")
    assert len(seeded.names) == 4 and seeded.start == "seed 3"


def test_a_conditional_model_walks_under_the_condition_asked_for(runs: dict[str, ms.Run]) -> None:
    first, other = (ms.traverse(runs["cvae"], rows=1, steps=3, images=100, label=label) for label in (0, 3))
    assert (first.condition, other.condition) == ("0", "3") and not np.array_equal(first.images, other.images)
    own = ms.traverse(runs["cvae"], rows=1, steps=3, image=5)
    assert own.condition == str(runs["cvae"].pack.split("test").labels[5])  # type: ignore[index]


@pytest.mark.parametrize("by", ["means", "classifier"])
def test_an_attribute_is_found_and_moves_images(bars: ms.Run, by: str) -> None:
    split, rows, _ = judged_rows(bars.pack, 0.0)
    left = [int(i) for i in rows if not split.attributes[i, 0]][:8]  # type: ignore[index]
    made = ms.attribute(bars, "Right", image=left, strength=(0, 4, 2), by=by)
    held = made.direction.held
    assert held is not None and held.n == 100 and held.balanced_accuracy > 0.95 and held.auroc > 0.98
    start, end = made.images.reshape(8, 2, 8, 8).astype(float).mean((0, 2)).transpose(0, 1)  # brightness by column
    assert start[:3].mean() > 3 * start[5:].mean() and end[5:].mean() > end[:3].mean()
    assert made.starts[0] == f"test image {left[0]}"
    assert float(made.direction.vector.norm()) == pytest.approx(float(_spread(bars, made.direction)), rel=1e-3)


def _spread(run: ms.Run, found: object) -> torch.Tensor:
    """Return the standard deviation of the codes along a direction."""
    vector = found.vector / found.vector.norm()  # type: ignore[attr-defined]
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    return (codes_of(run, np.asarray(split.images)[rows]) @ vector).std()


def test_an_attribute_leaves_others_alone_when_asked(bars: ms.Run, tmp_path: Path) -> None:
    low, bright = ms.direction(bars, "Low"), ms.direction(bars, "bright")
    found = ms.direction(bars, "Right", orthogonal_to=["Low", "bright"])
    for other in (low, bright):
        assert abs(float(torch.cosine_similarity(found.vector, other.vector, dim=0))) < 1e-6
    assert found.held is not None and found.held.balanced_accuracy > 0.9
    assert bright.held is not None and bright.held.auroc > 0.7 and bright.facts["kind"] == "factors"
    save_direction(tmp_path / "d.safetensors", found)
    again = load_direction(tmp_path / "d.safetensors")
    assert torch.equal(again.vector, found.vector) and again.held == found.held
    assert again.orthogonal_to == ("Low", "bright") and again.facts == found.facts


def test_a_classifier_is_shown_draws_and_judged_by_means(
    runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By means it would find what it looks for in units that hardly move, and that the decoder does not hear."""
    import morphospace.tools.directions.find_directions as home

    asked: list[tuple[int, bool]] = []
    real = home.each_code

    def heard(run: ms.Run, split: Split, rows: np.ndarray, *, drawn: bool = False, seed: int = 0) -> object:
        asked.append((len(rows), drawn))
        return real(run, split, rows, drawn=drawn, seed=seed)

    monkeypatch.setattr(home, "each_code", heard)
    found = ms.direction(runs["vae"], "3", by="classifier", images=500)
    assert asked == [(500, False), (360, False), (500, True)]
    assert float(found.vector.norm()) == pytest.approx(1, rel=1e-5)  # one standard deviation of the prior
    asked.clear()
    ms.direction(runs["vae"], "3", images=500)
    assert asked == [(500, False), (360, False)]


def test_a_class_against_the_rest(runs: dict[str, ms.Run]) -> None:
    found = ms.direction(runs["vae"], "3")
    assert found.facts["kind"] == "labels" and found.held is not None
    assert found.held.positives == int((runs["vae"].pack.split("test").labels == 3).sum())


def test_arithmetic_is_what_it_says(bars: ms.Run, runs: dict[str, ms.Run], tmp_path: Path) -> None:
    from morphospace.runs.pick import picked

    made = ms.combine(bars, "3 - 2*(5 - 'Right') + seed:7/2")
    points = [picked(bars, what).code for what in ("3", "5", "seed:7")]
    vector = ms.direction(bars, "Right").vector
    assert torch.allclose(made.code, points[0] - 2 * points[1] + 2 * vector + points[2] / 2, atol=1e-5)
    assert made.terms == ("+ test image 3", "- 2 × test image 5", "+ 2 × Right", "+ 0.5 × seed 7")
    assert made.images.shape == (4, 8, 8, 1) and np.abs(made.image - _decoded(bars, made.code)).max() <= 1
    so_far = points[0] - 2 * points[1] + 2 * vector
    assert np.abs(made.images[2] - _decoded(bars, so_far)).max() <= 1  # a point is drawn by itself, a direction not
    assert np.abs(made.images[1] - _decoded(bars, points[1])).max() <= 1
    Image.fromarray(bars.pack.split("test").images[3, ..., 0]).save(tmp_path / "a photo.png")
    photo = ms.combine(bars, f"'{tmp_path / 'a photo.png'}'")
    assert torch.allclose(photo.code, points[0], atol=1e-5)
    told = ms.combine(runs["cgan"], "seed:1 - seed:2")  # needs no encoder
    assert told.images.shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: ms.attribute(r["dcgan"], "3"), "dcgan has no encoder: use `morpho project`"),
        (lambda r: ms.combine(r["dcgan"], "seed:1 + '3'"), "dcgan has no encoder"),
        (lambda r: ms.direction(r["vae"], "Smilling"), "no such attribute, class or factor"),
        (lambda r: ms.direction(r["vae"], "3", orthogonal_to=["3"]), "is the direction itself"),
        (lambda r: ms.direction(r["vae"], "3", by="median"), "by = 'median'"),
        (lambda r: ms.attribute(r["vae"], "3", strength=(0, float("nan"), 3)), "FIRST:LAST:COUNT"),
        (lambda r: ms.attribute(r["vae"], "3", image=[]), "names no image"),
        (lambda r: ms.combine(r["vae"], "'3'"), "names directions only"),
        (lambda r: ms.combine(r["vae"], "12 +"), "ends too early"),
        (lambda r: ms.pca(r["vae"], grid=1), "grid = 1"),
        (lambda r: ms.pca(r["vae"], range=0.0), "range = 0.0"),
        (lambda r: ms.pca(r["vae"], units="px"), "units = 'px'"),
        (lambda r: ms.pca(r["vae"], dims_for=2.0), "dims_for = 2.0"),
        (lambda r: ms.pca(r["vae"], images=1), "images = 1"),
        (lambda r: ms.pca(r["vae"], space="pixels"), "space = 'pixels'"),
        (lambda r: ms.pca(r["vae"], as_published=True, image=3), "does not go with as_published"),
        (lambda r: ms.pca(r["vae"], label="3"), "takes no condition"),
        (lambda r: ms.traverse(r["vae"], by="pixels"), "by = 'pixels'"),
        (lambda r: ms.traverse(r["vae"], rows=0), "rows = 0"),
        (lambda r: ms.traverse(r["vae"], steps=1), "steps = 1"),
        (lambda r: ms.traverse(r["vae"], image=10_000), "image = "),
    ],
)  # fmt: skip
def test_refusals(runs: dict[str, ms.Run], call: object, message: str) -> None:
    with pytest.raises((SettingError, RunError)) as refused:
        call(runs)  # type: ignore[operator]
    assert message in str(refused.value) and "\n" not in str(refused.value)
