"""Directions of attributes: along them an attribute appears and disappears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import require

WAYS = ("means", "classifier")
# A direction within the span of others leaves only rounding.
NOTHING = 1e-6


@dataclass(frozen=True)
class Held:
    """How well a direction separates held-out images, with the attribute from without.

    Attributes:
        n: Images.
        positives: How many of them have the attribute.
        balanced_accuracy: Mean of the share found among those with and those without, parted where the
            codes that the direction was made from are parted best; 0.5 is chance. NaN where one kind is missing.
        auroc: Chance that one with the attribute stands further along than one without; 0.5 is chance.
    """

    n: int
    positives: int
    balanced_accuracy: float
    auroc: float


@dataclass(frozen=True)
class Direction:
    """A direction of the space of codes.

    Attributes:
        name: Of the attribute, class or factor.
        vector: (D,), float32: how far strength 1 goes, one standard deviation of prior or codes along it.
        by: `means` or `classifier`.
        gap: Distance of the codes with the attribute from those without, along it, in standard deviations.
        held: How well it separates held-out images; None where it is not known.
        orthogonal_to: Names of the directions that it was made orthogonal to.
        facts: What else is known of how it was made.
    """

    name: str
    vector: Tensor
    by: str
    gap: float
    held: Held | None = None
    orthogonal_to: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


def normal_of(codes: Tensor, has: np.ndarray, by: str) -> Tensor:
    """Return the direction, of length one, from codes without an attribute to codes with it.

    `means`: the difference of the two means (Larsen et al. 2016). `classifier`: the normal of the plane that logistic
    regression puts between them, both kinds weighing the same (Shen et al. 2020, "InterFaceGAN").

    Args:
        codes: (N, D).
        has: (N,), whether each has it.
        by: `means` or `classifier`.

    Returns:
        (D,), float64.
    """
    require(by in WAYS, "by", by, "must be 'means' or 'classifier'")
    values, positives = codes.double().cpu(), int(has.sum())
    rule = "a direction needs at least 2 images with it and 2 without; give more --images"
    require(2 <= positives <= len(has) - 2, "images", f"{positives} of {len(has)} with the attribute", rule)
    if by == "means":
        chosen = torch.from_numpy(has)
        normal = values[chosen].mean(0) - values[~chosen].mean(0)
    else:
        from sklearn.linear_model import LogisticRegression

        # One scale for all dimensions: a scale for each would blow up inactive units.
        scale = float(values.var(0).mean().sqrt()) or 1.0
        fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit(
            ((values - values.mean(0)) / scale), has
        )
        normal = torch.from_numpy(fitted.coef_[0].astype(np.float64))
    length = float(normal.norm())
    require(length > 0, "by", by, "the codes with and without are alike, so there is no direction", "try other images")
    return normal / length


def orthogonal(direction: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Return what of a direction (D,) is orthogonal to others (D,), at length one.

    u - Q Q^T u, Q an orthonormal basis of what the others span; done twice, so that rounding leaves nothing.

    Raises:
        SettingError: If nothing is left.
    """
    if not others:
        return direction / direction.norm()
    _, sizes, rows = torch.linalg.svd(torch.stack([other.double() for other in others]), full_matrices=False)
    basis = rows[sizes > NOTHING * sizes[0]]
    left = direction.double() / direction.double().norm()
    for _ in range(2):
        left = left - basis.T @ (basis @ left)
    rule = "nothing of the direction is left beside the others; leave one of them out"
    require(float(left.norm()) > NOTHING, "orthogonal_to", f"{len(others)} directions", rule)
    return left / left.norm()


def parting(places: np.ndarray, has: np.ndarray) -> float:
    """Return from where on codes count as having it, so that the balanced accuracy is highest (Youden 1950).

    Not halfway between the two means: they may spread differently.

    Args:
        places: (N,), of codes along a direction.
        has: (N,), whether each has it.
    """
    from sklearn.metrics import roc_curve

    false, true, thresholds = roc_curve(has, places)
    return float(thresholds[int(np.argmax(true - false))])


def judged(normal: Tensor, threshold: float, codes: Tensor, has: np.ndarray) -> Held:
    """Return how well a direction separates codes with an attribute from codes without.

    Args:
        normal: (D,).
        threshold: From where on a code counts as having it.
        codes: (N, D), other ones than it was made from.
        has: (N,).
    """
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    places = (codes.double().cpu() @ normal).numpy()
    positives = int(has.sum())
    if positives in (0, len(has)):
        return Held(len(has), positives, float("nan"), float("nan"))
    balanced = float(balanced_accuracy_score(has, places >= threshold))
    return Held(len(has), positives, balanced, float(roc_auc_score(has, places)))
