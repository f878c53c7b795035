"""What the presets of the library's engine claim, and that the page asks for them in words that the server takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from morphospace.studio.live import commands
from morphospace.studio.live.frames import unpacked
from morphospace.studio.live.run import Run
from morphospace.studio.live.settings import offered
from tests.studio.browser import CHROMIUM, QUIET, needed
from tests.studio.modules import open_modules

SIDES = ("claim", "claimAgainst")
NO_CLAIM = {"digits", "faces", "own"}  # presets that show how something is chosen
SEED = 0  # with which it is trained here; seeds 0 to 4 were, when the sentences were written


@pytest.fixture(scope="module")
def presets() -> Iterator[list[dict[str, Any]]]:
    """The presets, each with the commands that the page sends for its sides."""
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield open_modules(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)).evaluate(
            """async (offer) => {
                const { library } = await import('/play/simulations/library.js'), made = library(offer);
                const asked = (preset, other) => made.asked({ ...made.defaults, ...preset.settings, ...preset[other] });
                return made.presets.map((one) => ({ ...one, commands: [asked(one), asked(one, 'against')] }));
            }""",
            offered(),
        )


def run_of(command: dict[str, Any], **more: Any) -> Run:
    read: Any = commands.read({"kind": "make", **command, **more})
    return Run(read.chosen())


def test_every_preset_is_allowed_and_claims_something(presets: list[dict[str, Any]]) -> None:
    assert {one.get("good") for one in presets} >= {True, False}
    for preset in presets:
        assert any(side in preset for side in SIDES) != (preset["id"] in NO_CLAIM), preset["id"]
        for command in preset["commands"]:
            run_of(command, **({"own": "0000"} if command["data"] == "own" else {}))
    settings = {one["id"]: [command["settings"] for command in one["commands"]] for one in presets}
    fast = {"betas": [0.9, 0.999], "widths": [32, 32]}
    assert settings["unrolled"] == [fast, {**fast, "unrolled": 4}] and presets[0]["commands"][0]["batch"] == 64


@pytest.mark.slow
def test_the_sentences_hold(presets: list[dict[str, Any]]) -> None:
    for preset in presets:
        for command, side in zip(preset["commands"], SIDES, strict=True):
            if side not in preset or (side == "claim" and preset["id"] != "collapse"):  # all have that one
                continue
            claim, run = preset[side], run_of(command, seed=SEED)
            while run.steps < claim["steps"]:
                run.step()
            facts, _ = unpacked(run.frame(measure=True))
            for name in claim.keys() - {"steps"}:
                low, high = claim[name]
                assert low <= facts["measured"][name] <= high, (preset["id"], side, name, facts)
