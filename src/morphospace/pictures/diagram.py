"""Diagrams of models as SVG: a line of layers for each network, and what each phase of a training step does.

This module decides what stands where; `diagram.svg` says how it is drawn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from morphospace.pictures.pages import render
from morphospace.training.anatomy import Anatomy, PhaseAnatomy
from morphospace.training.layers_called import Layer, Part

WIDTH, MARGIN, CELL, PER_LINE = 900, 24, 106, 8
MIDDLE, TEXT, LEADING = 50, 72, 13  # of a line of layers: where its boxes and, below them, its lines of text stand
BOLD, USUAL, SMALL = 7.2, 6.0, 6.1  # mean width of a character at 12 px, the same, and at 11 px
CHAINS = 180  # where the chains of a phase begin
LONGEST_PERIOD = 6  # layers that may repeat together
COLOURS = {"encoder": 0, "decoder": 1, "generator": 1, "critic": 2, "mask_decoder": 3, "prior": 4, "likelihood": 5}


@dataclass(frozen=True)
class Group:
    """Layers that stand together, and how often they follow each other."""

    layers: tuple[Layer, ...]
    times: int = 1


def folded(layers: Sequence[Layer]) -> list[Group]:
    """Fold layers that repeat: one layer or up to six in a row, each with the same shapes and sizes.

    >>> one = Layer("linear", "", (8,), 72)
    >>> [(len(group.layers), group.times) for group in folded([one, one, one])]
    [(1, 3)]
    """

    def key(layer: Layer) -> tuple[object, ...]:
        return layer.name, layer.detail, layer.shape, layer.parameters, layer.after

    keys, groups, at = [key(layer) for layer in layers], [], 0
    while at < len(keys):
        best = (1, 1)
        for period in range(1, LONGEST_PERIOD + 1):
            times = 1
            while keys[at : at + period] == keys[at + times * period : at + (times + 1) * period]:
                times += 1
            if times > 1 and (times - 1) * period > (best[1] - 1) * best[0]:
                best = (period, times)
        period, times = best
        last = at + period * (times - 1)  # the last of them sees the most
        groups.append(Group(tuple(layers[last : last + period]), times))
        at += period * times
    return groups


def short(count: int) -> str:
    """Return a count with three digits.

    >>> short(912), short(45_320), short(3_580_000)
    ('912', '45.3k', '3.58M')
    """
    if count < 1000:
        return str(count)
    return f"{count / 1e3:.3g}k" if count < 999_500 else f"{count / 1e6:.3g}M"


def size(shape: Sequence[int]) -> str:
    """Return a shape with the channels last, as images are described.

    >>> size((3, 32, 64)), size((20,))
    ('32×64×3', '20')
    """
    return "×".join(map(str, (*shape[1:], shape[0]) if len(shape) == 3 else shape))


def diagram_svg(found: Anatomy, title: str) -> str:
    """Return the diagram of a model as SVG that needs nothing beside it."""
    parts, top = [], 72.0
    for part in found.parts:
        parts.append(placed(part, top, max(found.shape[:2])))
        top = parts[-1]["bottom"] + 16
    phases, top = [], top + 34
    for phase in found.phases:
        phases.append(chained(phase, top, found))
        top = phases[-1]["bottom"] + 14
    text = described(found)
    name = hashlib.blake2b(f"{title} {text}".encode(), digest_size=4).hexdigest()
    return render(
        "pictures/diagram.svg",
        title=title,
        description=text,
        name=name,
        parts=parts,
        phases=phases,
        total=short(sum(part.parameters for part in found.parts)),
        width=WIDTH,
        height=math.ceil(top + 22),
        heading=phases[0]["top"] - 8 if phases else None,
    )


# -- networks --------------------------------------------------------------------------------------------------


def placed(part: Part, top: float, side: int) -> dict[str, Any]:
    """Return where the layers of a part stand, below its heading at `top`."""
    groups = folded(part.layers)
    cells: list[dict[str, Any]] = []
    brackets: list[dict[str, Any]] = []
    if part.given:
        cells.append(cell(None, part.given, side))
    for group in groups:
        if len(cells) % PER_LINE + len(group.layers) > PER_LINE:  # a group stands in one line
            cells += [{}] * (PER_LINE - len(cells) % PER_LINE)
        first = len(cells)
        cells += [cell(layer, layer.shape, side) for layer in group.layers]
        if group.times > 1:
            brackets.append({"first": first, "count": len(group.layers), "times": group.times})
    y = top + 12
    for line in range(0, len(cells), PER_LINE):
        some = [one for one in cells[line : line + PER_LINE] if one]
        for column, one in enumerate(some):
            before = some[column - 1]["w"] / 2 if column else 0
            one |= {
                "x": MARGIN + CELL * (column + 0.5),
                "y": y + MIDDLE,
                "joins": bool(line or column) and not one["apart"],
            }
            one["from"] = one["x"] - CELL + before + 4 if column else MARGIN
        y += MIDDLE + TEXT + LEADING * max(len(one["lines"]) for one in some) + 4
    for one in brackets:
        left, right = cells[one["first"]], cells[one["first"] + one["count"] - 1]
        one |= {"x": left["x"] - CELL / 2 + 6, "end": right["x"] + CELL / 2 - 6, "y": left["y"] - MIDDLE + 4}
    return {
        "name": part.name.replace("_", " "),
        "colour": colour(part.name),
        "parameters": f"{part.parameters:,} parameters",
        "cells": [one for one in cells if one],
        "brackets": brackets,
        "top": top,
        "bottom": y,
    }


def cell(layer: Layer | None, shape: Sequence[int], side: int) -> dict[str, Any]:
    """Return the box of a layer, or of a part's input: the higher the larger its maps, the wider the more channels."""
    channels = shape[0] if shape else 1
    if len(shape) == 3:
        height, width = 10 + 9 * math.log2(max(shape[1:]) + 1), 6 + 4 * math.log2(channels + 1)
    else:
        height, width = 10 + 5 * math.log2(math.prod(shape or (1,)) + 1), 9.0
    name, lines = "input" if layer is None else layer.name, [size(shape)]
    if layer is not None:
        lines = [f"of {layer.given}"] * bool(layer.given) + lines
        lines = ([layer.detail] if layer.detail and len(layer.detail) * SMALL < CELL else []) + lines
        lines += [short(layer.parameters)] if layer.parameters else []
        lines += [sight(layer.sees, side)] if layer.sees and layer.sees > 1 else []
        lines += layer.after
    return {
        "w": width,
        "h": height,
        "name": shortened(name, int(CELL / BOLD)),
        "lines": [shortened(line, int(CELL / SMALL)) for line in lines],
        "tip": "the input, " + size(shape) if layer is None else in_words(layer, side),
        "given": layer is None,
        "apart": layer is not None and bool(layer.given),
    }


