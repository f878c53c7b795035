"""Train a model, go on with a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from torch import nn

from morphospace.data.datasets import from_dataset
from morphospace.data.pack import Pack
from morphospace.errors import require
from morphospace.ranges import AtLeast, check_ranges
from morphospace.runs.configuration import resolve
from morphospace.runs.folder import RunFolder, own_settings
from morphospace.runs.hub import local
from morphospace.runs.images import KEEP_GB, given_images, warn
from morphospace.runs.run import Run
from morphospace.tools.train.announce import Announcer
from morphospace.tools.train.choose import configured
from morphospace.tools.train.job import Hooks, Job


def train(
    model: str | None = None,
    data: str | Pack | Any = None,
    out: str | Path = "run",
    *,
    recipe: str | None = None,
    start_from: str | Path | None = None,
    new_layers: bool = False,
    parts: Mapping[str, nn.Module] | Sequence[str] | None = None,
    hooks: Hooks | None = None,
    keep_data: Annotated[float, AtLeast(0)] = KEEP_GB,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a model, or go on with the run that `out` holds.

    It says what it does: a bar in a notebook and on a terminal, a few lines elsewhere.

    Args:
        model: Zoo member (`"vae"`). Without one and without a recipe, it is chosen by the number of images of `data`.
        data: Source name or pack path, an open `Pack`, arrays, or any map-style dataset, such as one of torch or of
            Hugging Face.
        out: The run's folder. A run that is there continues: it keeps all settings that neither this call nor `recipe`
            names.
        recipe: Name of a recipe or path of a TOML file, under the settings given here.
        start_from: A finished run whose weights to begin with (fine-tuning).
        new_layers: With `start_from`, let layers whose sizes differ begin anew, for instance for other classes.
        parts: Networks of your own by name (`encoder`, `decoder`; `generator`, `critic`), in place of ours. Or, as the
            data setting of that name, names of the parts of the images to keep and to take masks of.
        hooks: Listeners and the like. They then say what is said.
        keep_data: How many GB of images the cache keeps of a Python object, so that tools find them in later
            processes; a larger one must be given to `load` again.
        quiet: Say nothing.
        settings: Any model, data or training setting by its plain name (`beta=4.0`, `epochs=5`, `size="64"`).

    Returns:
        The trained run, loaded.

    Raises:
        MorphospaceError: A setting, the data or the folder is not as it must be; each error says what to do.
    """
    check_ranges(train, locals())
    given = None if data is None or isinstance(data, str) else data
    if isinstance(data, str):
        settings["data"] = data
    networks = dict(parts) if isinstance(parts, Mapping) else {}
    if parts is not None and not isinstance(parts, Mapping):
        settings["parts"] = tuple(parts)
    announcer = Announcer(Path(out), quiet=quiet or hooks is not None)
    hooks = hooks or announcer.hooks
    if model is None and recipe is None:
        if given is not None and not isinstance(given, Pack):
            given = from_dataset(given, say=hooks.say or warn)
        configuration, why = configured(settings, Path(out), pack=given, progress=hooks.progress, say=hooks.say)
        if why:
            (hooks.say or announcer.say)(why)
    else:
        configuration = resolve(model, recipe, settings, own=own_settings(Path(out)))
    job = Job(configuration, Path(out), given, networks, hooks, keep_data)
    require(
        start_from is not None or not new_layers, "new_layers", True, "goes with start_from", "give a run, or leave it"
    )
    with announcer:
        run = job.run(None if start_from is None else Path(start_from), new_layers=new_layers)
        announcer.end_with(run)
    return run


def resume(
    run: str | Path,
    *,
    data: Any = None,
    parts: Mapping[str, nn.Module] | None = None,
    hooks: Hooks | None = None,
    quiet: bool = False,
    **changes: Any,
) -> Run:
    """Continue a run from its last checkpoint, with its own settings. It says what it does, as `train` does.

    Args:
        run: The run's folder.
        data: Where its images are now, or the dataset again, if they are not found by themselves.
        parts: The caller's own networks again, where the run has any.
        hooks: Listeners and the like. They then say what is said.
        quiet: Say nothing.
        changes: Settings that may change: how long (`epochs`, `images`), where (`device`), how often it reports.
    """
    path = local(run, None if hooks is None else hooks.say)
    announcer = Announcer(path, quiet=quiet or hooks is not None)
    hooks = hooks or announcer.hooks
    folder = RunFolder.open(path)
    if isinstance(data, str | Path) and folder.facts["data_given"]:
        data = given_images(folder, data, hooks.say)
    elif isinstance(data, str | Path):
        changes, data = {**changes, "data": str(data)}, None
    configuration = resolve(overrides=changes, own=folder.configuration)
    job = Job(configuration, path, data, dict(parts or {}), hooks)
    with announcer:
        done = job.run(None)
        announcer.end_with(done)
    return done
