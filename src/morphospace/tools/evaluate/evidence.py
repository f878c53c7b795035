"""The inputs of the metrics: real and fake images and their features, each computed when it is first needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from morphospace.data.batches import permutation
from morphospace.data.cache import cache_folder, locked, make_folder
from morphospace.data.pack import Pack, Split, rows_hash
from morphospace.evaluation.features import Extracted, Extractor, extracted
from morphospace.evaluation.statistics import statistics_of
from morphospace.files import atomic
from morphospace.latent.components import Moments
from morphospace.runs.checkpoints import load_tensors, save_tensors
from morphospace.runs.codes import as_seen, codes_of, conditions_of, decode, named_prior, sampled
from morphospace.runs.condition import NO_CONDITION
from morphospace.runs.run import Run
from morphospace.tools.evaluate.extractors import extractor_for, kind_of

BLOCK = 1024
"""Images sampled or read at once. Fixed, because the last digits depend on the batch size."""


@dataclass(frozen=True)
class Side:
    """One of the two sets: images of a pack.

    Attributes:
        pack: The data.
        split: The images.
        rows: Indices of the images within the split.
        name: What the split is called.
        available: How many images there were to choose from; as many as rows when 0.
    """

    pack: Pack
    split: Split
    rows: np.ndarray
    name: str
    available: int = 0

    @property
    def more(self) -> str:
        """The way out where there are too few of these real images, in words."""
        if self.available > len(self.rows):
            return "raise n"
        if self.name != "train" and "train" in self.pack.splits:
            return "hold out more when training, as --valid 0.2, or evaluate with --real-split train"
        return "take more images"

    def further(self, count: int) -> list[Side]:
        """Return up to `count` other images of the pack: of the same split first, then of the other splits."""
        found: list[Side] = []
        for name, split in sorted(self.pack.splits.items(), key=lambda item: item[1] is not self.split):
            rows = np.arange(len(split))
            rows = np.setdiff1d(rows, self.rows) if split is self.split else rows
            if len(rows) and count > 0:
                found.append(chosen(self.pack, split, rows, name, count))
                count -= len(found[-1].rows)
        return found

    @property
    def key(self) -> str:
        """A hash of the images."""
        return rows_hash(self.pack, self.name, self.rows)

    def images(self) -> Iterator[np.ndarray]:
        """Yield the images in blocks, uint8 (B, H, W, C)."""
        for first in range(0, len(self.rows), BLOCK):
            yield np.asarray(self.split.images[self.rows[first : first + BLOCK]])


def chosen(pack: Pack, split: Split, rows: np.ndarray, name: str, n: int | None) -> Side:
    """Return n of the rows, spread over all of them because sources may be sorted by class; the same for every seed."""
    if n is None or n >= len(rows):
        return Side(pack, split, rows, name)
    return Side(pack, split, np.sort(rows[permutation(len(rows), "evaluation")[:n]]), name, len(rows))


@dataclass
class Evidence:
    """Everything that a metric can measure from.

    Attributes:
        real: The reference images.
        fake: The generated images; None where the run samples them.
        run: The run; None where both sets are given.
        n: Number of generated images.
        seed: Which samples, and the seed of every resampling.
        features: Which features, as for `extractor_for`.
        resize: For the Inception network: `legacy` or `antialias`.
        null: Whether to measure what real images score against each other, where that is not 0.
        prior: Which prior a run is sampled from, as for `sample`; see `prior_taken`.
        device: Where features are computed.
        say: Takes one line at a time for the user.
        used_samples: Whether a metric has asked for samples of the run.
    """

    real: Side
    fake: Side | None
    run: Run | None
    n: int
    seed: int
    features: str | nn.Module = ""
    resize: str = "legacy"
    null: bool = False
    prior: str = "model"
    device: str = "cpu"
    say: Callable[[str], None] = field(default=lambda line: None)
    used_samples: bool = False

    paired: ClassVar[bool] = False
    """Whether each fake belongs to the real image of its row."""
    making: ClassVar[str] = "sampling"
    """What makes the fakes, as a line says it."""

    @cached_property
    def kind(self) -> str:
        """The kind of features: one of `KINDS`, or `module`."""
        return kind_of(self.features, self.real.pack, self.resize)

    @cached_property
    def extractor(self) -> Extractor:
        """The network, or other function, that computes the features."""
        return extractor_for(self.features, self.real.pack, resize=self.resize, device=self.device, say=self.say)

    @cached_property
    def prior_taken(self) -> str:
        """The prior that a run is sampled from, by name. Which one `auto` is takes seconds to find out."""
        assert self.run is not None
        return named_prior(self.run, self.prior)

    @cached_property
    def real_images(self) -> np.ndarray:
        """The real images, uint8 (N, H, W, C)."""
        return np.concatenate(list(self.real.images()))

    @cached_property
    def fake_images(self) -> np.ndarray:
        """The fakes, uint8 (n, H, W, C)."""
        return np.concatenate(list(self.fakes()))

    def fakes(self) -> Iterator[np.ndarray]:
        """Yield the fakes in blocks; fake i of a run depends on (seed, i) and the real split only."""
        if self.fake is not None:
            yield from self.fake.images()
            return
        assert self.run is not None
        self.used_samples = True
        for first in range(0, self.n, BLOCK):
            count = min(BLOCK, self.n - first)
            conditions = self.conditions_of_fakes(self.run, first, count)
            yield sampled(self.run, count, self.seed, conditions, prior=self.prior_taken, start=first)

    def conditions_of_fakes(self, run: Run, first: int, count: int) -> Tensor | None:
        """Return conditions drawn in the real images' proportions, if they have labels; otherwise each in turn."""
        if not self.takes_real_conditions:
            return NO_CONDITION.rows(run.model, count, first)
        split = self.real.split
        rows = permutation(len(split), "asked for")[np.arange(first, first + count) % len(split)]
        return conditions_of(run.model, split, rows)

    @property
    def takes_real_conditions(self) -> bool:
        """Whether the fakes come from a conditional model, and the real images have conditions in its numbering."""
        run = self.run
        if self.fake is not None or run is None or run.model.conditioning is None:
            return False
        split, label = self.real.split, run.model.conditioning.kind == "label"
        known = split.labels if label else split.attributes
        return known is not None and self.real.pack.hash == run.folder.facts.get("data_hash")

    @cached_property
    def _real(self) -> tuple[Extracted, Moments]:
        return features_of(self.real, self.extractor, self.say)

    @property
    def real_features(self) -> Extracted:
        """Features of the real images, kept in the cache."""
        return self._real[0]

    @property
    def real_statistics(self) -> Moments:
        """Their statistics, kept in the cache."""
        return self._real[1]

    @cached_property
    def fake_features(self) -> Extracted:
        """Features of the fakes, computed block by block so that the images need not fit in memory at once."""
        if self.fake is not None:
            return features_of(self.fake, self.extractor, self.say)[0]
        self.say(f"{self.making} {self.n:,} images")
        return extracted(self.extractor, self.fakes())

    def conditions(self, **more: Any) -> dict[str, Any]:
        """Return the conditions that determine a number of the two sets."""
        pack, size = self.real.pack, "x".join(map(str, self.real.pack.shape))
        about: dict[str, Any] = {"data": pack.name, "size": size, "data_hash": pack.hash[:8], "split": self.real.name}
        about |= {"n_real": len(self.real.rows), "images": self.real.key[:8]}
        if self.fake is not None:
            about |= {"fake": self.fake.pack.name, "fake_hash": self.fake.pack.hash[:8], "fake_split": self.fake.name}
        elif self.run is not None:
            about |= {"checkpoint": self.run.images, "raw": self.run.raw}
            if not self.paired:
                about["prior"] = self.prior_taken
                if self.run.model.conditioning is not None:
                    about["condition"] = "those of real images" if self.takes_real_conditions else "every one in turn"
        return about | {"n_fake": self.n, "seed": self.seed} | more

    def feature_conditions(self, **more: Any) -> dict[str, Any]:
        """Return `conditions`, and which features were used."""
        e = self.extractor
        about = {"features": e.name, "resize": e.resize, "dtype": "float32 features, float64 distances"}
        return self.conditions(**about, **({"features_quality": e.quality} if e.quality else {}), **more)


