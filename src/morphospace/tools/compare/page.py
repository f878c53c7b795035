"""The page of a comparison: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from morphospace.pictures.maps import draw_maps
from morphospace.pictures.sheet import grid
from morphospace.tools.card.text import duration
from morphospace.tools.compare import Comparison
from morphospace.tools.compare.comparison import Cell, Measure, Member, Table
from morphospace.tools.compare.curves import COLOURS, dash_of, draw_panel, panels
from morphospace.tools.compare.tables import ARROWS, SPREADS, conditions_of, texts_of

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--faint:#59636e;--rule:#d0d7de;--panel:#f6f8fa;--warn:#8a4600}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--faint:#9aa5b1;--rule:#3a424c;--panel:#161b22;
--warn:#f0b36a}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:0 auto;padding:1.2rem 1rem 3rem;color:var(--ink);
background:var(--paper);overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25;margin:.4rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .4rem}
h3{font-size:1rem;margin:.8rem 0 .2rem}
p{max-width:75ch;margin:.4rem 0}small,.note{color:var(--faint);font-size:.85rem;font-weight:400}.warn{color:var(--warn)}
.wide{overflow-x:auto;border:1px solid var(--rule);border-radius:6px;margin:.6rem 0}
.wide:focus-visible{outline:2px solid #4c8dd6}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%;overflow-wrap:normal}
th,td{padding:.35rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
tr:last-child>*{border-bottom:0}thead th{background:var(--panel);vertical-align:bottom}
tbody th{position:sticky;left:0;background:var(--paper);min-width:min(9.5rem,30vw);max-width:15rem;
overflow-wrap:break-word}
td small,thead small{display:block;white-space:nowrap}td.words small{white-space:normal;min-width:10rem}
.best{font-weight:700}
.key{display:inline-block;vertical-align:middle;width:30px;height:10px;margin-right:.45rem}
.panels{display:grid;gap:.3rem 1.4rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr))}
.panels svg{width:100%;height:auto;font:11px system-ui,sans-serif}
.panels figure,.strips figure,.maps figure{margin:.3rem 0}
svg text{fill:var(--faint)}svg .grid{stroke:var(--rule);fill:none;stroke-width:.7}
svg .inner{overflow:hidden}svg polyline,svg line{fill:none;stroke-width:1.6;stroke-linejoin:round}
img{display:block;max-width:100%;height:auto;border:1px solid var(--rule);background:#fff}
.strips img{image-rendering:pixelated}.none{color:var(--faint);font-style:italic;margin:.2rem 0}
figcaption{font-weight:600;margin-top:.7rem}summary{cursor:pointer;font-weight:600;margin:2rem 0 .4rem}
.maps{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}
@media print{.wide{overflow:visible}}
"""


