"""The loop itself, on toy players whose every step can be computed by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from morphospace.data.batches import Batches
from morphospace.data.pack import Split
from morphospace.errors import SettingError, TrainingError
from morphospace.files import json_text
from morphospace.objectives.phase import Phase, Round
from morphospace.objectives.terms import Terms
from morphospace.training.engine import Engine
from morphospace.training.events import Checkpointed, Event, Finished, Progressed, Reported, State, Validated
from morphospace.training.selection import Score
from morphospace.training.settings import TrainingSettings
from tests.conftest import draw_blobs


class Point(nn.Module):
    """One trainable number."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))


@dataclass
class Toy:
    """A trainable whose networks are single numbers."""

    players: dict[str, nn.Module]
    make: Callable[[Toy], list[Round]]
    averaged: tuple[str, ...] = ()
    settings: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(lr=0.1, optimizer="adam", betas=(0.0, 0.0), eps=1e-8, weight_decay=0.0)
    )

    def __post_init__(self) -> None:
        self.networks, self.memory = nn.ModuleDict(self.players), nn.ModuleDict()

    def rounds(self) -> list[Round]:
        return self.make(self)


def engine(toy: Toy, *, batch_size: int = 4, total: int = 64, valid: bool = False, **settings: object) -> Engine:
    split = Split(images=draw_blobs(16, (8, 8, 1)))
    data = Batches(split, batch_size=batch_size, seed=0, signed=False)
    training = TrainingSettings(batch_size=batch_size, **settings)
    return Engine(toy, data, training, total_images=total, valid=data if valid else None)


def value(point: nn.Module) -> float:
    return float(point.value.detach())


def pull(point: Point, scale: float = 1.0) -> Callable[..., Terms]:
    return lambda batch, turn: Terms().add("pull", scale * point.value * torch.ones(len(batch.images)))


def test_orphans_are_named() -> None:
    toy = Toy({"a": Point(), "b": Point()}, lambda t: [Phase("one", (t.players["a"],), pull(t.players["a"]))])
    with pytest.raises(SettingError, match=r"b\.value"):
        engine(toy)


def test_simultaneous_phases_may_not_collide() -> None:
    def rounds(t: Toy) -> list[Round]:
        a = t.players["a"]
        return [(Phase("one", (a,), pull(a)), Phase("two", (a,), pull(a)))]

    with pytest.raises(SettingError, match="simultaneous"):
        engine(Toy({"a": Point()}, rounds))


def test_phase_names_are_unique() -> None:
    def rounds(t: Toy) -> list[Round]:
        a = t.players["a"]
        return [Phase("one", (a,), pull(a)), Phase("one", (a,), pull(a))]

    with pytest.raises(SettingError, match="name of its own"):
        engine(Toy({"a": Point()}, rounds))


def test_a_tuple_takes_all_gradients_before_any_step() -> None:
    """On the game min_a max_b a*b, simultaneous steps see the other's old value and sequential ones the new."""

    def rounds(simultaneous: bool) -> Callable[[Toy], list[Round]]:
        def make(t: Toy) -> list[Round]:
            a, b = t.players["a"], t.players["b"]
            ones = torch.ones(4)
            one = Phase("one", (a,), lambda batch, turn: Terms().add("x", a.value * b.value * ones))
            two = Phase("two", (b,), lambda batch, turn: Terms().add("x", (b.value - a.value) ** 2 * ones))
            return [(one, two)] if simultaneous else [one, two]

        return make

    # With betas of 0, Adam steps by lr * sign(gradient): a goes from 1 to 0.9 as b > 0.
    together = Toy({"a": Point(1.0), "b": Point(1.0)}, rounds(True))
    engine(together).step()
    assert value(together.players["a"]) == pytest.approx(0.9)
    assert value(together.players["b"]) == 1.0  # its gradient 2(b - a) was taken at a = 1
    apart = Toy({"a": Point(1.0), "b": Point(1.0)}, rounds(False))
    engine(apart).step()
    assert value(apart.players["b"]) == pytest.approx(0.9)


