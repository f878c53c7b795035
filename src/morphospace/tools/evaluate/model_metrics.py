"""Metrics of the model itself: likelihood, reconstructions, novelty, smoothness, disentanglement."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out
from morphospace.data.pack import class_count
from morphospace.errors import RunError
from morphospace.evaluation.agreement import matched
from morphospace.evaluation.disentangle import BINS, DEPTH, DRAWS, ROWS, TREES, dci, mig_binned, mig_posterior, sap
from morphospace.evaluation.factors import STILL, Coded, states_of
from morphospace.evaluation.intervals import mean_interval, wilson
from morphospace.evaluation.novelty import COPY, SEEN, median_ratio, nearest, shrunk
from morphospace.evaluation.picture_quality import mean_squared_error, psnr, sharpness, ssim, ssim_window
from morphospace.evaluation.results import Better, Result
from morphospace.evaluation.smoothness import smoothness
from morphospace.evaluation.votes import AVERAGED, TEST, TRAIN, beta_vae_metric, factor_vae_metric
from morphospace.latent.components import ACTIVE
from morphospace.models.contract import Decodes, Encodes, Quantises, Recognises, seeded_noise
from morphospace.randomness import stream
from morphospace.runs.codes import (
    choose_rows,
    encoder_of,
    posteriors,
    prior_for,
    shown_to,
)
from morphospace.runs.condition import NO_CONDITION
from morphospace.runs.run import Run
from morphospace.tools.evaluate.evidence import Evidence, Rebuilt
from morphospace.tools.evaluate.likelihood import Explained, annealed, elbo, iwae, unexplained
from morphospace.tools.evaluate.metric import Metric, usual_metric
from morphospace.tools.evaluate.set_metrics import distance_of

ANNEALED, NEW, ARCS, CODED = 16, 500, 100, 10_000
VOTES = f"{TRAIN:,} + {TEST:,} of {AVERAGED} images"
POINTS_ALIVE = f"{STILL:g} of the largest unit's, for points without a prior"
# The choices that papers leave open, so that two numbers of one name can be told apart.
SAP_PREDICTOR = "squared correlation for ordered factors, a decision tree's scaled balanced accuracy for kinds"
DCI_IMPORTANCE = "mean decrease in impurity, columns sum to one; a factor that is not predicted has none"
DCI_PARTS = {
    "disentanglement": "1 - entropy of a unit's importances over log(factors), mean over units weighted by importance",
    "completeness": "1 - entropy of a factor's importances over log(active units), unweighted mean over factors",
    "informativeness": "R^2 of ordered factors, accuracy above the commonest state for kinds, mean over factors",
}


def _explained(evidence: Evidence, most: int | None = None) -> Explained:
    assert evidence.run is not None
    side = evidence.real
    rows = choose_rows(side.rows, most, 0, "explained")
    return Explained(evidence.run, side.split, rows, side.name, evidence.seed, pack=side.pack)


def _unexplained(evidence: Evidence) -> str:
    return "needs a run; give one" if evidence.run is None else unexplained(evidence.run)


def _not_annealed(evidence: Evidence) -> str:
    if evidence.run is not None and isinstance(evidence.run.model, Quantises):
        return f"moves codes by gradients, and {evidence.run.configuration.model.name} quantises them; take elbo"
    return _unexplained(evidence)


def _averaged(evidence: Evidence, name: str, values: np.ndarray, unit: str = "", **more: Any) -> Result:
    mean, low, high = mean_interval(torch.from_numpy(values))
    return Result(name, mean, low, high, unit, evidence.conditions(interval="95 % over images", **more))


# -- reconstructions -------------------------------------------------------------------------------------------


def _rebuilds_nothing(evidence: Evidence) -> str:
    if evidence.run is None or not isinstance(evidence.run.model, Decodes):
        return "needs a run that decodes; give one"
    try:
        encoder_of(evidence.run)
    except RunError as error:
        return error.reason
    return ""


def _rebuilt(measure: Callable[..., np.ndarray], name: str, unit: str) -> Callable[[Evidence], list[Result]]:
    """Return a metric of pairs of held-out images and their reconstructions, from the means of their codes."""
    # Images equal in all 8 bits would have an infinite ratio, so their error counts as that of rounding alone.
    top = -10 * math.log10((1 / 255) ** 2 / 12) if measure is psnr else math.inf

    def metric(evidence: Evidence) -> list[Result]:
        run = evidence.run
        assert run is not None
        rebuilt = Rebuilt.of(evidence)
        parts = [measure(real=real, fake=fake).clip(max=top) for real, fake in rebuilt.pairs()]
        side_of = ssim_window(*run.model.shape[:2])
        more: dict[str, Any] = {"window": f"{side_of} x {side_of} Gaussian, sigma 1.5"} if measure is ssim else {}
        more |= {"at_most": round(top, 2)} if measure is psnr else {}
        each = np.concatenate(parts)
        return [replace(_averaged(rebuilt, name, each, unit, **more), each=each)]

    return metric


def distance_of_reconstructions(evidence: Evidence) -> list[Result]:
    """Measure the Frechet distance of images and their reconstructions: whether these look like images, together."""
    name = f"rFID-{len(evidence.real.rows)}" if evidence.kind == "inception" else "rFD"
    return [distance_of(Rebuilt.of(evidence), name)]


def _too_few_rebuilt(evidence: Evidence) -> str:
    few = len(evidence.real.rows) < 2
    return f"needs at least 2 images, there is 1; {evidence.real.more}" if few else _rebuilds_nothing(evidence)


# -- samples ---------------------------------------------------------------------------------------------------


def sharp(evidence: Evidence) -> list[Result]:
    """Measure the sharpness of the fakes, divided by that of the real images."""
    fake, real = (sharpness(images) for images in (evidence.fake_images, evidence.real_images))
    own = float(real.mean())
    about: dict[str, Any] = {"of_real": own, "measure": "variance of the Laplacian"}
    return [_averaged(evidence, "sharpness, real 1", fake / max(own, 1e-12), **about)]


def _too_small(evidence: Evidence) -> str:
    return "" if min(evidence.real.pack.shape[:2]) >= 3 else "needs images of 3 x 3 pixels or more"


def new(evidence: Evidence) -> list[Result]:
    """Measure how far fakes are from the nearest training image, compared with images that training did not see."""
    side, run = evidence.real, evidence.run
    known_to = side.pack if run is None else run.pack  # a run can have copied only its own data
    (train, trained), _ = held_out(known_to, 0.0 if run is None else run.configuration.data.valid)
    inside = np.setdiff1d(trained, side.rows) if side.split is train else trained
    known = shrunk(train.images, inside)
    unseen = shrunk(side.split.images, choose_rows(side.rows, NEW, 0, "novelty"))
    fakes = shrunk(evidence.fake_images, choose_rows(np.arange(evidence.n), NEW, 0, "novelty"))
    made, real = nearest(fakes, known), nearest(unseen, known)
    used: dict[str, Any] = {"training_images": len(known), "n_real": len(unseen), "n_fake": len(fakes)}
    copied = made.ratio < COPY
    copies = evidence.conditions(interval="95 % over images (Wilson)", of_unseen=real.copies) | used
    about = used | {"of_unseen": float(np.median(real.distance)) / 255, "interval": "95 % bootstrap over images"}
    about["distance"] = f"median RMS of pixels, {SEEN} a side at most"
    ratio = median_ratio(made.distance, real.distance, seed=evidence.seed)
    return [
        Result("novelty, unseen 1", *ratio, "", evidence.conditions() | about),
        Result("copies", float(copied.mean()), *wilson(int(copied.sum()), len(copied)), "", copies),
    ]


def _nothing_unseen(evidence: Evidence) -> str:
    side, pack = evidence.real, evidence.real.pack if evidence.run is None else evidence.run.pack
    if "train" not in pack.splits:
        return "needs training images, and the data have no split of that name"
    seen = side.name == "train" and side.pack.hash == pack.hash
    return "needs images that training did not see; train with --valid 0.1" if seen else ""


def smooth(evidence: Evidence) -> list[Result]:
    """Measure how pictures change along arcs between samples of the prior."""
    run = evidence.run
    assert run is not None
    model, prior = run.model, prior_for(run, evidence.prior_taken)
    assert isinstance(model, Decodes)
    ends = [seeded_noise(ARCS, model.latent_dim, stream(evidence.seed, "arc", end)) for end in ("start", "end")]
    uniform = torch.rand(ARCS, generator=torch.Generator().manual_seed(stream(evidence.seed, "arc", "place")))
    condition = NO_CONDITION.rows(model, ARCS)

    def pictures(noise: Tensor) -> Tensor:
        codes = prior.from_noise(noise).to(model.device, model.dtype)
        given = None if condition is None else condition.to(model.device, model.dtype)
        parts = [
            model.decode(codes[i : i + 50], None if given is None else given[i : i + 50]) for i in range(0, ARCS, 50)
        ]
        made = torch.cat(parts).float().cpu()
        return (made + 1) / 2 if model.signed else made

    found = smoothness(pictures, torch.stack(ends), uniform)
    about = evidence.conditions(arcs=ARCS, distance="RMS of pixels in [0, 1]")
    mean, low, high = mean_interval(found.path_lengths)
    length = Result("path length", mean, low, high, conditions={**about, "interval": "95 % over arcs"})
    about["interval"] = "none"
    return [length, Result("detour", found.detour, conditions=about), Result("jump", found.jump, conditions=about)]


def _draws_nothing(evidence: Evidence) -> str:
    return "" if evidence.run is not None and isinstance(evidence.run.model, Decodes) else "needs a run that decodes"


# -- disentanglement ---------------------------------------------------------------------------------------------


def coded(run: Run, *, n: int | None = CODED, seed: int = 0) -> Coded:
    """Encode images of the training split, whose factors are known."""
    train = run.pack.split("train")
    rows = choose_rows(np.arange(len(train)), n, seed, "factors")
    found = posteriors(run, train, rows)
    assert train.factors is not None
    states, names, ordered = states_of(np.asarray(train.factors[rows]), run.pack.factor_names)
    variances = None if found.log_variances is None else found.log_variances.numpy()
    return Coded(found.means.numpy(), states, names, ordered, variances)


def _no_factors(evidence: Evidence) -> str:
    if evidence.run is None or not isinstance(evidence.run.model, Encodes | Recognises):
        return "needs a run whose model encodes, or recognises its codes; take an autoencoder, a VAE or info-gan"
    if evidence.run.pack.split("train").factors is None:
        return "needs data whose factors are known; train on dsprites, shapes3d or toyfaces"
    return ""


def disentangled(evidence: Evidence) -> list[Result]:
    """Measure every metric of disentanglement from the same codes."""
    assert evidence.run is not None
    codes, seed = coded(evidence.run, n=CODED, seed=evidence.seed), evidence.seed
    about = {
        "data": evidence.run.pack.name,
        "split": "train",
        "n_real": len(codes.means),
        "seed": seed,
        "checkpoint": evidence.run.images,
        "raw": evidence.run.raw,
        "factors": len(codes.names),
        "states": list(codes.counts),
        "units": codes.means.shape[1],
        "living": codes.living().means.shape[1],
        "unit_alive": "variance of means above " + (f"{ACTIVE}" if codes.log_variances is not None else POINTS_ALIVE),
        "interval": "none",
    }

    found: list[Result] = []

    def add(name: str, value: float, **more: Any) -> None:
        found.append(Result(name, value, conditions=about | more, better="higher"))

    for name, accuracy, how in (
        ("beta-VAE metric", beta_vae_metric, "logistic regression on mean |z1 - z2| of pairs"),
        ("FactorVAE metric", factor_vae_metric, "majority vote of the unit of least scaled variance"),
    ):
        votes = accuracy(codes, seed=seed)
        more = {"chance": votes.chance, "above_chance": votes.above_chance, "votes": VOTES, "predictor": how}
        add(name, votes.value, **more)
    add("MIG, binned means", mig_binned(codes), bins=BINS, bin_edges="of equal width", codes="means")
    if codes.log_variances is not None:
        codes_are = "sampled from q(z|x), the image that a code is of left out"
        add("MIG, posteriors", mig_posterior(codes, seed=seed), draws=min(DRAWS, len(codes.means)), codes=codes_are)
    half = min(ROWS, len(codes.means) // 2)
    split = {"fit_on": half, "judged_on": min(ROWS, len(codes.means) - len(codes.means) // 2)}
    add("SAP", sap(codes, seed=seed), predictor=SAP_PREDICTOR, **split)
    three = dci(codes, seed=seed)
    for part, what in DCI_PARTS.items():
        forests = {"predictor": "random forests", "trees": TREES, "depth": DEPTH, "importance": DCI_IMPORTANCE}
        add(f"DCI {part}", getattr(three, part), **forests, **split, definition=what)
    return found


# -- classes -----------------------------------------------------------------------------------------------------


def _finds_nothing(evidence: Evidence) -> str:
    run, side = evidence.run, evidence.real
    if run is None or not isinstance(run.model, Recognises) or not run.model.layout.categorical:
        return "needs a run whose model recognises categories; take info-gan"
    return "" if class_count(side.split) > 1 else "needs images of several classes; name others with --real"


@torch.no_grad()
def agreement(evidence: Evidence) -> list[Result]:
    """Measure how well the categories that were found without labels agree with the classes, after the best match."""
    run, side = evidence.run, evidence.real
    assert run is not None and isinstance(run.model, Recognises) and side.split.labels is not None
    found = [run.model.categorise(images).cpu() for images in shown_to(run, side.split.images[side.rows], side.rows)]
    labels = np.asarray(side.split.labels[side.rows])
    matches = [matched(numbers, labels) for numbers in torch.cat(found).numpy().T]
    right = max(matches, key=lambda one: one.sum())
    about = evidence.conditions(interval="95 % over images (Wilson)", match="one category for each class")
    bounds = wilson(int(right.sum()), len(right))
    return [Result("agreement", float(right.mean()), *bounds, "", about, each=right.astype(np.float64))]


def _asks_nothing(evidence: Evidence) -> str:
    if evidence.run is None or evidence.run.model.conditioning is None or not evidence.takes_real_conditions:
        return "needs a conditional model and the images it was trained on; take cgan, acgan or cvae"
    if evidence.run.model.conditioning.kind != "label":
        return "needs a model that is conditioned on labels"
    return "" if evidence.kind == "classifier" else f"needs features classifier, not {evidence.kind}"


def obeyed(evidence: Evidence) -> list[Result]:
    """Measure the share of samples that a classifier takes for the class asked for, of all classes and of the worst."""
    run = evidence.run
    assert run is not None and run.model.conditioning is not None
    probabilities = evidence.fake_features.probabilities
    conditions = evidence.conditions_of_fakes(run, 0, evidence.n)
    assert probabilities is not None and conditions is not None
    asked = conditions.argmax(1).cpu()
    right = (probabilities.argmax(1).cpu() == asked).numpy()
    shares = {int(number): float(right[(asked == number).numpy()].mean()) for number in asked.unique()}
    worst = min(shares, key=lambda number: shares[number])
    about = evidence.feature_conditions(interval="95 % over samples (Wilson)")
    name, bounds = evidence.extractor.name, wilson(int(right.sum()), len(right))
    label = run.model.conditioning.names[worst]
    return [
        Result(f"class accuracy[{name}]", float(right.mean()), *bounds, "", about),
        Result(
            f"class accuracy, worst[{name}]", shares[worst], conditions={**about, "class": label, "interval": "none"}
        ),
    ]


def _rebuilds(about: str, measure: Callable[..., np.ndarray], name: str, better: Better, unit: str = "") -> Metric:
    return usual_metric(about, _rebuilt(measure, name, unit), _rebuilds_nothing, {name.lower(): better})


MODEL_METRICS: Mapping[str, Metric] = {
    "elbo": usual_metric("ELBO and its terms", lambda e: elbo(_explained(e)), _unexplained, {"elbo": "higher"}),
    "iwae": Metric(
        "importance-weighted bound, k = 5,000", lambda e: iwae(_explained(e)), _unexplained, {"iwae": "higher"}
    ),
    "ais": Metric(
        f"annealed bound of {ANNEALED} images, and its gap on simulated ones",
        lambda e: annealed(_explained(e, ANNEALED)),
        _not_annealed,
        {"ais": "higher"},
    ),
    "mse": _rebuilds("mean squared error of reconstructions", mean_squared_error, "MSE", "lower"),
    "psnr": _rebuilds("signal to noise of reconstructions", psnr, "PSNR", "higher", "dB"),
    "ssim": _rebuilds("structural similarity of reconstructions", ssim, "SSIM", "higher"),
    "rfd": Metric(
        "Frechet distance of reconstructions", distance_of_reconstructions, _too_few_rebuilt, {"rfd": "lower"}
    ),
    "sharpness": usual_metric("sharpness beside real images", sharp, _too_small, {"sharpness": ""}),
    "novelty": usual_metric(
        "distance to the nearest training image", new, _nothing_unseen, {"novelty": "", "copies": "lower"}
    ),
    "smoothness": usual_metric(
        "path length, detour and jump", smooth, _draws_nothing, {"path-length": "", "detour": "", "jump": ""}
    ),
    "agreement": Metric(
        "categories found without labels, beside the classes", agreement, _finds_nothing, {"agreement": "higher"}
    ),
    "class-accuracy": Metric(
        "samples that show the class asked for",
        obeyed,
        _asks_nothing,
        {"class-accuracy": "higher", "class-accuracy-worst": "higher"},
    ),
    "disentanglement": Metric(
        "beta-VAE and FactorVAE metric, MIG, SAP, DCI",
        disentangled,
        _no_factors,
        {"beta-vae": "higher", "factor-vae": "higher", "mig": "higher"},
    ),
}
