"""A run as one finds it again: its folder, its model, its data."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import nn

from morphospace.data.pack import Pack
from morphospace.data.prepare import prepare, takes
from morphospace.data.rule import Rule, rule_of
from morphospace.data.settings import DataSettings
from morphospace.data.sizes import written_colour, written_range
from morphospace.data.sources import SOURCES
from morphospace.errors import RunError
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.models.priors import prior_of
from morphospace.runs.checkpoints import load_checkpoint, load_tensors, pointed, read_name
from morphospace.runs.configuration import Configuration
from morphospace.runs.folder import RunFolder
from morphospace.training.events import State
from morphospace.training.precision import choose_device, to_device
from morphospace.training.selection import LOSS
from morphospace.training.weights import load_weights

LOG = logging.getLogger("morphospace")


@dataclass(frozen=True)
class Run:
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
        seen = f"{self.images:,} images seen{', raw weights' if self.raw else ''}"
        return f"{self.configuration.model.name} of {facts['data']}, {height}x{width}x{channels}, {seen}: {self.path}"

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
        facts, own = self.folder.facts, self.configuration.data
        return rule_of(self.folder.shape, {"crop": own.crop, **facts, **facts.get("rule", {})}, own.max_pixels)

    def settings_for(self, source: str) -> DataSettings:
        """Return the settings that read another source as the run's own data were read, as far as it takes them."""
        rule, own = self.rule, self.configuration.data
        more: dict[str, Any] = {}
        if takes(source, "background") and rule.background != Rule.background:
            more["background"] = written_colour(rule.background)
        if takes(source, "range") and rule.range is not None:
            more["range"] = written_range(rule.range)
        if source.partition(":")[0] in SOURCES:  # a pack keeps what it was made with
            more |= {"crop": rule.crop, "resize": rule.resize, "max_pixels": own.max_pixels}
        channels: Literal[1, 3] = 1 if rule.channels == 1 else 3
        return DataSettings(data=source, root=own.root, size=f"{rule.height}x{rule.width}", channels=channels, **more)

    @property
    def data_name(self) -> str:
        """The name of its data, without the folder that some sources are named with."""
        return Path(str(self.folder.facts.get("data", self.configuration.data.data)).partition(":")[0]).name

    def prior_file(self, kind: str = "gaussian") -> Path:
        """Return where a prior of a kind, fitted to this checkpoint's codes, is kept."""
        return self.checkpoint / f"prior-{kind}{'-raw' if self.raw else ''}.safetensors"

    @cached_property
    def pack(self) -> Pack:
        """The data it was trained on, found or prepared again.

        Raises:
            RunError: It is not the same data any more, or it was handed over as a Python object.
        """
        facts = self.folder.facts
        if facts.get("data_given"):
            raise RunError("run", str(self.path), "trained on a Python dataset", "hand it over again as `data=`")
        pack = prepare(self.configuration.data)
        if pack.hash != facts["data_hash"]:
            name = self.configuration.data.data
            raise RunError("data", name, "is not what the run was trained on (its hash differs)", "restore the files")
        return pack


def load(
    run: str | Path,
    *,
    checkpoint: str = "",
    raw: bool = False,
    parts: Mapping[str, nn.Module] | None = None,
    device: str = "auto",
) -> Run:
    """Load a run's model, ready to use.

    Args:
        run: The run's folder.
        checkpoint: `best`, `last` or a number of images; the best one by validation where there is one when empty.
        raw: Take the raw weights instead of the averaged ones.
        parts: The caller's own networks, where the run was trained with any.
        device: Where to put it.

    Raises:
        RunError: No run, no checkpoint, or a broken one.
    """
    folder = RunFolder.open(Path(run))
    missing = sorted(set(folder.facts["custom"]) - set(parts or {}))
    if missing:
        raise RunError(
            "run", str(folder.path), f"was trained with the caller's own {missing}", "load it with parts={...}"
        )
    found = pointed(folder.checkpoints, checkpoint or "best") or (
        None if checkpoint else pointed(folder.checkpoints, "last")
    )
    if found is None:
        raise _missing(folder, checkpoint)
    if checkpoint in ("", "last") and found.name not in (read_name(folder.checkpoints, w) for w in ("best", "last")):
        where, taken = folder.checkpoints / "last", f"{int(found.name):,}"
        LOG.warning("warning: %s does not name a checkpoint; takes the newest one, of image %s", where, taken)
    conditioning = Conditioning.of(folder.configuration.condition, folder.facts["labels"], folder.facts["attributes"])
    model = folder.configuration.model.build(folder.shape, parts, conditioning)
    state = load_checkpoint(found)
    _load_model(model, state, raw)
    to_device(model.networks, choose_device(device))
    found_run = Run(folder, model.eval(), found, raw)
    if model.prior is None and found_run.prior_file().is_file():
        model.prior = prior_of("gaussian", load_tensors(found_run.prior_file()))
    return found_run


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


def _load_model(model: Model, state: State, raw: bool) -> None:
    weights = dict(state.tensors["model"])
    if not raw:
        weights |= state.tensors.get("ema", {})
    load_weights(model.networks, weights, "model")


def loaded(run: Run | str | Path) -> Run:
    """Return a run given as itself or as its folder."""
    return run if isinstance(run, Run) else load(run)
