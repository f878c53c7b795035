"""Collapse of codes and of samples: the measurements, and the detectors that judge them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.evaluation.diagnose import SMOOTH, Finding, Options, Severity, Takes, advised, everything
from morphospace.evaluation.factors import ACTIVE, alive
from morphospace.evaluation.joint_fit import JointFit, joint_fit
from morphospace.evaluation.novelty import Novelty
from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.priors import LearnedPrior
from morphospace.objectives.discrepancy import unbiased
from morphospace.objectives.elbo import half_closed_kl

EMPTY = 0.5  # nats an image
REMEDIES: Options = {
    "--packing 2": {"packing": 2},
    "--minibatch-discrimination 100": {"minibatch_discrimination": 100},
    **SMOOTH,
}
"""What a critic may take against samples that are alike."""
FAR = 5.0  # nats a code; were codes even over a part of N(0, I), 99 in 100 samples of N(0, I) would lie outside of it
# Of the data's own spread. A decoder of means leaves out what its codes do not say, and still is no collapse.
ALIKE, ALIKE_MEANS = 0.3, 0.1
COPIED = 0.05


def two_sample_ks(a: Tensor, b: Tensor) -> Tensor:
    """Return the Kolmogorov-Smirnov statistic of every column of (N, D) and (M, D), (D,).

    The largest distance between the two distribution functions, from 0 to 1.
    """
    both = torch.cat([a, b]).double()
    sign = torch.cat([torch.full((len(a),), 1 / len(a)), torch.full((len(b),), -1 / len(b))]).double()
    ordered, order = both.sort(0)
    difference = sign[order].cumsum(0).abs()
    # Between equal values the distribution functions are not yet what they will be.
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, both.shape[1], dtype=torch.bool)])
    return (difference * last).amax(0)


def mmd(a: Tensor, b: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy of (N, D) and (M, D), which may be below 0.

    Gaussian kernel, its width the median distance of the pooled rows (Gretton et al. 2012).
    """
    a, b = a.double(), b.double()
    pooled = torch.cat([a, b])
    squared = torch.cdist(pooled, pooled).square()
    width = squared[torch.ones_like(squared).triu(1).bool()].median().clamp(min=1e-12)
    kernel, n = (-squared / width).exp(), len(a)
    return float(unbiased(kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]))


@dataclass(frozen=True)
class CodeFacts:
    """Codes of images compared with the prior.

    Attributes:
        units: Latent dimensions.
        active: How many of them are active.
        kl: KL(q(z | x) || N(0, I)) in nats an image; None for points.
        kl_per_unit: Of each unit, (D,); None where the prior is learned.
        centre: How far the codes' mean is from the prior's, in the prior's standard deviations, (D,).
        spread: Variance of codes drawn from the posteriors of all images, over the prior's, (D,): 1 where they agree.
        ks: Distance of each unit's distribution from the prior's, (D,).
        mmd: Squared discrepancy of codes and prior as a whole.
        noise: What `ks` has where both are the same, at 1 in 1,000.
        joint: How codes compare with N(0, I) all together; None where that is not the prior, or as `joint_fit` says.
    """

    units: int
    active: int
    kl: float | None
    kl_per_unit: Tensor | None
    centre: Tensor
    spread: Tensor
    ks: Tensor
    mmd: float
    noise: float
    joint: JointFit | None = None


