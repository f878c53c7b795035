"""What the presets of the simulations claim, for five seeds: in the page's own trainer, and of models in the library's.

Every preset of `morpho play` has a sentence, and in `claim` the lowest and highest values that the sentence allows
after so many steps. Here each is trained once for every seed: by the page's modules in a headless browser, and GANs,
autoencoders and VAEs by the library's engine too, with the same settings, data and number of steps, and random numbers
of its own. The table has the least and the greatest value of all seeds; the command fails if one lies outside. It
needs a chromium.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.play import serve_modules
from bench.studio import browser_page, chromium

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LIBRARY", "Claim", "add_arguments", "claims", "in_library", "in_page", "main"]

SEEDS = 5
LIBRARY = ("gan", "coder")  # the simulations whose models the library trains
CLAIMS = """async () => {
    const { SIMULATIONS } = await import('/play/simulations/all.js'), { GAN_LOSSES } = await import('/play/golden.js');
    const same = () => ({}), other = (one) => one.against;
    const sides = [['A', 'claim', same], ['A', 'claimLater', same]];
    sides.push(['B', 'claimAgainst', other], ['B', 'claimAgainstLater', other]);
    return SIMULATIONS.flatMap(({ id, defaults, presets }) => presets.flatMap((preset) => sides
        .filter(([, name]) => preset[name]).map(([side, name, changes]) => {
            const { steps, ...bounds } = preset[name];
            const settings = { ...defaults, ...preset.settings, ...changes(preset) };
            const member = id === 'gan' ? GAN_LOSSES[settings.loss] : null;
            return { simulation: id, preset: preset.id, title: preset.title, side, settings, steps, bounds, member };
        })));
}"""
# Trains the same settings with each seed, and measures after so many steps.
TRAIN = """async ([id, settings, seeds, marks]) => {
    const { SIMULATIONS } = await import('/play/simulations/all.js'), { ENGINES } = await import('/play/engines.js');
    const simulation = SIMULATIONS.find((one) => one.id === id);
    const make = simulation.engine ? ENGINES[simulation.engine] : simulation.model;
    return seeds.map((seed) => {
        const engine = make('seed' in settings ? { ...settings, seed } : settings), out = {};
        let steps = 0;
        for (const mark of marks) { while (steps < mark) steps += engine.step(); out[mark] = engine.measure(2500); }
        return out;
    });
}"""
Measured = dict[int, dict[str, float]]  # numbers by the step after which they were measured


@dataclass(frozen=True)
class Claim:
    """What a preset's sentence says of one side.

    Attributes:
        simulation: Its name.
        preset: The preset's name.
        title: The preset's title, as its button has it.
        side: A, or B for the second of two pictures.
        settings: All settings of that side.
        steps: Steps after which it holds.
        bounds: The lowest and highest value of each number.
        member: Of a GAN, the library's model with this loss, and what to take from its own settings.
    """

    simulation: str
    preset: str
    title: str
    side: str
    settings: dict[str, Any]
    steps: int
    bounds: dict[str, tuple[float, float]]
    member: dict[str, Any] | None = field(default=None)

    def broken(self, numbers: dict[str, float]) -> list[str]:
        """Return the names of numbers that lie outside."""
        return [name for name, (low, high) in self.bounds.items() if not low <= numbers[name] <= high]


def claims(page: Any) -> list[Claim]:
    """Return the claims of all presets; `page` is a browser's page that can import the modules."""
    return [Claim(**one) for one in page.evaluate(CLAIMS)]


def in_page(page: Any, claim: Claim, seeds: range, marks: list[int]) -> list[Measured]:
    """Train a claim's settings with each seed in the page, and measure at the marks; of a recording, look there."""
    if claim.simulation == "tape":
        return [{mark: in_tape(claim.settings["tape"], mark) for mark in marks}]
    trained = page.evaluate(TRAIN, [claim.simulation, claim.settings, list(seeds), marks])
    return [{int(mark): numbers for mark, numbers in one.items()} for one in trained]


def in_tape(name: str, moment: int) -> dict[str, float]:
    """Return what was measured at a moment of a recording."""
    from morphospace.studio.live.frames import unpacked as frame_of
    from morphospace.studio.live.tapes import tapes, unpacked

    facts, _ = frame_of(unpacked(tapes()[name])[1][moment])
    return facts["measured"]  # type: ignore[no-any-return]


