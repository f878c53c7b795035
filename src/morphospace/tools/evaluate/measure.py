"""The work of `evaluate`: choose the two sets of images, measure, and keep the numbers in a run's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morphospace.data.cache import locked
from morphospace.data.pack import Pack, in_memory_pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import RunError, SettingError, nearest, one_line, require
from morphospace.evaluation.results import Result
from morphospace.files import json_text, read_bytes, write_text
from morphospace.plugins import BRING_IT
from morphospace.records import read_json, typed
from morphospace.runs.codes import judged_rows
from morphospace.runs.folder import KeptResults
from morphospace.runs.run import Run, loaded
from morphospace.tools.evaluate import Evaluation
from morphospace.tools.evaluate.evidence import Evidence, Side, chosen
from morphospace.tools.evaluate.metric import METRICS, measured, numbers
from morphospace.tools.evaluate.model_metrics import MODEL_METRICS
from morphospace.tools.evaluate.set_metrics import SET_METRICS
from morphospace.tools.tool import at_images
from morphospace.training.precision import choose_device

FILE = "evaluation.json"
USUAL_N = 10_000
FEW = 50  # real images, by which little can be judged

for built_in, metric in {**SET_METRICS, **MODEL_METRICS}.items():
    METRICS.register(built_in, metric, __name__)

Images = str | Pack | np.ndarray


def metrics_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of some names; a name may be a metric (`pr`) or one of its numbers (`precision`).

    Raises:
        SettingError: If there is no such metric.
    """
    for name in names:
        if name not in METRICS and name not in numbers():
            known = dict.fromkeys([*METRICS, *numbers()])
            raise SettingError("metrics", name, f"there is no such metric{nearest(name, known)}", BRING_IT)
    return tuple(dict.fromkeys(name if name in METRICS else numbers()[name][0] for name in names))


def evaluated(
    run: Run | str | Path | None,
    real: Images | None,
    fake: Images | None,
    metrics: Sequence[str],
    *,
    n: int | None,
    size: str | None,
    splits: tuple[str, str],
    device: str,
    say: Callable[[str], None],
    **how: Any,
) -> Evaluation:
    """Measure; `evaluate` says what. `how` are further fields of `Evidence`."""
    found = None if run is None else loaded(run)
    if found is not None:
        _check_can_keep(found.folder.place / FILE)
    known = _real_side(found, real, splits[0], size, n, say)
    other = (
        None if fake is None else _side(_pack(fake, "fake", found, known.pack, note=say), splits[1], n, "fake_split")
    )
    count = (n or min(USUAL_N, len(known.rows))) if other is None else len(other.rows)
    _check_shapes(found, known, other)
    evidence = Evidence(known, other, found, count, null=True, device=str(choose_device(device)), say=say, **how)
    wanted, left_out = _wanted(evidence, metrics_of(metrics))
    results: list[Result] = []
    for name in wanted:
        say(f"measuring {METRICS[name].about}")
        results += measured(name, evidence)
    if found is not None:
        keep(found.folder.place / FILE, results)
    path = None if found is None else found.path / FILE
    words = f"{known.pack.name} {known.name}, {len(known.rows):,} images"
    fakes = ""
    if other is not None:
        fakes = f"{other.pack.name} {other.name}, {count:,} images"
    elif found is not None and evidence.used_samples:
        fakes = f"samples{at_images(found.images)}, {count:,} images"
    few = len(known.rows) < FEW
    words_of = "1 real image says" if len(known.rows) == 1 else f"{len(known.rows)} real images say"
    advice = f"{words_of} little; {known.more}" if few else ""
    return Evaluation(tuple(results), path, words, fakes, left_out, advice)


