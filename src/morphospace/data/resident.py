"""How much memory is free on a device, and a split's tensor there, made once however many share it."""

from __future__ import annotations

import os
import warnings
import weakref
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphospace.data.shards import on_disk

# Training and validation rows of one split must not hold it twice. Whoever holds the tensor holds the array
# as well, so an id is not used again while its entry lives.
_HELD: weakref.WeakValueDictionary[tuple[int, str], Tensor] = weakref.WeakValueDictionary()


def free_bytes(device: torch.device) -> int:
    """Free memory of a device, without swapping and within the container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        free = os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        return max(0, min(free, limit))
    except (OSError, ValueError):  # no such group, or "max"
        return free


def pinned(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor in memory that a GPU can copy from while the program goes on."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if device.type == "cuda" else tensor


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array on a device; nothing waits for the copy."""
    return pinned(array, device).to(device, non_blocking=True)


def shared_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The uint8 array as a (N, everything else) tensor on the device.

    A plain array on the CPU is shared, a memory map is read into memory once.
    """
    key = (id(array), str(device))
    held = _HELD.get(key)
    if held is None:
        plain = np.array(array) if on_disk(array) else np.ascontiguousarray(array)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # read-only arrays: nothing here writes to them
            held = torch.from_numpy(plain).flatten(1).to(device)
        _HELD[key] = held
    return held
