"""Every model of the zoo on four kinds of images, by `morpho benchmark`, as tables and pictures of docs/zoo.md.

    python -m bench zoo                              all four, into runs/zoo and docs/zoo.md
    python -m bench zoo digits --minutes 2           one of them, longer
    python -m bench zoo --page                       train nothing, write what there is into the page

Each data set is one `morpho benchmark`, which goes on where it stopped. Its minutes are of the clock: leave the machine
alone meanwhile. The page's text is written by hand; this command fills in what stands between its markers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.members import RANKED
from bench.report import machine
from bench.tables import MORPHO

__all__ = ["SETS", "ImageSet", "add_arguments", "filled", "main", "section"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "zoo.md"
COLUMNS = {"FD": 0, "KID": 1, "precision": 2, "recall": 2, "class accuracy": 2, "MSE": 4}
"""Beginnings of the measures' names, one a column, with their decimals."""
JUDGED = "fd,kid,pr,class-accuracy,mse"
IN_MEMORY = 512  # images that a process trains on whose memory is measured


@dataclass(frozen=True)
class ImageSet:
    """Images to train every model on.

    Attributes:
        title: What the page calls them.
        words: Data settings, for `morpho`.
        n: Samples that distances are measured on.
        minutes: Of each run, if the command names none.
        pictured: Whether samples may be shown: those of a model of photographs of people may not.
    """

    title: str
    words: Sequence[str]
    n: int
    minutes: float
    pictured: bool = True


SETS: Mapping[str, ImageSet] = {
    "digits": ImageSet("Digits, 16x16", ("--data", "digits", "--size", "16"), 360, 1.0),
    "fashion-mnist": ImageSet("Fashion-MNIST, 28x28", ("--data", "fashion-mnist"), 5000, 5.0),
    "toyfaces": ImageSet("Drawn faces, 32x32", ("--data", "toyfaces", "--size", "32"), 1000, 5.0),
    "celeba": ImageSet("CelebA, 64x64", ("--data", "celeba", "--size", "64"), 1000, 10.0, pictured=False),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], help="which images; all when none are named")
    parser.add_argument("--minutes", type=float, help="of training, for each run (default 1 to 10)")
    parser.add_argument("--trials", type=int, default=3, help="settings to try for each model (default 3)")
    parser.add_argument("--seeds", type=int, default=3, help="runs with the best of them (default 3)")
    parser.add_argument("--only", help="models by name, as vae,dcgan; all that can be trained when left out")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="the runs' folder (default runs/zoo)")
    parser.add_argument("--page", action="store_true", help="train nothing; write what there is into the page")


def main(arguments: argparse.Namespace) -> int:
    """Train what is not trained, and fill in the page."""
    for name in arguments.sets or SETS:
        out = arguments.out / name
        if not arguments.page:
            carry_out(name, out, arguments)
        if (out / "benchmark.json").is_file():
            picture(name, out)
            PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), name, section(name, out)), encoding="utf-8")
            print(f"{PAGE}: {name}", flush=True)
    return 0


def carry_out(name: str, out: Path, arguments: argparse.Namespace) -> None:
    """Carry out the benchmark of a data set, and measure the memory that each model takes."""
    images = SETS[name]
    models = arguments.only.split(",") if arguments.only else list(trainable(images.words))
    command = [MORPHO, "benchmark", "--models", ",".join(models), *images.words, "--out", str(out)]
    command += ["--minutes", str(arguments.minutes or images.minutes), "--trials", str(arguments.trials)]
    command += ["--seeds", str(arguments.seeds), "--compare", JUDGED, "--compare-n", str(images.n)]
    print(" ".join(["morpho", *command[1:]]), flush=True)
    subprocess.run(command, check=True, stdout=sys.stderr)
    file = out / "memory.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    for model in models:
        if model not in known:
            known[model] = memory(model, images.words)
            file.write_text(json.dumps(known, indent=1) + "\n")


def trainable(words: Sequence[str]) -> Iterator[str]:
    """Yield the models that can be trained on these images without other settings; say why others cannot."""
    from morphospace.errors import MorphospaceError
    from morphospace.tools.benchmark.plan import planned, rehearsed

    settings = {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2])}
    data = settings.pop("data")
    usual: dict[str, Any] = {"trials": 0, "tuning": "random", "search": (), "seed": 0, "device": "auto", "by": "fd"}
    usual |= {"compare": (), "features": ""}
    for model in RANKED:
        try:
            rehearsed(planned([model, "ae" if model != "ae" else "vae"], data, "", settings=settings, **usual))
        except MorphospaceError as error:
            print(f"{model}: {error}", file=sys.stderr)
        else:
            yield model


def memory(model: str, words: Sequence[str]) -> int:
    """Return the largest memory, in megabytes, of a process that trains a model for a few steps."""
    with tempfile.TemporaryDirectory() as place:
        command = [MORPHO, "train", model, *words, "--images", str(IN_MEMORY), "--out", f"{place}/run"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return round(used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))


