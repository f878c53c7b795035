"""Several processes, one run: the launcher is torchrun, whose environment is read here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["World"]


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among all of them."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> World:
        """Join the process group that torchrun's environment describes, or stand alone without one."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), size)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Average tensors over all processes, in place, by one flat all-reduce for each type among them.

        They are flattened in storage order: a channels-last gradient then needs no copy into another layout,
        and every process holds the same layout because all built the same networks.
        """
        if self.size == 1 or not tensors:
            return
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            chosen = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.as_strided((t.numel(),), (1,)) for t in chosen])
            dist.all_reduce(flat)
            flat /= self.size
            for tensor, part in zip(chosen, flat.split([t.numel() for t in chosen])):
                tensor.as_strided((tensor.numel(),), (1,)).copy_(part)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process, so that all of them act on it at the same step."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(told)
        return bool(told > 0)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()
