"""The site: small, closed, linked, accessible; progress that survives what may happen to it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from morphospace.cli import main
from morphospace.learn.site import CONTENTS, chapters, site
from tests.studio.browser import AXE, CHROMIUM, FIREFOX, QUIET, needed
from tests.studio.firefox import started

KEY = "morphospace/learn"
CHAPTER = "gan"


def test_it_is_small_and_every_link_leads_somewhere() -> None:
    made = site()
    assert sum(map(len, made.values())) < 2_000_000
    pages = {name: text.decode() for name, text in made.items() if name.endswith(".html") and name != "play.html"}
    assert set(pages) == {"index.html", "glossary.html", *(f"{chapter.name}.html" for chapter in chapters())}
    for name, text in pages.items():
        assert len(text) < 150_000
        for target in re.findall(r'(?:href|src)="([^"]+)"', text):
            if target == "data:,":  # no icon is asked for
                continue
            path, _, anchor = target.partition("#")
            assert path in made or not path, f"{name}: {target}"
            where = pages.get(path or name, "")
            assert not anchor or f'id="{anchor}"' in where, f"{name}: {target}"
        assert "<script>" not in text and " style=" not in text and "unsafe-inline" not in text


def test_the_verb_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lessons"
    for _ in range(2):  # again: it is ours
        assert main(["learn", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sorted(file.name for file in out.iterdir()) == told["files"]
    assert len(json.loads((out / CONTENTS).read_text())) == len(chapters())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    assert main(["learn", "--out", str(tmp_path / "other")]) == 2
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["mine.txt"]


# -- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the lessons are tested in it")
    out = tmp_path_factory.mktemp("site")
    for name, content in site().items():
        (out / name).write_bytes(content)
    return out


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = browser.new_context(**getattr(request, "param", {}))
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request", lambda one: wrong.append(one.url) if not one.url.startswith(("file:", "blob:", "data:")) else None
    )
    yield opened
    assert not wrong
    context.close()


def opened(page: Any, folder: Path, name: str = CHAPTER) -> Any:
    page.goto((folder / f"{name}.html").as_uri())
    return page


def kept(page: Any) -> dict[str, Any]:
    return json.loads(page.evaluate(f"localStorage.getItem({KEY!r})"))  # type: ignore[no-any-return]


def until(page: Any, expression: str) -> None:
    """Wait until something is so; asked from outside, as the page's own policy forbids to evaluate texts."""
    end = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def choose(page: Any, name: str, number: int) -> Any:
    form = page.locator(f'form[data-name="{name}"]')
    form.locator("input").nth(number).check()
    return form


def test_answers_explain_themselves_and_survive_a_reload(page: Any, folder: Path) -> None:
    opened(page, folder)
    questions = next(chapter for chapter in chapters() if chapter.name == CHAPTER).questions
    for question in questions:
        right = [option.right for option in question.options].index(True)
        form = choose(page, question.name, (right + 1) % len(question.options))
        assert form.get_attribute("data-state") == "wrong" and form.locator(".why:visible").count() == 1
        form = choose(page, question.name, right)
        assert form.get_attribute("data-state") == "right" and form.locator(".why:visible").count() == 1
    assert kept(page)["answers"][questions[0].name]["tries"] == 2
    assert f"{len(questions)} of {len(questions)}" in page.inner_text("p.score")
    page.reload()
    assert page.locator('form.quiz[data-state="right"]').count() == len(questions)
    opened(page, folder, "index")
    assert f"{len(questions)} of {len(questions)} answered right" in page.inner_text(".chapters")


def test_a_prediction_is_quoted_after_its_simulation(page: Any, folder: Path) -> None:
    opened(page, folder)
    assert page.locator(".quoted:visible").count() == page.locator(".sentence:visible").count() == 0
    choose(page, f"{CHAPTER}/predict/end", 0)
    assert page.locator(".quoted:visible").inner_text() == "You predicted: Real for every image"
    assert page.locator(".sentence:visible").count() == 1
    page.reload()
    assert page.locator(".quoted:visible").count() == 1


@pytest.mark.parametrize("content", ["{", "[]", '"x"', '{"version": "1"}', "null", '{"answers": {}}'])
def test_a_corrupted_store_begins_anew_and_says_so(page: Any, folder: Path, content: str) -> None:
    opened(page, folder)
    page.evaluate(f"localStorage.setItem({KEY!r}, {content!r})")
    page.reload()
    assert "could not be read" in page.inner_text("#status")
    assert page.evaluate(f"localStorage.getItem('{KEY}/unreadable')") == content
    choose(page, f"{CHAPTER}/quiz/half", 0)
    assert kept(page)["version"] == 1


def test_odd_entries_are_left_out_and_a_newer_store_is_not_touched(page: Any, folder: Path) -> None:
    opened(page, folder)
    name = f"{CHAPTER}/quiz/half"
    odd = {"version": 1, "answers": {name: {"first": 3}, "x": None}, "predictions": {"y": 5}, "more": 1}
    page.evaluate(f"localStorage.setItem({KEY!r}, {json.dumps(json.dumps(odd))})")
    page.reload()
    choose(page, name, 0)
    assert set(kept(page)["answers"]) == {name} and kept(page)["predictions"] == {}
    newer = {"version": 9, "answers": kept(page)["answers"], "predictions": {}, "new": 1}
    page.evaluate(f"localStorage.setItem({KEY!r}, {json.dumps(json.dumps(newer))})")
    page.reload()
    assert page.locator('form.quiz[data-state="right"]').count() == 1 and "newer version" in page.inner_text("#status")
    choose(page, f"{CHAPTER}/quiz/turn", 1)
    assert kept(page) == newer


