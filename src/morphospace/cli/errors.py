"""The command line's own errors in the house's words: one line with the flag, its value, the rule, the way out."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal, get_args, get_origin

from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from morphospace.errors import nearest
from morphospace.records import documentation
from morphospace.runs.configuration import flag_for
from morphospace.zoo.settings import ZOO

OF_A_MODEL = ("train", "sweep")


def explain(error: CycloptsError, verbs: Sequence[str], words: Sequence[str]) -> str:
    """Return what is wrong with a command line."""
    chain = " ".join(error.command_chain or ())
    if chain in OF_A_MODEL and words[1:2] and words[1] in ZOO:
        chain = f"{chain} {words[1]}"
    way_out = f"see `morpho {f'{chain} ' if chain else ''}--help`"
    if isinstance(error, UnknownOptionError):
        return f"{_unknown_option(error)}; {way_out}"
    if isinstance(error, UnknownCommandError):
        word = (error.unused_tokens or ["?"])[0]
        return f"{word!r}: no such command{nearest(word, verbs)}; {way_out}"
    if isinstance(error, UnusedCliTokensError):
        return f"{(error.unused_tokens or ['?'])[0]!r}: one argument too many; {way_out}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.keyword or error.argument.name
        given = any(token.keyword for token in error.argument.tokens) or error.keyword
        return f"{name}: {'needs a value' if given else 'must be given'}; {way_out}"
    if isinstance(error, RepeatArgumentError) and error.token.keyword:
        return f"{error.token.keyword}: given twice; {way_out}"
    if isinstance(error, CoercionError) and error.token is not None:
        return f"{_unconvertible(error)}; {way_out}"
    error.verbose = False
    return f"{str(error).rstrip('.')}; {way_out}"


def _unknown_option(error: UnknownOptionError) -> str:
    word = (error.token.keyword or error.token.value).partition("=")[0]
    known = [name for argument in error.argument_collection if argument.parse for name in argument.names]
    owners = [name for name, cls in ZOO.loaded.items() if word in map(flag_for, documentation(cls))]
    close = difflib.get_close_matches(word, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    if owners and (error.command_chain or [""])[0] in OF_A_MODEL:
        hint = f" (it is one of {', '.join(owners)}){hint}"
    return f"{word}: no such option{hint}"


def _unconvertible(error: CoercionError) -> str:
    token, argument = error.token, error.argument
    assert token is not None
    name = token.keyword or (argument.name.lstrip("-").upper() if argument is not None else "argument")
    if error.msg is not None:
        return f"{name} = {token.value!r}: {error.msg}"
    options = [str(option) for option in get_args(error.target_type)]
    if get_origin(error.target_type) is Literal:
        close = difflib.get_close_matches(token.value, options, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"{name} = {token.value!r}: must be one of {', '.join(options)}{hint}"
    kinds = {int: "a whole number", float: "a number", bool: "yes or no"}
    wanted = kinds.get(error.target_type, getattr(error.target_type, "__name__", "another type"))  # type: ignore[arg-type]
    return f"{name} = {token.value!r}: must be {wanted}"
