"""Benchmarks: what is tried, that all is equal, stopping and going on, and who is said to win."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import morphospace as ms
from morphospace.data.pack import in_memory_pack
from morphospace.errors import NoEncoder, RunError, SettingError
from morphospace.evaluation.results import Better
from morphospace.objectives.clock import Clock
from morphospace.tools.benchmark import plan as plan_module
from morphospace.tools.benchmark.benchmark import Standing, Trial, chosen
from morphospace.tools.benchmark.entries import entries_of
from morphospace.tools.benchmark.speed import Stopwatch, _Measured, speed_of
from morphospace.tools.benchmark.verdict import verdict_of
from morphospace.tools.compare.comparison import Cell, Measure, Table
from morphospace.tools.sweep.grid import Combination
from morphospace.tools.train.train import Hooks
from morphospace.training import engine
from morphospace.training.events import Checkpointed, Event, Progressed, Reported
from tests.conftest import draw_blobs

SMALL = """[model]\nname = "{model}"\nwidths = [4]\nlatent_dim = 4\n[training]\nbatch_size = 32\n"""
HOW: dict[str, Any] = {
    "minutes": 0.5, "trials": 2, "seeds": 1, "search": ["lr=x3"], "features": "pixels", "compare": ("fd", "mse"),
    "compare_n": 40, "device": "cpu", "size": "8", "valid": 0.2,
}  # fmt: skip


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two TOML files, and a machine on which the GAN is twice as fast; pictures that are not tested are left out."""

    def no_map(*arguments: object, **settings: object) -> None:
        raise NoEncoder("run", rule="not drawn here")

    monkeypatch.setattr("morphospace.runs.recorder.draw_curves", lambda *arguments: None)
    monkeypatch.setattr("morphospace.tools.compare.members.latent_map", no_map)
    monkeypatch.setattr(plan_module, "speed_of", lambda run, *a, **k: 4.3 if run.name.startswith("gan") else 2.2)
    for name, model in (("gan", "dcgan"), ("ae", "ae")):
        (tmp_path / f"{name}.toml").write_text(SMALL.format(model=model))
    return [str(tmp_path / "gan.toml"), str(tmp_path / "ae.toml")]


def entries(names: list[str], search: list[str], trials: int = 4, tuning: str = "random", **data: Any) -> Any:
    return entries_of(names, data, device="cpu", search=search, trials=trials, tuning=tuning, seed=0)


# -- what is tried -------------------------------------------------------------------------------------------------


def test_trials_are_the_models_own_settings_and_others_of_the_space() -> None:
    gan, vae = entries(["dcgan", "factor-vae"], ["lr=x0.5,x1,x2", "beta=2"], trials=9)
    assert gan.trials[0] == {} and gan.combinations == 3
    assert sorted(t["lr"] for t in gan.trials[1:]) == [5e-4, 2e-3]
    (tripled,) = (t for t in entries(["aae", "vae"], ["lr=x1,x3"])[0].trials if t)
    assert (tripled["lr"], tripled["encoder_lr"]) == pytest.approx((3e-3, 3e-4))
    own = vae.configuration({}).model
    assert {t["lr"]: t["critic_lr"] for t in vae.trials[1:] if t["beta"] == 2} == pytest.approx(
        {own.lr * f: own.critic_lr * f for f in (0.5, 1, 2)}
    )  # a rate apart is scaled too
    assert vae.combinations == 4 and gan.pace(gan.trials[1]) == gan.pace({}) == "dcgan"
    assert vae.pace(vae.trials[1]) == "factor-vae, beta=2"


def test_random_trials_are_distinct_and_of_the_seed_and_a_grid_is_whole() -> None:
    space = ["lr=x0.1,x0.3,x3,x10", "batch_size=16,32"]
    drawn = [entries(["vae", "ae"], space)[0].trials for _ in range(2)]
    assert drawn[0] == drawn[1] and len({str(t) for t in drawn[0]}) == 4 and drawn[0][0] == {}
    whole = entries(["vae", "ae"], ["lr=x0.5,x2"], trials=3, tuning="grid")[0].trials
    assert [t.get("lr") for t in whole] == [None, 5e-4, 2e-3]
    with pytest.raises(SettingError, match="trials = 4: must be 9 at least"):
        entries(["vae", "ae"], space, tuning="grid")
    assert [e.trials for e in entries(["vae", "ae"], space, trials=0)] == [({},), ({},)]


