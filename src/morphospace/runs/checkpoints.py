"""Checkpoints: tensors and JSON, never code, whole or not there at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from morphospace.errors import RunError, one_line, shown
from morphospace.files import atomic, is_plain, json_text, read_bytes, sync_folder, write_text, writing
from morphospace.records import is_count, read_json, typed
from morphospace.training.events import State
from morphospace.training.selection import saved_selection
from morphospace.training.weights import check_shapes

MOST_STATE = 16 << 20  # bytes of a state.json
OTHER = "choose another checkpoint of the run"


class Numbers(TypedDict):
    """state.json: the numbers of a checkpoint, and the size of each of its files."""

    step: int
    images: int
    epoch: NotRequired[int | float]
    seconds: NotRequired[int | float]
    selection: NotRequired[Selected]
    best: NotRequired[int | float | None]
    world: NotRequired[int]
    device: NotRequired[str]
    threads: NotRequired[int]
    precision: NotRequired[str]
    products: NotRequired[list[str]]
    torch: NotRequired[str]
    listeners: NotRequired[dict[str, dict[str, int | float | None]]]
    due: NotRequired[bool]
    terms: NotRequired[dict[str, list[int | float | None]]]
    files: dict[str, int]


class Selected(TypedDict):
    """What chose the best checkpoint so far."""

    by: str
    conditions: str
    best: tuple[int | float, int] | None
    reference: tuple[int | float, int | float] | None
    waited: int


def save_checkpoint(folder: Path, state: State, *, best: bool, keep: int) -> Path:
    """Write a checkpoint into `folder`, move `last` (and `best`) to it, and drop what is too old.

    It is written beside, synced, and renamed: a kill at any moment leaves the ones before as they were.

    Args:
        folder: The run's `checkpoints`.
        state: What to save.
        best: Whether `best` names it from now on.
        keep: How many of the latest stay.
    """
    images = int(state.numbers["images"])  # type: ignore[call-overload]
    final, partial = folder / f"{images:012d}", folder / f".partial-{os.getpid()}"
    with writing(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            for name, tensors in state.tensors.items():
                save_tensors(partial / f"{name}.safetensors", tensors)
            sizes = {file.name: file.stat().st_size for file in sorted(partial.iterdir())}
            record = {**state.numbers, "files": sizes}
            (partial / "state.json").write_text(json_text(record, indent=1) + "\n", encoding="utf-8")
            for file in partial.iterdir():
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(folder)
    # A kill between the two leaves a run that goes on from the checkpoint before, and finds the best one again.
    if best:
        write_text(folder / "best", final.name)
    write_text(folder / "last", final.name)
    prune(folder, keep)
    return final


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Write named tensors, and what is known of them, as safetensors, which knows one layout only."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(plain, about))  # save_file would leave a temporary file of its own after a kill


def prune(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the latest `keep`, the best one and the last one.

    One that a signal asked for counts only while it is the last: a run that was interrupted ends with the same
    checkpoints as one that was not.
    """
    spared = {name for which in ("best", "last") if (name := read_name(folder, which))}
    spared |= {path.name for path in [path for path in numbered(folder) if _due(path)][-keep:]}
    for path in numbered(folder):
        if path.name not in spared:
            shutil.rmtree(path, ignore_errors=True)


def _due(path: Path) -> bool:
    try:
        return bool(state_of(path).get("due", True))
    except RunError:
        return False


