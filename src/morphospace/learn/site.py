"""The lessons as a site of plain files, which opens from a folder and which the studio serves."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from markupsafe import Markup

from morphospace.files import atomic, check_folder, writing
from morphospace.learn.chapter import Chapter, Writer, read_chapter, slug
from morphospace.pictures.diagram import described
from morphospace.pictures.pages import render
from morphospace.studio.bundle import script, source
from morphospace.studio.live.tapes import PREFIX, tapes
from morphospace.studio.play_page import page as play_page
from morphospace.tools.diagram import diagram

DOCS = files("morphospace.learn").joinpath("docs")
PLAY = "play.html#"  # address of the site's own page of all simulations
CONTENTS = "chapters.json"  # by which a folder is known to hold the lessons
POLICY = (
    "default-src 'none'; script-src 'self' file: 'wasm-unsafe-eval'; style-src 'self' file:; "
    "img-src 'self' file: data:; worker-src blob:; base-uri 'none'; form-action 'none'"
)


def chapters() -> list[Chapter]:
    """Return the chapters in order.

    Raises:
        SettingError: If something in one of them is wrong.
    """
    sources = [file for file in DOCS.joinpath("learn").iterdir() if file.name.endswith(".md")]
    read = [read_chapter(file.name[:-3], file.read_text(encoding="utf-8")) for file in sources]
    return sorted(read, key=lambda chapter: int(chapter.facts["number"]))


def glossary() -> str:
    """Return the glossary's Markdown, without the list of its sections and links to other guides."""
    text = DOCS.joinpath("glossary.md").read_text(encoding="utf-8")
    text = re.sub(r"^- \[.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]+)\]\((?!#|https:)[^)]*\)", r"\1", text)


def terms() -> dict[str, str]:
    """Return the words that the glossary explains, by their anchors."""
    return {title: slug(title) for title in re.findall(r"^### (.*)$", glossary(), re.MULTILINE)}


@cache
def site(home: str = "", play: str = PLAY) -> Mapping[str, bytes]:
    """Return the files of the site by name.

    Args:
        home: Address of the documentation that the site is part of, if it is.
        play: Address of a page of all simulations, up to what says which view; without one the site has its own.

    Raises:
        SettingError: If something in a chapter is wrong.
    """
    all_chapters = chapters()
    made: dict[str, bytes] = {}
    for number, chapter in enumerate(all_chapters):
        beside = {
            "before": all_chapters[number - 1] if number else None,
            "after": all_chapters[number + 1] if number + 1 < len(all_chapters) else None,
        }
        text = body(chapter, made)
        made[f"{chapter.name}.html"] = page("chapter", home=home, play=play, chapter=chapter, body=text, **beside)
    made["index.html"] = page("index", home=home, chapters=all_chapters)
    words = Chapter("glossary", {"title": "Glossary"}, glossary())
    alone = {"before": None, "after": None}
    made["glossary.html"] = page("chapter", home=home, play=play, chapter=words, body=body(words, made), **alone)
    made[CONTENTS] = json.dumps([contents(chapter) for chapter in all_chapters]).encode()
    made["play.js"] = simulations().encode()
    if play == PLAY:
        made[PLAY.removesuffix("#")] = play_page(beside=True).encode()
    made |= {f"{PREFIX}{name}.js": text.encode() for name, text in tapes().items()}
    own = files("morphospace.learn")
    made["learn.js"] = own.joinpath("learn.js").read_bytes()
    look = source("style.css") + source("play/style.css") + own.joinpath("learn.css").read_text(encoding="utf-8")
    made["learn.css"] = look.encode()
    return made


def studio_site() -> Mapping[str, bytes]:
    """Return the site as the studio serves it: its simulations lead to the studio's own room."""
    return site(play="../#room=play&")


def simulations() -> str:
    """Return the script that mounts a lesson's simulations; the code of their worker stands in it as a text."""
    worker = json.dumps(script("play/worker.js"))
    element = 'Object.assign(document.createElement("script"), { type: "text/plain", id: "play-worker" })'
    return (
        f"{{\nconst worker = {element};\nworker.textContent = {worker};\ndocument.body.append(worker);\n}}\n"
        + script("play/lesson.js")
    )


def contents(chapter: Chapter) -> dict[str, Any]:
    """Return what a list of the chapters says of one."""
    questions = [question.name for question in chapter.questions]
    return {"name": chapter.name, "questions": questions, **chapter.facts}


def body(chapter: Chapter, made: dict[str, bytes]) -> str:
    """Return a chapter's text as HTML; its pictures and diagrams are added to the site."""

    def model(said: Mapping[str, str]) -> str:
        settings = {name: typed(value) for name, value in said.items() if name not in ("model", "size", "channels")}
        channels: Literal[1, 3] = 1 if said.get("channels") == "1" else 3
        drawn = diagram(said["model"], size=said.get("size", "64"), channels=channels, settings=settings)
        name = f"{chapter.name}-{slug(said['model'])}-{said.get('size', '64')}.svg"
        made[name] = drawn.svg.encode()
        alt = f"Diagram of {drawn.title}; in words below"
        picture = f'<div class="scroll" tabindex="0"><img src="{name}" alt="{escape(alt)}" width="900"></div>'
        words = escape(described(drawn.anatomy))
        words = f"<details><summary>The diagram in words</summary><p>{words}</p></details>"
        return f'<figure class="model">{picture}{words}</figure>\n'

    def link(target: str) -> str:
        if "://" in target or target.startswith("#") or target.startswith("glossary.html#"):
            return target
        path, _, anchor = target.partition("#")
        place = PurePosixPath(path)
        if place.suffix == ".md" and (place.name == "glossary.md" or str(place.parent) == "."):
            return f"{place.stem}.html{f'#{anchor}' * bool(anchor)}"
        if place.parent.name == "images":
            made[place.name] = DOCS.joinpath("images", place.name).read_bytes()
            return place.name
        raise chapter.wrong(target, "leads out of the lessons; link a chapter, the glossary or an address")

    own = {} if chapter.name == "glossary" else terms()
    return Writer(chapter, own, model, link).html(chapter.source)


def typed(text: str) -> Any:
    """Return a setting's value as Python writes it, or else as text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def page(template: str, body: str = "", **values: Any) -> bytes:
    """Return a page of the site."""
    text = Markup(body)  # made here, from texts of this package
    return render(f"learn/{template}.html", policy=POLICY, body=text, **values).encode()


def write_site(out: Path) -> Mapping[str, bytes]:
    """Write the site into a folder that is new, empty or holds it already, and return its files.

    Raises:
        SettingError: If the folder holds something else.
    """
    check_folder(str(out), holds=CONTENTS, what="site of lessons")
    made = site()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        with atomic(out / name) as partial:
            partial.write_bytes(content)
    return made
