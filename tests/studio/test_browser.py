"""The page in a real browser: what is drawn is what the models draw."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import RunError
from morphospace.studio import requests as ask
from morphospace.studio.session import Session
from tests.studio.browser import AXE, CHROMIUM, QUIET, PageVisitor, Visitor, needed
from tests.studio.conftest import served

ROOMS = ("map", "sliders", "morph", "project", "compare", "training", "runs", "play", "learn")
RUNS = ("vae", "dcgan", "cvae")
SIDE = ".side > figure .picture"


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")


@pytest.fixture(scope="module")
def studio(_chromium: None, tiny: dict[str, Path]) -> Iterator[tuple[str, Session]]:
    with served([tiny[name] for name in RUNS]) as found:
        yield found


@pytest.fixture(scope="module")
def browser(_chromium: None) -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def visit(
    browser: Any, studio: tuple[str, Session], pages: dict[str, Path], request: pytest.FixtureRequest
) -> Iterator[Visitor]:
    """A visitor of the studio, or, where a test asks for both clients, of exported pages of its runs."""
    asked = dict(getattr(request, "param", {}))
    exported = asked.pop("exported", False)
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **asked})
    page = context.new_page()
    visitor = PageVisitor(page, pages) if exported else Visitor(page, studio[0])
    yield visitor
    assert not visitor.wrong
    context.close()


both = pytest.mark.parametrize("visit", [{}, {"exported": True}], indirect=True, ids=["served", "exported"])
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "light-phone": {"color_scheme": "light", "viewport": {"width": 380, "height": 800}},
    "dark-phone": {"color_scheme": "dark", "viewport": {"width": 380, "height": 800}},
}
phone = {"viewport": {"width": 380, "height": 800}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def drawn_by(session: Session, run: str, code: list[float], **told: Any) -> np.ndarray:
    """Return what a run decodes a code to, as a canvas shows it."""
    space = session.runs.space(f"r{RUNS.index(run)}")
    condition = space.condition(ask.Condition(**told)) if told else space.condition(None)
    image = ms.Decoder(space.run).frames(torch.tensor([code]), condition)[0]
    return np.broadcast_to(image, (*image.shape[:2], 3))


def same(shown: np.ndarray, made: np.ndarray) -> bool:
    """Whether two images are one, up to a level of rounding."""
    return shown.shape == made.shape and int(np.abs(shown.astype(int) - made).max()) <= 1


def saved_facts(visitor: Visitor, index: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    """Save a picture as a person does; its pixels and what it says of itself."""
    path = visitor.saved(lambda: visitor.page.locator("figure button:text-is('Save')").nth(index).click())
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")), json.loads(picture.text["morphospace"])  # type: ignore[attr-defined]


# -- map ---------------------------------------------------------------------------------------------------------


@both
def test_the_image_under_the_pointer_follows_it(visit: Visitor, studio: tuple[str, Session]) -> None:
    visit.page.goto(visit.address)  # nothing chosen: the first run, the first room
    visit.settle()
    assert visit.hash()["room"] == "map"
    map_ = visit.pixels("canvas.map")
    assert len(np.unique(map_.reshape(-1, 3), axis=0)) > 500  # points over images, no empty frame
    box = visit.page.locator("canvas.map").bounding_box()
    assert box
    seen = []
    for part in (0.3, 0.5, 0.7):
        place = (box["x"] + box["width"] * part, box["y"] + box["height"] * part)
        seen.append(visit.changed(SIDE, lambda place=place: visit.page.mouse.move(*place)))  # type: ignore[misc]
    assert (seen[0] != seen[2]).any()
    shown = visit.still(SIDE)
    pixels, facts = saved_facts(visit)
    space = studio[1].runs.space("r0")
    assert torch.allclose(space.at_points((tuple(facts["point"]),))[0], torch.tensor(facts["code"]), atol=1e-5)
    assert np.array_equal(pixels, shown)
    assert same(shown, drawn_by(studio[1], "vae", facts["code"]))


@both
def test_arrows_move_the_probe_and_the_link_brings_it_back(visit: Visitor) -> None:
    visit.go("map", "vae")
    visit.page.locator("canvas.map").focus()
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowLeft"):
        visit.changed(SIDE, lambda key=key: visit.page.keyboard.press(key))  # type: ignore[misc]
    shown, link = visit.still(SIDE), visit.hash()
    visit.page.keyboard.press("Enter")
    visit.until("document.querySelectorAll('.strip canvas[data-drawn]').length === 8")
    zoomed = visit.changed("canvas.map", lambda: visit.page.keyboard.press("+"))
    assert zoomed.std() > 1
    visit.go(**link)
    assert same(visit.still(SIDE), shown)


@both
def test_a_click_keeps_the_point_until_it_is_let_go_and_a_lasso_selects(visit: Visitor) -> None:
    visit.go("map", "vae")
    box = visit.page.locator("canvas.map").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    use = visit.page.get_by_role("button", name="Add to Morph")
    visit.changed(SIDE, lambda: visit.page.mouse.move(x + 30, y + 40))
    assert use.is_disabled() and "follows" in visit.page.inner_text(".keeping")
    visit.changed(SIDE, lambda: visit.page.mouse.click(x, y + 20))
    held, words = visit.still(SIDE), visit.page.inner_text(".keeping")
    assert "kept" in words and use.is_enabled() and visit.page.locator(".keeping.held").count() == 1
    visit.until("document.querySelectorAll('.strip canvas[data-drawn]').length === 8")  # its neighbours, unasked
    near = visit.page.locator(".strip").bounding_box()
    assert near and near["y"] + near["height"] < 800, "in view"
    visit.page.mouse.move(x + 80, y - 60)
    visit.page.mouse.move(box["x"] + box["width"] + 60, y)  # on its way to a button
    assert np.array_equal(visit.still(SIDE), held)
    visit.page.keyboard.press("Escape")
    visit.changed(SIDE, lambda: visit.page.mouse.move(x + 90, y - 70))
    visit.page.mouse.click(x + 90, y - 70)
    assert visit.page.locator(".keeping.held").count() == 1
    visit.page.mouse.click(x + 90, y - 70)
    assert visit.page.locator(".keeping.held").count() == 0
    visit.page.get_by_role("button", name="Lasso").click()
    visit.page.mouse.move(x - 90, y - 90)
    visit.page.mouse.down()
    for corner in ((90, -90), (90, 90), (-90, 90)):
        visit.page.mouse.move(x + corner[0], y + corner[1], steps=3)
    visit.page.mouse.up()
    words = visit.page.inner_text(".side section h3")
    assert 0 < int(words.split()[0]) < int(words.split()[2]) and "selected" in words
    assert visit.page.locator(".strip canvas[data-drawn]").count() > 0
    visit.page.get_by_role("button", name="Show all").click()
    assert visit.page.locator(".strip canvas").count() == 0


@both
def test_a_map_fills_its_canvas_is_decoded_finer_when_zoomed_and_coloured(
    visit: Visitor, studio: tuple[str, Session]
) -> None:
    filled = "Number(document.querySelector('canvas.map').dataset.filled || 0)"
    visit.go("map", "vae")
    visit.until(f"{filled} > 0")
    clear = """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
        .reduce((count, level, i) => count + (i % 4 === 3 && level === 0), 0)"""
    assert visit.page.locator("canvas.map").evaluate(clear) == 0
    before = visit.page.evaluate(filled)
    visit.page.locator("canvas.map").focus()
    for _ in range(4):
        visit.page.keyboard.press("+")
    visit.until(f"{filled} > {before + 20}")
    visit.page.get_by_role("button", name="Whole map").click()
    visit.changed("canvas.map", lambda: visit.page.get_by_label("Colour by").select_option("attribute:Curly_Hair"))
    assert visit.page.locator(".colours li").all_inner_texts() == ["Curly hair", "not: Curly hair"]
    pack = studio[1].runs.space("r0").run.pack
    column = pack.attribute_names.index("Curly_Hair")
    curly = int(np.asarray(pack.split("test").attributes)[:, column].sum())
    find = visit.page.get_by_label("Find images")
    find.fill("curly hair")
    find.press("Enter")
    visit.until("document.querySelector('.side section h3').textContent.includes('Curly hair')")
    assert int(visit.page.inner_text(".side section h3").split()[0]) == curly
    find.fill("nothing of the kind")
    find.press("Enter")
    visit.page.wait_for_selector("#status.bad")
    visit.changed("canvas.map", lambda: visit.page.get_by_label("Colour by").select_option("error"))
    assert "Mean squared error" in visit.page.inner_text(".colours")
    assert visit.hash()["colour"] == "error"


def test_a_layout_that_cannot_be_made_says_why_and_leaves_the_other(visit: Visitor, monkeypatch: Any) -> None:
    from morphospace.errors import MissingExtra

    def missing(by: str) -> None:
        if by == "umap":
            raise MissingExtra("by = 'umap'", rule="needs umap-learn", way_out="pip install 'morphospace[map]'")

    monkeypatch.setattr("morphospace.studio.space.check_map", missing)
    visit.go("map", "vae")
    visit.page.get_by_label("Layout").select_option("umap")
    visit.page.wait_for_selector("#status.bad")
    assert "umap-learn" in visit.page.inner_text("#status")
    assert visit.page.get_by_label("Layout").input_value() == "pca"


@pytest.mark.parametrize("visit", [phone, {**phone, "exported": True}], indirect=True, ids=["served", "exported"])
def test_a_finger_moves_the_probe(visit: Visitor) -> None:
    visit.go("map", "vae")
    box = visit.page.locator("canvas.map").bounding_box()
    assert box
    assert "Touch the map" in visit.page.inner_text(".keeping") and "Shift" not in visit.page.inner_text(
        ".stage > .hint"
    )
    visit.changed(SIDE, lambda: visit.page.touchscreen.tap(box["x"] + 60, box["y"] + 90))
    assert "Touch another place" in visit.page.inner_text(".keeping")
    visit.until("document.querySelectorAll('.strip canvas[data-drawn]').length === 8")
    boxes = visit.page.locator(".strip figure").evaluate_all(
        "all => all.map((one) => [one.getBoundingClientRect().width, one.firstChild.getBoundingClientRect().width])"
    )
    assert all(picture <= figure for figure, picture in boxes), "no picture lies over the next"
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 380


@pytest.mark.parametrize("visit", [phone], indirect=True)
def test_two_fingers_move_the_map(visit: Visitor) -> None:
    visit.go("map", "vae")
    box = visit.page.locator("canvas.map").bounding_box()
    assert box
    session = visit.page.context.new_cdp_session(visit.page)

    def touched(kind: str, far: float) -> None:
        places = [{"x": box["x"] + x + far, "y": box["y"] + 120 + far, "id": i} for i, x in enumerate((90, 190))]
        points = places if kind != "touchEnd" else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = visit.still("canvas.map")
    touched("touchStart", 0)
    for far in (10, 20, 30, 40):
        touched("touchMove", far)
    touched("touchEnd", 40)
    after = visit.still("canvas.map")
    place = slice(200, 300), slice(200, 400)  # at two pixels a point; away from the finger that came first
    moved, stayed = (np.abs(now.astype(int) - before[place]) for now in (after[280:380, 280:480], after[place]))
    assert np.median(moved) == 0 < np.median(stayed), "what lay between the fingers went with them"


def test_a_class_that_is_called_by_a_number_is_found_and_a_lasso_is_put_away(visit: Visitor) -> None:
    visit.go("map", "cvae")
    find = visit.page.get_by_label("Find images")
    assert find.get_attribute("placeholder").startswith("0, image ")
    find.fill("3")
    find.press("Enter")
    visit.until("document.querySelector('.side section h3').textContent.endsWith('images: 3')")
    number = find.get_attribute("placeholder").split()[-1]
    find.fill(f"image {number}")
    find.press("Enter")
    visit.until(f"document.querySelector('.side section h3').textContent.endsWith('image {number}')")
    lasso = visit.page.get_by_role("button", name="Lasso")
    lasso.click()
    assert visit.page.inner_text("#status") == "Draw around some dots."
    lasso.click()
    assert not visit.page.inner_text("#status")
    visit.go("sliders", "cvae", by="direction")
    visit.until("document.querySelector('.slider')")
    assert visit.page.locator(".slider label").all_inner_texts()[0].startswith("1 Class ")
    assert "standard deviations" in visit.page.inner_text(".stage .hint")


def test_a_map_that_is_no_plane_shows_the_nearest_image_and_takes_its_code_on(
    browser: Any, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With UMAP stood in for, which takes a minute to compile itself."""

    def on_a_circle(points: np.ndarray, *_: object) -> np.ndarray:
        angles = np.arange(len(points)) * 2.4
        return np.stack([np.cos(angles), np.sin(angles)], 1) * np.sqrt(1 + np.arange(len(points)))[:, None]

    with served([tiny["vae"]]) as (address, session):
        space = session.runs.space("r0")
        known = space.gathered()
        monkeypatch.setattr("morphospace.studio.space.placed", on_a_circle)
        monkeypatch.setattr("morphospace.studio.space.check_map", lambda by: None)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        visit = Visitor(context.new_page(), address)
        visit.go("map", "vae", by="umap")
        assert "cannot be decoded" in visit.page.inner_text(".keeping")
        box = visit.page.locator("canvas.map").bounding_box()
        assert box
        visit.changed(SIDE, lambda: visit.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
        shown, (_, facts) = visit.still(SIDE), saved_facts(visit)
        point = on_a_circle(known.codes.numpy())[:1500]
        nearest = int(np.hypot(*(point - facts["point"]).T).argmin())
        assert np.array_equal(shown, np.stack(list(known.each(np.array([nearest]))))[0])
        assert np.allclose(facts["code"], known.codes[nearest].numpy(), atol=1e-4)
        visit.page.get_by_role("button", name="Neighbours").click()
        visit.until("document.querySelectorAll('.strip canvas[data-drawn]').length === 8")
        assert not visit.wrong
        context.close()


# -- sliders -----------------------------------------------------------------------------------------------------


@both
def test_a_digit_chooses_a_slider_and_arrows_move_it(visit: Visitor, studio: tuple[str, Session]) -> None:
    space = studio[1].runs.space("r0")
    second = space.sliders("component")[1].name
    visit.go("sliders", "vae", by="component", seed=-1)
    visit.page.locator("h1").click()
    visit.page.keyboard.press("2")
    for _ in range(3):
        visit.changed(SIDE, lambda: [visit.page.keyboard.press("ArrowRight") for _ in range(8)])
    shown, link = visit.still(SIDE), visit.hash()
    assert link["moves"] == f"component:{second}:1.2"
    pixels, facts = saved_facts(visit)
    wanted = space.moved(space.start(), [ask.Move("component", second, 1.2)])
    assert torch.allclose(wanted, torch.tensor(facts["code"]), atol=1e-5)
    assert np.array_equal(pixels, shown) and same(shown, drawn_by(studio[1], "vae", facts["code"]))
    visit.go(**link)
    assert same(visit.still(SIDE), shown)
    assert visit.page.locator("input[type=range]").nth(1).input_value() == "1.2"
    back = visit.changed(
        SIDE, lambda: visit.page.get_by_role("button", name=f"Reset Component {second + 1}", exact=True).click()
    )
    assert same(back, drawn_by(studio[1], "vae", space.start().tolist()))


def test_attributes_are_ticked(browser: Any, tmp_path: Path) -> None:
    quick = {"images": 320, "batch_size": 32, "lr": 5e-3, "widths": (8,), "latent_dim": 4, "device": "cpu"}
    told = "attributes:Smiling,Eyeglasses"
    ms.train("cvae", data="toyfaces:200", size="32", condition=told, out=tmp_path / "told", **quick)  # type: ignore[arg-type]
    with served([tmp_path / "told"]) as (address, session):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        visit = Visitor(context.new_page(), address)
        visit.go("sliders", "told", seed=3)
        plain = visit.still(SIDE)
        names = visit.page.locator("#condition label").all_inner_texts()
        assert [name.strip().lower() for name in names] == ["smiling", "eyeglasses"]
        visit.page.locator("#condition input").nth(1).check()
        visit.settle()
        visit.until(f"document.querySelector('{SIDE}')?.dataset.drawn")
        ticked, (_, facts) = visit.still(SIDE), saved_facts(visit)
        space = session.runs.space("r0")
        for told_, shown in ((((names[1].strip(), 1.0),), ticked), ((), plain)):
            condition = space.condition(ask.Condition(attributes=told_))
            image = ms.Decoder(space.run).frames(torch.tensor([facts["code"]]), condition)[0]
            assert same(shown, image)
        assert (plain != ticked).any()
        assert visit.hash()["condition"] == names[1].strip()
        assert not visit.wrong
        context.close()


AT_ONCE = """async () => {
    const { Picture } = await import('./picture.js');
    const picture = new Picture('of shades'), frame = () => new Promise(requestAnimationFrame);
    const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true }), seen = [];
    const level = () => (copy.drawImage(picture.canvas, 0, 0), copy.getImageData(0, 0, 1, 1).data[0]);
    for (let round = 0; round < 2; round++) {
        for (let frames = 0; frames < 3; frames++) await frame();
        for (const shade of [10, 20, 30]) {
            const pixels = Uint8ClampedArray.from({ length: 256 }, (_, i) => i % 4 === 3 ? 255 : shade + round);
            picture.show(new ImageData(pixels, 8, 8));
            seen.push(level(), picture.drawn);
        }
    }
    await frame();
    return [...seen, level(), picture.drawn];
}"""


def test_an_image_is_drawn_as_it_comes_but_once_a_frame_and_the_last_one_stays(visit: Visitor) -> None:
    visit.go("sliders", "vae")
    seen = visit.page.evaluate(AT_ONCE)
    assert seen[:6] == [10, 1, 10, 1, 10, 1], "the first at once, the others with the next frame"
    assert seen[6:] == [11, 3, 11, 3, 11, 3, 31, 4], "of which the last is drawn"


@both
def test_every_slider_is_found_by_its_name(visit: Visitor, studio: tuple[str, Session]) -> None:
    visit.go("sliders", "vae")
    rows = studio[1].runs.space("r0").sliders("direction")
    assert visit.page.locator(".slider").count() == 12 < len(rows)
    last = str(rows[-1].name)
    words = visit.page.evaluate(SPOKEN, last) if "file:" not in visit.address else last.replace("_", " ").capitalize()
    visit.page.get_by_label("Find a slider").fill(words.upper())
    assert visit.page.locator(".slider label").all_inner_texts()[0].startswith(f"1 {words}")
    visit.page.get_by_label("Find a slider").fill("")
    visit.page.get_by_role("button", name=f"Show all {len(rows)}").click()
    assert visit.page.locator(".slider").count() == len(rows)


SPOKEN = "async (name) => (await import('./words.js')).spoken(name)"


def test_names_are_shown_as_people_write_them(visit: Visitor) -> None:
    visit.go("runs", "vae")
    for name, words in {
        "Curly_Hair": "Curly hair", "5_o_Clock_Shadow": "5 o'clock shadow", "tilt": "Tilt",
        "T-shirt/top": "T-shirt/top", "7": "7", "Ankle boot": "Ankle boot", "<b>": "<b>", "a\u202eb": "a\u202eb",
        "hair_volume": "Hair volume",
    }.items():  # fmt: skip
        assert visit.page.evaluate(SPOKEN, name) == words


@both
def test_sliders_play_and_seeds_are_panned_through(visit: Visitor) -> None:
    visit.go("sliders", "vae", by="dim")
    visit.until(f"document.querySelector('{SIDE}')?.dataset.drawn")  # the first picture may come after all else
    drawn = int(visit.page.locator(SIDE).get_attribute("data-drawn"))
    visit.page.locator(".slider button[aria-label^=Animate]").first.click()
    visit.until(f"Number(document.querySelector('{SIDE}').dataset.drawn) > {drawn + 5}")
    visit.page.get_by_role("button", name="Reset all").click()
    visit.page.locator(".pad").focus()
    visit.changed(SIDE, lambda: visit.page.keyboard.press("ArrowRight"))
    box = visit.page.locator(".pad").bounding_box()
    assert box
    visit.page.mouse.move(box["x"] + 30, box["y"] + 30)
    visit.page.mouse.down()
    visit.changed(SIDE, lambda: visit.page.mouse.move(box["x"] + 130, box["y"] + 60, steps=4))
    visit.page.mouse.up()
    assert len(visit.hash()["code"].split(",")) == 8


@both
def test_the_pad_is_around_the_seed_that_is_shown(visit: Visitor) -> None:
    visit.go("sliders", "vae", by="dim", seed=0)
    visit.until(f"document.querySelector('{SIDE}')?.dataset.drawn")
    found = []
    for _ in range(2):
        visit.page.locator(".pad").focus()
        visit.page.keyboard.press("ArrowRight")
        visit.until("location.hash.includes('code=')")
        found.append([float(number) for number in visit.hash()["code"].split(",")])
        visit.page.get_by_role("button", name="Another seed").click()
        visit.until("!location.hash.includes('code=')")
    # One step from a seed leaves nearly all of it: from another seed it is another code.
    assert np.corrcoef(*found)[0, 1] < 0.98


@both
def test_a_class_is_chosen(visit: Visitor, studio: tuple[str, Session]) -> None:
    visit.go("sliders", "cvae")
    before = visit.still(SIDE)
    visit.page.locator("#condition select").select_option("3")
    visit.settle()
    visit.until(f"document.querySelector('{SIDE}')?.dataset.drawn")
    after = visit.still(SIDE)
    assert (before != after).any()
    _, facts = saved_facts(visit)
    assert same(after, drawn_by(studio[1], "cvae", facts["code"], label="3"))
    assert visit.hash()["condition"] == "3"
    visit.page.get_by_role("link", name="Map").click()  # the class is kept from room to room
    visit.settle()
    assert visit.page.locator("#condition select").input_value() == "3"


# -- morph -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("visit", [{"reduced_motion": "reduce"}], indirect=True)
def test_a_morph_is_scrubbed_played_and_taken_away(
    visit: Visitor, studio: tuple[str, Session], tiny: dict[str, Path], tmp_path: Path
) -> None:
    visit.go("morph", "vae")
    play = visit.page.get_by_role("button", name="Play")
    assert play.is_visible()  # with reduced motion nothing plays until play is pressed
    visit.page.get_by_label("Image to add:").fill("seed:9")
    visit.page.keyboard.press("Enter")
    visit.until("document.querySelectorAll('.ends figure').length === 4")
    visit.settle()
    scrub = visit.page.get_by_label("Position on the path")
    scrub.fill("20")
    visit.page.wait_for_timeout(200)
    path = json.loads(visit.saved(visit.page.get_by_label("Save rotate as a path").click).read_text())
    assert len(path["codes"]) == 142
    for index, how in enumerate(("linear", "slerp", "rotate")):
        pixels, facts = saved_facts(visit, index)
        assert facts["how"] == how and facts["place"] == 20
        assert np.array_equal(pixels, visit.pixels(visit.page.locator(".three canvas").nth(index)))
    assert same(pixels, drawn_by(studio[1], "vae", path["codes"][20]))
    visit.page.locator("h1").click()
    visit.changed(".three canvas >> nth=0", lambda: visit.page.keyboard.press(" "))
    visit.page.keyboard.press(" ")
    assert play.is_visible()
    film = visit.saved(visit.page.get_by_label("Download linear as GIF").click)
    with Image.open(film) as gif:
        assert gif.n_frames > 20 and gif.size == (128, 128)  # type: ignore[attr-defined]
    (tmp_path / "path.json").write_text(json.dumps(path))
    assert not main(["interpolate", str(tiny["vae"]), "--path", str(tmp_path / "path.json"),
                     "--out", str(tmp_path / "again.png")])  # fmt: skip


@both
def test_a_morph_begins_with_good_ends_and_clear_clears(visit: Visitor, studio: tuple[str, Session]) -> None:
    visit.go("morph", "vae")
    visit.until("document.querySelectorAll('.ends canvas[data-drawn]').length === 3")
    opening = studio[1].runs.space("r0").seeds[:3]
    for place, seed in enumerate(opening):
        made = studio[1].answer(ask.Decode("r0", seeds=(seed,))).blocks[0].images[0]
        assert same(visit.pixels(visit.page.locator(".ends canvas").nth(place)), made)
    words = [text.split("\n")[0] for text in visit.page.locator(".ends figcaption").all_inner_texts()]
    assert words == ["Start", "Image 2", "End"]
    visit.page.get_by_role("button", name="Clear").click()
    visit.until("!document.querySelector('.ends figure')")
    assert not visit.page.locator(".three").is_visible() and "ends" not in visit.hash()
    visit.page.get_by_role("button", name="Begin with an example").click()
    visit.until("document.querySelectorAll('.ends canvas[data-drawn]').length === 3")


@both
def test_what_a_map_found_is_an_end_of_a_morph(visit: Visitor) -> None:
    visit.go("map", "vae", at="0.5,0.5")
    visit.until("document.querySelector('.side figcaption')?.textContent?.includes('0.50')")
    for key in ("", "ArrowRight"):
        visit.page.locator("canvas.map").focus()
        if key:
            visit.changed(SIDE, lambda: [visit.page.keyboard.press("Shift+ArrowRight") for _ in range(3)])
            visit.still(SIDE)
        visit.page.get_by_role("button", name="Add to Morph").click()
    visit.page.get_by_role("link", name="Morph").click()
    visit.until("document.querySelectorAll('.ends figure').length === 2")
    visit.until("document.querySelectorAll('.three canvas[data-drawn]').length === 3")


# -- project, compare --------------------------------------------------------------------------------------------

DROP = """async ([selector, text]) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], 'face.png', { type: 'image/png' }));
    for (const kind of ['dragover', 'drop']) {
        document.querySelector(selector).dispatchEvent(
            new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
}"""


@pytest.mark.parametrize(
    ("visit", "run"),
    [({}, "vae"), ({}, "dcgan"), ({"exported": True}, "vae")],
    indirect=["visit"],
    ids=["served-vae", "served-dcgan", "exported-vae"],
)
def test_a_dropped_picture_is_found(visit: Visitor, studio: tuple[str, Session], tmp_path: Path, run: str) -> None:
    import base64

    space = studio[1].runs.space(f"r{RUNS.index(run)}")
    face = np.asarray(space.run.pack.split("train").images[5])
    file = tmp_path / "face.png"
    Image.fromarray(face[..., 0] if face.shape[2] == 1 else face).save(file)
    visit.go("project", run)
    if not isinstance(visit, PageVisitor):  # a page does not search
        visit.page.get_by_label("Search steps").fill("0" if run == "vae" else "25")
    if run == "vae":  # which begins with a held-out image
        visit.until("document.querySelector('.verdict').textContent.includes('held-out images')")
        assert np.array_equal(visit.pixels(".pair canvas >> nth=0"), visit.pixels(".sample canvas >> nth=0"))
    visit.page.evaluate(DROP, [".drop", base64.b64encode(file.read_bytes()).decode()])
    visit.until("document.querySelector('.pair figcaption')?.textContent.startsWith('Your picture')")
    visit.settle()
    visit.until("document.querySelectorAll('.pair canvas[data-drawn]').length === 2")
    assert same(visit.still(".pair canvas >> nth=0"), np.broadcast_to(face, (*face.shape[:2], 3)))
    pixels, facts = saved_facts(visit)
    assert same(pixels, drawn_by(studio[1], run, facts["code"]))
    assert f"Found by {'the encoder' if run == 'vae' else '25 steps'}" in visit.page.inner_text("main")
    visit.page.get_by_role("button", name="Change with sliders").click()
    visit.settle()
    visit.until(f"document.querySelector('{SIDE}')?.dataset.drawn")
    assert int(np.abs(visit.still(SIDE).astype(int) - pixels).max()) <= 2  # the address rounds to four digits


@both
def test_a_picture_that_is_none_is_refused_in_words(visit: Visitor, tmp_path: Path) -> None:
    visit.go("project", "vae")
    (tmp_path / "face.png").write_bytes(b"no picture at all")
    visit.page.locator("#photo").set_input_files(tmp_path / "face.png")
    visit.page.wait_for_selector("#status.bad")
    assert "picture" in visit.page.inner_text("#status")
    visit.wrong = [line for line in visit.wrong if "400" not in line]  # the browser notes the status itself


@both
def test_an_error_stays_until_the_visitor_does_something(visit: Visitor, tmp_path: Path) -> None:
    """What the page works out by itself neither writes over the reason nor takes the place of what was given."""
    visit.go("sliders", "vae")
    visit.page.evaluate(
        """() => {
            const { client } = morphospace, ask = client.ask.bind(client);
            client.ask = async (kind, ...rest) => {
                if (kind === "examples") await new Promise((go) => { globalThis.release = go; });
                return ask(kind, ...rest);
            };
        }"""
    )
    visit.page.evaluate("location.hash = location.hash.replace('sliders', 'project')")
    visit.until("Boolean(globalThis.release)")
    (tmp_path / "face.png").write_bytes(b"no picture at all")
    visit.page.locator("#photo").set_input_files(tmp_path / "face.png")
    visit.page.wait_for_selector("#status.bad")
    visit.page.evaluate("void release()")
    visit.page.wait_for_selector(".sample")
    visit.page.wait_for_timeout(500)
    assert "picture" in visit.page.inner_text("#status.bad")
    assert not visit.page.locator(".pair").is_visible()
    visit.page.locator(".sample").nth(1).click()
    visit.page.wait_for_selector(".pair canvas[data-drawn]")
    visit.settle()  # which finds no error
    visit.wrong = [line for line in visit.wrong if "400" not in line]  # the browser notes the status itself


@pytest.mark.parametrize("visit", [{}, {"exported": True}], indirect=True, ids=["served", "exported"])
def test_a_picture_unlike_those_that_were_learned_is_called_so(
    visit: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sixty held-out images none can be one of a hundred, so the threshold is moved."""
    monkeypatch.setattr("morphospace.studio.session.UNLIKE", 0.02)
    visit.go("project", "vae")
    visit.page.evaluate("morphospace.client.space && (morphospace.client.space.unlike = .02)")
    visit.until("document.querySelector('.verdict').textContent")
    assert "an ordinary picture" in visit.page.inner_text(".verdict")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    visit.page.locator("#photo").set_input_files(tmp_path / "noise.png")
    visit.page.wait_for_selector(".verdict.unlike")
    assert "1.6 % of 60 held-out images" in visit.page.inner_text(".verdict")
    visit.page.locator(".sample").nth(1).click()
    visit.until("!document.querySelector('.verdict.unlike') && document.querySelector('.verdict').textContent")
    assert np.array_equal(visit.still(".pair canvas >> nth=0"), visit.pixels(".sample canvas >> nth=1"))


def test_a_comparison_begins_with_the_chosen_run(visit: Visitor) -> None:
    visit.go("compare", "dcgan")
    visit.until("document.querySelectorAll('.compare canvas[data-drawn]').length === 3")
    names = [words.split()[0] for words in visit.page.locator(".compare h3").all_inner_texts()]
    assert names == ["dcgan", "vae", "cvae"]


def test_runs_side_by_side(visit: Visitor, tiny: dict[str, Path]) -> None:
    visit.go("compare", "vae", what="seed:4")
    visit.until("document.querySelectorAll('.compare canvas[data-drawn]').length === 3")
    for index, run in enumerate(("vae", "dcgan")):
        made = ms.sample(tiny[run], 1, seed=4)[0]
        shown = visit.pixels(visit.page.locator(".compare canvas").nth(index))
        assert same(shown, np.broadcast_to(made, shown.shape))
    visit.changed(".compare canvas >> nth=0", lambda: visit.page.get_by_role("button", name="Next").click())
    assert visit.hash()["what"] == "seed:5"
    visit.page.get_by_label("What to show").fill("3")
    visit.page.keyboard.press("Enter")
    visit.until("document.querySelector('.compare .cannot')")
    assert "no encoder" in visit.page.inner_text(".compare")  # of the GAN, beside the others' answers
    assert visit.page.locator(".compare canvas").count() == 4


# -- training, runs ----------------------------------------------------------------------------------------------


def test_curves_grow_while_a_run_trains(browser: Any, tiny: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "vae"
    shutil.copytree(tiny["vae"], run)
    with served([run]) as (address, session):
        context = browser.new_context()
        visit = Visitor(context.new_page(), address)
        visit.go("training", "vae")
        legend = visit.page.locator(".panel .legend li")
        assert [words.rsplit(" ", 1)[0] for words in legend.all_inner_texts()] == ["training images", "held-out images"]
        assert visit.page.locator(".panel .line.dash").count() == 1
        chart = visit.still("canvas.chart")
        assert len(np.unique(chart.reshape(-1, 3), axis=0)) > 20
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({**last, "images": 3600, "step": 999, "vae/loss": 123.4}) + "\n")
        newest = run / "samples" / "000000003600.png"
        Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3)).save(newest)
        visit.until("document.body.textContent.includes('123.4')")
        assert (visit.pixels("canvas.chart")[: chart.shape[0], : chart.shape[1]] != chart).any()
        visit.until("document.querySelector('.side figcaption')?.textContent?.includes('3,600')")
        grid = visit.pixels(SIDE)
        with Image.open(newest) as picture:
            assert np.array_equal(grid, np.asarray(picture.convert("RGB")))
        visit.changed(SIDE, lambda: visit.page.get_by_label("Moment of training").fill("0"))
        visit.page.get_by_role("button", name="Look for trouble").click()
        visit.until("document.querySelector('.findings h3, .findings > p:not(.hint)')")
        assert "[object" not in visit.page.inner_text(".findings")

        def broken(request: ask.Diagnosis) -> None:
            raise RunError("run", "vae", "its samples cannot be made")

        session._answers[ask.Diagnosis] = broken  # type: ignore[assignment]
        visit.page.get_by_role("button", name="Look for trouble").click()
        visit.page.wait_for_selector(".findings .cannot")
        assert "its samples cannot be made" in visit.page.inner_text(".findings")
        assert not visit.wrong
        context.close()


def test_a_run_without_samples_says_so(browser: Any, tiny: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(tiny["vae"], tmp_path / "plain", ignore=shutil.ignore_patterns("samples"))
    with served([tmp_path / "plain", tiny["vae"]]) as (address, _):
        visit = Visitor(browser.new_context().new_page(), address)
        visit.go("training", "plain")
        assert "There are no samples of this run" in visit.page.inner_text(".side")
        assert "Drag the slider" not in visit.page.inner_text(".intro")
        visit.go("training", "vae")
        assert "There are no samples" not in visit.page.inner_text(".side")
        assert "Drag the slider" in visit.page.inner_text(".intro")
        assert not visit.wrong
        visit.page.context.close()


def test_a_run_that_begins_later_appears_and_is_followed(
    browser: Any, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no checkpoint yet, so only its training can be seen; with the first one all rooms open."""
    monkeypatch.setattr("morphospace.studio.loaded_runs.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("morphospace.studio.training_events.EVERY", 0.1)
    folders = [tiny["dcgan"]]
    with served(folders, find=lambda: [tiny["dcgan"], *sorted(tmp_path.glob("*"))]) as (address, _):
        context = browser.new_context()
        visit = Visitor(context.new_page(), address)
        visit.go("runs", "dcgan")
        visit.page.wait_for_timeout(400)  # the page has begun to listen
        later = tmp_path / "later"
        later.mkdir()
        shutil.copy(tiny["cvae"] / "run.toml", later)
        visit.until("document.querySelectorAll('[aria-label=Runs] tbody tr').length === 2")
        visit.page.get_by_label("Run", exact=True).select_option(label="later (cvae)")
        visit.until("document.querySelector('h2')?.textContent === 'later'")
        visit.page.get_by_role("link", name="Sliders").click()
        visit.until("document.querySelector('.empty')?.textContent.includes('checkpoint')")
        visit.page.get_by_role("link", name="Training").click()
        visit.until("document.body.textContent.includes('There are no numbers')")
        lines = (tiny["cvae"] / "metrics.jsonl").read_text()
        (later / "metrics.jsonl").write_text(lines)
        last = [value for name, value in json.loads(lines.splitlines()[-1]).items() if name.endswith("/loss")]
        visit.until(f"document.querySelector('.legend')?.textContent.includes('{last[0]:.4g}')")
        visit.page.get_by_role("link", name="Sliders").click()
        visit.until("document.querySelector('.empty')")
        shutil.copytree(tiny["cvae"] / "checkpoints", later / "checkpoints")
        visit.until(f"document.querySelector('{SIDE}')?.dataset.drawn")
        visit.settle()
        assert not visit.wrong
        context.close()


def test_what_a_run_cannot_do_is_said_with_the_way_out(visit: Visitor) -> None:
    visit.go("map", "dcgan")
    link = visit.page.get_by_role("link", name="Map")
    assert "cannot" in link.get_attribute("class")
    assert "train-encoder" in visit.page.inner_text("main code >> nth=1") and "`" not in visit.page.inner_text("main")
    visit.page.get_by_label("Run").select_option(label="vae")
    visit.page.wait_for_selector("canvas.map[data-drawn]")
    visit.page.go_back()
    visit.page.wait_for_selector(".empty")


def test_a_link_to_a_run_that_is_not_there_says_what_is_shown_instead(visit: Visitor) -> None:
    visit.page.goto(f"{visit.address}#room=sliders&run=nobody&seed=3")
    visit.until("document.querySelector('.visit > :not(.intro)')")
    assert visit.page.inner_text("#status.bad") == "There is no run called “nobody” here. This is vae."
    visit.until("document.querySelectorAll('.slider').length")  # the rest of the link holds
    assert visit.hash()["run"] == "vae" and visit.hash()["seed"] == "3"
    assert "nobody" in visit.page.inner_text("#status.bad")


def test_the_runs_are_listed_with_their_cards(visit: Visitor) -> None:
    visit.go("runs", "cvae")
    assert visit.page.locator("[aria-label=Runs] tbody tr").count() == 3
    visit.until("document.querySelector('.card h3')?.textContent === 'cvae'")
    card = visit.page.inner_text(".card")
    assert "Intended use and limits" in card and "license_name" not in card and "**" not in card and "|" not in card
    visit.page.locator("summary", has_text="Settings").click()
    assert visit.page.locator("tr", has_text="latent dim").locator("td").inner_text() == "4"
    visit.page.get_by_role("link", name="dcgan").click()
    visit.until("document.querySelector('h2')?.textContent === 'dcgan'")
    assert "train-encoder" in visit.page.inner_text(".cannot >> nth=-1")


# -- for people --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("visit", [{**phone, "color_scheme": "dark"}], indirect=True)
def test_every_room_fits_a_phone(visit: Visitor) -> None:
    glossary = visit.page.request.get(f"{visit.address}learn/glossary.html").text()
    for room in ROOMS:
        visit.go(room, "vae")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 380, room
        for place in visit.page.locator("#rooms a").all():  # every tab can be pressed without scrolling
            box = place.bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= 380
        hidden = """all => all.filter((one) => one.scrollWidth > one.clientWidth + 1).length"""
        assert room != "learn" or visit.page.locator("main *").evaluate_all(hidden) == 0, "chapters are read whole"
        if room in ("play", "learn"):  # which are pages with words of their own
            continue
        assert visit.page.inner_text(".intro p").count(".") >= 1
        terms = visit.page.locator(".intro dt a").evaluate_all("all => all.map((one) => one.hash.slice(1))")
        assert len(terms) >= 4 and all(f'id="{term}"' in glossary for term in terms), room
    visit.go("sliders", "vae", by="dim")
    visit.page.mouse.wheel(0, 500)
    visit.until("scrollY > 100")
    box = visit.page.locator(SIDE).bounding_box()
    assert box and box["y"] >= 0, "the picture stays in view above the sliders"


def test_the_librarys_engine_trains_in_the_play_room(visit: Visitor) -> None:
    """One visit: the process that trains takes seconds to begin."""
    page, canvas = visit.page, "document.querySelector('canvas.plane')"
    press = lambda name: page.get_by_role("button", name=name, exact=True).click()  # noqa: E731
    visit.go("play", "vae", sim="library", set="widths:8,batch:8", vs="no")
    assert "engine starts" in page.inner_text("figcaption") or page.evaluate(f"{canvas}.dataset.drawn")
    visit.until(f"{canvas}.dataset.drawn")
    first = visit.still("canvas.plane")
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 50 and page.get_attribute("canvas.plane", "data-steps") == "0"
    press("Play")
    visit.until(f"{canvas}.dataset.steps > 10")
    press("Pause")
    visit.until("/samples near \\d of 8 clusters/.test(document.querySelector('figcaption').innerText)")
    press("Critic's turn")
    visit.until("document.querySelector('figcaption').innerText.includes(\"the critic's\")")
    press("Back to the start")
    visit.until(f"{canvas}.dataset.steps == 0")
    assert np.array_equal(visit.still("canvas.plane"), first)  # the same seed: the same start
    # A setting of the zoo that the page's own trainer has not; then one that the library refuses, in its words.
    field = page.get_by_label("unrolled", exact=True)
    assert field.get_attribute("placeholder") == "0"
    field.fill("99")
    field.press("Enter")
    visit.until("document.querySelector('.state').innerText.includes('must be at most 10')")
    assert visit.hash()["set"] == "widths:8,unrolled:99,batch:8"
    press("Play")
    assert "must be at most 10" in page.inner_text(".state")
    field.fill("1")
    field.press("Enter")
    page.get_by_label("Compare two settings").check()
    visit.until("[...document.querySelectorAll('canvas.plane')].filter((one) => one.dataset.drawn).length === 2")
    page.get_by_label("Speed").select_option("full")
    press("Play")
    visit.until("[...document.querySelectorAll('canvas.plane')].every((one) => one.dataset.steps > 10)")
    press("Pause")
    # Images, of which the critic's map is none; a pressed Play would go on at once.
    page.get_by_label("Compare two settings").uncheck()
    page.get_by_label("Data", exact=True).select_option(label="digits, 16x16")
    visit.until("/nearest to \\d+ of 10 classes/.test(document.querySelector('figcaption').innerText)")
    assert not page.get_by_label("Draw what the critic sees").is_visible()
    assert page.locator("#library-tower option:checked").text_content() == "usual: conv"


@pytest.mark.parametrize("visit", LOOKS.values(), indirect=True, ids=LOOKS)
def test_a_checker_of_accessibility_finds_nothing_serious(visit: Visitor, request: pytest.FixtureRequest) -> None:
    """Rooms that exported pages have too are checked there in every look, and here in two of them."""
    needed(AXE.is_file(), "no axe-core here: `make browser` brings it")
    script = AXE.read_text(encoding="utf-8")
    others = (
        [] if request.node.callspec.id in ("dark", "light-phone") else ["map", "sliders", "morph", "project", "runs"]
    )
    for room, run in [
        *((room, "vae") for room in ("compare", "training", "play", "learn", *others)),
        *([("map", "dcgan"), ("sliders", "cvae"), ("training", "dcgan")] if others else []),
    ]:
        visit.go(room, run)
        if visit.page.locator(".intro summary").count():
            visit.page.locator(".intro summary").click()
        visit.page.evaluate(script)
        found = visit.page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        bad = [
            f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not bad, (room, run, bad)