# -- the library's engine --------------------------------------------------------------------------------------------


def in_library(claim: Claim, seed: int, marks: list[int]) -> Measured:
    """Train a claim's settings with the library's engine, and measure at the marks."""
    import torch

    from morphospace.randomness import stream
    from morphospace.training.engine import Engine
    from morphospace.training.settings import TrainingSettings

    torch.set_num_threads(1)
    s = claim.settings
    data = Data(s["data"], s["batch"], seed)
    torch.manual_seed(stream(seed, "weights"))
    model = build(claim, data)
    training = TrainingSettings(batch_size=s["batch"], seed=seed, device="cpu", precision="fp32")
    engine = Engine(model, data, training, total_images=10**9)  # type: ignore[arg-type]
    measured: Measured = {}
    for mark in marks:
        model.networks.train()
        while engine.steps < mark:
            engine.step()
            engine.sums.clear()
        model.networks.eval()
        with torch.no_grad():
            measured[mark] = (of_samples if claim.simulation == "gan" else of_codes)(model, data, seed)
    return measured


def build(claim: Claim, data: Data) -> Any:
    """Build the library's model with a claim's settings, at its first weights."""
    from morphospace.zoo.settings import ZOO

    s = claim.settings
    chosen: dict[str, Any] = {"tower": "mlp", "init": "default", "widths": (s["width"],) * s["layers"]}
    chosen |= {"betas": (float(s["beta1"]), float(s["beta2"]))} | {name: s[name] for name in ("lr", "latent_dim")}
    if claim.member:
        same = ("gradient_penalty", "r1", "r2", "weight_clip", "packing", "turns")
        chosen |= {name: s[name] for name in same} | {"critic_lr": s["critic_lr"] or None}
        return ZOO[claim.member["member"]](**(claim.member["settings"] | chosen)).build(data.shape)
    if not data.signed:
        chosen |= {"likelihood": "bernoulli"}
    elif s["model"] == "ae":
        chosen |= {"likelihood": "squared-error", "signed": True}
    else:
        chosen |= {"likelihood": "gaussian", "variance": "fixed", "sigma": s["sigma"], "signed": True}
    if s["model"] == "vae":
        chosen |= {name: s[name] for name in ("beta", "kl_warmup_images", "free_bits")}
    model = ZOO[s["model"]](**chosen).build(data.shape)
    model.start_from(data.shown)
    return model


class Data:
    """What the page trains on, as batches of the library: points of the plane as images of one pixel, or 8x8 digits.

    Args:
        name: ring, grid, moons or digits.
        batch_size: Images in a batch.
        seed: Of the batches.

    Attributes:
        shape: (H, W, C) of an image.
        signed: Whether values lie in [-1, 1], not in [0, 1].
        shown: 200 images (200, C, H, W) that autoencoders are measured on.
    """

    images = 1_000_000  # what an epoch would be

    def __init__(self, name: str, batch_size: int, seed: int) -> None:
        import torch

        from bench.mixtures import MIXTURES, Mixture
        from morphospace.data.sources import SOURCES

        self.name, self.batch_size, self.seed = name, batch_size, seed
        self.signed = name != "digits"
        self.shape = (1, 1, 2) if self.signed else (8, 8, 1)
        # Clusters are wider than those of `bench.mixtures`: they are learned sooner.
        self.mixture = Mixture(MIXTURES[name].centres, 0.03) if name in MIXTURES else None
        if not self.signed:
            pixels = SOURCES[name].__new__(SOURCES[name]).read().parts["train"].images[:600]
            self.digits = torch.tensor(pixels).view(-1, 1, 8, 8) / 255
        self.shown = self.draw(200, 0) if self.signed else self.digits[:200]

    def draw(self, count: int, seed: int) -> Tensor:
        """Return images (count, C, H, W)."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        if not self.signed:
            return self.digits[torch.randint(len(self.digits), (count,), generator=generator)]
        points = self.mixture.draw(count, seed)[0] if self.mixture else moons(count, generator)
        return points.view(count, 2, 1, 1)

    def batch(self, index: int) -> Any:
        """Return batch `index`."""
        import torch

        from morphospace.data.batches import Batch
        from morphospace.randomness import stream

        images = self.draw(self.batch_size, stream(self.seed, "points", index))
        return Batch(images, torch.arange(self.batch_size))


def moons(count: int, generator: Any) -> Tensor:
    """Return points (count, 2) of the page's two moons."""
    import torch

    angle = math.pi * torch.rand(count, generator=generator)
    upper = torch.rand(count, generator=generator) < 0.5
    x, y = angle.cos(), angle.sin()
    moon = torch.where(upper[:, None], torch.stack([x, y], 1), torch.stack([1 - x, 0.5 - y], 1))
    noise = 0.02 * torch.randn(count, 2, generator=generator)
    return (moon - torch.tensor([0.5, 0.25])) * 0.55 + noise


