"""Against a real server on this machine that can break off, ignore ranges and lie."""

from __future__ import annotations

import functools
import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morphospace.data.prepare import fetch, prepare
from morphospace.data.settings import DataSettings
from morphospace.data.sources.download import download
from morphospace.data.sources.idx import Kmnist
from morphospace.errors import DataError

from ..conftest import one_line

BODY = bytes(i * 7 % 251 for i in range(3_000_000))
SUM = hashlib.sha256(BODY).hexdigest()


class Server(HTTPServer):
    breaks_after: int | None = None
    ranges = True
    body = BODY

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data"


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        said = self.headers.get("Range") if self.server.ranges else None
        first = int(said[6:-1]) if said else 0
        if first >= len(self.server.body):
            self.send_error(416)
            return
        body = self.server.body[first:]
        self.send_response(206 if said else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.server.sent.append((self.path, first))
        self.wfile.write(body[: self.server.breaks_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made = [Server(), Server()]
    for server in made:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    for server in made:
        server.shutdown()
        server.server_close()


def get(servers: list[Server], folder: Path, lines: list[str] | None = None) -> Path:
    said = [] if lines is None else lines
    return download("a.gz", SUM, [s.url for s in servers], folder, said.append, "put it there by hand")


def test_a_file_is_fetched_once(servers: list[Server], tmp_path: Path) -> None:
    lines: list[str] = []
    file = get(servers, tmp_path / "new", lines)
    assert file.read_bytes() == BODY and [p.name for p in file.parent.iterdir()] == ["a.gz"]
    assert lines[0] == f"downloading {servers[0].url}/a.gz" and "3.0 of 3.0 MB" in lines[-1]
    assert get(servers, tmp_path / "new") == file and len(servers[0].sent) == 1
    file.write_bytes(BODY[:-1])  # spoiled since: fetched again
    assert get(servers, tmp_path / "new").read_bytes() == BODY


def test_what_broke_off_is_taken_up(servers: list[Server], tmp_path: Path) -> None:
    servers[0].breaks_after = servers[1].breaks_after = 1_000_000
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        get(servers, tmp_path)
    one_line(caught.value)
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["a.gz.part"]
    kept = (tmp_path / "a.gz.part").stat().st_size
    assert 0 < kept <= 2_000_000
    servers[0].breaks_after, lines = None, list[str]()
    assert get(servers, tmp_path, lines).read_bytes() == BODY
    assert servers[0].sent[-1][1] == kept and any("going on after" in line for line in lines)


def test_the_next_mirror_goes_on(servers: list[Server], tmp_path: Path) -> None:
    servers[0].breaks_after = 1_000_000
    assert get(servers, tmp_path).read_bytes() == BODY and servers[1].sent[0][1] > 0


def test_a_server_without_ranges_begins_anew(servers: list[Server], tmp_path: Path) -> None:
    (tmp_path / "a.gz.part").write_bytes(b"rubbish")
    servers[0].ranges = False
    assert get(servers, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("left", [b"rubbish", BODY + b"more", BODY])
def test_what_was_left_is_never_believed(servers: list[Server], tmp_path: Path, left: bytes) -> None:
    (tmp_path / "a.gz.part").write_bytes(left)
    assert get(servers, tmp_path).read_bytes() == BODY
    assert len(servers[0].sent) == {len(b"rubbish"): 2, len(BODY): 0}.get(len(left), 1)


def test_a_mirror_that_lies_is_passed_over(servers: list[Server], tmp_path: Path) -> None:
    servers[0].body = BODY[::-1]
    assert get(servers, tmp_path).read_bytes() == BODY
    (tmp_path / "a.gz").unlink()
    servers[1].body = b"404"
    with pytest.raises(DataError, match=r"wrong checksum.*by hand"):
        get(servers, tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the four files of KMNIST, small ones, behind a web server; the first mirror answers nobody."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    sums = {}
    for split in ("train", "t10k"):
        for stem, array in (
            (f"{split}-images-idx3-ubyte", np.arange(12 * 784).reshape(12, 28, 28).astype(np.uint8)),
            (f"{split}-labels-idx1-ubyte", (np.arange(12) % 10).astype(np.uint8)),
        ):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            blob = gzip.compress(head + array.tobytes(), mtime=0)
            (folder / f"{stem}.gz").write_bytes(blob)
            sums[f"{stem}.gz"] = hashlib.sha256(blob).hexdigest()
    server = HTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    dead = HTTPServer(("127.0.0.1", 0), Quiet)
    dead.server_close()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(Kmnist, "mirrors", tuple(f"http://127.0.0.1:{s.server_port}/" for s in (dead, server)))
    monkeypatch.setattr(Kmnist, "sha256", sums)
    yield folder
    server.shutdown()
    server.server_close()


def test_a_source_is_fetched_whole_and_ready_to_pack(shelf: Path, tmp_path: Path) -> None:
    root, lines = tmp_path / "root", list[str]()
    folder = fetch("kmnist", root, say=lines.append)
    assert folder == root / "kmnist" and len(lines) == 8  # both mirrors, for each of four files
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == {f.name: f.read_bytes() for f in shelf.iterdir()}
    pack = prepare(DataSettings(data="kmnist", root=str(root)))
    assert {name: len(split) for name, split in pack.splits.items()} == {"train": 12, "test": 12}
    lines.clear()
    assert fetch("kmnist", root, say=lines.append) == folder and lines == []


def test_a_source_of_which_a_file_is_wrong_says_which(shelf: Path, tmp_path: Path) -> None:
    """What was right stays; the wrong file is not kept, and the way out is named."""
    (shelf / "t10k-images-idx3-ubyte.gz").write_bytes(b"<html>moved</html>")
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: .*wrong checksum.*put train-images") as caught:
        fetch("kmnist", tmp_path / "root")
    one_line(caught.value)
    kept = {f.name for f in (tmp_path / "root" / "kmnist").iterdir()}
    assert kept == {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}