def test_all_models_see_the_same_images_whatever_their_recipes_say() -> None:
    made = entries(["vae", "celeba-dcgan", "recipe:cgan"], ["lr=x2"], data="fashion-mnist", size="16")
    data = [entry.configuration({}).data for entry in made]
    assert [(d.data, d.size, d.valid, d.crop) for d in data] == [("fashion-mnist", "16", 0.05, "center")] * 3
    assert [entry.name for entry in made] == ["vae", "celeba-dcgan", "cgan"]


@pytest.mark.parametrize(
    ("names", "search", "message"),
    [
        (["vae"], ["lr=x2"], "must be from 2 to 40 names"),
        (["vae", "vae"], ["lr=x2"], "is there twice"),
        (["vae", "dcgn"], ["lr=x2"], "did you mean 'dcgan'"),
        (["vae", "nowhere.toml"], ["lr=x2"], "no such file"),
        (["vae", "ae"], ["lrr=x2"], "did you mean 'lr'"),
        (["vae", "ae"], ["size=8,16"], "is the same for all models"),
        (["vae", "ae"], ["seed=1,2"], "is the same for all models"),
        (["vae", "ae"], ["likelihood=x2"], "cannot be multiplied"),
        (["vae", "ae"], ["batch_size=x2"], "has no value to multiply"),
        (["vae", "ae"], ["lr=0"], "lr = 0"),
    ],
)
def test_refusals(names: list[str], search: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        entries(names, search)


# -- how long ------------------------------------------------------------------------------------------------------


def test_a_speed_is_that_of_the_best_second_but_the_first() -> None:
    watch = Stopwatch(3.0)
    times = [(900, 1.0), (1000, 2.0), (1050, 3.0), (1140, 4.0)]  # 900 at once, then 100, 50 and 90 images a second
    events = [Progressed(Clock(1, images, 0.0, 100), seconds, 10**9) for images, seconds in times]
    for event in events[:3]:
        watch(event)
    with pytest.raises(_Measured):
        watch(events[3])
    assert watch.rate == pytest.approx(100)


def test_a_speed_is_measured_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PROGRESS_SECONDS", 0.02)
    (entry, _) = entries(["ae", "vae"], ["lr=x2"], size="8")
    run = entry.run("speed", 0, {}, seed=0)
    assert speed_of(run, tmp_path, recipe=None, data=None, hooks=Hooks(), seconds=0.05) > 10
    assert not list(tmp_path.iterdir())


# -- the whole -----------------------------------------------------------------------------------------------------


def numbers_of(path: Path) -> Any:
    """The JSON without times."""
    told = json.loads((path / "benchmark.json").read_text())
    text = json.dumps({key: value for key, value in told.items() if key != "out"})
    text = re.sub(r'"The runs took [^"]*"', "", text)
    return re.sub(r'"(seconds|tuning_minutes|training_minutes|images_per_second)": [^,}]*', "", text)


def test_stopped_and_killed_it_goes_on_to_the_same_end(models: list[str], tmp_path: Path) -> None:
    straight = ms.benchmark(models, "digits", tmp_path / "straight", **HOW)
    lengths = {each.entry.name: {run.images for run in (*each.trials, *each.finals)} for each in straight.standings}
    assert lengths == {"gan": {160}, "ae": {96}}  # half a minute at 4.3 and 2.2 images a second, in batches of 32
    told = json.loads((tmp_path / "straight" / "benchmark.json").read_text())
    assert [run["run"] for run in told["models"][0]["runs"]] == ["gan_seed=1"]
    assert straight.comparison is not None and straight.comparison.rows == ("gan", "ae")
    for each in straight.standings:
        scores = [trial.score for trial in each.trials]
        assert each.chosen == each.trials[int(np.argmin(scores))].settings

    class Killed(BaseException):
        pass

    def interrupted(number_of_run: int, kind: type[Event], act: Any) -> Any:
        acted: list[Event] = []

        def each(run: Combination, number: int, count: int) -> Hooks:
            def listen(event: Event) -> None:
                if number == number_of_run and isinstance(event, kind) and not acted:
                    acted.append(event)
                    act()

            assert count == 6
            return Hooks(listeners=[listen])

        return each

    def die() -> None:
        raise Killed

    out = tmp_path / "stopped"
    stop = interrupted(2, Reported, lambda: os.kill(os.getpid(), signal.SIGINT))
    first = ms.benchmark(models, "digits", out, each=stop, **HOW)
    assert first.stopped == "SIGINT" and first.comparison is None and not (out / "benchmark.json").exists()
    with pytest.raises(Killed):
        ms.benchmark(models, "digits", out, each=interrupted(5, Checkpointed, die), **HOW)
    done = ms.benchmark(models, "digits", out, **HOW)
    assert not done.stopped and numbers_of(out) == numbers_of(tmp_path / "straight")

    more = ms.benchmark(models, "digits", out, **{**HOW, "seeds": 2})  # may grow
    assert [len(each.finals) for each in more.standings] == [2, 2] and more.comparison.rows == ("gan", "ae")
    page, table = more.files["page"].read_text(), more.files["latex"].read_text()
    for words in ("Content-Security-Policy", "Who wins", "Each two models", "Samples of the same", "its own settings"):
        assert words in page, words
    assert "<script" not in page and str(tmp_path) not in page and "gan_seed=2" in page
    assert table.count(r"\begin{tabular}") == 1 and "training seeds" in table and "% morphospace benchmark" in table
    main = more.verdicts[0]
    assert main.main and main.measure == "FD[pixels]" and {main.best, main.worst} == {"gan", "ae"}
    with pytest.raises(RunError, match=r"asked for otherwise \(minutes = 2.0, was 0.5\)"):
        ms.benchmark(models, "digits", out, **{**HOW, "minutes": 2.0})


def test_refusals_leave_nothing(models: list[str], tmp_path: Path) -> None:
    for more, message in (
        ({"by": "loss"}, "by = 'loss'"),
        ({"by": "fid"}, "did you mean 'fd'"),
        ({"compare": "none"}, "a benchmark compares metrics"),
        ({"beta": 2.0}, "is no data setting"),
        ({"minutes": 0}, "minutes = 0"),
        ({"valid": 0.0}, "holds out none"),
    ):
        with pytest.raises(SettingError, match=message):
            ms.benchmark(models, "digits", tmp_path / "b", **{**HOW, **more})
        assert not (tmp_path / "b").exists(), more
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="is not a benchmark"):
        ms.benchmark(models, "digits", tmp_path / "full", **HOW)