def of_samples(model: Any, data: Data, seed: int) -> dict[str, float]:
    """Return how samples lie to the data: clusters, or share of the data, with samples near; share of samples on it."""
    import torch

    from bench.mixtures import judged

    noise = torch.randn(2500, model.latent_dim, generator=torch.Generator().manual_seed(seed))
    samples = model.decode(noise).flatten(1)
    if data.mixture:
        _, reached, good = judged(samples, data.mixture)
        return {"reached": reached, "good": good}
    near = torch.cdist(samples, data.shown.flatten(1)) <= 0.1
    return {"reached": float(near.any(0).double().mean()), "good": float(near.any(1).double().mean())}


def of_codes(model: Any, data: Data, seed: int) -> dict[str, float]:
    """Return numbers of an autoencoder: active dimensions, squared error, KL in nats an image, size of the codes."""
    posterior = model.encode(data.shown)
    mean = posterior.mean
    error = (model.decode(mean) - data.shown).square().mean()
    kl = posterior.kl().mean() if hasattr(posterior, "kl") else mean.new_zeros(())
    active = (mean.var(0, correction=0) > 0.01).sum()
    return {"active": int(active), "error": float(error), "kl": float(kl), "norm": float(mean.square().mean().sqrt())}


# -- the command ------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--seeds", type=int, default=SEEDS, help="0, 1, ... so many")
    parser.add_argument("--only", metavar="SIMULATION", help="the presets of one simulation, such as gan")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there too")


def main(arguments: argparse.Namespace) -> int:
    """Train, print the table, and return 1 if a sentence does not hold."""
    if chromium() is None:
        print("no chromium here: `apt-get install chromium`")
        return 1
    rows, wrong, seeds = [], 0, range(arguments.seeds)
    with browser_page() as page:
        serve_modules(page)
        page.set_default_timeout(0)
        print("| simulation | preset | steps | claim | page | library |")
        print("| --- | --- | ---: | --- | ---: | ---: |")
        for claim in claims(page):
            if arguments.only not in (None, claim.simulation):
                continue
            of = {"page": [one[claim.steps] for one in in_page(page, claim, seeds, [claim.steps])]}
            if claim.simulation in LIBRARY:
                of["library"] = [in_library(claim, seed, [claim.steps])[claim.steps] for seed in seeds]
            broken = {where: sum(map(bool, map(claim.broken, several))) for where, several in of.items()}
            wrong += sum(broken.values())
            print(line(claim, of, broken), flush=True)
            rows.append({**vars(claim), **of})
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"\n{wrong} of the trainings broke their preset's claim" if wrong else "\nevery claim holds for every seed")
    return int(wrong > 0)


def line(claim: Claim, of: dict[str, list[dict[str, float]]], broken: dict[str, int]) -> str:
    """Return a row of the table."""

    def span(where: str, name: str) -> str:
        values = [one[name] for one in of[where]]
        return f"{min(values):.3g} to {max(values):.3g}" if min(values) != max(values) else f"{values[0]:.3g}"

    allowed = {
        name: f"{low:g}" if low == high else f"{low:g} to {high:g}" for name, (low, high) in claim.bounds.items()
    }
    asked = ", ".join(f"{name} {words}" for name, words in allowed.items())
    cells = [claim.simulation, f"{claim.title}, {claim.side}", str(claim.steps), asked]
    for where in ("page", "library"):
        cell = ", ".join(span(where, name) for name in claim.bounds) if where in of else ""
        cells.append(f"{cell} **({broken[where]} seeds outside)**" if broken.get(where) else cell)
    return f"| {' | '.join(cells)} |"
