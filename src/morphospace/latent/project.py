"""Images to codes by optimisation: for a model that cannot encode, or to improve on its encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import require
from morphospace.models.contract import Decodes, Model, Scores, seeded_noise
from morphospace.models.distributions import full, per_image
from morphospace.objectives.clock import cosine
from morphospace.randomness import stream

Keep = Literal["prior", "sphere", "free"]

ROWS_AT_ONCE = 256
CANDIDATES = 16  # codes drawn for each start, of which the nearest is taken
LEVELS = 3  # of the pyramid: the image itself, at half and at a quarter of its size
# What is left between an image and its projection, as a standard deviation in [0, 1]: it sets what the prior weighs.
LEFT_OVER = 0.1
FEATURE_WEIGHT = 0.02
RATE = 0.1


@dataclass(frozen=True)
class Projection:
    """The codes found for some images.

    Attributes:
        codes: (N, D), float32 on the CPU.
        error: Mean squared error a pixel of each image, both in [0, 1], (N,).
        begun: The same where the search began: at the best of the drawn codes, or at the codes given.
    """

    codes: Tensor
    error: Tensor
    begun: Tensor


@dataclass(frozen=True)
class _Search:
    """What a search minimises, and how."""

    model: Model
    features: Callable[[Tensor, Tensor | None], Tensor] | None
    keep: Keep
    steps: int
    rate: float

    def decode(self, z: Tensor, condition: Tensor | None) -> Tensor:
        assert isinstance(self.model, Decodes)
        return full(self.model.decode(z.to(self.model.dtype), condition))

    def allowed(self, z: Tensor) -> Tensor:
        """Return codes as they may be: on the sphere of radius sqrt(D) where that is asked for."""
        return functional.normalize(z, dim=1) * math.sqrt(z.shape[1]) if self.keep == "sphere" else z

    def loss(self, z: Tensor, images: Tensor, wanted: Tensor | None, condition: Tensor | None) -> Tensor:
        """Return what each code costs, (B,), in squared units of the range [0, 1]."""
        code = self.allowed(z)
        made = self.decode(code, condition)
        loss = pyramid_error(made, images, self.model.signed)
        if self.features is not None and wanted is not None:
            found = self.features(made, condition)
            loss = loss + FEATURE_WEIGHT * ((found - wanted) ** 2).mean(1) / (wanted**2).mean(1).clamp(min=1e-8)
        if self.keep == "prior":
            # -log N(z; 0, I) beside -log N(x; G(z), s^2) = n / (2 s^2) MSE, so that in units of the MSE it weighs
            # s^2 / n |z|^2.
            loss = loss + LEFT_OVER**2 / images[0].numel() * (z**2).sum(1)
        return loss


def mean_squared(made: Tensor, images: Tensor, signed: bool) -> Tensor:
    """Return the mean squared error of images (B, C, H, W) in the model's range, as if both were in [0, 1], (B,)."""
    squared = (full(made) - full(images)) ** 2
    return per_image(squared) / images[0].numel() / (4.0 if signed else 1.0)


def pyramid_error(made: Tensor, images: Tensor, signed: bool) -> Tensor:
    """Return the mean squared error averaged over the image, its half and its quarter size, (B,).

    What is far off in place still pulls in the coarse levels, where pixels alone would only fade it.
    """
    errors = [mean_squared(made, images, signed)]
    while len(errors) < LEVELS and min(made.shape[2:]) >= 8:
        made, images = functional.avg_pool2d(made, 2), functional.avg_pool2d(images, 2)
        errors.append(mean_squared(made, images, signed))
    return torch.stack(errors).mean(0)


def critic_features(model: Model) -> Callable[[Tensor, Tensor | None], Tensor] | None:
    """Return the last features (B, F) of the model's own critic of images, a function of images and condition.

    None where there is no critic, or it is the caller's own without `features`, or judges several images at once.
    """
    critic = dict(model.networks.named_children()).get("critic")
    if critic is None or not isinstance(model, Scores) or not hasattr(critic, "features"):
        return None
    if getattr(model.settings, "packing", 1) > 1:
        return None

    def features(images: Tensor, condition: Tensor | None) -> Tensor:
        shown = images if model.signed else images * 2 - 1  # every critic sees [-1, 1]
        given = () if condition is None else (condition,)
        return full(critic.features(shown.to(model.dtype), *given)).flatten(1)  # type: ignore[operator]

    return features


