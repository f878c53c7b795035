"""Who is let in, what every answer carries, and what is never served."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient, WebSocketDenialResponse

from morphospace.studio.security import HEADERS, Gate, is_loopback
from morphospace.studio.server import make_app
from morphospace.studio.session import PICTURE_BYTES, Session
from tests.studio.conftest import served
from tests.studio.test_session import png

HERE = "http://127.0.0.1:8765"
SOCKET = "ws://127.0.0.1:8765/ws"
LOCAL = Gate.of("127.0.0.1", 8765)


@pytest.fixture(scope="module")
def client(session: Session) -> Iterator[TestClient]:
    with TestClient(make_app(session, LOCAL), base_url=HERE) as made:
        yield made


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1:8765", True), ("localhost:8765", True), ("[::1]:8765", True), ("LOCALHOST:8765", True),
        ("127.0.0.1:9000", True),  # as ssh -L 9000:localhost:8765 makes it
        ("127.0.0.1", True), ("127.8.9.1:8765", True),
        ("", False), ("evil.example:8765", False), ("127.0.0.1.evil.example:8765", False), ("localhost.evil:80", False),
        ("evil@127.0.0.1:8765", False), ("127.0.0.1:8765/x", False), ("127.0.0.1:8765#x", False),
        ("127.0.0.1:8765?x", False), ("[::1", False), ("127.0.0.1:x", False), ("127.0.0.1:99999", False),
        ("192.168.1.5:8765", False), ("0.0.0.0:8765", False), ("[fe80::1]:8765", False), ("localhost:8765,evil", False),
    ],
)  # fmt: skip
def test_hosts(host: str, good: bool) -> None:
    assert LOCAL.known(host) is good
    assert bool(LOCAL.refusal({"host": host}, "")) is not good


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (HERE, True), ("https://127.0.0.1:8765", True), (None, False), ("null", False), ("http://evil.example", False),
        ("http://localhost:8765", False), ("http://127.0.0.1:8766", False), ("http://127.0.0.1", False),
        ("http://127.0.0.1:8765.evil.example", False), ("http://127.0.0.1:8765@evil", False), ("", False),
        ("file://", False), ("chrome-extension://127.0.0.1:8765", False),
    ],
)  # fmt: skip
def test_origins(origin: str | None, good: bool) -> None:
    headers = {"host": "127.0.0.1:8765"} | ({} if origin is None else {"origin": origin})
    assert bool(LOCAL.refusal(headers, "", needs_origin=True)) is not good
    assert bool(LOCAL.refusal(headers, "")) is not (good or origin is None)


@given(host=st.text(max_size=30), origin=st.text(max_size=30), query=st.text(max_size=30), cookie=st.text(max_size=30))
def test_any_header_is_refused_without_a_fuss(host: str, origin: str, query: str, cookie: str) -> None:
    headers = {"host": host, "origin": origin, "cookie": cookie}
    for gate in (LOCAL, Gate("0.0.0.0", 8765, "secret")):
        assert gate.refusal(headers, query, needs_origin=True)


def test_only_other_machines_need_a_token() -> None:
    assert LOCAL.token == Gate.of("::1", 1).token == Gate.of("[::1]", 1).token == Gate.of("localhost", 1).token == ""
    tokens = {Gate.of(host, 1).token for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", "")}
    assert len(tokens) == 5 and min(map(len, tokens)) >= 32
    assert not is_loopback("127.0.0.1.evil.example") and is_loopback("127.3.4.5")


def test_a_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bytes]] = []
    real = secrets.compare_digest
    monkeypatch.setattr(secrets, "compare_digest", lambda a, b: seen.append((a, b)) or real(a, b))
    gate = Gate("0.0.0.0", 8765, "right")
    assert gate.refusal({"host": "pc:8765"}, "token=wrong") and (b"wrong", b"right") in seen
    assert not gate.refusal({"host": "pc:8765"}, "a=1&token=right")


def test_a_token_opens_every_door_and_is_kept_as_a_cookie(session: Session) -> None:
    gate = Gate("0.0.0.0", 8765, "right")
    with TestClient(make_app(session, gate), base_url="http://pc:8765") as client:
        origin = {"origin": "http://pc:8765"}
        for path in ("/", "/main.js", "/events", "/nothing"):
            answer = client.get(path)
            assert answer.status_code == 403 and "token" in answer.text and "set-cookie" not in answer.headers
        assert client.post("/picture", content=b"", headers=origin).status_code == 403
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("ws://pc:8765/ws", headers=origin):
            pass
        assert client.get("/?token=wrong").status_code == 403
        answer = client.get("/?token=right")
        assert answer.status_code == 200
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("morphospace-token-8765=right;")
        assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
        assert client.get("/main.js").status_code == 200  # by the cookie
        with client.websocket_connect("ws://pc:8765/ws", headers=origin) as socket:
            socket.send_text("{}")
            assert socket.receive_bytes()
        client.cookies.clear()
        assert client.get("/main.js", headers={"cookie": "morphospace-token-8765=wrong"}).status_code == 403


def test_every_answer_has_the_headers(client: TestClient) -> None:
    answers = [
        client.get("/"), client.get("/main.js"), client.get("/nothing"), client.put("/", headers={"origin": HERE}),
        client.get("/picture"),
        client.post("/picture", content=b"x", headers={"origin": HERE}), client.get("/", headers={"host": "evil"}),
        client.post("/picture", content=b"x"),
        client.get("/main.js", headers={"if-none-match": client.get("/main.js").headers["etag"]}),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 200, 404, 405, 404, 400, 403, 403, 304]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"  # which compiles WebAssembly, and evaluates no text
    assert str(policy).count("unsafe") == 1 and HEADERS["x-content-type-options"] == "nosniff"
    assert "javascript" in client.get("/main.js").headers["content-type"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": HERE, "host": "evil.example:8765"}],
)
def test_a_websocket_of_another_site_is_refused_before_it_opens(client: TestClient, headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect(SOCKET, headers=headers):
        pass
    assert caught.value.status_code == 403
    assert caught.value.headers["x-content-type-options"] == "nosniff"


PATHS = [
    "/../server.py", "/..%2fserver.py", "/%2e%2e/server.py", "/..%5cserver.py", "/rooms/../../server.py",
    "/rooms/..%2f..%2fserver.py", "//etc/passwd", "/%2fetc%2fpasswd", "/....//server.py", "/server.py", "/rooms/%00",
    "/.", "/rooms", "/faces.safetensors", "/../faces.safetensors", "/" + "a" * 5000, "../server.py", "/%ff", "*",
]  # fmt: skip


def test_nothing_outside_of_the_page_is_served(tiny: dict[str, Path]) -> None:
    with served([tiny["dcgan"]]) as (address, _):
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        for path in [*PATHS, "/main.js"]:
            # By hand: a client would tidy the path up before it is sent.
            with socket.create_connection((host, int(port)), 30) as wire:
                wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: wire.recv(65536), b""))
            status = int(answer.split()[1])
            assert b"def make_app" not in answer and b"root:" not in answer and len(answer) < 100_000
            assert status == 200 if path == "/main.js" else status in (307, 400, 404) or b"<html" in answer, path


def test_no_file_of_the_package_but_the_page_is_within_the_mount() -> None:
    import morphospace.studio as studio

    page = Path(studio.__file__).parent / "page"
    assert {file.suffix for file in page.rglob("*") if file.is_file()} <= {".html", ".js", ".css", ".svg"}
    assert not [file for file in page.rglob("*") if file.is_symlink()]


def test_pictures_that_are_sent(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    send = {"origin": HERE}
    good = client.post("/picture", content=png(np.zeros((9, 9, 3), np.uint8)), headers=send)
    assert good.status_code == 200 and good.json()["picture"].startswith("p")
    for data in (b"", b"garbage", b"\xff\xd8\xff\xe0" + b"\0" * 100, b"GIF89a" + b"\xff" * 40):
        answer = client.post("/picture", content=data, headers=send)
        assert answer.status_code == 400 and "\n" not in answer.json()["error"]
    parts = (bytes(1 << 20) for _ in range((PICTURE_BYTES >> 20) + 1))  # sent with no length said before
    assert client.post("/picture", content=parts, headers=send).status_code == 413
    assert client.post("/picture", content=bytes(PICTURE_BYTES + 1), headers=send).status_code == 413
    assert client.post("/picture", content=b"x", headers={**send, "content-length": "99999999999"}).status_code == 413
    assert not list(tmp_path.iterdir())
