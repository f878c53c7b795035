"""Carry a plan out: train, draw, measure, and write the page. What is done already is not done again."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from morphospace import __version__
from morphospace.cli.app import answered
from morphospace.cli.reproduce import MARK
from morphospace.cli.reproduce.page import Drawn, Trained, write_page
from morphospace.cli.reproduce.plan import Figure, Found, Setup, Source, Training, as_typed
from morphospace.cli.talk import Answer, Talk
from morphospace.data.cache import locked
from morphospace.errors import MorphospaceError
from morphospace.evaluation.roughness import roughness_of
from morphospace.files import json_text, read_text, write_text
from morphospace.records import read_json
from morphospace.runs.checkpoints import read_name
from morphospace.runs.folder import RunFolder, last_values


@dataclass
class Kept:
    """The answers of commands that were carried out already, in a file of the folder.

    An answer is used again if the command is the same, the runs that it names are at the same checkpoint, and
    every picture is there.

    Attributes:
        answers: By the command's words.
    """

    answers: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Kept:
        """Read the file; one that is not there or is broken holds nothing."""
        try:
            found = read_json(read_text(Path(MARK)))
            if found["morphospace"] != __version__:
                return cls()
            return cls({str(key): dict(value) for key, value in found["answers"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def write(self) -> None:
        """Write the file."""
        write_text(Path(MARK), json_text({"morphospace": __version__, "answers": self.answers}))

    def find(self, words: tuple[str, ...], state: str, files: list[str]) -> Mapping[str, Any] | None:
        """Return the answer to a command; None if it must be carried out."""
        kept = self.answers.get(as_typed(words), {})
        fits = kept.get("state") == state and all(Path(file).is_file() for file in files)
        found = kept.get("answer")
        return found if fits and isinstance(found, dict) else None

    def keep(self, words: tuple[str, ...], state: str, answer: Mapping[str, Any]) -> None:
        """Keep the answer to a command."""
        self.answers[as_typed(words)] = {"state": state, "answer": dict(answer)}
        self.write()


class Stopped(Exception):
    """A signal has ended a training."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def carried_out(source: Source, setup: Setup, path: Path, talk: Talk) -> Answer:
    """Train, draw and measure all that a source shows, and write its page.

    Args:
        source: What to show.
        setup: Whose images, and how much time there is.
        path: The folder.
        talk: Says how far the work is.
    """
    began = time.monotonic()
    path.mkdir(parents=True, exist_ok=True)
    waiting = f"waits for another process that works in {path}"
    with locked(path / MARK, lambda: talk.say(waiting)), _within(path):
        kept = Kept.read()
        kept.write()
        try:
            broken = _trained(source, kept, talk)
        except Stopped as stopped:
            line = "stopped; run the same command again to go on"
            return Answer({"source": source.name, "stopped": True}, [line], code=stopped.code)
        drawn = [
            _drawn(figure, kept, broken, talk, f"[{number}/{len(source.figures)}]", decides=not setup.quick)
            for number, figure in enumerate(source.figures, 1)
        ]
        failed = {one.figure.key: one.failed for one in drawn if one.failed}
        if len(failed) == len(drawn):
            raise next(one.error for one in drawn if one.error)
        page = f"{source.name}{'-quick' if setup.quick else ''}.html"
        write_page(
            Path(page), source, setup, [_about(one) for one in source.trainings if one.path not in broken], drawn
        )
    lines = [f"could not be made: {key}: {why}" for key, why in failed.items()]
    lines.append(f"{len(drawn) - len(failed)} figures in {time.monotonic() - began:.0f} s: {path / page}")
    data: dict[str, Any] = {"source": source.name, "page": str(path / page), "failed": failed}
    claims = {one.figure.key: one.said.holds for one in drawn if one.said and one.figure.claim}
    return Answer({**data, "figures": [one.figure.key for one in drawn], "claims": claims}, lines)


@contextlib.contextmanager
def _within(path: Path) -> Iterator[None]:
    """Work in a folder, so that commands run as the page prints them; paths in the environment still mean the same."""
    names = ("MORPHOSPACE_DATA", "MORPHOSPACE_CACHE")
    before = {name: os.environ[name] for name in names if os.environ.get(name)}
    os.environ.update({name: str(Path(text).expanduser().absolute()) for name, text in before.items()})
    try:
        with contextlib.chdir(path):
            yield
    finally:
        os.environ.update(before)


