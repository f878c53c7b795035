"""Problems of a run: findings with evidence and advice, and the detectors that read its training history.

A detector is a function of numbers that returns a finding or nothing. Those of codes and samples are in `collapse`.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from morphospace.evaluation.roughness import roughness

Severity = Literal["note", "warning", "fault"]
Lines = Sequence[Mapping[str, Any]]
Options = Mapping[str, Mapping[str, Any]]
"""Things to try, in words, each with the settings that a run must take for it."""
Takes = Callable[[Mapping[str, Any]], bool]
"""Whether a run could have some settings."""

LEAST = 8  # reports that a history needs before its shape says anything
WON, LOST = 0.05, 0.98  # of what a guessing critic loses
SWING = 0.5
BURST = 100.0
SMOOTH: Options = {"--r1 1 with --critic-norm none": {"critic_norm": "none", "r1": 1.0}}
HOLDS: Options = {
    "a lower --lr": {},
    "--clip 1": {},
    "--gradient-penalty 10": {"gradient_penalty": 10.0},
    "--spectral-norm": {"spectral_norm": True},
    **SMOOTH,
}
WEAKENS: Options = {
    "--critic-lr a quarter of --lr": {"critic_lr": 1e-4},
    **SMOOTH,
    "--spectral-norm": {"spectral_norm": True},
    "with few images --augment colour,translation": {"augment": ("colour", "translation")},
}
STRENGTHENS: Options = {
    "wider --widths": {},
    "--turns 2": {"turns": 2},
    "a higher --critic-lr": {"critic_lr": 1e-3},
}
SETTLES: Options = {
    "a lower --lr": {},
    "--betas 0,0.99": {"betas": (0.0, 0.99)},
    "--betas 0.5,0.999": {"betas": (0.5, 0.999)},
    **SMOOTH,
    "--replay 0.5": {"replay": 0.5},
    "--ema-halflife-images 10000": {},
}


@dataclass(frozen=True)
class Finding:
    """One observation about a run.

    Attributes:
        name: What it is, in a word or two.
        severity: `fault` if the run is unusable, `warning` if it is worse for it, `note` for information.
        says: What is seen, in plain words with its numbers.
        evidence: The numbers.
        advice: What to try, with the flag to set.
    """

    name: str
    severity: Severity
    says: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    advice: str = ""


def everything(settings: Mapping[str, Any]) -> bool:
    """Return True: what is known of no run takes every setting."""
    return True


def advised(options: Options, takes: Takes) -> str:
    """Return in words those of some options that a run takes; empty if it takes none.

    >>> advised({"--r1 1": {"r1": 1.0}, "--turns 2": {"turns": 2}, "--clip 1": {}}, lambda given: "turns" not in given)
    '--r1 1 or --clip 1'
    """
    taken = [words for words, settings in options.items() if takes(settings)]
    return " or ".join([", ".join(taken[:-1]), taken[-1]] if taken[1:] else taken)


def worst(findings: Sequence[Finding]) -> Severity | None:
    """Return the gravest severity there is."""
    there = {finding.severity for finding in findings}
    return next((s for s in ("fault", "warning", "note") if s in there), None)


def curve(lines: Lines, name: str) -> list[float]:
    """Return a number's values over a run's reports."""
    return [float(line[name]) for line in lines if isinstance(line.get(name), int | float)]


def barely_trained(images: int, training: int) -> Finding | None:
    """Find a checkpoint that has not seen all training images yet: what else is found may pass by itself."""
    if images >= training:
        return None
    return Finding(
        "barely trained",
        "note",
        f"{images:,} images seen, {images / training:.2g} of one pass over the {training:,} there are: what else is "
        "found may pass by itself",
        {"images": float(images), "training_images": float(training)},
        "the same `morpho train` command goes on with it",
    )


def not_finite(lines: Lines) -> Finding | None:
    """Find values that are not finite: the weights overflowed."""
    for line in lines:
        for name, value in line.items():
            if isinstance(value, float) and not math.isfinite(value):
                return Finding(
                    "numbers not finite",
                    "fault",
                    f"{name} is {value} at {line['images']:,} images: weights that are no numbers cannot recover",
                    {"images": float(line["images"])},
                    "--lr ten times lower, --clip 1, or --precision fp32; then start afresh",
                )
    return None


def exploding(lines: Lines, takes: Takes = everything) -> Finding | None:
    """Find losses, judgements or gradient norms that grow without end.

    The median of the last tenth is a hundred times that of the first fifth, and 100 at least.

    Args:
        lines: The run's reports.
        takes: Which settings the run could have: its advice names no others.
    """
    found: dict[str, float] = {}
    for name in sorted({key for line in lines for key in line if "/" in key and not key.startswith("valid/")}):
        values = [abs(v) for v in curve(lines, name) if math.isfinite(v)]
        if len(values) < LEAST:
            continue
        early = statistics.median(values[: max(2, len(values) // 5)])
        late = statistics.median(values[-max(2, len(values) // 10) :])
        if late > BURST and late > BURST * early:
            found[name] = late
    if not found:
        return None
    name, late = max(found.items(), key=lambda item: item[1])
    return Finding(
        "exploding",
        "fault",
        f"{name} has grown to {late:,.4g}, over a hundred times what it began with, and nothing holds it",
        found,
        advised(HOLDS, takes),
    )


def diverging(lines: Lines) -> Finding | None:
    """Find a loss on held-out images, or of a lone player, that has come up again by half of what it had fallen."""
    players = {name for line in lines for name in line if name.endswith("/loss") and name.count("/") == 1}
    lone = [name for name in players if name != "valid/loss"]
    names = ["valid/loss"] if curve(lines, "valid/loss") else lone if len(lone) == 1 else []
    for name in names:
        values = [v for v in curve(lines, name) if math.isfinite(v)]
        if len(values) < LEAST:
            continue
        lowest, last = min(values), statistics.median(values[-max(2, len(values) // 10) :])
        fall = values[0] - lowest
        if fall > 0 and last - lowest > 0.5 * fall:
            return Finding(
                "diverging",
                "warning",
                f"{name} fell from {values[0]:,.4g} to {lowest:,.4g} and is back at {last:,.4g}",
                {"first": values[0], "lowest": lowest, "last": last},
                "a lower --lr, --schedule cosine or --clip 1; the best checkpoint is the one used meanwhile",
            )
    return None


def _critic_loss(lines: Lines) -> list[float]:
    """Return the critic's loss at each report, without penalties."""
    names = [n for n in ("critic/real", "critic/fake", "critic/paired") if curve(lines, n)]
    return [sum(parts) for parts in zip(*(curve(lines, name) for name in names))] if names else []


