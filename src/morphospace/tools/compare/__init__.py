"""Compare runs: settings, cost, curves, numbers with intervals, pictures from the same seeds and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from morphospace.errors import SettingError
from morphospace.files import write_text
from morphospace.ranges import AtLeast, Seed, check_ranges
from morphospace.tools.compare.comparison import Comparison
from morphospace.tools.tool import File, Names, tool

FILES = {
    "out": File((".html",), "The page to write, an .html that needs nothing beside it."),
    "csv": File((".csv",), "A .csv to write: the numbers in full precision."),
    "latex": File((".tex",), "A .tex to write: the tables for a paper (booktabs)."),
}


@tool(loads=False, files=FILES)
def compare(
    runs: Sequence[str | Path],
    *,
    metrics: Names = (),
    n: Annotated[int, AtLeast(2)] | None = None,
    seed: Seed = 0,
    features: str = "",
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Compare runs: settings, cost, curves, numbers with intervals, pictures from the same seeds and images.

    Runs that differ only in their seed share a row. Each number has the interval that other samples of this very model
    would give; where a row has several seeds, a second table has the interval that training again would give. If a
    metric fails for one run, the table shows the reason in that cell and the other runs are still compared.

    Args:
        runs: Folders of two or more runs; the folder of a sweep stands for all its runs.
        metrics: Which metrics, as fd,pr,mse of `evaluate`; the usual ones for each run if left out, or none.
        n: How many samples, and at most how many real images; 10,000 or as many as there are if left out.
        seed: Which samples, both shown and measured.
        features: What distances are measured in, as for `evaluate`.
        device: Where to compute.
        say: Takes one line at a time for the user.

    Raises:
        SettingError: If there are fewer than two runs, more than twelve rows, or a setting breaks a rule.
        RunError: If a folder holds no run.
    """
    check_ranges(compare, locals())
    from morphospace.tools.compare.gather import check_metrics, gather, open_runs

    wanted = check_metrics(metrics)
    return gather(open_runs(runs), wanted, n=n, seed=seed, features=features, device=device, say=say)


def save_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Write a comparison in the format of the file's ending: .html, the whole page; .csv, .json or .tex, the numbers.

    Raises:
        SettingError: If the name ends in none of these, or is a folder.
    """
    from morphospace.tools.compare.page import page_of
    from morphospace.tools.compare.tables import csv_text, json_text, latex_text

    kinds = {".html": page_of, ".csv": csv_text, ".json": json_text, ".tex": latex_text}
    file = Path(path)
    if file.suffix.lower() not in kinds or file.is_dir():
        raise SettingError("path", str(path), f"must be a file name that ends in {' or '.join(kinds)}")
    write_text(file, kinds[file.suffix.lower()](comparison))
    return file
