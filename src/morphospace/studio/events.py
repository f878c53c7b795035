"""One look at the runs a second, however many pages want to hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

from morphospace.studio.news import News

EVERY = 1.0  # seconds between looks
MOST_UNREAD = 1000  # events that wait for a page that does not read them; it misses those that come then


class Board:
    """Where news is put up: looked for while anyone reads, sent to all who do.

    Args:
        start: What begins to look.
    """

    def __init__(self, start: Callable[[], News]) -> None:
        self.start = start
        self._readers: set[asyncio.Queue[str]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def read(self) -> AsyncIterator[str]:
        """Give the news as server-sent events, until the reader leaves."""
        unread: asyncio.Queue[str] = asyncio.Queue(MOST_UNREAD)
        self._readers.add(unread)
        try:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
            yield "retry: 2000\n\n"
            while True:
                yield await unread.get()
        finally:
            self._readers.discard(unread)
            if not self._readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        news = await asyncio.to_thread(self.start)
        while True:
            for event in await asyncio.to_thread(news.latest):
                text = f"data: {json.dumps(event)}\n\n"
                for unread in self._readers:
                    with contextlib.suppress(asyncio.QueueFull):
                        unread.put_nowait(text)
            await asyncio.sleep(EVERY)