def critic_balance(lines: Lines, chance: float, takes: Takes = everything) -> Finding | None:
    """Find a critic that has won, or that cannot separate real from generated, in the last quarter of a run.

    Args:
        lines: The run's reports.
        chance: What a critic that only guesses loses; 0 for a loss that has no bound, of which nothing is said.
        takes: As for `exploding`.
    """
    values = [v for v in _critic_loss(lines) if math.isfinite(v)]
    if len(values) < LEAST or chance <= 0:
        return None
    late = statistics.median(values[-max(2, len(values) // 4) :])
    evidence = {"critic_loss": late, "guessing": chance}
    for name in ("score_real", "score_fake"):
        judged = curve(lines, f"critic/{name}")
        if judged:
            evidence[name] = statistics.median(judged[-max(2, len(judged) // 4) :])
    if late < WON * chance:
        return Finding(
            "critic saturated",
            "warning",
            f"the critic tells real from generated nearly always: it loses {late:.3g}, by guessing it would lose "
            f"{chance:.3g}, so the generator learns little from it",
            evidence,
            advised(WEAKENS, takes),
        )
    if late > LOST * chance:
        return Finding(
            "critic tells nothing",
            "note",
            f"the critic loses {late:.3g}, as much as by guessing ({chance:.3g}): either the samples are perfect, or "
            "it is too weak to teach",
            evidence,
            f"look at the samples; if they are poor, {advised(STRENGTHENS, takes)}",
        )
    return None


def oscillation(lines: Lines, takes: Takes = everything) -> Finding | None:
    """Find players that chase each other: slow, large swings of the generator's loss in the second half of a run.

    Swings are slow where neighbouring reports are alike (correlation above a half), large where their spread is over
    half of the mean, and swings where the mean is crossed four times or more.

    Args:
        lines: The run's reports.
        takes: As for `exploding`.
    """
    # By whoever learns from the critic: a GAN's generator, a VAE-GAN's decoder, or its whole VAE.
    players = (f"{player}/adversarial" for player in ("generator", "decoder", "vae"))
    values = next((values for player in players if (values := curve(lines, player))), [])
    late = [v for v in values[len(values) // 2 :] if math.isfinite(v)]
    if len(late) < 2 * LEAST:
        return None
    mean, spread = statistics.fmean(late), statistics.pstdev(late)
    if spread == 0:
        return None
    centred = [v - mean for v in late]
    alike = sum(a * b for a, b in itertools.pairwise(centred)) / sum(v * v for v in centred)
    crossings = sum(a * b < 0 for a, b in itertools.pairwise(centred))
    if spread < SWING * abs(mean) or alike < 0.5 or crossings < 4:
        return None
    evidence = {"mean": mean, "spread": spread, "crossings": float(crossings), "alike": alike}
    rough = roughness(values)
    return Finding(
        "oscillation",
        "warning",
        f"the generator's loss swings by {spread:.3g} about {mean:.3g} and crosses it {crossings} times: the players "
        "chase each other and do not settle",
        evidence | ({} if rough is None else {"roughness": rough}),
        advised(SETTLES, takes),
    )
