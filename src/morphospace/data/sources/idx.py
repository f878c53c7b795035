"""MNIST and its kin: four files in the IDX format, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from morphospace.data.sources.base import Contents, Part, SourceInfo, damaged
from morphospace.data.sources.published import Published
from morphospace.errors import DataError, one_line

_STEMS = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
_MAGIC = {"images": 0x00000803, "labels": 0x00000801}
_SIDE = 28
_MOST = 10_000_000  # a header asking for more is damaged, and believing it would ask for the memory


def read_idx(path: Path, kind: str) -> np.ndarray:
    """Read one IDX file of `images` (N, 28, 28) or `labels` (N,), both uint8.

    Raises:
        DataError: If the magic number, count or size is wrong, bytes are missing or left over, or the gzip is damaged.
    """
    dimensions = 3 if kind == "images" else 1
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            head = stream.read(4 + 4 * dimensions)
            sizes = [int.from_bytes(head[4 * i + 4 : 4 * i + 8], "big") for i in range(dimensions)]
            if len(head) < 4 + 4 * dimensions or int.from_bytes(head[:4], "big") != _MAGIC[kind]:
                raise damaged(path, f"not an IDX file of {kind} (it starts {head[:4].hex()!r})")
            if not 0 < sizes[0] <= _MOST or sizes[1:] not in ([], [_SIDE, _SIDE]):
                shape = "x".join(map(str, sizes))
                raise damaged(path, f"its header says {shape}, must be N or Nx{_SIDE}x{_SIDE}")
            want = int(np.prod(sizes))
            data = stream.read(want + 1)  # one more: to see trailing bytes, and to make gzip check its sum
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise damaged(path, f"cannot be read ({one_line(error)})") from None
    if len(data) != want:
        what = "is cut off" if len(data) < want else "has bytes after its end"
        raise damaged(path, f"{what} (its header promises {want:,} bytes)")
    return np.frombuffer(data, np.uint8).reshape(sizes)


class IdxSource(Published):
    """What the members of the family share; they differ in names, folders and checksums only."""

    classes: ClassVar[tuple[str, ...]]

    def _candidates(self) -> list[Path]:
        inside = [folder + tail for folder in self.folders for tail in ("", "/raw")]
        mine = [self.root / folder for folder in inside] + [self.root] if self.root else []
        return [*mine, self.cache]

    def _files(self, folder: Path) -> dict[tuple[str, str], Path]:
        found = {}
        for key, stem in _STEMS.items():
            other = stem.replace("-idx", ".idx")
            places = [folder / name for name in (stem, stem + ".gz", other, other + ".gz")]
            file = next((place for place in places if place.is_file()), None)
            if file is not None:
                found[key] = file
        return found

    def _missing(self, found: Mapping[tuple[str, str], Path]) -> list[str]:
        return [f"{_STEMS[key]} (.gz or not)" for key in _STEMS if key not in found]

    def read(self) -> Contents:
        found = self._located()
        parts = {}
        for split in ("train", "test"):
            images = read_idx(found[split, "images"], "images")
            labels = read_idx(found[split, "labels"], "labels")
            if len(images) != len(labels):
                rule = f"{split} has {len(images):,} images but {len(labels):,} labels"
                raise DataError(self.info.name, rule=rule, way_out="fetch both again")
            if labels.max() >= len(self.classes):
                rule = f"has label {labels.max()}, must be below {len(self.classes)}"
                raise damaged(found[split, "labels"], rule)
            parts[split] = Part(images=images[..., None], labels=labels.astype(np.int64))
        return Contents(self.info.name, parts, (_SIDE, _SIDE, 1), label_names=self.classes)


class Mnist(IdxSource):
    """Handwritten digits (LeCun, Cortes and Burges 1998)."""

    info = SourceInfo(
        name="mnist",
        description="60,000 + 10,000 handwritten digits, 10 classes",
        licence="none stated by its authors; commonly given as CC BY-SA 3.0",
        shape=(_SIDE, _SIDE, 1),
        where="https://ossci-datasets.s3.amazonaws.com/mnist",
        size="11.6 MB",
        embedded="digits",
    )
    folders = ("mnist", "MNIST")
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
    classes = tuple(str(n) for n in range(10))
    sha256: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }


class FashionMnist(IdxSource):
    """Zalando's articles (Xiao, Rasul and Vollgraf 2017)."""

    info = SourceInfo(
        name="fashion-mnist",
        description="60,000 + 10,000 articles of clothing, 10 classes",
        licence="MIT, (c) 2017 Zalando SE",
        may_be_shown=True,
        shape=(_SIDE, _SIDE, 1),
        where="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        size="30.9 MB",
        embedded="digits",
    )
    folders = ("fashion_mnist", "fashion-mnist", "FashionMNIST")
    mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    )
    classes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    sha256: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }


class Kmnist(IdxSource):
    """Kuzushiji-MNIST (Clanuwat et al. 2018)."""

    info = SourceInfo(
        name="kmnist",
        description="60,000 + 10,000 cursive Japanese characters, 10 classes",
        licence="CC BY-SA 4.0, 'KMNIST Dataset' (created by CODH), adapted from 'Kuzushiji Dataset'",
        may_be_shown=True,
        shape=(_SIDE, _SIDE, 1),
        where="https://codh.rois.ac.jp/kmnist/dataset/kmnist",
        size="21 MB",
        embedded="digits",
    )
    folders = ("kmnist", "KMNIST")
    mirrors = ("https://codh.rois.ac.jp/kmnist/dataset/kmnist", "http://codh.rois.ac.jp/kmnist/dataset/kmnist")
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    sha256: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    }