def numbered(folder: Path) -> list[Path]:
    """Return the folders of all checkpoints, whole or not, oldest first."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if is_count(path.name) and path.is_dir() and not path.is_symlink())


def read_name(folder: Path, which: str) -> str:
    """Return the name of the checkpoint that the file `last` or `best` holds; empty where there is no such file.

    Raises:
        RunError: If it is a link or no plain file.
    """
    try:
        return read_bytes(folder / which, 1000).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise RunError("checkpoint", which, f"cannot be read in {folder} ({_why(error)})", OTHER) from None


def clean(folder: Path) -> None:
    """Remove the checkpoint that a killed process left half-written; call it while the run is locked."""
    for partial in folder.glob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True)


def mend(folder: Path, state: State, keep: int) -> None:
    """Finish what a kill broke off once `state` was saved: let `last` and `best` name what is there, and prune."""
    last = f"{int(state.numbers['images']):012d}"  # type: ignore[call-overload]
    if read_name(folder, "last") != last:
        write_text(folder / "last", last)
    best = saved_selection(state.numbers)["best"]
    if best is not None and not _readable(folder, read_name(folder, "best")):
        if _readable(folder, name := f"{int(best[1]):012d}"):
            write_text(folder / "best", name)
        else:
            (folder / "best").unlink(missing_ok=True)
    prune(folder, keep)


def _readable(folder: Path, name: str) -> bool:
    return is_count(name) and not (folder / name).is_symlink() and is_plain(folder / name / "state.json")


def latest(folder: Path, say: Callable[[str], None]) -> State | None:
    """Return the checkpoint to continue from: `last`, or the newest whole one if `last` is lost or broken.

    Args:
        folder: The run's `checkpoints`.
        say: Takes a line that says why it is not `last`.

    Returns:
        None if there is no checkpoint yet.

    Raises:
        RunError: If there are checkpoints and none is whole.
    """
    last, there = read_name(folder, "last"), numbered(folder)
    if not last and not there:
        return None
    named = [folder / last] if is_count(last) else []
    wrong = "" if named else f"{folder / 'last'} {'names no checkpoint' if last else 'is missing'}"
    for path in [*named, *(path for path in reversed(there) if path not in named)]:
        try:
            state = load_checkpoint(path)
        except RunError as error:
            wrong = wrong or str(error)
            continue
        if wrong:
            say(f"{wrong}; continues from image {int(path.name):,}")
        return state
    way_out = f"delete {str(folder)!r} to train from the start, or choose another path"
    raise RunError("checkpoint", str(folder), f"none is whole ({wrong})", way_out)


def pointed(folder: Path, which: str) -> Path | None:
    """Return the checkpoint that `which` means: `last`, `best`, or a number of images; None where there is none.

    If the file `last` is lost, or names none that is there, the newest checkpoint is the last one.

    Raises:
        RunError: It is named but not there.
    """
    number = is_count(which)
    if not number and which not in ("last", "best"):
        raise RunError("checkpoint", which, "must be 'last', 'best' or a number of images")
    named = f"{int(which):012d}" if number else read_name(folder, which)
    if which == "last" and not _readable(folder, named):
        named = max((path.name for path in numbered(folder) if _readable(folder, path.name)), default=named)
    if not named:
        return None
    if not _readable(folder, named):
        there = ", ".join(str(int(path.name)) for path in numbered(folder)) or "none"
        way_out = f"delete {str(folder)!r} to train from the start" if which == "last" else "take another --checkpoint"
        raise RunError("checkpoint", which, f"not in {folder} (there: {there})", way_out)
    return folder / named


def last_numbers(folder: Path) -> dict[str, Any]:
    """Return what state.json of the last checkpoint says; empty where there is none that can be read."""
    try:
        last = pointed(folder, "last")
        return {} if last is None else state_of(last)
    except RunError:
        return {}


def _why(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or one_line(error)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file of a run.

    Raises:
        RunError: It is missing, cut short, or something else, a pickle for instance.
    """
    if not path.exists():
        raise RunError("checkpoint", str(path), "the file is missing", "take another checkpoint")
    if not is_plain(path):
        raise RunError("checkpoint", str(path), "is a link or no plain file", "copy the file there")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a type that torch does not have
        raise RunError(
            "checkpoint",
            str(path),
            f"not a whole safetensors file ({one_line(error)})",
            "cut short, or another format such as a pickle, which is never opened",
        ) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        RunError: It is missing, cut short, or something else.
    """
    with opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def check_fits(file: Path, wanted: Mapping[str, Sequence[int]], *, some: bool = False) -> None:
    """Refuse the weights of another network by what their file says it holds; nothing is read or allocated.

    Args:
        file: A safetensors file.
        wanted: The shape of each of the network's weights.
        some: Whether the file may lack some.

    Raises:
        RunError: A weight is missing, unknown, or of another shape.
    """
    with opened(file) as held:
        found = {name: held.get_slice(name).get_shape() for name in held.keys()}  # noqa: SIM118 - not a mapping
    check_shapes(found, {name: wanted[name] for name in found if name in wanted} if some else wanted, file.stem)


def state_of(path: Path) -> dict[str, Any]:
    """Return what the state.json of a checkpoint says.

    Raises:
        RunError: It is missing or says something else.
    """
    try:
        numbers: dict[str, Any] = typed(read_json(read_bytes(path / "state.json", MOST_STATE)), Numbers, "state")
    except (OSError, ValueError) as error:
        raise RunError("checkpoint", str(path), f"state.json is missing or broken ({_why(error)})", OTHER) from error
    return numbers


def load_checkpoint(path: Path, only: Container[str] | None = None) -> State:
    """Read a checkpoint folder.

    Args:
        path: The folder.
        only: Names of the files whose tensors are read, without their ending; all when None. The sizes of all are
            checked.

    Raises:
        RunError: A file is missing, cut short or not what it should be.
    """
    numbers = state_of(path)
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, size in numbers.pop("files").items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*\.safetensors", name):
            raise RunError("checkpoint", str(path), f"state.json names a file {name!r}, which no checkpoint has", OTHER)
        file = path / name
        if is_plain(file) and file.stat().st_size != size:
            there = file.stat().st_size
            raise RunError(
                "checkpoint", str(file), f"has {there} bytes, must have {size}", "it was cut short or changed"
            )
        if only is None or file.stem in only:
            tensors[file.stem] = load_tensors(file)
        elif not is_plain(file):
            raise RunError("checkpoint", str(file), "the file is missing", "take another checkpoint")
    if "model" not in tensors:
        raise RunError("checkpoint", str(path), "state.json names no model", "take another checkpoint")
    return State(tensors, numbers)


def save_vectors(path: Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write named tensors and what is known of them, whole or not at all.

    Args:
        path: A .safetensors.
        kind: What they are: `components` or `direction`.
        tensors: By name.
        facts: What JSON can say.
    """
    with atomic(path) as partial:
        save_tensors(partial, tensors, {"kind": kind, "facts": json_text(dict(facts))})


def load_vectors(path: Path, kind: str, names: Collection[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_vectors` wrote: the tensors of these names, and facts.

    Raises:
        RunError: It is missing, or something else.
    """
    if not path.is_file():
        raise RunError("path", str(path), "no such file", "save one with `--save`")
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if about.get("kind") != kind:
            raise RunError("path", str(path), f"holds {about.get('kind', 'other tensors')}, not {kind}", "take another")
        if set(tensors) != set(names):
            rule = f"holds the tensors {shown(sorted(tensors))}, not {', '.join(sorted(names))}"
            raise RunError("path", str(path), rule, "save it again")
        facts: dict[str, Any] = typed(read_json(about["facts"]), dict[str, Any], "facts")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, RunError):
            raise
        why = f"not a whole safetensors file of ours ({one_line(error)})"
        raise RunError("path", str(path), why, "save it again") from error
    return tensors, facts
