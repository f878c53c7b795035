"""Runs side by side on one page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from morphospace.errors import SettingError
from morphospace.files import write_text
from morphospace.pictures.maps import draw_maps
from morphospace.pictures.sheet import grid
from morphospace.tools.compare.cells import STYLE, alike, colours, differing, key, named, numbers, runs_and_cost
from morphospace.tools.compare.comparison import Comparison, Member
from morphospace.tools.compare.curves import draw_panel, panels
from morphospace.tools.compare.tables import csv_text, json_data, latex_text

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def save_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Write a comparison as what the name ends in: .html, the whole page; .csv, .json or .tex, the numbers.

    Raises:
        SettingError: It ends in none of these, or is a folder.
    """
    file = check_comparison_path(path)
    write_text(file, KINDS[file.suffix.lower()](comparison))
    return file


def check_comparison_path(path: str | Path, *, only: str = "", name: str = "path") -> Path:
    """Return the path of a comparison to write, refused before any work is done.

    Args:
        path: The path.
        only: The one ending that will do.
        name: What the argument is called.

    Raises:
        SettingError: Its name does not say what it is to be.
    """
    file, allowed = Path(path), [only] if only else list(KINDS)
    if file.suffix.lower() not in allowed or file.is_dir():
        raise SettingError(name, str(path), f"must be a file name that ends in {' or '.join(allowed)}")
    return file


def page_of(comparison: Comparison) -> str:
    """Return the page: no date, no path and nothing to fetch, so that the same comparison is the same bytes."""
    title = html.escape("Comparison of " + ", ".join(comparison.rows))
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    head += '<meta name="viewport" content="width=device-width,initial-scale=1">'
    head += f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}{colours()}</style></head>'
    warnings = "".join(f'<p class="warn">{html.escape(line)}</p>' for line in comparison.warnings)
    parts = [
        f"<h1>{title}</h1>{warnings}",
        runs_and_cost(comparison),
        differing(comparison),
        numbers(comparison.sampling, "Numbers of each run", comparison),
        numbers(comparison.training, "Numbers over seeds", comparison) if comparison.training else "",
        curves(comparison),
        samples(comparison),
        reconstructions(comparison),
        maps(comparison),
        alike(comparison),
    ]
    return f"{head}<body>{''.join(parts)}</body></html>\n"


# -- curves and pictures -------------------------------------------------------------------------------------------


def curves(comparison: Comparison) -> str:
    """Return the curves of what several runs logged alike, against images and against seconds."""
    made, alone = panels(comparison.members)
    names = comparison.rows
    keys = "".join(f"<span>{key(row)}{html.escape(name)}</span> &ensp; " for row, name in enumerate(names))
    drawn = "".join(
        f"<h3>{html.escape(panel.title)}</h3><div class='panels'>"
        + "".join(f"<figure>{draw_panel(panel, against, names)}</figure>" for against in ("images", "seconds"))
        + "</div>"
        for panel in made
    )
    left = ", ".join(map(html.escape, alone))
    rest = f"<p class='note'>In one run alone, or of another meaning in each: {left}.</p>" if alone else ""
    about = "Means between two reports of training; dots are held-out images. One number on one axis only where it is "
    about += "the same number in each. The highest and lowest hundredth may leave the frame."
    nothing = "" if made else "<p>No two runs logged a number that means the same in both.</p>"
    return f"<h2>Curves</h2><p>{about}</p><p>{keys}</p>{drawn}{nothing}{rest}"


def inline(picture: Image.Image, alt: str) -> str:
    """Return a picture as HTML, its bytes inside."""
    with io.BytesIO() as buffer:
        picture.save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img alt="{html.escape(alt)}" {size} src="data:image/png;base64,{data}">'


def strip(images: np.ndarray | str, alt: str) -> str:
    """Return images in a row, or why there are none."""
    if isinstance(images, str):
        return f'<p class="none">{html.escape(images)}</p>'
    return inline(grid(images, len(images)), alt)


def rows_of(members: Sequence[Member], draw: Callable[[Member], str]) -> str:
    """Return a row a run, its name over what it has."""
    return "".join(
        f"<figure><figcaption>{named(member)}</figcaption>{draw(member)}</figure>"
        for member in members
        if member.pictured
    )


def samples(comparison: Comparison) -> str:
    """Return samples of the same seeds, a row a run."""
    drawn = rows_of(
        comparison.members, lambda member: strip(member.samples, f"Samples of {member.name}, seed {comparison.seed}")
    )
    by_dim: dict[int, list[str]] = {}
    for member in comparison.members:
        if member.pictured:
            by_dim.setdefault(member.latent_dim, []).append(member.name)
    same = "; ".join(f"{', '.join(names)} ({dim})" for dim, names in by_dim.items() if len(names) > 1)
    words = f"Seed {comparison.seed}. A column starts from the same noise in every row"
    if len(by_dim) > 1:
        words += " whose codes have the same length"
        words += f": {html.escape(same)}" if same else ", which no two runs' have"
    words += "."
    if any(member.condition for member in comparison.members):
        words += " A conditional model draws its classes in turn, one a column."
    more = "" if all(m.pictured for m in comparison.members) else " Of runs that differ in the seed alone, the first."
    return f"<h2>Samples of the same seeds</h2><p>{words}{more}</p><div class='strips'>{drawn}</div>"


def reconstructions(comparison: Comparison) -> str:
    """Return the same held-out images, and what each model makes of them."""
    parts = []
    for of_images in dict.fromkeys(sorted((member.of_images for member in comparison.members), key=lambda k: not k)):
        mine = [member for member in comparison.members if member.of_images == of_images]
        if of_images:
            images, split = comparison.originals[of_images]
            words = html.escape(f"originals: {mine[0].about_data}, {split} split")
            parts.append(f"<figure><figcaption>{words}</figcaption>{strip(images, f'Originals, {split}')}</figure>")
        parts.append(rows_of(mine, lambda member: strip(member.rebuilt, f"Reconstructions by {member.name}")))
    about = "The same images in every row, encoded to the means of their codes and decoded."
    return f"<h2>Reconstructions of the same images</h2><p>{about}</p><div class='strips'>{''.join(parts)}</div>"


def maps(comparison: Comparison) -> str:
    """Return the latent map of each run that has one."""

    def drawn(member: Member) -> str:
        if isinstance(member.latent, str):
            return f'<p class="none">{html.escape(member.latent)}</p>'
        return inline(draw_maps([member.latent], "classes"), f"Where the codes of {member.name} lie, by class")

    about = "Codes of the same held-out images on their two leading components, over what the plane decodes to."
    return f"<h2>Latent maps</h2><p>{about}</p><div class='maps'>{rows_of(comparison.members, drawn)}</div>"


KINDS: Mapping[str, Callable[[Comparison], str]] = {
    ".html": page_of,
    ".csv": csv_text,
    ".json": lambda comparison: json.dumps(json_data(comparison), indent=1) + "\n",
    ".tex": latex_text,
}
"""What a file's ending says of what is written to it."""
