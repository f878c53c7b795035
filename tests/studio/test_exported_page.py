"""The page that `morpho export` writes, in a real browser: it decodes what the model decodes, and asks for nothing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.models.contract import Decodes, seeded_noise
from morphospace.runs.codes import codes_of
from morphospace.studio.bundle import as_function, source
from morphospace.studio.page_file import Numbers, Written
from tests.contracts.cases import CASES, build
from tests.studio.browser import AXE, CHROMIUM, QUIET, PageVisitor, needed
from tests.tools.test_program import parts, used_for_a_while

CODES = 64
ROOMS = {"vae": ("map", "sliders", "morph", "project", "runs"), "dcgan": ("sliders", "morph", "runs")}
DECODE = "codes => morphospace.client.ask('decode', { run: 'r0', codes })"
LEVELS = """async ([codes, condition]) => {
    const { images } = (await morphospace.client.ask('decode', { run: 'r0', codes, condition })).images;
    return btoa(images.map((one) => one.data.reduce((text, level) => text + String.fromCharCode(level), '')).join(''));
}"""
RUN = """async ([facts, sizes, text, inputs, kind]) => {
    const take = await $['numbers.js'].unpack(text, sizes);
    const weights = facts.matrices.map((one) => ({ ...one, numbers: take(one.numbers), bias: one.bias && take(one.bias) }));
    const network = new $['network.js'].Network(facts.program, weights, take(facts.constants), [kind]);
    return inputs.map((one) => Array.from(network.run(...one)));
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
    page.add_script_tag(content="globalThis.$ = {};" + "".join(as_function(name, source(name)) for name in names))
    yield page
    page.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_every_member_is_decoded_by_a_browser(reader: Any, case: Any) -> None:
    model = used_for_a_while(build(case, (28, 20, 3)))
    for part in parts(case, (28, 20, 3)):
        numbers, written = Numbers(), Written.of(part, "fp16")
        facts = numbers.network(written.program, written.rounded)
        count = CODES if part.name == "decoder" else 4
        given = part.arguments(count)
        inputs = [[values.flatten().tolist() for values in one] for one in zip(*given)]
        scale = {one["scale"] is None for one in facts["matrices"]}
        if scale == {False}:  # of whole numbers, which `local.js` scales
            numbers, rounded = Numbers(), [one.values for one in written.rounded]
            facts = numbers.network(written.program, written.rounded)
            for one, values in zip(facts["matrices"], rounded):
                one["numbers"] = numbers.add("f32", values)
        found = np.array(reader.evaluate(RUN, [facts, numbers.sizes, numbers.text(), inputs, "fused"]))
        wanted = part(*given)[0].flatten(1)
        if part.name == "encoder":
            assert np.abs(found - wanted.numpy()).max() < 0.1 * max(1, float(wanted.abs().max()))
            continue
        shape = (count, model.shape[2], *model.shape[:2])
        levels = model.to_uint8(torch.from_numpy(found).view(shape)).int()
        assert (levels - model.to_uint8(wanted.view(shape)).int()).abs().max() <= 1
