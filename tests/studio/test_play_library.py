"""The same presets with the library's own engine: their sentences are about GANs, not about one trainer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from bench.mixtures import MIXTURES, Mixture, Points, judged

from morphospace.randomness import stream
from morphospace.training.engine import Engine
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.gan import GAN
from morphospace.zoo.settings import ZOO
from tests.studio.browser import CHROMIUM, QUIET, needed
from tests.studio.modules import open_modules
from tests.studio.test_play_presets import SEEDS, claims_of

SIGMA = 0.03  # of the page's clusters
SAME = ("gradient_penalty", "r1", "r2", "weight_clip", "packing", "turns", "lr", "latent_dim")


@pytest.fixture(scope="module")
def facts() -> Iterator[dict[str, Any]]:
    """The page's presets of the GAN, its defaults, and which member of the zoo has a loss."""
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield open_modules(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)).evaluate(
            """async () => {
                const { gan } = await import('/play/simulations/gan.js');
                const { GAN_LOSSES } = await import('/play/golden.js');
                return { defaults: gan.defaults, presets: gan.presets, losses: GAN_LOSSES };
            }"""
        )


def reached(facts: dict[str, Any], chosen: dict[str, Any], seed: int, steps: int) -> tuple[int, float]:
    """Train one of the page's settings with the library's engine; clusters that samples are near, and share on one."""
    s = {**facts["defaults"], **chosen}
    member = facts["losses"][s["loss"]]
    settings: dict[str, Any] = {name: s[name] for name in SAME}
    settings |= {"tower": "mlp", "init": "default", "widths": (s["width"],) * s["layers"]}
    settings |= {"betas": (float(s["beta1"]), float(s["beta2"])), "critic_lr": s["critic_lr"] or None}
    torch.manual_seed(stream(seed, "weights"))
    model = ZOO[member["member"]](**(member["settings"] | settings)).build((1, 1, 2))
    assert isinstance(model, GAN)
    mixture = Mixture(MIXTURES[s["data"]].centres, SIGMA)
    training = TrainingSettings(batch_size=s["batch"], seed=seed, device="cpu", precision="fp32")
    points: Any = Points(mixture, s["batch"], seed)
    engine = Engine(model, points, training, total_images=10**9)
    model.networks.train()
    for _ in range(steps):
        engine.step()
        engine.sums.clear()
    noise = torch.randn(2500, model.latent_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        samples = model.eval().decode(noise).flatten(1)  # type: ignore[attr-defined]
    _, near, good = judged(samples, mixture)
    return near, good


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("data", ["ring", "grid"])  # the library has no moons
def test_the_gans_sentences_hold_in_the_librarys_engine(facts: dict[str, Any], data: str) -> None:
    tested = set()
    for text, claims in claims_of(facts["presets"]).items():
        settings = json.loads(text)
        if settings.get("data", "ring") != data:
            continue
        for seed in SEEDS:
            trained = {steps: reached(facts, settings, seed, steps) for steps in {one["steps"] for _, one in claims}}
            for name, claim in claims:
                tested.add(name)
                near, good = trained[claim["steps"]]
                for what, value in (("reached", near), ("good", good)):
                    low, high = claim.get(what, (0, 25))
                    assert low <= value <= high, (name, seed, claim, near, good)
    assert tested == ({"collapse", "slopes", "packing", "wasserstein", "modern"} if data == "ring" else {"grid"})
