"""Verbs read off the tools: each argument of a tool's function is a flag, each line of its docstring the help.

`command_for` reads the function's signature, docstring and declaration (`tools/tool.py`). The verb that it returns
checks files, ranges and rules first, then loads the run, calls the function, and lets the result show itself.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from morphospace.cli.flags import Json
from morphospace.cli.talk import Spoken, Talk
from morphospace.errors import require
from morphospace.files import check_parent
from morphospace.ranges import Between, Range, Unknown, check_ranges, marks_of, types_of
from morphospace.tools.tool import Answer, Asked, Declared, File, Written

if TYPE_CHECKING:
    from morphospace.runs.run import Run

Checkpoint = Annotated[
    str,
    Parameter(
        help="best, last or a number of images. [default: the best one where there is one, else the last]",
        show_default=False,
    ),
]
Raw = Annotated[bool, Parameter(help="Take the raw weights, not the averaged ones.", negative=(), show_default=False)]
Images = Annotated[
    str | None,
    Parameter(help="Where the run's images are, if they are not found: a source, folder:PATH, or a pack's folder."),
]
ANY_SEED = Between(0, 2**63 - 1)  # goes without saying in a help

Scale = Annotated[
    int | None,
    Parameter(
        help="Pixels of the picture or film for each pixel of an image, along each side (from 1 to 64). If left out, "
        "small images are brought to about 64 pixels."
    ),
]
Enlarge = Annotated[
    Literal["nearest", "smooth"], Parameter(help="Enlarge images by repeated pixels (nearest) or smoothly.")
]
ENLARGED = (".png", ".zip", ".gif", ".webp", ".mp4")
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(help="Where to compute.")]


def lines_of(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring above its sections, and what its "Args:" section says of each argument."""
    text = inspect.cleandoc(function.__doc__ or "")
    head = re.split(r"^(?:Args|Returns|Raises|Yields):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    head = "\n\n".join(" ".join(paragraph.split()) for paragraph in head.split("\n\n"))
    section = re.search(r"^Args:\n((?:^[ ]{4}.*\n?|^\s*\n)+)", text, re.MULTILINE)
    entries = re.split(r"^ {4}(?=\w+:)", section[1] if section else "", flags=re.MULTILINE)[1:]
    return head, {name: " ".join(line.split()) for name, _, line in (entry.partition(":") for entry in entries)}


def _members(hint: Any) -> list[Any]:
    """Return the members of a union, a lone type as one."""
    return list(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]


def _plain(hint: Any) -> tuple[Any, list[Any]]:
    """Return an annotation's type as the command line has it, and its metadata: ranges, and how it is written."""
    metadata: list[Any] = []
    members: list[Any] = []
    for member in _members(hint):
        if typing.get_origin(member) is Annotated:
            inner, *more = typing.get_args(member)
            metadata += more
            members += _members(inner)
        else:
            members.append(member)
    if any(isinstance(one, Written) for one in metadata):
        return (str | None if type(None) in members else str), metadata
    kept = [m for m in members if m is not Path and not isinstance(m, Unknown)]
    kept = [m for m in kept if typing.get_origin(m) not in (Sequence, Mapping)]
    if str in kept and any(m in (int, float) for m in kept):
        kept = [m for m in kept if m not in (int, float)]  # `label` and `image` are read as texts
    return typing.Union[tuple(kept or [str])], metadata  # noqa: UP007 - made at run time


def _flag(name: str, parameter: inspect.Parameter, hint: Any, line: str, declared: Declared) -> inspect.Parameter:
    """Return one argument of the function as a parameter of the verb."""
    kind, metadata = _plain(hint)
    default = declared.defaults.get(name, parameter.default)
    ranged = ", ".join(one.words for one in metadata if isinstance(one, Range) and one != ANY_SEED)
    line = declared.help.get(name, line)
    line = f"{line.rstrip('.')} ({ranged})." if ranged else line
    if isinstance(default, tuple | list | dict):
        default = ",".join(map(str, default))
    shown = default not in (inspect.Parameter.empty, None, "", False)
    about: dict[str, Any] = {"help": line, "show_default": shown, "allow_leading_hyphen": kind is not bool}
    if kind is bool:
        about["negative"] = None if default is True else ()
    flag = declared.flags.get(name)
    several = any(typing.get_origin(m) is Sequence for m in _members(hint))
    place: Any = inspect.Parameter.KEYWORD_ONLY
    if flag:
        about["name"] = flag
    elif parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        place = inspect.Parameter.VAR_POSITIONAL if several else inspect.Parameter.POSITIONAL_ONLY
    if several and place is inspect.Parameter.KEYWORD_ONLY:  # `--answers FILE FILE`
        kind, default = types.GenericAlias(tuple, (kind, ...)), default or ()
        about |= {"consume_multiple": True, "negative": ()}
    if kind is bool or several or place is not inspect.Parameter.KEYWORD_ONLY:
        about.pop("allow_leading_hyphen")
    return inspect.Parameter(
        name,
        place,
        default=default if place is not inspect.Parameter.VAR_POSITIONAL else inspect.Parameter.empty,
        annotation=Annotated[kind, Parameter(**about)],
    )


def command_for(function: Callable[..., Any]) -> Callable[..., Answer]:
    """Return the verb of a tool: a function whose signature is the command line. `tool` has marked it."""
    parameters = _parameters(function)
    positional = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY]
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    several = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), "")

    def command(*arguments: Any, talk: Talk, **given: Any) -> Answer:
        given = {**defaults, **given, **dict(zip(positional, arguments))}  # the parser leaves defaults out
        given.pop("json")
        if several:
            given[several] = arguments[len(positional) :]
        return _called(function, given, talk)

    command.__signature__ = inspect.Signature(parameters, return_annotation=Answer)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__, command.__doc__ = function.__name__, lines_of(function)[0]
    return command