def _trained(source: Source, kept: Kept, talk: Talk) -> dict[str, MorphospaceError]:
    """Train what is not trained yet; return why some could not be, by their folders."""
    broken: dict[str, MorphospaceError] = {}
    for number, training in enumerate(source.trainings, 1):
        if kept.find(training.words, _state(training.runs), []) is not None:
            continue
        talk.say(f"== training {number} of {len(source.trainings)}: {as_typed(training.words)}")
        try:
            answer = answered(training.words, talk)
        except MorphospaceError as error:
            talk.say(f"not trained: {error}")
            broken[training.path] = error
            continue
        if answer.code:
            raise Stopped(answer.code)
        kept.keep(training.words, _state(training.runs), answer.data)
    return broken


def _state(runs: tuple[str, ...]) -> str:
    """Return what tells a run that was trained on, or anew, from what it was; runs that are not there are empty."""
    parts = []
    for run in runs:
        folder = Path(run)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            settings = hashlib.sha256((folder / "run.toml").read_bytes()).hexdigest()[:12]
            parts.append(f"{run} {read_name(folder / 'checkpoints', 'last')} {settings}")
    return "; ".join(parts)


def _drawn(
    figure: Figure, kept: Kept, broken: Mapping[str, MorphospaceError], talk: Talk, place: str, *, decides: bool
) -> Drawn:
    """Carry a figure's commands out, and say what is to be seen.

    Args:
        figure: The figure.
        kept: Answers to commands that were carried out before.
        broken: Why trainings could not be done, by their folders.
        talk: Says how far the work is.
        place: Which figure of how many, in words.
        decides: Whether claims are decided, which models of a quick trial cannot do.
    """
    for training in figure.needs:
        if error := broken.get(training.path):
            return Drawn(figure, failed=str(error), error=error)
    runs = tuple(run for training in figure.needs for run in training.runs)
    answers, said_so = [], False
    try:
        for step in figure.steps:
            files, state = list(step.pictures), _state(tuple(run for run in runs if run in step.words))
            answer = kept.find(step.words, state, files)
            if answer is None:
                if not said_so:
                    talk.say(f"{place} {figure.title}")
                    said_so = True
                Path(files[0] if files else "figures").parent.mkdir(parents=True, exist_ok=True)
                _make_parents(step.words)
                answer = answered(step.words, talk).data
                kept.keep(step.words, state, answer)
            answers.append(read_json(json_text(dict(answer))))
        folders = {run: RunFolder.open(Path(run)) for run in runs}
        logs = {run: folder.read_metrics() for run, folder in folders.items()}
        best = {run: folder.read_best() or {} for run, folder in folders.items()}
    except MorphospaceError as error:
        talk.say(f"{place} {figure.title}: {error}")
        return Drawn(figure, failed=str(error), error=error)
    last = {run: last_values(lines) for run, lines in logs.items()}
    first = {run: last_values(list(reversed(lines))) for run, lines in logs.items()}
    rough = {run: roughness_of(lines) for run, lines in logs.items()}
    said = figure.look(Found(answers, last, first, rough, best))
    return Drawn(figure, said=said if decides else replace(said, holds=None))


def _make_parents(words: tuple[str, ...]) -> None:
    """Make the folders of the files that a command writes."""
    for flag, file in itertools.pairwise(words):
        if flag in ("--out", "--gallery", "--path"):
            Path(file).parent.mkdir(parents=True, exist_ok=True)


def _about(training: Training) -> Trained:
    """Return what a training left, for the page's table."""
    found = [RunFolder.open(Path(run)) for run in training.runs]
    last = [last_values(folder.read_metrics()) for folder in found]
    facts = found[0].facts
    height, width, _ = found[0].shape
    return Trained(
        training,
        images=sum(int(one.get("images", 0)) for one in last),
        seconds=sum(float(one.get("seconds", 0)) for one in last),
        data=f"{Path(str(facts.get('data', training.data)).partition(':')[0]).name}, {height}x{width}",
    )
