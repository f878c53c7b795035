"""Over the wire: a page's run is a process of its own, which ends when the page leaves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from morphospace.studio import server as servers
from morphospace.studio.faces import embedded_run
from morphospace.studio.live.frames import unpacked
from morphospace.studio.live.player import WORKER
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.studio.security import Gate
from morphospace.studio.server import make_app
from morphospace.studio.session import Session
from tests.studio.conftest import served

MAKE = {"kind": "make", "gan": "dcgan", "data": "ring", "batch": 8, "settings": {"widths": [8]}}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served([embedded_run()]) as (found, _):
        yield found


def dial(address: str) -> ClientConnection:
    return connect(address.replace("http", "ws") + "train", origin=address[:-1], compression=None)  # type: ignore[arg-type]


def heard(socket: ClientConnection) -> dict[str, Any]:
    facts, _ = unpacked(socket.recv(120))  # type: ignore[arg-type]
    return facts


def ours() -> set[int]:
    """The processes that train for this one's pages."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if WORKER.encode() in words and parent == os.getpid():
            found.add(int(place.name))
    return found


def test_it_trains_and_ends_within_a_second_of_its_page(address: str) -> None:
    with dial(address) as socket:
        # What is not allowed is answered at once, also before the process has begun.
        for message, name in (("x", "no JSON"), ("[]", "JSON object"), ('{"kind": "decode"}', "no such request")):
            socket.send(message)
            assert name in heard(socket)["refused"]
        socket.send(json.dumps({**MAKE, "settings": {"unroled": 1}}))
        assert "did you mean 'unrolled'" in heard(socket)["refused"]
        socket.send(json.dumps({**MAKE, "run": 4}))
        assert heard(socket)["run"] == 4
        for message in ({"kind": "took"}, {"kind": "go", "until": 10**6}):
            socket.send(json.dumps(message))
        steps = 0
        while steps < 20:
            steps = heard(socket)["steps"]
            socket.send('{"kind": "took"}')
        (process,) = ours()
    closed = time.monotonic()
    while process in ours():
        assert time.monotonic() - closed < 1
        time.sleep(0.01)


def test_as_many_pages_train_as_there_are_places() -> None:
    with served([embedded_run()]) as (address, _):  # of its own: a page that has just left may still hold a place
        first = [dial(address) for _ in range(servers.MOST_TRAINERS)]
        with dial(address) as last, pytest.raises(ConnectionClosed) as refused:
            last.recv(10)
        assert refused.value.rcvd is not None and "full" in refused.value.rcvd.reason
        assert not ours()  # none has asked for anything
        for socket in first:
            socket.close()


@pytest.mark.parametrize("headers", [{}, {"origin": "http://evil.example"}, {"origin": "null"}])
def test_another_sites_page_is_refused(headers: dict[str, str]) -> None:
    client = TestClient(make_app(Session(LoadedRuns([embedded_run()])), Gate.of("127.0.0.1", 8765)))
    with pytest.raises(WebSocketDenialResponse), client.websocket_connect("ws://127.0.0.1:8765/train", headers=headers):
        pass
