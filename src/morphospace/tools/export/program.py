"""Makes a program of a network: its steps recorded, joined where one product can do them, and given addresses.

Batch norm in evaluation mode becomes part of the product before it, and so does a (leaky) ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphospace.errors import RunError
from morphospace.tools.export.recorder import Recorder
from morphospace.tools.export.steps import MOST_AXES, Floats, Program, Step, View, laid_out


@torch.no_grad()
def recorded(module: nn.Module, *inputs: Tensor) -> Program:
    """Write down what a module does with inputs of a batch of one, as its first output.

    Raises:
        RunError: If it does something that cannot be written; the layer is named.
    """
    recorder = Recorder(module)
    given = []
    for tensor in inputs:
        given.append(recorder.new(tensor.shape))
        recorder.track(tensor, given[-1])
    with recorder.naming(), recorder:
        result = module(*inputs)
    result = result[0] if isinstance(result, tuple) else result
    view = recorder.known(result)
    recorder.need(view is not None, "an output that does not depend on the input")
    assert view is not None
    output = recorder.row(view)
    recorder.steps = needed(recorder.steps, output)
    if output.count != recorder.sizes[output.buffer]:
        output = narrowed(recorder, output)
    return planned(recorder, joined(recorder, output), given, output)


def needed(steps: Sequence[Step], output: View) -> list[Step]:
    """Return the steps on which the output depends: an encoder also gives variances, which a page does not ask for."""
    wanted, kept = {output.buffer}, []
    for step in reversed(steps):
        if step.writes.buffer in wanted:
            wanted |= {view.buffer for view in step.reads}
            kept.append(step)
    return kept[::-1]


def narrowed(recorder: Recorder, output: View) -> View:
    """Return a part of a buffer as one of its own; a product that nothing else reads gives only these numbers."""
    step = recorder.steps[-1]
    others = any(view.buffer == output.buffer for one in recorder.steps for view in one.reads)
    if step.kind != "linear" or step.facts["rows"] > 1 or step.writes.buffer != output.buffer or others:
        return recorder.each("copy", output.shape, output)
    part = slice(output.at, output.at + output.count)
    assert step.weight is not None
    step.weight = step.weight[:, part]
    step.bias = None if step.bias is None else step.bias[part]
    step.writes = recorder.new(output.shape)
    return step.writes


def joined(recorder: Recorder, output: View) -> list[Step]:
    """Return the steps, norms and (leaky) ReLUs made part of the product whose result nothing else reads."""
    readers = {output.buffer: 1}
    for step in recorder.steps:
        for buffer in {view.buffer for view in step.reads}:
            readers[buffer] = readers.get(buffer, 0) + 1
    steps: list[Step] = []
    products: dict[int, Step] = {}  # by the buffer that each writes
    for step in recorder.steps:
        first = step.reads[0]
        before = products.get(first.buffer)
        whole = before is not None and first.plain and first.count == before.writes.count == step.writes.count
        if before is not None and whole and readers[first.buffer] == 1 and join(before, step, recorder.values):
            before.writes = step.writes
            products[step.writes.buffer] = before
            continue
        steps.append(step)
        if step.is_product:
            products[step.writes.buffer] = step
    return steps


def join(product: Step, step: Step, values: Mapping[int, Floats]) -> bool:
    """Make a step on every number that a product writes part of the product; return whether that can be."""
    function = step.facts.get("f")
    if "slope" in product.facts or function not in ("relu", "leaky", "scale"):
        return False
    constants = [laid_out(values[view.buffer], view) for view in step.reads[1:] if view.buffer in values]
    if function == "relu":
        product.facts["slope"] = 0.0
        return True
    if function == "leaky":
        product.facts["slope"] = float(constants[0].flat[0])
        return True
    if product.kind == "linear" and product.facts["rows"] > 1:
        return False
    assert product.weight is not None
    channels = product.weight.shape[0] * product.weight.shape[1] // (product.shared if product.kind == "up" else 1)
    factor, shift = (torch.from_numpy(one.reshape(channels, -1).astype(np.float64)) for one in constants)
    if not (factor == factor[:, :1]).all() or not (shift == shift[:, :1]).all():
        return False  # each place has a number of its own
    factor, shift = factor[:, 0], shift[:, 0]
    each = factor.repeat_interleave(product.shared) if product.kind == "up" else factor
    product.weight = product.weight * each.reshape(*product.weight.shape[:2], 1)
    product.bias = shift if product.bias is None else product.bias * factor + shift
    return True


def merged(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Return a shape of `MOST_AXES` axes, neighbours joined where all strides allow it, and the strides for it."""
    axes = [(size, [one[i] for one in strides]) for i, size in enumerate(shape) if size > 1]
    kept: list[tuple[int, list[int]]] = []
    for size, steps in axes:
        if kept and all(a == b * size for a, b in zip(kept[-1][1], steps, strict=True)):
            kept[-1] = (kept[-1][0] * size, steps)
        else:
            kept.append((size, steps))
    if len(kept) > MOST_AXES:
        rule = f"a step over {len(kept)} axes cannot be written into a page"
        raise RunError("layer", rule=rule, way_out="take --format onnx")
    kept = [(1, [0] * len(strides))] * (MOST_AXES - len(kept)) + kept
    return [size for size, _ in kept], [[steps[i] for _, steps in kept] for i in range(len(strides))]


