"""The simulations' page as people have it: one file, opened from disk, under its own policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from morphospace.cli import main
from morphospace.evaluation.distances import frechet_distance, precision_recall
from morphospace.studio.play_page import page as play_page
from tests.studio.browser import AXE, CHROMIUM, QUIET, Visitor, needed
from tests.studio.modules import open_modules

IDS = ("gan", "coder", "reparameterization", "elbo", "transposed", "paths", "frechet", "lambda", "tape")
STEP = {"transposed": "One stamp", "gan": "One step of both", "tape": "Next moment"}
PICTURE = "canvas.plane"
CANVAS = f"document.querySelector('{PICTURE}')"
phone = {"viewport": {"width": 380, "height": 800}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("play") / "play.html"
    assert main(["play", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def modules(browser: Any) -> Any:
    return open_modules(browser)


@pytest.fixture
def visit(browser: Any, file: Path, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})})
    visitor = Visitor(context.new_page(), file.as_uri())
    yield visitor
    assert not visitor.wrong  # no request, nothing that the policy forbids, no error
    context.close()


def opened(visit: Visitor, **view: str) -> Any:
    """Open a view by its address; the page, once it is drawn."""
    from urllib.parse import urlencode

    visit.page.goto("about:blank")
    visit.page.goto(f"{visit.address}#{urlencode(view)}")
    visit.until(f"{CANVAS}?.dataset.drawn")
    return visit.page


def each(visit: Visitor, names: tuple[str, ...], **view: str) -> Iterator[str]:
    """Open simulations one after the other without loading the page anew; yield the name of each once it is drawn."""
    opened(visit, sim=names[0], **view)
    for name in names:
        visit.page.evaluate("(view) => { location.hash = new URLSearchParams(view); }", {"sim": name, **view})
        current = "document.querySelector('nav [aria-current]')?.href"
        visit.until(f"{current}?.endsWith('sim={name}') && {CANVAS}?.dataset.drawn")
        yield name


def press(visit: Visitor, name: str) -> None:
    visit.page.get_by_role("button", name=name, exact=True).click()


def steps(visit: Visitor, side: int = 0) -> int:
    return int(visit.page.locator(PICTURE).nth(side).get_attribute("data-steps"))


def picture(visit: Visitor, side: int = 0) -> Any:
    return visit.page.locator(PICTURE).nth(side)


@pytest.mark.parametrize("simulation", IDS)
def test_it_draws_plays_and_goes_back(visit: Visitor, simulation: str) -> None:
    opened(visit, sim=simulation)
    first = visit.pixels(PICTURE)
    colours = len(np.unique(first.reshape(-1, 3), axis=0))
    assert colours > (2 if simulation == "tape" else 5)  # what is recorded begins grey
    visit.page.wait_for_timeout(150)
    assert steps(visit) == 0  # nothing plays unasked
    press(visit, "Play")
    visit.until(f"{CANVAS}.dataset.steps > 4")
    press(visit, "Pause")
    visit.still(PICTURE)
    paused = steps(visit)
    press(visit, STEP.get(simulation, "One step"))
    visit.until(f"{CANVAS}.dataset.steps == {paused + 1}")
    press(visit, "Back to the start")
    visit.until(f"{CANVAS}.dataset.steps == 0")
    assert np.array_equal(visit.still(PICTURE), first)  # the same seed: the same start


def test_turns_of_one_player(visit: Visitor) -> None:
    opened(visit, sim="gan")
    samples = visit.page.locator("label", has_text="Draw what the critic sees").locator("input")
    samples.uncheck()
    before = visit.still(PICTURE)
    press(visit, "Critic's turn")
    visit.until("document.querySelector('figcaption').innerText.includes(\"the critic's\")")
    assert np.array_equal(visit.still(PICTURE), before)  # the generator has not moved
    press(visit, "Generator's turn")
    visit.until("document.querySelector('figcaption').innerText.includes(\"the generator's\")")
    assert not np.array_equal(visit.still(PICTURE), before)


def test_a_run_ends_by_itself_and_goes_on_when_asked(visit: Visitor) -> None:
    opened(visit, sim="transposed", set="size:2")
    press(visit, "Play")
    visit.until("document.querySelector('.state').textContent.includes('ended after 4')")
    assert steps(visit) == 4
    press(visit, "Play")
    visit.until(f"{CANVAS}.dataset.steps > 5")
    press(visit, "Back to the start")
    visit.page.get_by_label("Speed").select_option("slow")
    press(visit, "Play")
    visit.until("document.querySelector('.state').textContent.includes('ended after 4')")


def test_a_recording_is_scrubbed_and_shown_again(visit: Visitor) -> None:
    page = opened(visit, sim="tape", preset="norm")
    slider = page.get_by_label("Moment of the recording")
    first = visit.pixels(picture(visit))
    slider.fill(slider.get_attribute("max"))
    visit.until("[...document.querySelectorAll('canvas.plane')].every((one) => one.dataset.steps == 39)")
    assert not np.array_equal(visit.still(picture(visit)), visit.pixels(picture(visit, 1)))
    assert "Step 1,000" in page.inner_text("figcaption >> nth=0")
    press(visit, "Play")  # which begins anew
    visit.until(f"{CANVAS}.dataset.steps > 2 && {CANVAS}.dataset.steps < 35")
    press(visit, "Pause")
    slider.focus()
    page.keyboard.press("Home")
    visit.until("[...document.querySelectorAll('canvas.plane')].every((one) => one.dataset.steps == 0)")
    assert np.array_equal(visit.still(picture(visit)), first)
    slider.fill("38")
    press(visit, "Play")
    visit.until("document.querySelector('.state').textContent.startsWith('The recording has ended')")


def test_two_sides_have_one_seed_and_stay_in_step(visit: Visitor) -> None:
    opened(visit, sim="gan", preset="slopes", vs="same:1")
    visit.page.get_by_label("Speed").select_option("full")
    press(visit, "Play")
    visit.until(f"{CANVAS}.dataset.steps > 60")
    press(visit, "Pause")
    visit.still(picture(visit))
    a, b = steps(visit, 0), steps(visit, 1)
    # Paused, each ends the chunk that it is in.
    assert abs(a - b) <= 60, (a, b)
    press(visit, "Back to the start")
    visit.until("[...document.querySelectorAll('canvas.plane')].every((c) => c.dataset.steps == 0)")
    for _ in range(3):
        press(visit, "One step of both")
    visit.until("[...document.querySelectorAll('canvas.plane')].every((c) => c.dataset.steps == 3)")
    assert np.array_equal(visit.still(picture(visit)), visit.still(picture(visit, 1)))


def test_the_address_is_the_view(visit: Visitor) -> None:
    page = opened(visit, sim="gan")
    page.get_by_role("button", name="Packing").click()
    visit.until("document.querySelectorAll('canvas.plane').length === 2")
    page.get_by_label("Seed, A").fill("7")
    page.get_by_label("Learning rate, B").select_option("0.003")
    visit.until("location.hash.includes('lr')")
    view = visit.hash()
    opened(visit, **view)
    assert page.get_by_label("Seed, A").input_value() == page.get_by_label("Seed, B").input_value() == "7"
    assert page.locator("#gan-lr-b option:checked").inner_text() == "0.003"
    assert page.locator("#gan-packing-b option:checked").inner_text() == "4"
    assert "learning rate" in page.inner_text("figcaption >> nth=1").lower()
    opened(visit, sim="gan", set="loss:<b>,lr:1e9,seed:-3,nothing:1,width:77", vs="packing:3", preset="no")
    # What does not fit is left out: the first preset remains.
    assert page.locator("#gan-loss option:checked").inner_text() == "hinge"
    assert page.get_by_label("Seed, A").input_value() == "0"


def test_a_drawing_is_learned_and_stands_in_the_link(visit: Visitor) -> None:
    page = opened(visit, sim="gan", preset="own")
    press(visit, "Play")
    assert page.inner_text(".state") == "Draw some points first." and steps(visit) == 0
    box = page.locator(PICTURE).bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 80, steps=8)
    page.mouse.up()
    visit.until("location.hash.includes('own%3A')")
    drawn = visit.hash()["set"]
    assert len(re.findall("[0-9a-z]{4}", drawn.removeprefix("own:"))) >= 5
    page.locator(PICTURE).focus()
    for key in ("ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert len(visit.hash()["set"]) == len(drawn) + 4
    page.get_by_role("button", name="Clear the drawing").click()
    assert "set" not in visit.hash()


def test_q_is_fitted_by_hand(visit: Visitor) -> None:
    page = opened(visit, sim="elbo")
    gap = lambda: float(re.search(r"gap (\S+) nats", page.inner_text("figcaption"))[1])  # noqa: E731
    before = gap()
    page.get_by_label("Mean of q").fill("1.2")
    page.get_by_label("Deviation of q").fill("0.45")
    visit.until("document.querySelector('figcaption').innerText.includes('N(1.20, 0.45')")
    assert gap() < 0.01 < before
    box = page.locator(PICTURE).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    visit.until("!document.querySelector('figcaption').innerText.includes('N(1.20, 0.45')")


def test_a_digit_is_looked_up_and_a_code_decoded(visit: Visitor) -> None:
    page = opened(visit, sim="coder")
    page.get_by_label("Type a digit").fill("7")
    visit.until("document.querySelector('figcaption').innerText.includes('a 7')")
    page.locator(PICTURE).focus()
    page.keyboard.press("3")
    visit.until("document.querySelector('figcaption').innerText.includes('a 3')")
    visit.changed(PICTURE, lambda: page.keyboard.press("ArrowRight"))


def test_one_run_a_page_and_none_while_hidden(visit: Visitor) -> None:
    page = opened(visit, sim="gan")
    page.locator("section.play").focus()
    page.locator(PICTURE).focus()
    page.keyboard.press(" ")
    visit.until(f"{CANVAS}.dataset.steps > 4")
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    visit.until("document.querySelector('.state').textContent.startsWith('Paused')")
    still = steps(visit)
    page.wait_for_timeout(200)
    assert steps(visit) - still <= 20 and page.get_by_role("button", name="Play", exact=True).is_visible()


@pytest.mark.parametrize("visit", [phone, {**phone, "color_scheme": "dark", "reduced_motion": "reduce"}], indirect=True)
def test_it_fits_a_phone(visit: Visitor) -> None:
    for simulation in each(visit, IDS):
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 380, simulation
        assert visit.page.locator(PICTURE).bounding_box()["width"] > 300


@pytest.mark.parametrize("visit", [{}, {"color_scheme": "dark"}], indirect=True)
def test_axe_finds_nothing_serious(visit: Visitor) -> None:
    needed(AXE.is_file(), "no axe here: `make browser`, then accessibility is tested too")
    script = AXE.read_text(encoding="utf-8")
    dark = visit.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    for simulation in each(visit, ("gan", "transposed") if dark else IDS, vs="same:1"):
        if not visit.page.evaluate("'axe' in window"):
            visit.page.evaluate(script)
        found = visit.page.evaluate("axe.run({ preload: false, resultTypes: ['violations'] })")["violations"]
        assert not [one for one in found if one["impact"] in ("serious", "critical")], (simulation, found)


def test_the_policy_names_its_script_and_allows_no_request() -> None:
    policy = re.search(r'content="(default-src[^"]*)"', play_page())
    assert policy
    assert "unsafe-inline" not in policy[1] and "http" not in policy[1] and "connect-src" not in policy[1]
    assert policy[1].count("sha256-") == 2 and len(play_page().encode()) < 1_150_000


# -- what trains hands over frames ------------------------------------------------------------------------------------


def test_frames_are_sent_as_they_are_taken(modules: Any) -> None:
    """A page that draws slowly gets fewer frames, one that draws quickly does not wait for the end of long training."""
    untaken, taken = modules.evaluate(
        """async () => {
            const { serve } = await import('/play/serve.js');
            const step = () => { const end = performance.now() + 2; while (performance.now() < end); return 1; };
            const sent = (takes) => new Promise((done) => {
                const frames = [];
                const post = serve({ one: () => ({ step, frame: () => ({}) }) }, ({ steps }) => {
                    frames.push(steps);
                    if (takes) setTimeout(() => post({ took: true }));
                    if (steps === 60) done(frames);
                });
                post({ make: { engine: "one" } });
                post({ took: true });
                post({ go: { until: 60, last: true, every: 0 } });
            });
            return [await sent(false), await sent(true)];
        }"""
    )
    assert len(untaken) == 3, untaken  # the start, one on the way that was not taken, and the end
    assert len(taken) > 6, taken


# -- what the small simulations compute -----------------------------------------------------------------------------


def test_distances_are_the_librarys(modules: Any) -> None:
    rng = np.random.default_rng(0)
    for moved, wide in ((0.0, 1.0), (0.4, 1.0), (0.0, 0.2)):
        real, fake = rng.normal(size=(90, 2)) * (1, 0.5), moved + wide * rng.normal(size=(80, 2)) @ [[1, 0.3], [0, 1]]
        got = modules.evaluate(
            """async ([a, b]) => {
                const f = await import('/play/simulations/frechet.js');
                return { distance: f.frechetDistance(a, b).distance, ...f.precisionRecall(a, b, 3) };
            }""",
            [real.tolist(), fake.tolist()],
        )
        want = precision_recall(real=real, fake=fake, k=3)
        assert got["distance"] == pytest.approx(frechet_distance(real=real, fake=fake), rel=1e-9)
        assert (got["precision"], got["recall"]) == pytest.approx((want.precision, want.recall))


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 4, "kernel": 4, "stride": 2, "padding": 1, "extra": 0},
        {"size": 3, "kernel": 3, "stride": 2, "padding": 1, "extra": 1},
        {"size": 5, "kernel": 5, "stride": 3, "padding": 2, "extra": 0},
    ],
)
def test_stamps_make_a_transposed_convolution(modules: Any, settings: dict[str, int]) -> None:
    chosen = settings | {"weights": "random", "input": "random", "seed": 3}
    got = modules.evaluate(
        """async (s) => {
            const t = await import('/play/simulations/transposed.js');
            return { ...t.stamped(s), w: t.weights(s), x: t.inputs(s) };
        }""",
        chosen,
    )
    k, n = settings["kernel"], settings["size"]
    want = functional.conv_transpose2d(
        torch.tensor(got["x"]).view(1, 1, n, n),
        torch.tensor(got["w"]).view(1, 1, k, k),
        stride=settings["stride"],
        padding=settings["padding"],
        output_padding=settings["extra"],
    )
    assert got["out"] == want.shape[-1]
    np.testing.assert_allclose(got["values"], want.flatten(), atol=1e-5)


def test_the_bound_is_a_bound_and_tight_where_q_is_right(modules: Any) -> None:
    got = modules.evaluate(
        """async () => {
            const { bound, truth } = await import('/play/simulations/elbo.js');
            const s = { decoder: 'line', x: 1.5, noise: 0.5 }, q = { mean: 1.2, deviation: Math.sqrt(0.2) };
            return [truth(s).evidence, bound(s, q).elbo, bound(s, { mean: 0, deviation: 1 })];
        }"""
    )
    evidence = float(torch.distributions.Normal(0.0, 1.25**0.5).log_prob(torch.tensor(1.5)))
    assert got[0] == pytest.approx(evidence, abs=1e-6) and got[1] == pytest.approx(evidence, abs=1e-6)
    assert got[2]["kl"] == pytest.approx(0, abs=1e-9) and got[2]["elbo"] < evidence


def test_both_estimates_have_the_true_mean(modules: Any) -> None:
    got = modules.evaluate(
        """async () => {
            const { estimates } = await import('/play/simulations/reparameterization.js');
            const { chance } = await import('/play/networks.js'), rng = chance(1);
            return estimates('square', { mean: -1, deviation: 0.7 }, Array.from({ length: 1e5 }, () => rng.normal()));
        }"""
    )
    # d/dm E[(z - 1)^2 / 2] = m - 1, d/ds = s
    for one in (got["through"], got["score"]):
        assert one == pytest.approx([-2, 0.7], abs=0.03)
