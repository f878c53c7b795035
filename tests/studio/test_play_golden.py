"""The page's trainers are held to the library: every loss and penalty on offer, with all gradients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.data.sources import SOURCES
from morphospace.objectives.clock import Clock
from morphospace.objectives.phase import Phase
from morphospace.zoo.settings import ZOO
from tests.studio.browser import CHROMIUM, QUIET, needed
from tests.studio.modules import open_modules

NEAR = 1e-5
BATCH, WIDTH = 16, 8


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield open_modules(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET))


class Noise:
    """A turn of the engine that keeps the noise that it gives."""

    training = True

    def __init__(self, images: int) -> None:
        self.clock = Clock(0, images, 0.0, 1000)
        self.drawn: dict[str, Tensor] = {}

    def normal(self, *shape: int) -> Tensor:
        return self.drawn.setdefault("normal", torch.randn(*shape))

    def uniform(self, *shape: int) -> Tensor:
        return self.drawn.setdefault("uniform", torch.rand(*shape))

    def once(self, key: str, make: Any, by: Any) -> Any:
        return make()


def listed(values: Tensor) -> dict[str, Any]:
    values = values.detach().flatten(1) if values.dim() > 1 else values.detach()[:, None]
    return {"shape": list(values.shape), "values": values.flatten().tolist()}


def weights_of(module: nn.Module) -> list[list[float]]:
    return [p.detach().flatten().tolist() for p in module.parameters()]


def asked(model: Any, settings: dict[str, Any], images: list[Tensor], seen: int) -> dict[str, Any]:
    """Return a case: weights, batch and noise, and what the library's phases make of them."""
    phases: list[Phase] = [phase for one in model.rounds() for phase in (one if isinstance(one, tuple) else (one,))]
    case: dict[str, Any] = {"settings": settings, "phases": []}
    case["weights"] = {name: weights_of(model.networks[name]) for name in model.networks}
    for phase, real in zip(phases, images):
        noise = Noise(seen)
        loss = phase.loss(Batch(real, torch.arange(len(real))), noise).total()
        learned = [p for module in phase.learns for p in module.parameters()]
        gradients = [g.flatten().tolist() for g in torch.autograd.grad(loss, learned)]
        facts = {name: listed(value) for name, value in noise.drawn.items()}
        facts |= {
            "name": phase.name,
            "real": listed(real),
            "images": seen,
            "loss": float(loss.detach()),
            "gradients": gradients,
        }
        case["phases"].append(facts)
    after = phases[0].after
    case["clipped"] = None
    if after:
        after(Batch(images[0], torch.arange(BATCH)), Noise(0))
        case["clipped"] = weights_of(model.critic)
    return case


