"""Downloads with a checksum, from the first mirror that answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from morphospace.errors import DataError

__all__ = ["download"]

_TIMEOUT_SECONDS = 20


class _Meter:
    """What pooch asks of a progress bar; says a line at every quarter of a large file instead."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name, self.say = name, say
        self.total, self.done, self.said = 0, 0, 0

    def update(self, count: int) -> None:
        self.done += count
        quarter = 4 * self.done // self.total if self.total else 0
        if quarter > self.said and self.total > 1 << 20:
            self.said = quarter
            self.say(f"{self.name}: {self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing to close."""


def download(
    name: str, sha256: str, mirrors: Sequence[str], folder: Path, say: Callable[[str], None], manual: str
) -> Path:
    """Fetch one file unless it is there; a file whose checksum is wrong is never kept.

    Args:
        name: File name, below each mirror and in `folder`.
        sha256: What the file must hash to.
        mirrors: Addresses of folders, tried in turn.
        folder: Where to put it.
        say: Takes one line for the user.
        manual: The way out, for the error.

    Raises:
        DataError: No mirror gave the file.
    """
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.ERROR)  # it logs to stderr; `say` is where lines belong here
    reasons = []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + name
        say(f"downloading {url}")
        getter = pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS, progressbar=_Meter(name, say))
        try:
            return Path(pooch.retrieve(url, f"sha256:{sha256}", name, folder, downloader=getter))
        except (
            OSError,
            ValueError,
        ) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
            wrong = isinstance(error, ValueError)
            reasons.append("wrong checksum" if wrong else type(error).__name__)
    raise DataError(f"{name}: could not be downloaded ({', '.join(sorted(set(reasons)))}); {manual}")
