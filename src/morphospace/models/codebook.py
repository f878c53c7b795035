"""A codebook: the entries that codes are quantised to, learned as moving averages of the vectors that choose them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from morphospace.models.distributions import full


class Codebook(nn.Module):
    """K entries of length d. Each place of a code takes the entry that is nearest to it.

    Entry k is m_k / n_k, where n_k and m_k are moving averages over training steps: of the share of vectors that choose
    k, and of their sum divided by the number of all vectors (van den Oord et al. 2017, appendix A.1; Razavi et al.
    2019). An entry chosen by fewer than `dead` times an even share, 1 / K, is revived: it begins anew at a vector of
    the batch. Vectors far from their entry are taken more often, in proportion to the squared distance, as k-means++
    chooses its centres (Arthur & Vassilvitskii 2007).

    Entries have no gradient. Both averages are buffers, which checkpoints hold.

    Args:
        entries: Number of entries K.
        dim: Length d of each.
        decay: Weight of the past in the averages, for each step.
        dead: Of an even share, below which an entry is revived.
    """

    share: Tensor
    sums: Tensor
    smallest = 1e-12  # share of an entry that nothing has chosen yet

    def __init__(self, entries: int, dim: int, decay: float, dead: float) -> None:
        super().__init__()
        self.decay, self.dead = decay, dead
        # All entries are dead at first: the first batch of training places them.
        self.register_buffer("share", torch.full((entries,), self.smallest))
        self.register_buffer("sums", torch.randn(entries, dim) * self.smallest)

    @property
    def entries(self) -> Tensor:
        """The entries (K, d)."""
        return self.sums / self.share[:, None]

    def nearest(self, vectors: Tensor) -> Tensor:
        """Return the number of the entry nearest to each vector (..., d), (...)."""
        # In half precision the differences of squares would be lost.
        with torch.autocast(vectors.device.type, enabled=False):
            entries = self.entries
            return (entries.square().sum(1) - 2 * full(vectors).to(entries.dtype) @ entries.T).argmin(-1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the entry nearest to each vector, (..., d).

        The gradient passes straight through: the vectors get that of the entries (van den Oord et al. 2017).
        """
        values = full(vectors)
        if not values.requires_grad:
            return self.looked_up(values).to(values)
        return values + (self.entries[self.nearest(values)].to(values) - values).detach()

    def looked_up(self, vectors: Tensor) -> Tensor:
        """Return the same without an index and without a gradient, so that any exported file can hold it.

        The entries that decide stand in sums, not in a product, whose weights a file may round.
        """
        entries = self.entries
        values = vectors.to(entries.dtype)
        columns = enumerate(entries.unbind(1))
        nearness = -functools.reduce(torch.add, ((values[..., i, None] - column) ** 2 for i, column in columns))
        chosen = (nearness == nearness.amax(-1, keepdim=True)).to(entries.dtype)
        with torch.autocast(vectors.device.type, enabled=False):
            return chosen @ entries / chosen.sum(-1, keepdim=True)

    @torch.no_grad()
    def learn(self, vectors: Tensor, uniform: Tensor) -> None:
        """Move the averages by the vectors of a batch, and revive dead entries.

        Args:
            vectors: (N, d).
            uniform: Independent uniform numbers (N,), which choose where entries are revived.
        """
        values = full(vectors).to(self.sums.dtype)
        chosen = self.nearest(values)
        distance = (values - self.entries[chosen]).square().sum(1)
        # On a GPU this adds in the same order each time; `index_add_` does not, and a resumed run would be another one.
        count = torch.zeros_like(self.share).index_put_((chosen,), torch.ones_like(distance), accumulate=True)
        total = torch.zeros_like(self.sums).index_put_((chosen,), values, accumulate=True)
        self.share.lerp_(count / len(values), 1 - self.decay)
        self.sums.lerp_(total / len(values), 1 - self.decay)
        # The first to arrive of independent exponential times whose rates are the squared distances.
        arrival = -uniform.to(values).clamp(min=1e-12).log() / distance.clamp(min=1e-12)
        dead = self.share < self.dead / len(self.share)
        place = (dead.cumsum(0) - 1).clamp(min=0) % len(values)
        fresh = values[arrival.argsort(stable=True)[place]] / len(self.share)
        self.sums.copy_(torch.where(dead[:, None], fresh, self.sums))
        self.share.copy_(torch.where(dead, torch.full_like(self.share, 1 / len(self.share)), self.share))

    def perplexity(self) -> Tensor:
        """Return exp of the entropy of the entries' shares: the number of entries that are effectively in use."""
        share = self.share / self.share.sum()
        return (-(share * share.clamp(min=1e-30).log()).sum()).exp()

    def used(self) -> Tensor:
        """Return the fraction of entries that are not dead."""
        return (self.share >= self.dead / len(self.share)).to(self.share.dtype).mean()
