"""Many encoded images -> uint8 pixels in their order, by as many workers as there are cores.

Workers are forked processes on Linux: these start in milliseconds, and never touch torch nor its threads. On other
systems a new process would run the user's script once more, which needs a `__main__` guard, and fails for a notebook or
standard input. There workers are threads; the decoders release Python's lock while they work. The result is the same
whatever the workers: a chunk is decoded by the same code, and chunks come back in order. Memory stays flat: only a few
chunks are in flight at once.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from morphospace.data.decode import Chunk, decode_chunk
from morphospace.data.rule import Rule
from morphospace.errors import DataError, SettingError

CHUNK_BYTES = 8 << 20  # of a chunk, before and after decoding
_WORTH_A_POOL = 256

Decode = Callable[[Sequence[Any], Rule], Chunk]


def decode_all(
    blobs: Sequence[Any],
    rule: Rule,
    *,
    workers: int | None = None,
    decode: Decode = decode_chunk,
) -> Iterator[tuple[int, Chunk]]:
    """Decode `blobs` chunk by chunk, in order.

    Args:
        blobs: What to decode; only slices are taken of it, a few at a time.
        rule: The shape to reach.
        workers: Processes or threads; the number of cores when None, and 1 stays in this thread.
        decode: Decodes a chunk.

    Yields:
        How many blobs the chunk had, and what `decode` made of it.

    Raises:
        SettingError: If `workers` is less than 1.
        DataError: If a process dies.
    """
    workers = _workers(workers)
    size = chunk_images(rule)
    chunks = (blobs[first : first + size] for first in range(0, len(blobs), size))
    if len(blobs) < _WORTH_A_POOL:
        workers = 1
    yield from _decoded(chunks, rule, workers, decode)


def decode_stream(
    chunks: Iterable[Sequence[Any]], rule: Rule, *, workers: int | None = None, decode: Decode = decode_chunk
) -> Iterator[tuple[int, Chunk]]:
    """Decode chunks that come one after another, such as from a network; like `decode_all` otherwise."""
    yield from _decoded(chunks, rule, _workers(workers), decode)


def chunk_images(rule: Rule) -> int:
    """How many images make a chunk."""
    return max(1, min(64, CHUNK_BYTES // (rule.height * rule.width * rule.channels)))


def _workers(workers: int | None) -> int:
    workers = os.cpu_count() or 1 if workers is None else workers
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise SettingError("workers", workers, "must be a whole number of at least 1", "leave it out to use every core")
    return workers


def _decoded(chunks: Iterable[Sequence[Any]], rule: Rule, workers: int, decode: Decode) -> Iterator[tuple[int, Chunk]]:
    if workers == 1:
        for chunk in chunks:
            yield len(chunk), decode(chunk, rule)
        return
    # A thread that ignores warnings does so for all threads, and may be the last to put back what others ignored.
    with warnings.catch_warnings(), _pool(workers) as pool:
        try:
            yield from _in_order(pool, chunks, rule, decode, ahead=2 * workers)
        except BrokenProcessPool:
            died = "a process that decoded them was ended, perhaps for want of memory"
            raise DataError("images", rule=died, way_out="close other programs and try again") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _pool(workers: int) -> Executor:
    # A daemon, such as a worker of `multiprocessing.Pool`, may not start processes.
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return ThreadPoolExecutor(workers)
    fork = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(workers, mp_context=fork, initializer=_dies_with, initargs=(os.getpid(),))


def _dies_with(parent: int) -> None:
    """End this process when its parent ends, even by kill -9.

    It would wait for work for ever, and hold what a fork inherits: the lock of the pack that is being made.
    """
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it had ended before
        os._exit(1)


def _in_order(
    pool: Executor, chunks: Iterable[Sequence[Any]], rule: Rule, decode: Decode, ahead: int
) -> Iterator[tuple[int, Chunk]]:
    waiting: deque[tuple[int, Future[Chunk]]] = deque()
    for chunk in chunks:
        waiting.append((len(chunk), pool.submit(decode, chunk, rule)))
        if len(waiting) > ahead:
            count, future = waiting.popleft()
            yield count, future.result()
    while waiting:
        count, future = waiting.popleft()
        yield count, future.result()
