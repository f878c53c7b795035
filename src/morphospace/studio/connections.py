"""Connections to the studio: how long one may take to ask, and how clients share the places that there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # from the connection, or the last answer, to the whole header of the next request
STALLED_SECONDS = 20.0  # a client that takes nothing of its answer for so long is disconnected
MOST_WAITING = 500  # connections from which a request is awaited; one more closes the oldest
ACCEPTED = 250  # most connections that are accepted at once: each is read before so many others can push it out
ABORT = "abort"  # under this name a request's state holds what ends its connection


class Places:
    """Places that clients share; a client is an address.

    When all are taken, a client takes one from the client that holds most, if that one still holds as many as itself
    afterwards. So one client can use all places while no other needs them, and none can shut the others out.

    Args:
        most: How many there are.
        oldest_leaves: Whether one is always made free, by the oldest of the client that holds most.
    """

    def __init__(self, most: int, *, oldest_leaves: bool = False) -> None:
        self.most, self.oldest_leaves = most, oldest_leaves
        self._taken: dict[object, tuple[str, Callable[[], object]]] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, client: str, leave: Callable[[], object]) -> object | None:
        """Take a place for a client.

        Args:
            client: Its address.
            leave: Called if the place is taken away again.

        Returns:
            The place, to be freed; None if the client has to wait.
        """
        if len(self._taken) >= self.most:
            held = Counter(owner for owner, _ in self._taken.values())
            largest, count = held.most_common(1)[0]
            if not self.oldest_leaves and count < held[client] + 2:
                return None
            oldest = next(place for place, (owner, _) in self._taken.items() if owner == largest)
            self._taken.pop(oldest)[1]()
        place = object()
        self._taken[place] = client, leave
        return place

    def free(self, place: object) -> None:
        """Free a place, unless it was taken away."""
        self._taken.pop(place, None)


def address_of(scope: Scope) -> str:
    """Return the address that a request comes from."""
    return str((scope.get("client") or ("",))[0])


def aborter(scope: Scope) -> Callable[[], object]:
    """Return what ends the connection of a request at once."""
    abort: Callable[[], object] = scope.get("state", {}).get(ABORT, lambda: None)
    return abort


class Connection(H11Protocol):
    """A connection that has `HEADER_SECONDS` for each header, which uvicorn leaves without a limit.

    Args:
        waiting: The places of connections from which a request is awaited.
        **more: What uvicorn gives each connection.
    """

    def __init__(self, *, waiting: Places, **more: Any) -> None:
        super().__init__(**more)
        self._waiting = waiting
        self._place: object | None = None
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, ABORT: transport.abort}
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting."""
        self._stop()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait until the client takes more of its answer."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _watch(self) -> None:
        """Limit the time in which no request is being answered; bytes that arrive do not lengthen it."""
        a_websocket = self.transport.get_protocol() is not self
        answering = self.cycle is not None and not self.cycle.response_complete
        state = self.conn.their_state
        if a_websocket or not (state is h11.IDLE or (state is h11.SEND_BODY and not answering)):
            self._stop()
        elif self._place is None and not self.transport.is_closing():
            self._place = self._waiting.take(self.client[0] if self.client else "", self.transport.abort)
            self._late = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._late is not None and self._place is not None:
            self._late.cancel()
            self._waiting.free(self._place)
        self._place = self._late = None
