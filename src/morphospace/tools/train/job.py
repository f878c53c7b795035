"""One call of `train` or `resume`: where data, model, engine and run folder meet."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from morphospace.data.augment import Augment
from morphospace.data.batches import Batches, check_batch, held_out
from morphospace.data.checks import check_given
from morphospace.data.datasets import from_dataset
from morphospace.data.kept import find_pack
from morphospace.data.pack import Pack
from morphospace.data.prepare import anchored, changed_since, outlined, prepare
from morphospace.data.rule import Rule
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError, OtherModel, RunError, SettingError, require
from morphospace.files import sweep
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.randomness import stream
from morphospace.runs.checkpoints import clean, latest, mend, pointed
from morphospace.runs.configuration import Configuration
from morphospace.runs.folder import RunFolder
from morphospace.runs.hub import local
from morphospace.runs.images import KEEP_GB, keep_images, own_images, warn
from morphospace.runs.recorder import Recorder
from morphospace.runs.run import Run, assembled, check_weights, load, taken
from morphospace.runs.trackers import Tracked, check_trackers
from morphospace.tools.evaluate.extractors import check_at_hand
from morphospace.tools.train.batch_size import check_batch_norm, check_foretold, check_least, with_batch_size
from morphospace.tools.train.begin import (
    begin_at_data,
    begun_from,
    check_exact,
    check_length,
    learn_features,
    take_weights,
)
from morphospace.tools.train.checks import check_collapses, check_needs, check_packing, check_patience, turns_of
from morphospace.tools.train.scoring import Plan, Scorer, planned
from morphospace.tools.train.trials import precision_of_all, products_of
from morphospace.training.collapse import CollapseStop
from morphospace.training.distributed import World
from morphospace.training.engine import Engine
from morphospace.training.events import Listener
from morphospace.training.precision import (
    choose_device,
    choose_precision,
    choose_repeatable,
    keep_freed_blocks,
    to_device,
)

SHOWN = 32


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the caller wants to hear of a run.

    Attributes:
        listeners: Called with every training event, after the run's own recorder.
        say: Called with lines about what happens, `print` for instance.
        progress: Called with (done, total) while images are packed.
        opened: Called with the pack and all settings once the data are open, before the model is built.
    """

    listeners: Sequence[Listener] = ()
    say: Callable[[str], None] | None = None
    progress: Callable[[int, int], None] | None = None
    opened: Callable[[Pack, Configuration], None] = lambda pack, configuration: None


