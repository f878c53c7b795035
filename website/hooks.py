"""What the site has beside docs/: the README and the examples, the lessons, the exported pages, and the reference.

mkdocs calls the functions `on_...`. Nothing of the reference is written by hand: the pages of the commands hold what
`--help` shows, those of Python the signatures and docstrings, those of the models the fields of their settings.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from inspect import cleandoc, getdoc
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from rich.console import Console

import morphospace as ms
from morphospace.cli.app import DATA_VERBS, PURPOSES, TOOLS, VERBS, build
from morphospace.cli.flags import flags_of
from morphospace.learn.site import chapters, site
from morphospace.zoo.settings import ZOO

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
# Files that are pages of the site and do not stand in docs/.
BESIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# The lessons, whose links lead to the site's other pages.
lessons = partial(site, home="../index.html", play="../pages/play.html#")
# What a guide is about, and opens.
OPENS = {
    "learn.md": ("learn/index.html", "Open the lessons"),
    "play.md": ("pages/play.html", "Open the simulations"),
    "share.md": ("exported/faces.html", "Open a page of drawn faces"),
}
CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"""(?P<before>\]\(|\b(?:src|href)=")(?P<target>[^)"#\s]+)(?P<anchor>#[^)"\s]*)?(?P<after>[)"])""")


# -- events of mkdocs --------------------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference into the navigation, and pages that it does not name after the guides."""
    assert config.nav is not None
    named = str(config.nav)
    others = [guide.name for guide in sorted((ROOT / "docs").glob("*.md")) if f"'{guide.name}'" not in named]
    next(section["Guides"] for section in config.nav if "Guides" in section).extend(others)
    sections: list[Any] = [
        "reference/index.md",
        {"Commands": [{f"morpho {verb}": command_uri(verb)} for _, verbs in purposes() for verb in verbs]},
        {"Python": [{f"ms.{name}": name_uri(name)} for name in ms.__all__]},
        {"Models": [{name: model_uri(name)} for name in ZOO]},
        {"Examples": [{title: uri} for title, uri, _ in examples()]},
    ]
    config.nav.insert(-1, {"Reference": sections})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page that is made, or stands elsewhere."""
    made: dict[str, str | bytes] = {f"learn/{name}": text for name, text in lessons().items()}
    made |= {uri: relinked((ROOT / place).read_text(encoding="utf-8"), place, uri) for place, uri in BESIDE.items()}
    made["index.md"] = f"---\nhide: [navigation]\n---\n{made['index.md']!s}"
    made |= {uri: text for _, uri, text in examples()}
    made |= linked_files()
    made |= reference()
    made |= {name: (HERE / name).read_bytes() for name in ("frame-worker.js", "site.css")}
    kept = {f"exported/{page.name}": page for page in sorted((ROOT / "docs/exported").glob("*.html"))}
    built = {f"pages/{page.name}": page for page in sorted((ROOT / config.extra["pages"]).glob("*.html"))}
    built = {uri: page for uri, page in built.items() if f"exported/{page.name}" not in kept}
    made |= {uri: page.read_bytes() for uri, page in built.items()}
    listed = [(page.stem, uri, page.stat().st_size / 1e6) for uri, page in (kept | built).items()]
    made["pages.md"] = rendered("pages.md", pages=listed)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a guide to pages of the site, and those of a command's name to its reference."""
    uri = page.file.src_uri
    if page.file.generated_by is None:
        markdown = relinked(markdown, f"docs/{uri}", uri)
    if not uri.startswith("reference/"):
        markdown = outside_code(markdown, lambda text: linked_commands(text, uri))
    opened, words = OPENS.get(uri, ("", ""))
    if opened and files.get_file_from_path(opened):
        head, _, rest = markdown.partition("\n")
        markdown = f"{head}\n\n[{words}]({opened}){{ .md-button .md-button--primary .open }}\n{rest}"
    return markdown


@event_priority(50)  # before the index is written
def on_post_build(config: MkDocsConfig) -> None:
    """Let the search find the lessons too, and write its index as a script, for pages that are opened from a folder."""
    index = next(plugin.search_index for plugin in config.plugins.values() if hasattr(plugin, "search_index"))
    index.entries += sections_of_lessons()
    script = Path(config.site_dir) / "search" / "search_index.js"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"var __index = {index.generate_search_index(None)}", encoding="utf-8")


# -- links -------------------------------------------------------------------------------------------------------


def address(place: str) -> str | None:
    """Return the page or file of the site that a file of the repository is; None if the site does not have it."""
    if place in BESIDE:
        return BESIDE[place]
    if place.startswith("docs/learn/") and place.endswith(".md"):
        return f"learn/{Path(place).stem}.html"
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    for title, uri, _ in examples():
        if place in (title, f"{title}/README.md"):
            return uri
    return f"files/{place}{'' if Path(place).suffix else '.txt'}" if (ROOT / place).is_file() else None


