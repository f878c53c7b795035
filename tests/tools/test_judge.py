"""A blind test: the page, in Python and in a browser, and what answers add up to."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import DataError, SettingError
from morphospace.runs.codes import sampled
from morphospace.tools.judge.blind_test import sealed
from tests.conftest import draw_blobs
from tests.studio.browser import CHROMIUM, QUIET, needed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    folder = tmp_path_factory.mktemp("judged") / "<!--<script> & run"
    settings: dict[str, Any] = {"data": "digits", "size": "8", "images": 64, "batch_size": 32, "tower": "mlp"}
    return ms.train("vae", out=folder, widths=(8,), latent_dim=4, device="cpu", **settings)


def inside(page: str) -> dict[str, Any]:
    return json.loads(re.search(r"^const test = (.*);$", page, re.M)[1])  # type: ignore[index]


def opened(text: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        assert picture.mode == "L" and not picture.info
        return np.asarray(picture).tobytes()


def test_the_page_holds_real_and_generated_images_half_each(run: ms.Run, tmp_path: Path) -> None:
    made = ms.judge(run, tmp_path / "page.html", trials=20, practice=4, seed=3)
    page = made.path.read_text(encoding="utf-8")
    told = inside(page)
    assert told["run"] == "<!--<script> & run" and "<!--" not in page and page.count("<script>") == 1
    assert (made.trials, made.practice, made.split, told["page"]) == (20, 4, "test", made.page)
    truth = np.array([value.bit_count() % 2 == 1 for value in told["sealed"]])
    assert truth[:4].sum() == 2 and truth[4:].sum() == 10 and len(truth) == len(told["images"]) == 24
    test = {image.tobytes() for image in np.asarray(run.pack.split("test").images)[..., 0]}
    assert [opened(image) in test for image in told["images"]] == truth.tolist()
    assert len(set(told["images"])) == 24
    assert "://" not in page and "default-src 'none'" in page and page.count("</script>") == 1
    assert "20 images" in page and "2 seconds" in page and str(tmp_path) not in page
    again = ms.judge(run, tmp_path / "again.html", trials=20, practice=4, seed=3)
    assert again.path.read_bytes() == made.path.read_bytes()
    assert ms.judge(run, tmp_path / "other.html", trials=20, seed=4).page != made.page


def test_a_conditional_model_shows_classes_in_the_shares_of_the_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = draw_blobs(400, (8, 8, 1)), (np.arange(400) % 20 == 0).astype(int)
    pack = in_memory_pack("few", Split(images, labels=labels), label_names=("common", "rare"))
    how: dict[str, Any] = {"images": 64, "batch_size": 32, "tower": "mlp", "widths": (8,), "latent_dim": 4}
    run = ms.train("cvae", data=pack, out=tmp_path / "run", valid=0.5, device="cpu", **how)
    asked: list[np.ndarray] = []

    def seen(run: ms.Run, n: int, seed: int, told: torch.Tensor) -> np.ndarray:
        asked.append(told.argmax(1).numpy())
        return sampled(run, n, seed, told)

    monkeypatch.setattr("morphospace.tools.judge.blind_test.sampled", seen)
    vars(run)["pack"] = pack
    ms.judge(run, tmp_path / "page.html", trials=200, practice=0)
    assert len(asked[0]) == 100 and 0 < asked[0].sum() <= 15  # half of the held-out 200, of which about 10 are rare


def test_the_answers_do_not_stand_there_to_be_read() -> None:
    truth = np.array([True, False] * 50)
    values = sealed(truth, "key")
    assert [value.bit_count() % 2 == 1 for value in values] == truth.tolist()
    assert len(set(values)) == 100 and values != sealed(truth, "other")


def answers(path: Path, wrong_real: int, wrong_fake: int, *, page: str = "p", of: int = 20, note: int = 0) -> Path:
    trials = []
    for i in range(of):
        truth = "real" if i < of // 2 else "generated"
        turned = i < wrong_real if truth == "real" else i - of // 2 < wrong_fake
        said = {"real": "generated", "generated": "real"}[truth] if turned else truth
        trials.append({"image": i, "truth": truth, "answer": said, "milliseconds": 500 + i + note})
    path.write_text(json.dumps({"page": page, "run": "faces", "seconds": 2, "trials": trials}))
    return path


def test_one_persons_rates_have_wilsons_intervals(tmp_path: Path) -> None:
    found = ms.pool_answers([answers(tmp_path / "a.json", 1, 6)])
    for rate, wrong, of in ((found.all, 7, 20), (found.real, 1, 10), (found.generated, 6, 10)):
        theirs = stats.binomtest(wrong, of).proportion_ci(method="wilson")
        assert (rate.wrong, rate.of, rate.value) == (wrong, of, wrong / of)
        assert (rate.low, rate.high) == pytest.approx((theirs.low, theirs.high))
    assert found.run == "faces" and len(found.people) == 1 and found.milliseconds == pytest.approx(509.5)


def test_several_people_have_the_spread_of_people(tmp_path: Path) -> None:
    wrong = [(0, 2), (5, 8), (3, 3), (1, 9)]
    found = ms.pool_answers([answers(tmp_path / f"{i}.json", *each, note=i) for i, each in enumerate(wrong)])
    rates = [sum(each) / 20 for each in wrong]
    assert found.all.value == pytest.approx(np.mean(rates)) and (found.all.wrong, found.all.of) == (31, 80)
    low, high = stats.t.interval(0.95, 3, np.mean(rates), stats.sem(rates))
    assert (found.all.low, found.all.high) == pytest.approx((max(low, 0), high)) and "people" in found.all.interval
    alike = ms.pool_answers([answers(tmp_path / f"same{i}.json", 2, 2, note=i) for i in range(3)])
    pot = stats.binomtest(12, 60).proportion_ci(method="wilson")
    assert (alike.all.low, alike.all.high) == pytest.approx((pot.low, pot.high))  # agreement is no certainty


def test_what_are_no_answers_is_refused(tmp_path: Path) -> None:
    good = answers(tmp_path / "a.json", 1, 1)
    other = answers(tmp_path / "b.json", 1, 1, page="q")
    with pytest.raises(DataError, match=r"b\.json.*is of another page"):
        ms.pool_answers([good, other])
    same = tmp_path / "c.json"
    same.write_text(good.read_text())
    with pytest.raises(DataError, match="is the same as"):
        ms.pool_answers([good, same])
    told = json.loads(good.read_text())
    for change in (
        {"trials": []},
        {"trials": [told["trials"][0]] * 2},
        {"trials": [{**told["trials"][0], "answer": "maybe"}]},
        {"trials": [{**told["trials"][0], "milliseconds": -1}]},
        {"page": None},
    ):
        same.write_text(json.dumps({**told, **change}))
        with pytest.raises(DataError, match="holds no answers"):
            ms.pool_answers([same])
    for text in ("[]", "{", '"words"'):
        same.write_text(text)
        with pytest.raises(DataError, match="holds no answers"):
            ms.pool_answers([same])
    with pytest.raises(DataError, match="No such file"):
        ms.pool_answers([tmp_path / "none.json"])


def test_refusals_before_any_work(run: ms.Run, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    for more, message in (
        ({"trials": 7}, "trials = 7: must be an even number"),
        ({"trials": 0}, "trials = 0"),
        ({"practice": 3}, "practice = 3"),
        ({"seconds": -1.0}, r"seconds = -1\.0"),
        ({"trials": 1000}, "needs 502 real images, and the test split has"),
    ):
        with pytest.raises(SettingError, match=message):
            ms.judge(run, page, **more)
    with pytest.raises(SettingError, match=r"ends in \.html"):
        ms.judge(run, tmp_path / "p.htm")
    assert not list(tmp_path.iterdir())


def test_a_person_takes_the_test_in_a_browser(run: ms.Run, tmp_path: Path) -> None:
    needed(CHROMIUM, "no chromium here: `apt-get install chromium`, then the page is tested too")
    sync = pytest.importorskip("playwright.sync_api")
    made = ms.judge(run, tmp_path / "page.html", trials=8, practice=2, seconds=0.05)
    wrong: list[str] = []
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 380, "height": 800}, color_scheme="dark")
        page.on("console", lambda line: wrong.append(line.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url))
        page.goto(made.path.as_uri())
        page.keyboard.press("r")  # before the start nothing is answered
        page.keyboard.press("Enter")
        order = random.Random(0)
        for number in range(10):
            page.wait_for_selector("#real:enabled")
            if number == 5:  # its time goes by
                page.wait_for_selector("#stage span")
                assert page.locator("#stage img").count() == 0
            said = order.choice("rg")
            if number % 2:
                page.keyboard.press(said)
            else:
                page.click({"r": "#real", "g": "#generated"}[said])
        page.wait_for_selector("#end h1")
        rows = [row.split("\t") for row in page.inner_text("#rates").replace("\u00a0", " ").splitlines()]
        ours = page.evaluate("[[0, 7], [3, 8], [40, 40]].map(pair => wilson(...pair))")
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "answers.json")
        browser.close()
    assert not wrong
    for pair, ends in zip(((0, 7), (3, 8), (40, 40)), ours):
        theirs = stats.binomtest(*pair).proportion_ci(method="wilson")
        assert ends == pytest.approx([theirs.low, theirs.high], abs=1e-12)
    found = ms.pool_answers([tmp_path / "answers.json"])
    told = json.loads((tmp_path / "answers.json").read_text())
    truth = [value.bit_count() % 2 == 1 for value in inside(made.path.read_text())["sealed"]][2:]
    assert [trial["truth"] == "real" for trial in told["trials"]] == truth and found.page == made.page
    assert [trial["image"] for trial in told["trials"]] == list(range(8)) and found.all.of == 8
    assert rows[0][1] == f"{found.all.wrong} of 8" and rows[0][2] == f"{100 * found.all.value:.1f} %"
    assert rows[2][1] == f"{found.generated.wrong} of 4"