def shortened(text: str, most: int) -> str:
    """Return a text cut to so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def sight(sees: int, side: int) -> str:
    """Return a receptive field in words."""
    return f"sees {sees}×{sees}" if sees < side else "sees all of it"


def in_words(layer: Layer, side: int) -> str:
    """Return all that is known of a layer, in one line."""
    of = f" of {layer.given}" * bool(layer.given) + f" ({layer.detail})" * bool(layer.detail)
    more = [f"{layer.name}{of}: {size(layer.shape)}"]
    more += [f"{layer.parameters:,} parameters"] if layer.parameters else []
    more += [sight(layer.sees, side)] if layer.sees else []
    more += [f"then {', '.join(layer.after)}"] if layer.after else []
    return ", ".join(more)


def colour(part: str) -> int:
    """Return the number of a part's colour."""
    return COLOURS.get(part, 5)


# -- phases ----------------------------------------------------------------------------------------------------


def chained(phase: PhaseAnatomy, top: float, found: Anatomy) -> dict[str, Any]:
    """Return where the chains of a phase stand, from `top` on."""
    chains, y = list[list[dict[str, Any]]](), top + 16
    for chain in phase.chains:
        x, items = float(CHAINS), list[dict[str, Any]]()
        for step in chain:
            if x + USUAL * len(step.given) + 36 + BOLD * len(step.part) + 20 > WIDTH - MARGIN:  # goes on below
                x, y = CHAINS + 24.0, y + 28
            items.append({"kind": "value", "text": step.given, "x": x, "y": y})
            x += USUAL * len(step.given) + 8
            items.append({"kind": "arrow", "x": x, "end": x + 16, "y": y})
            x += 22
            name = step.part.replace("_", " ")
            items.append(pill(name, step.part, x, y, step.part in phase.learns))
            x += items[-1]["w"] + 6
            if step is not chain[-1]:
                items.append({"kind": "arrow", "x": x, "end": x + 16, "y": y})
                x += 24
        chains.append(items)
        y += 32
    more = [part for part in phase.learns if part not in phase.acts]
    if more:
        items, x = [{"kind": "value", "text": "with", "x": float(CHAINS), "y": y}], CHAINS + 36.0
        for part in more:
            items.append(pill(part.replace("_", " "), part, x, y, True))
            x += items[-1]["w"] + 8
        chains.append(items)
        y += 32
    lines = wrapped("minimises " + formula(phase), 104)
    terms: list[dict[str, Any]] = [{"text": line, "y": y + 3 + 17 * number} for number, line in enumerate(lines)]
    return {
        "name": phase.name,
        "notes": notes(phase),
        "items": [item for items in chains for item in items],
        "terms": terms,
        "top": top,
        "bottom": max(terms[-1]["y"] + 12, top + 22 + 17 * (1 + len(notes(phase)))),
    }