# -- the page ------------------------------------------------------------------------------------------------


def filled(page: str, name: str, text: str) -> str:
    """Return the page with a text between the markers of a data set.

    Raises:
        ValueError: If the page has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if begin not in page or end not in page:
        raise ValueError(f"the page has no {begin} ... {end}")
    return re.sub(f"(?s){re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n\n{text}\n\n{end}", page)


def section(name: str, out: Path) -> str:
    """Return what the page says of a data set: conditions, who wins, the table, the picture."""
    images, found = SETS[name], json.loads((out / "benchmark.json").read_text())
    asked, taken = found["asked"], json.loads((out / "memory.json").read_text())
    tuned = asked["trials"] > 1
    cpu = machine()["cpu"]
    models, each = len(found["models"]), f"{asked['minutes']:g} minute{'s' * (asked['minutes'] != 1)}"
    trials = f"{asked['trials']} settings of each were tried for {each}" if tuned else "nothing was tuned"
    lines = [
        f"{models} models, {each} for each run, {asked['seeds']} seed{'s' * (asked['seeds'] != 1)}; {trials}. "
        f"Distances of {images.n:,} samples, one thread of an {cpu}."
    ]
    lines += ["", *(f"- {verdict['text']}" for verdict in found["verdicts"] if column_of(verdict["measure"]))]
    headings = [*COLUMNS, "images", "minutes", "MB", *(["chosen settings"] if tuned else [])]
    lines += ["", f"| model | {' | '.join(headings)} |", "|---|" + "---:|" * (len(COLUMNS) + 3) + "---|" * tuned]
    lines += rows(found, taken, tuned)
    if images.pictured:
        lines += [
            "",
            f"![Samples of every model on {images.title}, those of a column from one seed](images/zoo-{name}.png)",
        ]
    return "\n".join(lines)


def ordered(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the models, the smallest Frechet distance first."""
    cells = numbers(found)
    return sorted(found["models"], key=lambda model: cells.get((model["model"], "FD"), {"value": math.inf})["value"])


def rows(found: Mapping[str, Any], taken: Mapping[str, int], tuned: bool) -> list[str]:
    """Return a row for each model, the smallest Frechet distance first."""
    cells = numbers(found)
    best = {verdict["measure"]: {verdict["best"], *verdict["open"]} for verdict in found["verdicts"]}
    lines = []
    for model in ordered(found):
        name, runs = model["model"], model["runs"]
        row = [name]
        for column, decimals in COLUMNS.items():
            one = cells.get((name, column))
            if one is None:
                row.append("")
                continue
            value = f"{one['value']:.{decimals}f}"
            row.append(f"**{value}**" if name in best.get(one["measure"], ()) else value)
            if one["least"] is not None:
                row[-1] += f" ({one['least']:.{decimals}f} to {one['most']:.{decimals}f})"
        images = sum(run["images"] for run in runs) / max(1, len(runs))
        row += [f"{images:,.0f}", f"{model['training_minutes'] / max(1, len(runs)):.2f}", str(taken.get(name, ""))]
        if tuned:
            chosen = model["chosen"] or {}
            row.append(", ".join(f"{key} {value}" for key, value in chosen.items()) or "its own")
        lines.append(f"| {' | '.join(row)} |")
    return lines


def numbers(found: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the numbers of the page by model and column: over seeds where there are several."""
    all_ = found["comparison"]["numbers"]
    spread = "training" if any(one["spread"] == "training" for one in all_) else "sampling"
    chosen = [one for one in all_ if one["spread"] == spread and one["value"] is not None]
    return {(one["run"], column): one for one in chosen if (column := column_of(one["measure"]))}


def column_of(measure: str) -> str:
    """Return the column of a measure; empty where the page has none."""
    return next((column for column in COLUMNS if measure.partition("[")[0] == column), "")


def picture(name: str, out: Path) -> None:
    """Draw samples of the first run of every model, a row each; those of a column are from one seed."""
    images = SETS[name]
    if not images.pictured:
        return
    import numpy as np

    import morphospace as ms
    from morphospace.pictures.sheet import grid_with_row_labels
    from morphospace.tools.compare.members import looks_of

    found = json.loads((out / "benchmark.json").read_text())
    runs = {model["model"]: model["runs"][0]["run"] for model in ordered(found) if model["runs"]}
    looks = {model: looks_of(ms.load(out / run), 0).samples for model, run in runs.items()}
    drawn = {model: samples for model, samples in looks.items() if not isinstance(samples, str)}
    columns = min(map(len, drawn.values()))
    sheet = grid_with_row_labels(np.concatenate([each[:columns] for each in drawn.values()]), columns, list(drawn))
    # A palette of 256 colours makes the file three times smaller; side by side, no difference is visible.
    sheet.quantize(256, kmeans=1).save(ROOT / "docs" / "images" / f"zoo-{name}.png", optimize=True)
