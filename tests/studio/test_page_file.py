"""What an exported page holds, and what it must not hold."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import socket
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.data.sources.celeba import CelebA
from morphospace.errors import RunError, SettingError
from morphospace.studio import bundle, faces, page_file
from morphospace.studio.space import Space
from tests.conftest import draw_blobs

BRIEF: dict[str, Any] = {"images": 64, "batch_size": 32, "widths": (8,), "latent_dim": 4, "device": "cpu"}
HOSTILE = (
    "</script><script>hacked = 1</script>",
    "<img src=x onerror='hacked = 2'>",
    "a\u202eb\u2066c",
    "&amp; ' \" \\",
)


class Elements(HTMLParser):
    """The elements of a page, and its texts by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and "id" in self.found[-1][1]:
            self.texts.setdefault(str(self.found[-1][1]["id"]), data)


def space_in(file: Path) -> dict[str, Any]:
    """Return what a page's client reads."""
    found: dict[str, Any] = json.loads(Elements(file.read_text()).texts["space"])
    return found


def test_a_page_names_its_one_script_and_asks_for_nothing(pages: dict[str, Path]) -> None:
    page = Elements(pages["vae"].read_text())
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 3 and tags.count("style") == 1 and "base" not in tags
    policy = next(str(about["content"]) for _, about in page.found if about.get("http-equiv"))
    text = pages["vae"].read_text()
    code = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style
    assert policy == (
        f"default-src 'none'; script-src {bundle.digest(code)} 'wasm-unsafe-eval'; "
        f"style-src {bundle.digest(style[1])}; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    asked = [value for _, about in page.found for name in ("src", "href") if (value := about.get(name))]
    assert all(one.startswith(("data:", "#")) for one in asked)
    assert "WebSocket" not in code and "fetch(" not in code and "EventSource" not in code


def test_a_page_says_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "secret-home"
    photos, runs = home / "photos", home / "secret-runs"
    photos.mkdir(parents=True)
    for i, pixels in enumerate(draw_blobs(80, (16, 16, 3))):
        Image.fromarray(pixels).save(photos / f"secret-{i:02}.png")
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(home / "secret-cache"))
    ms.train("vae", data=f"folder:{photos}", size="16", out=runs / "mine", **BRIEF)
    made = ms.export(runs / "mine", tmp_path / "mine.html", format="html", thumbnails="all")
    text = made.files[0].read_text()
    space = space_in(made.files[0])
    packed = gzip.decompress(base64.b64decode(Elements(text).texts["numbers"]))
    for secret in ("secret", str(tmp_path), str(Path.home()) + "/", sys.prefix, str(Path(ms.__file__).parent)):
        assert secret not in text, secret
        assert secret.encode() not in packed
    assert len(socket.gethostname()) < 6 or socket.gethostname() not in text
    assert space["describe"]["name"] == "mine" and "[model]" in space["describe"]["settings"]
    assert not re.search(r"^(root|data|device|out) = ", space["describe"]["settings"], re.M)


