"""Whether codes together lie as N(0, I) does, judged by priors that are fitted to some and tried on the others.

Each latent dimension may be distributed as N(0, 1) and still all together not: an aggregated posterior may fill a part
of the space only. A density sees that, tests of single dimensions do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.models.priors import FittedGaussian, FittedMixture, normal_log_prob

FEWEST_CODES, MOST_UNITS = 40, 128
HELD_OUT = 4  # every fourth code is not fitted to
CLEARLY = 0.5  # nats a code; where codes fill a part of N(0, I) evenly, 4 in 10 samples of N(0, I) lie outside of it


@dataclass(frozen=True)
class JointFit:
    """How much more likely held-out codes are under fitted priors than under N(0, I), in nats a code.

    Attributes:
        gaussian: Under a Gaussian with the codes' mean and covariance.
        mixture: Under a mixture of Gaussians.
        low: Lower end of the 95 % interval of `mixture`.
        high: Its upper end.
        codes: How many codes were held out.
    """

    gaussian: float
    mixture: float
    low: float
    high: float
    codes: int

    @property
    def off(self) -> bool:
        """Whether the codes clearly do not lie as N(0, I) does."""
        return self.low > CLEARLY


def joint_fit(codes: Tensor) -> JointFit | None:
    """Fit priors to three quarters of codes (N, D) and compare them with N(0, I) on the last quarter.

    A prior that is fitted to too few codes loses there, so that few codes say nothing against N(0, I). None where there
    are hardly any, or so many dimensions that fitting to them would take long.
    """
    if len(codes) < FEWEST_CODES or codes.shape[1] > MOST_UNITS:
        return None
    codes = codes.double()
    held = torch.arange(len(codes)) % HELD_OUT == HELD_OUT - 1
    fitted, judged = codes[~held], codes[held]
    usual = normal_log_prob(judged)
    gaussian, mixture = (prior.fit(fitted).log_prob(judged) - usual for prior in (FittedGaussian, FittedMixture))
    mean, half = float(mixture.mean()), 1.96 * float(mixture.std()) / math.sqrt(len(judged))
    return JointFit(float(gaussian.mean()), mean, mean - half, mean + half, len(judged))
