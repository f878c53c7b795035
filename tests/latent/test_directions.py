from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.latent.directions import judged, normal_of, orthogonal, parting
from morphospace.latent.formula import Part, parse_formula
from morphospace.latent.traverse import changes, plane, walked


def planted(count: int = 4000, dim: int = 12, seed: int = 0, gap: float = 3.0) -> tuple[Tensor, np.ndarray, Tensor]:
    """Codes of spread that differs by dimension, of which a third lies further along a direction."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=dim)
    truth /= np.linalg.norm(truth)
    has = rng.uniform(size=count) < 1 / 3
    codes = rng.normal(size=(count, dim)) + 20 + np.outer(has, truth) * gap
    return torch.from_numpy(codes).float(), has, torch.from_numpy(truth)


@pytest.mark.parametrize("by", ["means", "classifier"])
def test_a_planted_direction_is_recovered(by: str) -> None:
    codes, has, truth = planted()
    found = normal_of(codes, has, by)
    assert float(found.norm()) == pytest.approx(1)
    assert float(found @ truth) > 0.99
    others, held, _ = planted(seed=0, count=3000)
    threshold = float((others.double() @ truth).mean())
    assert judged(found, threshold, others, held).auroc > 0.95


def test_the_classifier_passes_by_what_only_goes_along() -> None:
    """Two traits go together; the means mix them, the plane does not."""
    rng = np.random.default_rng(0)
    has = rng.uniform(size=6000) < 0.5
    other = np.where(rng.uniform(size=6000) < 0.85, has, ~has)
    codes = torch.from_numpy(rng.normal(size=(6000, 2)) * 0.5 + np.stack([has, other], 1) * 3.0)
    means, plane_ = normal_of(codes, has, "means"), normal_of(codes, has, "classifier")
    assert float(means[1]) > 0.5 > 0.25 > abs(float(plane_[1]))
    apart = orthogonal(means, [normal_of(codes, other, "classifier")])
    assert abs(float(apart[1])) < 0.25


def test_the_direction_does_not_turn_where_the_attribute_is_rare() -> None:
    """Two clouds of unlike shapes: fitted as they come, the border tilts towards the many (cosine .996 here)."""
    rng = np.random.default_rng(0)
    found = []
    for without, having in ((4_000, 4_000), (40_000, 400)):
        many = np.stack([rng.normal(size=without), 3 * np.exp(rng.normal(size=without))], 1)
        few = rng.normal(size=(having, 2)) * [1, 0.5] + 2
        codes = torch.from_numpy(np.concatenate([many, few]))
        found.append(normal_of(codes, np.arange(without + having) >= without, "classifier"))
    assert float(found[0] @ found[1]) > 0.9995


def test_accuracy_is_that_of_scikit_learn_and_chance_is_a_half() -> None:
    codes, has, truth = planted(gap=1.0)
    places = codes.double().numpy() @ truth.numpy()
    held = judged(truth, 1e9, codes, has)
    assert (held.n, held.positives) == (4000, int(has.sum()))
    assert held.balanced_accuracy == 0.5
    assert held.auroc == pytest.approx(roc_auc_score(has, places))
    best = judged(truth, parting(places, has), codes, has).balanced_accuracy
    tried = [judged(truth, float(threshold), codes, has).balanced_accuracy for threshold in np.sort(places)[::50]]
    assert best >= max(tried) and best - max(tried) < 0.01
    alike = judged(truth, 0.0, codes, np.zeros(4000, bool))
    assert np.isnan(alike.auroc) and alike.positives == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 6), st.integers(0, 1000))
def test_what_is_left_is_orthogonal_to_all_others(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count + 1, 9, generator=generator, dtype=torch.float64)
    others = [rows[0] * 1e3 + rows[i] * 0.1 for i in range(1, count + 1)]  # nearly parallel, and of any length
    left = orthogonal(rows[0] + torch.ones(9), [*others, *others[:1]])
    assert float(left.norm()) == pytest.approx(1)
    for other in others:
        assert abs(float(left @ other / other.norm())) < 1e-10


def test_refusals_of_directions() -> None:
    codes, has, truth = planted(count=50)
    with pytest.raises(SettingError, match="nothing of the direction is left"):
        orthogonal(truth, [truth * 2, torch.ones(12)])
    with pytest.raises(SettingError, match="'means' or 'classifier'"):
        normal_of(codes, has, "median")
    with pytest.raises(SettingError, match="1 of 50"):
        normal_of(codes, np.arange(50) == 3, "means")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("12 - 30 + seed:7", {"12": 1, "30": -1, "seed:7": 1}),
        ("12-30+seed:7", {"12": 1, "30": -1, "seed:7": 1}),
        ("-(a - 2*b)/4 + 'T-shirt/top'", {"a": -0.25, "b": 0.5, "T-shirt/top": 1}),
        ('0.5*train:3 + .5*"my photo.jpg"', {"train:3": 0.5, "my photo.jpg": 0.5}),
        ("3 * 12", {"12": 3}),
        ("- - a", {"a": 1}),
        ("2*(a + 3*(b - c))", {"a": 2, "b": 6, "c": -6}),
    ],
)
def test_formulas(text: str, wanted: dict[str, float]) -> None:
    assert {part.name: part.weight for part in parse_formula(text)} == wanted


def test_points_and_directions_of_one_name_are_told_apart() -> None:
    assert parse_formula("7 + '7'") == (Part("7", 1.0, True), Part("7", 1.0, False))


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "12 -", "(12", "12)", "12 30", "1.5", "a/0", "a/b", "a*2", "__import__('os')", "a;b", "a**2", "'x"),
        *("a.b", "(" * 400 + "a" + ")" * 400),
    ],
)
def test_what_is_no_formula_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingError, match="formula = ") as refused:
        parse_formula(text)
    assert "\n" not in str(refused.value)


@settings(max_examples=80, deadline=None)
@given(st.text("12 ab+-*/().:'seedtrain\n\"é", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SettingError):
        assert all(np.isfinite(part.weight) for part in parse_formula(text))


def draw(codes: Tensor) -> np.ndarray:
    """An "image" of two pixels, to which the first number of a code means much, the third a little."""
    values = 128 + codes @ torch.tensor([[8.0, 8.0], [0.0, 0.0], [0.0, 4.0]], dtype=codes.dtype)
    return values.round().clamp(0, 255).to(torch.uint8).reshape(-1, 1, 2, 1).numpy()


def test_changes_are_measured_against_the_start_and_sorted() -> None:
    start, strengths = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([-2.0, 0.0, 2.0]).double()
    many = torch.eye(3).double()[torch.tensor([1, 2, 0] * 7)]  # more than are decoded at once
    found = changes(draw, start, many, strengths)
    each = {0: 0.0, 1: (8 / 255) ** 2 / 3, 2: (16 / 255) ** 2 * 2 / 3}
    assert [change.index % 3 for change in found] == [2] * 7 + [1] * 7 + [0] * 7
    assert all(change.size == pytest.approx(each[change.index % 3]) for change in found)
    assert [change.index for change in found[:3]] == [2, 5, 8]


def test_walks_and_planes_are_where_they_say() -> None:
    start, right, up = torch.zeros(3), torch.tensor([1.0, 0, 0]), torch.tensor([0, 2.0, 0])
    strengths = torch.tensor([-1.0, 0.0, 1.0])
    assert walked(start + 5, right, strengths)[:, 0].tolist() == [4, 5, 6]
    codes = plane(start, right, up, strengths).view(3, 3, 3)
    assert codes[0, 0].tolist() == [-1, 2, 0] and codes[2, 2].tolist() == [1, -2, 0] and not codes[1, 1].any()
