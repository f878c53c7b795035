"""`morpho data ...`, as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.data.sources.toyfaces import draw_faces

from .conftest import Morpho


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of eight drawn faces each, in a folder."""
    images = draw_faces(3, np.arange(16), 32)[0]
    for i, image in enumerate(images):
        path = tmp_path / "photos" / ("with_hat", "plain")[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "photos"


def facts(picture: Path) -> dict[str, object]:
    with Image.open(picture) as image:
        return json.loads(image.info["morphospace"])


def test_show_labels_what_it_shows(morpho: Morpho, photos: Path, tmp_path: Path) -> None:
    command = ["data", "show", f"folder:{photos}", "--classes", "--n", 6, "--out"]
    told = morpho(*command, tmp_path / "a.png", "--json").json
    assert told == {"out": str(tmp_path / "a.png"), "data": "photos", "split": "train", "n": 6, "seed": 0}
    assert facts(tmp_path / "a.png") == {"data": "photos", "split": "train", "n": 6, "seed": 0}
    assert morpho(*command, tmp_path / "b.png", "--captions", "none").code == 0
    plain, labelled = (Image.open(tmp_path / f"{name}.png") for name in "ba")
    assert plain.height < labelled.height
    said = morpho(*command, tmp_path / "c.png", "--captions", "factors")
    assert said.code == 2 and "photos has no factors; it has classes" in said.err and not (tmp_path / "c.png").exists()


def test_show_chooses_at_random_but_the_same(morpho: Morpho, photos: Path, tmp_path: Path) -> None:
    """The first images of a folder are of one class; a choice is of several, and the seed's."""
    command = ["data", "show", f"folder:{photos}", "--n", 8, "--captions", "none", "--out"]
    for name, more in (("a", []), ("b", []), ("c", ["--seed", 1]), ("d", ["--first"])):
        assert morpho(*command, tmp_path / f"{name}.png", *more).code == 0
    a, b, c, d = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "abcd")
    assert (a == b).all() and not (a == c).all() and facts(tmp_path / "d.png")["seed"] is None
    first = np.asarray(Image.open(sorted((photos / "plain").iterdir())[0]))
    assert (d[2:66:2, 2:66:2] == first).all()


def test_show_takes_what_there_is_unless_told_how_many(morpho: Morpho, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    assert morpho("data", "show", f"folder:{photos}", "--out", out, "--json").json["n"] == 16
    for n in (17, 0):
        assert morpho("data", "show", f"folder:{photos}", "--n", n, "--out", out).code == 2


def test_show_puts_masks_beside_images(morpho: Morpho, photos: Path, tmp_path: Path) -> None:
    command = ["data", "show", "toyfaces:20", "--n", 4, "--first", "--captions", "none", "--out"]
    assert morpho(*command, tmp_path / "a.png").code == 0
    assert morpho(*command, tmp_path / "b.png", "--masks", "--parts", "face").code == 0
    plain, pairs = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "ab")
    assert (pairs[2:66, 2:66] == plain[2:66, 2:66]).all()
    mask = draw_faces(0, np.arange(1), 64, ("face",))[1]
    assert mask is not None and (pairs[2:66, 66:130] == 255 * mask[0]).all()
    said = morpho("data", "show", f"folder:{photos}", "--masks", "--out", tmp_path / "c.png")
    assert said.code == 2 and "photos has no masks" in said.err


def test_check_finds_what_was_planted(morpho: Morpho, photos: Path) -> None:
    clean = morpho("data", "check", f"folder:{photos}", "--classes")
    assert clean.code == 0 and "nothing: no file lost, no double" in clean.out and "16 images" in clean.out
    files = sorted(photos.rglob("*.png"))
    (photos / "plain" / "double.png").write_bytes(files[0].read_bytes())
    (photos / "plain" / "cut.png").write_bytes(files[1].read_bytes()[:200])
    (photos / "with_hat" / "empty.png").write_bytes(b"")
    (photos / "with_hat" / "grey.png").write_bytes(b"")
    Image.new("RGB", (32, 32), (9, 9, 9)).save(photos / "with_hat" / "grey.png")
    found = morpho("data", "check", f"folder:{photos}", "--classes", "--json").json
    assert found["skipped"] == 2 and {Path(s["file"]).name for s in found["skipped_first"]} == {"cut.png", "empty.png"}
    assert found["duplicates"] == 1 and found["splits"]["train"]["constant"] == 1
    assert found["splits"]["train"]["classes"] == {"plain": 9, "with_hat": 9}
    said = morpho("data", "check", f"folder:{photos}", "--classes").out
    for words in ("left out: 2, first ", "cut.png: ", "1 images are another's double", "1 images are of one colour"):
        assert words in said
    refused = morpho("data", "check", f"folder:{photos}", "--classes", "--strict")
    assert refused.code == 2 and "cut.png" in refused.err and refused.err.count("\n") == 1


