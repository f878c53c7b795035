"""The work of `diagnose`: look over codes, samples and history of a run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from morphospace.data.batches import held_out
from morphospace.data.pack import Split, class_count
from morphospace.evaluation.collapse import (
    CodeFacts,
    EntryFacts,
    SampleFacts,
    code_facts,
    entry_facts,
    memorised,
    missing_modes,
    off_prior,
    posterior_collapse,
    same_samples,
    untaught_prior,
    unused_entries,
)
from morphospace.evaluation.diagnose import (
    Finding,
    barely_trained,
    critic_balance,
    diverging,
    exploding,
    not_finite,
    oscillation,
)
from morphospace.evaluation.features import extracted
from morphospace.evaluation.novelty import SEEN, nearest, novelty, shrunk
from morphospace.evaluation.roughness import roughness_of
from morphospace.models.contract import Decodes, Encodes, Model, Quantises, Scores, seeded_noise
from morphospace.models.priors import LearnedPrior, Normal
from morphospace.objectives.adversarial import NONSATURATING, AdversarialLoss
from morphospace.randomness import stream
from morphospace.roles import AgainstCollapse, TowardsPrior
from morphospace.runs.codes import AT_ONCE, choose_rows, judged_rows, posteriors, prior_for
from morphospace.runs.configuration import advice_of
from morphospace.runs.run import Run
from morphospace.tools.diagnose import Diagnosis
from morphospace.tools.evaluate.extractors import extractor_for
from morphospace.tools.sample import sample

CODES, TRAINING = 2_000, 200_000
EACH = 20  # samples of a class, were they even: with fewer, a class may be missed by chance


def diagnosed(run: Run, n: int, seed: int, classes: bool) -> Diagnosis:
    """Look a run over; `diagnose` says how."""
    lines = run.folder.read_metrics()
    takes = run.configuration.takes
    findings: list[Finding | None] = [not_finite(lines), exploding(lines, takes), diverging(lines)]
    measured: dict[str, Any] = {"roughness": roughness_of(lines)}
    if chance := guessing(run.model):
        findings.append(critic_balance(lines, chance, takes))
    findings.append(oscillation(lines, takes))
    conditions: dict[str, Any] = {"samples": n, "seed": seed, "checkpoint": run.images}
    _, rows, name = _looked_at(run)
    findings.append(barely_trained(run.images, len(run.pack.split("train"))))
    facts: CodeFacts | None = None
    if isinstance(run.model, Encodes):
        conditions |= {"codes": min(CODES, len(rows)), "split": name}
    if isinstance(run.model, Encodes) and isinstance(run.model, Quantises):
        use = _entries(run, run.model, seed)
        measured |= {"entries": use.entries, "entries_used": use.used, "perplexity": use.perplexity}
        measured |= {"code_nats": use.nats, "code_nats_even": use.even_nats}
        findings += [unused_entries(use), untaught_prior(use)]
    elif isinstance(run.model, Encodes):
        facts = _codes(run, seed)
        measured |= _measured(facts)
        averaged = getattr(run.model.settings, "reduction", "sum") == "mean"
        against = _against_collapse(run)
        findings.append(posterior_collapse(facts, beta_in_nats=_beta(run), averaged=averaged, against=against))
        towards = " or ".join(advice_of(type(run.model.settings), TowardsPrior))
        findings.append(off_prior(facts, towards, decodes_prior=run.model.decodes_prior))
    if isinstance(run.model, Decodes):
        about, found = _samples(run, n, seed, facts, classes)
        measured, findings = measured | about, findings + found
        conditions |= {"unseen": name if name != "train" else "", "seen_at": f"{SEEN} pixels at most"}
    order = ("fault", "warning", "note")
    there = sorted((f for f in findings if f is not None), key=lambda f: order.index(f.severity))
    return Diagnosis(run.path, run.images, tuple(there), measured, conditions)


def _against_collapse(run: Run) -> str:
    """Return what helps a run's model against posterior collapse, as advice; empty where nothing does."""
    return ", ".join(advice_of(type(run.model.settings), AgainstCollapse))


def _beta(run: Run) -> float | None:
    """Return what the KL weighs in nats, where the settings can say it."""
    beta = getattr(run.model.settings, "beta_in_nats", None)
    return None if beta is None else float(beta(math.prod(run.model.shape)))


def guessing(model: Model) -> float:
    """Return what a critic loses that gives the same judgement to all; 0 where there is none, or no bound."""
    if not isinstance(model, Scores):
        return 0.0
    objective: AdversarialLoss = getattr(model, "objective", NONSATURATING)
    constant = torch.linspace(-1, 1, 201)
    total = torch.stack(list(objective.critic(constant, constant).values())).sum(0)
    return max(0.0, float(total.min()))


