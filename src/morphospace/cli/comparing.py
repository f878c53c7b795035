"""`morpho compare`: runs side by side on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from morphospace.cli.drawing import Device
from morphospace.cli.flags import Json
from morphospace.cli.paths import check_parent
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.errors import require

if TYPE_CHECKING:
    from morphospace import Comparison


Count = Annotated[int | None, Parameter(help="How many of each; 10,000, or as many as there are, if left out.")]
FeatureName = Annotated[
    str,
    Parameter(
        help="What distances are taken in: classifier, autoencoder, pixels, inception or inception:PATH; a classifier "
        "where the images have labels, else an autoencoder, if left out."
    ),
]
METRICS_HELP = "Which numbers, as fd,pr,mse of `morpho evaluate`; those usual for each run if left out, or none."
FILES = {"out": ".html", "csv": ".csv", "latex": ".tex"}


def compare(
    *runs: Annotated[str, Parameter(help="The runs' folders, two or more; a sweep's folder stands for all its runs.")],
    out: Annotated[str | None, Parameter(help="The page to write, an .html that needs nothing beside it.")] = None,
    metrics: Annotated[str, Parameter(help=METRICS_HELP)] = "",
    n: Count = None,
    seed: Annotated[int, Parameter(help="Which samples, both drawn and measured.")] = 0,
    features: FeatureName = "",
    csv: Annotated[str | None, Parameter(help="The numbers in full precision, a .csv.")] = None,
    latex: Annotated[str | None, Parameter(help="The tables for a paper (booktabs), a .tex.")] = None,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Set runs side by side: settings, cost, curves, numbers with intervals, pictures of the same seeds and images."""
    require(len(runs) >= 1, "runs", len(runs), "give two runs or more, or the folder of a sweep")
    wanted = named_metrics(metrics)
    given = {"out": out, "csv": csv, "latex": latex}
    for name, file in given.items():
        if file is not None:
            check_parent(Path(file), name)
    import morphospace as ms
    from morphospace.tools.compare.page import check_comparison_path

    for name, file in given.items():
        if file is not None:
            check_comparison_path(file, only=FILES[name], name=name)
    made = ms.compare(runs, metrics=wanted, n=n, seed=seed, features=features, device=device, say=talk.say)
    for path in filter(None, given.values()):
        ms.save_comparison(made, path)
    return _answer(made, given)


def named_metrics(text: str) -> list[str] | str:
    """Return the metrics that a flag names: a list, empty for the usual ones, or `none`."""
    names = [name for name in (word.strip() for word in text.split(",")) if name]
    return "none" if names == ["none"] else names


def _answer(made: Comparison, given: dict[str, str | None]) -> Answer:
    """Return the numbers as tables, and what was written."""
    from morphospace.tools.compare.tables import SPREADS, json_data, plain

    found = made.training or made.sampling
    lines = [f"intervals: {SPREADS[found.spread]}"] if found.measures else []
    lines += [f"note: {line}" for line in made.warnings]
    lines += [f"{name:16}{path}" for name, path in given.items() if path]
    data: dict[str, Any] = {**given, **json_data(made)}
    return Answer(data, lines, Table(*plain(found)) if found.measures else None)
