"""Tables and curves of a comparison: digits, what is best beyond doubt, what shares an axis."""

from __future__ import annotations

import csv
import io
import itertools
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from morphospace.evaluation.results import Better
from morphospace.tools.compare import Comparison
from morphospace.tools.compare.comparison import Cell, Cost, Measure, Member, Table
from morphospace.tools.compare.curves import draw_panel, panels
from morphospace.tools.compare.tables import csv_text, escaped, latex_text, number, texts_of

SAME = {"data": "mnist", "split": "test", "n_real": 100, "n_fake": 100}


def cell(value: float, half: float | None, **conditions: Any) -> Cell:
    ends = (None, None) if half is None else (value - half, value + half)
    return Cell(value, *ends, 100, conditions={**SAME, **conditions})


@pytest.mark.parametrize(
    ("name", "cells", "best"),
    [
        ("FD[a]", [cell(5, 0.4), cell(6, 0.4), cell(9, 1)], 0),
        ("FD[a]", [cell(5, 0.4), cell(5.5, 0.4)], None),  # p = 0.08
        ("FD[a]", [cell(5, 0.4), cell(5.65, 0.4)], 0),  # p = 0.024
        ("FD[a]", [cell(5, 0.4), cell(5.65, 0.4), cell(9, 0.4)], 0),  # p = 0.024, the largest of three
        ("FD[a]", [cell(5, 0.4), *(cell(5.65 + i / 100, 0.4) for i in range(3))], None),  # three of six: p > 0.1
        ("recall[a]", [cell(0.5, 0.05), cell(0.7, 0.05), Cell(note="none")], 1),
        ("FD[a]", [cell(5, 0.4), cell(6, 0.4, n_real=50)], None),  # measured on other images
        ("FD[a]", [cell(5, 0.4, data_hash="a"), cell(6, 0.4, data_hash="b")], None),  # of one name only
        ("FD[a]", [cell(5, 0.4, images="a"), cell(6, 0.4, images="b")], None),
        ("FD[a]", [cell(5, 0.4), cell(6, None)], None),
        ("FD[a]", [cell(5, 0.4), Cell(note="none")], None),  # alone
        ("path length", [cell(5, 0.1), cell(6, 0.1)], None),  # neither way is better
        ("KID[a]", [cell(1, 0.1), cell(9, 20.0), cell(2, 0.2)], None),  # one wide interval meets all
    ],
)
def test_the_best_is_best_beyond_doubt(name: str, cells: list[Cell], best: int | None) -> None:
    better: Better = {"recall[a]": "higher", "path length": ""}.get(name, "lower")  # type: ignore[assignment]
    assert Measure(name, "", tuple(cells), better).best == best


def of_images(errors: Any, **conditions: Any) -> Cell:
    about = {**SAME, "data_hash": "d", "images": "i", "seed": 0, **conditions}
    return Cell(float(np.mean(errors)), 0.0, 1.0, len(errors), conditions=about, each=np.asarray(errors))


EACH = np.random.default_rng(0).normal(50, 10, 40)


@pytest.mark.parametrize(
    ("conditions", "over"),
    [
        ({}, "the same images"),
        ({"split": "train"}, "other images"),
        ({"images": "j"}, "other images"),
        ({"seed": 1}, "other images"),
        ({"n_real": 40}, "other images"),
        ({"data_hash": "e"}, None),
        ({"binarise": "fixed"}, None),
        ({"of": "squared error"}, None),
    ],
)
def test_only_numbers_of_the_same_images_are_paired(conditions: dict[str, Any], over: str | None) -> None:
    cells = (of_images(EACH), of_images(EACH + 1 + np.arange(40) % 2, **conditions))
    found = Measure("MSE", "", cells, "lower").contrasts.get((0, 1))
    assert (None if found is None else found.over) == over
    if found is not None:
        ends = stats.t.interval(0.95, 39, 1.5, 0.5 * (40 / 39) ** 0.5 / 40**0.5)
        assert found.paired == (over == "the same images") and found.n == (40, 40)
        assert found.found.value == pytest.approx(1.5)
        assert (found.found[1:3] == pytest.approx(ends)) == found.paired
        assert found.paired or found.found.high - found.found.low > 10 * (ends[1] - ends[0])


def test_numbers_have_the_digits_that_their_intervals_allow() -> None:
    assert texts_of(cell(12.3456, 0.5)) == ("12.35", "11.85 to 12.85")
    assert texts_of(cell(0.0134096, 0.00021)) == ("0.01341", "0.01320 to 0.01362")
    assert texts_of(cell(154.6876, 10.3)) == ("155", "144 to 165")
    assert texts_of(cell(2.0, None)) == ("2.000", "") and texts_of(Cell(note="none")) == ("", "")
    assert (number(1e-12), number(float("nan")), number(-0.5, 0.01)) == ("1e-12", "nan", "-0.500")


