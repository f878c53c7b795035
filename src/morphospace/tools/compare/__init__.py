"""Compare runs: settings, cost, curves, numbers with intervals, pictures from the same seeds and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from morphospace.errors import SettingError
from morphospace.files import write_text
from morphospace.ranges import AtLeast, Seed, check_ranges
from morphospace.tools.compare.comparison import Member, Table
from morphospace.tools.tool import Answer, Asked, Displayable, File, Names, Summary, status, tool

if TYPE_CHECKING:
    import numpy as np

FILES = {
    "out": File((".html",), "The page to write, an .html that needs nothing beside it."),
    "csv": File((".csv",), "A .csv to write: the numbers in full precision."),
    "latex": File((".tex",), "A .tex to write: the tables for a paper (booktabs)."),
}


@dataclass(frozen=True)
class Comparison(Displayable):
    """Runs side by side.

    Attributes:
        members: The runs.
        rows: Name of each row, of one run or of several that differ only in the seed.
        warnings: What makes the runs hard to compare.
        sampling: Numbers of each run.
        training: Numbers of each row over its seeds; None where no row has two.
        originals: By key, the images that were reconstructed, uint8 (N, H, W, C), and their split's name.
        seed: Of the samples.
    """

    members: tuple[Member, ...]
    rows: tuple[str, ...]
    warnings: tuple[str, ...]
    sampling: Table
    training: Table | None
    originals: Mapping[str, tuple[np.ndarray, str]]
    seed: int

    @property
    def differ(self) -> dict[str, list[Any]]:
        """The settings that are not the same in all runs: by name, one value a run, None where it has none."""
        names = dict.fromkeys(name for member in self.members for name in member.settings)
        values = {name: [member.settings.get(name) for member in self.members] for name in names}
        return {name: each for name, each in values.items() if any(one != each[0] for one in each)}

    @property
    def same(self) -> dict[str, Any]:
        """The settings that are the same in all runs."""
        return {name: value for name, value in self.members[0].settings.items() if name not in self.differ}

    def summary(self) -> Summary:
        """Return the numbers as a table."""
        from morphospace.tools.compare.tables import SPREADS, plain, plain_differences, plain_nulls

        table = self.training or self.sampling
        lines = [f"intervals: {SPREADS[table.spread]}"] if table.measures else []
        lines += [*plain_nulls(table), *plain_differences(table)]
        lines += [f"note: {line}" for line in self.warnings]
        return Summary(lines, plain(table) if table.measures else None)

    def show(self, asked: Asked) -> Answer:
        """Write the files asked for, and return the numbers as a table."""
        from morphospace.tools.compare.tables import json_data

        for path in asked.files.values():
            save_comparison(self, path)
        lines, table = self.summary()
        lines = [*lines, *(f"{name:16}{path}" for name, path in asked.files.items())]
        written = {name: str(asked.files[name]) if name in asked.files else None for name in ("out", "csv", "latex")}
        return Answer({**written, **json_data(self)}, lines, table)


@tool(loads=False, files=FILES)
def compare(
    runs: Sequence[str | Path],
    *,
    metrics: Names = (),
    n: Annotated[int, AtLeast(2)] | None = None,
    seed: Seed = 0,
    features: str = "",
    device: str = "auto",
    say: Callable[[str], None] = status,
) -> Comparison:
    """Compare runs: settings, cost, curves, numbers with intervals, pictures from the same seeds and images.

    Runs that differ only in their seed share a row. If a row has several seeds, the table shows intervals over training
    seeds; otherwise it shows intervals over samples of the same model. The files contain both tables. If a metric fails
    for one run, the table shows the reason in that cell and the other runs are still compared.

    Args:
        runs: Folders of two or more runs; the folder of a sweep stands for all its runs.
        metrics: Which metrics, as fd,pr,mse of `evaluate`, or none; if left out, those that apply to each run.
        n: Number of samples, and largest number of real images; 10,000 or as many as there are if left out.
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
