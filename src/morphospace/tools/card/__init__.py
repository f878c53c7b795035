"""Model cards: describe a run for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from morphospace.files import write_text
from morphospace.tools.tool import Answer, Asked, Displayable, File, tool

if TYPE_CHECKING:
    from morphospace.runs.run import Run

MARKDOWN = File((".md",), "The Markdown file to write; printed if left out.")


class Card(str, Displayable):
    """The text of a model card."""

    def show(self, asked: Asked) -> Answer:
        """Return the text, or where it was written."""
        assert asked.run is not None
        out = asked.files.get("out")
        data = {"out": out and str(out), "run": str(asked.run.path), "images": asked.run.images, "card": str(self)}
        return Answer(data, [f"card {out}"] if out else self.splitlines())

    def markdown(self) -> str:
        """Return the text without the header that Hugging Face reads."""
        return self.partition("---\n")[2].partition("---\n")[2]


@tool(files={"out": MARKDOWN}, devices=False, images=False)
def card(run: Run | str | Path, out: str | Path | None = None) -> Card:
    """Describe a run as a model card: data and their terms, settings, numbers, use and limits.

    The card is Markdown with the header that Hugging Face reads. Beside it stands a diagram of the networks, an SVG
    named after it, that the card shows. It says what the data are and their terms, which
    settings differ from the defaults, how many parameters there are, how long training took, the last numbers of the
    run's history, what the model is for and what not, and how to load it. Where the run's folder holds an
    `evaluation.json`, the card has its numbers too.

    Args:
        run: A loaded run or its folder.
        out: File to write it to; `.md`.

    Raises:
        SettingError: If `out` is a folder or no Markdown file.
        RunError: If the run's evaluation cannot be read.
    """
    path = None if out is None else MARKDOWN.path("out", out)
    from morphospace.runs.run import loaded
    from morphospace.tools.card.facts import card_text, facts_of
    from morphospace.tools.diagram import diagram

    drawn = diagram(loaded(run))
    picture = None if path is None else path.with_name(f"{path.stem}-diagram.svg")
    text = Card(card_text(facts_of(loaded(run), drawn.anatomy, picture.name if picture else "")))
    if path is not None and picture is not None:
        write_text(picture, drawn.svg)
        write_text(path, text)
    return text
