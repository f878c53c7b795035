"""A prior over quantised codes: a small causal transformer that predicts each place from those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from morphospace.models.codebook import Codebook
from morphospace.models.distributions import full
from morphospace.models.priors import LearnedPrior

AT_ONCE = 256  # codes sampled at once

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values (N, heads, places so far, width of a head) of each layer."""


class CausalLayer(nn.Module):
    """Attention to this and earlier places, then a network at each place, both residual with norms before them.

    Args:
        width: Channels.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.gather = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, values: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the values (N, P, W) after the layer; with a cache, of one further place (N, 1, W)."""
        parts = self.attend(self.norm(values)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        if cache is not None:
            before = cache.pop(0)
            key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
            cache.append((key, value))
        # Not torch's own attention, which counts as random and so is in no captured step.
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        if cache is None:
            later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        seen = scores.softmax(3) @ value
        values = values + self.gather(seen.transpose(1, 2).flatten(2))
        return values + self.network(self.second_norm(values))


class CodePrior(LearnedPrior):
    """prod_i p(k_i | k_1, ..., k_{i-1}) of the entries k_i of a code, row by row: a mass over codes, not a density.

    A transformer (Vaswani et al. 2017) in place of the gated PixelCNN of van den Oord et al. 2017. It reads the entries
    themselves, not their numbers, so that it follows while they move.

    Args:
        codebook: The entries.
        grid: (h, w) of a code.
        width: Channels of the transformer.
        layers: Its layers.
        heads: Its attention heads.
    """

    def __init__(self, codebook: Codebook, grid: tuple[int, int], width: int, layers: int, heads: int) -> None:
        super().__init__()
        # In a tuple: as a module it would be saved, counted and averaged a second time.
        self._codebook, self.grid, self.heads = (codebook,), grid, heads
        entries, dim = codebook.sums.shape
        self.read = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.row, self.column = (nn.Parameter(0.02 * torch.randn(side, width)) for side in grid)
        self.layers = nn.ModuleList(CausalLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, entries)
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)

    @property
    def codebook(self) -> Codebook:
        """The entries of codes."""
        return self._codebook[0]

    @property
    def places(self) -> int:
        """Number of places of a code."""
        return math.prod(self.grid)

    def positions(self) -> Tensor:
        """Return what says where each place is, (P, W)."""
        return (self.row[:, None] + self.column).flatten(0, 1)

    def logits(self, numbers: Tensor) -> Tensor:
        """Return logits (N, P, K) of the entry at each place, given the numbers (N, P) of those at earlier places."""
        vectors = self.codebook.entries[numbers[:, :-1]].to(self.start.dtype)
        start = self.start.expand(len(numbers), 1, -1)
        values = torch.cat([start, self.read(vectors).to(start.dtype)], 1) + self.positions()
        for layer in self.layers:
            values = layer(values)
        return full(self.predict(self.norm(values)))

    def each_log_prob(self, numbers: Tensor) -> Tensor:
        """Return log p of the entry at each place given those before it, (N, P)."""
        logits = self.logits(numbers)
        return -functional.cross_entropy(logits.flatten(0, 1), numbers.flatten(), reduction="none").view(numbers.shape)

    def density(self, z: Tensor) -> Tensor:
        """Return the log mass of codes (N, D) after they are quantised, (N,)."""
        return self.each_log_prob(self.numbers(z)).sum(1)

    def numbers(self, z: Tensor) -> Tensor:
        """Return the number of the entry nearest to codes (N, D) at each place, (N, P)."""
        return self.codebook.nearest(z.unflatten(1, (self.places, -1)))

    def forward(self, uniform: Tensor, temperature: float, top_k: int) -> Tensor:
        """Return the numbers (N, P) of the entries that uniform numbers (N, P) choose, place by place."""
        entries = self.codebook.entries.to(self.start.dtype)
        empty = self.start.new_zeros(len(uniform), self.heads, 0, len(self.start) // self.heads)
        cache: Cache = [(empty, empty) for _ in self.layers]
        values, numbers = self.start.expand(len(uniform), 1, -1), []
        for place, position in enumerate(self.positions()):
            values = values + position
            for layer in self.layers:
                values = layer(values, cache)
            logits = self.predict(self.norm(values))[:, 0]
            numbers.append(choose_entries(logits, uniform[:, place], temperature, top_k))
            values = self.read(entries[numbers[-1]])[:, None]
        return torch.stack(numbers, 1)

    @torch.no_grad()
    def from_noise(self, noise: Tensor, truncation: float = 1.0, top_k: int = 0) -> Tensor:
        """Return a code for each row of noise (N, D); the first number of each place chooses its entry.

        In float64, so that what a matrix product rounds differently in another batch chooses no other entry.

        Args:
            noise: Standard normal.
            truncation: The temperature, which divides the logits.
            top_k: Choose among so many most probable entries at each place; among all of them with 0.
        """
        uniform = torch.special.ndtr(noise.double().unflatten(1, (self.places, -1))[:, :, 0])
        exact = {name: value.double() for name, value in self.named_parameters()}
        with torch.autocast(noise.device.type, enabled=False):
            parts = [functional_call(self, exact, (part, truncation, top_k)) for part in uniform.split(AT_ONCE)]
        return self.codebook.entries[torch.cat(parts)].flatten(1).to(noise)

    def among(self, top_k: int) -> MostProbable:
        """Return the prior that samples among so many most probable entries at each place."""
        return MostProbable(self, top_k)


@dataclass(frozen=True)
class MostProbable:
    """A prior over codes that chooses among the k most probable entries at each place.

    Attributes:
        prior: The prior over all entries.
        top_k: Their number k.
    """

    prior: CodePrior
    top_k: int

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return a code for each row of noise (N, D)."""
        return self.prior.from_noise(noise, truncation, self.top_k)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log mass of codes (N, D) after they are quantised, (N,)."""
        numbers = self.prior.numbers(z)
        logits = only(self.prior.logits(numbers), self.top_k).log_softmax(2)
        return logits.gather(2, numbers[:, :, None]).sum((1, 2))


def only(logits: Tensor, top_k: int) -> Tensor:
    """Return logits (..., K) of which all but the k highest are minus infinity; all of them as they are with 0."""
    if not 0 < top_k < logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(top_k, -1).values[..., -1:], -math.inf)


def choose_entries(logits: Tensor, uniform: Tensor, temperature: float, top_k: int) -> Tensor:
    """Return the entry (N,) in whose part of [0, 1) each uniform number (N,) falls, for logits (N, K).

    The parts lie in the order of the entries' numbers. At a temperature of 0 it is the most probable entry.
    """
    if temperature == 0:
        return logits.argmax(1)
    ends = (only(logits, top_k) / temperature).softmax(1).cumsum(1)
    within = uniform[:, None] * ends[:, -1:]
    return torch.searchsorted(ends, within, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
