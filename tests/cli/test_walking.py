"""`morpho interpolate` and `morpho morph`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import morphospace as ms

from .conftest import Morpho


def test_a_strip_of_one_path_and_of_all(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    strip = tmp_path / "deep" / "strip.png"
    said = morpho("interpolate", runs["vae"], "--from", 0, "--to", "train:3", "--steps", 5, "--out", strip)
    assert said.code == 0 and "test image 0 to train image 3 in 5 steps" in said.out and "slerp" in said.out
    one = np.asarray(Image.open(strip))
    walk = ms.interpolate(runs["vae"], 0, "train:3", steps=5)
    assert np.array_equal(one[2:66:8, 2:66:8], walk.images[0][..., 0]) and one.shape == (68, 5 * 66 + 2)
    told = json.loads(Image.open(strip).info["morphospace"])
    assert told["from"] == "test image 0" and told["how"] == ["slerp"] and told["steps"] == 5
    said = morpho(
        "interpolate", runs["dcgan"], "--from", "seed:1", "--to", "seed:2", "--how", "all", "--out", strip, "--json"
    )
    assert [path["how"] for path in said.json["paths"]] == ["linear", "slerp", "rotate"]
    assert np.array(said.json["paths"][2]["codes"]).shape == (10, 2) and len(said.json["paths"][0]["norms"]) == 10
    assert said.json["paths"][0]["speed"] > 0
    picture = Image.open(strip)
    assert picture.height == 3 * 66 + 2 and picture.width > 10 * 66 + 2  # the names of the rows


@pytest.mark.parametrize("name", ["walk.gif", "walk.webp"])
@pytest.mark.parametrize("how", ["rotate", "all"])
def test_a_walk_as_a_film(morpho: Morpho, runs: dict[str, Path], tmp_path: Path, name: str, how: str) -> None:
    out = tmp_path / name
    said = morpho(
        "interpolate", runs["vae"], "--from", 0, "--to", 1, "--how", how, "--steps", 6, "--fps", 12, "--out", out
    )
    assert said.code == 0 and "6 frames in 0.50 s, 12 a second" in said.out
    film, length = Image.open(out), 0
    for i in range(film.n_frames):  # frames that are alike are written as one
        film.seek(i)
        film.load()
        length += int(film.info["duration"])
    assert film.n_frames > 1 and length == 500


def test_a_path_is_saved_and_drawn_again(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    path, first, second = tmp_path / "p.json", tmp_path / "a.png", tmp_path / "b.png"
    ends = ["--from", 0, "--to", 1, "--how", "rotate"]
    assert morpho("interpolate", runs["vae"], *ends, "--path", path).code == 0
    assert morpho("interpolate", runs["vae"], *ends, "--path", path, "--out", first).code == 0
    said = morpho("interpolate", runs["vae"], "--path", path, "--out", second, "--json")
    assert np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    assert said.json["from"] == "test image 0" and said.json["paths"][0]["how"] == "rotate"
    assert said.json["paths"][0]["codes"] == json.loads(path.read_text())["codes"]


def test_the_study_is_a_table(morpho: Morpho, runs: dict[str, Path]) -> None:
    words = ["interpolate", runs["dcgan"], "--study", "--pairs", 8, "--seeds", 2, "--features", "pixels"]
    lines = morpho(*words).out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["images", "ends", "linear", "slerp", "rotate"]
    assert "8 pairs of draws from the prior with each of 2 seeds" in lines[6]
    told = morpho(*words, "--json").json
    assert told["ends"] == "prior" and len(told["rows"][2]["distances"]) == 2


def test_a_morph(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "m.gif"
    words = ["morph", runs["vae"], "--pairs", "2x2", "--fps", 10, "--seconds", 1, "--there-and-back", "--out", out]
    said = morpho(*words, "--json")
    assert said.json["frames"] == 18 and said.json["fps"] == 10 and said.json["pairs"] == [2, 2]
    assert said.json["seconds"] == 1.8 and len(said.json["ends"]) == 4
    assert "4 pairs at 320 images" in morpho(*words).out
    named = morpho(*words[:2], "--from", "1, 2", "--to", "3,4", "--fps", 5, "--seconds", 1, "--out", out, "--json").json
    assert named["ends"] == [["test image 1", "test image 3"], ["test image 2", "test image 4"]]


REFUSALS = {
    "no ends": ("interpolate {r} --out {t}/a.png", "from = None", "--to", "--path"),
    "one end": ("interpolate {r} --from 1 --out {t}/a.png", "to = None", "both ends"),
    "no out": ("interpolate {r} --from 1 --to 2", "out = None", ".png"),
    "no out again": ("interpolate {r} --path {t}/p.json", "out = None", ".png"),
    "no picture": ("interpolate {r} --from 1 --to 2 --out {t}/a.jpg", "a.jpg", ".webp"),
    "below a file": ("interpolate {r} --from 1 --to 2 --out /dev/null/a.png", "/dev/null", "not a folder"),
    "one step": ("interpolate {r} --from 1 --to 2 --steps 1 --out {t}/a.png", "steps = 1", "from 2"),
    "no such rate": ("interpolate {r} --from 1 --to 2 --fps 0 --out {t}/a.gif", "fps = 0", "240"),
    "no such path": ("interpolate {r} --from 1 --to 2 --how slurp --out {t}/a.png", "slurp", "slerp"),
    "no such image": ("interpolate {r} --from 1 --to 999 --out {t}/a.png", "image = 999", "from 0 to 359"),
    "no such file": ("interpolate {r} --from 1 --to me.jpg --out {t}/a.png", "me.jpg", "no such file"),
    "all to one path": ("interpolate {r} --from 1 --to 2 --how all --path {t}/p.json", "how = 'all'", "one path"),
    "no json": ("interpolate {r} --from 1 --to 2 --path {t}/p.txt", "p.txt", ".json"),
    "no path file": ("interpolate {r} --path {t}/no.json --out {t}/a.png", "no.json", "No such file"),
    "study and ends": ("interpolate {r} --study --from 1", "from = '1'", "--study"),
    "study of nothing": ("interpolate {r} --study --features pixls", "pixls", "did you mean 'pixels'"),
    "no condition": ("interpolate {r} --from 1 --to 2 --label 3 --out {t}/a.png", "label = '3'", "no condition"),
    "no film": ("morph {r} --out {t}/a.png", "a.png", ".gif, .webp or .mp4"),
    "pairs in words": ("morph {r} --pairs four --out {t}/a.gif", "pairs = 'four'", "4x4"),
    "too many pairs": ("morph {r} --pairs 100x100 --out {t}/a.gif", "100x100", "4096"),
    "more pairs than images": ("morph {r} --pairs 20x20 --out {t}/a.gif", "pairs = 400", "180"),
    "no length": ("morph {r} --seconds 0 --out {t}/a.gif", "seconds = 0", "at 30 a second"),
    "ends not alike": ("morph {r} --from 1,2 --to 3 --out {t}/a.gif", "ends = 1", "as many as the starts, 2"),
    "no film below a file": ("morph {r} --out /dev/null/a.gif", "/dev/null", "not a folder"),
    "negative seed": ("morph {r} --seed -1 --out {t}/a.gif", "seed = -1", "from 0"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal(morpho: Morpho, runs: dict[str, Path], tmp_path: Path, case: str) -> None:
    line, *words = REFUSALS[case]
    said = morpho(*line.format(r=runs["vae"], t=tmp_path).split())
    assert said.code == 2, said
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert all(word in said.err for word in words), said.err
    assert list(tmp_path.iterdir()) == []


def test_a_generator_has_no_code_for_an_image(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    said = morpho("interpolate", runs["dcgan"], "--from", 1, "--to", "seed:2", "--out", tmp_path / "a.png")
    assert said.code == 2 and "dcgan has no encoder: use `morpho project`" in said.err and said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
