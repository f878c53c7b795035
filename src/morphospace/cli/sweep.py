"""`morpho sweep`: a grid of settings trained one after another, in one table and one picture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from morphospace.cli.flags import SECTIONS, Json, flags_of, with_flags
from morphospace.cli.paths import check_folder
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.cli.training import STOPPED, model_of
from morphospace.runs.configuration import resolve
from morphospace.tools.tool import read_names
from morphospace.zoo.settings import settings_class

if TYPE_CHECKING:
    from morphospace.tools.sweep.grid import Combination
    from morphospace.tools.train.train import Hooks


def sweep_command(tokens: Sequence[str]) -> tuple[Callable[..., Answer], str]:
    """Return the command that has the flags of the model at hand, and what to say of it."""
    name = model_of(tokens)
    flags = [flag for group, cls in SECTIONS.items() for flag in flags_of(cls, group)]
    if name is None:
        return with_flags(sweep, flags), "Each model has flags of its own: `morpho sweep vae --help`."
    cls = settings_class(name)
    line = inspect.cleandoc(cls.__doc__ or "").splitlines()[0]
    return with_flags(sweep, [*flags_of(cls, "Model"), *flags]), f"{name}: {line} ({cls.paper})"


def sweep(
    model: Annotated[str | None, Parameter(help="The model; may be left to --recipe.")] = None,
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
    out: Annotated[str, Parameter(help="Folder of the runs; those found there go on or are done.")],
    seeds: Annotated[int, Parameter(help="Seeds for each combination, counted up from --seed.")] = 1,
    recipe: Annotated[str | None, Parameter(help="Name of a recipe, or a TOML file; flags win.")] = None,
    start_from: Annotated[str | None, Parameter(name="--from", help="A run whose weights all begin with.")] = None,
    compare: Annotated[
        str,
        Parameter(
            help="Which metrics the page at the end compares, as fd,pr,mse of `morpho evaluate`; the usual ones for "
            "each run if empty, or none."
        ),
    ] = "none",
    compare_n: Annotated[int | None, Parameter(help="Samples that these are measured on; as in evaluate.")] = None,
    dry_run: Annotated[
        bool, Parameter(help="List the runs; leave nothing behind.", negative=(), show_default=False)
    ] = False,
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Train every combination of a grid of settings, then set the runs side by side."""
    from morphospace.cli.preview import checked_start
    from morphospace.tools.sweep.grid import combinations, parse_grid

    wanted = read_names(compare)
    given = {name: value for name, value in settings.items() if value is not None}
    name, parsed = resolve(model, recipe, given).model.name, parse_grid(grid)
    runs = combinations(name, recipe, parsed, seeds, given)
    path = check_folder(out, holds="sweep.json", what="sweep")
    checked_start(start_from)
    if dry_run:
        names = [str(path / run.name) for run in runs]
        return Answer({"out": str(path), "runs": names}, names)
    given |= {"seeds": seeds, "recipe": recipe, "start_from": start_from}
    return _swept(name, parsed, path, talk, compare=wanted, compare_n=compare_n, **given)


def _swept(model: str, grid: dict[str, list[str]], path: Path, talk: Spoken, **how: Any) -> Answer:
    """Train, with all that is shown on the way, and say what came of it."""
    from morphospace.cli.progress import Watch
    from morphospace.tools.sweep.sweep import sweep as carry_out
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
    columns, picture = done.table.columns, None if done.picture is None else str(done.picture)
    rows = [{"run": str(path / row.name), **row.values()} for row in done.table.rows]
    data: dict[str, Any] = {"out": str(path), "runs": rows, "csv": str(done.csv), "page": str(done.page)}
    data |= {"picture": picture, "comparison": None if done.comparison is None else str(done.comparison)}
    lines = ["", f"{'table':16}{done.csv}, {done.page}"] + ([f"{'picture':16}{picture}"] if picture else [])
    lines += [f"{'side by side':16}{done.comparison}"] if done.comparison else []
    if done.stopped:
        lines = [f"stopped in run {len(rows)}; run the same command again to go on", *lines[1:]]
    data["stopped"] = done.stopped
    return Answer(data, lines, Table(columns, done.table.cells()), STOPPED.get(done.stopped, 0))