def test_pictures_of_the_data_are_in_it_where_the_terms_allow_it(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(thumbnails: str) -> tuple[dict[str, Any], tuple[str, ...]]:
        done = ms.export(tiny["vae"], tmp_path / "x.html", format="html", thumbnails=thumbnails)  # type: ignore[arg-type]
        return space_in(done.files[0]), done.notes

    space, notes = made("auto")
    assert space["sheet"] and space["codes"] and not notes and "images" not in space["lacks"]
    assert len(space["examples"]["numbers"]) == 6 and "attribute:Smiling" in space["map"]["colours"]
    space, notes = made("none")
    assert not space["sheet"] and not space["codes"] and not notes and space["map"]["points"]
    monkeypatch.setattr(page_file, "known_source", lambda run: CelebA.info)
    space, notes = made("auto")
    assert not space["sheet"] and not space["codes"] and "images" in space["lacks"]
    assert not space["examples"] and space["map"]["colours"] == ["error"]
    assert "no further copying" in notes[0] and "--thumbnails all" in notes[0]
    assert "no further copying" in space["describe"]["terms"]
    space, _ = made("all")
    assert space["sheet"] and space["codes"]


def test_sources_whose_terms_do_not_say_so_are_not_shown() -> None:
    from morphospace.data.sources import SOURCES

    shown = {name for name in SOURCES if SOURCES[name].info.may_be_shown}
    assert shown >= {"digits", "toyfaces"} and not shown & {"celeba", "celebamask-hq", "folder", "hub", "mnist", "npz"}


def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    labels = (np.arange(64) % 4).astype(np.int64)
    pack = in_memory_pack("<b>blobs</b>", Split(draw_blobs(64, (8, 8, 3)), labels=labels), label_names=HOSTILE)
    folder = tmp_path / "<img src=x onerror=hacked=3>\u202e"
    ms.train("cvae", data=pack, condition="label", out=folder, **BRIEF)
    file = ms.export(folder, tmp_path / "page.html", format="html", thumbnails="all").files[0]
    page, plain = Elements(file.read_text()), Elements(bundle.source("index.html"))
    shape = [tag for tag, _ in page.found if tag not in ("script", "style", "link", "meta")]
    assert shape == [tag for tag, _ in plain.found if tag not in ("script", "style", "link", "meta")]
    assert "\u202e" not in file.read_text()
    assert tuple(space_in(file)["conditions"]["names"]) == HOSTILE


class Odd(nn.Module):
    """A decoder with a layer that no page has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.crooked = nn.Linear(4, 64), Crooked()

    def forward(self, z: Tensor) -> Tensor:
        return self.crooked(self.first(z).view(-1, 1, 8, 8))


class Crooked(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return functional.interpolate(maps, (8, 8), mode="bicubic") + torch.fft.fft(maps).real


def test_a_layer_that_cannot_be_written_is_named_and_nothing_is(tmp_path: Path) -> None:
    brief = {name: value for name, value in BRIEF.items() if name != "widths"}
    run = ms.train("ae", data="digits", out=tmp_path / "odd", parts={"decoder": Odd()}, **brief)
    with pytest.raises(RunError, match=r"crooked \(Crooked\).*cannot be written into a page; take --format onnx"):
        ms.export(run, tmp_path / "odd.html", format="html")
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"format": "html", "out": "x.onnx"}, r"must be a file name that ends in \.html for html"),
        ({"format": "html-folder", "out": "x.html"}, "must be a folder, DIR/, for html-folder"),
        ({"format": "html", "weights": "fp32"}, "html stores fp16 or int8; take --weights fp16"),
        ({"format": "onnx", "weights": "int8", "out": "x.onnx"}, "onnx stores fp32 or fp16"),
        ({"format": "torchscript", "thumbnails": "all", "out": "x.pt"}, "torchscript has no pictures"),
        ({"format": "html", "what": "encoder"}, "what = 'encoder': alone makes no page"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tiny: dict[str, Path], tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    given = {"out": "x.html", **given}
    with pytest.raises(SettingError, match=words):
        ms.export(tiny["dcgan"], tmp_path / given.pop("out"), **given)
    assert not list(tmp_path.iterdir())


def test_thumbnails_need_a_map(tiny: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is none: .*no encoder"):
        ms.export(tiny["dcgan"], tmp_path / "x.html", format="html", thumbnails="all")


def test_weights_take_no_more_room_than_they_need(tiny: dict[str, Path], tmp_path: Path) -> None:
    half = ms.export(tiny["vae"], tmp_path / "half.html", format="html")
    byte = ms.export(tiny["vae"], tmp_path / "byte.html", format="html", weights="int8")
    alone = ms.export(tiny["vae"], tmp_path / "alone.html", format="html", what="decoder")
    assert byte.bytes < half.bytes and alone.bytes < half.bytes and half.error < byte.error + 1e-3
    assert space_in(alone.files[0]).get("encoder") is None and "project" in space_in(alone.files[0])["lacks"]
    matrix = np.random.default_rng(0).standard_normal((1, 6, 40)).astype(np.float32)
    errors = [np.abs(page_file.Rounded.of(matrix, 2, bits).values - matrix).max() for bits in page_file.BITS]
    assert errors[:-1] == sorted(errors[:-1], reverse=True) and errors[0] < 4 / 254 and errors[-1] < 4 / 2**11
    scale = page_file.Rounded.of(matrix, 2, 8).scale
    assert scale is not None and scale.shape == (3, 1)


def test_the_same_run_gives_the_same_page(tiny: dict[str, Path], tmp_path: Path) -> None:
    first, second = (ms.export(tiny["cvae"], tmp_path / name, format="html").files[0] for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_without_the_images_there_is_no_map_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "cache"))
    np.save(tmp_path / "blobs.npy", draw_blobs(64, (8, 8, 1)))
    ms.train("vae", data=f"npy:{tmp_path / 'blobs.npy'}", out=tmp_path / "run", **BRIEF)
    (tmp_path / "blobs.npy").unlink()
    shutil.rmtree(tmp_path / "cache")
    made = ms.export(tmp_path / "run", tmp_path / "x.html", format="html")
    space = space_in(made.files[0])
    assert "images of its data are not here" in " ".join(made.notes)
    assert space["map"] is None and "map" in space["lacks"] and space["encoder"] and "project" not in space["lacks"]
    assert list(space["describe"]["cannot"]) == ["data"]


def test_the_faces_of_the_package_are_exported_without_a_run(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "embedded_run", lambda: tiny["vae"])
    assert space_in(ms.export(None, tmp_path / "faces.html", format="html").files[0])["describe"]["name"] == "vae"


def test_a_page_opens_with_the_seeds_that_were_chosen_for_its_run(tiny: dict[str, Path], tmp_path: Path) -> None:
    run = ms.load(tiny["vae"])
    plain = space_in(ms.export(run, tmp_path / "plain.html", format="html").files[0])
    assert plain["describe"]["opening"] == list(Space(run).seeds) and plain["numbered"] == list(range(page_file.SEEDS))
    run.folder.facts["seeds"] = [125, 3]
    chosen = space_in(ms.export(run, tmp_path / "chosen.html", format="html").files[0])
    assert chosen["describe"]["opening"] == [125, 3]
    assert chosen["numbered"] == [*range(page_file.SEEDS), 125]


def test_a_folder_has_the_numbers_beside_the_page(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "PART", 2000)
    made = ms.export(tiny["cvae"], tmp_path / "page", format="html-folder")
    assert made.files[0] == tmp_path / "page" / "index.html" and len(made.files) > 3
    assert made.bytes == sum(file.stat().st_size for file in made.files)
    assert "numbers-1.js" in made.files[0].read_text()
    with pytest.raises(SettingError, match="is there already and is not empty"):
        ms.export(tiny["cvae"], tmp_path / "page", format="html-folder")


def test_every_module_of_the_page_can_be_joined() -> None:
    code = bundle.script("main.js", instead=bundle.INSTEAD, without=("compare", "training"))
    assert (
        "rooms/map.js" in code and "rooms/compare.js" not in code and not re.search(r"^(import|export)\b", code, re.M)
    )
    assert code.index('$["gemm.js"] =') < code.index('$["network.js"] =') < code.index('$["main.js"] =')
    assert bundle.as_data(HOSTILE).isascii() and json.loads(bundle.as_data(HOSTILE)) == list(HOSTILE)
