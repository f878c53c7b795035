"""Files that appear whole or not at all; JSON that every reader takes; files of strangers, opened only if plain."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from morphospace.errors import RunError, SettingError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PARTIAL = re.compile(r"\..*\.partial-\d+(\.\w+)?")  # the name of a file that `atomic` writes to, before its renaming
_FOLDERS = re.compile(r"(?<![\w./])~?/(?:[^\s/'\"]+/)+")  # of an absolute path in a text
_swept: set[Path] = set()  # folders that this process has swept: one of a thousand files is not read a thousand times


MOST_TEXT = 256 << 20
"""The most bytes of a text that is read whole, whatever lies there."""

_MODES = {"rb": os.O_RDONLY, "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT, "lock": os.O_RDWR | os.O_CREAT}


def open_plain(path: str | Path, mode: str = "rb", *, links: bool = False) -> IO[bytes]:
    """Open a file only if it is a plain one: never what a link leads to, nor a pipe, which could wait for ever.

    Args:
        path: The file.
        mode: `rb`; `ab` to append; `lock` for a file to lock, which is made if need be and never changed.
        links: Follow links all the same, for a file that the user names.

    Raises:
        OSError: If it cannot be opened, or is a link or no plain file.
    """
    flags = _MODES[mode] | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags | (0 if links else getattr(os, "O_NOFOLLOW", 0)), 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):  # ENXIO: a pipe that nobody reads
            raise _not_plain(path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_plain(path)
    return os.fdopen(handle, "wb" if mode == "lock" else mode)


def _not_plain(path: str | Path) -> OSError:
    return OSError(errno.EINVAL, "is a link or no plain file", str(path))


def is_plain(path: Path) -> bool:
    """Return whether a plain file is there, and not a link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_bytes(path: str | Path, most: int = MOST_TEXT, *, links: bool = False) -> bytes:
    """Return what a plain file holds.

    Raises:
        OSError: If it cannot be read, is a link or no plain file, or has more than `most` bytes.
    """
    with open_plain(path, links=links) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"has more than {most >> 20} MB", str(path))
        return file.read()


def read_text(path: str | Path, most: int = MOST_TEXT, *, links: bool = False) -> str:
    """Return the text of a plain file, in UTF-8.

    Raises:
        OSError: As `read_bytes` does.
        UnicodeDecodeError: If it is no text.
    """
    return read_bytes(path, most, links=links).decode("utf-8")


def sync_folder(path: Path) -> None:
    """Make a folder's entries outlive a power cut; Windows cannot open folders and does not need it."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def absolute(path: str | Path) -> Path:
    """Return a path that means the same from any working directory; links stay, unless `..` follows one."""
    path = Path(path).expanduser()
    return path.resolve() if ".." in path.parts else path.absolute()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusals while writing `path` (no permission, a full disk) into one clear line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            "out", str(path), f"cannot be written ({reason})", "free space or choose another path"
        ) from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, synced and renamed to it when the block ends well, removed otherwise.

    A killed process leaves its temporary file. The next process that writes to the folder removes it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.resolve() not in _swept:
            _swept.add(path.parent.resolve())
            sweep(path.parent)
        # The suffix stays, because writers choose the format by it.
        partial = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
        with _held(partial):
            try:
                yield partial
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(partial: Path) -> Iterator[None]:
    """Create a temporary file and hold its lock, which goes with the process, also by kill -9."""
    if fcntl is None:
        yield
        return
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: nobody can take the file for stale there
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits for another thread that writes the same file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), partial.stat()):
                break
        os.close(descriptor)  # it was swept, or renamed, before it was locked
    try:
        yield
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder; those of a living process are locked."""
    for partial in _partials(folder):
        with contextlib.suppress(OSError):
            descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink()
            finally:
                os.close(descriptor)


def vacant(folder: Path) -> bool:
    """Return whether a path is free for a new folder: nothing is there, or what a kill left of the same attempt."""
    if not folder.is_dir():
        return not os.path.lexists(folder)
    return set(folder.iterdir()) == set(_partials(folder))


def _partials(folder: Path) -> list[Path]:
    if fcntl is None or not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if PARTIAL.fullmatch(path.name)]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def write_text(path: Path, text: str) -> None:
    """Write text to a file that appears whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def json_text(value: Any, **how: Any) -> str:
    """Return a value as JSON text; `how` goes to `json.dumps`.

    >>> json_text({"mse": math.nan, "n": 3})
    '{"mse": null, "n": 3}'
    """
    return json.dumps(as_json(value), allow_nan=False, **how)


def as_json(value: Any) -> Any:
    """Return a value as JSON can hold it: arrays as lists, and None for a number that is not finite."""
    if isinstance(value, dict):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if hasattr(value, "tolist"):  # of numpy
        return as_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def without_folders(value: Any) -> Any:
    """Return JSON with only the last part of each absolute path in its texts.

    >>> without_folders({"features": "inception at /home/anna/nets/v3.pth, nats/image"})
    {'features': 'inception at v3.pth, nats/image'}
    """
    if isinstance(value, dict):
        return {name: without_folders(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one) for one in value]
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def as_read(value: Any) -> Any:
    """Return JSON as read, with NaN in place of None: what `as_json` made of a number that was not finite."""
    return math.nan if value is None else value


def as_cell(value: Any) -> Any:
    """Return a value of a table as CSV: a text that a spreadsheet would run as a formula is marked as text.

    >>> as_cell("=1+1"), as_cell("-0.5"), as_cell(-3)
    ("'=1+1", '-0.5', -3)
    """
    if not isinstance(value, str) or not value.startswith(tuple("=+-@\t\r\n＝＋－＠")):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


def check_parent(path: Path, name: str = "out") -> None:
    """Refuse a path whose folder is no folder or cannot be written to, before any work is done.

    Args:
        path: Where something is to be written.
        name: The flag that says so.

    Raises:
        SettingError: If it is so.
    """
    there = path if path.is_dir() else path.absolute().parent
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise SettingError(name, str(path), f"{str(there)!r} is not a folder", "choose another path")
    try:
        # Only a file tells: permissions alone say yes to root, on a file system that is read-only, or in /proc.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingError(
            name, str(path), f"{str(there)!r} cannot be written to ({why})", "choose another path"
        ) from error


def check_folder(out: str, *, holds: str, what: str) -> Path:
    """Return the path of a folder to make or to go on with.

    Args:
        out: The path.
        holds: The file that says that the folder is ours already.
        what: What it is to become, in words.

    Raises:
        RunError: It is something else already.
        SettingError: It cannot be written.
    """
    path = Path(out)
    if not (path / holds).is_file() and not vacant(path):
        raise RunError("out", out, f"is there already and is not a {what}", "choose another path")
    check_parent(path)
    return path
