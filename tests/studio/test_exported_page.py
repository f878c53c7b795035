"""The page that `morpho export` writes, in a real browser: it decodes what the model decodes, and asks for nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.models.contract import seeded_noise
from morphospace.runs.codes import codes_of
from morphospace.studio.bundle import as_function, source
from morphospace.studio.page_file import Numbers, Written
from morphospace.studio.space import Space
from tests.contracts.cases import CASES, build
from tests.studio.browser import AXE, CHROMIUM, FIREFOX, QUIET, PageVisitor, needed
from tests.studio.firefox import started
from tests.tools.test_program import parts, used_for_a_while

CODES = 64
ROOMS = {"vae": ("map", "sliders", "morph", "project", "runs"), "dcgan": ("sliders", "morph", "runs")}
LEVELS = """async ([codes, condition]) => {
    const { images } = (await morphospace.client.ask('decode', { run: 'r0', codes, condition })).images;
    return btoa(images.map((one) => one.data.reduce((text, level) => text + String.fromCharCode(level), '')).join(''));
}"""
RUN = """async ([facts, sizes, text, inputs, kind]) => {
    const take = await $['numbers.js'].unpack(text, sizes);
    const network = $['network.js'].build(facts, take, [kind]);
    return inputs.map((one) => btoa(String.fromCharCode(...new Uint8Array(network.run(...one).slice().buffer))));
}"""


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")


@pytest.fixture(scope="module")
def browser(_chromium: None) -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def visit(browser: Any, pages: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[PageVisitor]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **getattr(request, "param", {})})
    visitor = PageVisitor(context.new_page(), pages)
    yield visitor
    assert not visitor.wrong
    context.close()


# -- decoding ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(browser: Any) -> Iterator[Any]:
    """A page that has what reads networks, and nothing else."""
    page = browser.new_page()
    page.goto("about:blank")
    names = ("gemm.js", "network.js", "numbers.js")
    written = [as_function(name, source(name), lambda _, wanted: wanted.removeprefix("./")) for name in names]
    page.add_script_tag(content="".join(["globalThis.$ = {};", *written]))
    yield page
    page.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_every_member_is_decoded_by_a_browser(reader: Any, case: Any) -> None:
    shape = case.fitting((9, 13, 1))
    model = used_for_a_while(build(case, shape))
    for part in parts(case, shape):
        numbers, written = Numbers(), Written.of(part, "fp16")
        facts = numbers.network(written.program, written.rounded)
        given = part.arguments(CODES if part.name == "decoder" else 4)
        inputs = [[values.flatten().tolist() for values in one] for one in zip(*given)]
        found = reader.evaluate(RUN, [facts, numbers.sizes, numbers.text(), inputs, "fused"])
        made = torch.tensor(np.stack([np.frombuffer(base64.b64decode(one), np.float32) for one in found]))
        wanted = part(*given)[0]
        if part.name == "encoder":
            assert (made - wanted).abs().max() < 0.1 * max(1, float(wanted.abs().max()))
            continue
        assert (model.to_uint8(made.view_as(wanted)).int() - model.to_uint8(wanted).int()).abs().max() <= 1


@pytest.mark.parametrize("kind", ["fused", "vector", "plain"])
def test_every_kernel_gives_the_same(reader: Any, kind: str) -> None:
    (part,) = parts(next(case for case in CASES if case.label == "r3gan"), (28, 20, 3))
    numbers, written = Numbers(), Written.of(part, "int8")
    facts = numbers.network(written.program, written.rounded)
    given = part.arguments(2)
    inputs = [[values.flatten().tolist() for values in one] for one in zip(*given)]
    found = reader.evaluate(RUN, [facts, numbers.sizes, numbers.text(), inputs, kind])
    made = np.stack([np.frombuffer(base64.b64decode(one), np.float32) for one in found])
    assert np.abs(made - written(*given)).max() < 1e-5


@pytest.mark.parametrize("run", ["vae", "dcgan", "cvae", "r3gan"])
def test_a_page_from_disk_decodes_what_the_model_decodes(
    visit: PageVisitor, pages: dict[str, Path], tiny: dict[str, Path], run: str
) -> None:
    loaded = ms.load(tiny.get(run, pages["r3gan"].with_name("r3gan")))
    model, decoder = loaded.model, ms.Decoder(loaded)
    codes = seeded_noise(CODES, model.latent_dim, seed=5)
    visit.go("sliders", run)
    condition, asked = None, None
    if model.conditioning is not None:
        condition, asked = model.conditioning.label("3").expand(CODES, -1), {"label": "3"}
    text = visit.page.evaluate(LEVELS, [codes.tolist(), asked])
    height, width, channels = model.shape
    levels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(CODES, height, width, 4)
    wanted = decoder.frames(codes, condition).astype(int)
    assert np.abs(levels[..., :channels] - wanted).max() <= 1 and (levels[..., 3] == 255).all()
    seeds = visit.page.evaluate("morphospace.client.ask('decode', { run: 'r0', seeds: [3, 67] })")["codes"]
    assert seeds[0] == seeds[1] and np.allclose(seeds[0], Space(loaded).seeded((3,))[0], atol=1e-6)
    assert visit.page.evaluate("morphospace.client.worst") <= 1
    assert visit.page.locator("#warning").count() == 0


def test_rooms_that_need_a_server_are_not_there(visit: PageVisitor) -> None:
    for run, rooms in ROOMS.items():
        visit.go("sliders", run)
        assert [words.lower() for words in visit.page.locator("#rooms a").all_inner_texts()] == list(rooms)
        visit.go(rooms[0], run)
        body = visit.page.inner_text("body")
        assert "null" not in body and "undefined" not in body
    visit.go("map", "vae")
    names = visit.page.locator("main button").all_inner_texts()
    assert "Neighbours" in names and "Nearest in training" not in names
    assert not visit.page.locator("#link").is_visible()  # the address of a file is of no use to others


def test_a_picture_is_cropped_and_resized_as_the_library_does(
    visit: PageVisitor, tiny: dict[str, Path], tmp_path: Path
) -> None:
    loaded = ms.load(tiny["vae"])
    rng = np.random.default_rng(0)
    wave = np.sin(np.linspace(0, 9, 90))[:, None, None] * np.cos(np.linspace(0, 7, 131))[None, :, None]
    pixels = np.clip(128 + 90 * wave + rng.normal(0, 25, (90, 131, 4)), 0, 255).astype(np.uint8)
    pixels[..., 3] = 255
    pixels[:30, :40, 3] = 0  # what is transparent lies on the background
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    from morphospace.data.decode import decode

    wanted = decode((tmp_path / "picture.png").read_bytes(), loaded.rule)
    visit.go("project", "vae")
    visit.page.locator("#photo").set_input_files(tmp_path / "picture.png")
    visit.until("document.querySelector('.pair figcaption')?.textContent.startsWith('Your picture')")
    visit.until("document.querySelectorAll('.pair canvas[data-drawn]').length === 2")
    shown = visit.still(".pair canvas >> nth=0")
    assert np.abs(shown.astype(int) - wanted).max() <= 2
    code = visit.page.evaluate(
        "morphospace.client.ask('project', { picture: [...morphospace.client.pictures.keys()].at(-1) })"
    )["code"]
    own = codes_of(loaded, shown[None])[0]
    assert (torch.tensor(code) - own).abs().max() < 0.1 * own.abs().max()


def test_names_run_nothing(browser: Any, tmp_path: Path) -> None:
    from morphospace.data.pack import Split, in_memory_pack
    from tests.conftest import draw_blobs
    from tests.studio.test_page_file import BRIEF, HOSTILE

    labels = (np.arange(64) % 4).astype(np.int64)
    pack = in_memory_pack("<b>blobs</b>", Split(draw_blobs(64, (8, 8, 3)), labels=labels), label_names=HOSTILE)
    name = "<img src=x onerror=hacked=3>\u202e"
    ms.train("cvae", data=pack, condition="label", out=tmp_path / name, **BRIEF)
    ms.export(tmp_path / name, tmp_path / "page.html", format="html")
    context = browser.new_context()
    visit = PageVisitor(context.new_page(), {name: tmp_path / "page.html"}, run=name)
    for room in ("sliders", "morph", "project", "runs"):
        visit.go(room, name)
        assert visit.page.evaluate("typeof hacked") == "undefined"
    assert tuple(visit.page.locator("#condition option").all_text_contents()) == HOSTILE
    assert name in visit.page.locator("#run option").text_content()
    assert name in visit.page.inner_text("h2") and visit.page.locator("main img").count() == 0
    assert not visit.wrong
    context.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("H4sI", "H4sJ", 1), "is damaged, so nothing can be decoded"),
        (lambda text: re.sub(r'(id="numbers">.{4000}).{8}', r"\1AAAAAAAA", text, count=1), "is damaged"),
        (lambda text: re.sub(r'(id="numbers">.{4000})[^<]*', r"\1", text, count=1), "is damaged"),
        (lambda text: re.sub(r'"every":\d+', '"every":2', text), "decodes other images than the model did"),
    ],
    ids=["header", "middle", "cut", "other-model"],
)
def test_a_damaged_page_says_so(browser: Any, pages: dict[str, Path], tmp_path: Path, change: Any, words: str) -> None:
    file = tmp_path / "page.html"
    file.write_text(change(pages["vae"].read_text()))
    assert file.read_text() != pages["vae"].read_text()
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_selector("#warning")
    assert words in page.inner_text("#warning") and not errors
    context.close()


def test_a_folder_opens_from_disk(
    browser: Any, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("morphospace.studio.bundle.PART", 4000)
    ms.export(tiny["cvae"], tmp_path / "page", format="html-folder")
    context = browser.new_context()
    visit = PageVisitor(context.new_page(), {"vae": tmp_path / "page" / "index.html"})
    visit.address = (tmp_path / "page").as_uri()  # the files beside it are asked for
    visit.page.goto(f"{visit.address}/index.html#room=sliders")
    visit.settle()
    assert visit.page.evaluate("morphospace.client.worst") <= 1
    assert not visit.wrong
    context.close()


@pytest.mark.parametrize("name", ["faces", "digits"])
def test_the_pages_of_the_gallery_open(browser: Any, name: str) -> None:
    file = Path(__file__).parents[2] / "docs" / "exported" / f"{name}.html"
    assert file.stat().st_size < 2_000_000
    context = browser.new_context()
    visit = PageVisitor(context.new_page(), {name: file}, name)
    visit.page.goto(file.as_uri())
    visit.settle()
    assert visit.page.evaluate("morphospace.client.worst") <= 1
    assert not visit.wrong
    context.close()


# -- for people --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "visit",
    [
        {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
        for scheme in ("light", "dark")
        for width in (1280, 380)
    ],
    indirect=True,
    ids=["light", "light-phone", "dark", "dark-phone"],
)
def test_a_checker_of_accessibility_finds_nothing_serious(visit: PageVisitor) -> None:
    needed(AXE.is_file(), "no axe-core here: `make browser` brings it")
    script = AXE.read_text(encoding="utf-8")
    for room in ROOMS["vae"]:
        visit.go(room, "vae")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), room
        visit.page.evaluate(script)
        found = visit.page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        bad = [
            (one["id"], [node["html"][:160] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not bad, (room, bad)


def test_firefox_opens_it_too(pages: dict[str, Path], tmp_path: Path) -> None:
    needed(FIREFOX, "no firefox here: `apt-get install firefox-esr`, then it is tried too")
    assert FIREFOX
    with started(FIREFOX, tmp_path / "profile") as firefox:
        firefox.ask("WebDriver:Navigate", url=f"{pages['cvae'].as_uri()}#room=map")
        worst, asked = firefox.run(
            "await morphospace.client.ready;"
            "return [morphospace.client.worst, performance.getEntriesByType('resource').map((one) => one.name)];"
        )
        assert worst <= 1 and asked == []
        for room in ("map", "sliders", "morph", "project", "runs"):
            drawn = firefox.run(
                "location.hash = `room=${given[0]}`;"
                "const until = Date.now() + 60000, main = document.querySelector('main');"
                "while (document.title.indexOf(given[0]) < 0 || !document.querySelector('.visit')?.children.length) {"
                "    if (Date.now() > until) throw new Error('nothing is shown');"
                "    await new Promise((go) => setTimeout(go, 30));"
                "}"
                "return document.querySelector('#status').className;",
                room,
            )
            assert drawn != "bad"
        assert firefox.console() == []