def pill(text: str, part: str, x: float, y: float, learns: bool) -> dict[str, Any]:
    """Return the box of a part in a chain, filled if it learns."""
    return {
        "kind": "part",
        "text": text,
        "x": x,
        "y": y,
        "w": BOLD * len(text) + 20,
        "colour": colour(part),
        "learns": learns,
    }


def notes(phase: PhaseAnatomy) -> list[str]:
    """Return how often a phase is updated and with which others, a line each."""
    found = [f"{phase.turns} updates a step"] if phase.turns > 1 else []
    found += [f"every {phase.every}th step"] if phase.every > 1 else []
    found += ["at the same time as", " and ".join(phase.together)] if phase.together else []
    return found


def formula(phase: PhaseAnatomy) -> str:
    """Return what a phase minimises, such as `reconstruction + 4 × kl`."""
    return " + ".join(name if weight == 1 else f"{weight:.4g} × {name}" for name, weight in phase.terms)


def wrapped(text: str, most: int) -> list[str]:
    """Return a text in lines of at most so many characters, cut before a plus."""
    lines: list[str] = []
    for piece in text.split(" + "):
        if lines and len(lines[-1]) + len(piece) + 3 <= most:
            lines[-1] += f" + {piece}"
        else:
            lines.append(f"+ {piece}" if lines else piece)
    return lines


def described(found: Anatomy) -> str:
    """Return the diagram in words, for people who do not see it."""
    text = []
    for part in found.parts:
        layers = "; ".join(
            (f"{group.times} times: " if group.times > 1 else "")
            + ", then ".join(f"{layer.name} to {size(layer.shape)}" for layer in group.layers)
            for group in folded(part.layers)
        )
        given = f" takes {size(part.given)}" if part.given else ""
        text.append(f"{part.name.replace('_', ' ')} ({part.parameters:,} parameters){given}: {layers}.")
    for phase in found.phases:
        how = f" ({', '.join(notes(phase))})" if notes(phase) else ""
        flows = "; ".join(" into ".join(f"{step.given} into {step.part}" for step in chain) for chain in phase.chains)
        learns = " and ".join(phase.learns)
        text.append(f"Phase {phase.name}{how}: {flows}. {learns} learn. It minimises {formula(phase)}.")
    return " ".join(text).replace("_", " ")