def _codes(run: Run, seed: int) -> CodeFacts:
    """Encode held-out images and measure their codes against the prior."""
    split, rows, _ = _looked_at(run)
    chosen = choose_rows(rows, CODES, seed, "diagnose")
    found = posteriors(run, split, chosen)
    noise = seeded_noise(len(chosen), run.model.latent_dim, stream(seed, "diagnose codes"))
    prior = prior_for(run, "model")
    codes = prior.from_noise(seeded_noise(len(chosen), run.model.latent_dim, seed))
    learned = prior if isinstance(prior, LearnedPrior) else None
    normal = isinstance(prior, Normal)
    return code_facts(found.means, found.log_variances, codes, noise, learned=learned, normal=normal)


@torch.no_grad()
def _entries(run: Run, model: Quantises, seed: int) -> EntryFacts:
    """Quantise the codes of held-out images and count the entries they take."""
    split, rows, _ = _looked_at(run)
    z = posteriors(run, split, choose_rows(rows, CODES, seed, "diagnose")).means
    z, prior = z.to(run.model.device, run.model.dtype), prior_for(run, "model")
    parts = [(model.numbers(part).cpu(), -prior.log_prob(part).cpu()) for part in z.split(AT_ONCE)]
    numbers, nats = (torch.cat(each) for each in zip(*parts))
    return entry_facts(numbers, nats, len(model.codebook.share))


def _measured(facts: CodeFacts) -> dict[str, Any]:
    """Return what was measured of codes, as plain values."""
    return {
        "units": facts.units,
        "active_units": facts.active,
        "kl_nats": facts.kl,
        "kl_per_unit": None if facts.kl_per_unit is None else [round(v, 6) for v in facts.kl_per_unit.tolist()],
        "code_variance_ratio": float(facts.spread.median()),
        "code_mean_furthest": float(facts.centre.max()),
        "ks_largest": float(facts.ks.max()),
        "mmd": facts.mmd,
        **({} if facts.joint is None else {"code_nats_over_normal": facts.joint.mixture}),
    }


def _looked_at(run: Run) -> tuple[Split, np.ndarray, str]:
    """Return images that training did not see; those it saw where there is but one, which has no spread."""
    return judged_rows(run.pack, run.configuration.data.valid, least=2)


def _doubles(pictures: np.ndarray, usual: float) -> float:
    """Return the share of pictures with another one nearer than a tenth of what is usual."""
    return float((nearest(pictures, pictures, skip_self=True).distance < 0.1 * usual).mean())


def _samples(
    run: Run, n: int, seed: int, codes: CodeFacts | None, classes: bool
) -> tuple[dict[str, Any], list[Finding | None]]:
    """Draw samples and hold them against each other, training images and unseen ones."""
    split, rows, name = _looked_at(run)
    (train, trained), _ = held_out(run.pack, run.configuration.data.valid)
    drawn, others = sample(run, n, seed), choose_rows(rows, n, seed, "diagnose unseen")
    fakes, unseen = shrunk(drawn), shrunk(split.images, others)
    usual = float(np.median(nearest(unseen, unseen, skip_self=True).distance))
    spread = float(fakes.var(0).mean() / max(float(unseen.var(0).mean()), 1e-12))
    facts = SampleFacts(spread, _doubles(fakes, usual), _doubles(unseen, usual), n)
    about: dict[str, Any] = {"sample_spread": spread, "duplicates": facts.duplicates}
    encodes = isinstance(run.model, Encodes) and not run.model.decodes_prior
    against, takes = _against_collapse(run), run.configuration.takes
    alike = same_samples(facts, encodes=encodes, codes=codes if encodes else None, against=against, takes=takes)
    found: list[Finding | None] = [alike]
    count = class_count(split)
    if classes and 2 <= count <= n // EACH:
        there, missing = _modes(run, drawn, split.images[others])
        about, found = {**about, **there}, [*found, missing]
    if name != "train":
        inside = np.setdiff1d(trained, rows) if split is train else trained
        known = shrunk(train.images, choose_rows(inside, TRAINING, seed, "diagnose training"))
        new = novelty(samples=fakes, training=known, unseen=unseen)
        about |= {"nearest_training": new.distance / 255, "nearest_training_of_unseen": new.unseen_distance / 255}
        about |= {"copies": new.copies, "copies_of_unseen": new.unseen_copies, "training_images": len(known)}
        found.append(memorised(new))
    return about, found


def _modes(run: Run, fakes: np.ndarray, real: np.ndarray) -> tuple[dict[str, Any], Finding | None]:
    """Count the classes that a classifier of the data sees in samples, real images seen by the same beside them."""
    judge = extractor_for("classifier", run.pack)
    judged = [extracted(judge, np.asarray(images)).probabilities for images in (fakes, real)]
    made, wanted = (torch.bincount(p.argmax(1), minlength=p.shape[1]) for p in judged if p is not None)
    names = run.pack.label_names or tuple(str(label) for label in range(len(wanted)))
    missing = missing_modes(made, wanted / wanted.sum(), names, run.configuration.takes)
    found = missing.evidence["modes"] if missing else float((wanted > 0).sum())
    return {"modes": int(found), "modes_of_real": int((wanted > 0).sum())}, missing
