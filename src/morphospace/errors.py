"""The errors a user meets: each message is one line with the argument, its value, the rule and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MorphospaceError(Exception):
    """Base of every error this library raises on purpose; the command line prints it and exits with 2."""


class SettingError(MorphospaceError, ValueError):
    """A setting, argument or recipe that breaks a rule."""


class DataError(MorphospaceError, ValueError):
    """A source, file or pack that cannot be read as what it claims to be."""


class RunError(MorphospaceError, ValueError):
    """A run folder or checkpoint that is missing, broken or of another configuration."""


class TrainingError(MorphospaceError, RuntimeError):
    """Training that cannot go on, for instance after a loss that is not finite."""


class MissingExtra(MorphospaceError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known word nearest to `word`, or all known words.

    >>> nearest("fashon-mnist", ["mnist", "fashion-mnist"])
    " (did you mean 'fashion-mnist'?)"
    >>> nearest("zebra", ["mnist", "celeba"])
    ' (known: mnist, celeba)'
    """
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"


def require(holds: bool, name: str, value: object, rule: str) -> None:
    """Raise a `SettingError` that names the setting, its value and the rule unless `holds`.

    >>> require(3 > 0, "lr", 3, "must be positive")
    """
    if not holds:
        raise SettingError(f"{name} = {value!r}: {rule}")
