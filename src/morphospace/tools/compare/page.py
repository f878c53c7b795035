"""The page of a comparison: one HTML file that needs nothing beside it. `page.html` says what stands where."""

from __future__ import annotations

from typing import Any

from PIL import Image

from morphospace.pictures.maps import draw_maps
from morphospace.pictures.pages import png_data, render
from morphospace.pictures.sheet import grid
from morphospace.tools.compare import Comparison
from morphospace.tools.compare.comparison import Cell, Member
from morphospace.tools.compare.curves import COLOURS, dash_of, draw_panel, panels
from morphospace.tools.compare.tables import (
    ARROWS,
    CORRECTED,
    SPREADS,
    conditions_of,
    difference_texts,
    differences_of,
    null_of,
    texts_of,
)


def page_of(comparison: Comparison, template: str = "tools/compare/page.html", **more: Any) -> str:
    """Return the page; equal comparisons give equal bytes.

    Args:
        comparison: What to show.
        template: This page, or one that extends it.
        more: What that one shows too.
    """
    members, (drawn, alone) = comparison.members, panels(comparison.members)
    differ: dict[bool, list[tuple[str, list[object]]]] = {True: [], False: []}
    for name, values in comparison.differ.items():
        differ[all(name in member.settings for member in members)].append((name, values))
    return render(
        template,
        **more,
        comparison=comparison,
        members=members,
        pictured=[member for member in members if member.pictured],
        row_of={member.name: member.row for member in members},
        shared=differ[True],
        others=differ[False],
        panels=drawn,
        alone=alone,
        rebuilt=dict.fromkeys(sorted((member.of_images for member in members), key=lambda key: not key)),
        about_samples=about_samples(comparison),
        arrows=ARROWS,
        colours=COLOURS,
        spreads=SPREADS,
        cell_of=cell_of,
        conditions_of=conditions_of,
        corrected=CORRECTED,
        difference_texts=difference_texts,
        differences_of=differences_of,
        dash_of=dash_of,
        draw_panel=draw_panel,
        mapped=_mapped,
        png_data=png_data,
        strip=lambda images: images if isinstance(images, str) else grid(images, len(images)),
    )


def cell_of(cell: Cell) -> tuple[str, list[str]]:
    """Return the number in a cell, and the lines below it."""
    value, interval = texts_of(cell)
    lines = [interval, null_of(cell)]
    if cell.least is not None and cell.most is not None:
        ends = [texts_of(Cell(end, cell.low, cell.high))[0] for end in (cell.least, cell.most)]
        lines.append(f"{cell.n} seeds, {ends[0]} … {ends[1]}")
    elif cell.note:
        lines.append(cell.note)
    return value, lines


def about_samples(comparison: Comparison) -> str:
    """Return which samples stand in one column."""
    members = [member for member in comparison.members if member.pictured]
    by_dim: dict[int, list[str]] = {}
    for member in members:
        by_dim.setdefault(member.latent_dim, []).append(member.name)
    words = f"Seed {comparison.seed}. A column starts from the same noise in every row"
    if len(by_dim) > 1:
        same = "; ".join(f"{', '.join(names)} ({dim})" for dim, names in by_dim.items() if len(names) > 1)
        words += " whose codes have the same length" + (f": {same}" if same else ", which no two of these runs have")
    words += "."
    if any(member.condition for member in comparison.members):
        words += " A conditional model shows its classes in turn, one a column."
    if len(members) < len(comparison.members):
        words += " Of runs that differ only in the seed, the first is shown."
    return words


def _mapped(member: Member) -> Image.Image | str:
    return member.latent if isinstance(member.latent, str) else draw_maps([member.latent], "classes")
