"""Conditions of a conditional model: the class of an image, or some of its attributes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from morphospace.data.batches import Batch
from morphospace.data.naming import SHOWN, class_number, display_order
from morphospace.data.pack import MOST_CLASSES, Pack, composed
from morphospace.errors import SettingError, nearest, require

COMBINED = 4  # most attributes whose combinations all get a row of a grid


def class_names(pack: Pack) -> tuple[str, ...]:
    """Return the names of a pack's classes, or their numbers where they have no names.

    Raises:
        SettingError: If the labels are too large to be numbers of classes.
    """
    highest = max((int(split.labels.max()) for split in pack.splits.values() if split.labels is not None), default=-1)
    most = MOST_CLASSES
    way_out = f"number the classes, {most} at most"
    require(highest < most, "condition", "label", f"the highest label is {highest}", way_out)
    return pack.label_names or tuple(str(number) for number in range(highest + 1))


@dataclass(frozen=True)
class Conditioning:
    """A kind of condition and the names of its classes or attributes.

    Attributes:
        kind: `label` (one-hot of a class) or `attributes` (a 0/1 vector).
        names: The classes, or the chosen attributes in order.
        columns: Positions of the chosen attributes among the pack's.
        classes: For other data, the class of each of their labels, -1 for an unknown one; empty where labels are
            classes.
    """

    kind: str
    names: tuple[str, ...]
    columns: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str, labels: Sequence[str], attributes: Sequence[str]) -> Conditioning | None:
        """Read `label` or `attributes:Smiling,Male`; return None for an empty text.

        Raises:
            SettingError: If the data have no labels, or not these attributes.
        """
        if not text:
            return None
        if text == "label":
            if not labels:
                way_out = "use a labelled source or --classes"
                raise SettingError("condition = 'label'", rule="the data has no labels", way_out=way_out)
            return cls("label", tuple(labels))
        kind, _, chosen = text.partition(":")
        names = tuple(name.strip() for name in chosen.split(",") if name.strip())
        if kind != "attributes" or not names:
            raise SettingError("condition", text, "must be 'label' or 'attributes:NAME,NAME'")
        way_out = "choose data that have some, such as celeba"
        require(bool(attributes), "condition", text, "the data has no attributes", way_out)
        require(len(set(names)) == len(names), "condition", text, "names an attribute twice", "name each once")
        for name in names:
            if name not in attributes:
                raise SettingError("condition", text, f"the data has no attribute {name!r}{nearest(name, attributes)}")
        return cls("attributes", names, tuple(list(attributes).index(name) for name in names))

    @classmethod
    def for_pack(cls, text: str, pack: Pack) -> Conditioning | None:
        """Read a condition as `of` does, with the classes and attributes of a pack."""
        return cls.of(text, class_names(pack) if text == "label" else (), pack.attribute_names)

    def read_from(self, pack: Pack) -> Conditioning:
        """Return the same condition for other data, whose classes and attributes are matched by name.

        Raises:
            SettingError: If the data lack an attribute.
        """
        if self.kind == "label":
            places = {name: number for number, name in enumerate(self.names)}
            return replace(self, classes=tuple(places.get(name, -1) for name in class_names(pack)))
        lacking = ", ".join(name for name in self.names if name not in pack.attribute_names)
        rule = f"{pack.name} has no {lacking}; choose data that do"
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
                raise SettingError(
                    "condition = 'label'", rule="these images have no labels", way_out="take images that have"
                )
            numbers = labels.long()
            if self.classes:
                numbers = torch.tensor(self.classes, device=labels.device)[numbers]
                unknown = labels[numbers < 0].unique().tolist()
                known = f"{', '.join(self.names[:SHOWN])}{', ...' if self.size > SHOWN else ''}"
                rule = f"the model was not trained on it but on {known}; choose images of these"
                require(not unknown, "label", unknown[0] if unknown else None, rule)
            return functional.one_hot(numbers, self.size).float()
        if attributes is None:
            raise SettingError(
                "condition", ", ".join(self.names), "these images have no attributes", "take images that have"
            )
        # Not by a list: a GPU would have to wait until it is copied.
        return torch.stack([attributes[:, column] for column in self.columns], 1).float()

    def from_batch(self, batch: Batch) -> Tensor:
        """Return a batch's conditions, (B, size), in the images' type."""
        return self.vectors(batch.labels, batch.attributes).to(batch.images.dtype)

    def label(self, wanted: int | str) -> Tensor:
        """Return the vector (size,) of a class, by name or number.

        Raises:
            SettingError: If there is no such class, or the model is conditioned on attributes.
        """
        if self.kind != "label":
            raise SettingError(
                "label", wanted, f"the model is conditioned on attributes ({', '.join(self.names)})", "use --attributes"
            )
        return functional.one_hot(torch.tensor(class_number(wanted, self.names)), self.size).float()

    def attributes(self, wanted: Mapping[str, float]) -> Tensor:
        """Return the vector (size,) of attribute values; those not named are 0.

        Raises:
            SettingError: If the model is not conditioned on one of them.
        """
        if self.kind != "attributes":
            raise SettingError("attributes", dict(wanted), "the model is conditioned on labels", "use --label")
        asked = {composed(name): value for name, value in wanted.items()}
        names = [composed(name) for name in self.names]
        for name in asked:
            if name not in names:
                raise SettingError("attributes", name, f"the model has no such attribute{nearest(name, self.names)}")
        return torch.tensor([float(asked.get(name, 0.0)) for name in names])

    def words(self, condition: Tensor) -> str:
        """Return a vector (size,) as text: `Sneaker`, or `Smiling=1, Male=0`."""
        if self.kind == "label":
            return self.names[int(condition.argmax())]
        return ", ".join(f"{name}={value:g}" for name, value in zip(self.names, condition.tolist()))

    @property
    def ordered(self) -> list[str]:
        """The names, classes as people count."""
        return [self.names[i] for i in display_order(self.names)] if self.kind == "label" else list(self.names)

    def shown(self, rows: int | None = None) -> Tensor:
        """Return the conditions that a sheet shows, a row each, (R, size): as `spread`, classes as people count."""
        every = self.spread()
        return (every[display_order(self.names)] if self.kind == "label" else every)[:rows]

    def spread(self, rows: int | None = None) -> Tensor:
        """Return a condition for each row of a grid, (R, size): all classes, or all mixes of the first attributes."""
        if self.kind == "label":
            every = torch.eye(self.size)
        else:
            varied = min(self.size, COMBINED)
            combined = [(*bits, *[0.0] * (self.size - varied)) for bits in itertools.product((0.0, 1.0), repeat=varied)]
            every = torch.tensor(combined)
        return every if rows is None else every[torch.arange(rows) % len(every)]