def code_facts(
    means: Tensor,
    log_variances: Tensor | None,
    prior: Tensor,
    noise: Tensor,
    *,
    learned: LearnedPrior | None = None,
    normal: bool = False,
    most: int = 1000,
) -> CodeFacts:
    """Measure codes of images against the prior.

    Args:
        means: (N, D).
        log_variances: (N, D); None where codes are points.
        prior: Draws from the prior, (M, D).
        noise: Standard normal, (N, D), to draw codes with.
        learned: The prior itself where it is learned; the KL is then measured to it, and is of no single unit.
        normal: Whether the prior is N(0, I), with which codes are then also compared all together.
        most: Rows that the discrepancy is computed of.
    """
    means, prior = means.double(), prior.double()
    if log_variances is None:
        drawn, kl_per_unit = means, None
        active = int(alive(means.numpy(), points=True).sum())
    else:
        posterior = DiagonalGaussian(means, log_variances.double())
        drawn, kl_per_unit = posterior.sample(noise.double()), posterior.kl_per_unit().mean(0)
        active = int((means.var(0) > ACTIVE).sum())
    kl = None if kl_per_unit is None else float(kl_per_unit.sum())
    if learned is not None and log_variances is not None:
        with torch.no_grad():
            kl, kl_per_unit = float(half_closed_kl(posterior, drawn, learned).mean()), None
    return CodeFacts(
        units=means.shape[1],
        active=active,
        kl=kl,
        kl_per_unit=kl_per_unit,
        centre=(drawn.mean(0) - prior.mean(0)).abs() / prior.std(0).clamp(min=1e-12),
        spread=drawn.var(0) / prior.var(0).clamp(min=1e-24),
        ks=two_sample_ks(drawn, prior),
        mmd=mmd(drawn[:most], prior[:most]),
        noise=1.95 * math.sqrt(1 / len(drawn) + 1 / len(prior)),
        joint=joint_fit(drawn) if normal else None,
    )


def posterior_collapse(
    facts: CodeFacts, *, beta_in_nats: float | None = None, averaged: bool = False, against: str = ""
) -> Finding | None:
    """Find codes without information, or with mostly inactive units.

    Args:
        facts: Of an encoder that gives distributions; nothing is said of points.
        beta_in_nats: What the KL weighs against the bound in nats, where that is known.
        averaged: Whether the loss averages over pixels, which is what makes it weigh so much.
        against: What helps this model against it, as advice; empty where nothing does.
    """
    if facts.kl is None:
        return None
    evidence = {"kl_nats": facts.kl, "active_units": float(facts.active), "units": float(facts.units)}
    weighs = beta_in_nats is not None and beta_in_nats > 1.5
    if weighs and beta_in_nats is not None:
        evidence["beta_in_nats"] = beta_in_nats
        why = f"; the KL weighs {beta_in_nats:,.4g} times what the bound in nats gives it"
        advice = "--reduction sum --beta 1" if averaged else "--beta 1"
        advice += ", the bound in nats; then, if it still collapses, --kl-warmup-images or --free-bits 0.1"
    else:
        why = ""
        advice = f"{against}, or a decoder of fewer --widths" if against else "a decoder of fewer --widths"
    seen = f"{facts.active} of {facts.units} units are active, KL {facts.kl:.3g} nats an image{why}"
    if facts.active == 0 or facts.kl < EMPTY:
        return Finding(
            "posterior collapse",
            "fault",
            f"the codes say nothing of the images: {seen}; what is decoded has nothing to do with what was encoded",
            evidence,
            advice,
        )
    if facts.units >= 20 and facts.active < 0.05 * facts.units:
        return Finding("posterior collapse", "warning", f"nearly all codes are empty: {seen}", evidence, advice)
    if facts.active <= facts.units / 2:
        spare = f"--latent-dim {facts.active} would do as well" + (f"; or {advice}" if weighs else "")
        return Finding("unused units", "note", f"{seen}; the others stay at the prior", evidence, spare)
    return None