def linked_files() -> dict[str, bytes]:
    """Return the other files of the repository that a page links to, such as the licence."""
    found = {}
    for place in [*BESIDE, *(f"docs/{guide.name}" for guide in (ROOT / "docs").glob("*.md"))]:
        for link in LINK.finditer((ROOT / place).read_text(encoding="utf-8")):
            there = posixpath.normpath(posixpath.join(posixpath.dirname(place), link["target"]))
            uri = address(there) or ""
            if uri.startswith("files/"):
                found[uri] = (ROOT / there).read_bytes()
    return found


def outside_code(markdown: str, change: Any) -> str:
    """Return Markdown with everything but its blocks of code changed."""
    parts = CODE.split(markdown)
    parts[::2] = [change(part) for part in parts[::2]]
    return "".join(parts)


def relinked(markdown: str, place: str, uri: str) -> str:
    """Return the Markdown of a file of the repository with links that hold on its page of the site."""

    def moved(found: re.Match[str]) -> str:
        target = found["target"]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        there = address(posixpath.normpath(posixpath.join(posixpath.dirname(place), target)))
        if there is None:
            return found[0]  # mkdocs says that it leads nowhere
        path = posixpath.relpath(there, posixpath.dirname(uri) or ".")
        return f"{found['before']}{path}{found['anchor'] or ''}{found['after']}"

    return outside_code(markdown, lambda text: LINK.sub(moved, text))


def linked_commands(markdown: str, uri: str) -> str:
    """Return Markdown in which the name of a command, `morpho sample`, is a link."""

    def linked(found: re.Match[str]) -> str:
        if found["verb"] not in commands():
            return found[0]
        return f"[{found[0]}]({posixpath.relpath(command_uri(found['verb']), posixpath.dirname(uri) or '.')})"

    return re.sub(r"(?<!\[)`morpho (?P<verb>[a-z-]+(?: [a-z]+)?)`(?!\])", linked, markdown)


def sections_of_lessons() -> Iterator[dict[str, str]]:
    """Yield what the search index has of each section of the lessons."""
    for chapter in chapters():
        name, title = chapter.name, chapter.facts["title"]
        text = lessons()[f"{name}.html"].decode()
        body = re.sub(r"<(math|script|style)\b.*?</\1>|<header>.*?</header>", " ", text, flags=re.DOTALL)
        _, *parts = re.split(r'<h([12])(?: id="([^"]*)")?[^>]*>(.*?)</h[12]>', body, flags=re.DOTALL)
        for level, anchor, heading, content in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4]):
            words = " ".join(Markup(content).striptags().split())
            anchor, shown = ("", title) if level == "1" else (anchor, Markup(heading).striptags())
            yield {
                "location": f"learn/{name}.html{f'#{anchor}' if anchor else ''}",
                "title": shown,
                "text": escape(words),
            }


# -- the reference -----------------------------------------------------------------------------------------------


def command_uri(verb: str) -> str:
    """Return the page of a command, `data list` for instance."""
    return f"reference/command/{verb.replace(' ', '-')}.md"


def name_uri(name: str) -> str:
    """Return the page of a public name."""
    return f"reference/python/{name}.md"


def model_uri(name: str) -> str:
    """Return the page of a model."""
    return f"reference/model/{name}.md"


@cache
def commands() -> Mapping[str, tuple[str, str]]:
    """Return where each command is declared, and its line in the help."""
    tools = {verb: (f"tools.{home}", line) for verb, (home, line) in TOOLS.items()}
    data = {f"data {verb}": (f"cli.{home}", line) for verb, (home, line) in DATA_VERBS.items()}
    return {**{verb: (f"cli.{home}", line) for verb, (home, line) in VERBS.items()}, **tools, **data}


def purposes() -> Iterator[tuple[str, list[str]]]:
    """Yield the commands by purpose, in the order of the help."""
    for purpose, verbs in PURPOSES.items():
        data = [verb for verb in commands() if verb.startswith("data ")]
        yield purpose, [one for verb in verbs for one in (data if verb == "data" else [verb])]


def names_of(verb: str) -> list[str]:
    """Return the public names that do in Python what a command does: its own, or else those of its module."""
    own, home = verb.replace("-", "_"), commands()[verb][0].partition(":")[0]
    beside = [name for name, place in ms._HOMES.items() if place == home and name[0].islower()]
    return [own] if own in ms.__all__ else beside


def guides_of(pattern: str) -> list[tuple[str, str]]:
    """Return title and page of the guides in which a pattern is found."""
    found = []
    for guide in sorted((ROOT / "docs").glob("*.md")):
        text = guide.read_text(encoding="utf-8")
        if re.search(pattern, text, re.MULTILINE):
            found.append((text.partition("\n")[0].lstrip("# "), guide.name))
    return found


