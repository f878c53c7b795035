"""The documentation as a site: whole, linked, closed to other hosts, searchable from a folder."""

from __future__ import annotations

import functools
import http.server
import posixpath
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import morphospace as ms
from morphospace.cli.app import DATA_VERBS, TOOLS, VERBS
from morphospace.zoo.settings import ZOO
from tests.studio.browser import CHROMIUM, QUIET, needed

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, with a stand-in for the page of simulations. A link to nowhere ends it here."""
    mkdocs = pytest.importorskip("mkdocs.config")
    from mkdocs.commands.build import build

    folder = tmp_path_factory.mktemp("site")
    (folder / "play.html").write_text("<title>a page</title>")
    config = mkdocs.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder / "site"), strict=True)
    config.extra["pages"] = str(folder)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder / "site"


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                (self.links if tag == "a" else self.loads).append(value)


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[str, Page]:
    return {str(file.relative_to(built)): Page(file) for file in built.rglob("*.html")}


def test_every_link_and_anchor_leads_somewhere(built: Path, pages: dict[str, Page]) -> None:
    wrong = []
    for name, page in pages.items():
        if name == "404.html":  # its links are from the root of a server
            continue
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme:
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
            there = name if not parts.path else path
            if not (built / there).is_file():
                wrong.append(f"{name}: {target}")
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
                wrong.append(f"{name}: {target}, no such anchor")
    assert not wrong


def test_nothing_is_loaded_from_another_host(pages: dict[str, Page]) -> None:
    loaded = {target for page in pages.values() for target in page.loads}
    assert not [target for target in loaded if urlsplit(target).scheme in ("http", "https") or target.startswith("//")]


def test_every_command_name_and_model_has_its_page(built: Path) -> None:
    commands = [*VERBS, *TOOLS, *(f"data-{verb}" for verb in DATA_VERBS)]
    wanted = {f"command/{verb}" for verb in commands} | {f"python/{name}" for name in ms.__all__}
    wanted |= {f"model/{name}" for name in ZOO}
    folder = built / "reference"
    assert {str(file.relative_to(folder))[:-5] for file in folder.rglob("*.html")} - {"index"} == wanted
    evaluate = (folder / "command/evaluate.html").read_text()
    assert (
        'id="metrics"' in evaluate
        and 'href="../python/evaluate.html"' in evaluate
        and "Default: <code>legacy" in evaluate
    )
    for name in ms.__all__:
        page = (folder / f"python/{name}.html").read_text()
        assert f'id="morphospace.{name}"' in page, name


def test_every_page_can_be_reached_from_the_first(pages: dict[str, Page]) -> None:
    reached, waiting = {"index.html"}, ["index.html"]
    while waiting:
        name = waiting.pop()
        for target in pages[name].links:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), urlsplit(target).path))
            if path in pages and path not in reached:
                reached.add(path)
                waiting.append(path)
    assert set(pages) - reached == {"404.html"}


# -- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(built: Path) -> Iterator[tuple[Any, list[str]]]:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the site is tested in it")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET).new_page()
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        page.on("pageerror", lambda error: asked.append(f"error: {error}"))
        yield page, asked


@pytest.mark.parametrize("served", [False, True], ids=["from a folder", "served"])
def test_the_search_finds_guides_lessons_and_reference(
    served: bool, built: Path, opened: tuple[Any, list[str]]
) -> None:
    page, asked = opened
    root = built.as_uri()
    if served:
        handler = functools.partial(Quiet, directory=str(built))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
    try:
        page.goto(f"{root}/models.html")
        page.wait_for_function("!document.querySelector('[data-md-component=search-query]').disabled")
        page.click("[data-md-component=search-query]")
        for words, wanted in [
            ("reparameterization trick", "learn/reparameterization.html?"),
            ("morpho reconstruct", "reference/command/reconstruct.html?"),
            ("posterior collapse", "glossary.html?"),
        ]:
            page.fill("[data-md-component=search-query]", "")
            page.locator("[data-md-component=search-query]").press_sequentially(words)  # it listens to keys
            page.wait_for_selector(f".md-search-result a[href*='{wanted}']", state="attached", timeout=30_000)
    finally:
        if served:
            server.shutdown()
    assert not [one for one in asked if not one.startswith((root, "data:", "blob:"))]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves without a word."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
