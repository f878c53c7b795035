"""Seeded, resumable, shardable batches of a pack; with `resident.py` and `augment.py` all of `data` that imports torch.

The stream of training images is one permutation of the rows after another, and that of epoch e depends only
on (seed, e). Batch i is the stream's positions i*B to (i+1)*B: it may straddle two epochs, no image is
dropped, each is seen exactly once an epoch, and `batch(i)` depends on nothing but the seed and i. There is
therefore no cursor to save: resume is `batch(step)`.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphospace.data.augment import Augment, binary, check_binarise, row_keys, visit_keys
from morphospace.data.pack import Pack, Split
from morphospace.data.resident import free_bytes, on_device, pinned, shared_tensor
from morphospace.data.settings import HeldOut
from morphospace.data.shards import Announcer, on_disk
from morphospace.errors import SettingError
from morphospace.ranges import checked

_ANNOUNCED = 8  # batches, where the pack is larger than memory


@dataclass(frozen=True, slots=True)
class Batch:
    """Some images with their annotations.

    Attributes:
        images: float32, (B, C, H, W), channels-last in memory; in [0, 1], or [-1, 1] when signed.
        rows: int64, (B,): which rows of the split these are.
        labels: int64, (B,).
        attributes: float32 0 or 1, (B, A).
        factors: float32, (B, F).
        masks: float32 0 or 1, (B, M, H, W).
    """

    images: Tensor
    rows: Tensor
    labels: Tensor | None = None
    attributes: Tensor | None = None
    factors: Tensor | None = None
    masks: Tensor | None = None


def permutation(count: int, *words: object) -> np.ndarray:
    """A permutation of 0..count-1 that depends on `words` alone.

    It sorts the raw bits of PCG64, whose stream NumPy promises never to change (that of
    `Generator.permutation` it does not), so a run can be resumed under another version.
    """
    text = "\0".join(map(str, words)).encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


@checked
def held_out(pack: Pack, fraction: HeldOut) -> tuple[tuple[Split, np.ndarray], tuple[Split, np.ndarray] | None]:
    """Which rows to train on and which to validate on.

    The pack's own `valid` split if it has one; else `round(fraction * N)` rows of `train`, the same in every
    run whatever its seed, so that runs can be compared. At least one row is left for training.

    Returns:
        (split, rows) to train on, and (split, rows) to validate on or None.

    Raises:
        SettingError: If `fraction` is not from 0 to 0.9.
    """
    train = pack.split("train")
    count = len(train)
    if fraction == 0:
        return (train, np.arange(count)), None
    if "valid" in pack.splits:
        valid = pack.splits["valid"]
        return (train, np.arange(count)), (valid, np.arange(len(valid)))
    out = min(round(fraction * count), count - 1)
    if out == 0:
        return (train, np.arange(count)), None
    order = permutation(count, "held out")
    return (train, np.sort(order[out:])), (train, np.sort(order[:out]))


def check_batch(size: int, count: int, world: int) -> None:
    """Refuse a batch size that `count` images or `world` processes do not allow.

    Raises:
        SettingError: It is none, larger than the number of images, or does not divide among the processes.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SettingError("batch_size", size, "must be a whole number of at least 1")
    if size > count:
        raise SettingError("batch_size", size, f"there are only {count} images", f"take a batch of at most {count}")
    if size % world:
        near = size + world - size % world
        raise SettingError("batch_size", size, f"must divide among {world} processes", f"take for instance {near}")


