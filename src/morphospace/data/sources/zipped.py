"""`zip:PATH`: a tree of image files that stays in its archive; nothing is unpacked to disk."""

from __future__ import annotations

import functools
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from morphospace.data.formats import HEAD_BYTES, Listing, sorted_out
from morphospace.data.opening import Blob
from morphospace.data.sources.base import SourceInfo
from morphospace.data.sources.folder import ImageTree
from morphospace.errors import DataError, one_line

_MOST_BYTES = 256 << 20  # of one image file, unpacked
BROKEN = (OSError, EOFError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged archive raises."""


@functools.lru_cache(maxsize=4)
def _archive(path: str, process: int) -> zipfile.ZipFile:
    """The open archive; one a process, for processes that share a file share its position."""
    return zipfile.ZipFile(path)


@dataclass(frozen=True, slots=True)
class _Member:
    path: str
    name: str

    def __call__(self) -> bytes:
        try:
            archive = _archive(self.path, os.getpid())
            if archive.getinfo(self.name).file_size > _MOST_BYTES:
                raise DataError(rule=f"unpacks to more than {_MOST_BYTES >> 20} MB")
            return archive.read(self.name)
        except BROKEN as error:
            raise DataError(rule=one_line(error)) from None


class Zipped(ImageTree):
    """`zip:PATH`, read as `folder:PATH` would be after unpacking.

    An archive with an absolute name, one that climbs (`..`) or a link is refused, though nothing would be written.
    """

    info = SourceInfo(
        name="zip",
        description="zip:PATH, a tree of image files as folder:PATH, read without unpacking it",
        licence="yours",
        shape=None,
        where="your own file",
    )
    hint = "give a .zip of images"

    @functools.cached_property
    def _members(self) -> dict[str, str]:
        """Full names in the archive by relative names with `/`: some archives are made with backslashes."""
        base = self._base()
        try:
            with zipfile.ZipFile(base) as archive:
                infos = archive.infolist()
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise DataError(base, rule=f"cannot be read as .zip ({one_line(error)})", way_out="make it again") from None
        for info in infos:
            _refuse(base, info)
        by_name = {info.filename.replace("\\", "/").removeprefix("./"): info.filename for info in infos}
        return {name: full for name, full in by_name.items() if not name.endswith("/")}

    def _list(self) -> Listing:
        members = self._members
        with zipfile.ZipFile(self._base()) as archive:

            def head(name: str) -> bytes:
                try:
                    with archive.open(members[name]) as stream:
                        return stream.read(HEAD_BYTES)
                except BROKEN:
                    return b""

            return sorted_out(members, head)

    def _content(self, name: str) -> bytes:
        try:
            return _Member(str(self._base().resolve()), self._members[name])()
        except DataError as error:
            raise DataError(name, rule=error.rule, way_out="check the archive") from None

    def _blob(self, base: Path, name: str) -> Blob:
        return _Member(str(base.resolve()), self._members[name])


def _refuse(base: Path, info: zipfile.ZipInfo) -> None:
    name = info.orig_filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\0" in name or (parts and parts[0].endswith(":")):
        rule = f"holds {info.orig_filename!r}, a name outside its folder"
        raise DataError(base, rule=rule, way_out="make it again without it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(base, rule=f"holds the link {info.orig_filename!r}", way_out="make it again without links")
