"""Choose device, precision and memory settings by what the hardware does well."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from morphospace.errors import SettingError

PROBE, TRIALS = 512, 10  # side of the matrices that a CPU is timed with, and how often
LEAST_GAIN = 1.2  # of bfloat16 products, below which their casts cost more than they gain


def choose_device(name: str) -> torch.device:
    """Return the device `name`; `auto` is cuda where there is one, else the CPU.

    Raises:
        SettingError: If torch does not see the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[name]:
        raise SettingError("device", name, "torch sees no such device here", "use --device auto or cpu")
    return torch.device(name)


def bf16_is_native(device: torch.device) -> bool:
    """Return whether the hardware has instructions for bfloat16 products."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def bf16_is_fast(device: torch.device) -> bool:
    """Return whether bfloat16 products are faster than those of float32; a CPU that has them is timed."""
    return bf16_is_native(device) and (device.type != "cpu" or gain_of_bf16() > LEAST_GAIN)


@functools.cache
def gain_of_bf16() -> float:
    """Return how many times as fast as float32 the CPU multiplies bfloat16 matrices; tried once a process, for 60 ms.

    The instructions alone do not tell: with AMX it was 6 times, on an AMD Zen 5 4 times, and on an Intel Xeon with
    avx512_bf16 but without AMX .55 times. Both take turns, and the fastest of each counts, in CPU time, so that other
    programs do not change the answer.
    """
    pairs = [[torch.ones(PROBE, PROBE, dtype=dtype)] * 2 for dtype in (torch.float32, torch.bfloat16)]
    seconds: list[list[float]] = [[], []]
    for _ in range(TRIALS):
        for side, (a, b) in enumerate(pairs):
            began = time.process_time()
            torch.mm(a, b)
            seconds[side].append(time.process_time() - began)
    full, half = map(min, seconds)
    return full / half


def choose_precision(name: str, device: torch.device, saved: Mapping[str, Any] | None = None) -> str:
    """Return `fp32` or `bf16`; `auto` is bf16 where it is faster.

    Args:
        name: As in the settings.
        device: Where to compute.
        saved: Numbers of the checkpoint that training continues from. On a CPU, `auto` is then what it was, unless this
            CPU does not have it: what was timed may come out otherwise the next time.
    """
    if name != "auto":
        return name
    before = saved.get("precision") if saved and saved.get("device") == device.type == "cpu" else None
    if before == "fp32" or (before == "bf16" and bf16_is_native(device)):
        return str(before)
    return "bf16" if bf16_is_fast(device) else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context that losses are computed in: bfloat16 matrix products, or nothing special."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def choose_repeatable(device: torch.device) -> None:
    """Let the convolutions of a GPU be computed in ways that give the same bytes each time, as exact resume needs."""
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True


def keep_freed_blocks() -> bool:
    """Make glibc keep big freed blocks instead of returning them to the kernel; return whether it does.

    Each training step frees and allocates the same hundred megabytes, and returned pages fault anew. On two CPU cores
    this alone makes steps 1.1 to 1.7 times as fast, for 0 to 3 % more memory. Without glibc nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    m_trim_threshold, m_mmap_threshold = -1, -3
    accepted = [libc.mallopt(m_mmap_threshold, 1 << 30), libc.mallopt(m_trim_threshold, 2**31 - 1)]
    return all(accepted)


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, with its kernels in the channels-last layout of the images."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
