"""What the presets' sentences claim: for five seeds of five in the page's own engine, for one in the library's.

`python -m bench presets` trains all five with the library too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from bench.presets import LIBRARY, SEEDS, Claim, Measured, claims, in_library, in_page

from tests.studio.browser import CHROMIUM, QUIET, needed
from tests.studio.modules import open_modules

NAMES = ("gan", "coder", "reparameterization", "elbo", "transposed", "paths", "frechet", "lambda", "tape")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield open_modules(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET))


@pytest.fixture(scope="module")
def trainings(page: Any) -> dict[str, list[list[Claim]]]:
    """The claims of each simulation, those of the same settings together: several presets share one side."""
    found: dict[str, dict[str, list[Claim]]] = defaultdict(lambda: defaultdict(list))
    for claim in claims(page):
        found[claim.simulation][json.dumps(claim.settings, sort_keys=True)].append(claim)
    return {name: list(several.values()) for name, several in found.items()}


def marks(several: list[Claim]) -> list[int]:
    return sorted({claim.steps for claim in several})


def hold(several: list[Claim], seed: int, measured: Measured) -> None:
    for claim in several:
        found = measured[claim.steps]
        assert not claim.broken(found), (claim.simulation, claim.preset, claim.side, seed, claim.bounds, found)


@pytest.mark.parametrize("simulation", NAMES)
def test_every_sentence_holds_for_five_seeds(page: Any, trainings: Any, simulation: str) -> None:
    for several in trainings[simulation]:
        seeds = range(SEEDS if "seed" in several[0].settings else 1)
        for seed, measured in enumerate(in_page(page, several[0], seeds, marks(several))):
            hold(several, seed, measured)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("simulation", LIBRARY)
def test_the_sentences_of_models_hold_in_the_librarys_engine(trainings: Any, simulation: str) -> None:
    for several in trainings[simulation]:
        hold(several, 0, in_library(several[0], 0, marks(several)))


def test_every_preset_claims_something_and_some_are_known_to_be_bad(page: Any, trainings: Any) -> None:
    presets = page.evaluate(
        """async () => {
            const { SIMULATIONS } = await import('/play/simulations/all.js');
            const rows = SIMULATIONS.map((one) => [one.id, one.presets.map(({ id, good }) => [id, good])]);
            return Object.fromEntries(rows);
        }"""
    )
    assert set(presets) == set(NAMES)
    for name, several in presets.items():
        assert len(several) >= 4 and {good for _, good in several} >= {True, False}, name
        claimed = {claim.preset for same in trainings[name] for claim in same}
        assert claimed == {preset for preset, _ in several} - {"own"}, name