def _wanted(evidence: Evidence, metrics: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the metrics to measure, and for each usual one that cannot be measured the reason."""
    if metrics:
        for name in metrics:
            reason = METRICS[name].refusal(evidence)
            require(not reason, "metrics", name, reason)
        return list(dict.fromkeys(metrics)), {}
    reasons = {name: metric.refusal(evidence) for name, metric in METRICS.items() if metric.usual}
    wanted = [name for name, reason in reasons.items() if not reason]
    require(bool(wanted), "metrics", "", "; ".join(f"{name} {reason}" for name, reason in reasons.items()))
    return wanted, {name: reason for name, reason in reasons.items() if reason}


def _real_side(
    run: Run | None, real: Images | None, split: str, size: str | None, n: int | None, note: Callable[[str], None]
) -> Side:
    """Return the real images."""
    most = USUAL_N if n is None else n
    if run is None or real is not None:
        assert real is not None
        return _side(_pack(real, "real", run, size=size, note=note), split, most, "real_split")
    require(size is None, "size", size, "is the run's own", "leave it out")
    pack = run.pack
    if split:
        return _side(pack, split, most, "real_split")
    return chosen(pack, *judged_rows(pack, run.configuration.data.valid), most)


def _side(pack: Pack, split: str, n: int | None, argument: str) -> Side:
    """Return images of a pack: of the named split, else of the test split where there is one, else of any."""
    require(
        not split or split in pack.splits,
        argument,
        split,
        f"{pack.name} has {', '.join(pack.splits)}",
        "give one of these",
    )
    order = [split] if split else [name for name in ("test", "train", *pack.splits) if name in pack.splits]
    found = pack.split(order[0])
    return chosen(pack, found, np.arange(len(found)), order[0], USUAL_N if n is None else n)


def _pack(
    images: Images,
    name: str,
    run: Run | None,
    like: Pack | None = None,
    *,
    size: str | None = None,
    note: Callable[[str], None],
) -> Pack:
    """Return images as a pack, read as the data of a run, or else in the shape of others, where there are any."""
    if isinstance(images, Pack):
        return images
    if isinstance(images, np.ndarray):
        require(images.dtype == np.uint8, name, images.dtype, "must be uint8 images (N, H, W, C)")
        return in_memory_pack(name, images)
    if run is not None and size is None:
        return prepare(run.settings_for(images), note=note)
    if like is None:
        return prepare(DataSettings(data=images, size=size), note=note)
    height, width, channels = like.shape
    asked = DataSettings(data=images, size=f"{height}x{width}", channels=3 if channels == 3 else 1)
    return prepare(asked, note=note)


def _check_shapes(run: Run | None, real: Side, fake: Side | None) -> None:
    """Refuse sets of different shapes."""
    shape = run.model.shape if run is not None else fake.pack.shape if fake is not None else real.pack.shape
    if tuple(shape) != tuple(real.pack.shape):
        sizes = ["x".join(map(str, each)) for each in (shape, real.pack.shape)]
        raise SettingError("real", real.pack.name, f"its images are {sizes[1]}, the others {sizes[0]}", "use one size")


def _check_can_keep(file: Path) -> None:
    """Refuse a file that results cannot be written to, before any work is done."""
    read(file)
    if not os.access(file.parent, os.W_OK):
        raise RunError("run", str(file.parent), f"{file.name} cannot be written there", "copy the run elsewhere")


def keep(file: Path, results: Sequence[Result]) -> Path:
    """Add results to a file; a result replaces an earlier one of the same name and conditions."""
    with locked(file):  # two evaluations of a run at once keep both
        kept = {_identity(entry): entry for entry in read(file)}
        kept |= {_identity(entry): entry for entry in (result.as_dict() for result in results)}
        write_text(file, json_text({"results": list(kept.values())}, indent=1) + "\n")
    return file


def read(file: Path) -> list[dict[str, Any]]:
    """Return the results in a file; nothing where there is no file.

    Raises:
        RunError: If it holds something else.
    """
    if not file.exists():
        return []
    try:
        entries: list[dict[str, Any]] = typed(read_json(read_bytes(file)), KeptResults, file.name)["results"]
    except (OSError, ValueError) as error:
        raise RunError(
            file, rule=f"does not hold results ({one_line(error)})", way_out="move it away and evaluate again"
        ) from None
    return entries


def _identity(entry: Mapping[str, Any]) -> str:
    return json.dumps([entry["name"], entry["conditions"]], sort_keys=True)
