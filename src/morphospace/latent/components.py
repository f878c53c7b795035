"""Components: the directions in which codes vary most, or to which a generator reacts most.

Three ways to them: principal components of codes, closed-form factorisation of the first layer's weights, and
principal components of that layer's activations, brought back to the code by regression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphospace.errors import require

# A unit is active if its posterior mean has more than this variance over the data (Burda et al. 2016).
ACTIVE = 0.01

WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
Decode = Callable[[Tensor, Tensor | None], Tensor]


def fixed_signs(directions: Tensor) -> Tensor:
    """Return rows (K, D), turned so that the largest entry of each is positive: eigenvectors have no sign."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return torch.where(largest < 0, -directions, directions)


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of codes or features, in float64, gathered a block at a time.

    Two sets A and B merge by n = n_A + n_B, d = mean_B - mean_A, mean = mean_A + d n_B / n,
    M2 = M2_A + M2_B + d d^T n_A n_B / n. No sum of squares is ever taken, so values far from zero lose no digits.

    Reference: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".

    Attributes:
        count: N.
        mean: (D,).
        scatter: M2, the sum of (x - mean)(x - mean)^T, (D, D).
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, blocks: Iterable[Tensor], dim: int) -> Moments:
        """Return the moments of rows in blocks (B, dim), of which one at a time is in memory."""
        total = cls(0, torch.zeros(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64))
        for block in blocks:
            values = block.detach().double().cpu()
            if len(values):
                mean = values.mean(0)
                centred = values - mean
                total = total.merge(cls(len(values), mean, centred.T @ centred))
        return total

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets together.

        Raises:
            SettingError: If they have different dimensions.
        """
        sizes = f"{len(self.mean)} and {len(other.mean)} features"
        require(self.mean.shape == other.mean.shape, "statistics", sizes, "must be of the same features to merge")
        total = self.count + other.count
        if total == 0:
            return self
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + torch.outer(gap, gap) * (self.count * other.count / total)
        return Moments(total, self.mean + gap * (other.count / total), scatter)

    def tensors(self) -> dict[str, Tensor]:
        """Return them as named tensors, for a file."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "m2": self.scatter}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Moments:
        """Return the moments that `tensors` wrote."""
        return cls(int(tensors["count"]), tensors["mean"], tensors["m2"])

    @property
    def covariance(self) -> Tensor:
        """(D, D), divided by n - 1."""
        require(self.count >= 2, "images", self.count, "a covariance needs at least 2")
        return self.scatter / (self.count - 1)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, (D,)."""
        return self.covariance.diagonal()

    def components(self) -> Components:
        """Return the principal components: as many as dimensions, or one less than codes where these are fewer."""
        values, vectors = torch.linalg.eigh(self.covariance)
        kept = min(len(values), self.count - 1)
        variance = values.flip(0)[:kept].clamp(min=0)
        directions = fixed_signs(vectors.T.flip(0)[:kept])
        return Components(self.mean, directions, variance, float(values.clamp(min=0).sum()), variance.sqrt())


@dataclass(frozen=True)
class Components:
    """Directions in the space of codes, by variance, largest first.

    Attributes:
        mean: (D,): where they start.
        directions: (K, D), of length one each.
        variance: (K,): of codes, of activations, or of the first layer's output along each.
        total: All the variance there is, that of dropped components included.
        spread: (K,): how far one standard deviation goes along each, in the space of codes.
        space: What varies: `codes`, `activations` or `weights`.
    """

    mean: Tensor
    directions: Tensor
    variance: Tensor
    total: float
    spread: Tensor
    space: str = "codes"

    def __len__(self) -> int:
        return len(self.directions)

    @property
    def share(self) -> Tensor:
        """The part of all variance that each explains, (K,)."""
        return self.variance / max(self.total, torch.finfo(self.variance.dtype).tiny)

    def dims_for(self, share: float) -> int | None:
        """Return how many components together explain at least this part of the variance; None if not even all do.

        Raises:
            SettingError: If it is not above 0 and at most 1.
        """
        require(0 < share <= 1, "dims_for", share, "must be above 0 and at most 1, for instance 0.9")
        enough = self.share.cumsum(0) >= share - 1e-12
        return int(enough.int().argmax()) + 1 if bool(enough.any()) else None

    def coordinates(self, codes: Tensor) -> Tensor:
        """Return where codes (N, D) stand along the components, (N, K), in the codes' own units.

        Least squares where the directions are not orthogonal.
        """
        return (codes.to(self.mean) - self.mean) @ torch.linalg.pinv(self.directions)

    def codes(self, coordinates: Tensor, *, centred: bool = False) -> Tensor:
        """Return the codes (N, D) at coordinates (N, k) along the first k components.

        Args:
            coordinates: In the codes' own units; times `spread` where they are in standard deviations.
            centred: Leave the mean out.
        """
        moved = coordinates.to(self.mean) @ self.directions[: coordinates.shape[1]]
        return moved if centred else self.mean + moved


def active_units(variance: Tensor, threshold: float = ACTIVE) -> int:
    """Return the number of active units: latent dimensions with Var_x(E_q[z | x]) above the threshold.

    Reference: Burda, Grosse & Salakhutdinov 2016, "Importance weighted autoencoders".

    Args:
        variance: (D,), of the posterior means over the data.
        threshold: 0.01, as published.
    """
    return int((variance > threshold).sum())


def factorised(weight: Tensor) -> Components:
    """Return the directions to which a first layer y = A z + b reacts most, from its weights alone.

    n_i = the eigenvectors of A^T A, the largest eigenvalues first. Under z ~ N(0, I) an eigenvalue is also the
    variance of y along its direction, and one standard deviation of the code is 1 everywhere.

    Reference: Shen & Zhou 2021, "Closed-form factorization of latent semantics in GANs".

    Args:
        weight: A, (outputs, D).
    """
    matrix = weight.detach().double().cpu()
    _, values, rows = torch.linalg.svd(matrix, full_matrices=False)
    variance = values**2
    zero = torch.zeros(matrix.shape[1], dtype=torch.float64)
    return Components(zero, fixed_signs(rows), variance, float(variance.sum()), torch.ones_like(values), "weights")


def regressed(pairs: Callable[[], Iterable[tuple[Tensor, Tensor]]], count: int) -> Components:
    """Return the principal components of activations, as directions of the codes that cause them.

    PCA of y(z) gives coordinates x = V^T (y - mean y); U = argmin |U x - z|^2 gives the direction of component k as
    its column u_k: a standard deviation sigma_k of x_k is sigma_k |u_k| in the space of codes. The PCA is the
    incremental one of scikit-learn: activations may have many thousand dimensions.

    Reference: Haerkoenen et al. 2020, "GANSpace: discovering interpretable GAN controls".

    Args:
        pairs: Gives, each time it is called, the same blocks of codes (B, D) of mean 0 and activations (B, F).
        count: How many components, at most B and F.
    """
    from sklearn.decomposition import IncrementalPCA

    pca = IncrementalPCA(count)
    for _, block in pairs():
        pca.partial_fit(_values(block))
    inner, cross = np.zeros((count, count)), 0.0
    for codes, block in pairs():
        x = pca.transform(_values(block))
        inner += x.T @ x
        cross = cross + x.T @ _values(codes)
    # A component of no variance has no direction: least squares of the least norm gives it none.
    rows = torch.from_numpy(np.linalg.pinv(inner, rcond=1e-10, hermitian=True) @ cross)
    length = rows.norm(dim=1)
    kept = length > 0
    variance = torch.from_numpy(pca.explained_variance_)
    directions = fixed_signs(rows[kept] / length[kept, None])
    total = float(pca.var_.sum()) * pca.n_samples_seen_ / (pca.n_samples_seen_ - 1)
    spread = (variance.sqrt() * length)[kept]
    zero = torch.zeros(rows.shape[1], dtype=torch.float64)
    return Components(zero, directions, variance[kept], total, spread, "activations")


def _values(block: Tensor) -> np.ndarray:
    return block.detach().double().cpu().numpy()


class _Enough(Exception):
    """The value was seen; the rest of the forward pass is not needed."""


@contextmanager
def _watched(modules: Sequence[nn.Module], see: Callable[[nn.Module, Tensor], None]) -> Iterator[None]:
    """Within it, `see` is called with what goes into each of these modules."""

    def hear(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        see(module, arguments[0])

    handles = [module.register_forward_pre_hook(hear) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class FirstLayer:
    """The first linear layer or convolution whose input begins with the code, and what comes of it.

    A condition may stand behind the code, or have layers of its own: those are passed by.

    Args:
        networks: All networks of a model.
        decode: Decodes codes (B, D) with conditions (B, K) or None.
        z: Some codes (B, D), in the networks' type and on their device.
        condition: Their conditions (B, K), where the model is conditional.
        given: (B, D), what the networks are given for the codes, where it is not the codes themselves.
    """

    def __init__(
        self,
        networks: nn.Module,
        decode: Decode,
        z: Tensor,
        condition: Tensor | None = None,
        given: Tensor | None = None,
    ) -> None:
        self.decode, self.dim, start = decode, z.shape[1], z if given is None else given
        order: list[tuple[nn.Module, bool]] = []
        weighted = [module for module in networks.modules() if isinstance(module, WEIGHTED)]

        def note(module: nn.Module, values: Tensor) -> None:
            flat = values.flatten(1)
            if condition is not None and flat.shape == condition.shape and torch.equal(flat, condition.to(flat)):
                return  # a layer of the condition's own, before the code or within a norm
            takes = flat.shape[0] == len(z) and flat.shape[1] >= self.dim and torch.equal(flat[:, : self.dim], start)
            order.append((module, takes))

        with torch.no_grad(), _watched(weighted, note):
            decode(z, condition)
        place = next((i for i, (_, takes) in enumerate(order) if takes), None)
        self.layer = None if place is None else order[place][0]
        self.after = None if place is None or place + 1 == len(order) else order[place + 1][0]

    @property
    def found(self) -> bool:
        """Whether there is such a layer."""
        return self.layer is not None

    @property
    def weight(self) -> Tensor:
        """A of y = A z + b, (outputs, D): the columns that belong to the code."""
        layer = self.layer
        assert isinstance(layer, WEIGHTED)
        if isinstance(layer, nn.ConvTranspose2d):
            return layer.weight[: self.dim].flatten(1).T
        return layer.weight[:, : self.dim].transpose(0, 1).flatten(1).T

    @torch.no_grad()
    def activations(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what the second layer gets for codes (B, D): the first one's output, after norm and activation.

        Where there is no second layer, the images themselves, flattened.
        """
        if self.after is None:
            return self.decode(z, condition).flatten(1)
        heard: list[Tensor] = []

        def catch(module: nn.Module, values: Tensor) -> None:
            heard.append(values.flatten(1))
            raise _Enough

        with _watched([self.after], catch), suppress(_Enough):
            self.decode(z, condition)
        return heard[0]
