"""Penalties on the gradient of a critic or a decoder, which keep it smooth: one value for each image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from morphospace.models.distributions import full, per_image


def differentiable(images: Tensor) -> Tensor:
    """Return images that the critic can be differentiated at.

    They are no leaf of the graph: torch's FLOP counter cannot follow the gradient at a leaf that a module is given.
    """
    return images.detach().requires_grad_().view_as(images)


def squared_gradient(judgements: Tensor, images: Tensor) -> Tensor:
    """Return |d f(x) / d x|^2 over the whole image, (B,), itself differentiable.

    Args:
        judgements: f(x), (B,); each must depend on its own image only.
        images: x, (B, C, H, W), which the judgements were computed from.
    """
    (gradient,) = torch.autograd.grad(judgements.sum(), images, create_graph=True)
    return per_image(full(gradient) ** 2)


def zero_centred(judgements: Tensor, images: Tensor) -> Tensor:
    """Return |grad f(x)|^2 / 2: R1 on real images, R2 on generated ones (Mescheder et al. 2018).

    Its weight is the gamma of the paper.
    """
    return 0.5 * squared_gradient(judgements, images)


def one_centred(judge: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return (|grad f(x)| - 1)^2 with the norm taken over the whole image (Gulrajani et al. 2017).

    Args:
        judge: f.
        images: x, points between real and generated images (see `between`).
    """
    images = differentiable(images)
    # Where the critic is flat the norm is 0, whose derivative would be infinite.
    norm = (squared_gradient(judge(images), images) + 1e-12).sqrt()
    return (norm - 1) ** 2


def squared_jacobian(images: Tensor, codes: Tensor, probe: Tensor) -> Tensor:
    """Return |J^T v|^2, (B,), for the Jacobian J = d G(z) / d z and a probe v ~ N(0, I), itself differentiable.

    Its mean over probes is |J|_F^2, the sum of all squared derivatives (Hutchinson 1990), by one backward pass in place
    of one for each pixel.

    Args:
        images: G(z), (B, C, H, W); each must depend on its own code only.
        codes: z, (B, D), which the images were computed from.
        probe: v, of the images' shape.
    """
    (gradient,) = torch.autograd.grad(images, codes, probe, create_graph=True)
    return per_image(full(gradient) ** 2)


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Return share * real + (1 - share) * fake, a share for each image, (B,)."""
    share = share.view(-1, *[1] * (real.dim() - 1))
    return torch.lerp(fake, real, share)
