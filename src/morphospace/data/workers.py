"""Many encoded images -> uint8 pixels in their order, by as many processes as there are cores.

The result is the same whatever the number of workers: a chunk is decoded by the same code, and chunks come
back in order. Memory stays flat: only a few chunks are in flight at once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from morphospace.data.decode import Chunk, Rule, decode_chunk
from morphospace.errors import DataError, SettingError

__all__ = ["decode_all"]

_CHUNK_BYTES = 8 << 20
_WORTH_A_POOL = 256

Decode = Callable[[Sequence[Any], Rule], Chunk]


def decode_all(
    blobs: Sequence[Any],
    rule: Rule,
    *,
    workers: int | None = None,
    start: str | None = None,
    decode: Decode = decode_chunk,
) -> Iterator[tuple[int, Chunk]]:
    """Decode `blobs` chunk by chunk, in order.

    Args:
        blobs: What to decode; only slices are taken of it, a few at a time.
        rule: The shape to reach.
        workers: Processes; the number of cores when None, and 1 stays in this process.
        start: How processes start (`fork`, `spawn`, `forkserver`). By default `fork` on Linux: workers never
            touch torch nor its threads, start in milliseconds, and a user's script needs no `__main__` guard.
        decode: Decodes a chunk.

    Yields:
        How many blobs the chunk had, and what `decode` made of it.

    Raises:
        SettingError: `workers` is less than 1.
        DataError: A worker process died.
    """
    workers = os.cpu_count() or 1 if workers is None else workers
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise SettingError(f"workers={workers!r}: must be a whole number of at least 1; leave it out to use every core")
    size = max(1, min(64, _CHUNK_BYTES // (rule.height * rule.width * rule.channels)))
    count = -(-len(blobs) // size)
    chunks = (blobs[first : first + size] for first in range(0, len(blobs), size))
    if workers == 1 or (len(blobs) < _WORTH_A_POOL and start is None):
        for chunk in chunks:
            yield len(chunk), decode(chunk, rule)
        return
    context = multiprocessing.get_context(start or ("fork" if sys.platform == "linux" else "spawn"))
    with ProcessPoolExecutor(min(workers, count), mp_context=context) as pool:
        try:
            yield from _in_order(pool, chunks, rule, decode, ahead=2 * workers)
        except BrokenProcessPool:
            raise DataError(
                f"workers={workers}: a decoding process died (out of memory?); try fewer, or workers=1"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, chunks: Iterable[Sequence[Any]], rule: Rule, decode: Decode, ahead: int
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
