"""The tables of a comparison as HTML, and the style that the page has."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from morphospace.tools.card.text import duration
from morphospace.tools.compare.comparison import Cell, Comparison, Measure, Member, Table
from morphospace.tools.compare.curves import COLOURS, dash_of
from morphospace.tools.compare.tables import ARROWS, SPREADS, conditions_of, told

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


def colours() -> str:
    """Return the style of lines, one class a colour, on light and on dark."""
    light, dark = ("".join(f".k{i}{{stroke:{pair[j]}}}" for i, pair in enumerate(COLOURS)) for j in (0, 1))
    fill = "".join(f".k{i} circle{{fill:{pair[0]}}}" for i, pair in enumerate(COLOURS))
    dark_fill = "".join(f".k{i} circle{{fill:{pair[1]}}}" for i, pair in enumerate(COLOURS))
    return f"{light}{fill}@media(prefers-color-scheme:dark){{{dark}{dark_fill}}}"


def key(row: int) -> str:
    """Return a short piece of a row's line."""
    dashes = f' stroke-dasharray="{dash_of(row)}"' if dash_of(row) else ""
    line = f'<line class="k{row % len(COLOURS)}" x1="0" y1="5" x2="30" y2="5"{dashes} style="stroke-width:3"/>'
    return f'<svg class="key" viewBox="0 0 30 10" aria-hidden="true">{line}</svg>'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """Return a table whose first column stays when it is scrolled; cells are HTML."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in headings)
    cells = [[cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row[1:]] for row in rows]
    body = "".join(f'<tr><th scope="row">{row[0]}</th>{"".join(rest)}</tr>' for row, rest in zip(rows, cells))
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(label)}">{inner}</div>'


def named(member: Member) -> str:
    """Return a run's name with a piece of its line."""
    return key(member.row) + html.escape(member.name)


# -- tables --------------------------------------------------------------------------------------------------------


def runs_and_cost(comparison: Comparison) -> str:
    """Return what each run is and what it took."""
    headings = ["run", "model", "data", "parameters", "images seen", "time", "images/s", "computed in", "taken at"]
    rows = []
    for member in comparison.members:
        cost, count = member.cost, member.cost.parameters
        each = "" if count is None else ", ".join(f"{name} {n:,}" for name, n in count.items() if n)
        rows.append(
            [
                named(member),
                html.escape(member.model) + f"<small>codes of {member.latent_dim}</small>",
                html.escape(member.about_data),
                ""
                if count is None
                else f'<td class="words">{sum(count.values()):,}<small>{html.escape(each)}</small></td>',
                f"{cost.images:,}<small>{cost.epochs:.3g} passes</small>",
                duration(cost.seconds) + f"<small>{cost.seconds:,.1f} s</small>",
                "" if cost.rate is None else f"{cost.rate:,.0f}" if cost.rate >= 10 else f"{cost.rate:.2g}",
                html.escape(cost.precision or "?") + f"<small>{html.escape(cost.device)}</small>",
                "no checkpoint" if member.taken is None else f"{member.taken:,}",
            ]
        )
    note = (
        '<p class="note">Time is that of training steps, as the run measured it, on whatever else the machine did.</p>'
    )
    return f"<h2>Runs and cost</h2>{table(headings, rows, 'Runs and cost')}{note}"


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
    differ = comparison.differ
    if not differ:
        return "<h2>Settings that differ</h2><p>None.</p>"
    headings = ["setting", *map(named, comparison.members)]
    parts: dict[bool, list[list[str]]] = {True: [], False: []}
    for name, values in differ.items():
        everywhere = all(name in member.settings for member in comparison.members)
        parts[everywhere].append([setting(name), *map(value_of, values)])
    shared, others = (table(headings, parts[kind], "Settings that differ") if parts[kind] else "" for kind in parts)
    count = len(parts[False])
    words = f"{count} {'setting' if count == 1 else 'settings'} that not every run has"
    folded = f"<details><summary>{words}</summary>{others}</details>" if others else ""
    return f"<h2>Settings that differ</h2>{shared}{folded}"


def alike(comparison: Comparison) -> str:
    """Return the settings that all runs share, folded away."""
    rows = [[setting(name), value_of(value)] for name, value in comparison.same.items()]
    if not rows:
        return ""
    inner = table(["setting", "value"], rows, "Settings that are the same")
    return f"<details><summary>The {len(rows)} settings that are the same in all</summary>{inner}</details>"


def numbers(found: Table, title: str, comparison: Comparison) -> str:
    """Return a table of measures, the best bold where no other's interval meets its own."""
    if not found.measures:
        return ""
    headings = ["run", *map(heading, found.measures)]
    own = {member.name: member for member in comparison.members}
    rows = [
        [named(own[name]) if name in own else key(row) + html.escape(name), *(cell_of(m, row) for m in found.measures)]
        for row, name in enumerate(found.rows)
    ]
    about = [
        f"<p>Below each number its interval: {SPREADS[found.spread]} ({found.spread} spread)"
        + (", then how many seeds, the least and the most" if found.spread == "training" else "")
        + ". Arrows point to the better side. Bold: better than every other, and no interval meets its own.</p>"
    ]
    told_of = [(m, conditions_of(m)) for m in found.measures]
    lines = "".join(f"<li><b>{html.escape(m.name)}</b>: {html.escape(text)}</li>" for m, text in told_of if text)
    logged = [m.name for m in found.measures if m.logged]
    if logged and found.spread == "sampling":
        about.append(
            f'<p class="note">From the runs\' own logs, without an interval: {html.escape(", ".join(logged))}.</p>'
        )
    under = f'<details><summary>Conditions</summary><ul class="note">{lines}</ul></details>' if lines else ""
    return f"<h2>{title}</h2>{about[0]}{table(headings, rows, title)}{''.join(about[1:])}{under}"


def heading(measure: Measure) -> str:
    """Return a measure's name, with what it was measured in below it and an arrow to the better side."""
    name, bracket, features = measure.name.partition("[")
    arrow = f' <span title="{measure.better} is better">{ARROWS[measure.better]}</span>' if measure.better else ""
    below = " ".join(filter(None, [(bracket + features) and f"in {features.rstrip(']')}", measure.unit]))
    return html.escape(name) + arrow + (f"<small>{html.escape(below)}</small>" if below else "")


def cell_of(measure: Measure, row: int) -> str:
    """Return a cell of a table of measures."""
    cell: Cell = measure.cells[row]
    value, interval = told(cell)
    if not value:
        return f'<td class="words"><small>{html.escape(cell.note) or "not measured"}</small></td>'
    shown = f'<span class="best">{value}</span>' if measure.best == row else value
    lines = [interval]
    if cell.least is not None and cell.most is not None:
        ends = [told(Cell(end, cell.low, cell.high))[0] for end in (cell.least, cell.most)]
        lines.append(f"{cell.n} seeds, {ends[0]} … {ends[1]}")
    elif cell.note:
        lines.append(cell.note)
    return f"<td>{shown}{''.join(f'<small>{html.escape(line)}</small>' for line in lines if line)}</td>"
