"""The work of `score`: read the images of a source, and judge them a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import Batch, Batches, held_out
from morphospace.data.checks import takes
from morphospace.data.pack import Pack, Split, composed, digest
from morphospace.data.prepare import CHANGED, anchored, changed_since, prepare
from morphospace.errors import MorphospaceError, SettingError, nearest, require
from morphospace.evaluation.anomaly import (
    auroc,
    bounded,
    complexity,
    critic_scores,
    density_words,
    mahalanobis,
    negative_bounds,
    reconstruction_errors,
)
from morphospace.latent.components import Moments
from morphospace.models.contract import Scores
from morphospace.records import is_count
from morphospace.runs.codes import AT_ONCE, choose_rows, each_code, encoder_of, judged_rows
from morphospace.runs.run import Run
from morphospace.tools.score import DRAWS, By, Scored

CODES_FITTED = 10_000

Judge = Callable[[Batch, int, Tensor | None], Tensor]


@dataclass(frozen=True)
class Source:
    """Images to be scored: rows of a split of a pack."""

    pack: Pack
    split: Split
    rows: np.ndarray
    words: str


def scored(
    run: Run,
    source: str | Pack,
    *,
    by: By,
    strange: Sequence[int | str],
    against_own: bool,
    correct: str,
    draws: int | None,
    n: int | None,
    seed: int,
) -> Scored:
    """Score the images of a source; `score` says how."""
    unit = _unit(run, by, correct)  # refuses what the model cannot do, before any image is read
    sources = [_source(run, source, n, bool(strange)), *([_own(run, n)] if against_own else [])]
    wanted = _labels(sources[0], strange)
    judge = _judge(run, by, draws or DRAWS.get(by, 1), seed)
    parts = [_scores(run, one, judge, correct) for one in sources]
    own = len(parts[1]) if against_own else 0
    labels = np.concatenate([_label_column(one) for one in sources])
    known: np.ndarray | None = None
    if against_own:
        known = np.arange(len(labels)) < len(parts[0])
    elif strange:
        known = np.isin(labels, wanted)
    scores = np.concatenate(parts)
    area = None if known is None else auroc(scores[~known], scores[known], seed=seed)
    rows = np.concatenate([one.rows for one in sources])
    words, pictures = tuple(one.words for one in sources), tuple(one.split.images for one in sources)
    notes = tuple(map(str, sources[0].pack.manifest.get("notes", ())))
    return Scored(scores, rows, labels, known, own, by, unit, area, words, notes, pictures)


def _unit(run: Run, by: By, correct: str) -> str:
    """Return the unit of a score in words."""
    model, name = run.model, run.configuration.model.name
    if by in DRAWS:
        bounded(model, by)
        words = density_words(model, run.configuration.data.binarise != "none")
        return f"{words}, less those of its PNG" if correct == "complexity" else words
    if by == "critic":
        way_out = "score it by elbo, iwae, reconstruction or latent"
        require(isinstance(model, Scores), "by", by, f"{name} has no critic", way_out)
        m = getattr(model.settings, "packing", 1)
        require(m == 1, "by", by, f"{name}'s critic judges {m} images at once", "score it by reconstruction or latent")
        return "minus the critic's judgement"
    encoder_of(run)
    return "mean squared error a pixel" if by == "reconstruction" else "Mahalanobis distance"


def _source(run: Run, source: str | Pack, n: int | None, classes: bool) -> Source:
    """Return the images of a source in the run's shape, with their classes where these are wanted.

    A model conditioned on the class wants them too.
    """
    own, conditioning = run.configuration.data, run.model.conditioning
    classes = classes or (conditioning is not None and conditioning.kind == "label")
    if isinstance(source, Pack):
        pack = source
        rule = f"has images of shape {pack.shape}, this run's are {run.model.shape}"
        require(pack.shape == run.model.shape, "source", pack.name, rule, "pack them again in that shape")
    elif not run.folder.facts["data_given"] and anchored(replace(own, data=source)) == anchored(own):
        pack = run.pack
        if changed_since(own, pack) == CHANGED:
            pack = prepare(own)
        if classes and takes(source, "classes") and pack.split("train").labels is None:
            pack = prepare(replace(own, classes=True), network=False)
    else:
        pack = prepare(replace(run.settings_for(source), classes=classes and takes(source, "classes")))
    kind = own.data.partition(":")[0]
    alike = isinstance(source, str) and source.partition(":")[0] == kind  # the run's own under another name, perhaps
    if pack.hash == run.folder.facts.get("data_hash") or (alike and _same_images(run, pack)):
        split, rows, label = judged_rows(pack, own.valid)
    else:
        label = "test" if "test" in pack.splits else next(iter(pack.splits))
        split = pack.split(label)
        rows = np.arange(len(split))
    return _first(pack, split, rows, label, n)


def _same_images(run: Run, pack: Pack) -> bool:
    """Return whether a pack holds the images that a run was trained on, with other labels or under another name."""
    try:
        own = run.pack
    except MorphospaceError:  # not at hand any more
        return False
    lengths = [{name: len(split) for name, split in each.splits.items()} for each in (own, pack)]
    if own.shape != pack.shape or lengths[0] != lengths[1]:
        return False
    return all(digest(split.images) == digest(pack.split(name).images) for name, split in own.splits.items())


def _own(run: Run, n: int | None) -> Source:
    """Return the run's own held-out images."""
    split, rows, label = judged_rows(run.pack, run.configuration.data.valid)
    return _first(run.pack, split, rows, label, n)


