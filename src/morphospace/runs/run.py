"""A run as one finds it again: its folder, its model, its data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from morphospace.data.pack import Pack
from morphospace.data.rule import Rule
from morphospace.data.settings import DataSettings
from morphospace.errors import RunError, one_line, spelled_out
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model, Quantises
from morphospace.models.priors import Fitted, prior_of
from morphospace.pictures.display import Displayable, Summary
from morphospace.runs.checkpoints import check_fits, load_checkpoint, load_tensors, pointed, read_name
from morphospace.runs.configuration import Configuration
from morphospace.runs.folder import RunFolder
from morphospace.runs.hub import local
from morphospace.runs.images import given_images, own_images, rule_for, settings_for
from morphospace.training.events import State
from morphospace.training.precision import choose_device, to_device
from morphospace.training.selection import LOSS
from morphospace.training.weights import check_shapes, load_weights, shapes_of

LOG = logging.getLogger("morphospace")
WEIGHTS = ("model", "ema")  # the files of a checkpoint that hold weights
FEW = 100  # held-out images: with fewer, which checkpoint is the best is chance


# Tools stand to the right of runs: these two are imported when a run is to be shown, and not before.
CARD, EXPLORER = "morphospace.tools.card", "morphospace.studio.notebook"


@dataclass(frozen=True)
class Run(Displayable):
    """A trained model with its folder.

    Attributes:
        folder: Settings and files.
        model: The model in evaluation mode, averaged weights where there are any.
        checkpoint: Folder of the checkpoint taken.
        raw: Whether the raw weights were taken where there are averaged ones.
    """

    folder: RunFolder
    model: Model
    checkpoint: Path
    raw: bool = False

    def __repr__(self) -> str:
        facts, (height, width, channels) = self.folder.facts, self.folder.shape
        seen = f", {self.images:,} images seen" if self.images else ""  # none is known of networks trained elsewhere
        seen += ", raw weights" if self.raw else ""
        return f"{self.configuration.model.name} of {facts['data']}, {height}x{width}x{channels}{seen}: {self.path}"

    def summary(self) -> Summary:
        """Return what it is, in a line."""
        return Summary([repr(self)])

    def markdown(self) -> str:
        """Return its model card."""
        text: str = import_module(CARD).card(self).markdown()
        return text

    def explore(self, **how: Any) -> Any:
        """Show its map, sliders and morphs in a notebook; `ms.explore` says how."""
        return import_module(EXPLORER).explore(self, **how)

    @property
    def images(self) -> int:
        """Images it had seen at the checkpoint taken."""
        return int(self.checkpoint.name)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def configuration(self) -> Configuration:
        """All its settings."""
        return self.folder.configuration

    @property
    def rule(self) -> Rule:
        """How a picture becomes an image of the run, as its own data did; a pack's own way where it was trained on one.

        Raises:
            DataError: If run.toml holds something else.
        """
        return rule_for(self.folder)

    def settings_for(self, source: str) -> DataSettings:
        """Return the settings that read another source as the run's own data were read, as far as it takes them."""
        return settings_for(self.folder, source)

    @property
    def data_name(self) -> str:
        """The name of its data, without the folder that some sources are named with."""
        return Path(str(self.folder.facts.get("data", self.configuration.data.data)).partition(":")[0]).name

    def chosen_by_few(self, asked: str = "") -> str:
        """Return a line that says why the checkpoint is not the best one; empty where it is.

        Args:
            asked: The checkpoint that was asked for; one that is named was not chosen.
        """
        best, held = pointed(self.folder.checkpoints, "best"), few_held_out(self.folder)
        if asked or held is None or best is None or best.name == self.checkpoint.name:
            return ""
        images = f"{held} held-out image{'' if held == 1 else 's'}"
        by = f"the best by {self.configuration.training.best}, of image {int(best.name):,}"
        return f"takes the last checkpoint: {by}, was chosen by {images} only (--checkpoint best takes it)"

    def moves_in_steps(self) -> str:
        """Return a line that says how images change along a path of codes; empty where nothing is unusual."""
        model = self.model
        if not isinstance(model, Quantises):
            return ""
        entries = f"{len(model.codebook.entries):,} entries"
        return f"codes are moved before they are quantised: each place takes the nearest of {entries}, in steps"

    def prior_file(self, kind: str) -> Path:
        """Return where a prior of a kind, fitted to this checkpoint's codes, is kept."""
        return self.checkpoint / f"prior-{kind}{'-raw' if self.raw else ''}.safetensors"

    @cached_property
    def pack(self) -> Pack:
        """The images it was trained on, or those that `load` was given.

        Raises:
            RunError: If they are nowhere any more, or have changed.
        """
        return own_images(self.folder)

    def with_images(self, pack: Pack) -> Run:
        """Let the tools take images from a pack, not from where the run's own were found; return the run itself."""
        vars(self)["pack"] = pack  # where `cached_property` keeps what it has found
        return self


