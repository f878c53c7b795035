"""The likelihood of images under a run: bounds on log p(x), each with its conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.data.augment import binarised
from morphospace.data.pack import Pack, Split, rows_hash
from morphospace.errors import require
from morphospace.evaluation.annealed import Annealing, annealed_bounds, simulate
from morphospace.evaluation.intervals import mean_interval
from morphospace.evaluation.likelihood import Density, Explains, density_of, evidence_bound, importance_bound
from morphospace.evaluation.results import Result
from morphospace.models.contract import Encodes, Quantises, seeded_noise
from morphospace.models.priors import LearnedPrior, Normal
from morphospace.objectives.elbo import bits_per_dim, dequantised
from morphospace.randomness import stream
from morphospace.runs.codes import conditions_of
from morphospace.runs.run import Run

TOGETHER = 1000
BINARISE = ("none", "threshold", "fixed", "dynamic")


def unexplained(run: Run) -> str:
    """Return why a run has no bound on log p(x), and the way out; empty where it has one."""
    model = run.model
    name = run.configuration.model.name
    if not (isinstance(model, Explains) and isinstance(model, Encodes)):
        return f"needs p(x | z) and q(z | x), and {name} has not both; take a VAE"
    if not isinstance(model.prior, Normal | LearnedPrior):
        return f"needs a prior to be a bound of, and {name} has none; take a VAE"
    if getattr(model, "code_outputs", 2) != 2 and not isinstance(model, Quantises):
        return f"needs a distribution q(z | x), and the encoder of {name} gives points; take a VAE"
    if model.needs:
        return f"{name} explains masks too, which this bound leaves out; take vae"
    return ""


@dataclass(frozen=True)
class Explained:
    """Images, and the run whose likelihood of them is measured.

    Attributes:
        run: The run.
        split: The split of the images.
        rows: Which images of it.
        name: What the split is called.
        seed: Seed of binarisation, dequantisation and samples.
        binarise: `none`, `threshold`, `fixed` (one draw an image, the same in every run) or `dynamic` (by the seed);
            as the run was trained when empty.
        pack: The data the split is of; the run's own when None.
    """

    run: Run
    split: Split
    rows: np.ndarray
    name: str
    seed: int = 0
    binarise: str = ""
    pack: Pack | None = None

    def __post_init__(self) -> None:
        reason = unexplained(self.run)
        require(not reason, "run", str(self.run.path), reason)
        require(self.binarised in BINARISE, "binarise", self.binarised, f"must be one of {', '.join(BINARISE)}")

    @property
    def model(self) -> Any:
        """The run's model, which has a likelihood."""
        return self.run.model

    @property
    def binarised(self) -> str:
        """How pixels are made 0 or 1."""
        return self.binarise or self.run.configuration.data.binarise

    @property
    def density(self) -> Density:
        """The density that the nats are of."""
        dequantise = bool(getattr(self.model.settings, "dequantise", False))
        return density_of(self.model.likelihood, binary=self.binarised != "none", dequantised=dequantise)

    @property
    def condition(self) -> Tensor | None:
        """The conditions of the images, for a conditional model."""
        return conditions_of(self.run.model, self.split, self.rows, self.pack)

    def images(self) -> Tensor:
        """Return the images (N, C, H, W) in the model's range, binarised and dequantised."""
        model = self.run.model
        salt = stream(self.seed, "binarise") % 2**32 if self.binarised == "dynamic" else 0
        raw = binarised(np.array(self.split.images[self.rows]), self.binarised, self.rows, salt=salt)
        images = model.from_uint8(torch.from_numpy(raw))
        if self.density.dequantised:
            generator = torch.Generator()
            seeds = (stream(self.seed, "dequantise", int(row)) for row in self.rows)
            uniform = [torch.rand(images.shape[1:], generator=generator.manual_seed(seed)) for seed in seeds]
            images = dequantised(images, torch.stack(uniform).to(images), signed=model.signed)
        return images

    def parts(self) -> Iterator[tuple[int, Explained]]:
        """Yield the images in parts, each with the number of its first image, so that they need not fit in memory."""
        for first in range(0, len(self.rows), TOGETHER):
            yield first, replace(self, rows=self.rows[first : first + TOGETHER])

    def conditions(self, **more: Any) -> dict[str, Any]:
        """Return the conditions that a bound depends on."""
        given = {} if self.run.model.conditioning is None else {"given": "each image's own condition"}
        pack = self.pack or self.run.pack
        about = {"data": pack.name, "data_hash": pack.hash[:8], "split": self.name, "n_real": len(self.rows)}
        about |= {"images": rows_hash(pack, self.name, self.rows)[:8], "seed": self.seed}
        about |= {"checkpoint": self.run.images, "raw": self.run.raw, "binarise": self.binarised, **given}
        return {**about, "of": self.density.words, "interval": "95 % over images", **more}

    def results(self, name: str, nats: Tensor, **more: Any) -> list[Result]:
        """Return a number in nats, and in bits per dimension where these are meaningful."""
        mean, low, high = mean_interval(nats)
        conditions = self.conditions(**more)
        name = name if self.density.proper else f"{name}, no density"
        found = [Result(name, mean, low, high, "nats", conditions, better="higher", each=nats.numpy())]
        if self.density.bits:
            values = math.prod(self.run.model.shape)
            width = 2.0 if self.run.model.signed else 1.0
            scale: dict[str, Any] = {"levels": 256, "width": width} if self.density.dequantised else {}
            bits = [None if v is None else bits_per_dim(-v, values, **scale) for v in (mean, high, low)]
            assert bits[0] is not None
            each = bits_per_dim(-nats, values, **scale).numpy()
            name = f"{name} in bits"
            found.append(Result(name, bits[0], bits[1], bits[2], "bits/dim", conditions, better="lower", each=each))
        return found


