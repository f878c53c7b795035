"""Over the wire: every message has its answer, the newest wins, and nobody holds another up."""

from __future__ import annotations

import contextlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import morphospace as ms
from morphospace.studio import requests as ask
from morphospace.studio import server as servers
from morphospace.studio.queues import packed
from morphospace.studio.security import Gate
from morphospace.studio.server import make_app
from morphospace.studio.session import Block, Reply, Session
from tests.studio.conftest import served
from tests.studio.test_requests import jsons, messages

HERE = "http://127.0.0.1:8765"
SOCKET = "ws://127.0.0.1:8765/ws"


def unpacked(frame: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray], bytes]:
    """Read a frame as the page does."""
    (length,) = struct.unpack_from("<I", frame)
    facts = json.loads(frame[4 : 4 + length], parse_constant=lambda name: pytest.fail(name))
    at, images = 4 + length, {}
    for block in facts["blocks"]:
        shape = (block["count"], block["height"], block["width"], 4)
        size = int(np.prod(shape))
        images[block["name"]] = np.frombuffer(frame, np.uint8, size, at).reshape(shape)
        at += size
    assert len(frame) - at == facts["bytes"]
    return facts, images, frame[at:]


@pytest.fixture(scope="module")
def client(session: Session) -> Iterator[TestClient]:
    with TestClient(make_app(session, Gate.of("127.0.0.1", 8765)), base_url=HERE, headers={"origin": HERE}) as made:
        yield made


@pytest.fixture(scope="module")
def live(tiny: dict[str, Path]) -> Iterator[tuple[str, Session]]:
    """A real server on a real port."""
    with served(list(tiny.values())) as (address, session):
        for run in ("r0", "r1", "r2"):
            session.runs.space(run)
        yield address, session


def dial(address: str, **more: Any) -> ClientConnection:
    return connect(address.replace("http", "ws") + "ws", origin=address[:-1], compression=None, **more)  # type: ignore[arg-type]


def told(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    socket.send(json.dumps(message))
    return unpacked(socket.recv(30))[0]  # type: ignore[arg-type]


def test_a_frame_holds_facts_then_pixels_then_a_file() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
    colour = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    reply = Reply({"id": "fake", "n": 1}, (Block("a", grey), Block("b", colour)), b"GIF")
    facts, images, file = unpacked(packed(7, "decode", reply))
    assert facts["id"] == 7 and facts["kind"] == "decode" and facts["n"] == 1 and file == b"GIF"
    assert np.array_equal(images["a"][..., :3], np.repeat(grey, 3, 3)) and (images["a"][..., 3] == 255).all()
    assert np.array_equal(images["b"][..., :3], colour)
    assert "not finite" in unpacked(packed(7, "x", Reply({"mse": float("nan")})))[0]["error"]


def test_the_wire_carries_the_pixels_themselves(client: TestClient, tiny: dict[str, Path]) -> None:
    with client.websocket_connect(SOCKET) as socket:
        socket.send_text(json.dumps({"kind": "decode", "id": 5, "run": "r0", "seeds": [2]}))
        facts, images, _ = unpacked(socket.receive_bytes())
    assert facts["id"] == 5
    assert np.array_equal(images["images"][..., :3], ms.sample(tiny["vae"], 1, seed=2))


HOSTILE = [
    "", "null", "[]", "1", '"', "{", "[" * 100_000, '{"a":' * 50_000, "NaN", '{"kind": "decode"}', '{"kind": 1}',
    '{"kind": "decode", "id": 1e999, "run": "r0", "seeds": [NaN]}', '{"kind": "runs", "id": [1]}', "1" * 5000,
    '{"kind": "decode", "id": 3, "run": "../../etc/passwd", "seeds": [1]}', '{"kind": "\\ud800"}', "\x00", "é" * 999,
    json.dumps({"kind": "decode", "run": "r0", "codes": [[1e308] * 8]}), json.dumps({"x": "y" * 1_000_000}),
    json.dumps({"kind": "decode", "run": "r0", "seeds": [1] * 250_000}),
    json.dumps({"kind": "encode", "run": "r0", "picture": "../../etc/passwd"}),
    json.dumps({"kind": "encode", "run": "r0", "image": "../../etc/passwd"}),
    json.dumps({"kind": "runs", "channel": {"a": 1}}), json.dumps({"kind": "runs", "channel": "x" * 100_000}),
    b"", b"\x00\xff" * 100, b'{"kind": "runs"}',
]  # fmt: skip


def answered(socket: Any, message: str | bytes) -> dict[str, Any]:
    """Send a message; its answer. A question that is known to be good must still be answered after it."""
    socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message)
    facts, _, _ = unpacked(socket.receive_bytes())
    assert "Traceback" not in str(facts) and facts.get("reason") != "internal"
    socket.send_text(json.dumps({"kind": "decode", "id": 77, "run": "r1", "seeds": [1]}))
    after, images, _ = unpacked(socket.receive_bytes())
    assert after["id"] == 77 and images["images"].shape == (1, 8, 8, 4)
    return facts