def test_a_trial_that_fails_loses_and_images_may_be_handed_over(models: list[str], tmp_path: Path) -> None:
    pack = in_memory_pack("mine", train=draw_blobs(80, (8, 8, 1)))
    how = {key: value for key, value in HOW.items() if key != "size"}
    how |= {"search": ["batch_size=16,5000"], "trials": 3}
    done = ms.benchmark(models, pack, tmp_path / "b", **how)
    notes = {trial.settings.get("batch_size"): trial.note for trial in done.standings[0].trials}
    assert notes[16] == notes[None] == "" and notes[5000].startswith("batch_size = 5000")
    assert all(each.chosen != {"batch_size": 5000} for each in done.standings)
    assert done.comparison is not None and done.comparison.training is None and done.comparison.rows == ("gan", "ae")
    said = " ".join(done.comparison.warnings)
    assert "There is no test split" in said and "held-out images chose the settings" in said


def test_the_best_trial_is_that_with_the_best_score() -> None:
    (entry, _) = entries(["vae", "ae"], ["lr=x2"])
    trials = [Trial(str(i), {"lr": i}, score, 1, 1.0) for i, score in enumerate((3.0, None, float("nan"), 1.0, 2.0))]
    assert chosen(Standing(entry, trials), lower=True, tuned=True) == {"lr": 3}
    assert chosen(Standing(entry, trials), lower=False, tuned=True) == {"lr": 0}
    assert chosen(Standing(entry, trials[1:3]), lower=True, tuned=True) is None
    assert chosen(Standing(entry, []), lower=True, tuned=False) == {}


