"""The command line's frame: which verb, what it answers, and how it ends.

Nothing here, nor in what a `--help` or a mistyped flag touches, imports torch; the verbs do so inside.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from cyclopts import App, CycloptsError, Group

from morphospace import __version__
from morphospace.cli.errors import explain
from morphospace.cli.flags import split_lists, without_plugins
from morphospace.cli.talk import Answer, Talk
from morphospace.errors import MorphospaceError
from morphospace.tools.tool import ADDED

HELP = """Train, explore and judge latent-variable image models: autoencoders, VAEs and GANs.

Begin with `morpho demo`, or `morpho train vae --data digits --size 32 --out runs/digits`.

Every command takes --plugin MODULE: a Python module, in this folder or installed, that adds models, sources, metrics
or tools. May be given several times."""

HELP_FLAGS = {"--help", "-h"}

# Verb: where it is, and its line in the help. The modules are loaded when their verb is called.
VERBS = {
    "demo": ("demo:demo", "Train three small models on data inside the package, and list their pictures."),
    "reproduce": ("reproduce:reproduce", "Reproduce every figure of a published source in minutes, on one page."),
    "train": ("training:train", "Train a model, or continue the run in --out."),
    "sweep": ("sweep:sweep", "Train every combination of a grid of settings, and compare the runs."),
    "benchmark": ("benchmark:benchmark", "Train several models with equal minutes and tuning, and say which is best."),
    "resume": ("training:resume", "Continue a run from its last checkpoint, with its own settings."),
    "studio": ("studio:studio", "Explore runs in the browser: drag a point and watch the image change."),
    "play": ("play:play", "Write a page on which small models train as you watch."),
    "learn": ("learn:learn", "Write the lessons as a site: predict, play, formulas, code and questions."),
    "runs": ("lists:runs", "List the runs below a folder."),
    "models": ("lists:models", "List the models."),
    "recipes": ("lists:recipes", "List the recipes: published systems, ready to train."),
}
# Verbs read off the tools: where each tool's function is, and its line in the help.
TOOLS = {
    "score": ("score:score", "Give each image an anomaly score, higher for stranger, in a table."),
    "train-encoder": ("project:train_encoder", "Train an encoder for a run that has none, a GAN for instance."),
    "project": ("project:project", "Find the latent codes of pictures, and show each beside its decoded code."),
    "map": ("map:map_codes", "Map the codes of many images in two dimensions, as a PNG."),
    "reconstruct": ("sample:reconstruct", "Show held-out images above their reconstructions, as a PNG."),
    "sample": ("sample:draw_samples", "Sample images from a run into a PNG."),
    "interpolate": (
        "walk.interpolate:interpolate_or_study",
        "Interpolate from one image to another, as a strip or a film.",
    ),
    "morph": ("walk.morph:morph", "Morph several pairs of images into each other, as a film."),
    "export": ("export:export", "Write a run's decoder or encoder to a file that needs no run."),
    "compare": ("compare:compare", "Compare runs on one page: settings, cost, curves, metrics, pictures."),
    "adopt": ("adopt_folder:adopt_folder", "Make a run of an AutoencoderKL that the library diffusers wrote."),
    "card": ("card:card", "Write a model card: data and terms, settings, metrics, limits."),
    "push": ("push:push", "Push a run to the Hugging Face Hub: weights, settings, card and page."),
    "attribute": (
        "directions.attribute:attribute_or_formula",
        "Move images along the direction of an attribute, or do sums with codes.",
    ),
    "diagram": ("diagram:diagram", "Draw a model or run as an SVG: layers, sizes, and its training step."),
    "evaluate": ("evaluate:evaluate", "Measure how close samples, or any images, are to real ones."),
    "pca": ("directions.pca:pca", "Show the plane of the two leading components, and how much each explains."),
    "traverse": (
        "directions.traverse:traverse",
        "Traverse each latent dimension or component, most influential first.",
    ),
    "judge": ("judge:judge_or_pool", "Make a blind test, real or generated?, and pool people's answers."),
    "diagnose": ("diagnose:diagnose", "Check a run for collapse, copies and trouble in training."),
}
# What a person wants, and the verbs for it, in the order of the help.
PURPOSES = {
    "Start": ("demo", "models", "recipes", "reproduce"),
    "Look at data": ("data",),
    "Train": ("train", "resume", "sweep", "benchmark", "adopt"),
    "See what a model has learned": ("sample", "reconstruct", "traverse", "pca", "map", "diagram", "studio"),
    "Walk from image to image": ("interpolate", "morph", "attribute", "project", "train-encoder"),
    "Judge": ("evaluate", "diagnose", "compare", "score", "judge", "runs"),
    "Take away": ("export", "card", "push"),
    "Learn": ("learn", "play"),
}
_GROUP = {purpose: Group(purpose, sort_key=i) for i, purpose in enumerate(PURPOSES)}
GROUPS = {verb: _GROUP[purpose] for purpose, verbs in PURPOSES.items() for verb in verbs}
# Verbs that have the flags of the model at hand: where they are made, and the usage line, slow to compute.
OF_A_MODEL = {
    "train": ("training:train_command", "[MODEL] [OPTIONS]"),
    "sweep": ("sweep:sweep_command", "[MODEL] --grid SETTING=VALUE,... --out FOLDER [OPTIONS]"),
    "benchmark": ("benchmark:benchmark_command", "--models NAME,NAME,... --data DATA --out FOLDER [OPTIONS]"),
}
ADDED.reserve([*VERBS, *TOOLS, "data"])
DATA_VERBS = {
    "list": ("data:list_sources", "List the sources of images and whether their files are here."),
    "fetch": ("data:fetch", "Download a source's files."),
    "pack": ("data:pack", "Decode a source once into a pack."),
    "check": ("data:check", "Check a source or pack: counts, lost files, duplicates, statistics, classes."),
    "show": ("data:show", "Show images of a source or pack as a PNG."),
    "prune": ("data:prune", "Show the packs in the cache and who uses them; delete those that no run uses."),
}


def build(tokens: Sequence[str] = ()) -> App:
    """Build the parser; `tokens` say which model's flags `train` and `sweep` have."""
    common: dict[str, Any] = {
        "help_format": "plaintext",
        "group_commands": Group("Commands", sort_key=90),
        "group_arguments": Group("Arguments", sort_key=0),
        "group_parameters": Group("Parameters", sort_key=5),
    }
    app = App(name="morpho", help=HELP, version=__version__, **common)
    data = App(name="data", help="List, fetch, pack, check, show and prune images.", group=GROUPS["data"], **common)
    for parent, verbs in ((app, VERBS), (data, DATA_VERBS)):
        for name, (home, line) in verbs.items():
            if name in OF_A_MODEL and name in tokens[:1]:
                place, usage = OF_A_MODEL[name]
                module, _, maker = place.partition(":")
                command, about = getattr(import_module(f"morphospace.cli.{module}"), maker)(tokens[1:])
                usage = f"Usage: morpho {name} {usage}"
                app.command(command, name=name, help=f"{line}\n\n{about}", usage=usage, group=GROUPS.get(name))
            else:
                parent.command(f"morphospace.cli.{home}", name=name, help=line, group=GROUPS.get(name))
    for name, (home, line) in TOOLS.items():
        if name in tokens[:1]:
            from morphospace.cli.verbs import command_for

            module, _, function = home.partition(":")
            command = command_for(getattr(import_module(f"morphospace.tools.{module}"), function))
            app.command(command, name=name, group=GROUPS.get(name))
        else:
            app.command(lambda: None, name=name, help=line, group=GROUPS.get(name))
    app.command(data)
    if not set(tokens[:1]) & {*VERBS, *TOOLS, "data"}:
        _add_tools(app, tokens)
    return app


