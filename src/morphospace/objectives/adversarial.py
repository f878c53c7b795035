"""The losses of critic and generator. Judgements are logits, (B,), higher for more real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class AdversarialLoss:
    """A loss pair, one for each player.

    Attributes:
        critic: (judgements of real, of fake) -> named values to minimise, (B,) each.
        generator: (judgements of fake, of real) -> values to minimise, (B,).
        pairs: Whether the generator's loss needs the judgements of real images too.
        logits: Whether sigmoid(judgement) is a probability.
        shifts: Whether a constant added to every judgement changes no gradient: a bias of the critic's last layer
            would then never learn.
    """

    critic: Callable[[Tensor, Tensor], dict[str, Tensor]]
    generator: Callable[[Tensor, Tensor], Tensor]
    pairs: bool = False
    logits: bool = False
    shifts: bool = False


def _nonsaturating_critic(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    return {"real": functional.softplus(-real), "fake": functional.softplus(fake)}


def _wasserstein_critic(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    return {"real": -real, "fake": fake}


def _hinge_critic(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    return {"real": functional.relu(1 - real), "fake": functional.relu(1 + fake)}


def _least_squares_critic(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    return {"real": 0.5 * (real - 1) ** 2, "fake": 0.5 * fake**2}


def _relativistic_critic(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    return {"paired": functional.softplus(fake - real)}


NONSATURATING = AdversarialLoss(_nonsaturating_critic, lambda fake, real: functional.softplus(-fake), logits=True)
"""-log D(x) - log(1 - D(G(z))) against -log D(G(z)), with D = sigmoid(judgement) (Goodfellow et al. 2014)."""

WASSERSTEIN = AdversarialLoss(_wasserstein_critic, lambda fake, real: -fake, shifts=True)
"""f(G(z)) - f(x) against -f(G(z)): minus the critic's loss bounds a multiple of the earth mover's distance from
below, as long as something keeps f Lipschitz (Arjovsky et al. 2017)."""

HINGE = AdversarialLoss(_hinge_critic, lambda fake, real: -fake)
"""max(0, 1 - f(x)) + max(0, 1 + f(G(z))) against -f(G(z)) (Lim & Ye 2017; Miyato et al. 2018)."""

LEAST_SQUARES = AdversarialLoss(_least_squares_critic, lambda fake, real: 0.5 * (fake - 1) ** 2)
"""(f(x) - 1)^2 / 2 + f(G(z))^2 / 2 against (f(G(z)) - 1)^2 / 2: targets 1, 0 and 1 (Mao et al. 2017)."""

RELATIVISTIC = AdversarialLoss(
    _relativistic_critic, lambda fake, real: functional.softplus(real - fake), pairs=True, shifts=True
)
"""-log sigmoid(f(x) - f(G(z))) against -log sigmoid(f(G(z)) - f(x)): each fake is compared with a real image, so
that dropping a mode costs at once (Jolicoeur-Martineau 2019; Huang et al. 2024)."""


def feature_distance(real: Tensor, fake: Tensor) -> Tensor:
    """Return |mean f(x) - mean f(G(z))|^2 / F for critic features (B, F), as one value, (1,) (Salimans et al. 2016).

    The paper sums over the features and minimises nothing else. Here it is one term of several, and dividing by F makes
    its weight mean the same for wide and narrow critics.
    """
    return ((real.mean(0) - fake.mean(0)) ** 2).mean().reshape(1)


def balanced_weight(
    loss: Tensor, adversarial: Tensor, last: Tensor, shared: Callable[[Tensor], Tensor] = lambda gradient: gradient
) -> Tensor:
    """Return |dL/dw| / |dA/dw|, at most 10,000: the weight with which A pulls at w as much as L does, a tensor ().

    w are the weights of the last layer of what makes the images (Esser et al. 2021, "VQGAN"). No gradient passes.

    Args:
        loss: L, a tensor ().
        adversarial: A, a tensor ().
        last: w.
        shared: Returns the mean of a gradient over all processes.
    """
    gradients = [torch.autograd.grad(one, last, retain_graph=True)[0] for one in (loss, adversarial)]
    sizes = [shared(gradient).norm() for gradient in gradients]
    return (sizes[0] / (sizes[1] + 1e-4)).clamp(max=1e4).detach()


def unrolled(
    loss: Callable[[Mapping[str, Tensor]], Tensor], weights: Mapping[str, Tensor], steps: int, lr: float
) -> dict[str, Tensor]:
    """Return the weights after gradient steps that can be differentiated through (Metz et al. 2017).

    w_{k+1} = w_k - lr dL(w_k)/dw_k: plain gradient descent as in the paper, without optimizer state to copy, whatever
    optimizer trains the weights.

    Args:
        loss: The player's loss as a function of its named weights.
        weights: Its current weights.
        steps: Number of steps to look ahead.
        lr: Learning rate of these steps.
    """
    ahead = dict(weights)
    for _ in range(steps):
        gradients = torch.autograd.grad(loss(ahead), list(ahead.values()), create_graph=True)
        ahead = {name: weight - lr * gradient for (name, weight), gradient in zip(ahead.items(), gradients)}
    return ahead