def planned(recorder: Recorder, steps: Sequence[Step], inputs: Sequence[View], output: View) -> Program:
    """Give every buffer its address; one that is not read any more makes room for others."""
    last: dict[int, int] = {view.buffer: -1 for view in inputs}
    for number, step in enumerate(steps):
        last |= {view.buffer: number for view in (*step.reads, step.writes)}
    last[output.buffer] = len(steps)
    held = [buffer for buffer in last if buffer in recorder.values]
    addresses: dict[int, int] = {}
    for buffer in held:
        addresses[buffer] = sum(recorder.values[one].size for one in addresses)
    constants = np.concatenate([np.zeros(0, np.float32), *(recorder.values[one] for one in held)])
    room = Room(constants.size)
    for view in inputs:
        addresses[view.buffer] = room.take(view.count)
    written = []
    products = [step for step in steps if step.is_product]
    for number, step in enumerate(steps):
        buffer = step.writes.buffer
        if buffer not in addresses:
            addresses[buffer] = room.take(recorder.sizes[buffer])
        written.append(step_facts(step, addresses, products))
        for one, until in last.items():
            if until == number and one not in recorder.values:
                room.free(addresses[one], recorder.sizes[one])
    return Program(
        inputs=[[addresses[view.buffer], view.count] for view in inputs],
        output=[addresses[output.buffer], output.count],
        constants=constants,
        size=room.end,
        steps=written,
        weights=[(step.weight.float().numpy(), step.shared) for step in products if step.weight is not None],
        biases=[None if step.bias is None else step.bias.float().numpy() for step in products],
    )


class Room:
    """Addresses in a memory that grows.

    Args:
        start: The first free one.
    """

    def __init__(self, start: int) -> None:
        self.end = start
        self._free: list[tuple[int, int]] = []  # address and count, in order

    def take(self, count: int) -> int:
        """Return the address of so many numbers in a row: the smallest gap that holds them, else the end."""
        fitting = [(size, at) for at, size in self._free if size >= count]
        if not fitting:
            self.end += count
            return self.end - count
        size, at = min(fitting)
        self._free.remove((at, size))
        if size > count:
            self._free = sorted([*self._free, (at + count, size - count)])
        return at

    def free(self, at: int, count: int) -> None:
        """Give numbers back."""
        joined: list[tuple[int, int]] = []
        for start, size in sorted([*self._free, (at, count)]):
            if joined and joined[-1][0] + joined[-1][1] == start:
                joined[-1] = (joined[-1][0], joined[-1][1] + size)
            else:
                joined.append((start, size))
        self._free = joined


def step_facts(step: Step, addresses: Mapping[int, int], products: Sequence[Step]) -> dict[str, Any]:
    """Return a step as the reader takes it: addresses instead of buffers."""

    def first(view: View) -> int:
        return addresses[view.buffer] + view.at

    facts: dict[str, Any] = {"op": step.kind, **step.facts}
    if step.kind == "each":
        views = [step.writes, *step.reads]
        size, strides = merged(step.writes.shape, [view.strides for view in views])
        facts |= {"n": size, "y": [first(step.writes), *strides[0]]}
        return facts | {"x": [[first(view), *one] for view, one in zip(step.reads, strides[1:])]}
    if step.kind == "reduce":
        (view,), last = step.reads, facts.pop("last")
        outer, ways = merged(view.shape[:-last], [view.strides[:-last]])
        inner, more = merged(view.shape[-last:], [view.strides[-last:]])
        return facts | {"n": outer, "r": inner, "y": first(step.writes), "x": [first(view), *ways[0], *more[0]]}
    facts |= {"x": first(step.reads[0]), "y": first(step.writes)}
    if step.weight is not None:
        facts["w"] = products.index(step)
        if step.kind == "linear":
            facts |= {"outputs": step.weight.shape[1], "inputs": step.weight.shape[2]}
    return facts