def _add_tools(app: App, tokens: Sequence[str]) -> None:
    """Add the tools of packages; only the one that is called is imported."""
    group = Group("Tools of packages", sort_key=80)
    names = {**ADDED.loaded, **ADDED.installed}
    ADDED.warn_of_refused()
    for name in names:
        if name in tokens[:1]:
            from morphospace.cli.verbs import command_for

            app.command(command_for(ADDED[name]), name=name, group=group)
        else:
            line = (ADDED.loaded[name].__doc__ or "").partition("\n")[0] if name in ADDED.loaded else ""
            app.command(lambda: None, name=name, help=line or f"A tool of {ADDED.origin(name)}.", group=group)


def main(tokens: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 2 for an error said in one line, 130 or 143 if stopped.

    Args:
        tokens: The arguments, sys.argv's when None.
    """
    words = list(sys.argv[1:] if tokens is None else tokens)
    talk = Talk(as_json="--json" in words, quiet=os.environ.get("RANK", "0") != "0")
    try:
        code = _run(words, talk)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our words has left; the interpreter must not complain of it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _leave_world(code)
    return code


def _run(words: Sequence[str], talk: Talk) -> int:
    """Parse and call; every expected failure becomes one line."""
    try:
        words = without_plugins(words)
        if words and words[0] in OF_A_MODEL and HELP_FLAGS & set(words) and "--" not in words:
            # By `parse_args` it takes 0.05 s longer: that reads all flags, and reads them again to print the help.
            build(words).help_print([word for word in words if word not in HELP_FLAGS])
            return 0
        answer = answered(words, talk)
        return talk.answer(answer) if isinstance(answer, Answer) else 0
    except CycloptsError as error:
        verbs = [*VERBS, *TOOLS, *ADDED.installed, *ADDED.loaded, "data", *(f"data {name}" for name in DATA_VERBS)]
        return talk.fail(explain(error, verbs, words))
    except MorphospaceError as error:
        return talk.fail(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return talk.fail(f"{error.filename or 'system'}: {error.strerror or error}; check the path, or try another")
    except KeyboardInterrupt:
        return 130
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)):
            raise
        return talk.fail("out of memory: give a smaller --batch-size, --size or --widths, or fewer images with --n")


def answered(words: Sequence[str], talk: Talk) -> Any:
    """Carry a command out and return its answer, which is not printed; None for a help.

    Raises:
        CycloptsError: If there is no such command or flag.
        MorphospaceError: As the command does.
    """
    words = split_lists(words)
    command, bound, ignored = build(words).parse_args(
        list(words), exit_on_error=False, print_error=False, verbose=False
    )
    if "talk" in ignored:
        bound.arguments["talk"] = talk
    return command(*bound.args, **bound.kwargs)


def _leave_world(code: int) -> None:
    """End one of several processes at once: tearing the process group down at interpreter exit may abort."""
    if "torch" not in sys.modules:  # to import it takes longer than the other processes wait with their words
        return
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        if code != 2:  # after an error the others may be gone, and waiting for them would never end
            dist.barrier()
            dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
