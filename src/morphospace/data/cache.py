"""Where packs and downloads are kept, and the lock that keeps two processes from packing the same thing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from morphospace.errors import DataError


def cache_folder() -> Path:
    """`$MORPHOSPACE_CACHE`, or `~/.cache/morphospace`."""
    named = os.environ.get("MORPHOSPACE_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "morphospace"


def make_folder(folder: Path) -> Path:
    """Make a folder that can be written to.

    Raises:
        DataError: If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        denied = "" if os.access(folder, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        denied = error.strerror or type(error).__name__
    if denied:
        rule = f"cannot be written to ({denied})"
        raise DataError(folder, rule=rule, way_out="set MORPHOSPACE_CACHE elsewhere, or pass out=")
    return folder


@contextmanager
def locked(out: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold `<out>.lock`; a second process waits here until the first is done, and calls `waiting` before it does.

    The lock is the kernel's, so it goes with its process even when that is killed. The file is removed at the
    end; who waited on a removed file tries again on the new one.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no lock; the last of two writers wins, and each pack is whole
        yield
        return
    path = out.with_name(f"{out.name}.lock")
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        except OSError as error:
            rule = f"cannot be written ({error.strerror})"
            raise DataError(path, rule=rule, way_out="set MORPHOSPACE_CACHE, or pass out=") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        except FileNotFoundError:
            pass
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
