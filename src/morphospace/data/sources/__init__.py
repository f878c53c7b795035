"""Every source by name. To add one: a file here with a subclass of `Source`, and a line in `SOURCES`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from morphospace.data.settings import DataSettings
from morphospace.data.sources.arrays import Npy, Npz
from morphospace.data.sources.base import Contents, Part, Source, SourceInfo
from morphospace.data.sources.celeba import CelebA
from morphospace.data.sources.celebamask_hq import CelebAMaskHQ
from morphospace.data.sources.digits import Digits
from morphospace.data.sources.dsprites import DSprites
from morphospace.data.sources.folder import Folder
from morphospace.data.sources.hub import Hub
from morphospace.data.sources.idx import FashionMnist, Kmnist, Mnist
from morphospace.data.sources.stacked_mnist import StackedMnist
from morphospace.data.sources.toyfaces import ToyFaces
from morphospace.data.sources.wds import Wds
from morphospace.data.sources.zipped import Zipped
from morphospace.errors import DataError, nearest

__all__ = ["Contents", "Part", "SOURCES", "Source", "SourceInfo", "open_source"]

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "mnist": Mnist,
    "fashion-mnist": FashionMnist,
    "kmnist": Kmnist,
    "celeba": CelebA,
    "celebamask-hq": CelebAMaskHQ,
    "toyfaces": ToyFaces,
    "dsprites": DSprites,
    "stacked-mnist": StackedMnist,
    "folder": Folder,
    "npz": Npz,
    "npy": Npy,
    "zip": Zipped,
    "hub": Hub,
    "wds": Wds,
}


def open_source(settings: DataSettings, root: Path | None, cache: Path, say: Callable[[str], None]) -> Source:
    """The source that `settings.data` names, before the first `:`.

    Raises:
        DataError: There is no such source.
    """
    name = settings.data.partition(":")[0]
    if name not in SOURCES:
        raise DataError("data", settings.data, f"neither a source nor the folder of a pack{nearest(name, SOURCES)}")
    return SOURCES[name](settings, root, cache, say)
