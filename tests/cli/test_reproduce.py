"""Pages of reproductions: every figure is there, the printed commands are real, and nothing is done twice."""

from __future__ import annotations

import html
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from morphospace.cli import main
from morphospace.cli.app import build
from morphospace.cli.flags import split_lists
from morphospace.cli.reproduce import page, work
from morphospace.cli.reproduce.plan import Figure, Said, Setup, Source
from morphospace.cli.reproduce.sources import SOURCES
from morphospace.data.sources import SOURCES as IMAGES
from morphospace.errors import SettingError
from morphospace.runs.configuration import recipes, resolve

from .conftest import Morpho

# What each source shows, in its order.
FIGURES = {
    "celeba-notes": [
        "vae-curves",
        "final-loss",
        "reconstructions",
        "latent-scatter",
        "random-codes",
        "vae-samples",
        "novel-faces",
        "interpolation",
        "slerp-or-linear",
        "components",
        "component-plane",
        "gan-curves",
        "gan-samples",
        "sharper",
        "gan-slerp",
        "gan-continuity",
        "fine-tuning",
    ],
    "faces-deep-dive": [
        "prepared-images",
        "curves",
        "reconstructions",
        "generated",
        "morph",
        "morphs",
        "likelihoods",
        "image-and-mask",
        "anomalies",
    ],
    "lesson": [
        "vae",
        "gan",
        "conditional",
        "constraints",
        "remedies",
        "evaluation",
        "best-checkpoint",
        "human-judgement",
        "exercise-samples",
        "exercise-reconstructions",
        "exercise-curves",
        "exercise-smoothness",
        "exercise-collapse",
    ],
    "note": [
        "reconstructions",
        "generation",
        "random-codes",
        "interpolation",
        "attributes",
        "beta",
        "conditional",
        "latent-space",
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all four sources, which share their runs."""
    return tmp_path_factory.mktemp("reproduced")


@pytest.fixture(scope="module", params=list(SOURCES))
def name(request: pytest.FixtureRequest, folder: Path) -> str:
    """A source whose page was made; curves are drawn elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MORPHOSPACE_DATA", raising=False)
        patch.setattr("morphospace.runs.recorder.draw_curves", lambda path, *rest: Image.new("L", (9, 9)).save(path))
        assert main(["reproduce", request.param, "--quick", "--out", str(folder)]) == 0
    return str(request.param)


@pytest.fixture
def note(folder: Path) -> None:
    """The page of the note, made before if other tests have run."""
    assert main(["reproduce", "note", "--quick", "--out", str(folder)]) == 0


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.sections.append(given["id"] or "")
        if tag == "img":
            assert given["alt"]
            self.images.append(given["src"] or "")
        if tag not in ("meta", "img", "source", "br", "html", "head", "body", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("html", "head", "body"):
            assert self.open.pop() == tag


def commands(text: str) -> list[list[str]]:
    return [shlex.split(html.unescape(line)) for line in re.findall(r"<pre tabindex=\"0\"><code>(.*?)</code>", text)]


def test_every_figure_of_a_source_is_on_its_page(folder: Path, name: str) -> None:
    text = (folder / f"{name}-quick.html").read_text(encoding="utf-8")
    tags = Tags(text)
    assert [key for key in tags.sections if key not in ("claims", "trainings")] == FIGURES[name]
    assert "could not be made" not in text and not tags.open
    assert tags.images and all(image.startswith(("data:image/png", "data:image/gif")) for image in tags.images)
    assert "default-src 'none'" in text and "<script" not in text
    assert str(folder) not in text and str(Path.home()) not in text and "file:" not in text


def test_every_command_on_a_page_is_one(folder: Path, name: str) -> None:
    found = commands((folder / f"{name}-quick.html").read_text(encoding="utf-8"))
    assert len(found) > len(FIGURES[name])
    for words in found:
        assert words[0] == "morpho"
        tokens = split_lists(words[1:])
        build(tokens).parse_args(tokens, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("source", SOURCES)
def test_a_plan_is_listed_without_being_carried_out(source: str, morpho: Morpho, tmp_path: Path) -> None:
    told = morpho("reproduce", source, "--out", tmp_path / "new", "--dry-run", "--json").json
    assert [figure["name"] for figure in told["figures"]] == FIGURES[source]
    assert told["minutes"] >= sum(one["minutes"] for one in told["trainings"]) > 1
    assert {one["data"].partition(":")[0] for one in told["trainings"]} <= {"toyfaces", "digits"}
    assert list(tmp_path.iterdir()) == []
    said = morpho("reproduce", source, "--out", tmp_path / "new", "--dry-run").out
    assert all(figure["title"] in said for figure in told["figures"])


def test_what_is_done_is_not_done_again(
    folder: Path, note: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before, done = (folder / "note-quick.html").read_text(encoding="utf-8"), []
    real = work.answered

    def counted(words: Any, talk: Any) -> Any:
        done.append(words)
        return real(words, talk)

    monkeypatch.setattr(work, "answered", counted)
    again = ["reproduce", "note", "--quick", "--out", str(folder)]
    assert main(again) == 0 and done == []
    assert (folder / "note-quick.html").read_text(encoding="utf-8") == before
    (folder / "figures" / "note" / "samples.png").unlink()
    assert main(again) == 0 and [words[0] for words in done] == ["sample"]
    assert (folder / "note-quick.html").read_text(encoding="utf-8") == before


def test_a_stop_between_two_commands_loses_only_the_one_at_hand(
    folder: Path, note: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for file in ("classes.png", "threes.png"):
        (folder / "figures" / "note" / file).unlink()
    real, done = work.answered, []

    def stopped(words: Any, talk: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(words)
        return real(words, talk)

    again = ["reproduce", "note", "--quick", "--out", str(folder)]
    with monkeypatch.context() as patch:
        patch.setattr(work, "answered", stopped)
        assert main(again) == 130
    assert (folder / "figures" / "note" / "classes.png").is_file()
    assert main(again) == 0 and (folder / "figures" / "note" / "threes.png").is_file()


def test_a_figure_that_fails_says_why_and_the_others_are_there(tmp_path: Path) -> None:
    good = Figure("good", "Good <b>", (), (), lambda found: Said("seen <i>", holds=True), claim="it is <u>")
    bad = Figure("bad", "Bad", (), (), lambda found: Said(""))
    source = Source("note", "A <title>", "about", (good, bad), 1)
    error = SettingError("label", "<x>", "there is none")
    drawn = [page.Drawn(good, good.look(None)), page.Drawn(bad, failed=str(error), error=error)]  # type: ignore[arg-type]
    page.write_page(tmp_path / "page.html", source, Setup("note"), [], drawn)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert Tags(text).sections == ["claims", "good", "bad", "trainings"]
    assert not re.search(r"<(b|i|u|x)>", text) and text.count("It holds here.") == 2
    assert "could not be made: label = &#39;&lt;x&gt;&#39;" in text


def test_other_images_are_named_without_the_folders_of_this_machine(
    morpho: Morpho, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    told = morpho("reproduce", "note", "--data", "folder:photos", "--out", "a/b", "--dry-run", "--json").json
    assert {one["data"] for one in told["trainings"]} == {"folder:../../photos"}
    assert morpho("reproduce", "note", "--data", "nothing", "--dry-run").code == 2
    assert morpho("reproduce", "nothing").code == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    assert "choose another path" in morpho("reproduce", "note", "--quick", "--out", "full").err


def test_twins_say_what_they_stand_for_and_take_minutes(morpho: Morpho) -> None:
    names = list(recipes())
    twins = {name: recipe.about for name, recipe in recipes().items() if "twin_of" in recipe.about}
    assert names[: len(twins)] == list(twins)
    for name, about in twins.items():
        assert about["twin_of"] in names and about["adds"] and 0 < about["minutes"] <= 10, name
        source = resolve(recipe=name).data.data
        assert IMAGES[source].info.embedded or IMAGES[source].info.size == "none", name
    said = morpho("recipes").out
    assert said.startswith("laptop twin") and twins["celeba-dcgan-laptop"]["adds"] in said
    assert "twin of celeba-dcgan (" in morpho("recipes", "celeba-dcgan-laptop").out
    assert "celeba-dcgan-laptop (" in morpho("recipes", "celeba-dcgan").out


def test_a_twin_is_trained_on_embedded_images_where_its_own_are_not_here(morpho: Morpho, tmp_path: Path) -> None:
    tiny = ["--images", 32, "--widths", "4", "--size", "8", "--latent-dim", 2]
    said = morpho("train", "--recipe", "mnist-dcgan-laptop", *tiny, "--out", tmp_path / "run")
    assert said.code == 0 and "mnist is not here: trains on digits" in said.out
    assert resolve(recipe=str(tmp_path / "run" / "run.toml")).data.data == "digits"
    again = morpho("train", "--recipe", "mnist-dcgan-laptop", *tiny, "--out", tmp_path / "run")
    assert again.code == 0 and "nothing left to do" in again.out
    assert morpho("train", "--recipe", "mnist-dcgan-laptop", "--data", "celeba", "--dry-run").out.count("not here") == 0
