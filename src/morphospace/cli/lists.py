"""`morpho runs`, `morpho models` and `morpho recipes`: tables of what there is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.errors import RunError
from morphospace.runs.configuration import Recipe, recipe_named
from morphospace.runs.configuration import recipes as all_recipes
from morphospace.runs.folder import RunFolder, find_runs, last_values
from morphospace.zoo.settings import ZOO


def models(*, json: Json = False, talk: Spoken) -> Answer:
    """List the models."""
    rows = [(name, inspect.cleandoc(cls.__doc__ or "").splitlines()[0], cls.paper) for name, cls in ZOO.items()]
    data = {"models": [{"name": name, "about": line, "paper": paper} for name, line, paper in rows]}
    return Answer(data, table=Table(("model", "what it is", "paper"), rows))


def recipes(
    name: Annotated[str | None, Parameter(help="Name of one, to print all of it.")] = None,
    /,
    *,
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """List the recipes, or tell one."""
    if name is not None:
        return _recipe(recipe_named(name))
    data = [_of_recipe(recipe) for recipe in all_recipes().values()]
    twins = [entry for entry in data if "twin_of" in entry]
    rows = [[e["name"], _minutes(e), e["data"], _with_minutes(e["twin_of"]), e["adds"]] for e in twins]
    table = Table(("laptop twin", "minutes", "data", "stands for", "which adds"), rows)
    keys = ("name", "model", "year", "data", "minutes", "title", "source")
    others = [{**e, "minutes": _minutes(e)} for e in data if "twin_of" not in e]
    listed = Table(("recipe", *keys[1:]), [[str(entry.get(key, "")) for key in keys] for entry in others])
    lines = [
        "",
        *listed.plain(),
        "",
        "a laptop twin shows in minutes what a longer recipe shows; `morpho reproduce` trains those of a source",
        "year: of the paper that its method is from",
        "minutes as measured on a CPU; ~ at the rate of the part that was run, which `morpho recipes NAME` tells",
        f"train one with `morpho train --recipe {data[0]['name']} --out RUN`",
    ]
    return Answer({"recipes": data}, lines, table)


def _with_minutes(name: str) -> str:
    """Return a recipe's name, with how long it takes."""
    return f"{name} ({_minutes(recipe_named(name).about)} min)"


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    return {"name": recipe.name, "model": recipe.sections.get("model", {}).get("name"), **recipe.about}


def _minutes(about: Mapping[str, Any]) -> str:
    """Return how long a recipe takes, marked where only a part of it was run."""
    if "minutes" not in about:
        return ""
    minutes = about["minutes"]
    return f"{'~' if about.get('share', 1) < 1 else ''}{minutes:{',.0f' if minutes >= 100 else '.3g'}}"


def _recipe(recipe: Recipe) -> Answer:
    """Return all that a recipe says, and what it sets."""
    about = _of_recipe(recipe)
    words: dict[str, str] = {
        key: str(about[key]) for key in ("title", "source", "year", "data", "expect", "note") if key in about
    }
    if "twin_of" in about:
        words["twin of"] = f"{_with_minutes(about['twin_of'])}, which adds {about['adds']}"
    twins = [twin.name for twin in all_recipes().values() if twin.about.get("twin_of") == recipe.name]
    if twins:
        words["twin"] = f"{', '.join(map(_with_minutes, twins))}: shows in minutes what this one shows"
    if "minutes" in about:
        share = about.get("share", 1)
        words["minutes"] = _minutes(about) + (f"; {100 * share:.2g}% of it was run" if share < 1 else "")
    lines = [f"{key:8}{text}" for key, text in words.items()]
    for section, settings in recipe.sections.items():
        lines += ["", f"[{section}]", *(f"{key} = {dumps(value)}" for key, value in settings.items())]
    lines += ["", f"train it with `morpho train --recipe {recipe.name} --out RUN`"]
    return Answer({**about, "sections": {name: dict(values) for name, values in recipe.sections.items()}}, lines)


def runs(
    folder: Annotated[str, Parameter(help="Where to look, three levels deep.")] = ".",
    /,
    *,
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """List the runs below a folder."""
    if not Path(folder).is_dir():
        raise RunError("folder", folder, "no such folder", "give one that holds runs")
    found = [_about(path, _locked_inodes()) for path in find_runs(Path(folder))]
    rows = [
        [str(run[key]) for key in ("name", "model", "data")]
        + [f"{run['images']:,}" if run["images"] is not None else "", run["state"], _loss_text(run["loss"])]
        for run in found
    ]
    headings = ("run", "model", "data", "images", "state", "loss")
    return Answer({"runs": found}, table=Table(headings, rows, f"no runs below {folder}"))


def _loss_text(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.5g}" for name, value in losses.items())


def _about(path: Path, locked: set[int]) -> dict[str, Any]:
    """Return a run's row; a broken one has a row too, that says so."""
    row: dict[str, Any] = {"name": str(path), "model": "", "data": "", "images": None, "state": "", "loss": {}}
    try:
        folder = RunFolder.open(path)
    except RunError as error:
        return {**row, "state": "broken", "error": str(error)}
    last = last_values(folder.read_metrics())
    configuration, s = folder.configuration, folder.configuration.training
    # The validation loss where there is one: it is what the best checkpoint goes by.
    held_out = {"held out": last["valid/loss"]} if "valid/loss" in last else {}
    losses = held_out or {name.removesuffix("/loss"): value for name, value in last.items() if name.endswith("/loss")}
    images: int | None = int(last.get("images", 0))
    done = last.get("images", 0) >= s.images if s.images else last.get("epoch", 0) >= s.epochs - 1e-3
    lock = path / ".lock"
    training = lock.is_file() and lock.stat().st_ino in locked
    state = "training" if training else "finished" if done and last else "stopped" if last else "not begun"
    if folder.facts.get("adopted") or configuration.model.name not in ZOO:
        state, images = "adopted", None
    row |= {"model": configuration.model.name, "data": folder.facts.get("data", configuration.data.data)}
    return {**row, "images": images, "state": state, "loss": losses}


def _locked_inodes() -> set[int]:
    """Return the inodes of files that some process holds a lock on.

    Read from the kernel's list, where there is one: trying the lock could make a run that starts at that moment
    believe that another process trains it.
    """
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return set()
    words = [line.split() for line in lines]
    return {int(w[5].rpartition(":")[2]) for w in words if len(w) > 5 and w[1] == "FLOCK"}