@dataclass
class Rebuilt(Evidence):
    """The evidence of a run, with the reconstruction of each real image as a fake, from the mean of its code."""

    paired: ClassVar[bool] = True
    making: ClassVar[str] = "reconstructing"

    @classmethod
    def of(cls, evidence: Evidence) -> Rebuilt:
        """Return it for the real images and the run of some evidence."""
        given = {one.name: getattr(evidence, one.name) for one in fields(Evidence)}
        return cls(**given | {"fake": None, "n": len(evidence.real.rows)})

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images as the model sees them, and their reconstructions, in blocks of uint8 (B, H, W, C)."""
        run, side = self.run, self.real
        assert run is not None
        for first in range(0, len(side.rows), BLOCK):
            rows = side.rows[first : first + BLOCK]
            images = as_seen(run, np.asarray(side.split.images[rows]), rows)
            condition = conditions_of(run.model, side.split, rows, side.pack)
            yield images, decode(run.model, codes_of(run, images, condition), condition)

    def fakes(self) -> Iterator[np.ndarray]:
        """Yield the reconstructions in blocks."""
        yield from (rebuilt for _, rebuilt in self.pairs())

    @property
    def binarise(self) -> str:
        """How the model sees images in black and white; `none` where it does not."""
        return "none" if self.run is None else self.run.configuration.data.binarise

    @cached_property
    def _real(self) -> tuple[Extracted, Moments]:
        if self.binarise == "none":
            return features_of(self.real, self.extractor, self.say)
        found = extracted(self.extractor, (images for images, _ in self.pairs()))
        return found, statistics_of(found.features)

    def conditions(self, **more: Any) -> dict[str, Any]:
        """Return the conditions that determine a number of the pairs; no prior is among them."""
        more |= {} if self.binarise == "none" else {"binarise": self.binarise}
        return super().conditions(fake_is="reconstructions of the means", **more)


def features_of(side: Side, extractor: Extractor, say: Callable[[str], None]) -> tuple[Extracted, Moments]:
    """Return features and statistics of a set, from the cache if they are there.

    They are cached by a hash of data, split, rows, the extractor's weights and the resize rule. Features of a caller's
    own module are not cached, see `Extractor.key`.
    """
    if not extractor.key:
        found = extracted(extractor, side.images())
        return found, statistics_of(found.features)
    text = f"{side.key} {extractor.key} {extractor.resize}"
    name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    file = make_folder(cache_folder() / "features") / f"{name}.safetensors"
    with locked(file):
        if file.is_file():
            tensors = load_tensors(file)
            return Extracted(tensors["features"], tensors.get("probabilities")), Moments.from_tensors(tensors)
        say(f"computing {extractor.name} of {len(side.rows):,} images of {side.pack.name}, {side.name}")
        found = extracted(extractor, side.images())
        statistics = statistics_of(found.features)
        probabilities = {} if found.probabilities is None else {"probabilities": found.probabilities}
        with atomic(file) as partial:
            save_tensors(partial, {"features": found.features, **probabilities, **statistics.tensors()})
    return found, statistics
