"""The lesson's drawn faces: the page decodes what the library decoded when the file was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.studio.browser import CHROMIUM, QUIET, needed
from tests.studio.modules import open_modules

DECODE = """async () => {
    const { faces, GOLDEN } = await import('/play/faces.js'), { decode, dimensions } = faces();
    return [dimensions, GOLDEN, [...decode(GOLDEN.code)]];
}"""


def test_the_page_decodes_as_the_library_did() -> None:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        page = open_modules(playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET))
        dimensions, golden, image = page.evaluate(DECODE)
    assert dimensions == len(golden["code"]) and len(image) == 3 * 32 * 32
    found = np.array(image)[:: golden["every"]]
    assert np.abs(found - golden["values"]).max() < 0.012  # weights are rounded to 255 levels a channel: off by 0.007
    assert np.std(found) > 0.1  # and it is a picture


def test_the_file_is_small() -> None:
    file = Path(__file__).parents[2] / "src" / "morphospace" / "studio" / "page" / "play" / "faces.js"
    assert file.stat().st_size < 80_000
