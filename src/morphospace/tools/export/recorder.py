"""Writes down what a network does: the operations of torch that depend on its inputs, as steps of a program.

The network runs once. So any network can be written whose operations are known here, whoever built it; another is
refused by the name of its layer. What depends on weights alone is worked out now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from morphospace.errors import RunError
from morphospace.tools.export.steps import Floats, Step, View, row_strides

MOST_PRODUCTS = 2**22  # numbers that a product of two results may keep in memory at once: 16 MB
UNARY = frozenset(
    ["abs", "exp", "expm1", "gelu", "log", "log1p", "neg", "reciprocal", "relu", "rsqrt", "sigmoid", "silu", "sqrt"]
    + ["tanh", "logical_not"]
)
BINARY = frozenset(["add", "sub", "mul", "div", "maximum", "minimum", "pow", "lt", "gt", "le", "ge", "eq"])
SAME = frozenset(["alias", "clone", "detach", "lift_fresh", "contiguous"])
RESHAPES = frozenset(["view", "_unsafe_view", "reshape"])
# What these return depends on the shape of a tensor alone.
SHAPE_ALONE = frozenset(["ones_like", "zeros_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full"])


class Recorder(TorchDispatchMode):
    """Notes the operations that depend on some tensors.

    Args:
        networks: Whose layers are named where one cannot be written.
    """

    def __init__(self, networks: nn.Module) -> None:
        super().__init__()
        self.networks = networks
        self.sizes: list[int] = []
        self.values: dict[int, Floats] = {}  # of buffers that are constants
        self.steps: list[Step] = []
        self._views: dict[int, View] = {}
        self._held: list[Tensor] = []  # so that no id is given again
        self._numbers: dict[float, View] = {}
        self._layers: list[tuple[str, nn.Module]] = []

    # -- what is known of tensors ------------------------------------------------------------------------------

    def track(self, tensor: Tensor, view: View) -> None:
        """Note where a tensor's numbers are."""
        self._held.append(tensor)
        self._views[id(tensor)] = view

    def known(self, value: object) -> View | None:
        """Return where a tensor's numbers are, or None for what does not depend on the inputs."""
        return self._views.get(id(value)) if isinstance(value, Tensor) else None

    def new(self, shape: Sequence[int]) -> View:
        """Return a new buffer."""
        self.sizes.append(math.prod(shape))
        return View(len(self.sizes) - 1, tuple(shape), row_strides(shape))

    def constant(self, value: Any) -> View:
        """Return a buffer that holds a number or a tensor."""
        numbers = np.asarray(value.detach().float() if isinstance(value, Tensor) else float(value), np.float32)
        if numbers.size == 1 and (single := float(numbers.reshape(()))) in self._numbers:
            return replace(self._numbers[single], shape=numbers.shape, strides=row_strides(numbers.shape))
        made = self.new(numbers.shape)
        self.values[made.buffer] = np.ascontiguousarray(numbers).reshape(-1)
        if numbers.size == 1:
            self._numbers[float(numbers.reshape(()))] = made
        return made

    def operand(self, value: Any) -> View:
        """Return where an argument's numbers are: a map's, or a constant's."""
        return self.known(value) or self.constant(value)

    def row(self, view: View) -> View:
        """Return the numbers in a row, copied if they do not stand so."""
        return view if view.plain else self.each("copy", view.shape, view)

    def each(self, function: str, shape: Sequence[int], *operands: View, out: View | None = None) -> View:
        """Apply a function to every number."""
        made = out or self.new(shape)
        self.steps.append(Step("each", [one.spread(shape) for one in operands], made, {"f": function}))
        return made

    def reduce(self, function: str, view: View, last: int) -> View:
        """Reduce the last axes of a view."""
        made = self.new(view.shape[:-last])
        self.steps.append(Step("reduce", [view], made, {"f": function, "last": last}))
        return made

    # -- operations --------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        flat = [one for arg in args for one in (arg if isinstance(arg, list | tuple) else [arg])]
        if any(self.known(one) for one in flat) and name not in SHAPE_ALONE:
            # In place, an operation gives back the tensor that it was given, with other numbers.
            made = self.noted(name.removesuffix("_") if not name.startswith("_") else name, args, kwargs or {}, result)
            outputs = result if isinstance(result, list | tuple) else [result]
            for tensor, view in zip(outputs, made if isinstance(made, list) else [made]):
                self.track(tensor, view)
        return result

    def noted(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> View | list[View]:
        """Return where an operation's result is, after writing down the steps to it."""
        if name in SAME:
            return self.operand(args[0])
        if name == "_to_copy":
            self.need(result.dtype in (torch.float32, torch.bool), f"numbers of type {result.dtype}")
            return self.operand(args[0])
        if name in RESHAPES:
            view = self.row(self.operand(args[0]))
            return replace(view, shape=tuple(result.shape), strides=row_strides(result.shape))
        if name in UNARY:
            return self.each(name, result.shape, self.operand(args[0]))
        if name in BINARY:
            left, right = self.operand(args[0]), self.operand(args[1])
            if (factor := kwargs.get("alpha", 1)) != 1:
                right = self.each("mul", right.shape, right, self.constant(factor))
            return self.each(name, result.shape, left, right)
        method: Callable[..., View | list[View]] | None = getattr(self, f"_{name.lstrip('_')}", None)
        self.need(method is not None, f"aten.{name}")
        assert method is not None
        return method(result, *args, **kwargs)

    def need(self, good: bool, what: str) -> None:
        """Refuse an operation.

        Raises:
            RunError: If it is not good.
        """
        if good:
            return
        name, layer = self._layers[-1] if self._layers else ("", self.networks)
        value = f"{name or 'the network'} ({type(layer).__name__})"
        raise RunError("layer", value, f"{what} cannot be written into a page", "take --format onnx")

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Keep track of which layer runs."""
        hooks = []
        for name, layer in self.networks.named_modules():
            enter = layer.register_forward_pre_hook(lambda m, *_, name=name: self._layers.append((name, m)))
            hooks += [enter, layer.register_forward_hook(lambda *_: self._layers.pop() and None)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    # Products.

    def product(
        self, kind: str, x: View, shape: Sequence[int], weight: Tensor, bias: Tensor | None, **more: Any
    ) -> View:
        """Multiply by weights."""
        made, shared = self.new(shape), more.pop("shared", 1)
        bias = None if bias is None else bias.detach().double()
        self.steps.append(Step(kind, [self.row(x)], made, more, weight.detach().double(), bias, shared))
        return made

    def _mm(self, result: Tensor, x: Any, weight: Any, bias: Tensor | None = None) -> View:
        self.need(self.known(x) is not None and self.known(weight) is None, "a product of two results")
        self.need(self.known(bias) is None, "a bias that depends on the input")
        return self.product("linear", self.operand(x), result.shape, weight.T[None], bias, rows=result.shape[0])

    def _addmm(self, result: Tensor, bias: Any, x: Any, weight: Any, **scales: Any) -> View:
        self.need(not scales and bias.dim() == 1, "a scaled product")
        return self._mm(result, x, weight, bias)

    def _bmm(self, result: Tensor, x: Any, other: Any) -> View:
        left, right = self.operand(x), self.operand(other)
        (batch, rows, inner), columns = left.shape, right.shape[2]
        shape = (batch, rows, columns, inner)
        self.need(
            math.prod(shape) <= MOST_PRODUCTS, f"a product of two results with {math.prod(shape):,} multiplications"
        )
        b, row, along = left.strides
        spread = replace(left, shape=shape, strides=(b, row, 0, along))
        b, along, column = right.strides
        turned = replace(right, shape=shape, strides=(b, 0, column, along))
        return self.reduce("sum", self.each("mul", shape, spread, turned), 1)

    def _convolution(
        self, result: Tensor, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, turned: bool,
        output_padding: Any, groups: int,
    ) -> View:  # fmt: skip
        self.need(self.known(weight) is None and self.known(bias) is None, "weights that depend on the input")
        self.need(weight.dim() == 4 and set(dilation) == {1}, "a convolution that is not flat, or dilated")
        view = self.operand(x)
        (_, channels, height, width), (kh, kw) = view.shape, weight.shape[2:]
        if turned:
            weight = weight.unflatten(0, (groups, -1))  # (G, C / G, O / G, kh, kw)
            matrix = weight.flatten(2).transpose(1, 2)
            if (height, width) == (1, 1) and not any(padding) and groups == 1:
                spread = None if bias is None else bias.repeat_interleave(kh * kw)
                full = result.shape[2:] == (kh, kw)
                self.need(full, "a transposed convolution of one pixel with output padding")
                return self.product("linear", view, result.shape, matrix, spread, rows=1, shared=kh * kw)
        else:
            matrix = weight.flatten(1).unflatten(0, (groups, -1))
        facts = {"c": channels, "size": [height, width], "o": result.shape[1], "to": list(result.shape[2:])}
        facts |= {"kernel": [kh, kw], "stride": list(stride), "pad": list(padding), "groups": groups}
        shared = kh * kw if turned else 1
        return self.product("up" if turned else "conv", view, result.shape, matrix, bias, shared=shared, **facts)

    # Norms, in evaluation mode.

    def scaled(self, view: View, shape: Sequence[int], mean: Any, rate: Any, weight: Any, bias: Any, axis: int) -> View:
        """Return (x - mean) rate weight + bias, constants of one axis each."""

        def laid(values: Tensor) -> Tensor:
            return values.detach().double().reshape(-1, *[1] * (len(shape) - axis - 1))

        factor = laid(rate) if weight is None else laid(rate) * laid(weight)
        shift = -laid(mean) * factor + (0 if bias is None else laid(bias))
        return self.each("scale", shape, view, self.constant(factor), self.constant(shift))

    def _batch_norm(
        self, result: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: Any, *more: Any
    ) -> list[View]:
        self.need(training is False and mean is not None, "batch norm by the batch")
        eps = more[-1]
        rate = (variance.double() + eps).rsqrt()
        made = self.scaled(self.operand(x), x.shape, mean, rate, weight, bias, 1)
        return [made, made, made]

    _native_batch_norm = _batch_norm

    def _native_batch_norm_legit_no_training(
        self, result: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, eps: float
    ) -> list[View]:
        return self._batch_norm(result, x, weight, bias, mean, variance, False, momentum, eps)

    def normalised(self, view: View, last: int, eps: float) -> View:
        """Return a view with mean 0 and variance 1 over its last axes."""
        sides = (*view.shape[:-last], *[1] * last)
        mean = self.reduce("mean", view, last)
        mean = replace(mean, shape=sides, strides=row_strides(sides))
        centred = self.each("sub", view.shape, view, mean)
        variance = self.reduce("mean", self.each("mul", view.shape, centred, centred), last)
        rate = self.each("rsqrt", variance.shape, self.each("add", variance.shape, variance, self.constant(eps)))
        return self.each("mul", view.shape, centred, replace(rate, shape=sides, strides=row_strides(sides)))

    def affine(self, view: View, weight: Any, bias: Any, shape: Sequence[int]) -> View:
        """Return x weight + bias."""
        for function, values in (("mul", weight), ("add", bias)):
            if values is not None:
                view = self.each(function, view.shape, view, self.operand(values.detach().reshape(shape)))
        return view

    def _native_group_norm(
        self, result: Any, x: Any, weight: Any, bias: Any, batch: int, channels: int, places: int, groups: int,
        eps: float,
    ) -> list[View]:  # fmt: skip
        view = self.row(self.operand(x))
        grouped = (batch, groups, channels // groups * places)
        made = self.normalised(replace(view, shape=grouped, strides=row_strides(grouped)), 1, eps)
        made = replace(made, shape=view.shape, strides=row_strides(view.shape))
        made = self.affine(made, weight, bias, (-1, *[1] * (len(view.shape) - 2)))
        return [made, made, made]

    def _native_layer_norm(self, result: Any, x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> list[View]:
        made = self.affine(self.normalised(self.row(self.operand(x)), len(shape), eps), weight, bias, tuple(shape))
        return [made, made, made]

    # Numbers one by one, of which torch has a name of its own.

    def _leaky_relu(self, result: Tensor, x: Any, slope: float = 0.01) -> View:
        return self.each("leaky", result.shape, self.operand(x), self.constant(slope))

    def _elu(self, result: Tensor, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> View:
        self.need(alpha == scale == input_scale == 1, "a scaled ELU")
        return self.each("elu", result.shape, self.operand(x))

    def _softplus(self, result: Tensor, x: Any, beta: float = 1, threshold: float = 20) -> View:
        self.need(beta == 1, "a scaled softplus")
        return self.each("softplus", result.shape, self.operand(x))

    def _clamp(self, result: Tensor, x: Any, least: Any = None, most: Any = None, **by_name: Any) -> View:
        view = self.operand(x)
        least, most = by_name.get("min", least), by_name.get("max", most)
        for function, bound in (("maximum", least), ("minimum", most)):
            view = view if bound is None else self.each(function, result.shape, view, self.constant(bound))
        return view

    def _clamp_min(self, result: Tensor, x: Any, least: Any) -> View:
        return self._clamp(result, x, least)

    def _hardtanh(self, result: Tensor, x: Any, least: float = -1, most: float = 1) -> View:
        return self._clamp(result, x, least, most)

    def _rsub(self, result: Tensor, x: Any, other: Any, alpha: float = 1) -> View:
        self.need(alpha == 1, "a scaled difference")
        return self.each("sub", result.shape, self.operand(other), self.operand(x))

    def _where(self, result: Tensor, condition: Any, yes: Any, no: Any) -> View:
        return self.each("where", result.shape, *(self.operand(one) for one in (condition, yes, no)))

    def _masked_fill(self, result: Tensor, x: Any, mask: Any, value: Any) -> View:
        return self._where(result, mask, value, x)

    def _addcmul(self, result: Tensor, x: Any, left: Any, right: Any, value: float = 1) -> View:
        self.need(value == 1, "a scaled product")
        made = self.each("mul", result.shape, self.operand(left), self.operand(right))
        return self.each("add", result.shape, made, self.operand(x))

    def _lerp(self, result: Tensor, start: Any, end: Any, weight: Any) -> View:
        first = self.operand(start)
        gap = self.each("sub", result.shape, self.operand(end), first)
        return self.each("add", result.shape, self.each("mul", result.shape, gap, self.operand(weight)), first)

    # Sums, means and what is made of them.

    def over(self, function: str, result: Tensor, x: Any, dims: Any, keep: bool) -> View:
        """Reduce some axes."""
        view = self.operand(x)
        axes = len(view.shape)
        given = range(axes) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        gone = sorted(one % axes for one in given)
        order = [one for one in range(axes) if one not in gone] + gone
        turned = replace(view, shape=tuple(view.shape[i] for i in order), strides=tuple(view.strides[i] for i in order))
        made = self.reduce(function, turned, len(gone))
        return replace(made, shape=tuple(result.shape), strides=row_strides(result.shape))

    def _sum(self, result: Tensor, x: Any, dims: Any = None, keep: bool = False, **_: Any) -> View:
        return self.over("sum", result, x, dims, keep)

    def _mean(self, result: Tensor, x: Any, dims: Any = None, keep: bool = False, **_: Any) -> View:
        return self.over("mean", result, x, dims, keep)

    def _amax(self, result: Tensor, x: Any, dims: Any = None, keep: bool = False) -> View:
        return self.over("max", result, x, dims, keep)

    def _argmax(self, result: Tensor, x: Any, dim: int | None = None, keep: bool = False) -> View:
        self.need(dim is not None, "the largest of all numbers")
        assert dim is not None
        shape, places = tuple(x.shape), x.shape[dim]
        sides = [places if i == dim % x.dim() else 1 for i in range(x.dim())]
        high = self.over("max", x.amax(dim, keepdim=True), x, dim, True)
        top = self.each("ge", shape, self.operand(x), high)
        # The first of equal ones: the largest of the places counted from the end, which 0 is for all others.
        back = self.each("mul", shape, top, self.constant(torch.arange(places, 0, -1.0).view(sides)))
        order = [i for i in range(x.dim()) if i != dim % x.dim()] + [dim % x.dim()]
        turned = replace(back, shape=tuple(shape[i] for i in order), strides=tuple(back.strides[i] for i in order))
        found = self.reduce("max", turned, 1)
        first = self.each("sub", found.shape, self.constant(float(places)), found)
        return replace(first, shape=tuple(result.shape), strides=row_strides(result.shape))

    def _softmax(self, result: Tensor, x: Any, dim: int, half: bool = False) -> View:
        view, shape = self.operand(x), tuple(result.shape)
        sides = tuple(1 if i == dim % len(shape) else size for i, size in enumerate(shape))
        high = self.over("max", result.new_empty(sides), x, dim, True)
        risen = self.each("exp", shape, self.each("sub", shape, view, high))
        order = [i for i in range(len(shape)) if i != dim % len(shape)] + [dim % len(shape)]
        turned = replace(risen, shape=tuple(shape[i] for i in order), strides=tuple(risen.strides[i] for i in order))
        total = self.reduce("sum", turned, 1)
        return self.each("div", shape, risen, replace(total, shape=sides, strides=row_strides(sides)))

    def _avg_pool2d(
        self, result: Tensor, x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), *more: Any
    ) -> View:
        return self.pooled("mean", result, x, kernel, stride, padding)

    def _adaptive_avg_pool2d(self, result: Tensor, x: Any, *_: Any) -> View:
        view, (height, width) = self.operand(x), result.shape[2:]
        (batch, channels, tall, wide) = view.shape
        if tall % height == 0 and wide % width == 0:
            return self.pooled("mean", result, x, (tall // height, wide // width), (), (0,))
        # Windows of several sizes: what each pixel adds to each mean, as a matrix.
        pixels = torch.eye(tall * wide).view(-1, 1, tall, wide)
        shares = functional.adaptive_avg_pool2d(pixels, (height, width)).flatten(1)
        return self.product("linear", view, result.shape, shares.T[None], None, rows=batch * channels)

    def _max_pool2d_with_indices(
        self, result: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), *more: Any
    ) -> list[View]:
        return [self.pooled("max", result[0], x, kernel, stride, padding)]

    def pooled(self, function: str, result: Tensor, x: Any, kernel: Any, stride: Any, padding: Any) -> View:
        """Reduce windows of an image, which lie within it."""
        self.need(not any(padding), "pooling with padding")
        (kh, kw), view = (list(kernel) * 2)[:2], self.operand(x)
        sh, sw = (list(stride) * 2)[:2] or (kh, kw)
        height, width = result.shape[2:]
        inside = (height - 1) * sh + kh <= view.shape[2] and (width - 1) * sw + kw <= view.shape[3]
        self.need(inside, "pooling past the edge")
        *outer, down, right = view.strides
        windows = replace(view, shape=(*result.shape, kh, kw), strides=(*outer, down * sh, right * sw, down, right))
        return self.reduce(function, windows, 2)

    def _upsample_bilinear2d(self, result: Tensor, x: Any, size: Any, corners: bool, *scales: Any) -> View:
        view = self.row(self.operand(x))
        self.need(not corners, "resizing by corners")
        given = [one for one in scales if one is not None]
        exact = all(a * b == c for a, b, c in zip(given, view.shape[2:], result.shape[2:]))
        self.need(exact, "resizing by a factor that gives no whole size")
        made = self.new(result.shape)
        facts = {"c": result.shape[1], "size": list(view.shape[2:]), "to": list(result.shape[2:])}
        self.steps.append(Step("resize", [view], made, facts))
        return made

    def _upsample_nearest2d(self, result: Tensor, x: Any, *_: Any) -> View:
        view = self.operand(x)
        (batch, channels, height, width), (tall, wide) = view.shape, result.shape[2:]
        self.need(tall % height == 0 and wide % width == 0, "resizing by a factor that is not whole")
        times = (tall // height, wide // width)
        b, c, down, right = view.strides
        repeated = replace(
            view, shape=(batch, channels, height, times[0], width, times[1]), strides=(b, c, down, 0, right, 0)
        )
        made = self.row(repeated)
        return replace(made, shape=tuple(result.shape), strides=row_strides(result.shape))

    # Views, which take no step, and what is put together.

    def _t(self, result: Tensor, x: Any) -> View:
        return self._permute(result, x, (1, 0) if result.dim() == 2 else (0,))

    def _transpose(self, result: Tensor, x: Any, first: int, second: int) -> View:
        order = list(range(result.dim()))
        order[first], order[second] = order[second], order[first]
        return self._permute(result, x, order)

    def _permute(self, result: Tensor, x: Any, order: Sequence[int]) -> View:
        view = self.operand(x)
        return replace(view, shape=tuple(result.shape), strides=tuple(view.strides[i] for i in order))

    def _expand(self, result: Tensor, x: Any, *_: Any, **more: Any) -> View:
        return self.operand(x).spread(result.shape)

    def _unsqueeze(self, result: Tensor, x: Any, dim: int) -> View:
        view, dim = self.operand(x), dim % result.dim()
        return replace(view, shape=tuple(result.shape), strides=(*view.strides[:dim], 0, *view.strides[dim:]))

    def _squeeze(self, result: Tensor, x: Any, *_: Any) -> View:
        view = self.operand(x)
        dims = _[0] if _ else list(range(len(view.shape)))
        gone = {one % len(view.shape) for one in ([dims] if isinstance(dims, int) else dims)}
        kept = [i for i, size in enumerate(view.shape) if size > 1 or i not in gone]
        return replace(view, shape=tuple(result.shape), strides=tuple(view.strides[i] for i in kept))

    def _slice(self, result: Tensor, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> View:
        view = self.operand(x)
        first = range(view.shape[dim])[slice(start, end, step)].start if result.shape[dim] else 0
        strides = list(view.strides)
        strides[dim] *= step
        return replace(view, shape=tuple(result.shape), strides=tuple(strides), at=view.at + first * view.strides[dim])

    def _select(self, result: Tensor, x: Any, dim: int, index: int) -> View:
        view = self.operand(x)
        dim %= len(view.shape)
        at = view.at + (index % view.shape[dim]) * view.strides[dim]
        return replace(view, shape=tuple(result.shape), strides=view.strides[:dim] + view.strides[dim + 1 :], at=at)

    def _split(self, result: Sequence[Tensor], x: Any, size: Any, dim: int = 0) -> list[View]:
        view, at, parts = self.operand(x), 0, []
        for part in result:
            parts.append(replace(view, shape=tuple(part.shape), at=view.at + at * view.strides[dim]))
            at += part.shape[dim]
        return parts

    _split_with_sizes = _split

    def _cat(self, result: Tensor, tensors: Sequence[Any], dim: int = 0) -> View:
        made, at = self.new(result.shape), 0
        for tensor in tensors:
            view = self.operand(tensor)
            part = replace(made, shape=tuple(tensor.shape), at=at * made.strides[dim])
            self.each("copy", tensor.shape, view, out=part)
            at += tensor.shape[dim]
        return made

    def _constant_pad_nd(self, result: Tensor, x: Any, pad: Sequence[int], value: float = 0) -> View:
        self.need(min(pad) >= 0, "a crop by padding")
        view, made = self.operand(x), self.new(result.shape)
        self.each("copy", result.shape, self.constant(value), out=made)
        before = [0] * len(view.shape)
        for axis, first in enumerate(pad[::2]):
            before[-1 - axis] = first
        at = sum(first * stride for first, stride in zip(before, made.strides))
        self.each("copy", view.shape, view, out=replace(made, shape=view.shape, at=at))
        return made

    def _pixel_shuffle(self, result: Tensor, x: Any, factor: int) -> View:
        view = self.row(self.operand(x))
        batch, channels, tall, wide = result.shape
        parts = (batch, channels, factor, factor, tall // factor, wide // factor)
        strides = row_strides(parts)
        order = (0, 1, 4, 2, 5, 3)
        turned = replace(view, shape=tuple(parts[i] for i in order), strides=tuple(strides[i] for i in order))
        made = self.row(turned)
        return replace(made, shape=tuple(result.shape), strides=row_strides(result.shape))
