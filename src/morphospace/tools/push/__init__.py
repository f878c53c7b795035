"""Push a run to the Hugging Face Hub: weights, settings, card and page, and no image of its data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from morphospace.errors import require
from morphospace.ranges import check_ranges
from morphospace.tools.tool import Answer, Asked, Displayable, Summary, tool

if TYPE_CHECKING:
    from morphospace.runs.run import Run

Page = Literal["auto", "always", "never"]
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
MAIN = "main"


@dataclass(frozen=True)
class Pushed(Displayable):
    """What was pushed, or would be.

    Attributes:
        repo: OWNER/NAME.
        files: Their sizes in bytes, by name.
        changed: What became of each file that is not as it was: `added`, `changed` or `removed`.
        url: Address of the commit; empty if there was nothing to change, or nothing was sent.
        private: Whether the repository is private.
        sent: Whether anything was sent.
        notes: What else is to be said.
        dry_run: Whether nothing was to be sent.
    """

    repo: str
    files: Mapping[str, int]
    changed: Mapping[str, str]
    url: str
    private: bool
    sent: bool
    notes: tuple[str, ...] = ()
    dry_run: bool = False

    def summary(self) -> Summary:
        """Return the files, what changed, and how to load the run elsewhere."""
        kind = "private" if self.private else "public"
        width = max(map(len, self.files))
        listed = [
            f"  {name:{width}}  {size / 1e3:10,.1f} kB  {self.changed.get(name, '')}".rstrip()
            for name, size in self.files.items()
        ]
        total = f"{sum(self.files.values()) / 1e6:.1f} MB in {len(self.files)} files"
        if self.dry_run:
            first = f"would push {total} to {self.repo}, {kind} if it is new; nothing was sent"
            return Summary([first, *listed, *self.notes])
        if not self.sent:
            return Summary([f"nothing has changed in {self.repo} ({kind})", *self.notes])
        gone = [f"  {name:{width}}  {'':13}  removed" for name, what in self.changed.items() if what == "removed"]
        lines = [f"pushed to {self.repo} ({kind}): {self.url}", *listed, *gone, *self.notes]
        return Summary([*lines, f"load it with ms.load('hub:{self.repo}'), or give any command hub:{self.repo}"])

    def show(self, asked: Asked) -> Answer:
        """Return the same, and all of it as data."""
        facts = {**asked.facts, "repo": self.repo, "private": self.private, "sent": self.sent, "url": self.url or None}
        data = {**facts, "files": dict(self.files), "changed": dict(self.changed), "notes": list(self.notes)}
        return Answer(data, self.summary().lines)


def check_push(repo: str, **others: Any) -> None:
    """Refuse a name that no repository can have.

    Raises:
        SettingError: If it is not OWNER/NAME.
    """
    plain = repo.removeprefix("hub:")
    fits = NAME.fullmatch(plain) is not None and not re.search(r"--|\.\.|[.-](/|$)", plain) and len(plain) <= 96
    rule = "must be OWNER/NAME, of letters, digits, '-', '_' and '.'"
    require(fits, "repo", repo, rule, "give for instance anna/faces")


@tool(check=check_push, devices=False)
def push(
    run: Run | str | Path,
    repo: str,
    *,
    public: bool = False,
    dry_run: bool = False,
    message: str = "",
    revision: str = MAIN,
    page: Page = "auto",
    say: Callable[[str], None] | None = None,
) -> Pushed:
    """Push a run to the Hugging Face Hub: weights, settings, model card and a page; never an image of its data.

    What is pushed is safetensors and JSON, a README with the model card and its diagram, and the page of `export`
    without pictures of the data. No folder, host or user of this machine is in it. Whoever may read the repository
    loads the run as `hub:OWNER/NAME`. Log in first, with `hf auth login`. Pushing again makes a new commit of what has
    changed.

    Args:
        run: A loaded run or its folder.
        repo: OWNER/NAME on the Hub; it is made if it is not there, private.
        public: Make a new repository public, and push to one that is.
        dry_run: Print the files and their sizes, and send nothing.
        message: Message of the commit.
        revision: Branch to push to; it is made if it is not there.
        page: Whether the page is pushed too: `auto` if the terms of the data's source allow to show them, `always` or
            `never`.
        say: Takes a line for the user.

    Raises:
        SettingError: If the name is no OWNER/NAME.
        RunError: If the run cannot be loaded without its code, or the Hub refuses it.
        MissingExtra: If the Hub's client is not installed.
    """
    check_ranges(push, locals())
    check_push(repo)
    from morphospace.runs.run import loaded
    from morphospace.tools.push.send import pushed

    how: dict[str, Any] = {"public": public, "dry_run": dry_run, "message": message, "revision": revision, "page": page}
    return pushed(loaded(run), repo.removeprefix("hub:"), say=say or (lambda line: None), **how)
