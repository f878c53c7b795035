"""What the presets' sentences claim, in the page's own engine: for five seeds of five."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.studio.browser import CHROMIUM, QUIET, needed
from tests.studio.modules import open_modules

SEEDS = range(5)
PRESETS = """async () => {
    const { SIMULATIONS } = await import('/play/simulations/all.js');
    return SIMULATIONS.map(({ id, defaults, presets }) => ({ id, seeded: 'seed' in defaults, presets }));
}"""
# Trains the same settings with each seed, and measures after so many steps.
MEASURE = """async ([id, settings, seeds, marks]) => {
    const { SIMULATIONS } = await import('/play/simulations/all.js'), { ENGINES } = await import('/play/engines.js');
    const simulation = SIMULATIONS.find((one) => one.id === id), all = { ...simulation.defaults, ...settings };
    const make = simulation.engine ? ENGINES[simulation.engine] : simulation.model;
    return seeds.map((seed) => {
        const engine = make('seed' in simulation.defaults ? { ...all, seed } : all), out = {};
        let steps = 0;
        for (const mark of marks) { while (steps < mark) steps += engine.step(); out[mark] = engine.measure(2500); }
        return out;
    });
}"""
SIDES = (("claim", None), ("claimLater", None), ("claimAgainst", "against"))


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield open_modules(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET))


def claims_of(presets: list[dict[str, Any]]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return the claims by the settings that they are about: several presets have the same on one side."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for preset in presets:
        for name, other in SIDES:
            if name in preset:
                settings = {**preset["settings"], **(preset[other] if other else {})}
                found.setdefault(json.dumps(settings, sort_keys=True), []).append((preset["id"], preset[name]))
    return found


NAMES = ("gan", "coder", "reparameterization", "elbo", "transposed", "paths", "frechet", "lambda")


@pytest.mark.parametrize("simulation", NAMES)
def test_every_sentence_holds_for_five_seeds(page: Any, simulation: str) -> None:
    (facts,) = (one for one in page.evaluate(PRESETS) if one["id"] == simulation)
    assert len(facts["presets"]) >= 4
    assert {one.get("good") for one in facts["presets"]} >= {True, False}  # known to be good, and known to be bad
    claimed = {preset["id"] for preset in facts["presets"] if any(name in preset for name, _ in SIDES)}
    assert claimed == {preset["id"] for preset in facts["presets"]} - {"own"}
    seeds = list(SEEDS) if facts["seeded"] else [0]
    for settings, claims in claims_of(facts["presets"]).items():
        marks = sorted({claim["steps"] for _, claim in claims})
        measured = page.evaluate(MEASURE, [simulation, json.loads(settings), seeds, marks])
        for name, claim in claims:
            for seed, each in enumerate(measured):
                found = each[str(claim["steps"])]
                for what in claim.keys() - {"steps"}:
                    low, high = claim[what]
                    assert low <= found[what] <= high, (simulation, name, seed, what, found)