def off_prior(facts: CodeFacts, towards: str = "", *, decodes_prior: bool = False) -> Finding | None:
    """Find codes that do not lie where samples are drawn: samples then come from places the decoder never saw.

    Args:
        facts: Of the codes.
        towards: What holds the codes of this model to the prior, as advice; empty where nothing does.
        decodes_prior: Whether the decoder learned from codes of the prior: then reconstructions come from such places.
    """
    spread, centre, worst = float(facts.spread.median()), float(facts.centre.max()), float(facts.ks.max())
    near = 0.5 <= spread <= 2 and worst <= max(0.25, 2 * facts.noise)
    evidence = {"variance_ratio": spread, "largest_mean": centre, "largest_ks": worst, "mmd": facts.mmd}
    advice = "sample with --prior gaussian or --prior mixture, fitted to the codes"
    advice += f"; or train with {towards}" if towards else ""
    if decodes_prior:
        advice = "longer training: the encoder does not invert the generator yet; samples are none the worse for it"
    if near and facts.joint is not None and facts.joint.off:
        fit = facts.joint
        evidence |= {"nats_gaussian": fit.gaussian, "nats_mixture": fit.mixture}
        says = (
            "each latent dimension lies nearly as N(0, 1) does, but not all together as N(0, I): a mixture fitted to "
            f"some codes makes the others {fit.mixture:.3g} nats a code more likely ({fit.low:.3g} to {fit.high:.3g})"
        )
        severity: Severity = "warning" if fit.low > FAR and not decodes_prior else "note"
        return Finding("codes off the prior", severity, says, evidence, advice.replace("--prior gaussian or ", ""))
    if near:
        return None
    grave = facts.mmd > 0.2 or not 0.1 <= spread <= 10
    return Finding(
        "codes off the prior",
        "warning" if grave else "note",
        f"the codes of images do not lie as the prior does: their variance is {spread:.3g} times the prior's (the "
        f"median unit's), a mean lies up to {centre:.3g} of its standard deviations away, and distributions differ by "
        f"up to {worst:.2f} of 1",
        evidence,
        advice,
    )


@dataclass(frozen=True)
class EntryFacts:
    """How images use the entries of a codebook.

    Attributes:
        entries: Entries there are.
        used: How many of them some place of some image takes.
        perplexity: exp of the entropy of their frequencies: as many in even use would have it.
        nats: -log p of the codes under the prior, the mean over images.
        even_nats: The same were each entry as probable as the next, places times log of the entries.
    """

    entries: int
    used: int
    perplexity: float
    nats: float
    even_nats: float


def entry_facts(numbers: Tensor, nats: Tensor, entries: int) -> EntryFacts:
    """Measure the use of a codebook.

    Args:
        numbers: Of the entry at each place of each image's code, (N, P).
        nats: -log p of each code under the prior, (N,).
        entries: Entries there are.

    >>> entry_facts(torch.tensor([[0, 1], [0, 1]]), torch.tensor([1.0, 2.0]), 4)
    EntryFacts(entries=4, used=2, perplexity=2.0, nats=1.5, even_nats=2.772588722239781)
    """
    share = torch.bincount(numbers.flatten(), minlength=entries).double() / numbers.numel()
    entropy = -torch.xlogy(share, share).sum()
    used, even = int((share > 0).sum()), numbers.shape[1] * math.log(entries)
    return EntryFacts(entries, used, round(float(entropy.exp()), 6), float(nats.double().mean()), even)


def unused_entries(facts: EntryFacts) -> Finding | None:
    """Find a codebook of which images use little: its perplexity is below a tenth of its entries, or below two."""
    if facts.perplexity >= max(2.0, 0.1 * facts.entries):
        return None
    evidence = {"perplexity": facts.perplexity, "entries_used": float(facts.used), "entries": float(facts.entries)}
    grave = facts.perplexity < 2
    return Finding(
        "codebook collapse",
        "fault" if grave else "warning",
        f"images use {facts.used} of {facts.entries} entries, unevenly: as many as {facts.perplexity:.3g} in even use",
        evidence,
        "a larger --dead-share or --commitment, a smaller --codebook-decay or --lr; or fewer --entries",
    )


def untaught_prior(facts: EntryFacts) -> Finding | None:
    """Find a prior over entries that has learned next to nothing, so that samples are put together at random."""
    if facts.nats < 0.95 * facts.even_nats:
        return None
    return Finding(
        "prior has not learned",
        "warning",
        f"the prior gives the codes of images {facts.nats:,.4g} nats, and even entries {facts.even_nats:,.4g}: samples "
        "are put together at random",
        {"code_nats": facts.nats, "even_nats": facts.even_nats},
        "train longer, past --autoencoder-images where that is set; a higher --prior-lr",
    )