def test_check_finds_images_without_masks(morpho: Morpho, tmp_path: Path) -> None:
    images, masks = draw_faces(0, np.arange(6), 32, ("hair", "glasses"))
    assert masks is not None
    masks[:, :, :, 0], masks[2] = 1, 0
    np.savez(tmp_path / "faces.npz", images=images, masks=masks)
    said = morpho("data", "check", f"npz:{tmp_path / 'faces.npz'}")
    assert said.code == 0 and "1 images have no pixel in any mask" in said.out
    np.savez(tmp_path / "short.npz", images=images, masks=masks[:5])
    said = morpho("data", "check", f"npz:{tmp_path / 'short.npz'}")
    assert said.code == 2 and "masks" in said.err and said.err.count("\n") == 1


def test_check_names_a_pack_that_was_tampered_with(morpho: Morpho, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    assert morpho("data", "pack", "toyfaces:10", "--size", 16, "--out", pack).code == 0
    assert morpho("data", "check", pack).code == 0
    file = pack / "train.images.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    said = morpho("data", "check", pack)
    assert said.code == 2 and "train.images.npy: content does not match its hash" in said.err


def test_list_tells_size_terms_and_presence(morpho: Morpho, photos: Path, tmp_path: Path) -> None:
    told = {s["name"]: s for s in morpho("data", "list", "--json").json["sources"]}
    said = morpho("data", "list").out
    for name, source in told.items():
        assert source["licence"] and source["description"] and source["where"]
        line = next(line for line in said.splitlines() if line.startswith(f"{name} "))
        assert source["licence"] in line and source["description"] in line
    assert told["celeba"]["shape"] == [64, 64, 3] and "202,599" in told["celeba"]["description"]
    assert told["digits"]["here"] is True and told["celeba"]["here"] is False and told["folder"]["here"] is None
    (tmp_path / "root" / "celeba" / "img_align_celeba").mkdir(parents=True)
    here = morpho("data", "list", "--root", tmp_path / "root", "--json").json["sources"]
    assert {s["name"]: s["here"] for s in here}["celeba"] is True


@pytest.mark.parametrize("name", ["celeba", "celebamask-hq"])
def test_fetch_of_what_is_fetched_by_hand_says_how(morpho: Morpho, name: str, tmp_path: Path) -> None:
    said = morpho("data", "fetch", name, "--root", tmp_path)
    assert said.code == 2 and said.err.count("\n") == 1
    assert "terms" in said.err and str(tmp_path) in said.err and "https://" in said.err


def test_a_run_finds_its_images_again_and_prune_frees_what_none_uses(
    morpho: Morpho, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    small = ["--size", "8", "--latent-dim", "2", "--batch-size", "4", "--widths", "4", "--valid", "0.2"]
    assert morpho("train", "vae", "--data", "folder:photos", *small, "--epochs", "1", "--out", "run").code == 0
    shutil.rmtree(tmp_path / "cache")
    photos.rename(tmp_path / "renamed")
    refused = morpho("reconstruct", "run", "--n", 2, "--out", "x.png")
    assert refused.code == 2 and "--data" in refused.err and not Path("x.png").exists()
    assert morpho("reconstruct", "run", "--n", 2, "--out", "x.png", "--data", "folder:renamed").code == 0
    assert morpho("diagnose", "run", "--n", 16).code == 0  # it is remembered
    assert morpho("resume", "run", "--epochs", "2", "--data", "folder:renamed").code == 0
    assert morpho("data", "show", "folder:renamed", "--size", "8x9", "--out", "y.png").code == 0

    shown = morpho("data", "prune", "--json").json
    assert [(bool(one["runs"]), one["free"]) for one in shown["packs"]] in ([(0, 1), (1, 0)], [(1, 0), (0, 1)])
    assert shown["freed_bytes"] == 0 < shown["unused_bytes"]
    assert "morpho data prune --yes" in morpho("data", "prune").out
    Path("run").rename("away")
    assert morpho("data", "prune", "away", "--yes", "--json").json["freed_bytes"] == shown["unused_bytes"]
    (left,) = morpho("data", "prune", "--json").json["packs"]
    assert left["runs"] == [str(tmp_path / "away")]
    assert morpho("pca", "away", "--images", 8, "--out", "p.png").code == 0
    assert morpho("data", "prune", "nowhere").code == 2


def test_images_of_a_run_need_a_run(morpho: Morpho) -> None:
    said = morpho("evaluate", "--real", "digits", "--fake", "digits", "--data", "digits")
    assert said.code == 2 and "data = 'digits'" in said.err
    assert morpho("card", "run", "--data", "digits").code == 2  # it looks at no image
