"""What a conditional model is told about an image: its class, or some of its attributes."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from morphospace.errors import SettingError, nearest, require

if TYPE_CHECKING:
    from morphospace.data.batches import Batch
    from morphospace.data.pack import Pack


MOST_CLASSES = 65_536
SHOWN = 40  # a message lists no more names than this

# A grid of all combinations of more attributes than this would be no grid any more.
COMBINED = 4


def class_names(pack: Pack) -> tuple[str, ...]:
    """Return the names of a pack's classes: as it has them, or the numbers where it has labels alone.

    Raises:
        SettingError: The labels are numbers of something else than classes.
    """
    highest = max((int(split.labels.max()) for split in pack.splits.values() if split.labels is not None), default=-1)
    most = MOST_CLASSES
    require(
        highest < most, "condition", "label", f"the highest label is {highest}", f"number the classes, {most} at most"
    )
    return pack.label_names or tuple(str(number) for number in range(highest + 1))


@dataclass(frozen=True)
class Conditioning:
    """A kind of condition and its parts' names.

    Attributes:
        kind: `label` (one-hot of a class) or `attributes` (a 0/1 vector).
        names: The classes, or the chosen attributes in order.
        columns: Where the chosen attributes stand among the pack's.
        classes: Of each label of other data the class here, -1 for one never told; empty where labels are classes.
    """

    kind: str
    names: tuple[str, ...]
    columns: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str, labels: Sequence[str], attributes: Sequence[str]) -> Conditioning | None:
        """Read `label` or `attributes:Smiling,Male` against what a pack has; None for an empty text.

        Raises:
            SettingError: The pack has no labels, or not these attributes.
        """
        if not text:
            return None
        if text == "label":
            if not labels:
                raise SettingError(
                    "condition = 'label'", rule="the data has no labels", way_out="use a labelled source or --classes"
                )
            return cls("label", tuple(labels))
        kind, _, chosen = text.partition(":")
        names = tuple(name.strip() for name in chosen.split(",") if name.strip())
        if kind != "attributes" or not names:
            raise SettingError("condition", text, "must be 'label' or 'attributes:NAME,NAME'")
        require(
            bool(attributes), "condition", text, "the data has no attributes", "take data that have, such as celeba"
        )
        require(len(set(names)) == len(names), "condition", text, "names an attribute twice")
        for name in names:
            if name not in attributes:
                raise SettingError("condition", text, f"the data has no attribute {name!r}{nearest(name, attributes)}")
        return cls("attributes", names, tuple(list(attributes).index(name) for name in names))

    @classmethod
    def for_pack(cls, text: str, pack: Pack) -> Conditioning | None:
        """Read a condition against a pack, as `of` does."""
        return cls.of(text, class_names(pack) if text == "label" else (), pack.attribute_names)

    def read_from(self, pack: Pack) -> Conditioning:
        """Return the same condition as other data tell it: a class or attribute is the one of that name.

        Raises:
            SettingError: The data lack an attribute.
        """
        if self.kind == "label":
            places = {name: number for number, name in enumerate(self.names)}
            return replace(self, classes=tuple(places.get(name, -1) for name in class_names(pack)))
        lacking = ", ".join(name for name in self.names if name not in pack.attribute_names)
        rule = f"{pack.name} does not tell {lacking}; take data that do"
        require(not lacking, "condition", ", ".join(self.names), rule)
        return replace(self, columns=tuple(pack.attribute_names.index(name) for name in self.names))

    @property
    def size(self) -> int:
        """Length of a condition's vector."""
        return len(self.names)

    def vectors(self, labels: Tensor | None, attributes: Tensor | None) -> Tensor:
        """Return the conditions (B, size) of images with these labels (B,) and attributes (B, A)."""
        if self.kind == "label":
            if labels is None:
                raise SettingError("condition = 'label'", rule="these images have no labels")
            numbers = labels.long()
            if self.classes:
                numbers = torch.tensor(self.classes, device=labels.device)[numbers]
                strange = labels[numbers < 0].unique().tolist()
                known = f"{', '.join(self.names[:SHOWN])}{', ...' if self.size > SHOWN else ''}"
                rule = f"never told to the model, which knows {known}; take images of these"
                require(not strange, "label", strange[0] if strange else None, rule)
            return functional.one_hot(numbers, self.size).float()
        if attributes is None:
            raise SettingError("condition", ", ".join(self.names), "these images have no attributes")
        return attributes[:, list(self.columns)].float()

    def from_batch(self, batch: Batch) -> Tensor:
        """Return a batch's conditions, (B, size), in the images' type."""
        return self.vectors(batch.labels, batch.attributes).to(batch.images.dtype)

    def label(self, wanted: int | str) -> Tensor:
        """Return the vector (size,) of a class, by number or name.

        Raises:
            SettingError: There is no such class, or the model is conditioned on attributes.
        """
        if self.kind != "label":
            raise SettingError("label", wanted, f"the model is conditioned on attributes ({', '.join(self.names)})")
        text, most = str(wanted), self.size - 1
        if text in self.names:
            index = self.names.index(text)
        elif text.isdecimal() and int(text) <= most:
            index = int(text)
        elif text.lstrip("-").isdecimal():
            raise SettingError("label", wanted, "no such class", f"give a number from 0 to {most}, or a name")
        else:
            close = nearest(text, self.names) if most < SHOWN or difflib.get_close_matches(text, self.names) else ""
            raise SettingError("label", wanted, f"no such class{close}", f"give a name, or a number from 0 to {most}")
        return functional.one_hot(torch.tensor(index), self.size).float()

    def attributes(self, wanted: Mapping[str, float]) -> Tensor:
        """Return the vector (size,) of attribute values; those not named are 0.

        Raises:
            SettingError: The model is not conditioned on one of them.
        """
        if self.kind != "attributes":
            raise SettingError("attributes", dict(wanted), "the model is conditioned on labels", "use --label")
        for name in wanted:
            if name not in self.names:
                raise SettingError("attributes", name, f"the model knows no such one{nearest(name, self.names)}")
        return torch.tensor([float(wanted.get(name, 0.0)) for name in self.names])

    def words(self, condition: Tensor) -> str:
        """Return a vector (size,) in words: `Sneaker`, or `Smiling=1, Male=0`."""
        if self.kind == "label":
            return self.names[int(condition.argmax())]
        return ", ".join(f"{name}={value:g}" for name, value in zip(self.names, condition.tolist()))

    def spread(self, rows: int | None = None) -> Tensor:
        """Return a condition for each row of a grid: every class, or every mix of the first attributes, (R, size)."""
        if self.kind == "label":
            every = torch.eye(self.size)
        else:
            varied = min(self.size, COMBINED)
            combined = [(*bits, *[0.0] * (self.size - varied)) for bits in itertools.product((0.0, 1.0), repeat=varied)]
            every = torch.tensor(combined)
        return every if rows is None else every[torch.arange(rows) % len(every)]