@dataclass(frozen=True)
class SampleFacts:
    """How samples lie among each other, compared with as many real images.

    Attributes:
        spread: Variance of pixels over samples, over that of real images: 0 where all samples are one picture.
        duplicates: Share of samples with another one nearer than a tenth of the usual distance of real images to
            their nearest.
        real_duplicates: The same of the real images.
        count: Samples.
    """

    spread: float
    duplicates: float
    real_duplicates: float
    count: int


def same_samples(
    facts: SampleFacts,
    *,
    encodes: bool,
    codes: CodeFacts | None = None,
    against: str = "",
    takes: Takes = everything,
) -> Finding | None:
    """Find samples that are alike: mode collapse of a GAN, or a decoder that ignores its code.

    Args:
        facts: Of samples and real images.
        encodes: Whether the decoder learns from codes of an encoder, whose remedies are others than a GAN's.
        codes: Of its encoder: whether they say anything, and lie where samples are drawn, decides what to try.
        against: What makes the codes of this model say more, as advice; empty where nothing does.
        takes: Which settings the run could have: its advice names no others.
    """
    evidence = {"spread": facts.spread, "duplicates": facts.duplicates, "real_duplicates": facts.real_duplicates}
    alike, doubled = (
        facts.spread < (ALIKE_MEANS if encodes else ALIKE),
        facts.duplicates - facts.real_duplicates > COPIED,
    )
    if not (alike or doubled):
        return None
    total = facts.spread < 0.05 or facts.duplicates - facts.real_duplicates > 0.5
    if codes is not None and codes.active and off_prior(codes) is not None:
        advice = "longer training; until the codes lie where samples are drawn, --prior gaussian or --prior mixture"
    elif encodes:
        advice = f"{against}, so that codes say more" if against else "longer training, or wider --widths"
    else:
        advice = "; ".join(filter(None, [advised(REMEDIES, takes), "train r3gan", "several --seed values"]))
    return Finding(
        "samples alike",
        "fault" if total else "warning",
        f"of {facts.count} samples {facts.duplicates:.0%} have a double (real images: {facts.real_duplicates:.0%}), "
        f"and together they vary {facts.spread:.2g} times as much as real images do",
        evidence,
        advice,
    )


def memorised(facts: Novelty) -> Finding | None:
    """Find samples that are copies of training images, more often than held-out images are."""
    extra = facts.copies - facts.unseen_copies
    if extra <= COPIED:
        return None
    evidence = {"copies": facts.copies, "unseen_copies": facts.unseen_copies, "distance_ratio": facts.ratio}
    return Finding(
        "memorised",
        "fault" if extra > 0.5 else "warning",
        f"{facts.copies:.0%} of samples are near copies of one training image (of held-out images: "
        f"{facts.unseen_copies:.0%}); their nearest training image is {facts.ratio:.2g} times as far as a new image's",
        evidence,
        "more images, --flip or --shift 2, a smaller --latent-dim or --widths, or fewer --epochs",
    )


def missing_modes(
    counts: Tensor, expected: Tensor, names: tuple[str, ...], takes: Takes = everything
) -> Finding | None:
    """Find classes that samples do not show, according to a classifier.

    A class is missing with less than a tenth of its share among real images.

    Args:
        counts: Samples a class, (K,).
        expected: Share of each class among real images as the same classifier sees them, (K,), sum one.
        names: Of the classes.
        takes: As for `same_samples`.
    """
    share = counts.double() / counts.sum().clamp(min=1)
    lacks = [names[k] for k in range(len(names)) if expected[k] > 0 and share[k] < 0.1 * expected[k]]
    present = int((expected > 0).sum())
    if not lacks:
        return None
    return Finding(
        "missing modes",
        "fault" if len(lacks) > present / 2 else "warning",
        f"samples show {present - len(lacks)} of {present} classes; missing: {', '.join(lacks[:8])}",
        {"modes": float(present - len(lacks)), "classes": float(present)},
        "; ".join(filter(None, [advised(REMEDIES, takes), "a conditional model", "train r3gan"])),
    )
