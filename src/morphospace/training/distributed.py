"""Training in several processes, which torchrun starts; its environment variables are read here.

Batch norm is always synchronised among them: each normalises by the mean and variance of the global batch, so that two
processes train what one would at the doubled batch.

The run's folder is the leading process's alone. What is read there it passes on to the others, whose machines may not
have the folder. Each machine needs the images, and the same command.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from morphospace.errors import MorphospaceError, TrainingError, one_line

T = TypeVar("T")

# All processes take a step together: one that is silent for so long is gone, or the network is.
STEP = timedelta(minutes=10)
# The leading process packs the data, scores and writes while the others wait, which may take longer than any step. So
# they ask again and again whether it has arrived: a request that nobody answers fails, where mere waiting would not.
POLL_SECONDS = 0.05
_STORE: list[Any] = []  # where processes find each other, and leave word
_WAITS = itertools.count()


@contextmanager
def _reached() -> Iterator[None]:
    """Say in one line that another process is gone; what torch raises then is several, and of no class of its own."""
    try:
        yield
    except RuntimeError as error:
        rule = f"another process of this training has ended or cannot be reached ({one_line(error)})"
        way_out = "start the same command again on every machine, and it goes on from the last checkpoint"
        raise TrainingError("processes", rule=rule, way_out=way_out) from error


def _all_reduce(tensor: Tensor) -> None:
    with _reached():
        dist.all_reduce(tensor)


def take_gpu() -> None:
    """Let this process compute on the GPU of its number on this machine, so that no two share one.

    Raises:
        TrainingError: If there are fewer GPUs than processes here.
    """
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there:
        rule = f"process {number + 1} of this machine has no GPU of its own: torch sees {there}"
        raise TrainingError("processes", rule=rule, way_out=f"start {there} here: --nproc-per-node {there}")
    torch.cuda.set_device(number)


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among all of them."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> World:
        """Join the process group that torchrun's environment describes, or stand alone without one.

        Raises:
            TrainingError: If the others cannot be reached, or this machine has fewer GPUs than processes.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            with _reached():
                store, rank, size = next(iter(dist.rendezvous("env://", timeout=STEP)))
                if device.type == "cuda":
                    take_gpu()
                backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
                dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP)
                _STORE[:] = [dist.PrefixStore("morphospace", store)]
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
            _all_reduce(flat)
            flat /= self.size
            for tensor, part in zip(chosen, flat.split([t.numel() for t in chosen])):
                tensor.as_strided((tensor.numel(),), (1,)).copy_(part)

    def averaged(self, numbers: Mapping[str, Tensor], beside: Sequence[Tensor]) -> Mapping[str, Tensor]:
        """Return the averages of numbers () over all processes.

        Args:
            numbers: The same names in every process.
            beside: Tensors that are averaged in place by the same message, where the types are the same.
        """
        if self.size == 1:
            return numbers
        values = torch.stack([*numbers.values()])
        self.average([*beside, values])
        return dict(zip(numbers, values))

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
            with _reached():
                dist.all_gather(copies, mine)
            for held, copy in zip(each, copies):
                held[name] = copy
        return list(each)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process, so that all of them act on it at the same step."""
        if self.size == 1:
            return flag
        flags = torch.tensor(float(flag))
        _all_reduce(flags)
        return bool(flags > 0)

    def wait(self) -> None:
        """Wait for all processes, for the leading one as long as it takes."""
        if self.size == 1:
            return
        word = f"arrived {next(_WAITS)}"
        with _reached():
            for store in _STORE:
                if self.leads:
                    store.set(word, "")
                while not store.check([word]):
                    time.sleep(POLL_SECONDS)
            dist.barrier()

    def led(self, work: Callable[[], T]) -> T:
        """Return in every process what the leading one works out, or raise there what it raises; all must call it."""
        if self.size == 1:
            return work()
        box: list[Any] = [None]
        if self.leads:
            try:
                box = [work()]
            except MorphospaceError as error:
                box = [error]
        self.wait()
        with _reached():
            dist.broadcast_object_list(box, src=0)
        if isinstance(box[0], MorphospaceError):
            raise box[0]
        return box[0]

    def all(self, value: T) -> list[T]:
        """Return every process's value in the order of ranks; all must call it."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        self.wait()
        with _reached():
            dist.all_gather_object(values, value)
        return values

    def share(self, networks: nn.Module) -> None:
        """Give every process the leading one's weights and buffers."""
        if self.size == 1:
            return
        with torch.no_grad(), _reached():
            for tensor in networks.state_dict().values():
                copy = tensor.detach().contiguous()
                dist.broadcast(copy, src=0)
                tensor.copy_(copy)


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
        _all_reduce(total)
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


@contextmanager
def alone(networks: nn.Module) -> Iterator[None]:
    """Let batch norms take this process's statistics meanwhile, so that it waits for no other."""
    plain = {kind: before for before, kind in _SYNCHRONISED.items()}
    changed = [module for module in networks.modules() if type(module) in plain]
    for module in changed:
        module.__class__ = plain[type(module)]
    try:
        yield
    finally:
        for module in changed:
            module.__class__ = _SYNCHRONISED[type(module)]
