"""Training in several processes, which torchrun starts; its environment variables are read here.

Batch norm is always synchronised among them: each normalises by the mean and variance of the global batch, so that two
processes train what one would at the doubled batch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Rank 0 packs the data, scores and writes while the others wait; the libraries would give up after 10 or 30 minutes.
# torchrun notices at once if a process dies.
PATIENCE = timedelta(hours=24)


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
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        return cls(dist.get_rank(), size)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Average tensors over all processes, in place, by one flat all-reduce for each type among them.

        They are flattened in storage order: a channels-last gradient then needs no copy into another layout, and all
        processes have the same layout because they built the same networks.
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

    def synchronise(self, networks: nn.Module) -> None:
        """Let every batch norm in `networks` use the statistics of all processes; with one process, do nothing.

        Only the modules' class changes. Names, parameters and buffers stay, so that phases that hold the modules and
        checkpoints need no change.
        """
        if self.size == 1:
            return
        for module in networks.modules():
            if type(module) in _SYNCHRONISED:
                module.__class__ = _SYNCHRONISED[type(module)]

    def gathered(self, tensors: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        """Return every process's tensors in the order of ranks; all processes must call it, with the same shapes."""
        if self.size == 1:
            return [tensors]
        each: list[dict[str, Tensor]] = [{} for _ in range(self.size)]
        for name, tensor in tensors.items():
            mine = tensor.detach().contiguous()
            copies = [torch.empty_like(mine) for _ in each]
            dist.all_gather(copies, mine)
            for held, copy in zip(each, copies):
                held[name] = copy
        return list(each)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process, so that all of them act on it at the same step."""
        if self.size == 1:
            return flag
        flags = torch.tensor(float(flag), device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(flags)
        return bool(flags > 0)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Batch norm over all processes' batches, which are of one size; torch's own is for CUDA alone.

    y = (x - m) / sqrt(v + eps) * weight + bias with m and v of the global batch; gradients flow through both, by
    all-reduces in the backward pass. It is slower than the fused kernel, so a single process does not use it.
    """

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        self._check_input_dim(values)
        wide = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        axes = [axis for axis in range(values.ndim) if axis != 1]
        with torch.autocast(values.device.type, enabled=False):
            # The mean first and then the deviations from it: the difference of two large sums would lose digits.
            mean = _mean(wide, axes)
            centred = wide - mean
            variance = _mean(centred.square(), axes)
            result = centred * (variance + self.eps).rsqrt()
            if self.affine:
                shape = mean.shape
                result = result * self.weight.view(shape) + self.bias.view(shape)
        if self.track_running_stats:
            self._track(mean.detach().flatten(), variance.detach().flatten(), values.numel() // values.shape[1])
        return result.to(values.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, the variance's by the unbiased estimate, as torch does."""
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        count *= dist.get_world_size()
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var) * (count / max(1, count - 1)), share)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes. All losses depend on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0])


def _mean(values: Tensor, axes: list[int]) -> Tensor:
    """Return the mean over axes (kept) and over all processes; differentiable any number of times."""
    return _Sum.apply(values.mean(axes, keepdim=True)) / dist.get_world_size()


_SYNCHRONISED: dict[type[nn.Module], type[nn.Module]] = {
    kind: type(f"_Synchronised{kind.__name__}", (_Synchronised, kind), {})
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
}
