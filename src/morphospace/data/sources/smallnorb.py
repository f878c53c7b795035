"""SmallNORB (LeCun, Huang and Bottou 2004): toys photographed under every angle and light."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from morphospace.data.sources.base import Contents, Part, SourceInfo, damaged
from morphospace.data.sources.published import Published
from morphospace.errors import one_line

_SPLITS = {"train": "smallnorb-5x46789x9x18x6x2x96x96-training", "test": "smallnorb-5x01235x9x18x6x2x96x96-testing"}
_KINDS = ("dat", "cat", "info")
_BYTES, _INTEGERS = 0x1E3D4C55, 0x1E3D4C54
_SIDE = 96
_MOST = 100_000
_TOGETHER = 256


def read_matrix(path: Path, kind: str) -> np.ndarray:
    """Read one file: `dat` is the first camera's images (N, 96, 96), `cat` (N,) classes, `info` (N, 4) numbers.

    Raises:
        DataError: If its header or its length is wrong, or the gzip is damaged.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            made = _read(stream, kind)
            if stream.read(1):
                raise ValueError("it has bytes after its end")
            return made
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise damaged(path, f"cannot be read ({one_line(error)})") from None


def _read(stream: BinaryIO | gzip.GzipFile, kind: str) -> np.ndarray:
    magic, dimensions = struct.unpack("<II", stream.read(8))
    sides = struct.unpack("<III", stream.read(12))
    if kind == "dat" and dimensions == 4:
        sides += struct.unpack("<I", stream.read(4))
    wanted = {"dat": (_BYTES, (2, _SIDE, _SIDE)), "cat": (_INTEGERS, ()), "info": (_INTEGERS, (4,))}[kind]
    shape = sides[:dimensions]
    if (magic, shape[1:]) != wanted or not 0 < shape[0] <= _MOST:
        raise ValueError(f"its header says {magic:#x} and {'x'.join(map(str, shape))}")
    if kind != "dat":
        return np.frombuffer(_exactly(stream, 4 * math.prod(shape)), "<i4").reshape(shape)
    pair, images = 2 * _SIDE * _SIDE, []
    for first in range(0, shape[0], _TOGETHER):
        count = min(_TOGETHER, shape[0] - first)
        both = np.frombuffer(_exactly(stream, count * pair), np.uint8).reshape(count, 2, _SIDE, _SIDE)
        images.append(both[:, 0].copy())
    return np.concatenate(images)


def _exactly(stream: BinaryIO | gzip.GzipFile, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ValueError("it is cut off")
    return data


class SmallNorb(Published):
    """The first camera's images. The label is the kind of toy. Factors are the kind, the elevation and azimuth of the
    camera in radians, and the light; the toy itself is none, because training and test show different ones.
    """

    info = SourceInfo(
        name="smallnorb",
        description="24,300 + 24,300 photographs of 50 toys, 5 classes and 4 factors",
        licence="for research only; may not be sold",
        shape=(_SIDE, _SIDE, 1),
        where="https://cs.nyu.edu/~ylclab/data/norb-v1.0-small",
        size="263 MB",
    )
    folders = ("smallnorb", "small_norb", "norb-v1.0-small")
    mirrors = (info.where,)
    classes: ClassVar[tuple[str, ...]] = ("animal", "human", "airplane", "truck", "car")
    factors: ClassVar[tuple[str, ...]] = ("category", "elevation", "azimuth", "lighting")
    sha256: ClassVar[Mapping[str, str]] = {
        f"{_SPLITS['train']}-dat.mat.gz": "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
        f"{_SPLITS['train']}-cat.mat.gz": "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
        f"{_SPLITS['train']}-info.mat.gz": "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
        f"{_SPLITS['test']}-dat.mat.gz": "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
        f"{_SPLITS['test']}-cat.mat.gz": "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
        f"{_SPLITS['test']}-info.mat.gz": "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
    }

    def _files(self, folder: Path) -> dict[tuple[str, str], Path]:
        places = {
            (split, kind): [folder / f"{stem}-{kind}.mat{ending}" for ending in ("", ".gz")]
            for split, stem in _SPLITS.items()
            for kind in _KINDS
        }
        found = {key: next((file for file in files if file.is_file()), None) for key, files in places.items()}
        return {key: file for key, file in found.items() if file is not None}

    def _missing(self, found: Mapping[tuple[str, str], Path]) -> list[str]:
        names = {(split, kind): f"{stem}-{kind}.mat.gz" for split, stem in _SPLITS.items() for kind in _KINDS}
        return [name for key, name in names.items() if key not in found]

    def read(self) -> Contents:
        found, parts = self._located(), {}
        for split in _SPLITS:
            images, labels, numbers = (read_matrix(found[split, kind], kind) for kind in _KINDS)
            if not len(images) == len(labels) == len(numbers):
                rule = (
                    f"{split} has {len(images):,} images, {len(labels):,} classes and {len(numbers):,} rows of numbers"
                )
                raise damaged(found[split, "dat"].parent, rule)
            if labels.min() < 0 or labels.max() >= len(self.classes):
                raise damaged(found[split, "cat"], f"has class {labels.max()}, must be from 0 to 4")
            _, elevation, azimuth, lighting = numbers.T
            angles = np.deg2rad(30 + 5.0 * elevation), np.deg2rad(10.0 * azimuth)  # from 30 degrees up, in steps of 5
            factors = np.stack([labels, *angles, lighting], axis=1).astype(np.float32)
            parts[split] = Part(images=images[..., None], labels=labels.astype(np.int64), factors=factors)
        return Contents("smallnorb", parts, (_SIDE, _SIDE, 1), label_names=self.classes, factor_names=self.factors)
