"""One training run of the Play room: a model, the library's engine, and the frames that show it.

Whatever is drawn or counted has random streams of its own and touches no weight, buffer or state, so a run that is
watched ends with the same weights as one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import TrainingError
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Encodes, Scores, seeded_noise
from morphospace.models.layers import pack
from morphospace.objectives.phase import Phase, Trainable
from morphospace.randomness import stream
from morphospace.studio.live import plane
from morphospace.studio.live.frames import packed, rounded
from morphospace.studio.live.images import Images
from morphospace.studio.live.plane import Mixture, Points
from morphospace.studio.live.settings import Chosen, Ground
from morphospace.training.engine import Engine
from morphospace.training.settings import TrainingSettings

Player = Literal["critic", "generator"]
POINTS, MAP, ARROWS = 512, 48, 48  # samples drawn, judgements a side, and samples whose push is drawn
MEASURED: dict[Ground, int] = {"plane": 1000, "images": 128}  # samples of fresh noise that are counted
ENDLESS = 10**15  # images; a page says when a run ends
CRITIC = ("critic", "penalty")  # phases that are the critic's turn; all others are the generator's


class Run:
    """A model that trains step by step, or turn by turn.

    Args:
        chosen: What to train.
        images: How many samples are drawn, of images.
        levels: Levels of their values.

    Attributes:
        steps: Steps completed.
        failed: Why training broke down; empty if it did not.

    Raises:
        SettingError: If these settings make no model.
    """

    def __init__(self, chosen: Chosen, *, images: int = 64, levels: int = 256) -> None:
        self.chosen, self.levels = chosen, levels
        self.mixture = mixture_of(chosen) if chosen.ground == "plane" else None
        self.images = Images(chosen.data) if chosen.ground == "images" else None
        shape = (1, 1, 2) if self.images is None else self.images.shape
        torch.manual_seed(stream(chosen.seed, "weights"))
        self.model: Any = chosen.model.build(shape, None, self._conditioning())
        training = TrainingSettings(batch_size=chosen.batch, seed=chosen.seed, device="cpu", precision="fp32")
        self.engine = Engine(cast(Trainable, self.model), self._batches(), training, total_images=ENDLESS)
        self.model.networks.train()
        self.failed = ""
        self.last: Player | None = None
        self._left: list[tuple[list[Phase], int]] = []  # turns of a step that was begun turn by turn
        self._extra = 0  # turns that belonged to no step
        self._codes = seeded_noise(
            POINTS if self.mixture else images, self.model.latent_dim, stream(chosen.seed, "codes")
        )
        self._places = places(MAP)
        self._looks = 0
        self._losses: dict[Player, Tensor] = {}

    def _conditioning(self) -> Conditioning | None:
        asked = getattr(self.chosen.model, "condition", "")
        if self.images is not None:
            return Conditioning.for_pack(asked, self.images.pack)
        assert self.mixture is not None
        names = tuple(str(label) for label in range(int(self.mixture.labels.max()) + 1))
        return Conditioning.of(asked, names, ())

    def _batches(self) -> Any:
        if self.images is not None:
            return self.images.batches(self.chosen.batch, self.chosen.seed, signed=self.model.signed)
        assert self.mixture is not None
        return Points(self.mixture, self.chosen.batch, self.chosen.seed)

    @property
    def steps(self) -> int:
        """Steps completed."""
        return self.engine.steps

    # -- training --------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Take a step: all turns of it, or those that are left if it was begun turn by turn."""
        self.last = None
        self._try(self._rest if self._left else self.engine.step)

    def next_turn(self) -> None:
        """Take one turn, in the order that a step has them."""
        if not self._left:
            self.engine.memo.clear()
            self._left = list(self.engine.due())
        self.last = player_of(self._left[0][0])
        self._try(self._first_left)

    def turn(self, player: Player) -> None:
        """Let one player take a turn that belongs to no step; after the generator's a step is counted."""
        self.last = player
        self._extra += 1
        self._try(lambda: self._play_alone(player))

    def _rest(self) -> None:
        while self._left:
            self._first_left()

    def _first_left(self) -> None:
        phases, index = self._left.pop(0)
        self.engine.play(phases, self.engine.batch(index), index)
        if not self._left:
            self.engine.end_step()

    def _play_alone(self, player: Player) -> None:
        engine, index = self.engine, self.engine.turns + self._extra
        engine.memo.clear()
        for phases, _ in engine.due():
            own = [phase for phase in phases if (phase.name in CRITIC) == (player == "critic")]
            if own:
                engine.play(own, engine.batch(index), index)
                if own[0].turns > 1:
                    break
        if player == "generator":
            self._left = []
            engine.end_step()

    def _try(self, train: Callable[[], None]) -> None:
        """Train, unless it broke down; keep the newest losses and forget the others."""
        if self.failed:
            return
        try:
            train()
        except TrainingError as error:  # a loss or a gradient that is not finite
            self.failed = error.name
        for phase in self.engine.phases:
            if values := self.engine.sums.get(f"{phase.name}/loss"):
                self._losses[player_of([phase])] = values[-1]
        self.engine.sums, self.engine.norms = {}, {}

    # -- what is seen ----------------------------------------------------------------------------------------

    def frame(self, *, measure: bool = False, **more: Any) -> bytes:
        """Return what the run shows now.

        Args:
            measure: Whether to count how samples of fresh noise lie to the data.
            **more: Facts that stand in the frame too.
        """
        facts: dict[str, Any] = {
            **more,
            "steps": self.steps,
            "failed": self.failed,
            "turn": self.last,
            "losses": {player: float(value) for player, value in self._losses.items()},
        }
        arrays: dict[str, tuple[np.ndarray, str, float, float]] = {}
        with self.engine.judging(raw=True):
            samples = self._decoded(self._codes)
            if self.mixture is not None:
                arrays["points"] = rounded(samples.flatten(1).numpy(), "i16", -1, 1)
                if self._judges:
                    arrays["heat"] = self._heat()
                    arrays["push"] = self._push(samples[:ARROWS])
                    facts["side"] = MAP
            else:
                arrays["images"] = rounded(samples.permute(0, 2, 3, 1).numpy(), "u8", 0, 1, self.levels)
                facts["shape"] = self.model.shape
            if measure:
                facts["measured"] = self._measured()
        return packed(facts, arrays)

    def _decoded(self, codes: Tensor) -> Tensor:
        """Return the samples of codes; images in [0, 1], points in [-1, 1]."""
        condition = None if self.model.conditioning is None else self.model.conditioning.spread(len(codes))
        prior = self.model.prior
        samples = self.model.decode(codes if prior is None else prior.from_noise(codes), condition)
        return (samples + 1) / 2 if self.images is not None and self.model.signed else samples

    # -- what the critic of points sees ------------------------------------------------------------------------

    @property
    def _judges(self) -> bool:
        """Whether a point has a judgement of its own; not where the critic compares the points of a batch."""
        return not getattr(self.chosen.model, "minibatch_discrimination", 0)

    def _judged(self, points: Tensor) -> Tensor:
        """Return the critic's judgement of points (N, 2), each with the label that is nearest to it.

        A critic of several points at once judges copies of one. A model with an encoder judges a point as it scores
        images, so that a critic of pairs is given the point's code.
        """
        assert self.mixture is not None
        images = points.view(-1, 2, 1, 1)
        if isinstance(self.model, Encodes) and isinstance(self.model, Scores):
            return self.model.score(images)
        copies, condition = self.model.settings.packing, None
        if self.model.conditioning is not None and self.model.informs_critic:
            nearest = torch.cdist(points, self.mixture.centres).argmin(1)
            condition = self.model.conditioning.vectors(self.mixture.labels[nearest], None)
            condition = pack(condition.repeat_interleave(copies, 0), copies)
        return self.model.judge(pack(images.repeat_interleave(copies, 0), copies), condition)

    def _heat(self) -> tuple[np.ndarray, str, float, float]:
        """Return the judgement of a grid of places, rows from the top."""
        values = self._judged(self._places).numpy()
        return rounded(values, "u8", float(values.min()), float(values.max()))

    def _push(self, samples: Tensor) -> tuple[np.ndarray, str, float, float]:
        """Return the direction in which each sample would have to move to be judged more real."""
        with torch.enable_grad():
            points = samples.flatten(1).detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._judged(points).sum(), points)
        most = max(float(slope.abs().max()), 1e-9)
        return rounded(slope.numpy(), "i16", -most, most)

    def _measured(self) -> dict[str, float]:
        """Say how samples of fresh noise lie to the data."""
        self._looks += 1
        count = MEASURED[self.chosen.ground]
        generator = torch.Generator().manual_seed(stream(self.chosen.seed, "look", self._looks))
        samples = self._decoded(torch.randn(count, self.model.latent_dim, generator=generator))
        if self.mixture is not None:
            return self.mixture.measured(samples.flatten(1))
        assert self.images is not None
        return self.images.measured(samples)


def player_of(phases: Sequence[Phase]) -> Player:
    """Return whose turn some phases are; of several that learn at once, the generator's."""
    return "critic" if all(phase.name in CRITIC for phase in phases) else "generator"


def mixture_of(chosen: Chosen) -> Mixture:
    """Return the points that a GAN in the plane learns."""
    if chosen.data == "own":
        return plane.drawing(chosen.own)
    return plane.Moons() if chosen.data == "moons" else {"ring": plane.ring, "grid": plane.grid}[chosen.data]()


def places(side: int) -> Tensor:
    """Return the centres of a grid's cells over [-1, 1], (side x side, 2), rows from the top."""
    at = (2 * torch.arange(side) + 1) / side - 1
    down, across = torch.meshgrid(-at, at, indexing="ij")
    return torch.stack([across, down], -1).view(-1, 2)