@dataclass(frozen=True)
class Job:
    """One call of `train` or `resume`, resolved.

    Attributes:
        configuration: All settings.
        path: The run's folder.
        given: Data handed over as a Python object, or None.
        parts: The caller's own networks.
        hooks: Who listens.
        keep_data: How many GB of images that Python handed over the cache keeps.
    """

    configuration: Configuration
    path: Path
    given: Any
    parts: dict[str, nn.Module]
    hooks: Hooks
    keep_data: float = KEEP_GB

    def __post_init__(self) -> None:
        """Make the run's data mean the same from any working directory; a pack with a folder is a pack by its path."""
        data = self.configuration.data
        if isinstance(self.given, Pack) and self.given.path is not None:
            data = replace(data, data=str(self.given.path))
        object.__setattr__(self, "configuration", replace(self.configuration, data=anchored(data)))

    @property
    def handed_over(self) -> bool:
        """Whether the images are a Python object that has no place of its own."""
        return self.given is not None and getattr(self.given, "path", None) is None

    def may_ask(self, name: str) -> bool:
        """Return whether a server that a setting names may be asked: not if only the folder of a run, which may be
        anyone's, names it.
        """
        named = self.configuration.named
        return named is None or name in named

    def run(self, start_from: Path | None, *, new_layers: bool = False) -> Run:
        """Train to the end and return the loaded run."""
        keep_freed_blocks()
        start_from = None if start_from is None else local(start_from, self.hooks.say)
        device = choose_device(self.configuration.training.device)
        choose_repeatable(device)
        world = World.join(device)
        # What cannot work is refused before the data is touched and before a folder exists.
        check_trackers(self.configuration.training.track)
        plan, existing = planned(self.configuration.training), world.led(self.existing)
        self.check_alike(world)
        if plan is not None and not self.may_ask("metrics_features"):
            check_at_hand(self.configuration.training.metrics_features, "metrics_features")
        pack = self.pack(world, existing)
        (_, rows), _ = held_out(pack, self.configuration.data.valid)
        known = self.configuration if existing is None else existing.configuration
        if not world.leads:
            known = replace(known, data=here(known.data, self.configuration.data))
        job = replace(self, configuration=with_batch_size(known, len(rows), world.size))
        self.hooks.opened(pack, job.configuration)
        if existing:
            self.check_same(existing, pack)
        return job.trained(pack, device, world, plan, existing, start_from, new_layers)

    def trained(
        self,
        pack: Pack,
        device: torch.device,
        world: World,
        plan: Plan | None,
        existing: RunFolder | None,
        start_from: Path | None,
        new_layers: bool,
    ) -> Run:
        """Train on the opened data, with settings that are all resolved, and return the loaded run."""
        s, say = self.configuration.training, self.hooks.say or (lambda line: None)
        torch.manual_seed(stream(s.seed, "weights"))
        build = partial(self.configuration.model.build, pack.shape, self.parts, self.conditioning(pack))
        begun = world.led(partial(self.begun, existing, build))
        model = build()
        self.check_fit(model, pack, world)
        facts = self.facts(pack)
        start_from = world.led(partial(begun_from, existing, start_from))
        if start_from is not None:
            new_layers = new_layers if existing is None else bool(existing.facts.get("new_layers"))
            facts |= {"start_from": str(start_from), **({"new_layers": True} if new_layers else {})}
        if not begun:
            if start_from is None or new_layers:
                begin_at_data(model, pack, self.configuration.data)
            if start_from is not None:
                world.led(partial(take_weights, model, start_from, new_layers=new_layers, say=self.note))
            world.led(partial(learn_features, model, pack, say))
            world.share(model.networks)
            world.share(model.memory)
        to_device(model.networks, device)
        model.memory.to(device)
        folder = existing or RunFolder(self.path, self.configuration, facts)
        scorer = None if plan is None else Scorer(plan, folder, model, pack, self.parts, device, say)
        engine = self.engine(model, pack, device, world)
        products = s.products and device.type == "cpu"
        if existing is None:
            facts["products"] = world.led(partial(products_of, engine, model, say)) if products else []
        if products:
            engine.use_products((facts if existing is None else existing.facts).get("products", []))
        if world.size == 1:  # batch norm takes the images of all processes together
            check_batch_norm(model, engine.data.fixed(engine.data.batch_size))
        if plan is not None:
            engine.selection = plan.selection
        if world.leads:
            if scorer is not None:
                scorer.prepare()
            folder = existing or RunFolder.create(self.path, self.configuration, facts)
            self.keep(pack, folder)
            self.listen(engine, folder, pack, scorer, say)
        world.wait()
        with folder.locked() if world.leads else contextlib.nullcontext():
            if world.leads:
                clean(folder.checkpoints)
                for place in ("", "checkpoints", "samples", "reconstructions"):
                    sweep(folder.place / place)
            saved = world.led(partial(latest, folder.checkpoints, say))
            if saved is not None:
                engine.precision = precision_of_all(s.precision, device, world, saved.numbers)
                check_exact(engine, saved, say)
                if world.leads:
                    mend(folder.checkpoints, saved, s.keep)
                engine.load_state(saved)
                check_length(engine.clock.images, engine.total_images, engine.images_per_step)
            if world.leads:
                folder.write()  # a new length, say, must be known to the next who goes on
                if saved is None:
                    folder.forget_after(-1)  # killed before its first checkpoint: its events come again
            with stops_on_signals(engine), ends_trackers(engine):
                ended = engine.run()
            if engine.stop != ended:  # a signal that came when all was trained, while the best was being scored
                raise KeyboardInterrupt
        return self.ended(folder, world).with_images(pack)

    def begun(self, existing: RunFolder | None, build: Callable[[], Model]) -> bool:
        """Return whether there is a checkpoint to go on from; refuse one of another model before memory is taken.

        Raises:
            OtherModel: Its weights are not this model's.
        """
        last = None if existing is None else pointed(existing.checkpoints, "last")
        if last is not None and not self.parts:
            try:
                check_weights(last, build)
            except OtherModel:
                raise
            except RunError:  # it is not whole, and a whole one before it is looked for later
                pass
        return last is not None

    def ended(self, folder: RunFolder, world: World) -> Run:
        """Return the run as `load` does; a process that does not lead gets the weights from the one that does."""
        if world.size == 1:
            return load(self.path, parts=self.parts)
        found, state = world.led(lambda: taken(folder))
        return load(self.path, parts=self.parts) if world.leads else assembled(folder, found, state, self.parts)

    def check_alike(self, world: World) -> None:
        """Refuse processes that were asked for different things; the images may lie elsewhere on each machine.

        Raises:
            SettingError: Their settings differ.
        """
        lead = world.led(lambda: self.configuration)
        own = replace(self.configuration, data=here(self.configuration.data, lead.data))
        differ = [f"{name} is {there!r} there, {now!r} here" for name, there, now in lead.changed(own)]
        if found := [f"process {rank}: {', '.join(each)}" for rank, each in enumerate(world.all(differ)) if each]:
            rule = f"not those of the leading process ({'; '.join(found)})"
            raise SettingError("settings", rule=rule, way_out="start the same command on every machine")

    def rehearse(self, start_from: Path | None, *, new_layers: bool = False, new: bool = False) -> Pack | None:
        """Refuse what `run` would refuse, without an image being packed or a folder made.

        Args:
            start_from: The run whose weights to begin with.
            new_layers: As for `run`.
            new: Whether to leave out of account what the folder holds.

        Returns:
            What is known of the data, as `outlined` returns it.

        Raises:
            MorphospaceError: As `run`, but for what only the pixels of the images can tell.
        """
        s = self.configuration.training
        choose_precision(s.precision, choose_device(s.device))
        check_trackers(s.track)
        planned(s)
        existing = None if new else self.existing()
        start_from = begun_from(existing, None if start_from is None else local(start_from, self.hooks.say))
        same = existing is not None and self.same_source(existing)
        pack = self.own_pack(existing, same, Hooks(say=lambda line: None)) or outlined(self.configuration.data)
        if pack is None:
            return None
        if existing and pack.hash:
            self.check_same(existing, pack)
        (_, rows), _ = held_out(pack, self.configuration.data.valid)
        known = self.configuration if existing is None else existing.configuration
        job = replace(self, configuration=with_batch_size(known, len(rows)))
        conditioning = self.conditioning(pack)
        with torch.device("meta"):
            model = self.configuration.model.build(pack.shape, self.parts, conditioning)
        job.check_fit(model, pack, World())
        check_foretold(job.configuration, pack.shape, conditioning)
        saved = None if existing is None else latest(existing.checkpoints, lambda line: None)
        if saved is not None:
            each = turns_of(model) * (job.configuration.training.batch_size or 0)
            check_length(int(str(saved.numbers["images"])), self.length(len(rows)), each)
        elif start_from is not None:
            new_layers = new_layers if existing is None else bool(existing.facts.get("new_layers"))
            take_weights(model, start_from, new_layers=new_layers)
        return pack

    def length(self, images: int) -> int:
        """Return how many images the run is to see in all, where training has `images`."""
        s = self.configuration.training
        return s.images or max(1, round(s.epochs * images))

    def check_fit(self, model: Model, pack: Pack, world: World) -> None:
        """Refuse settings that do not suit the model or the data.

        Raises:
            SettingError: There is such a setting.
        """
        s, name = self.configuration.training, model.settings.name
        way_out = "train it where it came from, and adopt it again"
        require(bool(model.rounds()), "model", name, "has no objective to train by", way_out)  # type: ignore[attr-defined]
        check_needs(model, pack)
        check_packing(model, s.batch_size or 0, world)
        check_least(model.settings, (s.batch_size or 0) // world.size)
        check_collapses(model, s.stop_on_collapse)
        (_, rows), valid = held_out(pack, self.configuration.data.valid)
        check_batch(s.batch_size or 0, len(rows), world.size)
        check_patience(s, model, held_out=valid is not None)

    def listen(
        self, engine: Engine, folder: RunFolder, pack: Pack, scorer: Scorer | None, say: Callable[[str], None]
    ) -> None:
        """Let everyone listen who has to do with the run: its recorder first, so that others find what it saved."""
        s, judged = self.configuration.training, engine.valid or engine.data
        shown = judged.fixed(min(SHOWN, judged.images))
        engine.listeners.append(Recorder(folder, engine.model, engine, shown, pack, say))  # type: ignore[arg-type]
        if scorer is not None:
            scorer.folder, scorer.engine, engine.scorer = folder, engine, scorer.score
            engine.listeners.append(scorer)
        engine.listeners += [Tracked(name, folder, self.note) for name in dict.fromkeys(s.track)]
        engine.listeners += self.hooks.listeners
        if s.stop_on_collapse:
            engine.listeners.append(CollapseStop(engine, s.stop_on_collapse, s.collapse_reports))

    def existing(self) -> RunFolder | None:
        """Return the run that the folder holds, if any, with this job's settings.

        Raises:
            RunError: It is a run of another configuration.
        """
        if not (self.path / "run.toml").is_file():
            return None
        run = RunFolder.open(self.path)
        if hub := run.facts.get("hub"):
            rule, way_out = (
                "came from the Hub, which has no optimizer to go on with",
                f"begin anew with --from hub:{hub}",
            )
            raise RunError("run", str(self.path), rule, way_out)
        wanted = self.configuration.with_batch_size(run.configuration.training.batch_size)
        run.check_settings(wanted)
        return replace(run, configuration=wanted)

    def check_same(self, run: RunFolder, pack: Pack) -> None:
        """Refuse to go on with other data or other parts.

        Raises:
            RunError: They differ.
        """
        where = f"the run in {str(run.path)!r}"
        if pack.hash != run.facts["data_hash"]:
            rule = f"is not what {where} was trained on (its hash differs)"
            raise RunError("data", pack.name, rule, "give the same images, or another --out")
        if sorted(self.parts) != list(run.facts["custom"]):
            before = list(run.facts["custom"])
            raise RunError("parts", sorted(self.parts), f"{where} has {before}", "hand over the same")

    def note(self, line: str) -> None:
        """Say what the caller should know, as a warning if no other way was given."""
        (self.hooks.say or warn)(line)

    def pack(self, world: World, existing: RunFolder | None) -> Pack:
        """Return the data as a pack; the leading process prepares it, the others then open it.

        A run that goes on keeps the images it began with, though files of its source have changed since.
        """
        if self.given is not None:
            note = self.note if world.leads else lambda line: None
            pack = self.given if isinstance(self.given, Pack) else from_dataset(self.given, say=note)
            check_given(self.configuration.data, pack)
            return pack
        same = world.led(lambda: existing is not None and self.same_source(existing))
        if not world.leads:
            world.wait()
        hooks = self.hooks if world.leads else Hooks(say=lambda line: None)
        pack = self.own_pack(existing, same, hooks) or prepare(
            self.configuration.data, say=hooks.say, progress=hooks.progress, network=self.may_ask("data")
        )
        if world.leads:
            world.wait()
        hashes = world.all(pack.hash)
        if len(set(hashes)) > 1:
            rule = f"the machines have different images (hashes {', '.join(each[:8] for each in hashes)}, by process)"
            raise DataError("data", pack.name, rule, "copy the same files to each")
        return pack

    def own_pack(self, existing: RunFolder | None, same: bool, hooks: Hooks) -> Pack | None:
        """Return the pack that a run began with, if it is still there and the settings name the `same` source."""
        settings = self.configuration.data
        if existing is None:
            return None
        if existing.facts["data_given"] and not self.may_ask("data"):
            return own_images(existing)
        if not same:
            return None
        kept = find_pack(str(existing.facts["data_hash"]))
        if kept is not None and (changed := changed_since(settings, kept)):
            (hooks.say or warn)(f"{settings.data} {changed}; the run goes on with the images it was trained on")
        return kept

    def same_source(self, run: RunFolder) -> bool:
        """Return whether the settings name the source that a run was trained on."""
        before, now = anchored(RunFolder.open(run.place).configuration.data), self.configuration.data
        return not run.facts["data_given"] and (before.data, before.root) == (now.data, now.root)

    def keep(self, pack: Pack, run: RunFolder) -> None:
        """Let later processes find the run's images."""
        keep_images(pack, run, self.keep_data, note=self.note, say=self.hooks.say or (lambda line: None))

    def facts(self, pack: Pack) -> dict[str, Any]:
        """Return what run.toml holds beside the settings."""
        known, (_, held) = self.conditioning(pack), held_out(pack, self.configuration.data.valid)
        rule = pack.manifest.get("rule", {})
        usual = Rule(*pack.shape).ways()
        keys = ("background", "resize", "range")
        unusual = {key: rule[key] for key in keys if key in rule and rule[key] != usual.get(key)}
        return {
            "data": pack.name,
            "data_hash": pack.hash,
            "data_given": self.handed_over,
            "shape": list(pack.shape),
            "crop": rule.get("crop", self.configuration.data.crop),
            **({"rule": unusual} if unusual else {}),
            "custom": sorted(self.parts),
            "held_out": 0 if held is None else len(held[1]),
            "labels": list(known.names if known is not None and known.kind == "label" else pack.label_names),
            "attributes": list(pack.attribute_names),
        }

    def conditioning(self, pack: Pack) -> Conditioning | None:
        """Return the conditions of the model, as the data name them."""
        return Conditioning.for_pack(self.configuration.condition, pack)

    def engine(self, model: Model, pack: Pack, device: torch.device, world: World) -> Engine:
        """Build the batches and the engine."""
        s = self.configuration.training
        common: dict[str, Any] = {
            "seed": s.seed,
            "device": device,
            "signed": model.signed,
            "resident": s.resident,
            "binarise": self.configuration.data.binarise,
        }
        training, valid = held_out(pack, self.configuration.data.valid)
        assert s.batch_size is not None
        batches = Batches(
            training[0],
            rows=training[1],
            batch_size=s.batch_size,
            augment=Augment.of(self.configuration.data, pack.mask_names),
            rank=world.rank,
            world=world.size,
            **common,
        )
        judged = None
        if valid is not None:
            count = len(valid[1]) if valid[1] is not None else len(valid[0])
            judged = Batches(valid[0], rows=valid[1], batch_size=min(s.batch_size, count), **common)
        half = s.ema_halflife_images
        return Engine(
            model,  # type: ignore[arg-type]
            batches,
            s,
            total_images=self.length(batches.images),
            valid=judged,
            precision=precision_of_all(s.precision, device, world),
            world=world,
            ema_halflife_images=model.default_ema_halflife_images if half is None else half,
        )


def here(asked: DataSettings, own: DataSettings) -> DataSettings:
    """Return what is asked of the images, with the places where this machine has them."""
    return replace(asked, data=own.data, root=own.root, labels=own.labels)


@contextlib.contextmanager
def ends_trackers(engine: Engine) -> Iterator[None]:
    """Let trackers know that a run ended by an error, which no event says."""
    try:
        yield
    finally:
        for listener in engine.listeners:
            if isinstance(listener, Tracked):
                listener.close()


@contextlib.contextmanager
def stops_on_signals(engine: Engine) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end training after the step at hand, with a checkpoint.

    A second one is obeyed at once.
    """

    def handle(number: int, frame: Any) -> None:
        if engine.stop:
            raise KeyboardInterrupt
        engine.stop = signal.Signals(number).name

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, where signals cannot be caught
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