def test_progress_is_saved_loaded_and_forgotten(page: Any, folder: Path, tmp_path: Path) -> None:
    opened(page, folder)
    choose(page, f"{CHAPTER}/quiz/half", 0)
    opened(page, folder, "index")
    with page.expect_download() as download:
        page.click("#export")
    file = tmp_path / "progress.json"
    download.value.save_as(file)
    assert json.loads(file.read_text())["answers"][f"{CHAPTER}/quiz/half"]["right"] is True
    page.click("#reset")
    assert kept(page)["answers"]  # it asks first
    page.click("#reset")
    until(page, f"!JSON.parse(localStorage.getItem({KEY!r})).answers['{CHAPTER}/quiz/half']")
    page.set_input_files("#import", str(file))
    until(page, "document.getElementById('status').textContent.includes('loaded')")
    assert kept(page)["answers"][f"{CHAPTER}/quiz/half"]["right"] is True
    (tmp_path / "no.json").write_text("{}")
    page.set_input_files("#import", str(tmp_path / "no.json"))
    until(page, "document.getElementById('status').textContent.includes('no progress')")


STEPS = "[...document.querySelectorAll('.stage canvas.plane')].map((one) => Number(one.dataset.steps || 0))"


@pytest.mark.parametrize("page", [{"reduced_motion": "reduce"}], indirect=True, ids=["reduced-motion"])
def test_each_simulation_is_mounted_as_the_chapter_says_and_plays_when_asked(page: Any, folder: Path) -> None:
    for chapter in chapters():
        opened(page, folder, chapter.name)
        places = page.locator(".stage[data-view]")
        assert places.count() == len(chapter.plays)
        for number, play in enumerate(chapter.plays):
            place = places.nth(number)
            assert place.locator("section.play > h3").count() == 1, play
            if "settings" not in play:
                assert place.locator('[aria-pressed="true"]').count() == 1, play  # the preset is known
        assert not any(page.evaluate(STEPS)), chapter.name
        links = page.locator(".simulation > p.hint > a")
        assert links.count() == len(chapter.plays)
    opened(page, folder)
    page.wait_for_timeout(300)
    assert not any(page.evaluate(STEPS))
    page.locator(".stage").first.get_by_role("button", name="Play", exact=True).click()
    until(page, f"{STEPS}[0] > 5")


def test_a_simulation_leads_to_the_same_view_on_a_page_of_its_own(page: Any, folder: Path) -> None:
    opened(page, folder, "mode-collapse")
    plays = [play["preset"] for play in next(one for one in chapters() if one.name == "mode-collapse").plays]
    place = page.locator(".simulation").nth(plays.index("packing"))
    place.get_by_label("Seed, A").fill("7")
    place.get_by_role("link", name="This view on a page of its own").click()
    until(page, "document.querySelectorAll('canvas.plane').length === 2")
    assert "play.html#" in page.url
    assert page.get_by_label("Seed, B").input_value() == "7"
    assert page.locator("#gan-packing-b option:checked").inner_text() == "4"


def test_a_chapter_is_read_and_answered_by_keyboard(page: Any, folder: Path) -> None:
    opened(page, folder)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "text"
    form = page.locator(f'form[data-name="{CHAPTER}/quiz/half"]')
    form.locator("input").first.focus()
    page.keyboard.press("Space")
    assert form.get_attribute("data-state") == "right"
    page.keyboard.press("ArrowDown")
    assert form.get_attribute("data-state") == "wrong" and form.locator(".why:visible").count() == 1
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1
    page.locator(".stage").first.get_by_role("button", name="One step of both", exact=True).focus()
    page.keyboard.press("Enter")
    until(page, f"{STEPS}[0] === 1")


PHONE = {"viewport": {"width": 380, "height": 800}, "color_scheme": "dark"}


NAMES = [chapter.name for chapter in chapters()]
AT = [({}, ("index", "glossary", *NAMES[1::2])), (PHONE, tuple(NAMES[::2]))]  # between them, all that there is


@pytest.mark.parametrize(("page", "names"), AT, indirect=["page"], ids=["desktop", "phone"])
def test_pages_fit_and_axe_finds_nothing_serious(page: Any, names: tuple[str, ...], folder: Path) -> None:
    needed(AXE.exists(), "no axe here: `make browser` fetches it, for tests alone")
    for name in names:
        opened(page, folder, name)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate(
            "axe.run({ preload: false, resultTypes: ['violations'] }).then((result) => result.violations)"
        )
        bad = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert not bad, (name, bad)


def test_firefox_opens_a_chapter_too(folder: Path, tmp_path: Path) -> None:
    needed(FIREFOX, "no firefox here: `apt-get install firefox-esr`, then it is tried too")
    assert FIREFOX
    with started(FIREFOX, tmp_path / "profile") as firefox:
        firefox.ask("WebDriver:Navigate", url=(folder / "latent-space.html").as_uri())
        faces, state = firefox.run(
            "const until = Date.now() + 60000, canvas = () => document.querySelector('.stage canvas.plane');"
            "while (!canvas()?.dataset.drawn) {"
            "    if (Date.now() > until) throw new Error('nothing is drawn');"
            "    await new Promise((go) => setTimeout(go, 30));"
            "}"
            "const { width, height } = canvas(), pixels = canvas().getContext('2d').getImageData(0, 0, width, height);"
            "const form = document.querySelector('form.quiz'), right = form.querySelector('[data-right]');"
            "right.click();"
            "return [new Set(new Uint32Array(pixels.data.buffer)).size, form.dataset.state];"
        )
        assert faces > 1000 and state == "right"
        assert firefox.console() == []
