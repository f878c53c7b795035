"""The one training loop.

A model hands over its players' turns as data (`objectives.phase`); nothing here knows what a VAE or a GAN is.
What a reader should know:

- Gradients are taken of what a turn learns, and of nothing else (`backward(inputs=...)`). The generator thus
  learns *through* the critic, which stays as it is. Nobody's `requires_grad` is touched.
- Batch-norm buffers of a player at rest still move on each forward pass in training mode, as in the published loops.
  Among several processes batch norm is synchronised.
- Turns are sequential, each seeing what the one before did, unless in a tuple: then all gradients come before
  all steps.
- What is drawn depends only on (seed, step, phase, turn), the data's order only on (seed, epoch); no random
  state and no cursor is saved, and a resumed run is the same run, byte for byte.
- Every trainable parameter belongs to some phase; construction fails naming the orphan.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch, Batches
from morphospace.objectives.clock import Clock
from morphospace.objectives.phase import Phase, Trainable
from morphospace.objectives.terms import Terms
from morphospace.randomness import stream
from morphospace.training.distributed import World
from morphospace.training.ema import Ema
from morphospace.training.events import (
    Checkpointed,
    Event,
    Finished,
    Listener,
    Progressed,
    Reported,
    Resumed,
    Scored,
    State,
)
from morphospace.training.guard import Guard, not_finite
from morphospace.training.optim import learning_rate
from morphospace.training.players import check_phases, optimizers_for, parameters_of
from morphospace.training.precision import autocast
from morphospace.training.selection import LOSS, Score, Selection
from morphospace.training.settings import TrainingSettings
from morphospace.training.snapshot import restore, state_of
from morphospace.training.turn import EngineTurn
from morphospace.training.validation import validated

PROGRESS_SECONDS = 1.0  # between two signs of life; a slow model may be minutes from its first report
NORM_STEPS = 16  # between two looks at a gradient's norm, so that a small model does not pay for it


class Engine:
    """Trains a model's phases on batches.

    Args:
        model: Networks and phases; its networks are on their device already.
        data: Training batches.
        settings: Lengths, seed, schedule, clipping, averaging.
        total_images: Where the run ends.
        valid: Held-out images, judged by the phases that validate.
        precision: `fp32` or `bf16`.
        world: This process among others.
        ema_halflife_images: Half-life of the weights' moving average, 0 for none.
        listeners: Called with every event, in order.

    Attributes:
        selection: Which checkpoint is the best; by the loss on held-out images unless another is put here.
        scorer: Scores the model as it stands, where `settings.metrics` say when; must leave it as it was.
        stop: Why to end after the step at hand; empty to go on.

    Raises:
        SettingError: A parameter belongs to no phase, a name is taken twice, or simultaneous phases share a parameter.
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
        self.world = world or World()
        self.world.synchronise(model.networks)
        self.precision, self.total_images, self.listeners = precision, total_images, list(listeners)
        first = next(model.networks.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.rounds = [r if isinstance(r, tuple) else (r,) for r in model.rounds()]
        self.phases = [phase for phases in self.rounds for phase in phases]
        self.turns = max(phase.turns for phase in self.phases)
        self.names = {parameter: name for name, parameter in model.networks.named_parameters()}
        self.learned = {phase.name: parameters_of(phase.learns) for phase in self.phases}
        check_phases(self.rounds, self.learned, self.names)
        self.optimizers = optimizers_for(self.phases, self.learned, model.settings)
        self.ema: Ema | None = None
        if ema_halflife_images and model.averaged:
            self.ema = Ema(model.networks, model.averaged, ema_halflife_images)
        self.steps, self.seconds = 0, 0.0
        self.selection = Selection(patience=settings.patience, delta=settings.min_delta)
        self.scorer: Callable[[], Mapping[str, Score]] | None = None
        self.memo: dict[str, tuple[object, frozenset[nn.Module]]] = {}
        self.sums: dict[str, list[Tensor]] = {}
        self.stop = ""
        self.guard = Guard(self.device)

    # -- one step --------------------------------------------------------------------------------------------

    @property
    def images_per_step(self) -> int:
        """Real images that a step draws, over all processes."""
        return self.turns * self.data.batch_size

    @property
    def clock(self) -> Clock:
        """Where training stands."""
        images = self.steps * self.images_per_step
        return Clock(self.steps, images, images / self.data.images, self.data.images)

    def seed(self, *purpose: int | str) -> None:
        """Start the stream of random numbers that `purpose` names."""
        seed = stream(self.settings.seed, *purpose)
        # Not torch.manual_seed: it formats a stack trace for its lazy CUDA calls, 0.1 ms and more.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(seed)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context that losses are computed in."""
        return autocast(self.device, self.precision)

    def step(self) -> None:
        """Take every due phase's turns once."""
        clock, self.memo = self.clock, {}
        for phases in self.rounds:
            due = [phase for phase in phases if clock.step % phase.every == 0]
            for index in range(max((phase.turns for phase in due), default=0)):
                batch = self.data.batch(clock.step * self.turns + index)
                self.play([phase for phase in due if index < phase.turns], batch, clock, index)
        self.memo = {}
        self.world.average([b for b in self.model.networks.buffers() if b.is_floating_point()])
        self.steps += 1
        if self.ema:
            self.ema.update(self.clock.images, self.images_per_step)

    def play(self, phases: Sequence[Phase], batch: Batch, clock: Clock, index: int) -> None:
        """Let phases take one turn on a batch: all gradients first, then all steps."""
        played: list[tuple[Phase, EngineTurn]] = []
        for phase in phases:
            turn = EngineTurn(self, clock, phase.name, index, training=True)
            turn.seed(phase.name)
            with self.autocast():
                terms = phase.loss(batch, turn)
            loss = terms.total()
            self.log(phase.name, terms, loss)
            if not self.guard.passes(loss, self.optimizers[phase.optimizer or phase.name]):
                self.refuse()
            # Phases of a tuple may share a forward pass, whose graph the last of them may free.
            retain = bool(self.memo) and phase is not phases[-1]
            (loss * phase.every).backward(inputs=self.learned[phase.name], retain_graph=retain)
            played.append((phase, turn))
        for phase, turn in played:
            self.update(phase, clock)
            if phase.after:
                with self.autocast():
                    phase.after(batch, turn)

    def update(self, phase: Phase, clock: Clock) -> None:
        """Move what a phase learns by its gradients."""
        learned, name, s = self.learned[phase.name], phase.optimizer or phase.name, self.settings
        gradients = [p.grad for p in learned if p.grad is not None]
        self.world.average(gradients)
        if s.clip or clock.step % NORM_STEPS == 0:
            norm = nn.utils.get_total_norm(gradients, foreach=True)
            if s.clip:
                nn.utils.clip_grads_with_norm_(learned, s.clip, norm, foreach=True)
            self.sums.setdefault(f"{phase.name}/gradient_norm", []).append(norm.detach())
        optimizer = self.optimizers[name]
        rate = learning_rate(
            optimizer.defaults["lr"],
            clock,
            schedule=s.schedule,
            warmup_images=s.warmup_images,
            total_images=self.total_images,
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # Fused optimizers do not bump tensor versions, so that autograd would take a stale graph for a fresh one.
        torch.autograd.graph.increment_version(learned)
        moved = set(phase.learns)
        self.memo = {key: made for key, made in self.memo.items() if not made[1] & moved}

    def log(self, phase: str, terms: Terms, loss: Tensor) -> None:
        """Keep a turn's means, unread, for the next report."""
        for name, mean in terms.means.items():
            self.sums.setdefault(f"{phase}/{name}", []).append(mean)
        self.sums.setdefault(f"{phase}/loss", []).append(loss.detach())

    # -- a run -----------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Train to the end, reporting, validating, scoring and checkpointing on the way; return why it ended early."""
        s = self.settings
        report, checkpoint = s.pauses(self.total_images, self.data.images)
        scores = (s.metrics_every_images or checkpoint) if s.scores else 0
        self.model.networks.train()
        spent, since = 0.0, self.clock.images  # of the stretch since the last report; saving and judging left out
        told = time.monotonic()
        stopping = self.world.any(bool(self.stop))  # a listener may have asked for it when the run was taken up
        while self.clock.images < self.total_images and not stopping:
            before, began = self.clock.images, time.perf_counter()
            self.step()
            # Asked once a step: a signal that comes while a checkpoint is written ends the next step, with its own.
            stopping = self.world.any(bool(self.stop))
            now, done = self.clock.images, self.clock.images >= self.total_images
            spent += time.perf_counter() - began
            reporting = done or before // report != now // report
            if stopping or reporting:
                self.seconds += spent
                self.report((now - since) / spent, due=reporting)
                spent, since, told = 0.0, now, time.monotonic()
            elif time.monotonic() - told >= PROGRESS_SECONDS:
                self.emit(Progressed(self.clock, (now - since) / spent, self.total_images))
                told = time.monotonic()
            scoring = scores > 0 and (done or before // scores != now // scores)
            due = scoring or done or before // checkpoint != now // checkpoint
            if due or stopping:
                self.checkpoint(spent, due=due, scoring=scoring)
                # Patience ends a run at once: one that is killed here and taken up again ends here too.
                stopping = stopping or self.world.any(bool(self.selection.reason))
        if spent:
            self.seconds += spent
            self.report((self.clock.images - since) / spent)
        ended = self.stop
        self.emit(Finished(self.clock, ended))
        return ended

    def emit(self, event: Event) -> None:
        """Tell every listener."""
        for listener in self.listeners:
            listener(event)

    def report(self, rate: float, *, due: bool = True) -> None:
        """Read the numbers of the stretch that ends here, and tell them."""
        if not self.guard.clean():
            self.refuse()
        self.tell(rate, due=due)

    def refuse(self) -> NoReturn:
        """Stop at a loss that is not finite; who reads the log afterwards is to find it there."""
        error = not_finite(self.sums, self.clock)
        self.tell(self.clock.images / self.seconds if self.seconds else 0.0)
        raise error

    def tell(self, rate: float, *, due: bool = True) -> None:
        """Tell the means of the numbers kept since the last report."""
        terms = {name: float(torch.stack(values).float().mean()) for name, values in self.sums.items()}
        self.sums = {}
        self.emit(Reported(self.clock, self.seconds, rate, terms, self.total_images, due))

    def checkpoint(self, spent: float, *, due: bool, scoring: bool) -> None:
        """Judge the model, then tell that it is time to save.

        Args:
            spent: Seconds of training that are not reported yet.
            due: Whether the moment follows from the settings, and not from a signal.
            scoring: Whether the scorer is asked.
        """
        if not self.guard.clean():
            self.refuse()
        best = False
        if self.world.leads:
            scores: dict[str, Score] = {}
            if judged := validated(self):
                self.emit(judged)
                scores[LOSS] = Score(judged.loss)
            if scoring and (scored := self.scored()):
                self.emit(scored)
                scores |= scored.scores
            best = self.selection.take(scores, self.clock.images, due=due)
            self.stop = self.stop or self.selection.reason
        self.emit(Checkpointed(self.clock, self.state(spent), best))
        self.world.wait()

    def scored(self) -> Scored | None:
        """Ask the scorer, if there is one."""
        if self.scorer is None:
            return None
        began = time.perf_counter()
        scores = self.scorer()
        return Scored(self.clock, scores, time.perf_counter() - began)

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

    def state(self, spent: float = 0.0) -> State:
        """Return all that exact resume needs; the tensors are the live ones, not copies."""
        return state_of(self, spent)

    def load_state(self, state: State) -> None:
        """Go back to a saved moment.

        Raises:
            RunError: The state is of another model.
        """
        restore(self, state)
        self.stop = self.stop or self.selection.reason
        self.emit(Resumed(self.clock))