@contextmanager
def at_rest(networks: nn.Module) -> Iterator[None]:
    """Hold networks in evaluation mode, in which no batch norm moves, and restore their modes."""
    modes = {module: module.training for module in networks.modules()}
    networks.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def project(
    model: Model,
    images: Tensor,
    condition: Tensor | None = None,
    *,
    begin: Tensor | None = None,
    starts: int = 8,
    steps: int = 300,
    keep: Keep = "prior",
    seed: int = 0,
) -> Projection:
    """Find codes whose decoded images are near to given ones; the model does not change.

    min over z of  P(G(z), x) + w |f(G(z)) - f(x)|^2 / |f(x)|^2 + s^2 / n |z|^2,

    P being the mean squared error over three sizes of the image, f the last features of the model's own critic where
    it has one, and the last term -log N(z; 0, I). Adam, several starts in one batch; each start is the nearest of 16
    codes drawn from N(0, I). The best code of the best start is returned, so the loss never ends above where it
    began. Row i depends on (seed, i) only, whatever else is projected beside it.

    Args:
        model: Any that decodes.
        images: (N, C, H, W), in the model's range.
        condition: (N, K), where the model is conditional.
        begin: Codes (N, D) to begin at, of an encoder for instance; they take the place of the first start.
        starts: From how many codes to search for each image.
        steps: Of Adam, the rate falling from 0.1 to 0 by a cosine.
        keep: What keeps codes plausible: the `prior` term, the `sphere` of radius sqrt(D) that N(0, I) is thin
            around, or nothing (`free`), for a model whose codes have no prior.
        seed: Of the starts.

    Reference: Zhu et al. 2016, "Generative visual manipulation on the natural image manifold"; Abdal et al. 2019.
    """
    require(starts >= 1, "starts", starts, "must be at least 1")
    require(steps >= 0, "steps", steps, "must not be negative")
    search = _Search(model, critic_features(model), keep, steps, RATE)
    block, found = max(1, ROWS_AT_ONCE // starts), []
    with at_rest(model.networks), torch.enable_grad():
        for first in range(0, len(images), block):
            rows = slice(first, first + block)
            given = None if condition is None else condition[rows].to(model.device, model.dtype)
            shown = full(images[rows].to(model.device))
            began = None if begin is None else begin[rows].to(shown)
            z = _starts(search, shown, given, began, starts, seed, first)
            found.append(_searched(search, shown, given, z))
    return Projection(*(torch.cat(parts) for parts in zip(*found)))


@torch.no_grad()
def _starts(
    search: _Search, images: Tensor, condition: Tensor | None, begin: Tensor | None, starts: int, seed: int, first: int
) -> Tensor:
    """Return codes to begin at, (B * starts, D), those of one image in a row."""
    drawn, dim = starts - (begin is not None), search.model.latent_dim
    chosen = torch.empty(len(images), drawn, dim, device=images.device)
    each = drawn * CANDIDATES
    for i in range(len(images) if drawn else 0):
        z = seeded_noise(each, dim, stream(seed, "project", first + i)).to(images)
        given = None if condition is None else condition[i : i + 1].expand(each, -1)
        errors = []
        for start in range(0, each, ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            made = search.decode(search.allowed(z[rows]), None if given is None else given[rows])
            errors.append(pyramid_error(made, images[i : i + 1].expand_as(made), search.model.signed))
        # The nearest of each start's own candidates, so that another number of starts changes none of the first.
        nearest = torch.cat(errors).view(drawn, CANDIDATES).argmin(1)
        chosen[i] = z.view(drawn, CANDIDATES, dim)[torch.arange(drawn, device=z.device), nearest]
    if begin is not None:
        chosen = torch.cat([begin.unsqueeze(1), chosen], 1)
    return chosen.flatten(0, 1)


def _searched(search: _Search, images: Tensor, condition: Tensor | None, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best code of each image, its error, and the error of the best code it began with."""
    starts, signed = len(z) // len(images), search.model.signed
    target = images.repeat_interleave(starts, 0)
    given = None if condition is None else condition.repeat_interleave(starts, 0)
    with torch.no_grad():
        wanted = None if search.features is None else search.features(target, given)
        lowest = search.loss(z, target, wanted, given)
        began = _best(search.allowed(z), lowest, starts)
    z = z.clone().requires_grad_()
    best, optimizer = z.detach().clone(), torch.optim.Adam([z], lr=search.rate)
    for step in range(search.steps + 1):
        loss = search.loss(z, target, wanted, given)
        better = loss.detach() < lowest
        lowest = torch.where(better, loss.detach(), lowest)
        best = torch.where(better.unsqueeze(1), z.detach(), best)
        if step == search.steps:
            break
        # With respect to the codes alone: no weight gets a gradient, and none needs to be frozen.
        (z.grad,) = torch.autograd.grad(loss.sum(), z)
        optimizer.param_groups[0]["lr"] = search.rate * cosine(step, search.steps)
        optimizer.step()
    codes = _best(search.allowed(best), lowest, starts)
    with torch.no_grad():
        error, begun = (mean_squared(search.decode(c, condition), images, signed) for c in (codes, began))
    return codes.float().cpu(), error.cpu(), begun.cpu()


def _best(z: Tensor, losses: Tensor, starts: int) -> Tensor:
    """Return the code of lowest loss of each image, (B, D)."""
    z, losses = z.detach().unflatten(0, (-1, starts)), losses.view(-1, starts)
    return z[torch.arange(len(z), device=z.device), losses.argmin(1)]