def test_turns_and_lazy_phases_and_their_batches() -> None:
    seen: list[tuple[str, int, int]] = []

    def loss(name: str, point: Point) -> Callable[..., Terms]:
        def judged(batch, turn) -> Terms:
            seen.append((name, turn.index, int(batch.rows[0])))
            return Terms().add("x", point.value * torch.ones(4))

        return judged

    def rounds(t: Toy) -> list[Round]:
        a, b, c = t.players.values()
        return [
            Phase("critic", (a,), loss("critic", a), turns=3),
            Phase("generator", (b,), loss("generator", b)),
            Phase("lazy", (c,), loss("lazy", c), every=2),
        ]

    made = engine(Toy({"a": Point(), "b": Point(), "c": Point()}, rounds))
    made.step()
    made.step()
    assert [name for name, _, _ in seen] == ["critic"] * 3 + ["generator", "lazy"] + ["critic"] * 3 + ["generator"]
    rows = [row for name, _, row in seen if name == "critic"]
    assert rows == [int(made.data.batch(i).rows[0]) for i in range(6)]  # a fresh batch each turn
    assert seen[3][2] == rows[0]  # turn 0 of any phase sees the step's first batch
    assert made.clock.images == 2 * 3 * 4


def test_a_lazy_phase_weighs_its_loss_by_how_rarely_it_is_taken() -> None:
    gradients: list[float] = []

    def rounds(t: Toy) -> list[Round]:
        a = t.players["a"]
        a.value.register_hook(lambda g: gradients.append(float(g)))
        return [Phase("lazy", (a,), pull(a), every=4)]

    made = engine(Toy({"a": Point()}, rounds))
    for _ in range(5):
        made.step()
    assert gradients == [4.0, 4.0]