@dataclass
class Help:
    """What a command's `--help` prints. The command line hands it over as to a formatter.

    Attributes:
        usage: How it is called.
        about: What it does.
        panels: The arguments under their headings.
    """

    usage: str = ""
    about: str = ""
    panels: dict[str, list[Any]] = field(default_factory=dict)

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        """Take the arguments under one heading."""
        entries = [entry for entry in panel.entries if not {"--help", "--version"} & set(entry.names)]
        if entries:
            self.panels.setdefault(str(panel.title), []).extend(entries)

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        """Take the line of usage."""
        self.usage = plain(usage).removeprefix("Usage: ").strip()

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """Take the text."""
        self.about = plain(description).strip()


def plain(text: Any) -> str:
    """Return a text of the help without its styles."""
    console = Console(file=io.StringIO(), width=10_000, color_system=None)
    console.print(text, end="", soft_wrap=True, markup=False)
    return " ".join(console.file.getvalue().split(" ")).rstrip()  # type: ignore[attr-defined]


def help_of(*words: str) -> Help:
    """Return the help of a command, as `morpho WORDS --help` has it."""
    app, taken = build(words), Help()
    app.help_formatter = taken
    app.help_print(list(words), console=Console(file=io.StringIO()))
    return taken


def settings_of(cls: type) -> list[dict[str, str]]:
    """Return the fields of a settings class: name, and help with default and range."""
    return [{"name": one.name, "help": str(one.annotation.__metadata__[0].help)} for one in flags_of(cls)]


def first_line(thing: object) -> str:
    """Return the first line of a docstring."""
    return (getdoc(thing) or "").partition("\n")[0]


@cache
def examples() -> Sequence[tuple[str, str, str]]:
    """Return each example's place, its page and the page's text."""
    made = []
    for place in sorted((ROOT / "examples").iterdir()):
        title, uri = f"examples/{place.name}", f"examples/{place.stem}.md"
        if place.suffix == ".py":
            made.append((title, uri, f"# {place.name}\n\n{fenced(place)}"))
        elif place.suffix == ".ipynb":
            made.append((title, uri, cells_of(place)))
        elif (place / "README.md").is_file():
            files = [file for file in sorted(place.rglob("*")) if file.suffix in (".py", ".toml")]
            listed = [f"## `{file.relative_to(place)}`\n\n{fenced(file)}" for file in files]
            text = (place / "README.md").read_text(encoding="utf-8")
            made.append((title, uri, "\n\n".join([text, *listed])))
    return made


def cells_of(notebook: Path) -> str:
    """Return the texts and the code of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in cells]
    return "\n\n".join(f"```python\n{text}\n```" if is_code else text for text, is_code in texts)


def fenced(file: Path) -> str:
    """Return a file as a block of code."""
    language = {".py": "python", ".toml": "toml"}[file.suffix]
    return f"```{language}\n{file.read_text(encoding='utf-8').rstrip()}\n```\n"


def reference() -> dict[str, str]:
    """Return the pages of the reference."""
    made = {"reference/index.md": rendered("reference.md", **contents())}
    for verb, (_, line) in commands().items():
        names = names_of(verb)
        guides = guides_of(rf"\bmorpho {verb}\b")
        models = list(ZOO) if verb in ("train", "sweep", "benchmark") else []
        values = {"verb": verb, "line": line, "help": help_of(*verb.split()), "names": names, "guides": guides}
        made[command_uri(verb)] = rendered("command.md", **values, models=models)
    for name in ms.__all__:
        value = getattr(ms, name)
        verbs = [verb for verb in commands() if name in names_of(verb)]
        fields = settings_of(value) if isinstance(value, type) and name.endswith("Settings") else []
        guides = guides_of(rf"\bms\.{name}\b")
        made[name_uri(name)] = rendered("name.md", name=name, verbs=verbs, guides=guides, fields=fields)
    for name, cls in ZOO.items():
        about = cleandoc(cls.__doc__ or "").partition("\n\n")[0]
        own = help_of("train", name).panels["Model"]
        made[model_uri(name)] = rendered("model.md", name=name, about=about, paper=cls.paper, entries=own)
    return made


def contents() -> dict[str, Any]:
    """Return what the first page of the reference lists."""
    return {
        "purposes": [(purpose, [(verb, commands()[verb][1]) for verb in verbs]) for purpose, verbs in purposes()],
        "functions": [(name, first_line(getattr(ms, name))) for name in ms.__all__ if name[0].islower()],
        "classes": [(name, first_line(getattr(ms, name))) for name in ms.__all__ if name[0].isupper()],
        "models": [(name, first_line(cls), cls.paper) for name, cls in ZOO.items()],
        "examples": [(title, posixpath.relpath(uri, "reference")) for title, uri, _ in examples()],
    }


# -- templates ---------------------------------------------------------------------------------------------------


@cache
def environment() -> Environment:
    """Return the templates beside this file, which escape all values."""
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["code"] = lambda text: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
    made.filters["plain"] = plain
    made.globals["command_uri"] = command_uri
    return made


def rendered(template: str, **values: Any) -> str:
    """Fill in a template."""
    return environment().get_template(template).render(values)
