"""Folders and files that a process made, and that someone may remove while it still writes to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Expected:
    """Knows what this process made, and says once of each that it was removed.

    Args:
        say: Takes the line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._made: set[Path] = set()
        self._missed: set[Path] = set()

    def __call__(self, path: Path) -> bool:
        """Return whether a folder or file is as this process left it; say once that it was removed if it is not."""
        gone = path in self._made and not path.exists()
        if gone and path not in self._missed:
            self._missed.add(path)
            self.say(f"{path} was removed while training; what comes from now on is written to a new one")
        self._made.add(path)
        return not gone
