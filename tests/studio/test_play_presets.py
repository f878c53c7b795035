"""What the presets' sentences claim, in the page's own engine: for five seeds of five."""

from __future__ import annotations

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
# Trains a preset, or its other side, with each seed, and measures after so many steps.
MEASURE = """async ([id, presetId, which, seeds, marks]) => {
    const { SIMULATIONS } = await import('/play/simulations/all.js'), { ENGINES } = await import('/play/engines.js');
    const simulation = SIMULATIONS.find((one) => one.id === id), preset = simulation.presets.find((one) => one.id === presetId);
    const settings = { ...simulation.defaults, ...preset.settings, ...(which === 'against' ? preset.against : {}) };
    const make = simulation.engine ? ENGINES[simulation.engine] : simulation.model;
    return seeds.map((seed) => {
        const engine = make('seed' in simulation.defaults ? { ...settings, seed } : settings), out = {};
        let steps = 0;
        for (const mark of marks) { while (steps < mark) steps += engine.step(); out[mark] = engine.measure(2500); }
        return out;
    });
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield open_modules(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET))


def checked(name: str, claim: dict[str, Any], measured: list[dict[str, dict[str, float]]]) -> None:
    for seed, each in enumerate(measured):
        found = each[str(claim["steps"])]
        for what, (low, high) in ((k, v) for k, v in claim.items() if k != "steps"):
            assert low <= found[what] <= high, (name, seed, what, found)


@pytest.mark.parametrize("simulation", ["gan", "coder", "reparameterization", "elbo", "transposed", "frechet"])
def test_every_sentence_holds_for_five_seeds(page: Any, simulation: str) -> None:
    (facts,) = (one for one in page.evaluate(PRESETS) if one["id"] == simulation)
    assert len(facts["presets"]) >= 4
    assert {one.get("good") for one in facts["presets"]} >= {True, False}  # known to be good, and known to be bad
    for preset in facts["presets"]:
        claims = {name: preset[name] for name in ("claim", "claimLater") if name in preset}
        assert claims or "claimAgainst" in preset or preset["id"] == "own", preset["id"]
        seeds = list(SEEDS) if facts["seeded"] else [0]
        for which, some in (("settings", claims), ("against", {k: preset[k] for k in ("claimAgainst",) if k in preset})):
            if not some:
                continue
            marks = sorted({one["steps"] for one in some.values()})
            measured = page.evaluate(MEASURE, [simulation, preset["id"], which, seeds, marks])
            for name, claim in some.items():
                checked(f"{simulation} {preset['id']} {name}", claim, measured)