def member(name: str, row: int, log: list[dict[str, Any]], **settings: Any) -> Member:
    cost = Cost(None, 0, 0.0, 0.0, "", "")
    known = {"likelihood": "bernoulli", "beta": 1.0, "reduction": "sum", "kl_reduction": "sum", "seed": 0} | settings
    return Member(
        name, row, "vae", "mnist", "h", (8, 8, 1), 4, False, known, "", log, cost, None, "none", "none", "", "none"
    )


def line(images: int, **values: float) -> dict[str, Any]:
    return {"images": images, "seconds": images / 100, **{name.replace("_", "/"): v for name, v in values.items()}}


def test_only_what_means_the_same_shares_an_axis() -> None:
    values = {"vae_kl": 3.0, "vae_reconstruction": 90.0, "vae_mse": 0.1, "vae_loss": 93.0}
    log = [line(100, **values), line(200, **values)]
    one, two = member("one", 0, log), member("two", 1, [line(100, cvae_kl=1.0, cvae_reconstruction=2.0)])
    made, alone = panels([one, two])
    assert [panel.title for panel in made] == ["kl", "reconstruction (bernoulli)"]
    assert alone == ["mse", "vae/loss"]
    other = member("other", 1, log, likelihood="squared-error", beta=4.0)
    made, alone = panels([one, other])
    assert [panel.title for panel in made] == ["kl", "mse"]
    assert "vae/loss" in alone and "reconstruction (squared-error)" in alone
    made, _ = panels([one, member("again", 0, log, seed=1)])
    assert [panel.title for panel in made] == ["kl", "reconstruction (bernoulli)", "mse", "vae/loss"]


def test_scores_of_critics_share_an_axis_only_for_one_loss() -> None:
    log = [{"images": 1, "seconds": 1.0, "critic/score_real": 0.5}]
    from dataclasses import replace

    logits = [replace(member(str(i), i, log), model=f"gan{i}", adversary="NONSATURATING") for i in range(2)]
    assert [panel.title for panel in panels(logits)[0]] == ["critic/score_real"]
    assert not panels([logits[0], replace(logits[1], adversary="WASSERSTEIN")])[0]


def test_a_panel_has_a_line_a_run_at_the_right_places() -> None:
    rising = [line(100 * i, vae_kl=float(i)) for i in range(5)]
    held = [*rising, {"images": 400, "seconds": 4.0, "valid/vae/kl": 2.0}]
    (panel,), _ = panels([member("a & b", 0, held), member("b", 1, rising[:3])])
    svg = draw_panel(panel, "images", ("a & b", "b"))
    lines = re.findall(r'<polyline points="([^"]*)"', svg)
    assert len(lines) == 3 and svg.count("<circle") == 1 and "a &amp; b, held out" in svg
    first = [tuple(map(float, pair.split(","))) for pair in lines[0].split()]
    steps = {round(b[0] - a[0], 1) for a, b in itertools.pairwise(first)}
    falls = {round(b[1] - a[1], 1) for a, b in itertools.pairwise(first)}
    assert max(steps) - min(steps) < 0.25 and max(falls) - min(falls) < 0.25 and max(falls) < 0  # up is less
    assert draw_panel(panel, "seconds", ("a", "b")) != svg and "seconds of training" in draw_panel(
        panel, "seconds", ("a", "b")
    )
    leap = [line(i, vae_kl=1e9 if i == 3 else 1.0 + i / 1000) for i in range(1, 400)]
    (panel,), _ = panels([member("a", 0, leap), member("b", 1, leap)])
    ticks = [float(t) for t in re.findall(r'text-anchor="end">([^<]*)', draw_panel(panel, "images", ("a", "b")))]
    assert ticks and max(ticks) < 2  # one leap does not flatten the rest


def test_latex_escapes_names_and_marks_the_best() -> None:
    measure = Measure("FD[a_b]", "nats", (cell(1234.5, 20), cell(2000.0, 20)), "lower")
    table = Table("sampling", ("beta=1_x", "50 % & more"), (measure,))
    text = latex_text(Comparison((), ("a",), (), table, None, {}, 0))
    assert r"FD[a\_b] (nats) $\downarrow$" in text and r"50 \% \& more" in text and r"beta=1\_x" in text
    assert r"$\mathbf{1{,}234}$ {\scriptsize $[1{,}214,\,1{,}254]$}" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert escaped("a\\b~c^d{e}#$") == r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d\{e\}\#\$"


def test_a_table_of_runs_runs_no_formula() -> None:
    measure = Measure("FD[a]", "nats", (cell(-1.5, 1), cell(2.0, 1)), "lower")
    table = Table("sampling", ("=1+1", "@SUM(A1)"), (measure,))
    read = list(csv.DictReader(io.StringIO(csv_text(Comparison((), ("a",), (), table, None, {}, 0)))))
    texts = [value for row in read for value in row.values()]
    assert "'=1+1" in texts and "'@SUM(A1)" in texts and "-1.5" in texts
    assert not [text for text in texts if text[:1] in "=@+" and text]
