"""`morpho train` and `morpho resume`."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from morphospace.cli.flags import FIRST, SECTIONS, Json, flags_of, given_of, switches, with_flags
from morphospace.cli.talk import Answer, Spoken, Talk
from morphospace.cli.verbs import Images
from morphospace.errors import SettingError, command, require
from morphospace.files import check_folder
from morphospace.roles import AgainstCollapse, changeable
from morphospace.runs.configuration import Configuration, advice_of, recipe_named, resolve, settings_classes
from morphospace.zoo.settings import ZOO, settings_class

if TYPE_CHECKING:
    from morphospace import Run
    from morphospace.data.pack import Pack
    from morphospace.tools.train.progress import Watch


SHOWN = 16  # reconstructions in the command that is suggested
STOPPED = {"SIGINT": 130, "SIGTERM": 143}


def model_of(tokens: Sequence[str]) -> str | None:
    """Return the model that a `train` command line is about: named, or its recipe's.

    Raises:
        SettingError: No such model, or no such recipe.
    """
    if tokens and not tokens[0].startswith("-"):
        return settings_class(tokens[0]).name
    for before, token in itertools.pairwise(tokens):
        if token in ZOO and (not before.startswith("-") or "=" in before or before in switches()):
            return token
    for before, token in zip(["", *tokens], tokens):
        flag, equals, value = token.partition("=")
        name = value if equals and flag == "--recipe" else token if before == "--recipe" else None
        if name is not None:
            model = recipe_named(name).sections.get("model", {}).get("name")
            require(
                model is None or isinstance(model, str), "model name", model, "must be a name", "see `morpho models`"
            )
            return settings_class(model).name if model else None
    return None


def train_command(tokens: Sequence[str]) -> tuple[Callable[..., Answer], str]:
    """Return the command that has the flags of the model at hand, and what to say of it."""
    name = model_of(tokens)
    flags = [flag for group, cls in SECTIONS.items() for flag in flags_of(cls, group)]
    if name is not None:
        cls: Any = settings_classes(name)["model"]
        line = inspect.cleandoc(cls.__doc__ or "").splitlines()[0]
        return with_flags(train, [*flags_of(cls, "Model"), *flags]), f"{name}: {line} ({cls.paper})"
    listed = "\n\n".join(f"{key}: {inspect.cleandoc(cls.__doc__ or '').splitlines()[0]}" for key, cls in ZOO.items())
    return with_flags(train, flags), f"Each model has flags of its own: `morpho train vae --help`.\n\n{listed}"


def train(
    model: Annotated[
        str | None, Parameter(help="The model. Without one and without --recipe, it is chosen by the images of --data.")
    ] = None,
    /,
    *,
    out: Annotated[
        str | None, Parameter(help="The run's folder; an existing run there is continued.", group=FIRST)
    ] = None,
    recipe: Annotated[str | None, Parameter(help="Name of a recipe, or a TOML file; flags override it.")] = None,
    start_from: Annotated[
        str | None, Parameter(name="--from", help="A run whose weights to start from (fine-tuning).")
    ] = None,
    new_layers: Annotated[
        bool,
        Parameter(help="With --from: layers whose sizes differ begin anew.", negative=(), show_default=False),
    ] = False,
    dry_run: Annotated[
        bool,
        Parameter(help="Print the whole configuration as TOML; leave nothing behind.", negative=(), show_default=False),
    ] = False,
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Train a model, or continue the run in --out."""
    given = given_of(settings)
    chosen = model is None and recipe is None
    if out is None and not dry_run:
        raise SettingError("out", rule="none given", way_out="name the run's folder, for instance --out runs/first")
    path = None if out is None else check_folder(out, holds="run.toml", what="run")
    from morphospace.cli.preview import checked_start
    from morphospace.runs.folder import own_settings

    own = own_settings(path)
    if not chosen:
        configuration = resolve(model, recipe, given, own=own)

    checked_start(start_from, new_layers)
    if chosen:
        configuration = _chosen(given, path, talk, dry=dry_run)
    elif recipe is not None and (instead := _embedded(recipe, given, configuration, own)):
        line = f"{configuration.data.data} is not here: trains on {instead['data']} (--data names other images)"
        talk.say(f"# {line}" if dry_run else line)
        configuration = resolve(model, recipe, {**given, **instead}, own=own)
    if dry_run:
        return _dry_run(configuration, path, start_from, new_layers)
    assert path is not None
    return carried_out(configuration, path, talk, start_from, new_layers)


