"""The modes of samples, as a classifier of the data sees them; of Stacked MNIST, as one of digits sees its channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.evaluation.features import Extractor, extracted
from morphospace.evaluation.modes import modes_of
from morphospace.evaluation.results import Result
from morphospace.tools.evaluate.evidence import Evidence
from morphospace.tools.evaluate.extractors import extractor_for

STACKED = "stacked-mnist"


def no_modes(evidence: Evidence) -> str:
    """Return why modes cannot be counted; empty where they can."""
    labels = _first(evidence.real.pack).labels
    if labels is None or int(labels.max()) < 1:
        return "needs data of several classes; take another measure"
    return ""


def shown(evidence: Evidence) -> list[Result]:
    """Count the classes that fakes show, and measure how far their shares are from the data's."""
    pack = evidence.real.pack
    labels = _first(pack).labels
    assert labels is not None
    stacked = pack.name == STACKED
    judge = extractor_for("classifier", _digits(pack) if stacked else pack, device=evidence.device, say=evidence.say)
    expected = torch.bincount(torch.tensor(np.asarray(labels, dtype=np.int64)), minlength=1000 if stacked else 0)
    made = modes_of(_seen(judge, evidence.fake_images, stacked), expected)
    real = modes_of(_seen(judge, evidence.real_images, stacked), expected)
    of = f"classes of {len(expected):,}, by one image each" + (", a digit a channel" if stacked else "")
    quality = {"features_quality": judge.quality} if judge.quality else {}
    about = evidence.conditions(features=judge.name, of=of, interval="none", **quality)
    counted = {"with_a_quarter_of_their_share": made.shared, "value_of_real": real.found}
    name = judge.name
    return [
        Result(f"modes[{name}]", made.found, conditions=about | counted),
        Result(f"modes, KL[{name}]", made.kl, unit="nats", conditions=about | {"value_of_real": real.kl}),
    ]


def _seen(judge: Extractor, images: np.ndarray, stacked: bool) -> Tensor:
    """Return the mode of each image, (N,)."""
    channels = [images[..., i : i + 1] for i in range(3)] if stacked else [images]
    told = [extracted(judge, np.ascontiguousarray(channel)).probabilities for channel in channels]
    seen = torch.zeros(len(images), dtype=torch.int64)
    for probabilities in told:
        assert probabilities is not None
        seen = 10 * seen + probabilities.argmax(1)
    return seen


def _digits(pack: Pack) -> Pack:
    """Return the red channel of Stacked MNIST as data of its own: the digits themselves, with their labels."""
    splits: dict[str, Any] = {}
    for name, split in pack.splits.items():
        assert split.labels is not None
        splits[name] = Split(
            np.ascontiguousarray(np.asarray(split.images[:])[..., :1]), np.asarray(split.labels) // 100
        )
    return in_memory_pack(f"{pack.name}, digits", **splits)


def _first(pack: Pack) -> Split:
    return pack.split("train" if "train" in pack.splits else next(iter(pack.splits)))