def few_held_out(folder: RunFolder) -> int | None:
    """Return how many images chose a run's best checkpoint where they are too few for that; None where they are not."""
    held = folder.facts.get("held_out", FEW)
    return held if isinstance(held, int) and held < FEW else None


def usual_checkpoint(folder: RunFolder) -> Path | None:
    """Return the checkpoint that tools take when none is named; None where there is none.

    That is the best one, or the last one where there is no best or too few images chose it.
    """
    best = None if few_held_out(folder) is not None else pointed(folder.checkpoints, "best")
    return best or pointed(folder.checkpoints, "last")


def load(
    run: str | Path,
    *,
    checkpoint: str = "",
    raw: bool = False,
    parts: Mapping[str, nn.Module] | None = None,
    device: str = "auto",
    data: Any = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Load a run's model, ready to use.

    Args:
        run: The run's folder, or `hub:OWNER/NAME@REVISION`, one on the Hugging Face Hub.
        checkpoint: `best`, `last` or a number of images. When empty, the best one by validation, or the last one if
            there is no best or fewer than 100 held-out images chose it.
        raw: Take the raw weights instead of the averaged ones.
        parts: The caller's own networks, where the run was trained with any.
        device: Where to put it.
        data: The run's images, where they are not found by themselves: a source such as `folder:PATH`, the path of a
            pack, a `Pack`, or the dataset that it was trained on. Images of another hash are taken too, and it is said.
        say: Takes a line for the user; a warning when None.

    Raises:
        RunError: No run, no checkpoint, or a broken one.
        SettingError: If the images given are not of the run's shape.
    """
    folder = RunFolder.open(local(run, say))
    missing = sorted(set(folder.facts["custom"]) - set(parts or {}))
    if missing:
        raise RunError(
            "run", str(folder.path), f"was trained with the caller's own {missing}", "load it with parts={...}"
        )
    found = chosen(folder, checkpoint)
    best = few_held_out(folder) is None and read_name(folder.checkpoints, "best")
    if (checkpoint == "last" or not (checkpoint or best)) and found.name != read_name(folder.checkpoints, "last"):
        where, taken = spelled_out(str(folder.checkpoints / "last")), f"{int(found.name):,}"
        LOG.warning("warning: %s does not name a checkpoint; takes the newest one, of image %s", where, taken)
    pack = None if data is None else given_images(folder, data, say)
    if not parts:
        check_weights(found, partial(built, folder, parts))
    found_run = assembled(folder, found, load_checkpoint(found, WEIGHTS), parts, raw=raw, device=device)
    model = found_run.model
    if model.prior is None and (file := found_run.prior_file(model.fits)).exists():
        model.prior = kept_prior(file, model.fits, model.latent_dim)
    return found_run if pack is None else found_run.with_images(pack)


def chosen(folder: RunFolder, checkpoint: str = "") -> Path:
    """Return the checkpoint that a name means, or the usual one where none is named.

    Raises:
        RunError: If there is none.
    """
    found = pointed(folder.checkpoints, checkpoint) if checkpoint else usual_checkpoint(folder)
    if found is None:
        raise _missing(folder, checkpoint)
    return found


def taken(folder: RunFolder) -> tuple[Path, State]:
    """Return the checkpoint that tools take when none is named, and its weights.

    Raises:
        RunError: If there is none, or it is broken.
    """
    found = chosen(folder)
    return found, load_checkpoint(found, WEIGHTS)


def built(folder: RunFolder, parts: Mapping[str, nn.Module] | None) -> Model:
    """Build the model of a run, its weights as new."""
    facts = folder.facts
    conditioning = Conditioning.of(folder.configuration.condition, facts["labels"], facts["attributes"])
    return folder.configuration.model.build(folder.shape, parts, conditioning)


def assembled(
    folder: RunFolder,
    found: Path,
    state: State,
    parts: Mapping[str, nn.Module] | None,
    *,
    raw: bool = False,
    device: str = "auto",
) -> Run:
    """Return a run from its folder's settings and the weights of a checkpoint; no file is read.

    Raises:
        RunError: If the weights are not the model's.
    """
    model = built(folder, parts)
    _load_model(model, state, raw)
    to_device(model.networks, choose_device(device))
    return Run(folder, model.eval(), found, raw)


def _missing(folder: RunFolder, checkpoint: str) -> RunError:
    """Return why a run does not have the checkpoint asked for, and the way out."""
    run, settings = str(folder.path), folder.configuration
    if checkpoint != "best" or pointed(folder.checkpoints, "last") is None:
        return RunError("run", run, "has no checkpoint yet", "train it with the same command again")
    if settings.training.best != LOSS:
        why = f"no score by {settings.training.best} so far"
    elif settings.data.valid == 0:
        why = "because it held no images out (valid = 0)"
    else:
        why = f"for {settings.model.name} has no loss on held-out images to choose by"
    yet = " yet" if settings.training.best != LOSS else ""
    return RunError("run", run, f"has no best checkpoint{yet}, {why}", "take the last one with --checkpoint last")


def kept_prior(file: Path, kind: str, size: int) -> Fitted:
    """Return the prior that is kept in a file.

    Args:
        file: A safetensors file.
        kind: `gaussian` or `mixture`.
        size: Number of latent dimensions.

    Raises:
        RunError: If it holds something else.
    """
    tensors = load_tensors(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    count = (shapes.get("weights") or (0,))[0]
    wanted = {"mean": (size,), "factor": (size, size)}
    if kind == "mixture":
        wanted = {"weights": (count,), "means": (count, size), "factors": (count, size, size)}
    if kind in ("gaussian", "mixture"):
        check_shapes(shapes, wanted, file.stem)
    try:
        return prior_of(kind, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise RunError("prior", str(file), f"holds no {kind} prior ({one_line(error)})", "remove it") from None


def check_weights(checkpoint: Path, build: Callable[[], Model]) -> None:
    """Refuse a checkpoint that is not of a model, before that is allocated: its settings may ask for any size.

    Raises:
        RunError: It is of another model.
    """
    with torch.device("meta"):
        wanted = shapes_of(build().networks)
    check_fits(checkpoint / "model.safetensors", wanted)
    if (checkpoint / "ema.safetensors").exists():
        check_fits(checkpoint / "ema.safetensors", wanted, some=True)


def _load_model(model: Model, state: State, raw: bool) -> None:
    weights = dict(state.tensors["model"])
    if not raw:
        weights |= state.tensors.get("ema", {})
    load_weights(model.networks, weights, "model")


def loaded(run: Run | str | Path) -> Run:
    """Return a run given as itself or as its folder."""
    return run if isinstance(run, Run) else load(run)
