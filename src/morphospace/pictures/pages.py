"""Pages and texts made from templates: files of the package that say what stands where."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from PIL import Image


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("morphospace", ""),
        autoescape=lambda name: (name or "").endswith((".html", ".svg")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["with"] = lambda value, form: format(value, form)  # `{{ 12345 | with(",") }}`
    made.filters["duration"] = duration
    return made


def render(template: str, **values: Any) -> str:
    """Fill in a template of this package, such as `tools/compare/page.html`; HTML and SVG escape all values."""
    return _environment().get_template(template).render(values)


def png_data(image: Image.Image, **how: Any) -> str:
    """Return a picture as base64 of a PNG, to be written into a page; `how` as in Pillow's `save`."""
    with io.BytesIO() as buffer:
        image.save(buffer, format="PNG", **how)
        return base64.b64encode(buffer.getvalue()).decode()


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(46), duration(600), duration(9000)
    ('46 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