def elbo(explained: Explained, *, draws: int = 16) -> list[Result]:
    """Measure the ELBO and its terms."""
    bounds = [
        evidence_bound(p.model, p.images(), condition=p.condition, draws=draws, seed=p.seed, start=start)
        for start, p in explained.parts()
    ]
    likely, kl = torch.cat([b.log_likelihood for b in bounds]), torch.cat([b.kl for b in bounds])
    found = explained.results("ELBO", likely - kl, draws=draws)
    for name, values in (("E log p(x|z)", likely), ("KL", kl)):
        mean, low, high = mean_interval(values)
        about = explained.conditions(draws=draws)
        found.append(Result(name, mean, low, high, "nats", about, each=values.numpy()))
    return found


def iwae(explained: Explained, *, k: int = 5000) -> list[Result]:
    """Measure the importance-weighted bound with k samples, and the effective number of samples."""
    bounds = [
        importance_bound(p.model, p.images(), k, condition=p.condition, seed=p.seed, start=start)
        for start, p in explained.parts()
    ]
    effective = float(torch.cat([b.effective_samples for b in bounds]).median())
    return explained.results(
        f"IWAE-{k}", torch.cat([b.values for b in bounds]), k=k, effective_samples_median=effective
    )


def annealed(explained: Explained, *, settings: Annealing | None = None) -> list[Result]:
    """Measure the annealed lower bound, and on as many simulated images the gap to the upper bound."""
    s, model, seed = settings or Annealing(), explained.model, explained.seed
    condition = explained.condition
    about = {"temperatures": s.temperatures, "chains": s.chains, "leapfrog": s.leapfrog}
    images = explained.images()
    dim = model.latent_dim
    assert model.prior is not None
    given: dict[str, Any] = {"prior": model.prior, "settings": s, "condition": condition, "seed": seed}
    lower = annealed_bounds(model.raw, model.likelihood, images, dim, **given)
    codes = model.prior.from_noise(seeded_noise(len(images), dim, stream(seed, "simulate")).to(images))
    made = simulate(model.raw, model.likelihood, codes, condition=condition, seed=seed)
    both = annealed_bounds(model.raw, model.likelihood, made.images, dim, posterior_draws=codes, **given)
    assert both.upper is not None
    found = explained.results(f"AIS-{s.temperatures}", lower.lower, accepted=lower.accepted, **about)
    mean, low, high = mean_interval(both.upper - both.lower)
    simulated = explained.conditions(accepted=both.accepted, of="images simulated from the model", **about)
    return [*found, Result(f"BDMC gap of AIS-{s.temperatures}", mean, low, high, "nats", simulated, better="lower")]