def _called(function: Callable[..., Any], given: dict[str, Any], talk: Talk) -> Answer:
    """Check everything that can be checked, load the run, call the tool, and let its result show itself."""
    declared: Declared = function.declared  # type: ignore[attr-defined]
    takes = inspect.signature(function).parameters
    how: dict[str, Any] = {name: given.pop(name) for name in ("checkpoint", "raw", "device") if name in given}
    images = given.pop("data", None) if _has_images(function) else None
    scale, how_enlarged = (given.pop("scale"), given.pop("enlarge")) if _enlarges(function) else (None, "nearest")
    files = {name: given.pop(name) for name in declared.files}
    folder = given.pop("run", None) if declared.loads else None
    values = {name: _read(function, name, value) for name, value in given.items()}
    check_ranges(function, values)
    if declared.check is not None:
        declared.check(**values, **files, **({"run": folder} if "run" in takes and declared.loads else {}))
    paths = {name: check_file(name, path, declared.files[name]) for name, path in files.items() if path is not None}
    larger = enlargement(scale, how_enlarged, [path for name, path in paths.items() if declared.files[name].enlarges])
    run: Run | None = None
    own: dict[str, Any] = {name: paths.get(name) for name in declared.files if name in takes}
    if declared.loads:
        import morphospace as ms

        how |= {} if declared.devices else {"device": "cpu"}
        require(images is None or folder is not None or "runs" in takes, "data", images, "is of a run", "give the run")
        how |= {"say": talk.say} | ({} if images is None else {"data": images})
        run = None if folder is None else ms.load(folder, **how)
        if "runs" in takes:
            own["runs"] = [ms.load(one, **how) for one in values.pop("runs")]
        else:
            own["run"] = run
        for one in own.get("runs") or filter(None, [run]):
            if line := one.chosen_by_few(asked=how.get("checkpoint", "")):
                talk.say(line)
            if declared.moves and (line := one.moves_in_steps()):
                talk.say(line)
    own |= {"say": talk.say} if "say" in takes else {}
    own |= {"device": how.get("device", "auto")} if "device" in takes else {}
    asked = Asked(run, {**given, **files, "run": folder}, paths, bool(how.get("raw")))
    with larger:
        answer: Answer = function(**own, **values).show(asked)
    return answer