def _first(pack: Pack, split: Split, rows: np.ndarray, label: str, n: int | None) -> Source:
    rows = rows[:n]
    return Source(pack, split, rows, f"{len(rows):,} of {pack.name} ({label})")


def _labels(source: Source, strange: Sequence[int | str]) -> list[int]:
    """Return the numbers of the labels that mean something strange."""
    if not strange:
        return []
    labels, names = source.split.labels, [composed(name) for name in source.pack.label_names]
    if labels is None:
        raise SettingError("strange", list(strange), f"{source.words} have no labels", "take a labelled source")
    numbered = bool(names) and all(name.isdecimal() for name in names)  # a number that is no name then means nothing
    there, numbers = set(np.unique(np.asarray(labels)[source.rows]).tolist()), []
    for label in strange:
        text = composed(str(label))
        number = names.index(text) if text in names else int(text) if is_count(text) and not numbered else -1
        known = nearest(text, names or [str(each) for each in sorted(there)][:40])
        require(number in there, "strange", text, f"no image of {source.words} has this label{known}")
        numbers.append(number)
    return numbers


def _label_column(source: Source) -> np.ndarray:
    labels = source.split.labels
    return np.full(len(source.rows), -1) if labels is None else np.asarray(labels)[source.rows]


def _scores(run: Run, source: Source, judge: Judge, correct: str) -> np.ndarray:
    """Return the scores of a source's images, (N,), read from disk a batch at a time as they are needed."""
    # Made beforehand: small arrays that outlive their batch would lie between its large blocks and keep the allocator
    # from using these again.
    found = np.empty(len(source.rows))
    batches = Batches(
        source.split,
        rows=source.rows,
        batch_size=min(AT_ONCE, len(source.rows)),
        seed=0,
        device=run.model.device,
        signed=run.model.signed,
        binarise="fixed" if run.configuration.data.binarise == "dynamic" else run.configuration.data.binarise,
        resident=False,
    )
    known = run.model.conditioning
    known = None if known is None else known.read_from(source.pack)
    done = 0
    for batch in batches.sequential():
        condition = None if known is None else known.from_batch(batch).to(run.model.dtype)
        values = judge(batch, done, condition).numpy()
        if correct == "complexity":
            values = values - complexity(_as_seen(run, batch))
        found[done : done + len(values)] = values
        done += len(values)
    return found


def _as_seen(run: Run, batch: Batch) -> np.ndarray:
    """Return a batch's images as the model saw them, binarised where it was, as uint8 (B, H, W, C)."""
    return run.model.to_uint8(batch.images).numpy()


def _judge(run: Run, by: By, draws: int, seed: int) -> Judge:
    """Return what scores a batch, given the number of its first image and the conditions of its images."""
    model = run.model

    def images(batch: Batch) -> Tensor:
        return batch.images.to(model.dtype)

    if by == "elbo" or by == "iwae":
        kind = by == "iwae"
        return lambda batch, start, condition: negative_bounds(
            model, images(batch), condition, draws=draws, importance=kind, seed=seed, start=start
        )
    if by == "critic":
        return lambda batch, start, condition: critic_scores(model, images(batch), condition)
    encoder = encoder_of(run)
    if by == "reconstruction":
        return lambda batch, start, condition: reconstruction_errors(model, encoder, images(batch), condition)
    fitted = _training_codes(run)

    @torch.no_grad()
    def distances(batch: Batch, start: int, condition: Tensor | None) -> Tensor:
        return mahalanobis(encoder.encode(images(batch), condition).mean, fitted)

    return distances


def _training_codes(run: Run) -> Moments:
    """Gather mean and covariance of the codes of training images."""
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    blocks = (codes for codes, _ in each_code(run, split, choose_rows(rows, CODES_FITTED, 0, "codes")))
    return Moments.of(blocks, run.model.latent_dim)