def _embedded(
    recipe: str, given: Mapping[str, Any], configuration: Configuration, own: Configuration | None
) -> dict[str, Any] | None:
    """Return the embedded images on which a laptop twin is trained where its own are not here; None where they are.

    A run that began on them keeps them.
    """
    if "data" in given or "twin_of" not in recipe_named(recipe).about:
        return None
    from morphospace.data.prepare import embedded_instead
    from morphospace.data.sources import SOURCES

    instead = embedded_instead(configuration.data)
    if own is not None:
        before, name = own.data.data, configuration.data.data
        instead = before if name in SOURCES and before == SOURCES[name].info.embedded else ""
    return {"data": instead} if instead else None


def _chosen(given: Mapping[str, Any], path: Path | None, talk: Talk, *, dry: bool) -> Configuration:
    """Choose model and settings by the images, and say which and why."""
    from morphospace.tools.train.choose import configured
    from morphospace.tools.train.progress import Watch

    watch = Watch(talk)
    try:
        configuration, why = configured(given, path, dry=dry, progress=watch.packing, say=watch.say)
    finally:
        watch.close()
    if why:
        talk.say(f"{why} (name a model for another; `morpho models` lists them)")
    return configuration


def _dry_run(configuration: Configuration, path: Path | None, start_from: str | None, new_layers: bool) -> Answer:
    """Refuse what training would refuse, as far as that is known before the images are read; print every setting."""
    from morphospace.cli.preview import check_batch, condition_of_data, foretold, opening
    from morphospace.models.conditioning import Conditioning
    from morphospace.tools.train.job import Hooks, Job

    job = Job(configuration, path or Path("run"), None, {}, Hooks())
    existing = None if path is None else job.existing()
    # What can be refused without the data is refused first, as the run does.
    if existing is None:
        lines = foretold(configuration, None)
        check_batch(configuration, condition_of_data(configuration))
    else:
        configuration = existing.configuration
        lines = foretold(configuration, existing)
    source = None if start_from is None else Path(start_from)
    pack = job.rehearse(source, new_layers=new_layers, new=path is None)
    if pack is None:
        lines.append("the files of the data are not all here yet, and were not checked")
    else:
        known = Conditioning.for_pack(configuration.condition, pack)
        lines = opening(configuration, pack.shape, known, existing)
    if existing is not None:
        lines.append(f"continues the run in {path}")
    comments = [f"# {line}" for line in lines]
    return Answer(configuration.to_dict(), [*comments, "", *configuration.to_toml().rstrip().split("\n")])


def carried_out(
    configuration: Configuration, path: Path, talk: Talk, start_from: str | None = None, new_layers: bool = False
) -> Answer:
    """Train with all that is shown on the way."""
    from morphospace.cli.preview import foretold, opening
    from morphospace.models.conditioning import Conditioning
    from morphospace.tools.train.job import Hooks, Job
    from morphospace.tools.train.progress import Watch

    # Refuses what it can before anything is packed.
    existing = Job(configuration, path, None, {}, Hooks()).existing()
    watch = Watch(talk, foretold(configuration, existing))

    def opened(pack: Pack, resolved: Configuration) -> None:
        """Show what is known once the data are open: the model's size for a folder of images, and the batch size."""
        lines = opening(resolved, pack.shape, Conditioning.for_pack(resolved.condition, pack), existing)
        watch.opened(lines)

    hooks = Hooks(listeners=[watch], say=watch.say, progress=watch.packing, opened=opened)
    try:
        source = None if start_from is None else Path(start_from)
        run = Job(configuration, path, None, {}, hooks).run(source, new_layers=new_layers)
    finally:
        watch.close()
    return _left(run, watch)


