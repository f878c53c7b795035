"""A run's report: one page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morphospace.files import write_text
from morphospace.runs.folder import RunFolder, last_values

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
img{max-width:100%;height:auto;image-rendering:pixelated;border:1px solid #d0d7de}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
td+td{font-variant-numeric:tabular-nums}.two{display:grid;gap:1.5rem;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr))}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}img{border-color:#30363d}}
"""


def write_report(run: RunFolder) -> Path:
    """Write `report.html` of a run: its last pictures, curves, numbers and settings, all inside one file."""
    last = last_values(run.read_metrics())
    pictures = [
        picture(title, newest(run.path / folder))
        for title, folder in (("Samples", "samples"), ("Originals over reconstructions", "reconstructions"))
    ]
    numbers = {
        k: f"{v:,.5g}" if isinstance(v, float) else f"{v:,}" for k, v in last.items() if isinstance(v, int | float)
    }
    sections = "".join(f"<h3>{name}</h3>{table(values)}" for name, values in run.configuration.to_dict().items())
    title = html.escape(f"{run.configuration.model.name}: {run.path.name}")
    body = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{title}</h1>
<div class="two">{"".join(pictures)}</div>{scores(run.read_best())}{picture("Curves", run.path / "curves.png")}
<div class="two"><section><h2>Last numbers</h2>{table(numbers)}</section>
<section><h2>Settings</h2>{sections}</section></div></html>
"""
    write_text(run.path / "report.html", body)
    return run.path / "report.html"


def scores(best: Mapping[str, Any] | None) -> str:
    """Return how the best checkpoint scored as HTML: where it was chosen, and on images that had no say in it."""
    if best is None:
        return ""
    heads = ("number", "value", "95 %", "real images", "samples", "seed", "")
    uses = {"selection": "on the way" if best["by"] in ("loss", "last") else "chosen here", "report": "to be reported"}
    rows = [
        [found["name"], *_number(found), *_counts(found["conditions"]), use]
        for part, use in uses.items()
        for found in best[part].values()
    ]
    head, *body = (
        "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row)
        for tag, row in [("th", heads), *(("td", row) for row in rows)]
    )
    lines = "".join(f"<tr>{line}</tr>" for line in (head, *body))
    what = f"the last one, of image {best['checkpoint']:,}; none was chosen"
    if best["by"] != "last":
        what = f"of image {best['checkpoint']:,}, chosen by {best['by']} ({best['better']} is better)"
    return f"<section><h2>The best checkpoint</h2><p>{what}</p><table>{lines}</table></section>"


def _number(found: Mapping[str, Any]) -> tuple[str, str]:
    unit = f" {found['unit']}" if found["unit"] else ""
    interval = "" if found["low"] is None else f"{found['low']:.4g} to {found['high']:.4g}"
    return f"{found['value']:.5g}{unit}", interval


def _counts(conditions: Mapping[str, Any]) -> tuple[str, str, str]:
    real = f"{conditions['n_real']:,} {conditions['split']}"
    return real, f"{conditions['n_fake']:,}" if "n_fake" in conditions else "", str(conditions.get("seed", ""))


def newest(folder: Path) -> Path | None:
    """Return the picture of the latest moment in a folder."""
    found = sorted(folder.glob("*.png"))
    return found[-1] if found else None


def picture(title: str, path: Path | None) -> str:
    """Return a picture as HTML, its bytes inside; nothing where there is none."""
    if path is None or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<section><h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{data}"></section>'


def table(values: Mapping[str, Any]) -> str:
    """Return names and values as an HTML table."""
    rows = (f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in values.items())
    return f"<table>{''.join(rows)}</table>"
