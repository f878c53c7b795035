"""Where tensors come from: a tag on each says which networks and inputs it was computed from, and what it sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

MOST_SOURCES = 8  # alternatives that a tensor may come from; more are not told apart
LIKE = ("to", "type_as", "expand_as", "view_as", "reshape_as")


@dataclass(frozen=True)
class Call:
    """A use of a part, and the alternatives of what it was given."""

    part: str
    given: frozenset[frozenset[Any]]


Origin = frozenset[Any]  # of texts (`x`, `noise`, `y`, `mask`) and calls
Origins = frozenset[Origin]
NOTHING: Origins = frozenset()


@dataclass(frozen=True)
class Tag:
    """What is known of a tensor.

    Attributes:
        origins: What it was computed from; several alternatives if different rows have different origins.
        owner: The part that it is a weight of, or was computed from the weights of.
        reach: Receptive field and stride in pixels of the image.
    """

    origins: Origins = NOTHING
    owner: str = ""
    reach: tuple[int, int] | None = None


def joined(sets: Sequence[Origins]) -> Origins:
    """Return the origins of a value that is computed from values of these origins."""
    mixed = frozenset(frozenset().union(*some) for some in itertools.product(*sets))
    return mixed if len(mixed) <= MOST_SOURCES else frozenset([frozenset().union(*mixed)])


def through(part: str, origins: Origins) -> Origins:
    """Return the origins of what `part` computes from values of these origins."""
    given: set[Origin] = set()
    for origin in origins:
        own = [one for one in origin if isinstance(one, Call) and one.part == part]
        outside = frozenset([origin.difference(own)])
        given |= joined([outside, *(call.given for call in own)])
    return frozenset([frozenset([Call(part, frozenset(given))])])


class Origination(TorchFunctionMode):
    """Keeps a tag for every tensor that is computed while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Any = WeakIdKeyDictionary()
        self.resized: Callable[[Tag, Tensor], None] = lambda tag, result: None

    def tag(self, tensor: Tensor) -> Tag:
        """Return what is known of a tensor."""
        return self.tags.get(tensor, Tag())

    def mark(self, tensor: Tensor | None, word: str, reach: tuple[int, int] | None = None) -> None:
        """Say that a tensor is an input of the step."""
        if tensor is not None:
            self.tags[tensor] = Tag(frozenset([frozenset([word])]), reach=reach)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch and tag what it returns."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        target = args[0] if name == "__setitem__" else result
        changed = list(tensors_in([target]))
        given = list(tensors_in([*args, *kwargs.values()])) if changed and name != "__get__" else []
        if name in LIKE:  # the others only say which type or shape is wanted
            given = given[:1]
        for one in changed if given else []:
            self.tags[one] = self.result(name, args, kwargs, given, one)
            if name == "interpolate":
                self.resized(self.tags[one], one)
        return result

    def result(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: Sequence[Tensor], result: Tensor
    ) -> Tag:
        """Return the tag of what a function returned."""
        tags = [self.tag(one) for one in given]
        owners = sorted({tag.owner for tag in tags if tag.owner})
        sets = [tag.origins for tag in tags if tag.origins]
        if not sets:
            return Tag(owner=owners[0] if owners else "")
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        origins = frozenset().union(*sets) if name in ("cat", "concat") and dim == 0 else joined(sets)
        for owner in owners:
            origins = through(owner, origins)
        return Tag(origins, reach=self.reach(name, args, kwargs, given, result))

    def reach(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: Sequence[Tensor], result: Tensor
    ) -> tuple[int, int] | None:
        """Return the receptive field and stride of what a function returned; None if they are not known."""
        known = [(one, reach) for one in given if (reach := self.tag(one).reach)]
        if not known or result.dim() != 4:
            return None
        first, (field, step) = known[0]
        if name in ("conv2d", "avg_pool2d", "max_pool2d", "_max_pool2d", "max_pool2d_with_indices"):
            places: list[Any] = [args[i] if len(args) > i else None for i in range(6)]
            window = places[1].shape[2:] if name == "conv2d" else places[1]
            stride = kwargs.get("stride", places[3 if name == "conv2d" else 2]) or (1 if name == "conv2d" else window)
            dilation = kwargs.get("dilation", places[5] if name == "conv2d" else 1) or 1
            size, by, apart = (max(one) if isinstance(one, tuple | list) else one for one in (window, stride, dilation))
            return field + (size - 1) * apart * step, step * by
        if result.shape[2:] != first.shape[2:] or name in ("pad", "roll", "interpolate", "fold"):
            return None
        return max(reach for _, reach in known)


def tensors_in(values: Sequence[Any]) -> Iterator[Tensor]:
    """Yield the tensors among values and in tuples, lists and dictionaries of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors_in(value)
        elif isinstance(value, dict):
            yield from tensors_in(list(value.values()))