def resume(
    run: Annotated[str, Parameter(help="The run's folder.")],
    /,
    *,
    data: Images = None,
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Continue a run from its last checkpoint, with its own settings."""
    import morphospace as ms
    from morphospace.cli.preview import foretold
    from morphospace.runs.folder import RunFolder
    from morphospace.runs.hub import local
    from morphospace.tools.train.job import Hooks
    from morphospace.tools.train.progress import Watch

    given = given_of(settings)
    folder = RunFolder.open(local(run, talk.say))
    watch = Watch(talk, foretold(resolve(overrides=given, own=folder.configuration), folder))
    try:
        hooks = Hooks(listeners=[watch], say=watch.say, progress=watch.packing)
        done = ms.resume(run, data=data, hooks=hooks, **given)
    finally:
        watch.close()
    return _left(done, watch)


resume = with_flags(
    resume,
    [flag for group, cls in SECTIONS.items() for flag in flags_of(cls, group, only=changeable(cls))],
)


def _ended_early(run: Run, watch: Watch) -> list[str]:
    """Return why a run ended by itself before its end; after a collapse, which is no success, what to try too."""
    from morphospace.training.collapse import COLLAPSE

    line = f"stopped at image {watch.images:,}: {watch.stopped}"
    if not watch.stopped.startswith(COLLAPSE):
        return [line]
    advice = advice_of(type(run.configuration.model), AgainstCollapse)
    return [line, *([f"{'try':16}{', '.join(advice)}, in a new run"] if advice else [])]


def _best(best: Mapping[str, Any]) -> list[str]:
    """Return how the best checkpoint scored: on the images that chose it, and on images that did not."""
    chosen = "the last" if best["by"] == "last" else f"by {best['by']}"
    lines = [f"{'best':16}image {best['checkpoint']:,}, {chosen}"]
    for name, report in best["report"].items():
        both = [f"{found['value']:.5g} ({_conditions(found)})" for found in (best["selection"][name], report)]
        lines.append(f"{'':16}{name} {both[0]}, to be reported {both[1]}")
    return lines


def _conditions(found: Mapping[str, Any]) -> str:
    about, ends = found["conditions"], ""
    if found["low"] is not None:
        ends = f"{found['low']:.4g} to {found['high']:.4g}; "
    return f"{ends}{about['n_real']:,} {about['split']}, seed {about['seed']}"


def _left(run: Run, watch: Watch) -> Answer:
    """Return what training left, and what to do next."""
    from morphospace.runs.report import sampled_from

    path, model = run.path, run.configuration.model.name
    pictures = {
        name: str(found[-1])
        for name in ("samples", "reconstructions")
        if (found := sorted((path / name).glob("*.png")))
    }
    report = path / "report.html"
    data: dict[str, Any] = {
        "run": str(path),
        "model": model,
        "data": run.folder.facts["data"],
        "images": watch.images,
        "resumed_at": watch.resumed_at,
        "stopped": watch.stopped,
        "terms": dict(watch.terms),
        "valid_loss": watch.valid_loss,
        "best": run.folder.read_best(),
        "report": str(report) if report.is_file() else None,
        **pictures,
    }
    if watch.stopped in STOPPED:
        kept = "saved" if watch.saved == watch.images else f"the last checkpoint is of image {watch.saved}"
        line = f"stopped at image {watch.images}, {kept}; run the same command again to go on"
        return Answer(data, [line], code=STOPPED[watch.stopped])
    lines = _ended_early(run, watch) if watch.stopped else []
    lines += (
        []
        if watch.reports or watch.stopped
        else [f"nothing left to do at image {watch.images:,}; ask for more with --epochs"]
    )
    lines += _best(data["best"]) if data["best"] else []
    lines.append(f"{'run':16}{path}")
    for name, picture in pictures.items():
        how = sampled_from(Path(picture)) if name == "samples" else ""
        lines.append(f"{name:16}{picture}{f', sampled {how}' if how else ''}")
    lines += [f"{'report':16}{report}"] if report.is_file() else []
    if "reconstructions" in pictures:
        held = run.folder.facts.get("held_out") or SHOWN
        second: list[object] = ["reconstruct", path, "--n", min(SHOWN, held), "--out", path / "reconstructions.png"]
    else:
        second = ["sample", path, "--n", 64, "--seed", 1, "--out", path / "more-samples.png"]
    lines += [
        f"{'next':16}{command('sample', path, '--n', 64, '--out', path / 'samples.png')}",
        f"{'':16}{command(*second)}",
    ]
    return Answer(data, lines)
