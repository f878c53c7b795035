"""`morpho benchmark`: train a list of models alike, and say which is best by what."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from morphospace.cli.flags import Json, flags_of, with_flags
from morphospace.cli.talk import Answer, Spoken
from morphospace.cli.verbs import Device
from morphospace.data.settings import DataSettings
from morphospace.pictures.pages import duration
from morphospace.tools.benchmark.entries import SPACE, Tuning
from morphospace.tools.tool import Asked, read_names

if TYPE_CHECKING:
    from morphospace.tools.benchmark.plan import Plan
    from morphospace.tools.sweep.grid import Combination
    from morphospace.tools.train.train import Hooks


def benchmark_command(tokens: Sequence[str]) -> tuple[Callable[..., Answer], str]:
    """Return the command that has the flags of the data, and what to say of it."""
    text = inspect.cleandoc(benchmark.__doc__ or "").partition("\n\n")[2].replace("\n", " ")
    return with_flags(benchmark, flags_of(DataSettings, "Data")), text


def benchmark(
    *,
    models: Annotated[
        str,
        Parameter(
            help="The models, as vae,dcgan,mine.toml: names, recipes (recipe:NAME where a model has the same name) or "
            "TOML files with settings of your own."
        ),
    ],
    out: Annotated[str, Parameter(help="Folder of the runs and the page; a benchmark already there is continued.")],
    minutes: Annotated[float, Parameter(help="Minutes of training of every run, trials included.")] = 5.0,
    trials: Annotated[int, Parameter(help="Settings to try for each model, its own among them; 0 tries nothing.")] = 4,
    seeds: Annotated[int, Parameter(help="Runs of each model with the chosen settings, each with its own seed.")] = 3,
    search: Annotated[
        tuple[str, ...],
        Parameter(
            help="What to try: lr=x0.3,x1,x3 multiplies the model's own value, batch_size=32,64 sets it. A model "
            f"without the setting leaves it out. [default: {' '.join(SPACE)}]",
            consume_multiple=True,
            negative=(),
            show_default=False,
        ),
    ] = SPACE,
    tuning: Annotated[Tuning, Parameter(help="random draws trials from what to try, grid takes all.")] = "random",
    by: Annotated[
        str, Parameter(help="The number that trials are chosen and models ranked by, as fd or recall of evaluate.")
    ] = "fd",
    compare: Annotated[
        str, Parameter(help="Metrics of the page, as fd,pr,mse of evaluate; if empty, those that apply to each run.")
    ] = "",
    compare_n: Annotated[int | None, Parameter(help="Number of samples for these metrics, as in evaluate.")] = None,
    features: Annotated[str, Parameter(help="What distances are measured in, as in evaluate.")] = "",
    seed: Annotated[int, Parameter(help="Seed of the trials; the last runs have the seeds after it.")] = 0,
    device: Device = "auto",
    dry_run: Annotated[
        bool,
        Parameter(
            help="List the runs and say how long they take; leave nothing behind.", negative=(), show_default=False
        ),
    ] = False,
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Train a list of models with equal minutes and equal tuning, and compare them on one page.

    For each model some settings are tried; the best on held-out images is trained again with other seeds, and these
    runs are compared on test images. Writes benchmark.html, benchmark.tex and benchmark.json. Stop it when you like:
    the same command goes on, and ends as if it had not been stopped.
    """
    from morphospace.cli.flags import given_of

    how: dict[str, Any] = {"minutes": minutes, "trials": trials, "seeds": seeds, "search": search, "tuning": tuning}
    how |= {"by": by, "compare": read_names(compare), "compare_n": compare_n, "features": features}
    how |= {"seed": seed, "device": device}
    if dry_run:
        return _foretold(read_names(models), out, how, given_of(settings))
    return _carried_out(read_names(models), out, talk, how, given_of(settings))


def _foretold(models: Sequence[str], out: str, how: dict[str, Any], settings: dict[str, Any]) -> Answer:
    """Return the runs and how long they take; refuse what the benchmark would refuse."""
    from morphospace.ranges import check_ranges
    from morphospace.tools.benchmark.benchmark import benchmark as carry_out
    from morphospace.tools.benchmark.plan import planned, rehearsed

    check_ranges(carry_out, how)
    plan = planned(models, None, out, settings=settings, **how)
    plan.check_folder()
    refused = rehearsed(plan)
    runs, seconds = _listed(plan), plan.seconds()
    left = plan.seconds_left()
    lines = [
        f"{name:32}{words}{f' cannot be trained: {refused[name]}' if name in refused else ''}" for name, words in runs
    ]
    each = f"{how['minutes']:g} minutes of training steps each"
    lines.append(f"{len(runs)} runs, {each}: {duration(seconds)}; measuring speeds, scoring and the page come on top")
    lines += [f"{duration(left)} of it are left: {out} holds the others"] if left < seconds else []
    data = {
        "out": out,
        "runs": [name for name, _ in runs],
        "seconds": seconds,
        "seconds_left": left,
        "refused": refused,
    }
    return Answer(data, lines)


def _listed(plan: Plan) -> list[tuple[str, str]]:
    """Return the names of all runs, and what is varied in each."""
    from morphospace.tools.sweep.grid import words_of

    trials = [
        (f"{entry.name}_trial={count}", ", ".join(words_of(varied)) or "its own settings")
        for entry in plan.entries
        for count, varied in enumerate(entry.trials, 1)
        if plan.tuned
    ]
    first, best = plan.asked["seed"] + 1, "the best of the trials" if plan.tuned else "its own settings"
    seeds = range(first, first + plan.asked["seeds"])
    return trials + [(f"{entry.name}_seed={seed}", best) for entry in plan.entries for seed in seeds]


def _carried_out(
    models: Sequence[str], out: str, talk: Spoken, how: dict[str, Any], settings: dict[str, Any]
) -> Answer:
    """Train the runs and print their progress."""
    from morphospace.tools.benchmark.benchmark import benchmark as carry_out
    from morphospace.tools.train.progress import Watch
    from morphospace.tools.train.train import Hooks

    watches = [Watch(talk)]

    def watched(run: Combination, number: int, count: int) -> Hooks:
        watches[-1].close()
        watches.append(Watch(talk, [f"== {run.name} ({number} of {count})"]))
        return Hooks(listeners=[watches[-1]], say=watches[-1].say, progress=watches[-1].packing)

    try:
        heard: dict[str, Any] = {"say": lambda line: watches[-1].say(line), "progress": watches[0].packing}
        done = carry_out(models, out=out, each=watched, **heard, **how, **settings)
    finally:
        watches[-1].close()
    return done.show(Asked(None, {}, {}))
