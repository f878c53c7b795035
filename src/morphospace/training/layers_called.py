"""The layers of a network, noted as they are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from morphospace.training.origins import Origination, tensors_in

PLAIN = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
SILENT = (nn.Flatten, nn.Unflatten, nn.Identity)


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: What it does, such as `conv 4x4`.
        detail: How, such as `stride 2`.
        shape: Shape of its output for one image, channels first; of the parameter itself if it is no layer.
        parameters: Number of its trainable numbers, those of the norms after it included.
        sees: Side in pixels of the part of the image that one place of its output depends on; None if unknown.
        after: Norms and activations after it.
        given: `y` if it takes the condition alone, and not what the layer before it returns.
    """

    name: str
    detail: str
    shape: tuple[int, ...]
    parameters: int
    sees: int | None = None
    after: tuple[str, ...] = ()
    given: str = ""


@dataclass(frozen=True)
class Part:
    """A network of a model.

    Attributes:
        name: As in the model's `networks`.
        given: Shape of its input for one image, channels first; empty if it is used otherwise than by being called.
        layers: Its layers in the order of their first use.
        parameters: Number of its trainable numbers.
    """

    name: str
    given: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int


def words(module: nn.Module) -> tuple[str, str]:
    """Return a module's name and details in a few words.

    >>> words(nn.Conv2d(3, 8, 4, 2, 1)), words(nn.Linear(4, 2)), words(nn.LeakyReLU())
    (('conv 4×4', 'stride 2'), ('linear', ''), ('leaky relu', ''))
    """
    kind = type(module).__name__.removeprefix("Parametrized")
    short = {"ConvTranspose2d": "up-conv", "Conv2d": "conv", "AvgPool2d": "pool", "MaxPool2d": "max pool"}
    name = short.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=LU)(?=\d)", " ", kind).lower()
    name = name.replace("re lu", "relu").replace("batch norm2d", "batch norm").replace("si lu", "silu")
    size, stride = getattr(module, "kernel_size", None), getattr(module, "stride", None)
    details: list[str] = []
    if size is not None and kind in short:
        name += " " + "×".join(map(str, size if isinstance(size, tuple) else (size, size)))
        by = stride if isinstance(stride, tuple) else (stride, stride)
        details += [f"stride {'×'.join(map(str, dict.fromkeys(by)))}"] if by != (1, 1) and "pool" not in name else []
        groups = getattr(module, "groups", 1)
        details += [f"{groups} groups"] if groups > 1 else []
    if parametrize.is_parametrized(module):
        details.append("spectral norm")
    return name, ", ".join(details)


def follows(module: nn.Module, given: Sequence[Tensor], result: Tensor) -> bool:
    """Return whether a module only treats what a layer before it has computed: a norm, an activation, dropout."""
    if not given or given[0].shape != result.shape:
        return False
    return "norm" in type(module).__name__.lower() or not any(True for _ in module.parameters())


class Layers:
    """Notes the layers of one part as they are called.

    Args:
        part: The network.
        origination: Knows the receptive fields.
    """

    def __init__(self, part: nn.Module, origination: Origination) -> None:
        self.part, self.origination = part, origination
        self.rows: list[Layer] = []
        self.given: tuple[int, ...] = ()
        self.counted: set[int] = set()
        self.seen: set[nn.Module] = set()
        self.starts: dict[nn.Module, int] = {}
        self.handles = [
            handle
            for name, module in part.named_modules()
            if "parametrizations." not in f"{name}."
            for handle in (
                module.register_forward_pre_hook(self.enter, with_kwargs=True),
                module.register_forward_hook(self.leave, with_kwargs=True),
            )
        ]

    def fresh(self, parameters: Iterator[nn.Parameter]) -> int:
        """Return how many numbers these parameters have that were not counted before."""
        new = {id(p): p.numel() for p in parameters if id(p) not in self.counted}
        self.counted |= set(new)
        return sum(new.values())

    def compound(self, module: nn.Module) -> bool:
        """Return whether a module is made of others."""
        return any(name != "parametrizations" for name, _ in module.named_children())

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Note where the rows of a module begin."""
        given = list(tensors_in([*args, *kwargs.values()]))
        if not self.given and given:
            self.given = tuple(given[0].shape[1:])
        if module in self.seen or not self.compound(module):
            return
        self.starts[module] = len(self.rows)
        for name, parameter in module.named_parameters(recurse=False):
            self.rows.append(Layer(name, "parameter", tuple(parameter.shape), self.fresh(iter([parameter]))))

    def leave(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        """Note a layer, what follows one, or that several are a block."""
        results, given = list(tensors_in([result])), list(tensors_in([*args, *kwargs.values()]))
        if module in self.seen or not results or isinstance(module, SILENT) or (module is self.part and self.rows):
            self.seen.add(module)
            return
        self.seen.add(module)
        start = self.starts.get(module, len(self.rows))
        inner, name = self.rows[start:], words(module)
        if self.rows[:start] and follows(module, given, results[0]):
            self.rows[start:] = []
            more = sum(row.parameters for row in inner) + self.fresh(module.parameters())
            last = self.rows[-1]
            self.rows[-1] = replace(last, parameters=last.parameters + more, after=(*last.after, name[0]))
        elif not self.compound(module):
            shape = tuple(results[0].shape[1:])
            condition = given and self.origination.tag(given[0]).origins == {frozenset(["y"])}
            count, sees = self.fresh(module.parameters()), self.sees(results[0])
            self.rows.append(Layer(*name, shape, count, sees, given="y" if condition else ""))
        elif not isinstance(module, PLAIN) and len(inner) > 1 and given and given[0].shape == results[0].shape:
            detail = ", ".join(f"{row.name.removeprefix('conv ')} {row.detail}".rstrip() for row in inner)
            total = sum(row.parameters for row in inner)
            after = tuple(dict.fromkeys(word for row in inner for word in row.after))
            shape = tuple(results[0].shape[1:])
            self.rows[start:] = [Layer(name[0], detail, shape, total, self.sees(results[0]), after)]

    def resize(self, result: Tensor) -> None:
        """Note that maps are enlarged or reduced without a layer."""
        if self.part not in self.seen:
            self.rows.append(Layer("resize", "", tuple(result.shape[1:]), 0))

    def sees(self, result: Tensor) -> int | None:
        """Return the receptive field of a layer's output."""
        reach = self.origination.tag(result).reach
        return reach[0] if reach else None

    def finished(self, name: str) -> Part:
        """Return the part; parameters that belong to no layer get a row each."""
        rest = [(n, p) for n, p in self.part.named_parameters() if id(p) not in self.counted]
        rows = [Layer(n, "parameter", tuple(p.shape), self.fresh(iter([p]))) for n, p in rest]
        return Part(name, self.given, (*self.rows, *rows), sum(p.numel() for p in self.part.parameters()))
