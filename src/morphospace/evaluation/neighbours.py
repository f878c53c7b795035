"""Nearest neighbours in blocks: of N x M distances only some rows stand in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.evaluation.statistics import Features, matrix

ENTRIES = 1 << 23
"""Distances in memory at once: 64 MiB in float64."""
CENTRED_ON = 1024


@dataclass(frozen=True)
class Nearest:
    """The nearest references of each query, nearest first.

    Attributes:
        distances: Euclidean, float64, (N, k).
        rows: Which references, int64, (N, k).
    """

    distances: Tensor
    rows: Tensor


def squared_blocks(queries: Tensor, references: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield squared Euclidean distances of some queries to all references, in float64.

    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y: a matrix product, and three times the speed of differences. Take a common mean
    off both first: it changes no distance and keeps the digits.

    Yields:
        Which queries, and their distances (B, M).
    """
    references = references.to(torch.float64)
    lengths = references.square().sum(1)
    rows = max(1, ENTRIES // len(references))
    for first in range(0, len(queries), rows):
        taken = slice(first, min(first + rows, len(queries)))
        values = queries[taken].to(torch.float64)
        squared = torch.addmm(lengths[None], values, references.T, alpha=-2).add_(values.square().sum(1, keepdim=True))
        yield taken, squared.clamp_(min=0)


def squared_radii(features: Tensor, k: int) -> Tensor:
    """Return the squared distance (N,) of each row to its k-th nearest other row."""
    require(1 <= k < len(features), "k", k, f"must be from 1 to {len(features) - 1}, one less than there are images")
    radii = torch.empty(len(features), dtype=torch.float64, device=features.device)
    for taken, squared in squared_blocks(features, features):
        own = torch.arange(taken.start, taken.stop, device=features.device)
        # A row is not its own neighbour, and rounding may not put another before it.
        squared[own - taken.start, own] = torch.inf
        radii[taken] = squared.topk(k, largest=False).values[:, -1]
    return radii


def rounding(references: Tensor, radii: Tensor) -> Tensor:
    """Return how far off a squared distance to each reference (N,) may be that is as large as its squared radius.

    Black and white images have few distances, and many that are equal: by more than this one is larger.
    """
    return 1e-12 * (references.to(torch.float64).square().sum(1) + radii)


def nearest(queries: Features, references: Features, k: int = 1) -> Nearest:
    """Find the k nearest references of each query, exactly.

    Both are taken in blocks, so references may be a memory map that does not fit into memory.

    Args:
        queries: (N, D).
        references: (M, D).
        k: How many neighbours of each.
    """
    require(1 <= k <= len(references), "k", k, f"must be from 1 to {len(references)}, as many as there are references")
    centre = matrix(references[:CENTRED_ON], "references").double().mean(0)
    wanted = matrix(queries, "queries").double() - centre
    best = torch.full((len(wanted), k), torch.inf, dtype=torch.float64)
    rows = torch.zeros(len(wanted), k, dtype=torch.int64)
    found = torch.zeros(len(wanted), k, wanted.shape[1], dtype=torch.float64)
    step = max(k, ENTRIES // wanted.shape[1])
    for first in range(0, len(references), step):
        part = matrix(references[first : first + step], "references").double() - centre
        for taken, squared in squared_blocks(wanted, part):
            squared, at = squared.topk(min(k, len(part)), largest=False)
            best[taken], order = torch.cat([best[taken], squared], 1).topk(k, largest=False)
            rows[taken] = torch.cat([rows[taken], first + at], 1).gather(1, order)
            both = torch.cat([found[taken], part[at]], 1)
            found[taken] = both.gather(1, order[..., None].expand(-1, -1, both.shape[2]))
    # Once more by differences: the distance of an image to its own copy is 0, not the root of a rounding.
    return Nearest((wanted[:, None] - found).norm(dim=2), rows)
