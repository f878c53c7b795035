"""The training loop of every model. `docs/architecture.md` lists what it guarantees.

A model hands over its phases as data (`objectives.phase`); nothing here knows what a VAE or a GAN is. A turn takes
gradients only of what its phase learns (`backward(inputs=...)`), so the generator learns *through* the critic, which
does not move; `requires_grad` never changes. Batch-norm buffers move on each forward pass in training mode, also those
of a network that does not learn in this turn, as in the published loops.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch, Batches
from morphospace.files import as_read
from morphospace.models.products import use_products
from morphospace.objectives.clock import Clock
from morphospace.objectives.phase import Phase, Trainable, together
from morphospace.training.distributed import World
from morphospace.training.ema import Ema
from morphospace.training.events import (
    Checkpointed,
    Event,
    Finished,
    Listener,
    Noted,
    Progressed,
    Reported,
    Resumed,
    Scored,
    State,
    Validated,
    listener_states,
    load_listener_states,
)
from morphospace.training.graphs import CudaRecorder, Graphs, Inputs
from morphospace.training.guard import NORM, Guard, check_finite, not_finite
from morphospace.training.optim import check_phases, learning_rate, optimizers_for, parameters_of
from morphospace.training.precision import autocast
from morphospace.training.selection import LOSS, Score, Selection, saved_selection
from morphospace.training.settings import TrainingSettings
from morphospace.training.turn import EngineTurn, Memo, Noise
from morphospace.training.weights import Files, load_tensors, tensors_of

PROGRESS_SECONDS = 1.0  # between two signs of life; a slow model may be minutes from its first report
NORM_STEPS = 16  # between two looks at a gradient's norm, so that a small model does not pay for it
NAMES = {
    "world": "processes",
    "instructions": "CPU instructions",
    "products": "layers as products",
}  # of conditions, where the key is not the word


class Engine:
    """Trains a model's phases on batches.

    Args:
        model: Networks and phases; its networks are on their device already.
        data: Training batches.
        settings: Lengths, seed, schedule, clipping, averaging.
        total_images: Where the training run ends.
        valid: Held-out images, judged by the phases that validate.
        precision: `fp32` or `bf16`.
        world: This process among others.
        ema_halflife_images: Half-life of the weights' moving average, 0 for none.
        listeners: Called with every event, in order.

    Attributes:
        selection: Which checkpoint is the best; by the loss on held-out images unless another is put here.
        products: Names of the layers that are computed as matrix products (`use_products`).
        scorer: Scores the model as it stands, where `settings.metrics` say when; must leave it as it was.
        stop: Why to end after the current step; empty to continue.
        seconds: Time spent in training steps since the run began, resumed parts included.

    Raises:
        SettingError: If a parameter belongs to no phase, two phases have one name, or simultaneous phases share a
            parameter.
    """

    def __init__(
        self,
        model: Trainable,
        data: Batches,
        settings: TrainingSettings,
        *,
        total_images: int,
        valid: Batches | None = None,
        precision: str = "fp32",
        world: World | None = None,
        ema_halflife_images: int = 0,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.model, self.data, self.valid, self.settings = model, data, valid, settings
        self.precision, self.total_images, self.listeners = precision, total_images, list(listeners)
        self.world = world or World()
        self.world.synchronise(model.networks)
        first = next(model.networks.parameters())
        self.device = first.device
        self.noise, self.memo = Noise(settings.seed, first.device, first.dtype, self.world), Memo()
        self.rounds = [together(one) for one in model.rounds()]
        self.phases = [phase for phases in self.rounds for phase in phases]
        self.turns = max(phase.turns for phase in self.phases)
        self.names = {parameter: name for name, parameter in model.networks.named_parameters()}
        self.learned = {phase.name: parameters_of(phase.learns) for phase in self.phases}
        check_phases(self.rounds, self.learned, self.names)
        self.optimizers = optimizers_for(self.phases, self.learned, model.settings)
        averages = bool(ema_halflife_images and model.averaged)
        self.ema = Ema(model.networks, model.averaged, ema_halflife_images) if averages else None
        self.selection = Selection(patience=settings.patience, delta=settings.min_delta)
        self.scorer: Callable[[], Mapping[str, Score]] | None = None
        self.guard = Guard(self.device)
        self.products: tuple[str, ...] = ()
        self.inputs = Inputs(self)
        self.graphs: Graphs | None = None
        if self.device.type == "cuda" and settings.graphs == "auto" and self.world.size == 1:
            self.graphs = Graphs(self, CudaRecorder(self.device), self.say)
        self.stop = ""
        self.steps, self.seconds = 0, 0.0
        self.last_report = (0, 0.0)  # images and seconds at the last report
        self.sums: dict[str, list[Tensor]] = {}  # every term since then, not yet read from the device
        self.norms: dict[str, list[Tensor]] = {}  # and every gradient's norm, of which a report has a sixteenth

    # -- one step --------------------------------------------------------------------------------------------

    @property
    def images_per_step(self) -> int:
        """Real images that one step sees, over all processes."""
        return self.turns * self.data.batch_size

    @property
    def clock(self) -> Clock:
        """The current moment of training."""
        images = self.steps * self.images_per_step
        return Clock(self.steps, images, images / self.data.images, self.data.images)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context that losses are computed in."""
        return autocast(self.device, self.precision)

    def turn(self, phase: str, index: int = 0, *, training: bool = True) -> EngineTurn:
        """Return what the loss of `phase` sees of this step's turn `index`."""
        return EngineTurn(self.inputs.noise, self.memo, self.inputs.clock, phase, index, training)

    def step(self) -> None:
        """Take every due phase's turns once."""
        if self.graphs:
            self.graphs.step()
        else:
            self.take_turns()
        self.end_step()

    def take_turns(self) -> None:
        """Let every due phase take its turns; all that differs between two steps comes from `inputs`."""
        self.memo.clear()
        for phases, index in self.due():
            self.play(phases, self.batch(index), index)
        self.memo.clear()

    def due(self) -> Iterator[tuple[list[Phase], int]]:
        """Yield the current step's turns in order: the phases that take one together, and its number among theirs."""
        for phases in self.rounds:
            clock = self.inputs.clock
            due = [phase for phase in phases if clock.every(phase.every) and phase.plays(clock)]
            for index in range(max((phase.turns for phase in due), default=0)):
                yield [phase for phase in due if index < phase.turns], index

    def batch(self, index: int) -> Batch:
        """Return the batch of the current step's turn `index`."""
        return self.inputs.batch(index)

    def end_step(self) -> None:
        """Count the step, after the last of its turns."""
        self.memo.clear()
        self.world.average([b for b in self.model.networks.buffers() if b.is_floating_point()])
        self.steps += 1
        if self.ema:
            self.ema.update(self.clock.images, self.images_per_step)

    def play(self, phases: Sequence[Phase], batch: Batch, index: int = 0) -> None:
        """Let phases take one turn on a batch: all gradients first, then all steps."""
        played: list[tuple[Phase, EngineTurn]] = []
        for phase in phases:
            turn = self.turn(phase.name, index)
            turn.seed(phase.name)
            with self.autocast():
                terms = phase.loss(batch, turn)
            loss = terms.total()
            # Phases of a tuple may share a forward pass, whose graph only the last of them may free.
            retain = bool(self.memo) and phase is not phases[-1]
            (loss * phase.every).backward(inputs=self.learned[phase.name], retain_graph=retain)
            means, size = self.take_gradients(phase, {**terms.means, "loss": loss.detach()})
            for name, mean in means.items():
                self.sums.setdefault(f"{phase.name}/{name}", []).append(mean)
            if not (self.guard.passes(means["loss"]) and self.guard.passes(size)):
                self.refuse()
            played.append((phase, turn))
        for phase, turn in played:
            self.update(phase)
            if phase.after:
                with self.autocast():
                    phase.after(batch, turn)

    def take_gradients(self, phase: Phase, means: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Tensor]:
        """Average a phase's gradients over all processes and clip them.

        Args:
            phase: The phase.
            means: What this process's images gave, by term.

        Returns:
            The means over the images of all processes, so that all report, and refuse, the same. And what is finite
            only if an optimizer can take the gradients: their norm, squared unless they are clipped, because an
            infinite square would stay in Adam's state.
        """
        learned, clip, key = self.learned[phase.name], self.settings.clip, f"{phase.name}{NORM}"
        gradients = [p.grad for p in learned if p.grad is not None]
        means = self.world.averaged(means, beside=gradients)
        norm = nn.utils.get_total_norm(gradients, foreach=True).detach()
        if clip:
            nn.utils.clip_grads_with_norm_(learned, clip, norm, foreach=True)
        self.norms.setdefault(key, []).append(norm)
        return means, norm if clip else norm.square()

    def update(self, phase: Phase) -> None:
        """Move what a phase learns by its gradients."""
        learned, s = self.learned[phase.name], self.settings
        if s.clip or self.inputs.clock.every(NORM_STEPS):
            key = f"{phase.name}{NORM}"
            self.sums.setdefault(key, []).append(self.norms[key][-1])
        optimizer = self.optimizers[phase.optimizer or phase.name]
        base, schedule, warmup, total = optimizer.defaults["lr"], s.schedule, s.warmup_images, self.total_images
        self.inputs.set_rate(
            optimizer,
            lambda clock: learning_rate(base, clock, schedule=schedule, warmup_images=warmup, total_images=total),
        )
        if not self.guard.allows(optimizer):
            self.refuse()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # Fused optimizers do not bump tensor versions, so that autograd would take a stale graph for a fresh one.
        torch.autograd.graph.increment_version(learned)
        for key in [key for key, (_, by) in self.memo.items() if not by.isdisjoint(phase.learns)]:
            del self.memo[key]

    # -- a run -----------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Train to the end, reporting, validating, scoring and checkpointing on the way; return why it ended early."""
        # -- intervals, in images
        s = self.settings
        report_every, checkpoint_every = s.pauses(self.total_images, self.data.images)
        score_every = (s.metrics_every_images or checkpoint_every) if s.scores else 0
        self.model.networks.train()
        self.last_report, last_event = (self.clock.images, self.seconds), time.monotonic()
        stopping = self.world.any(bool(self.stop))  # a listener may have set it when the state was loaded

        while self.clock.images < self.total_images and not stopping:
            # -- one step
            before, began = self.clock.images, time.perf_counter()
            self.step()
            # Asked once a step: a signal that comes while a checkpoint is written ends the next step, with its own.
            stopping = self.world.any(bool(self.stop))
            self.seconds += time.perf_counter() - began  # saving, validating and scoring are left out

            # -- report
            reporting = self.completes(report_every, before)
            if reporting or stopping:
                self.report(due=reporting)
                last_event = time.monotonic()
            elif time.monotonic() - last_event >= PROGRESS_SECONDS:
                self.emit(Progressed(self.clock, self.seconds, self.total_images))
                last_event = time.monotonic()

            # -- validate, score and save
            scoring = self.completes(score_every, before)
            saving = scoring or self.completes(checkpoint_every, before)
            if saving or stopping:
                self.checkpoint(due=saving, scoring=scoring)
                # Patience ends a run at once: one that is killed here and resumed ends here too.
                stopping = stopping or self.world.any(bool(self.selection.reason))

        # -- the end
        if self.clock.images > self.last_report[0]:
            self.report()
        ended = self.stop
        self.emit(Finished(self.clock, ended))
        return ended

    def completes(self, every: int, before: int) -> bool:
        """Return whether the step that began at image `before` completes another `every` images, or the run."""
        now = self.clock.images
        return every > 0 and (now >= self.total_images or before // every != now // every)

    @property
    def rate(self) -> float:
        """Images/s since the last report."""
        images, seconds = self.last_report
        return (self.clock.images - images) / max(self.seconds - seconds, 1e-9)

    def emit(self, event: Event) -> None:
        """Call every listener with an event."""
        for listener in self.listeners:
            listener(event)

    def say(self, text: str) -> None:
        """Tell listeners something in words."""
        self.emit(Noted(self.clock, text))

    def report(self, *, due: bool = True) -> None:
        """Report the means since the last report.

        Raises:
            TrainingError: If a loss or gradient among them was not finite.
        """
        if not self.guard.clean():
            self.refuse()
        self.emit_means(due=due)

    def refuse(self) -> NoReturn:
        """Stop at a loss or gradient that is not finite, after a report that shows it to readers of the log."""
        self.sums |= self.norms
        error = not_finite(self.sums, self.clock, clipped=bool(self.settings.clip))
        self.emit_means()
        raise error

    def emit_means(self, *, due: bool = True) -> None:
        """Emit the means of all terms since the last report, and begin anew unless a signal asked for them."""
        terms = {name: float(torch.stack(values).float().mean()) for name, values in self.sums.items()}
        if due:
            self.sums, self.norms = {}, {}
        event = Reported(self.clock, self.seconds, self.rate, terms, self.total_images, due=due)
        self.last_report = (self.clock.images, self.seconds)
        self.emit(event)

    # -- validate, score and save ----------------------------------------------------------------------------

    def checkpoint(self, *, due: bool, scoring: bool) -> None:
        """Judge the model, then let listeners save it.

        Args:
            due: Whether the moment follows from the settings, and not from a signal.
            scoring: Whether to call the scorer.
        """
        if not self.guard.clean():
            self.refuse()
        check_finite(self.tensors(), set(self.names.values()), self.clock)
        best = False
        if self.world.leads:
            scores: dict[str, Score] = {}
            if validated := self.validate(due=due):
                self.emit(validated)
                scores[LOSS] = Score(validated.loss)
            if scoring and self.scorer:
                began = time.perf_counter()
                found = self.scorer()
                self.emit(Scored(self.clock, found, time.perf_counter() - began))
                scores |= found
            best = self.selection.take(scores, self.clock.images, due=due)
            self.stop = self.stop or self.selection.reason
        self.emit(Checkpointed(self.clock, self.state(due=due), best, due=due))
        self.world.wait()

    def validate(self, *, due: bool = True) -> Validated | None:
        """Judge the held-out images by the phases that validate; None where there are no such images or phases."""
        phases = [phase for phase in self.phases if phase.validates]
        if not phases or self.valid is None:
            return None
        sums: dict[str, float] = {}
        loss, count = 0.0, 0
        with self.judging():
            for index, batch in enumerate(self.valid.sequential()):
                size = len(batch.images)
                count += size
                for phase in phases:
                    turn = self.turn(phase.name, index, training=False)
                    turn.seed(f"{phase.name}/validation")
                    with self.autocast():
                        terms = phase.loss(batch, turn)
                    loss += float(terms.total()) * size
                    for name, mean in terms.means.items():
                        key = f"{phase.name}/{name}"
                        sums[key] = sums.get(key, 0.0) + float(mean) * size
        return Validated(self.clock, {name: total / count for name, total in sums.items()}, loss / count, due=due)

    @contextlib.contextmanager
    def judging(self, *, raw: bool = False) -> Iterator[None]:
        """Put the networks into evaluation mode, with the averaged weights where there are any, unless `raw`."""
        self.model.networks.eval()
        averaged = self.ema.swapped() if self.ema and not raw else contextlib.nullcontext()
        try:
            with averaged, torch.no_grad():
                yield
        finally:
            self.model.networks.train()

    # -- state -----------------------------------------------------------------------------------------------

    def tensors(self) -> Files:
        """Return all tensors that change in training; they are the live ones, not copies."""
        return tensors_of(self.model, self.ema, self.optimizers, self.names, self.world)

    def use_products(self, names: Sequence[str]) -> None:
        """Compute these layers as matrix products from now on."""
        use_products(self.model.networks, names)
        self.products = tuple(names)

    def conditions(self) -> dict[str, int | str | list[str]]:
        """Return what else the bytes of a training run depend on, beside its settings, seed and data."""
        cuda = self.device.type == "cuda"
        return {
            "world": self.world.size,
            "device": torch.cuda.get_device_name(self.device) if cuda else self.device.type,
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "precision": self.precision,
            "products": list(self.products),
            "torch": torch.__version__,
        }

    def state(self, *, due: bool = True) -> State:
        """Return all that exact resume needs; the tensors are the live ones, not copies.

        Args:
            due: Whether the moment follows from the settings, and not from a signal.
        """
        numbers = {
            "step": self.steps,
            "images": self.clock.images,
            "epoch": self.clock.epoch,
            "seconds": self.seconds,
            "selection": self.selection.state(),
            **self.conditions(),
            "listeners": listener_states(self.listeners),
            "due": due,
            "terms": {name: torch.stack(values).float().tolist() for name, values in self.sums.items()},
        }
        return State(self.tensors(), numbers)

    def load_state(self, state: State) -> None:
        """Go back to a saved moment.

        Raises:
            RunError: If the state is of another model.
        """
        load_tensors(state.tensors, self.model, self.ema, self.optimizers, self.names, self.world)
        if self.graphs:
            self.graphs.forget()  # the optimizers have other tensors now
        numbers: Mapping[str, Any] = state.numbers
        self.steps, self.seconds = int(numbers["step"]), float(numbers["seconds"])
        self.selection.load_state(saved_selection(numbers))
        load_listener_states(self.listeners, numbers.get("listeners"))
        terms: Mapping[str, list[float | None]] = numbers.get("terms", {})  # of a report that comes after this moment
        self.sums = {
            name: list(torch.tensor([as_read(value) for value in values], device=self.device))
            for name, values in terms.items()
        }
        self.stop = self.stop or self.selection.reason
        self.emit(Resumed(self.clock, due=numbers.get("due", True)))

    @property
    def over(self) -> bool:
        """Whether no step will be taken any more."""
        return bool(self.stop) or self.clock.images >= self.total_images

    def changed(self, state: State) -> list[str]:
        """Return in words which conditions of a saved state differ from those here."""
        saved: Mapping[str, Any] = state.numbers
        return [
            f"{NAMES.get(key, key)} {value}, was {saved[key]}"
            for key, value in self.conditions().items()
            if saved.get(key, value) != value
        ]
