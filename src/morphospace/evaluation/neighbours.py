"""Nearest neighbours in blocks: only some rows of the N x M distances are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.evaluation.statistics import Features, matrix

ENTRIES = 1 << 23
"""Numbers in memory at once: 64 MiB in float64."""
QUERIES = 4096
CENTRED_ON = 1024
SPARE = 3  # candidates beyond those asked for, whose order the quick distances may have wrong


@dataclass(frozen=True)
class Nearest:
    """The nearest references of each query, nearest first.

    Attributes:
        squared: Squared Euclidean distances, float64, (N, k).
        rows: Which references, int64, (N, k).
    """

    squared: Tensor
    rows: Tensor

    @property
    def distances(self) -> Tensor:
        """Euclidean, float64, (N, k)."""
        return self.squared.sqrt()


def squared_blocks(
    queries: Tensor, references: Tensor, kind: torch.dtype = torch.float64
) -> Iterator[tuple[slice, Tensor]]:
    """Yield squared Euclidean distances of some queries to all references.

    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y: a matrix product, and three times the speed of differences. Take a common mean
    off both first: it changes no distance and keeps the digits.

    Yields:
        Which queries, and their distances (B, M).
    """
    references = references.to(kind)
    lengths = references.square().sum(1)
    rows = max(1, ENTRIES // len(references))
    for first in range(0, len(queries), rows):
        taken = slice(first, min(first + rows, len(queries)))
        values = queries[taken].to(kind)
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


def nearest(
    queries: Features, references: Features, k: int = 1, *, skip_self: bool = False, block: int | None = None
) -> Nearest:
    """Find the k nearest references of each query, exactly.

    Both are taken in blocks, so both may be memory maps that do not fit into memory. Matrix products choose the
    candidates, in float32 for 8-bit values; differences in float64 decide, so a copy is at distance 0.

    Args:
        queries: (N, ...), such as features or pictures.
        references: (M, ...), as many numbers a row.
        k: How many neighbours of each.
        skip_self: Leave out reference i for query i: both are the same set.
        block: Queries and references at once; chosen by their size when None.
    """
    most = len(references) - skip_self
    require(1 <= k <= most, "k", k, f"must be from 1 to {most}, as many as there are references")
    some = _rows(references, slice(CENTRED_ON), "references")
    centre, kind = (0, torch.float32) if some.dtype == torch.uint8 else (some.double().mean(0), torch.float64)
    squared, rows = [], []
    for first in range(0, len(queries), block or QUERIES):
        wanted = _rows(queries, slice(first, first + (block or QUERIES)), "queries").double() - centre
        own = first if skip_self else None
        found = _candidates(wanted, references, centre, kind, min(k + SPARE, most), block, own)
        exact, order = _exact(wanted, references, centre, found).sort(dim=1, stable=True)
        squared.append(exact[:, :k])
        rows.append(found.gather(1, order[:, :k]))
    return Nearest(torch.cat(squared), torch.cat(rows))


def _rows(values: Features, at: slice | np.ndarray, name: str) -> Tensor:
    """Return some rows as a matrix (B, D)."""
    some = values[at]
    return matrix(some.reshape(len(some), -1), name)


def _candidates(
    wanted: Tensor,
    references: Features,
    centre: Tensor | int,
    kind: torch.dtype,
    count: int,
    block: int | None,
    own: int | None,
) -> Tensor:
    """Return the rows (N, count) of the references nearest to queries (N, D); `own` is the reference of query 0."""
    best = torch.full((len(wanted), count), torch.inf, dtype=kind)
    rows = torch.zeros(len(wanted), count, dtype=torch.int64)
    step = block or max(count, ENTRIES // wanted.shape[1])
    for first in range(0, len(references), step):
        part = _rows(references, slice(first, first + step), "references") - centre
        for taken, squared in squared_blocks(wanted, part, kind):
            if own is not None:
                same = torch.arange(own + taken.start, own + taken.stop) - first
                inside = (same >= 0) & (same < len(part))
                squared[inside.nonzero().flatten(), same[inside]] = torch.inf
            squared, at = squared.topk(min(count, len(part)), largest=False)
            best[taken], order = torch.cat([best[taken], squared], 1).topk(count, largest=False)
            rows[taken] = torch.cat([rows[taken], first + at], 1).gather(1, order)
    return rows


def _exact(wanted: Tensor, references: Features, centre: Tensor | int, rows: Tensor) -> Tensor:
    """Return squared distances (N, n) of queries (N, D) to the references in rows (N, n), by differences in float64."""
    made = []
    step = max(1, ENTRIES // (wanted.shape[1] * rows.shape[1]))
    for some, at in zip(wanted.split(step), rows.split(step), strict=True):
        lying, back = at.unique(return_inverse=True)  # as they lie on disk, each once
        known = _rows(references, lying.numpy(), "references").double() - centre
        made.append((some[:, None] - known[back]).square().sum(2))
    return torch.cat(made)