class Batches:
    """Batches of some rows of a split.

    Args:
        split: The images.
        rows: Which of them, in order; all when None.
        batch_size: Images in a *global* batch, of which each process gets an equal slice.
        seed: Of the order.
        device: Where batches are wanted.
        signed: Values in [-1, 1] instead of [0, 1].
        rank: This process.
        world: Number of processes.
        augment: How images of `batch` are varied; those of `fixed` and `sequential` never are.
        binarise: `none`, `threshold` at one half, `fixed` or `dynamic`: see `augment.py`. `fixed()` and
            `sequential` give the fixed draw where `batch` draws again.
        resident: Keep the whole split on the device as uint8. When None, if it takes at most half of what is
            free there (and always when the images are a plain array in memory and the device is the CPU).
            Otherwise batches are gathered from the memory map, one ahead, by a thread (see `shards.py` for packs
            larger than memory). Values are the same, bit for bit.

    Raises:
        SettingError: If a batch is larger than the number of rows or does not divide among the processes, or if
            another argument is out of range.
    """

    def __init__(
        self,
        split: Split,
        *,
        rows: np.ndarray | None = None,
        batch_size: int,
        seed: int,
        device: str | torch.device = "cpu",
        signed: bool,
        rank: int = 0,
        world: int = 1,
        augment: Augment | None = None,
        binarise: str = "none",
        resident: bool | None = None,
    ) -> None:
        self.split = split
        self.rows = np.arange(len(split)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.images = len(self.rows)
        self.batch_size, self.seed, self.signed = batch_size, seed, signed
        self.device, self.rank, self.world = torch.device(device), rank, world
        self.augment, self.binarise = augment, binarise
        self._check()
        self.resident = self._fits() if resident is None else resident
        self._orders: dict[int, np.ndarray] = {}
        self._ahead: tuple[int, Future[dict[str, Tensor]]] | None = None
        self._announcer: Announcer | None = None
        self._announces = False
        self._announced = 0  # the batch before which all have been announced
        self._thread: ThreadPoolExecutor | None = None
        self._small = {
            kind: torch.as_tensor(np.array(array)).to(self.device, torch.int64 if kind == "labels" else torch.float32)
            for kind, array in split.arrays().items()
            if kind not in ("images", "masks")
        }
        big = {kind: a for kind, a in split.arrays().items() if kind in ("images", "masks")}
        self._big = big
        self._held = {kind: shared_tensor(a, self.device) for kind, a in big.items()} if self.resident else {}

    def _check(self) -> None:
        check_binarise(self.binarise)
        if self.images and not (self.rows.min() >= 0 and self.rows.max() < len(self.split)):
            rule = f"must be numbers of the split's {len(self.split)} images, and run to {self.rows.max()}"
            raise SettingError("rows", rule=rule)
        if self.world < 1 or not 0 <= self.rank < self.world:
            raise SettingError("rank", self.rank, f"must be from 0 to world - 1, and world is {self.world}")
        check_batch(self.batch_size, self.images, self.world)

    def _fits(self) -> bool:
        arrays = [a for kind, a in self.split.arrays().items() if kind in ("images", "masks")]
        if self.device.type == "cpu" and not any(on_disk(a) for a in arrays):
            return True
        # Processes beside this one hold a copy each where they share a memory.
        copies = self.world if self.device.type == "cpu" else 1
        return copies * sum(a.nbytes for a in arrays) <= free_bytes(self.device) // 2

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            if len(self._orders) > 1:  # keep the current and the next
                del self._orders[min(self._orders, key=lambda e: (abs(e - epoch) <= 1, e))]
            self._orders[epoch] = permutation(self.images, self.seed, "order", epoch)
        return self._orders[epoch]

    def _positions(self, index: int) -> np.ndarray:
        """This rank's rows of the split in global batch `index`."""
        each = self.batch_size // self.world
        first = index * self.batch_size + self.rank * each
        parts = []
        while each:
            epoch, at = divmod(first, self.images)
            part = self._order(epoch)[at : at + each]
            parts.append(part)
            first, each = first + len(part), each - len(part)
        return self.rows[np.concatenate(parts)]

    def batch(self, index: int) -> Batch:
        """This rank's slice of global batch `index`; a pure function of the seed and `index`."""
        if index < 0:
            raise SettingError("index", index, "must be at least 0")
        rows = self._positions(index)
        if self.resident:
            return self._make(rows, None, index)
        ahead, self._ahead = self._ahead, None
        gathered = ahead[1].result() if ahead is not None and ahead[0] == index else self._gather(rows)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
            weakref.finalize(self, self._thread.shutdown, wait=False)
        # The rows are worked out here, so the thread shares no state with this one.
        self._ahead = index + 1, self._thread.submit(self._gather, self._positions(index + 1), self._soon(index + 2))
        return self._make(rows, gathered, index)

    def _soon(self, index: int) -> np.ndarray | None:
        """Rows of the batches from `index` on that were not announced yet; None if the pack fits into memory."""
        if self._announcer is None:
            big = list(self._big.values())
            fits = sum(array.nbytes for array in big) <= free_bytes(torch.device("cpu"))
            self._announcer = Announcer([] if fits else big)
            self._announces = not fits
        if not self._announces:
            return None
        first, last = max(index, self._announced), index + _ANNOUNCED
        if first > last:  # elsewhere than where the last batch was
            first = index
        self._announced = last
        return np.concatenate([self._positions(i) for i in range(first, last)]) if first < last else None

    def fixed(self, count: int, start: int = 0) -> Batch:
        """`count` rows from `start` on, in order, or as many as there are."""
        if count < 1 or not 0 <= start < self.images:
            raise SettingError(f"count={count}, start={start}", rule=f"must name at least one of {self.images} images")
        rows = self.rows[start : start + count]
        return self._make(rows, self._read(rows))

    def sequential(self, batch_size: int | None = None) -> Iterator[Batch]:
        """Every row once, in order, whatever the rank; the last batch may be shorter."""
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise SettingError("batch_size", size, "must be at least 1")
        for first in range(0, self.images, size):
            rows = self.rows[first : first + size]
            yield self._make(rows, self._read(rows))

    def _read(self, rows: np.ndarray) -> dict[str, Tensor] | None:
        return None if self.resident else self._gather(rows)

    def _gather(self, rows: np.ndarray, soon: np.ndarray | None = None) -> dict[str, Tensor]:
        """uint8 rows from the map, read in the order they lie on disk; the kernel is asked to read those in `soon`."""
        if soon is not None and self._announcer is not None:
            self._announcer.announce(soon)
        order = np.argsort(rows, kind="stable")
        made = {}
        for kind, array in self._big.items():
            out = np.empty((len(rows), *array.shape[1:]), np.uint8)
            out[order] = array[rows[order]]
            made[kind] = pinned(out, self.device).flatten(1)
        return made

    def _make(self, rows: np.ndarray, gathered: dict[str, Tensor] | None, index: int | None = None) -> Batch:
        """A batch of raw bytes, those on the device if none were gathered; a training one when it has an index."""
        at = on_device(rows, self.device)
        held = self._held.items()
        big = {kind: tensor.index_select(0, at) for kind, tensor in held} if gathered is None else gathered
        floats = {
            kind: tensor.to(self.device, non_blocking=True)
            .to(torch.float32)
            .view(len(rows), *self._big[kind].shape[1:])
            .permute(0, 3, 1, 2)
            for kind, tensor in big.items()
        }
        images, masks = floats["images"], floats.get("masks")
        mine = slice(self.rank * len(rows), (self.rank + 1) * len(rows))  # of the global batch
        if index is not None and self.augment:
            drawn = self.augment.draw(self.seed, index, self.batch_size, mine)
            images, masks = self.augment.apply(images, masks, drawn)
        if self.binarise == "none":
            images.mul_(2 / 255 if self.signed else 1 / 255)
        else:
            images = self._binarised(images, rows, mine, index)
        if self.signed:
            images.sub_(1.0)
        small = {kind: tensor.index_select(0, at) for kind, tensor in self._small.items()}
        return Batch(images, at, masks=masks, **small)

    def _binarised(self, images: Tensor, rows: np.ndarray, mine: slice, index: int | None) -> Tensor:
        if self.binarise == "threshold":
            made = (images >= 127.5).to(torch.float32)
        else:
            drawn_anew = index is not None and self.binarise == "dynamic"
            made = binary(
                images, visit_keys(self.seed, index or 0, self.batch_size, mine) if drawn_anew else row_keys(rows)
            )
        return made.mul_(2) if self.signed else made