def test_hostile_messages_are_answered_and_it_still_serves(client: TestClient) -> None:
    with client.websocket_connect(SOCKET) as socket:
        for message in HOSTILE:
            facts = answered(socket, message)
            assert facts.get("error") or facts["kind"] == "runs"
            assert len(str(facts.get("error", ""))) <= 600


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(message=st.text(max_size=50) | st.binary(max_size=50) | (jsons | messages).map(json.dumps))
def test_any_message_is_answered_and_it_still_serves(client: TestClient, message: str | bytes) -> None:
    if isinstance(message, str):
        message = message.encode("utf-8", "replace").decode()
        message = message.replace('"project"', '"encode"')  # which would search for seconds
    with client.websocket_connect(SOCKET) as socket:
        answered(socket, message)


def test_of_one_channel_the_newest_wins(live: tuple[str, Session], monkeypatch: pytest.MonkeyPatch) -> None:
    address, session = live
    gate, begun, real = threading.Event(), threading.Event(), session.answer

    def slow(request: ask.Request) -> Reply:
        begun.set()
        assert gate.wait(30)
        return real(request)

    monkeypatch.setattr(session, "answer", slow)
    with dial(address) as socket:

        def send(number: int, channel: str | None) -> None:
            fields = {"kind": "decode", "run": "r1", "seeds": [number]}
            socket.send(json.dumps({**fields, "id": number, "channel": channel}))

        send(0, "probe")
        assert begun.wait(30)
        for number in range(1, 10):
            send(number, "probe")
        send(10, None), send(11, None), send(12, "other")
        early = [unpacked(socket.recv(30))[0] for _ in range(8)]  # type: ignore[arg-type]
        assert [facts["id"] for facts in early] == list(range(1, 9)) and all(facts["dropped"] for facts in early)
        gate.set()
        late = [unpacked(socket.recv(30))[0] for _ in range(5)]  # type: ignore[arg-type]
        assert [facts["id"] for facts in late] == [0, 9, 10, 11, 12] and not any("dropped" in facts for facts in late)


