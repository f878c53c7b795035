"""The errors a user meets: each message is one line with the argument, its value, the rule and the way out."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from typing import TextIO

# Signs that would begin a line, move a terminal's cursor, colour it or turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class _NoValue:
    """Marks an error about a thing that has no value to show, such as a file."""

    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE = _NoValue()


class MorphospaceError(Exception):
    """Base of every error this library raises on purpose; the command line prints it in one line and exits with 2.

    >>> str(SettingError("beta", -1.0, "must be at least 0", "give 1 for the ELBO"))
    'beta = -1.0: must be at least 0; give 1 for the ELBO'
    >>> str(DataError("photos.zip", rule="has no image", way_out="check the path"))
    'photos.zip: has no image; check the path'

    Args:
        name: The setting, argument or file that is wrong.
        value: Its value; left out where the name says it all, as for a file.
        rule: The rule that it breaks.
        way_out: What to do next.
    """

    def __init__(self, name: object = "", value: object = NO_VALUE, rule: object = "", way_out: object = "") -> None:
        super().__init__(str(name), value, str(rule), str(way_out))
        # Afterwards, because an ImportError sets a `name` itself.
        self.name, self.value, self.rule, self.way_out = str(name), value, str(rule), str(way_out)

    @property
    def reason(self) -> str:
        """The rule and the way out, without the name and value."""
        return "; ".join(filter(None, [self.rule, self.way_out]))

    def __str__(self) -> str:
        head = self.name if self.value is NO_VALUE else f"{self.name} = {shown(self.value)}"
        return ": ".join(filter(None, [head, self.reason]))


class SettingError(MorphospaceError, ValueError):
    """A setting, argument or recipe that breaks a rule."""


class DataError(MorphospaceError, ValueError):
    """A source, file or pack that cannot be read as what it claims to be."""


class RunError(MorphospaceError, ValueError):
    """A run folder or checkpoint that is missing, broken or of another configuration."""


class OtherModel(RunError):
    """A checkpoint whose weights are not those of the model to load."""


class NoEncoder(RunError):
    """A run whose model cannot encode, and for which no encoder was trained."""


class TrainingError(MorphospaceError, RuntimeError):
    """Training that cannot go on, for instance after a loss that is not finite."""


class MissingExtra(MorphospaceError, ImportError):  # type: ignore[misc]  # both have a `name`
    """An optional dependency is not installed; the message names the extra that brings it.

    >>> str(MissingExtra("map", rule="needs umap-learn", way_out="pip install 'morphospace[map]'"))
    "map: needs umap-learn; pip install 'morphospace[map]'"
    """


def shown(value: object) -> str:
    """Return a value as an error shows it: its `repr`, cut after 200 characters.

    >>> shown("a" * 300)[-10:], shown(10**5000)
    ('aaaaaa ...', 'a value of type int')
    """
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number with thousands of digits
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]} ..."


def one_line(error: BaseException) -> str:
    r"""Return what another library's error says, in one line of at most 200 characters.

    >>> one_line(ValueError("bad\nheader")), one_line(EOFError())
    ('bad header', 'EOFError')
    """
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def spelled_out(text: str) -> str:
    r"""Return a text for a terminal: names out of files may hold control signs, which are written as escapes.

    >>> spelled_out("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    return _CONTROLS.sub(lambda sign: repr(sign[0])[1:-1], text)


def sayable(text: str, stream: TextIO) -> str:
    """Return a text as a stream can write it: names out of files may hold bytes that are no text, or control signs."""
    encoding = stream.encoding or "utf-8"
    return spelled_out(text).encode(encoding, "backslashreplace").decode(encoding)


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


def command(*words: object) -> str:
    """Return a command of this library as someone may paste it into a shell.

    >>> command("sample", "my run", "--n", 8)
    "morpho sample 'my run' --n 8"
    """
    return shlex.join(["morpho", *map(str, words)])


def require(holds: bool, name: str, value: object, rule: str, way_out: str = "") -> None:
    """Raise a `SettingError` that names the setting, its value, the rule and the way out, unless `holds`.

    >>> require(3 > 0, "lr", 3, "must be positive")
    """
    if not holds:
        raise SettingError(name, value, rule, way_out)
