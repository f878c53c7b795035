"""Tar archives read forwards, once, from a disk or a server: nothing is extracted, sought or kept."""

from __future__ import annotations

import gzip
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from morphospace.errors import DataError, one_line

MOST_BYTES = 256 << 20  # of one member, and of what is read at once, whatever a header claims
_BLOCK = 1 << 20
_TIMEOUT_SECONDS, _TRIES, _PAUSE_SECONDS = 20, 4, 1.0

BROKEN = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, zlib.error)
"""What reading a damaged archive raises."""


class Forwards:
    """A stream that `tarfile` may read and skip through; it counts, and refuses reads that no image needs."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.at, self.last = stream, 0, b""

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= MOST_BYTES:  # an extended header may claim any size, and would be read whole
            raise tarfile.ReadError(f"a header claims {count:,} bytes")
        self.last = self.stream.read(count)
        self.at += len(self.last)
        return self.last

    def tell(self) -> int:
        return self.at

    def seek(self, to: int, whence: int = 0) -> int:
        assert whence == 0 and to >= self.at
        if isinstance(self.stream, _Remote | gzip.GzipFile):
            while self.at < to and self.read(min(_BLOCK, to - self.at)):
                pass
        else:
            self.stream.seek(to)
            self.at = to
        return self.at


class _Remote:
    """The bytes behind an address; an interrupted download resumes where it stopped.

    Raises:
        DataError: If the server does not answer, or breaks off again and again.
    """

    def __init__(self, url: str) -> None:
        import requests
        import urllib3

        self.url, self.at, self.size = url, 0, 0
        self._broken = (OSError, urllib3.exceptions.HTTPError)  # errors of requests are OSErrors
        self._get = requests.get
        self._answer: Any = None
        self._connect(1)

    def _connect(self, tried: int) -> None:
        self.close()
        time.sleep(_PAUSE_SECONDS * (tried - 1))
        asked = {"Accept-Encoding": "identity", **({"Range": f"bytes={self.at}-"} if self.at else {})}
        try:
            self._answer = self._get(self.url, headers=asked, stream=True, timeout=_TIMEOUT_SECONDS)
            self._answer.raise_for_status()
            if self.at and self._answer.status_code != 206:
                raise OSError("broke off, and the server cannot go on in the middle")
        except OSError as error:
            refused = getattr(getattr(error, "response", None), "status_code", 500) < 500
            if refused or tried >= _TRIES:
                raise self._failed(error) from None
            return self._connect(tried + 1)
        self.size = self.size or int(self._answer.headers.get("Content-Length") or 0)

    def _failed(self, error: Exception) -> DataError:
        way_out = "check the address and the network, nothing was kept"
        return DataError(self.url, rule=f"cannot be read ({one_line(error)})", way_out=way_out)

    def read(self, count: int) -> bytes:
        parts, tried = [], 1
        while count:
            error: Exception = EOFError("broke off")
            try:
                part = self._answer.raw.read(min(count, _BLOCK))
            except self._broken as broken:
                part, error = b"", broken
            if part:
                parts.append(part)
                self.at, count = self.at + len(part), count - len(part)
            elif self.at >= self.size and not isinstance(error, self._broken):
                break
            else:
                tried += 1
                if tried > _TRIES:
                    raise self._failed(error)
                self._connect(tried)
        return b"".join(parts)

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()


def opened(place: str | Path) -> tuple[Any, int]:
    """Open a file or an address; what to close, and its size in bytes or 0."""
    if isinstance(place, Path):
        return place.open("rb"), place.stat().st_size
    remote = _Remote(place)
    return remote, remote.size


def members(stream: Any, called: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of every plain file of an archive, in order; links and other entries are skipped.

    Args:
        stream: Its bytes, gzipped if its name says so.
        called: The archive's name.

    Raises:
        DataError: If a name is absolute or leads out of the archive.
        tarfile.TarError, EOFError, OSError, ValueError, zlib.error: The archive is damaged or cut off.
    """
    if called.endswith(("gz", ".tgz")):
        stream = gzip.GzipFile(fileobj=stream)
    forwards = Forwards(stream)
    with tarfile.open(fileobj=forwards, mode="r:") as archive:  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            archive.members.clear()  # it would keep them all
            parts = PurePosixPath(member.name).parts
            if member.name.startswith("/") or ".." in parts or "\0" in member.name:
                rule = f"holds {member.name!r}, a name outside its folder"
                raise DataError(called, rule=rule, way_out="make it again without it")
            if member.isreg() and not member.issparse():
                content = archive.extractfile(member)
                assert content is not None
                yield member.name, member.size, content
        if len(forwards.last) != tarfile.BLOCKSIZE or any(forwards.last):  # it stops at a damaged header as at the end
            raise tarfile.ReadError("is cut off or damaged")