def test_a_slow_answer_never_overtakes_a_newer_quick_one(
    live: tuple[str, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, session = live
    gate, real = threading.Event(), session.answer
    monkeypatch.setattr(session, "lane", lambda request: "slow" if request.seeds == (1,) else "decode")
    monkeypatch.setattr(
        session, "answer", lambda request: real(request) if request.seeds != (1,) or gate.wait(30) else 0
    )
    with dial(address) as socket:
        socket.send(json.dumps({"kind": "decode", "run": "r1", "seeds": [1], "id": 1, "channel": "c"}))
        assert told(socket, kind="decode", run="r1", seeds=[2], id=2, channel="c")["id"] == 2
        gate.set()
        facts = unpacked(socket.recv(30))[0]  # type: ignore[arg-type]
        assert facts["id"] == 1 and facts["dropped"]


def test_a_question_that_takes_too_long_is_told_so(live: tuple[str, Session], monkeypatch: pytest.MonkeyPatch) -> None:
    address, session = live
    gate, real = threading.Event(), session.answer
    monkeypatch.setattr("morphospace.studio.queues.FAST_SECONDS", 0.05)
    monkeypatch.setattr(session, "answer", lambda request: real(request) if gate.wait(30) else Reply({}))
    with dial(address) as socket:
        assert told(socket, kind="decode", run="r1", seeds=[1], id=1)["reason"] == "limit"
        gate.set()
        monkeypatch.undo()
        assert "error" not in told(socket, kind="decode", run="r1", seeds=[1], id=2)


def test_fast_questions_wait_for_no_slow_ones(live: tuple[str, Session], monkeypatch: pytest.MonkeyPatch) -> None:
    address, session = live
    gate, begun, real = threading.Event(), threading.Semaphore(0), session.answer

    def answer(request: ask.Request) -> Reply:
        if isinstance(request, ask.Diagnosis):
            begun.release()
            assert gate.wait(30)
            return Reply({})
        return real(request)

    monkeypatch.setattr(session, "answer", answer)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(dial(address)) for _ in range(servers.THREADS["slow"])]
        for socket in sockets:
            socket.send(json.dumps({"kind": "diagnosis", "run": "r0", "id": 1}))
        for _ in sockets:
            assert begun.acquire(timeout=30)
        late = stack.enter_context(dial(address))
        late.send(json.dumps({"kind": "diagnosis", "run": "r0", "id": 1}))
        for kind in ("runs", "describe", "card", "training", "decode"):
            for socket in (sockets[0], late):  # one that waits for a slow answer, and one that waits in line
                facts = told(socket, kind=kind, id=2, run="r1", **({"seeds": [1]} if kind == "decode" else {}))
                assert facts["id"] == 2 and "error" not in facts
        gate.set()
        assert [unpacked(socket.recv(30))[0]["id"] for socket in (*sockets, late)] == [1] * 5  # type: ignore[arg-type]


def test_the_fifty_first_is_told_to_wait_and_comes_in_when_one_leaves(live: tuple[str, Session]) -> None:
    address, _ = live
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(dial(address)) for _ in range(servers.MOST_CLIENTS)]
        for number, socket in enumerate(sockets):
            socket.send(json.dumps({"kind": "decode", "run": "r1", "seeds": [number], "id": number}))
        for number, socket in enumerate(sockets):
            facts, images, _ = unpacked(socket.recv(60))  # type: ignore[arg-type]
            assert facts["id"] == number and images["images"].shape[0] == 1
        with dial(address) as late, pytest.raises(ConnectionClosed) as caught:
            late.recv(30)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013 and "try again later" in caught.value.rcvd.reason
        sockets[0].close()
        until = time.monotonic() + 20
        while True:
            try:
                with dial(address) as late:
                    assert told(late, kind="decode", run="r1", seeds=[1], id=1)["id"] == 1
                break
            except ConnectionClosed:
                assert time.monotonic() < until
                time.sleep(0.05)


def test_one_who_never_reads_and_one_who_floods_hold_nobody_up(live: tuple[str, Session]) -> None:
    address, _ = live
    walk = {"kind": "walk", "run": "r0", "ends": [[0.0] * 8, [1.0] * 8], "hows": ["linear"], "steps": 240}
    stop = threading.Event()
    with dial(address, max_queue=1) as deaf, dial(address) as flood, dial(address) as other:
        for number in range(60):  # 60 MB that nobody takes
            deaf.send(json.dumps({**walk, "id": number}))
        counts = {"sent": 0, "answered": 0}

        def pour() -> None:
            while not stop.is_set() and counts["sent"] < 1500:
                flood.send(json.dumps({"kind": "decode", "run": "r0", "seeds": [1], "id": counts["sent"]}))
                counts["sent"] += 1

        def drink() -> None:
            with contextlib.suppress(TimeoutError, ConnectionClosed):
                while True:
                    flood.recv(5)
                    counts["answered"] += 1

        threads = [threading.Thread(target=work, daemon=True) for work in (pour, drink)]
        for thread in threads:
            thread.start()
        for number in range(10):
            facts = told(other, kind="decode", run="r0", seeds=[number], id=number)
            assert facts["id"] == number and "error" not in facts
        stop.set()
        threads[0].join(30)
        threads[1].join(60)
        assert counts["answered"] == counts["sent"] > 0


def test_events_are_streamed(live: tuple[str, Session], tiny: dict[str, Path]) -> None:
    import httpx

    with httpx.stream("GET", f"{live[0]}events", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        file = tiny["dcgan"] / "samples" / "999999999999.png"
        time.sleep(1.5)
        file.touch()
        try:
            found = next(line for line in lines if line.startswith("data: "))
        finally:
            file.unlink()
    assert json.loads(found.removeprefix("data: ")) == {"kind": "samples", "run": "r1", "images": 999999999999}


def test_ipv6_loopback_is_served_for_real(tiny: dict[str, Path]) -> None:
    import socket

    import httpx

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    with served([tiny["dcgan"]], "::1") as (address, _):
        assert address.startswith("http://[::1]:")
        assert httpx.get(address).status_code == 200
        with dial(address) as ws:
            assert told(ws, kind="decode", run="r0", seeds=[1], id=1)["id"] == 1
