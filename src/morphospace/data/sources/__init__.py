"""Every data source by name. To add one here: a file with a subclass of `Source`, and its name in the last line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from morphospace.data.settings import DataSettings
from morphospace.data.sources.arrays import Npy, Npz
from morphospace.data.sources.base import Contents, Part, Source, SourceInfo
from morphospace.data.sources.cars3d import Cars3d
from morphospace.data.sources.celeba import CelebA
from morphospace.data.sources.celebamask_hq import CelebAMaskHQ
from morphospace.data.sources.cifar import Cifar10, Cifar100
from morphospace.data.sources.digits import Digits
from morphospace.data.sources.dsprites import DSprites
from morphospace.data.sources.folder import Folder
from morphospace.data.sources.hub import Hub
from morphospace.data.sources.idx import FashionMnist, Kmnist, Mnist
from morphospace.data.sources.mpi3d import Mpi3d
from morphospace.data.sources.shapes3d import Shapes3d
from morphospace.data.sources.smallnorb import SmallNorb
from morphospace.data.sources.stacked_mnist import StackedMnist
from morphospace.data.sources.svhn import Svhn
from morphospace.data.sources.toyfaces import ToyFaces
from morphospace.data.sources.wds import Wds
from morphospace.data.sources.zipped import Zipped
from morphospace.errors import DataError, nearest
from morphospace.plugins import BRING_IT, Registry

__all__ = ["Contents", "Part", "SOURCES", "Source", "SourceInfo", "open_source", "source"]

SOURCES: Registry[type[Source]] = Registry("source")
S = TypeVar("S", bound=type[Source])


def source(cls: S) -> S:
    """Register a subclass of `Source` under the name that its `info` has."""
    SOURCES.register(cls.info.name, cls, cls.__module__)
    return cls


def open_source(settings: DataSettings, root: Path | None, cache: Path, say: Callable[[str], None]) -> Source:
    """The source that `settings.data` names, before the first `:`.

    Raises:
        DataError: If there is no such source here.
    """
    name = settings.data.partition(":")[0]
    if name not in SOURCES:
        rule = f"neither a source nor the folder of a pack{nearest(name, SOURCES)}"
        raise DataError("data", settings.data, rule, BRING_IT)
    return SOURCES[name](settings, root, cache, say)


for kind in (
    Digits,
    Mnist,
    FashionMnist,
    Kmnist,
    CelebA,
    CelebAMaskHQ,
    ToyFaces,
    DSprites,
    StackedMnist,
    Cifar10,
    Cifar100,
    Svhn,
    Shapes3d,
    Cars3d,
    Mpi3d,
    SmallNorb,
    Folder,
    Npz,
    Npy,
    Zipped,
    Hub,
    Wds,
):
    source(kind)
