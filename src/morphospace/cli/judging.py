"""`morpho judge`: ask people whether images are real, and pool what they answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from morphospace.cli.drawing import Checkpoint, Device, Raw
from morphospace.cli.flags import Json
from morphospace.cli.paths import check_parent
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.errors import require

if TYPE_CHECKING:
    from morphospace.tools.judge.judge import Rate


def judge(
    run: Annotated[str | None, Parameter(help="The run's folder; leave it out to pool --answers.")] = None,
    /,
    *,
    out: Annotated[str | None, Parameter(help="The page to write, an .html; it holds real images.")] = None,
    answers: Annotated[
        tuple[str, ...],
        Parameter(help="Files that people saved from one page: its error rate.", consume_multiple=True, negative=()),
    ] = (),
    trials: Annotated[int, Parameter(help="Images that count, half of them real.")] = 40,
    seconds: Annotated[float, Parameter(help="How long an image is seen; 0 for as long as one likes.")] = 2.0,
    practice: Annotated[int, Parameter(help="Images before them that do not count.")] = 4,
    seed: Annotated[int, Parameter(help="Which images, and in which order.")] = 0,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Make a page for a blind test, real or generated; or pool the answers that people saved from it."""
    if answers:
        require(run is None and out is None, "answers", answers[0], "needs no run and no --out", "leave them out")
        return _pooled(answers)
    require(run is not None, "run", run, "give a run to make a page of, or --answers to pool")
    require(out is not None, "out", out, "must be given: the page to write, an .html")
    assert run is not None and out is not None
    check_parent(Path(out))
    import morphospace as ms
    from morphospace.tools.judge.blind_test import check_page_path

    check_page_path(out)
    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    made = ms.judge(loaded, out, trials=trials, seconds=seconds, practice=practice, seed=seed)
    facts = {"run": str(loaded.path), "out": str(made.path), "page": made.page, "trials": made.trials}
    facts |= {"practice": made.practice, "split": made.split, "seconds": seconds, "seed": seed, "images": loaded.images}
    lines = [
        f"{trials} images, half of the {made.split} split, half samples at {loaded.images:,} images: {made.path}",
        "open it in a browser; it fetches and sends nothing. Then `morpho judge --answers FILE ...`",
    ]
    return Answer(facts, lines)


def _pooled(answers: tuple[str, ...]) -> Answer:
    """Return the error rates of people's answers, as a table and as data."""
    import morphospace as ms

    found = ms.pool_answers(answers)
    rows = [_row(Path(file).name, person) for file, person in zip(answers, found.people)]
    total = (found.all, found.real, found.generated)
    rows += [_row(f"{len(rows)} people", total)] if len(rows) > 1 else []
    limit = f"each seen for {found.seconds:g} s" if found.seconds else "without a time limit"
    lines = [
        f"{found.run}: wrong on {found.all.value:.1%}{_ends(found.all)}; at 50 % nobody can tell",
        f"intervals: {found.all.interval}; images {limit}, median answer after {found.milliseconds / 1000:.1f} s",
    ]
    people = [{"file": file, **_data(person)} for file, person in zip(answers, found.people)]
    data: dict[str, Any] = {"run": found.run, "page": found.page, "seconds": found.seconds, "people": people}
    data |= {**_data(total), "milliseconds": found.milliseconds}
    columns = ("who", "wrong of all", "95 %", "real called generated", "95 %", "generated called real", "95 %")
    return Answer(data, lines, Table(columns, rows))


def _data(rates: tuple[Rate, Rate, Rate]) -> dict[str, Any]:
    """Return three rates as plain values; one of no images has no value."""
    told = {name: asdict(rate) for name, rate in zip(("all", "real", "generated"), rates)}
    return {name: {**rate, "value": rate["value"] if rate["of"] else None} for name, rate in told.items()}


def _row(who: str, rates: tuple[Rate, Rate, Rate]) -> list[str]:
    cells = [who]
    for rate in rates:
        cells += [f"{rate.value:.1%} ({rate.wrong} of {rate.of})" if rate.of else "", _ends(rate).strip(" ()")]
    return cells


def _ends(rate: Rate) -> str:
    return "" if rate.low is None or rate.high is None else f" ({rate.low:.1%} to {rate.high:.1%})"
