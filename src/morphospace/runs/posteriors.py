"""What a run's own encoder says of images: whole posteriors, where `codes` gives a point of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphospace.data.pack import Split
from morphospace.errors import NoEncoder
from morphospace.models.contract import Encodes
from morphospace.models.distributions import DiagonalGaussian
from morphospace.runs.codes import AT_ONCE, as_seen, told_of
from morphospace.runs.run import Run


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of some images.

    Attributes:
        means: (N, D), float32 on the CPU.
        log_variances: (N, D); None where the encoder gives points.
    """

    means: Tensor
    log_variances: Tensor | None


@torch.no_grad()
def posteriors(run: Run, split: Split, rows: np.ndarray) -> Posteriors:
    """Encode some rows of a split.

    Raises:
        NoEncoder: The model itself has no encoder.
    """
    model = run.model
    if not isinstance(model, Encodes):
        name = run.configuration.model.name
        raise NoEncoder("run", str(run.path), f"{name} has no encoder of its own, so its images have no posteriors")
    means: list[Tensor] = []
    variances: list[Tensor] = []
    for first in range(0, len(rows), AT_ONCE):
        part = rows[first : first + AT_ONCE]
        images = model.from_uint8(torch.from_numpy(as_seen(run, np.array(split.images[part]), part)))
        posterior = model.encode(images, told_of(model, split, part))
        means.append(posterior.mean.float().cpu())
        if isinstance(posterior, DiagonalGaussian):
            variances.append(posterior.log_variance.float().cpu())
    return Posteriors(torch.cat(means), torch.cat(variances) if variances else None)