def networks(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the library's settings of a case's networks."""
    layers, size = chosen.get("layers", 2), chosen.get("latent_dim", 2)
    return {"tower": "mlp", "widths": (WIDTH,) * layers, "latent_dim": size}


def gan_case(losses: dict[str, Any], chosen: dict[str, Any], seed: int) -> dict[str, Any]:
    member = losses[chosen["loss"]]
    settings = {"init": "default"} | networks(chosen) | member["settings"]
    torch.manual_seed(seed)
    model = ZOO[member["member"]](**settings | {k: v for k, v in chosen.items() if k not in ("loss", "layers")}).build(
        (1, 1, 2)
    )
    model.networks.train()
    for parameter in model.networks.parameters():  # larger than at the start: the tanh bends, and clipping clips
        parameter.data *= 1.5
    images = [torch.rand(BATCH, 2, 1, 1) * 2 - 1 for _ in range(2)]
    return asked(model, chosen | {"width": WIDTH, "batch": BATCH}, images, 0)


def coder_case(chosen: dict[str, Any], seed: int) -> dict[str, Any]:
    settings = {k: v for k, v in chosen.items() if k not in ("model", "layers")} | networks(chosen)
    if chosen["likelihood"] == "gaussian":
        settings["variance"] = "fixed"
    torch.manual_seed(seed)
    shape, sign = ((1, 1, 2), 1) if chosen.get("signed") else ((8, 8, 1), 0)
    model = ZOO[chosen["model"]](**settings).build(shape)
    model.networks.train()
    images = [torch.rand(BATCH, shape[2], *shape[:2]) * (1 + sign) - sign]
    return asked(model, chosen | {"width": WIDTH}, images, 200)


@pytest.fixture(scope="module")
def compared(page: Any) -> list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Every case: its name, what the library says, and what the page says, by WebAssembly and without."""
    golden = page.evaluate("async () => ({ ...(await import('/play/golden.js')) })")
    cases = [gan_case(golden["GAN_LOSSES"], one, i) for i, one in enumerate(golden["GOLDEN_GANS"])]
    cases += [coder_case(one, i) for i, one in enumerate(golden["GOLDEN_CODERS"])]
    said = page.evaluate((Path(__file__).parent / "golden.js").read_text(encoding="utf-8"), cases)
    names = [json.dumps(one) for one in (*golden["GOLDEN_GANS"], *golden["GOLDEN_CODERS"])]
    assert len(said["fast"]) == len(said["plain"]) == len(cases) == len(names) > 20
    return list(zip(names, cases, said["fast"], said["plain"]))


def test_losses_and_gradients_are_the_librarys(compared: Any) -> None:
    for name, case, *both in compared:
        for said in both:
            for want, got in zip(case["phases"], said["phases"], strict=True):
                assert got["loss"] == pytest.approx(want["loss"], rel=NEAR, abs=NEAR), (name, want["name"])
                wanted = np.concatenate([np.ravel(g) for g in want["gradients"]])
                given = np.concatenate([np.ravel(g) for g in got["gradients"]])
                assert np.abs(wanted - given).max() <= NEAR * np.abs(wanted).max(), (name, want["name"])


def test_clipped_weights_are_the_librarys(compared: Any) -> None:
    clipped = [(case["clipped"], said["clipped"]) for _, case, said, _ in compared if case["clipped"]]
    assert len(clipped) == 5
    for wanted, got in clipped:
        for one, other in zip(wanted, got, strict=True):
            np.testing.assert_array_equal(np.float32(one), np.float32(other))


def test_adam_is_torchs(page: Any) -> None:
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=6).astype("f4"), rng.normal(size=(5, 6)).astype("f4")
    parameter = nn.Parameter(torch.tensor(start))
    adam = torch.optim.Adam([parameter], lr=0.01, betas=(0.5, 0.99))
    for one in gradients:
        parameter.grad = torch.tensor(one)
        adam.step()
    got = page.evaluate(
        """async ([start, gradients]) => {
            const { adam } = await import('/play/networks.js'), { kept } = await import('/play/tensor.js');
            const p = kept(1, 6, start), move = adam([p], { lr: 0.01, betas: [0.5, 0.99] });
            for (const g of gradients) move([{ data: g }]);
            return Array.from(p.data);
        }""",
        [start.tolist(), gradients.tolist()],
    )
    np.testing.assert_allclose(got, parameter.detach(), rtol=1e-5)


def test_digits_are_the_librarys(page: Any) -> None:
    got = page.evaluate(
        "async () => { const d = (await import('/play/digits.js')).digits(); return [Array.from(d.images), d.labels]; }"
    )
    train = SOURCES["digits"].__new__(SOURCES["digits"]).read().parts["train"]
    count = len(got[1])
    assert count == 600
    np.testing.assert_allclose(got[0], train.images[:count].ravel() / 255, atol=1e-6)
    assert got[1] == train.labels[:count].tolist()


@pytest.mark.parametrize("kind", ["fused", "vector", "plain"])
def test_products_of_panels_and_of_strided_matrices_are_numpys(page: Any, kind: str) -> None:
    rng = np.random.default_rng(0)
    for m, n, k in ((4, 8, 1), (8, 24, 5), (12, 16, 33)):
        a, b = rng.normal(size=(m, k)).astype("f4"), rng.normal(size=(k, n)).astype("f4")
        panels = (a.reshape(-1, 4, k).transpose(0, 2, 1), b.reshape(k, -1, 8).transpose(1, 0, 2))
        got = page.evaluate(
            """async ([kind, m, n, k, a, b, c]) => {
                const { products, stridedProducts } = await import('/gemm.js');
                const p = products(4096, [kind]), s = stridedProducts(4096), out = [];
                p.numbers.set(a, 0); p.numbers.set(b, 1024); p.product(m, n, k, 0, 1024, 2048);
                out.push(Array.from(p.numbers.subarray(2048, 2048 + m * n)));
                for (const [at, row, col] of [[c[0], k, 1], [c[1], 1, m]]) {
                    s.numbers.set(at, 0); s.numbers.set(c[2], 1024); s.product(m, n, k, 0, row, col, 1024, 2048, n);
                    out.push(Array.from(s.numbers.subarray(2048, 2048 + m * n)));
                }
                return out;
            }""",
            [kind, m, n, k, *(x.ravel().tolist() for x in panels), [x.ravel().tolist() for x in (a, a.T, b)]],
        )
        for one in got:
            np.testing.assert_allclose(np.reshape(one, (m, n)), a @ b, rtol=1e-5, atol=1e-5)