def page_of(comparison: Comparison) -> str:
    """Return the page. It has no date, no path and nothing to load, so equal comparisons give equal bytes."""
    title = html.escape("Comparison of " + ", ".join(comparison.rows))
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    head += '<meta name="viewport" content="width=device-width,initial-scale=1">'
    head += f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}{colours()}</style></head>'
    parts = [
        f"<h1>{title}</h1>",
        *(paragraph(html.escape(line), "warn") for line in comparison.warnings),
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


# -- pieces --------------------------------------------------------------------------------------------------------


def colours() -> str:
    """Return the style of lines, one class a colour, on light and on dark."""

    def rules(side: int) -> str:
        lines = "".join(f".k{i}{{stroke:{pair[side]}}}" for i, pair in enumerate(COLOURS))
        return lines + "".join(f".k{i} circle{{fill:{pair[side]}}}" for i, pair in enumerate(COLOURS))

    return f"{rules(0)}@media(prefers-color-scheme:dark){{{rules(1)}}}"


def key(row: int) -> str:
    """Return a short piece of a row's line."""
    dashes = f' stroke-dasharray="{dash_of(row)}"' if dash_of(row) else ""
    line = f'<line class="k{row % len(COLOURS)}" x1="0" y1="5" x2="30" y2="5"{dashes} style="stroke-width:3"/>'
    return f'<svg class="key" viewBox="0 0 30 10" aria-hidden="true">{line}</svg>'


def named(member: Member) -> str:
    """Return a run's name with a piece of its line."""
    return key(member.row) + html.escape(member.name)


def paragraph(words: str, kind: str = "") -> str:
    """Return a paragraph, of the class `kind` where it has one."""
    return f'<p class="{kind}">{words}</p>' if kind else f"<p>{words}</p>"


def small(words: str) -> str:
    """Return a line below a cell's first one."""
    return f"<small>{html.escape(words)}</small>" if words else ""


def folded(summary: str, inner: str) -> str:
    """Return something that opens when its summary is clicked; empty where it holds nothing."""
    return f"<details><summary>{summary}</summary>{inner}</details>" if inner else ""


def pictures(title: str, about: str, kind: str, inner: str) -> str:
    """Return a part of the page with pictures: its heading, what they show, and the pictures."""
    return f'<h2>{title}</h2>{paragraph(about)}<div class="{kind}">{inner}</div>'


def figure(caption: str, inner: str) -> str:
    """Return a picture under its caption."""
    return f"<figure><figcaption>{caption}</figcaption>{inner}</figure>"


def figures(members: Iterable[Member], draw: Callable[[Member], str]) -> str:
    """Return a figure for each run that has pictures, under its name."""
    return "".join(figure(named(member), draw(member)) for member in members if member.pictured)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """Return a table whose first column stays when it is scrolled; cells are HTML."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in headings)
    cells = [[cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row[1:]] for row in rows]
    body = "".join(f'<tr><th scope="row">{row[0]}</th>{"".join(rest)}</tr>' for row, rest in zip(rows, cells))
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(label)}">{inner}</div>'


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
        return paragraph(html.escape(images), "none")
    return inline(grid(images, len(images)), alt)


# -- tables --------------------------------------------------------------------------------------------------------


def runs_and_cost(comparison: Comparison) -> str:
    """Return what each run is and what it cost."""
    headings = ["run", "model", "data", "parameters", "images seen", "time", "images/s", "computed in", "taken at"]
    rows = []
    for member in comparison.members:
        cost, count = member.cost, member.cost.parameters or {}
        each = small(", ".join(f"{name} {n:,}" for name, n in count.items() if n))
        rate = "" if cost.rate is None else f"{cost.rate:,.0f}" if cost.rate >= 10 else f"{cost.rate:.2g}"
        rows.append(
            [
                named(member),
                html.escape(member.model) + small(f"codes of {member.latent_dim}"),
                html.escape(member.about_data),
                f'<td class="words">{sum(count.values()):,}{each}</td>' if count else "",
                f"{cost.images:,}{small(f'{cost.epochs:.3g} passes')}",
                duration(cost.seconds) + small(f"{cost.seconds:,.1f} s"),
                rate,
                html.escape(cost.precision or "?") + small(cost.device),
                "no checkpoint" if member.taken is None else f"{member.taken:,}",
            ]
        )
    note = "The time is that of the training steps, as the run measured it; other work on the machine lengthens it."
    return f"<h2>Runs and cost</h2>{table(headings, rows, 'Runs and cost')}{paragraph(note, 'note')}"


def setting(name: str) -> str:
    """Return a setting's name, which may be broken after an underscore."""
    return html.escape(name).replace("_", "_<wbr>")


def value_of(value: Any) -> str:
    """Return a setting's value as words."""
    if value is None:
        return '<small title="not set, or not of this model">–</small>'
    if isinstance(value, bool):
        return "yes" if value else "no"
    return html.escape(", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value))


def differing(comparison: Comparison) -> str:
    """Return the settings that are not the same in all runs."""
    title = "Settings that differ"
    if not comparison.differ:
        return f"<h2>{title}</h2><p>None.</p>"
    headings = ["setting", *map(named, comparison.members)]
    parts: dict[bool, list[list[str]]] = {True: [], False: []}
    for name, values in comparison.differ.items():
        everywhere = all(name in member.settings for member in comparison.members)
        parts[everywhere].append([setting(name), *map(value_of, values)])
    shared, others = (table(headings, rows, title) if rows else "" for rows in parts.values())
    count = len(parts[False])
    words = f"{count} {'setting' if count == 1 else 'settings'} that not every run has"
    return f"<h2>{title}</h2>{shared}{folded(words, others)}"


def alike(comparison: Comparison) -> str:
    """Return the settings that all runs share, folded away."""
    rows = [[setting(name), value_of(value)] for name, value in comparison.same.items()]
    inner = table(["setting", "value"], rows, "Settings that are the same") if rows else ""
    return folded(f"The {len(rows)} settings that are the same in all", inner)


def numbers(found: Table, title: str, comparison: Comparison) -> str:
    """Return a table of measures, the best in bold if its interval overlaps no other."""
    if not found.measures:
        return ""
    own = {member.name: member for member in comparison.members}
    rows = [
        [named(own[name]) if name in own else key(row) + html.escape(name), *(cell_of(m, row) for m in found.measures)]
        for row, name in enumerate(found.rows)
    ]
    about = f"Below each number its interval: {SPREADS[found.spread]} ({found.spread} spread)"
    about += ", then the number of seeds, the lowest and the highest value" if found.spread == "training" else ""
    about += ". Arrows point to the better side. Bold: better than all others, and its interval overlaps no other."
    logged = ", ".join(m.name for m in found.measures if m.logged) if found.spread == "sampling" else ""
    note = f"From the runs' own logs, without an interval: {html.escape(logged)}."
    known = [(m.name, conditions_of(m)) for m in found.measures]
    lines = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>" for name, text in known if text)
    return "".join(
        [
            f"<h2>{title}</h2>{paragraph(about)}",
            table(["run", *map(heading, found.measures)], rows, title),
            paragraph(note, "note") if logged else "",
            folded("Conditions", f'<ul class="note">{lines}</ul>' if lines else ""),
        ]
    )


def heading(measure: Measure) -> str:
    """Return a measure's name with an arrow to the better side, and below it what it was measured in."""
    name, bracket, features = measure.name.partition("[")
    arrow = f' <span title="{measure.better} is better">{ARROWS[measure.better]}</span>' if measure.better else ""
    below = " ".join(filter(None, [(bracket + features) and f"in {features.rstrip(']')}", measure.unit]))
    return html.escape(name) + arrow + small(below)


def cell_of(measure: Measure, row: int) -> str:
    """Return a cell of a table of measures."""
    cell: Cell = measure.cells[row]
    value, interval = texts_of(cell)
    if not value:
        return f'<td class="words">{small(cell.note or "not measured")}</td>'
    shown = f'<span class="best">{value}</span>' if measure.best == row else value
    lines = [interval]
    if cell.least is not None and cell.most is not None:
        ends = [texts_of(Cell(end, cell.low, cell.high))[0] for end in (cell.least, cell.most)]
        lines.append(f"{cell.n} seeds, {ends[0]} … {ends[1]}")
    elif cell.note:
        lines.append(cell.note)
    return f"<td>{shown}{''.join(map(small, lines))}</td>"


# -- curves and pictures -------------------------------------------------------------------------------------------


def curves(comparison: Comparison) -> str:
    """Return the curves of the numbers that several runs logged, against images and against seconds."""
    made, alone = panels(comparison.members)
    names = comparison.rows
    keys = "".join(f"<span>{key(row)}{html.escape(name)}</span> &ensp; " for row, name in enumerate(names))
    pairs = [(panel, [draw_panel(panel, against, names) for against in ("images", "seconds")]) for panel in made]
    drawn = "".join(
        f'<h3>{html.escape(panel.title)}</h3><div class="panels">'
        + "".join(f"<figure>{one}</figure>" for one in both)
        + "</div>"
        for panel, both in pairs
    )
    about = (
        "Means between two reports of training; dots are held-out images. Runs share an axis only if the number means "
    )
    about += "the same in each. The highest and the lowest hundredth of the values may lie outside the frame."
    nothing = "" if made else paragraph("No two runs logged a number that means the same in both.")
    left = f"Logged by one run only, or with another meaning in each: {html.escape(', '.join(alone))}."
    rest = paragraph(left, "note") if alone else ""
    return f"<h2>Curves</h2>{paragraph(about)}{paragraph(keys)}{drawn}{nothing}{rest}"


def samples(comparison: Comparison) -> str:
    """Return samples from the same seeds, a row a run."""
    members = [member for member in comparison.members if member.pictured]
    by_dim: dict[int, list[str]] = {}
    for member in members:
        by_dim.setdefault(member.latent_dim, []).append(member.name)
    words = f"Seed {comparison.seed}. A column starts from the same noise in every row"
    if len(by_dim) > 1:
        same = "; ".join(f"{', '.join(names)} ({dim})" for dim, names in by_dim.items() if len(names) > 1)
        words += " whose codes have the same length"
        words += f": {html.escape(same)}" if same else ", which no two of these runs have"
    words += "."
    if any(member.condition for member in comparison.members):
        words += " A conditional model shows its classes in turn, one a column."
    if len(members) < len(comparison.members):
        words += " Of runs that differ only in the seed, the first is shown."
    drawn = figures(members, lambda one: strip(one.samples, f"Samples of {one.name}, seed {comparison.seed}"))
    return pictures("Samples of the same seeds", words, "strips", drawn)


def reconstructions(comparison: Comparison) -> str:
    """Return the same held-out images and each model's reconstructions of them."""
    parts = []
    for of_images in dict.fromkeys(sorted((member.of_images for member in comparison.members), key=lambda k: not k)):
        mine = [member for member in comparison.members if member.of_images == of_images]
        if of_images:
            images, split = comparison.originals[of_images]
            words = html.escape(f"originals: {mine[0].about_data}, {split} split")
            parts.append(figure(words, strip(images, f"Originals, {split}")))
        parts.append(figures(mine, lambda member: strip(member.rebuilt, f"Reconstructions by {member.name}")))
    about = "The same images in every row, encoded to the means of their codes and decoded."
    return pictures("Reconstructions of the same images", about, "strips", "".join(parts))


def maps(comparison: Comparison) -> str:
    """Return the latent map of each run that has one."""

    def drawn(member: Member) -> str:
        if isinstance(member.latent, str):
            return paragraph(html.escape(member.latent), "none")
        return inline(draw_maps([member.latent], "classes"), f"Map of the codes of {member.name}, by class")

    about = "Codes of the same held-out images on their two leading components, over the decoded plane."
    return pictures("Latent maps", about, "maps", figures(comparison.members, drawn))