@pytest.mark.parametrize("kind", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("reads", [True, False])
def test_a_loss_that_is_not_finite_stops_before_the_step(reads: bool, kind: str) -> None:
    def rounds(t: Toy) -> list[Round]:
        a = t.players["a"]

        def loss(batch, turn) -> Terms:
            bad = math.nan if turn.clock.step == 2 else 1.0
            return Terms().add("good", a.value * torch.ones(4)).add("bad", a.value * bad * torch.ones(4))

        return [Phase("one", (a,), loss)]

    toy = Toy({"a": Point()}, rounds)
    toy.settings.optimizer = kind
    # The checkpoint is due before the report that would tell; it must not be written.
    made = engine(toy, total=100, report_images=20, checkpoint_images=16)
    events: list[Event] = []
    made.listeners = [events.append]
    made.guard.reads = reads  # False: as on an accelerator, where no number is read at a step
    with pytest.raises(TrainingError, match="one/bad is nan at step"):
        made.run()
    assert value(toy.players["a"]) == pytest.approx(1.0 - 2 * 0.1)
    (report,) = events  # what happened is in the log; nothing was saved
    assert (
        isinstance(report, Reported)
        and math.isnan(report.terms["one/bad"])
        and report.terms["one/good"] == pytest.approx(0.9, abs=0.1)
    )


def root_of_zero(point: Point, at: int) -> Callable[..., Terms]:
    """A loss whose value is finite at every step, and whose gradient is NaN at one."""

    def loss(batch, turn) -> Terms:
        bad = (0 * point.value).sqrt() if turn.clock.step == at else 0.0
        return Terms().add("x", (point.value + bad) * torch.ones(4))

    return loss


@pytest.mark.parametrize("kind", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize(("reads", "simultaneous"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize(("bad", "at"), [("one", 2), ("two", 2), ("two", 4)])
def test_a_gradient_that_is_not_finite_stops_before_the_step(
    bad: str, at: int, reads: bool, simultaneous: bool, clip: float, kind: str
) -> None:
    def rounds(t: Toy) -> list[Round]:
        phases = [
            Phase(name, (t.players[name],), root_of_zero(t.players[name], at if name == bad else -1))
            for name in ("one", "two")
        ]
        return [tuple(phases)] if simultaneous else phases

    toy = Toy({"one": Point(), "two": Point()}, rounds)
    toy.settings.optimizer, toy.settings.betas = kind, (0.5, 0.9)
    made = engine(toy, total=20, clip=clip, report_images=20, checkpoint_images=20)  # at 4, the step is the last one
    made.guard.reads = reads
    events: list[Event] = []
    made.listeners = [events.append]
    with pytest.raises(TrainingError, match=f"{bad}/gradient_norm is nan at step"):
        made.run()
    (report,) = events
    assert isinstance(report, Reported) and math.isnan(report.terms[f"{bad}/gradient_norm"])
    assert math.isfinite(report.terms[f"{bad}/loss"])
    assert math.isfinite(value(toy.players[bad])) and value(toy.players[bad]) < 1.0  # earlier steps were taken
    assert all(t.isfinite().all() for t in made.state().tensors["optimizer"].values())
    assert made.norms == {}  # a report begins anew


def test_a_gradient_whose_square_overflows_stops_too() -> None:
    """Adam would keep its infinite square, and the parameter would never move again."""

    def rounds(t: Toy) -> list[Round]:
        return [Phase("one", (t.players["a"],), pull(t.players["a"], 1e25))]

    with pytest.raises(TrainingError, match=r"one/gradient_norm is .*e\+24 at step 0"):
        engine(Toy({"a": Point(1e-20)}, rounds)).run()
    engine(Toy({"a": Point(1e-20)}, rounds), clip=1.0).run()  # clipped, it has the length asked for


@pytest.mark.parametrize("where", ["model", "ema", "optimizer", "statistics"])
def test_a_value_that_is_not_finite_is_never_saved(where: str) -> None:
    """Whatever put it there; a mask of the user's own may hold infinity."""
    network = nn.Sequential(nn.BatchNorm1d(1), Point())
    network.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    def rounds(t: Toy) -> list[Round]:
        return [Phase("one", (network,), pull(network[1]))]

    toy = Toy({"a": network}, rounds, averaged=("a",))
    split = Split(images=draw_blobs(16, (8, 8, 1)))
    data = Batches(split, batch_size=4, seed=0, signed=False)
    made = Engine(toy, data, TrainingSettings(batch_size=4), total_images=8, ema_halflife_images=8)
    saved: list[Event] = []
    made.listeners = [lambda event: saved.append(event) if isinstance(event, Checkpointed) else None]
    made.run()
    assert len(saved) == 2
    made.total_images = 12
    step = made.step

    def spoils() -> None:
        step()
        optimizer = made.optimizers["one"].state[network[1].value]
        assert made.ema is not None
        held = {"model": network[1].value, "ema": made.ema.shadow["a"][1].value, "optimizer": optimizer["exp_avg_sq"]}
        held["statistics"] = network[0].running_var
        with torch.no_grad():
            held[where].fill_(math.nan if where == "ema" else math.inf)

    made.step = spoils
    with pytest.raises(TrainingError, match=r"(model|ema|optimizer)/.* is not finite after step 3"):
        made.run()
    assert len(saved) == 2


def test_a_report_between_two_checkpoints_is_the_same_after_a_resume() -> None:
    """A checkpoint keeps what the next report is the mean of, and a signal's own report takes nothing from it."""

    def rounds(t: Toy) -> list[Round]:
        return [Phase("one", (t.players["a"],), pull(t.players["a"]))]

    def trained(stop_at: int | None) -> tuple[list[Reported], Engine]:
        made = engine(Toy({"a": Point()}, rounds), total=48, report_images=24, checkpoint_images=16)
        reports: list[Reported] = []

        def listen(event: Event) -> None:
            if isinstance(event, Reported):
                reports.append(event)

        made.listeners = [listen]
        if stop_at is not None:
            step = made.step

            def stops() -> None:
                step()
                made.stop = "SIGTERM" if made.steps == stop_at else ""

            made.step = stops
            made.run()
        return reports, made

    straight, whole = trained(None)
    whole.run()
    for stop_at in (1, 3, 4, 7, 11):
        first, stopped = trained(stop_at)
        assert [report.due for report in first] == [True] * (stop_at // 6) + [False]
        state = stopped.state(due=False)
        again, resumed = trained(None)
        resumed.load_state(State(state.tensors, json.loads(json_text(state.numbers))))
        resumed.run()
        both = [report.terms for report in [*first, *again] if report.due]
        assert both == [report.terms for report in straight]


def test_a_state_from_before_there_were_metrics_keeps_its_best_loss() -> None:
    """What an older version saved of the best: a number, `best`."""

    def rounds(t: Toy) -> list[Round]:
        return [Phase("one", (t.players["a"],), pull(t.players["a"]))]

    made = engine(Toy({"a": Point()}, rounds))
    made.step()
    state = made.state()
    numbers = {key: value for key, value in state.numbers.items() if key != "selection"}
    for best, known in ((2.5, (2.5, 4)), (None, None)):
        made.load_state(State(state.tensors, {**numbers, "best": best}))
        assert made.selection.best == known
    assert made.selection.take({"loss": Score(1.0)}, 8) and not made.selection.take({"loss": Score(1.5)}, 12)


def test_learning_rate_clipping_and_their_schedules() -> None:
    from morphospace.objectives.clock import Clock
    from morphospace.training.optim import learning_rate

    def rate(images: int, schedule: str = "cosine") -> float:
        return learning_rate(1.0, Clock(0, images, 0), schedule=schedule, warmup_images=100, total_images=1100)

    assert rate(49) == pytest.approx(0.5)
    assert rate(100) == pytest.approx(1.0)
    assert rate(600) == pytest.approx(0.5)
    assert rate(1100) == pytest.approx(0.0, abs=1e-12)
    assert rate(1100, "constant") == 1.0
    assert [rate(at, "trapezoid") for at in (49, 100, 880, 990, 1100)] == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])

    norms: list[float] = []

    def rounds(t: Toy) -> list[Round]:
        return [Phase("one", (t.players["a"],), pull(t.players["a"], 100.0))]

    made = engine(Toy({"a": Point()}, rounds), clip=2.0, total=4)
    made.listeners.append(lambda e: norms.append(e.terms["one/gradient_norm"]) if isinstance(e, Reported) else None)
    made.run()
    assert norms == [100.0]
    made = engine(Toy({"a": Point()}, rounds), total=4)  # not clipped, but looked at in the first step
    made.listeners.append(lambda e: norms.append(e.terms["one/gradient_norm"]) if isinstance(e, Reported) else None)
    made.run()
    assert norms == [100.0, 100.0]


def test_the_average_halves_its_distance_in_a_halflife() -> None:
    from morphospace.training.ema import Ema

    networks = nn.ModuleDict({"a": Point(0.0)})
    ema = Ema(networks, ("a",), halflife_images=1000)
    with torch.no_grad():
        networks["a"].value.fill_(1.0)
    for _ in range(10):
        ema.update(images=10**9, batch_images=100)
    assert value(ema.shadow["a"]) == pytest.approx(0.5)
    assert ema.decay(images=0, batch_images=8) == 0.0
    assert ema.decay(images=200, batch_images=10) == pytest.approx(0.5)  # a twentieth of 200 is the half-life
    with ema.swapped():
        assert value(networks["a"]) == pytest.approx(0.5)
    assert value(networks["a"]) == 1.0


def test_a_run_that_began_without_averages_begins_them_where_its_weights_are() -> None:
    def rounds(t: Toy) -> list[Round]:
        return [Phase("one", (t.players["a"],), pull(t.players["a"]))]

    before = engine(Toy({"a": Point(7.0)}, rounds), total=8)
    before.step()
    split = Split(images=draw_blobs(16, (8, 8, 1)))
    data = Batches(split, batch_size=4, seed=0, signed=False)
    toy = Toy({"a": Point(0.0)}, rounds, averaged=("a",))
    after = Engine(toy, data, TrainingSettings(batch_size=4), total_images=8, ema_halflife_images=8)
    after.load_state(before.state())
    assert after.ema is not None and value(after.ema.shadow["a"]) == value(before.model.networks["a"]) != 0.0


def test_the_average_has_the_average_statistics_and_the_last_of_everything_else() -> None:
    """Statistics that swing around 0.5 with the weights are kept at 0.5; a spectral norm's vectors are the newest."""
    from morphospace.training.ema import Ema

    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
    networks = nn.ModuleDict({"a": nn.Sequential(nn.BatchNorm1d(3), layer)})
    ema = Ema(networks, ("a",), halflife_images=1000)
    norm = networks["a"][0]
    for step in range(400):
        norm.running_mean.fill_(step % 2)
        norm.running_var.fill_(2.0 + step % 2)
        norm.num_batches_tracked += 1
        networks["a"](torch.randn(4, 3))
        norm.running_mean.fill_(step % 2)
        norm.running_var.fill_(2.0 + step % 2)
        ema.update(images=10**9, batch_images=100)
    kept = ema.shadow["a"]
    assert kept[0].running_mean.tolist() == pytest.approx([0.5] * 3, abs=0.05)
    assert kept[0].running_var.tolist() == pytest.approx([2.5] * 3, abs=0.05)
    assert int(kept[0].num_batches_tracked) == int(norm.num_batches_tracked)
    power = kept[1].parametrizations.weight[0]
    assert torch.equal(power._u, layer.parametrizations.weight[0]._u)
    with ema.swapped():
        assert norm.running_mean.tolist() == pytest.approx([0.5] * 3, abs=0.05)
    assert norm.running_mean.tolist() == [1.0] * 3


def test_events_come_in_order_and_the_best_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphospace.training.engine.PROGRESS_SECONDS", math.inf)
    events: list[Event] = []

    def rounds(t: Toy) -> list[Round]:
        a = t.players["a"]
        square: Callable[..., Terms] = lambda batch, turn: Terms().add("x", a.value**2 * torch.ones(len(batch.images)))  # noqa: E731
        return [Phase("one", (a,), square, validates=True)]

    made = engine(Toy({"a": Point()}, rounds), total=64, valid=True, report_images=16, checkpoint_images=32)
    made.listeners.append(events.append)
    made.run()
    kinds = [type(event) for event in events]
    assert kinds == [Reported, Reported, Validated, Checkpointed, Reported, Reported, Validated, Checkpointed, Finished]
    assert [e.best for e in events if isinstance(e, Checkpointed)] == [True, True]
    assert [e.clock.images for e in events if isinstance(e, Reported)] == [16, 32, 48, 64]


@pytest.mark.parametrize("raw", [False, True])
def test_judging_is_in_evaluation_mode_and_goes_back_to_training(raw: bool) -> None:
    def rounds(t: Toy) -> list[Round]:
        a = t.players["a"]
        return [Phase("one", (a,), lambda batch, turn: Terms().add("x", a.value**2 * torch.ones(len(batch.images))))]

    made = engine(Toy({"a": Point()}, rounds, averaged=("a",)), report_images=16)
    networks = made.model.networks.train()
    with made.judging(raw=raw):
        assert not any(part.training for part in networks.modules()) and not torch.is_grad_enabled()
    assert all(part.training for part in networks.modules()) and torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), made.judging(raw=raw):
        _ = 1 / 0
    assert all(part.training for part in networks.modules())


def test_between_reports_there_are_signs_of_life_and_they_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def events_at(pause: float) -> list[Event]:
        monkeypatch.setattr("morphospace.training.engine.PROGRESS_SECONDS", pause)
        events: list[Event] = []
        toy = Toy({"a": Point()}, lambda t: [Phase("one", (t.players["a"],), pull(t.players["a"]))])
        made = engine(toy, total=32, report_images=16)
        made.listeners.append(events.append)
        made.run()
        return events

    often, never = events_at(0.0), events_at(math.inf)
    assert [e.clock.images for e in often if isinstance(e, Progressed)] == [4, 8, 12, 20, 24, 28]
    seconds = [e.seconds for e in often if isinstance(e, Progressed) and e.total_images == 32]
    assert len(seconds) == 6 and seconds == sorted(seconds) and seconds[0] > 0
    assert not any(isinstance(e, Progressed) for e in never)
    assert [e.terms for e in often if isinstance(e, Reported)] == [e.terms for e in never if isinstance(e, Reported)]


def test_training_time_leaves_out_what_listeners_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]  # a clock that only a step and a listener move
    monkeypatch.setattr("morphospace.training.engine.time.perf_counter", lambda: now[0])
    reported: list[Reported] = []

    def slow(event: Event) -> None:
        now[0] += 1000.0
        if isinstance(event, Reported):
            reported.append(event)

    def rounds(t: Toy) -> list[Round]:
        def loss(batch, turn) -> Terms:
            now[0] += 1.0
            return pull(t.players["a"])(batch, turn)

        return [Phase("one", (t.players["a"],), loss)]

    # Checkpoints fall between reports: the time before them must count, the time in them must not.
    made = engine(Toy({"a": Point()}, rounds), total=64, report_images=32, checkpoint_images=12)
    made.listeners.append(slow)
    made.run()
    assert [event.seconds for event in reported] == [8.0, 16.0]
    assert [event.rate for event in reported] == [4.0, 4.0]  # images/s: four a step, a second each


def test_noise_is_drawn_for_all_processes_and_sliced() -> None:
    from morphospace.training.distributed import World
    from morphospace.training.turn import Noise

    drawn: list[Tensor] = []
    for rank, size in ((0, 1), (0, 2), (1, 2)):
        made = engine(Toy({"a": Point()}, lambda t: [Phase("one", (t.players["a"],), pull(t.players["a"]))]))
        made.noise = Noise(0, torch.device("cpu"), torch.float32, World(rank, size))
        turn = made.turn("one")
        turn.seed("one")
        drawn.append(turn.normal(4 // size, 3))
    assert torch.equal(drawn[0], torch.cat(drawn[1:]))
