"""Runs a program as the page does, so that what is written can be compared with the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from morphospace.tools.export.steps import MOST_AXES, Floats, Program, View, laid_out


def _erf(values: Floats) -> Floats:
    return torch.erf(torch.from_numpy(np.ascontiguousarray(values))).numpy()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "copy": lambda x: x,
    "abs": np.abs,
    "exp": np.exp,
    "expm1": np.expm1,
    "gelu": lambda x: 0.5 * x * (1 + _erf(x * math.sqrt(0.5))),
    "log": np.log,
    "log1p": np.log1p,
    "neg": np.negative,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.maximum(x, 0),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "logical_not": lambda x: x == 0,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "leaky": lambda x, slope: np.where(x > 0, x, x * slope),
    "scale": lambda x, factor, shift: x * factor + shift,
    "where": lambda condition, yes, no: np.where(condition != 0, yes, no),
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "pow": np.power,
    "lt": np.less,
    "gt": np.greater,
    "le": np.less_equal,
    "ge": np.greater_equal,
    "eq": np.equal,
}
REDUCTIONS: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "max": np.max}


def run(program: Program, weights: Sequence[Floats], *inputs: np.ndarray) -> Floats:
    """Run a program with these weights, which may be rounded ones, as the page runs it; the output in a row."""
    memory = np.zeros(program.size, np.float32)
    memory[: program.constants.size] = program.constants
    for (at, count), values in zip(program.inputs, inputs, strict=True):
        memory[at : at + count] = np.asarray(values, np.float32).reshape(-1)
    with np.errstate(all="ignore"):
        for step in program.steps:
            if step["op"] == "each":
                views = [laid_out(memory, View(0, tuple(step["n"]), tuple(x[1:]), x[0])) for x in step["x"]]
                y = step["y"]
                laid_out(memory, View(0, tuple(step["n"]), tuple(y[1:]), y[0]))[...] = FUNCTIONS[step["f"]](*views)
                continue
            if step["op"] == "reduce":
                shape, (at, *strides) = (*step["n"], *step["r"]), step["x"]
                found = laid_out(memory, View(0, shape, tuple(strides), at))
                made = REDUCTIONS[step["f"]](found, axis=tuple(range(MOST_AXES, 2 * MOST_AXES)))
            else:
                made = _multiplied(program, step, memory, weights)
            memory[step["y"] : step["y"] + made.size] = made.reshape(-1)
    at, count = program.output
    return memory[at : at + count].copy()


def _multiplied(program: Program, step: Mapping[str, Any], memory: Floats, weights: Sequence[Floats]) -> Floats:
    """Return what a product, or a resizing, writes."""
    if step["op"] == "linear":
        x = memory[step["x"] : step["x"] + step["rows"] * step["inputs"]].reshape(step["rows"], step["inputs"])
        made = torch.from_numpy(x) @ torch.from_numpy(weights[step["w"]][0].T.copy())
    else:
        shape = (1, step["c"], *step["size"])
        image = torch.from_numpy(memory[step["x"] : step["x"] + math.prod(shape)].reshape(shape))
        if step["op"] == "resize":
            return functional.interpolate(image, step["to"], mode="bilinear", align_corners=False).numpy()
        matrix, kernel, groups = torch.from_numpy(weights[step["w"]]), step["kernel"], step["groups"]
        if step["op"] == "conv":
            kernels = matrix.reshape(step["o"], -1, *kernel)
            made = functional.conv2d(image, kernels, None, step["stride"], step["pad"], 1, groups)
        else:
            kernels = matrix.transpose(1, 2).reshape(step["c"], -1, *kernel)
            least = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(step["size"], step["stride"], step["pad"], kernel)]
            more = [to - size for to, size in zip(step["to"], least)]
            made = functional.conv_transpose2d(image, kernels, None, step["stride"], step["pad"], more, groups)
    bias = program.biases[step["w"]]
    if bias is not None:
        made = made + torch.from_numpy(bias).reshape(1, -1, *[1] * (made.dim() - 2))
    if "slope" in step:
        made = torch.where(made > 0, made, made * step["slope"])
    return made.numpy()
