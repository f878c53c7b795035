"""Clients that ask for nothing, ask slowly, or take no answer: each is disconnected, and none shuts another out."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from websockets.exceptions import ConnectionClosed

from morphospace.cli.studio import bind
from morphospace.studio import connections, server
from morphospace.studio.connections import Places
from morphospace.studio.server import configured
from tests.studio.conftest import served
from tests.studio.test_server import dial, told


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 8))
def test_a_client_is_refused_only_where_no_other_holds_more_than_its_share(
    events: list[tuple[str, bool]], most: int
) -> None:
    places, held = Places(most), Counter[str]()
    taken: dict[str, list[object]] = {"a": [], "b": [], "c": []}

    def leave(client: str) -> None:
        held[client] -= 1

    for client, frees in events:
        if frees and taken[client]:
            place = taken[client].pop(0)
            before = len(places)
            places.free(place)
            held[client] -= before - len(places)  # one that was taken away is freed already
            continue
        place = places.take(client, lambda client=client: leave(client))
        if place is None:
            assert sum(held.values()) == most and max(held.values()) <= held[client] + 1
        else:
            held[client] += 1
            taken[client].append(place)
        assert len(places) == sum(held.values()) <= most


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 4))
def test_where_the_oldest_leaves_nobody_is_refused(clients: list[str], most: int) -> None:
    places = Places(most, oldest_leaves=True)
    left: list[int] = []
    for number, client in enumerate(clients):
        assert places.take(client, lambda number=number: left.append(number)) is not None
    assert len(places) == min(most, len(clients)) and len(left) == max(0, len(clients) - most)
    if len(set(clients)) == 1:
        assert left == sorted(left) and left == list(range(len(left)))


def half_open(address: str, text: bytes = b"GET / HTTP/1.1\r\nHost: ", source: str = "127.0.0.1") -> socket.socket:
    """Connect and send a part of a request."""
    made = socket.create_connection(
        ("127.0.0.1", int(address.rsplit(":", 1)[1].strip("/"))), timeout=20, source_address=(source, 0)
    )
    made.sendall(text)
    return made


def is_closed(connection: socket.socket) -> bool:
    """Read until the other side closes; False if it does not."""
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@pytest.fixture(scope="module")
def address(tiny: dict[str, Path]) -> Iterator[str]:
    with served([tiny["dcgan"]]) as (found, session):
        session.runs.space("r0")
        yield found


def test_hundreds_of_half_open_connections_shut_nobody_out(address: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(450):
            stack.enter_context(half_open(address))
        began = time.monotonic()
        assert httpx.get(address, timeout=20).status_code == 200
        with dial(address) as ws:
            assert told(ws, kind="decode", run="r0", seeds=[1], id=1)["id"] == 1
        assert time.monotonic() - began < connections.HEADER_SECONDS / 2  # long before they are too late


def test_where_many_come_at_once_each_is_read_before_it_is_pushed_out(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = address.split("/")[2].encode()
    request = b"GET /client.js HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name
    with contextlib.ExitStack() as stack:
        good = []
        for number in range(connections.MOST_WAITING + 200):
            text = request if number % 50 == 0 else b"GET / HTTP/1.1\r\n"
            made = stack.enter_context(half_open(address, text))
            good += [made] * (number % 50 == 0)
        for one in good:
            assert one.recv(100).startswith(b"HTTP/1.1 200")


def test_a_process_may_open_as_many_files_as_it_needs() -> None:
    code = (
        "import resource; from morphospace.cli.studio import OPEN_FILES, allow_files;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]));"
        "allow_files(OPEN_FILES); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(OPEN_FILES, "
        "resource.getrlimit(resource.RLIMIT_NOFILE)[1] % 2**63))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


@pytest.mark.parametrize("first", ["a header", "a header after an answer", "a body nobody waits for"])
def test_bytes_that_trickle_in_do_not_lengthen_the_time(
    address: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.4)
    name = address.split("/")[2].encode()
    begin = {
        "a header": b"GET / HTTP/1.1\r\nX: ",
        "a header after an answer": b"GET /nothing HTTP/1.1\r\nHost: %s\r\n\r\nGET / HTTP/1.1\r\nX: " % name,
        "a body nobody waits for": b"GET /nothing HTTP/1.1\r\nHost: %s\r\nContent-Length: 9999\r\n\r\n" % name,
    }
    with half_open(address, begin[first]) as slow:
        began, stop = time.monotonic(), threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    slow.send(b"x")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        slow.settimeout(5)
        assert is_closed(slow) and 0.3 < time.monotonic() - began < 5
        stop.set()
        thread.join(5)


def test_a_quick_client_keeps_its_connection(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    with httpx.Client() as client, client.stream("GET", f"{address}events", timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        with dial(address) as ws, socket.create_connection(("127.0.0.1", httpx.URL(address).port or 0)) as http:
            for number in range(4):
                http.sendall(b"HEAD / HTTP/1.1\r\nHost: %s\r\n\r\n" % address.split("/")[2].encode())
                assert http.recv(1 << 16).startswith(b"HTTP/1.1 200")
                assert told(ws, kind="decode", run="r0", seeds=[1], id=number)["id"] == number
                time.sleep(0.2)


@pytest.mark.parametrize("limit", ["PART_SECONDS", "UPLOAD_SECONDS"])
def test_a_picture_that_stops_arriving_is_refused(address: str, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, limit, 0.3)
    name = address.split("/")[2]
    head = f"POST /picture HTTP/1.1\r\nHost: {name}\r\nOrigin: http://{name}\r\nContent-Length: 900\r\n\r\nabc"
    with half_open(address, head.encode()) as slow:
        assert b" 408 " in slow.recv(1 << 16)
    assert httpx.post(f"{address}picture", content=b"no", headers={"origin": address[:-1]}).status_code == 400


def test_one_address_cannot_hold_all_places(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        half_open(address, source="127.0.0.2").close()
    except OSError:
        pytest.skip("this machine has one loopback address")
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(dial(address)) for _ in range(server.MOST_CLIENTS)]
        with dial(address, source_address=("127.0.0.2", 0)) as other:
            assert told(other, kind="decode", run="r0", seeds=[1], id=1)["id"] == 1
            with pytest.raises(ConnectionClosed):
                pages[0].recv(20)
            assert told(pages[1], kind="decode", run="r0", seeds=[1], id=2)["id"] == 2


def test_who_takes_nothing_of_an_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.3)
    left = threading.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            left.set()

    bound = bind("127.0.0.1", 0)
    serving = uvicorn.Server(configured(endless))
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    with half_open(f"http://127.0.0.1:{bound.getsockname()[1]}/", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
        assert left.wait(20)
    serving.should_exit = True
    thread.join(20)


def test_a_silent_stream_of_events_shows_that_it_lives(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphospace.studio.training_events.SILENT_SECONDS", 0.2)
    with httpx.stream("GET", f"{address}events", timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        assert next(line for line in lines if line) == ":"
