"""`morpho studio` as a process: it says where it is, serves, and ends when told to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from websockets.sync.client import connect

from tests.cli.conftest import Morpho


@contextlib.contextmanager
def studio(*words: object) -> Iterator[subprocess.Popen[str]]:
    """Run the verb; killed in the end if it has not ended by then."""
    morpho = "import sys; from morphospace.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", morpho, "studio", *map(str, words), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, float, str]:
    """Signal a process; its status, how long it took, and what it said on standard error."""
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    return process.returncode, time.monotonic() - began, errors


def test_it_says_where_it_is_serves_and_ends_on_ctrl_c_in_the_middle_of_everything(runs: dict[str, Path]) -> None:
    with studio(runs["vae"], runs["dcgan"], "--json") as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        assert httpx.get(address).status_code == 200
        with (
            connect(address.replace("http", "ws") + "ws", origin=address[:-1]) as ws,  # type: ignore[arg-type]
            httpx.stream("GET", f"{address}events", timeout=30) as stream,
        ):
            assert next(stream.iter_lines()) == "retry: 2000"
            ws.send(json.dumps({"kind": "decode", "id": 1, "run": "r1", "seeds": [1]}))
            assert b'"id": 1' in ws.recv(60)  # type: ignore[operator]
            status, _, errors = ended(process, signal.SIGINT)
        assert status == 0 and errors == ""


def test_with_no_run_it_opens_the_faces_of_the_package() -> None:
    with studio("--json") as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        with connect(address.replace("http", "ws") + "ws", origin=address[:-1], max_size=None) as ws:  # type: ignore[arg-type]
            ws.send(json.dumps({"kind": "decode", "id": 1, "run": "r0", "seeds": [1]}))
            head = ws.recv(60)[:2000]  # type: ignore[index]
        assert b'"id": 1' in head and b'"height": 64' in head  # type: ignore[operator]
        assert ended(process, signal.SIGINT)[0] == 0


def test_for_people_it_says_so_in_a_line(runs: dict[str, Path]) -> None:
    with studio(runs["vae"]) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("studio at http://127.0.0.1:") and line.endswith("/ (Ctrl-C ends it)\n")
        assert ended(process, signal.SIGTERM)[0] in (-signal.SIGTERM, 143)


def test_a_host_that_others_reach_says_so_and_needs_the_token(runs: dict[str, Path]) -> None:
    with studio(runs["vae"], "--host", "0.0.0.0", "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        address = json.loads(process.stdout.readline())["address"]
        assert "other machines" in process.stderr.readline()
        base, token = address.split("/?token=")
        port = base.rsplit(":", 1)[1]
        assert len(token) >= 32
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 403
        assert httpx.get(f"http://127.0.0.1:{port}/?token={token}").status_code == 200
        assert ended(process, signal.SIGINT)[0] == 0


def test_what_cannot_be_is_one_line_and_status_2(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = morpho("studio", runs["vae"], "--port", port, "--no-browser")
        assert said.code == 2 and said.err.count("\n") == 1 and f"port = {port}: cannot listen" in said.err
    for words, expected in (
        ((tmp_path,), "no run there"),
        ((runs["vae"], "--port", 70000), "from 0 to 65535"),
        ((runs["vae"], "--host", "no.such.host.invalid", "--port", 0), "cannot listen at no.such.host.invalid"),
        ((runs["vae"], "--host", "192.0.2.1", "--port", 0), "cannot listen at 192.0.2.1"),
    ):
        said = morpho("studio", *words, "--no-browser")
        assert said.code == 2 and expected in said.err and said.err.count("\n") == 1 and not said.out


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from morphospace.cli import main; main(['studio', '--help']);"
        "sys.exit(bool({'torch', 'numpy', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ).returncode == 0
