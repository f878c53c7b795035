"""Downloads with a checksum, from the first mirror that answers; interrupted downloads resume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from morphospace.data.cache import locked, make_folder
from morphospace.errors import DataError

_TIMEOUT_SECONDS = 20
_BLOCK = 1 << 18
_LARGE = 1 << 20

Say = Callable[[str], None]


class _WrongChecksum(Exception):
    pass


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(url: str, part: Path, say: Say) -> None:
    """Download the rest of `part` from one address; resumes where the server allows it."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    asked = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=asked, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        if have and answer.status_code == 416:  # it is all here, or too much is
            return
        answer.raise_for_status()
        going_on = have > 0 and answer.status_code == 206
        if going_on:
            say(f"{part.stem}: going on after {have / 1e6:.1f} MB")
        done = have if going_on else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        said = 4 * done // total if total else 0
        with part.open("ab" if going_on else "wb") as stream:
            for block in answer.iter_content(_BLOCK):
                stream.write(block)
                done += len(block)
                if total > _LARGE and 4 * done // total > said:
                    said = 4 * done // total
                    say(f"{part.stem}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")
        if done < total:  # not every version of the client says so itself
            raise ConnectionError("broke off")


def download(name: str, sha256: str, mirrors: Sequence[str], folder: Path, say: Say, manual: str) -> Path:
    """Fetch one file unless it is there; a file whose checksum is wrong is never kept.

    What a broken connection left is kept as `<name>.part`; the next mirror, or the next call, goes on from there.

    Args:
        name: File name, below each mirror and in `folder`.
        sha256: What the file must hash to.
        mirrors: Addresses of folders, tried in turn.
        folder: Where to put it.
        say: Takes one line for the user.
        manual: The way out, for the error.

    Raises:
        DataError: If no mirror gives the file.
    """
    make_folder(folder)
    file, part, reasons = folder / name, folder / f"{name}.part", []
    with locked(file):
        if file.is_file() and _sha256(file) == sha256:
            return file
        for mirror in mirrors:
            url = mirror.rstrip("/") + "/" + name
            for attempt in (1, 2):  # a resumed file with a wrong checksum is downloaded again, once
                resumed = part.exists()
                say(f"downloading {url}")
                try:
                    _fetch(url, part, say)
                    if _sha256(part) != sha256:
                        part.unlink()
                        raise _WrongChecksum
                    part.replace(file)
                    return file
                except (OSError, _WrongChecksum) as error:  # requests' errors are OSErrors
                    wrong = isinstance(error, _WrongChecksum)
                    reasons.append("wrong checksum" if wrong else type(error).__name__)
                    if not (wrong and resumed and attempt == 1):
                        break
    raise DataError(name, rule=f"could not be downloaded ({', '.join(sorted(set(reasons)))})", way_out=manual)
