"""`morpho sweep`: train every combination of a grid of settings, and compare the runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from morphospace.cli.flags import SECTIONS, Json, flags_of, with_flags
from morphospace.cli.talk import Answer, Spoken
from morphospace.cli.training import model_of
from morphospace.files import check_folder
from morphospace.runs.configuration import settings_classes
from morphospace.tools.tool import Asked, read_names

if TYPE_CHECKING:
    from morphospace.tools.sweep.grid import Combination
    from morphospace.tools.train.train import Hooks


def sweep_command(tokens: Sequence[str]) -> tuple[Callable[..., Answer], str]:
    """Return the command that has the flags of the model at hand, and what to say of it."""
    name, outputs = model_of(tokens), inspect.cleandoc(sweep.__doc__ or "").partition("\n\n")[2].replace("\n", " ")
    flags = [flag for group, cls in SECTIONS.items() for flag in flags_of(cls, group)]
    if name is None:
        return with_flags(sweep, flags), f"{outputs}\n\nEach model has flags of its own: `morpho sweep vae --help`."
    cls: Any = settings_classes(name)["model"]
    line = inspect.cleandoc(cls.__doc__ or "").splitlines()[0]
    return with_flags(sweep, [*flags_of(cls, "Model"), *flags]), f"{outputs}\n\n{name}: {line} ({cls.paper})"


def sweep(
    model: Annotated[str | None, Parameter(help="The model; optional if --recipe sets it.")] = None,
    /,
    *,
    grid: Annotated[
        tuple[str, ...],
        Parameter(
            help="The settings that vary and their values: beta=0.5,1,4 latent_dim=8,32. Any setting may; one that is "
            "a list itself joins its values by +, as widths=32+64,64+128.",
            consume_multiple=True,
            negative=(),
        ),
    ],
    out: Annotated[str, Parameter(help="Folder of the runs; runs already there are continued or kept.")],
    seeds: Annotated[int, Parameter(help="Seeds for each combination, counted up from --seed.")] = 1,
    recipe: Annotated[str | None, Parameter(help="Name of a recipe, or a TOML file; flags override it.")] = None,
    start_from: Annotated[
        str | None, Parameter(name="--from", help="A finished run; every run starts from its weights.")
    ] = None,
    new_layers: Annotated[
        bool, Parameter(help="With --from: layers whose sizes differ begin anew.", negative=(), show_default=False)
    ] = False,
    compare: Annotated[
        str,
        Parameter(
            help="Metrics of compare.html, as fd,pr,mse of `morpho evaluate`, or none; if empty, those that apply "
            "to each run."
        ),
    ] = "none",
    compare_n: Annotated[int | None, Parameter(help="Number of samples for these metrics, as in evaluate.")] = None,
    dry_run: Annotated[
        bool, Parameter(help="List the runs; leave nothing behind.", negative=(), show_default=False)
    ] = False,
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Train every combination of a grid of settings, and compare the runs.

    The sweep's own table, sweep.md, shows the last numbers of each run and, with several seeds, mean and standard
    deviation over the seeds. Confidence intervals, over samples or over training seeds, are in compare.html.
    """
    from morphospace.cli.preview import checked_start
    from morphospace.tools.sweep.grid import combinations, parse_grid

    given = {name: value for name, value in settings.items() if value is not None}
    parsed = parse_grid(grid)
    path = check_folder(out, holds="sweep.json", what="sweep")
    runs = combinations(model, recipe, parsed, seeds, given, path)
    checked_start(start_from, new_layers)
    if dry_run:
        from morphospace.tools.sweep.sweep import read_mark, rehearsed

        read_mark(path)
        refused = rehearsed(runs, path, start_from, new_layers)
        names = [str(path / run.name) for run in runs]
        lines = [
            f"{path / run.name}{f' cannot be trained: {why}' if (why := refused.get(run.name)) else ''}" for run in runs
        ]
        return Answer({"out": str(path), "runs": names, **({"refused": refused} if refused else {})}, lines)
    given |= {"seeds": seeds, "recipe": recipe, "start_from": start_from, "new_layers": new_layers}
    return _swept(model, parsed, path, talk, compare=read_names(compare), compare_n=compare_n, **given)


def _swept(model: str | None, grid: dict[str, list[str]], path: Path, talk: Spoken, **how: Any) -> Answer:
    """Train the runs and print their progress."""
    from morphospace.tools.sweep.sweep import sweep as carry_out
    from morphospace.tools.train.progress import Watch
    from morphospace.tools.train.train import Hooks

    watches: list[Watch] = []

    def watched(run: Combination, number: int, count: int) -> Hooks:
        for before in watches:
            before.close()
        watches.append(Watch(talk, [f"== {run.name} ({number} of {count})"]))
        return Hooks(listeners=[watches[-1]], say=watches[-1].say, progress=watches[-1].packing)

    try:
        done = carry_out(model, out=path, grid=grid, each=watched, say=lambda line: watches[-1].say(line), **how)
    finally:
        for watch in watches:
            watch.close()
    return done.show(Asked(None, {}, {}))
