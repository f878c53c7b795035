"""What the command line says, and where: answers and progress, as text, as tables or as one JSON object."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from morphospace.errors import sayable
from morphospace.files import json_text
from morphospace.tools.tool import Answer as Answer
from morphospace.tools.tool import Table as Table

if TYPE_CHECKING:
    from morphospace.tools.train.progress import Bar

OTHERS_WAIT = 10.0  # seconds


class Talk:
    """Speaks to the user; under `--json` everything but the one object goes to standard error.

    Args:
        as_json: Whether standard output is for one JSON object only.
        quiet: Whether to say nothing at all, as all but the first of several processes.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet

    @property
    def stream(self) -> TextIO:
        """Where words go."""
        return sys.stderr if self.as_json else sys.stdout

    @property
    def on_terminal(self) -> bool:
        """Whether a person watches."""
        return not self.quiet and self.stream.isatty()

    def bar(self) -> Bar | None:
        """Return a bar for long work; None where plain lines say it."""
        from morphospace.tools.train.progress import TerminalBar

        return TerminalBar(self.stream) if self.on_terminal else None

    def say(self, line: str) -> None:
        """Say a line."""
        if not self.quiet:
            print(sayable(line, self.stream), file=self.stream, flush=True)

    def answer(self, answer: Answer) -> int:
        """Give a verb's answer; returns the exit status."""
        if self.quiet:
            return answer.code
        if self.as_json:
            print(json_text(dict(answer.data)), flush=True)
            return answer.code
        if answer.table is not None:
            self._show(answer.table)
        for line in answer.lines:
            self.say(line)
        return answer.code

    def fail(self, message: str) -> int:
        """Say why nothing came of it, in one line; returns the exit status.

        Of several processes, the first says it: it fails too as a rule, and its launcher then ends the others while
        they wait.
        """
        if self.quiet:
            time.sleep(OTHERS_WAIT)
        line = " ".join(message.split())
        if self.as_json and not self.quiet:
            print(json_text({"error": line}), flush=True)
        print(sayable(f"error: {line}", sys.stderr), file=sys.stderr, flush=True)
        return 2

    def _show(self, table: Table) -> None:
        if not (table.rows and self.on_terminal):
            for line in table.plain():
                self.say(line)
            return
        from rich import box
        from rich.console import Console
        from rich.table import Column
        from rich.table import Table as RichTable
        from rich.text import Text

        def cells(texts: Sequence[str]) -> list[Text]:
            return [Text(sayable(text, self.stream)) for text in texts]

        drawn = RichTable(*(Column(name) for name in cells(table.columns)), box=box.SIMPLE_HEAD, pad_edge=False)
        for row in table.rows:
            drawn.add_row(*cells(row))
        Console(file=self.stream).print(drawn)


Spoken = Annotated[Talk, Parameter(parse=False)]
"""A verb's parameter that is handed over by `main`, not read from the command line."""
