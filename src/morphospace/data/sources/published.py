"""Sources whose published files are known by their checksums: found where the user keeps them, or downloaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from morphospace.data.sources.base import Source, fingerprint
from morphospace.data.sources.download import download
from morphospace.errors import DataError


class Published(Source):
    """A source of a few files, which are looked for below the root and in the cache, and downloaded if missing."""

    folders: ClassVar[tuple[str, ...]]
    """Where below the root the files may lie; the first is where `data fetch` puts them."""
    sha256: ClassVar[Mapping[str, str]]
    """What to download, and what it must hash to."""
    mirrors: ClassVar[tuple[str, ...]]

    @abstractmethod
    def _files(self, folder: Path) -> dict[Any, Path]:
        """The files in a folder that are of use, by what they are."""

    @abstractmethod
    def _missing(self, found: Mapping[Any, Path]) -> list[str]:
        """The names of the files that are needed too; none if these are enough."""

    def _candidates(self) -> list[Path]:
        mine = [*(self.root / folder for folder in self.folders), self.root] if self.root else []
        return [*mine, self.cache]

    def _find(self) -> dict[Any, Path] | None:
        """The files of the first folder that has all; else of the first that has any; None when no folder has."""
        some = [found for folder in self._candidates() if (found := self._files(folder))]
        return next((found for found in some if not self._missing(found)), some[0] if some else None)

    def here(self) -> bool:
        found = self._find()
        return found is not None and not self._missing(found)

    def _manual(self) -> str:
        return f"put {', '.join(self.sha256)} from {self.info.where} into {self._target()}"

    def _target(self) -> Path:
        return self.root / self.folders[0] if self.root else self.cache

    def fetch(self) -> Path | None:
        found = self._find()
        if found and not self._missing(found):
            return next(iter(found.values())).parent
        return self._download(self._target())

    def _download(self, folder: Path) -> Path:
        for name, sha256 in self.sha256.items():
            download(name, sha256, self.mirrors, folder, self.say, self._manual())
        return folder

    def _located(self) -> dict[Any, Path]:
        """The files, all in one folder.

        Raises:
            DataError: If some are missing, or none are here and they cannot be downloaded.
        """
        found = self._find()
        if found is None:
            self._download(self.cache)  # not into the user's own folder unless asked to, by `fetch`
            found = self._find() or {}
        if missing := self._missing(found):
            folder = next((file.parent for file in found.values()), self.cache)
            rule = f"{folder} lacks {' and '.join(missing)}"
            raise DataError(self.info.name, rule=rule, way_out="put it there")
        return found

    def inputs(self) -> Mapping[str, Any]:
        found = self._located()
        folder = next(iter(found.values())).parent
        return fingerprint(folder, [file.name for file in found.values()])