# -- who wins ------------------------------------------------------------------------------------------------------


def test_winners_and_losers_are_named_with_what_may_be_chance() -> None:
    alone = Table("sampling", ("a", "b"), (Measure("recall[x]", "", (Cell(0.5), Cell(0.7)), "higher"),))
    found = verdict_of(alone, alone.measures[0], main=False, seeds=1)
    assert found.best == "b"
    assert found.text == "recall: b is best with 0.7000. Its lead on a (no interval) may be chance."
    cells = tuple(Cell(value, value - 0.5, value + 0.5, 500) for value in (5.0, 5.4, 9.0))
    once = Table("sampling", ("a", "b", "c"), (Measure("FD[x]", "", cells, "lower"),))
    found = verdict_of(once, once.measures[0], main=True, seeds=1)
    assert (found.best, found.worst, found.beaten, found.open) == ("a", "c", ("c",), ("b",))
    assert found.text == (
        "FD: a is best with 5.00 (4.50 to 5.50). It beats c (p < 0.001). Its lead on b (p = 0.27) may be chance. "
        "Worst is c with 9.00."
    )


def test_of_many_equal_models_with_one_seed_the_best_seldom_beats_another() -> None:
    rng, false = np.random.default_rng(0), 0
    for _ in range(200):
        cells = tuple(Cell(v, v - 1.96, v + 1.96, 500) for v in rng.standard_normal(12))
        table = Table("sampling", tuple("abcdefghijkl"), (Measure("FD[x]", "", cells, "lower"),))
        false += bool(verdict_of(table, table.measures[0], main=True, seeds=1).beaten)
    assert false <= 20  # 8 of 200 here; 27 where only the comparisons with the best were counted


def over_seeds(better: str, *values: tuple[float, ...]) -> Measure:
    """Return a measure of models with some seeds each."""
    cells = [
        Cell(float(np.mean(v)), min(v) - 9, max(v) + 9, len(v), min(v), max(v), each=np.array(v), over="seeds")
        for v in values
    ]
    return Measure("FD[x]", "", tuple(cells), cast(Better, better))


def test_several_seeds_are_compared_with_the_best_by_a_spread_pooled_over_all_models() -> None:
    few = over_seeds("lower", (5.0, 5.5), (5.3, 5.6), (8.0, 8.8), (90.0, 99.0))
    found = verdict_of(Table("training", ("a", "b", "c", "d"), (few,)), few, main=True, seeds=2)
    assert (found.best, found.worst, found.beaten, found.open) == ("a", "d", ("c", "d"), ("b",))
    assert "(5.00 to 5.50 over 2 seeds). It beats c (p = 0.0" in found.text and "Its lead on b (p = 0." in found.text
    assert not few.contrasts[0, 2].remains  # the two alone do not tell
    shares = over_seeds("higher", (0.5, 0.52), (0.1, 0.11))
    found = verdict_of(Table("training", ("a", "b"), (shares,)), shares, main=True, seeds=2)
    assert (found.best, found.beaten) == ("a", ("b",))


def test_a_model_of_which_one_seed_is_left_is_not_judged_and_spoils_nothing() -> None:
    few = over_seeds("lower", (5.0, 5.5), (7.0,), (90.0, 99.0))
    found = verdict_of(Table("training", ("a", "b", "c"), (few,)), few, main=True, seeds=2)
    assert (found.best, found.beaten, found.open) == ("a", ("c",), ("b",)) and "b (no interval)" in found.text


def test_a_long_list_of_models_is_counted() -> None:
    many = over_seeds("lower", *((10.0 + 0.01 * i, 10.5) for i in range(12)), *((1000.0, 1001.0) for _ in range(12)))
    found = verdict_of(Table("training", tuple(f"m{i}" for i in range(24)), (many,)), many, main=True, seeds=2)
    assert len(found.beaten) == 12 and len(found.open) == 11
    assert "It beats 12 of the 23 others. Its lead on 11 of the 23 others may be chance." in found.text
