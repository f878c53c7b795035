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
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch, Batches
from morphospace.errors import SettingError, TrainingError
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
    Reported,
    Resumed,
    State,
    Validated,
    remembered,
    reminded,
)
from morphospace.training.optim import learning_rate, load_optimizer_state, make_optimizer, optimizer_state
from morphospace.training.precision import autocast
from morphospace.training.settings import TrainingSettings
from morphospace.training.turn import EngineTurn
from morphospace.training.weights import load_weights

__all__ = ["Engine"]


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
        self.learned = {phase.name: _parameters(phase.learns) for phase in self.phases}
        self.check_phases()
        self.optimizers = self.make_optimizers()
        self.ema: Ema | None = None
        if ema_halflife_images and model.averaged:
            self.ema = Ema(model.networks, model.averaged, ema_halflife_images)
        self.steps, self.seconds, self.best = 0, 0.0, math.inf
        self.memo: dict[str, tuple[object, frozenset[nn.Module]]] = {}
        self.sums: dict[str, list[Tensor]] = {}
        self.stop = ""
        self.reads_every_step = self.device.type == "cpu"
        self.found_inf = torch.zeros((), device=self.device)

    # -- set-up ----------------------------------------------------------------------------------------------

    def check_phases(self) -> None:
        """Refuse phases that leave a parameter out, share a name, or collide while simultaneous."""
        if len(self.learned) != len(self.phases):
            raise SettingError(f"phases = {[p.name for p in self.phases]}: every phase needs a name of its own")
        taught = {p for learned in self.learned.values() for p in learned}
        for parameter, name in self.names.items():
            if parameter.requires_grad and parameter not in taught:
                raise SettingError(f"phases: no phase learns the parameter {name!r}; add its module to a `learns`")
        for phases in self.rounds:
            several = [p for phase in phases for p in self.learned[phase.name]]
            if len(several) != len(set(several)):
                names = [phase.name for phase in phases]
                raise SettingError(f"phases = {names}: simultaneous phases must not learn the same parameter")

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Build one optimizer for each name that phases give, over the union of what they learn."""
        s = self.model.settings
        groups: dict[str, dict[nn.Parameter, None]] = {}
        self.base_lr: dict[str, float] = {}
        for phase in self.phases:
            name = phase.optimizer or phase.name
            groups.setdefault(name, {}).update(dict.fromkeys(self.learned[phase.name]))
            self.base_lr[name] = phase.lr or s.lr  # type: ignore[attr-defined]
        return {
            name: make_optimizer(list(group), s.optimizer, self.base_lr[name], s.betas, s.weight_decay)  # type: ignore[attr-defined]
            for name, group in groups.items()
        }

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
            self.guard(phase, loss, clock)
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
        self.world.average([p.grad for p in learned if p.grad is not None])
        if s.clip:
            norm = nn.utils.clip_grad_norm_(learned, s.clip, foreach=True)
            self.sums.setdefault(f"{phase.name}/gradient_norm", []).append(norm.detach())
        optimizer = self.optimizers[name]
        rate = learning_rate(
            self.base_lr[name],
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

    def guard(self, phase: Phase, loss: Tensor, clock: Clock) -> None:
        """Stop before the step where a loss is not finite.

        Reading a number from an accelerator would make each step wait for it. There a flag stays on the device, the
        fused optimizers skip every step from then on, and the next report raises.
        """
        if self.reads_every_step:
            if not math.isfinite(loss.item()):
                self.refuse_non_finite(clock)
            return
        self.found_inf = torch.maximum(self.found_inf, (~torch.isfinite(loss)).float())
        self.optimizers[phase.optimizer or phase.name].found_inf = self.found_inf  # type: ignore[attr-defined]

    def refuse_non_finite(self, clock: Clock) -> None:
        """Raise with the name of the term that was the first not to be finite."""
        bad = {name: (~torch.isfinite(torch.stack(values))).nonzero() for name, values in self.sums.items()}
        # A player's loss is named only where none of its terms is to blame.
        guilty = sorted((int(at[0]), name.endswith("/loss"), name) for name, at in bad.items() if len(at))
        index, _, name = guilty[0]
        raise TrainingError(
            f"{name} is {float(self.sums[name][index])} at step {clock.step} (image {clock.images}): stopped before "
            "the update, the last checkpoint is as it was; try a lower --lr, --clip 1 or --precision fp32"
        )

    def log(self, phase: str, terms: Terms, loss: Tensor) -> None:
        """Keep a turn's means, unread, for the next report."""
        for name, mean in terms.means.items():
            self.sums.setdefault(f"{phase}/{name}", []).append(mean)
        self.sums.setdefault(f"{phase}/loss", []).append(loss.detach())

    # -- a run -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the end, reporting, validating and checkpointing on the way."""
        s = self.settings
        report = s.report_images or max(1, self.total_images // 100)
        checkpoint = s.checkpoint_images or max(1, self.total_images // 10)
        self.model.networks.train()
        spent, since = 0.0, self.clock.images  # of the stretch since the last report; saving and judging left out
        stopping = self.world.any(bool(self.stop))  # a listener may have asked for it when the run was taken up
        while self.clock.images < self.total_images and not stopping:
            before, began = self.clock.images, time.perf_counter()
            self.step()
            # Asked once a step: a signal that comes while a checkpoint is written ends the next step, with its own.
            stopping = self.world.any(bool(self.stop))
            now, ends = self.clock.images, stopping or self.clock.images >= self.total_images
            spent += time.perf_counter() - began
            if ends or before // report != now // report:
                self.seconds += spent
                self.report((now - since) / spent)
                spent, since = 0.0, now
            if ends or before // checkpoint != now // checkpoint:
                self.checkpoint(spent)
        self.emit(Finished(self.clock, self.stop))

    def emit(self, event: Event) -> None:
        """Tell every listener."""
        for listener in self.listeners:
            listener(event)

    def report(self, rate: float) -> None:
        """Read the numbers of the stretch that ends here, and tell them."""
        if not self.reads_every_step and self.found_inf:
            self.refuse_non_finite(self.clock)
        terms = {name: float(torch.stack(values).float().mean()) for name, values in self.sums.items()}
        self.sums = {}
        self.emit(Reported(self.clock, self.seconds, rate, terms, self.total_images))

    def checkpoint(self, spent: float) -> None:
        """Judge the held-out images, then tell that it is time to save; `spent` seconds are not reported yet."""
        best = False
        if self.valid is not None and self.world.leads and (judged := self.validate()):
            self.emit(judged)
            best = judged.loss < self.best
            self.best = min(self.best, judged.loss)
        self.emit(Checkpointed(self.clock, self.state(spent), best))
        self.world.wait()

    @contextlib.contextmanager
    def judging(self) -> Iterator[None]:
        """Put the networks into evaluation mode, with the averaged weights where there are any."""
        self.model.networks.eval()
        with self.ema.swapped() if self.ema else contextlib.nullcontext(), torch.no_grad():
            yield
        self.model.networks.train()

    def validate(self) -> Validated | None:
        """Judge the held-out images by the training objective, with the averaged weights where there are any."""
        judging = [phase for phase in self.phases if phase.validates]
        if not judging or self.valid is None:
            return None
        with self.judging():
            totals, loss, count = self.judged(judging, self.valid.sequential())
        return Validated(self.clock, {name: value / count for name, value in totals.items()}, loss / count)

    def judged(self, phases: Sequence[Phase], batches: Iterator[Batch]) -> tuple[dict[str, float], float, int]:
        """Sum every term over batches, weighted by their sizes."""
        totals: dict[str, float] = {}
        loss, count, clock = 0.0, 0, self.clock
        for index, batch in enumerate(batches):
            size = len(batch.images)
            for phase in phases:
                turn = EngineTurn(self, clock, phase.name, index, training=False)
                turn.seed(f"{phase.name}/validation")
                with self.autocast():
                    terms = phase.loss(batch, turn)
                loss += float(terms.total()) * size
                for name, mean in terms.means.items():
                    key = f"{phase.name}/{name}"
                    totals[key] = totals.get(key, 0.0) + float(mean) * size
            count += size
        return totals, loss, count

    # -- state -----------------------------------------------------------------------------------------------

    def state(self, spent: float = 0.0) -> State:
        """Return all that exact resume needs; the tensors are the live ones, not copies."""
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.networks.state_dict(),
            "optimizer": {
                f"{name}/{key}": value
                for name, optimizer in self.optimizers.items()
                for key, value in optimizer_state(optimizer, self.names).items()
            },
        }
        if self.ema:
            tensors["ema"] = self.ema.shadow.state_dict()
        if memory := self.model.memory.state_dict():
            # What each process replays are its own fakes: a file each, the leading one's name without a number.
            tensors |= {f"memory-{rank}" if rank else "memory": m for rank, m in enumerate(self.world.gathered(memory))}
        numbers = {
            "step": self.steps,
            "images": self.clock.images,
            "epoch": self.clock.epoch,
            "seconds": self.seconds + spent,
            "best": self.best if math.isfinite(self.best) else None,
            "world": self.world.size,
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "torch": torch.__version__,
            "listeners": remembered(self.listeners),
        }
        return State(tensors, numbers)

    def load_state(self, state: State) -> None:
        """Go back to a saved moment.

        Raises:
            RunError: The state is of another model.
        """
        load_weights(self.model.networks, state.tensors["model"], "model")
        if self.ema:
            load_weights(self.ema.shadow, state.tensors["ema"], "ema")
        leading = state.tensors.get("memory", {})  # also for a process that was not there before
        load_weights(self.model.memory, state.tensors.get(f"memory-{self.world.rank}", leading), "memory")
        for name, optimizer in self.optimizers.items():
            mine = {
                k.removeprefix(f"{name}/"): v for k, v in state.tensors["optimizer"].items() if k.startswith(f"{name}/")
            }
            load_optimizer_state(optimizer, self.names, mine)
        numbers = state.numbers
        self.steps, self.seconds = int(numbers["step"]), float(numbers["seconds"])  # type: ignore[call-overload, arg-type]
        best = numbers.get("best")
        self.best = math.inf if best is None else float(best)  # type: ignore[arg-type]
        reminded(self.listeners, numbers.get("listeners"))
        self.emit(Resumed(self.clock))


def _parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Return the trainable parameters of modules, each once, in order."""
    return list(dict.fromkeys(p for module in modules for p in module.parameters() if p.requires_grad))
