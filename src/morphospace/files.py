"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from morphospace.errors import RunError, SettingError


def sync_folder(path: Path) -> None:
    """Make a folder's entries outlive a power cut; Windows cannot open folders and does not need it."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    """Yield a temporary path beside `path`, synced and renamed to it when the block ends well, removed otherwise."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays, because writers choose the format by it.
        partial = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text to a file that appears whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


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
    if path.exists() and not (path / holds).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise RunError("out", out, f"is there already and is not a {what}", "choose another path")
    check_parent(path)
    return path