def _enlarges(function: Callable[..., Any]) -> bool:
    """Return whether the verb takes `--scale`; a tool may have an argument of that name itself."""
    declared: Declared = function.declared  # type: ignore[attr-defined]
    return (
        any(file.enlarges for file in declared.files.values()) and "scale" not in inspect.signature(function).parameters
    )


def enlargement(scale: int | None, how: Any, paths: Sequence[Path]) -> AbstractContextManager[None]:
    """Return the context in which pictures and films of images are drawn as `--scale` and `--enlarge` have it.

    Args:
        scale: Pixels for each pixel of an image.
        how: `nearest` or `smooth`.
        paths: The pictures and films that are written.

    Raises:
        SettingError: If the scale is out of range, or there is nothing to enlarge.
    """
    if scale is None and how == "nearest":
        return nullcontext()
    from morphospace.pictures.enlarge import Enlargement, enlarging

    Enlargement(scale, how)
    drawn = any(path.suffix.lower() in ENLARGED or not path.suffix for path in paths)
    name, value = ("enlarge", how) if scale is None else ("scale", scale)
    rule, way_out = "enlarges a picture or film, and none is written", "write a .png or a film, or leave it out"
    require(drawn, name, value, rule, way_out)
    return enlarging(scale, how)


def _has_images(function: Callable[..., Any]) -> bool:
    """Return whether the verb takes the run's images by `--data`; a tool may have an argument of that name itself."""
    declared: Declared = function.declared  # type: ignore[attr-defined]
    free = "data" not in inspect.signature(function).parameters or "data" in declared.hidden
    return declared.loads and declared.images and free


def _read(function: Callable[..., Any], name: str, value: Any) -> Any:
    """Return the value of an argument that is written as a text, such as `-3:3:7`; others as they are."""
    marks = marks_of(function, name, Written)
    return marks[0].read(value) if marks and isinstance(value, str) else value


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the verb's parameters in the order of its help: the run, the tool's own, where to load and how to say."""
    declared: Declared = function.declared  # type: ignore[attr-defined]
    takes, lines = inspect.signature(function).parameters, lines_of(function)[1]
    hints = {name: several[0] for name, several in types_of(function).items()}
    own = {*declared.hidden, *declared.files, "say", "device", *(["run"] if declared.loads else [])}
    flags = [_flag(name, p, hints[name], lines.get(name, ""), declared) for name, p in takes.items() if name not in own]
    by_kind = {kind: [p for p in flags if p.kind is kind] for kind in inspect._ParameterKind}
    first: list[inspect.Parameter] = []
    if declared.loads and "run" in takes:
        optional = type(None) in _members(hints["run"])
        about = Parameter(help=declared.help.get("run", "The run's folder."))
        hint: Any = Annotated[str | None if optional else str, about]
        default = None if optional else inspect.Parameter.empty
        first = [inspect.Parameter("run", inspect.Parameter.POSITIONAL_ONLY, default=default, annotation=hint)]
    last = [_keyword("scale", Scale, None), _keyword("enlarge", Enlarge, "nearest")] if _enlarges(function) else []
    last += [_keyword("checkpoint", Checkpoint, ""), _keyword("raw", Raw, False)] if declared.loads else []
    if _has_images(function):
        last.append(_keyword("data", Images, None))
    if declared.devices and (declared.loads or "device" in takes):
        last.append(_keyword("device", Device, "auto"))
    return [
        *first,
        *by_kind[inspect.Parameter.POSITIONAL_ONLY],
        *by_kind[inspect.Parameter.VAR_POSITIONAL],
        *(_file_flag(name, file) for name, file in declared.files.items()),
        *by_kind[inspect.Parameter.KEYWORD_ONLY],
        *last,
        _keyword("json", Json, False),
        _keyword("talk", Spoken),
    ]


def _keyword(name: str, hint: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _file_flag(name: str, file: File) -> inspect.Parameter:
    about = Parameter(help=file.help)
    if file.required:
        return _keyword(name, Annotated[str, about])
    return _keyword(name, Annotated[str | None, about], None)


def check_file(name: str, path: str, file: File) -> Path:
    """Return the path of a file to write, checked before any work is done."""
    place = file.path(name, path)
    check_parent(place, name)
    if file.check is not None:
        file.check(place)
    return place
