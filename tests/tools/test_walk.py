"""Walks and morphs through the Python API."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import morphospace as ms
from morphospace.data.batches import held_out
from morphospace.errors import DataError, MorphospaceError, RunError, SettingError
from morphospace.evaluation.features import Extractor
from morphospace.latent.paths import along
from morphospace.runs.codes import codes_of, decode
from morphospace.runs.condition import Condition
from morphospace.runs.pick import picked
from morphospace.tools.walk.pairs import draw_pairs, frames_of
from morphospace.tools.walk.paths import follow, pace, save_walk
from morphospace.tools.walk.study import path_study

BRIEF = {"report_images": 10**6, "checkpoint_images": 10**6}
SMALL = {"images": 256, "batch_size": 32, "tower": "mlp", "widths": (16,), "latent_dim": 4, "device": "cpu", **BRIEF}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    told = {"cvae": {"condition": "label"}, "cgan": {"condition": "label"}}
    return {
        name: ms.train(name, data="digits", out=folder / name, **SMALL, **told.get(name, {}))
        for name in ("ae", "vae", "dcgan", "cvae", "cgan")
    }


@pytest.mark.parametrize("how", ["linear", "slerp", "rotate"])
@pytest.mark.parametrize("name", ["ae", "vae"])
def test_a_walk_goes_from_one_images_mean_to_anothers(runs: dict[str, ms.Run], name: str, how: str) -> None:
    run = runs[name]
    walk = ms.interpolate(run, 3, "train:5", how=how, steps=7)
    splits = run.pack.split("test"), run.pack.split("train")
    ends = [codes_of(run, np.asarray(split.images[[i]]))[0] for split, i in zip(splits, (3, 5))]
    assert torch.equal(walk.codes[0], ends[0]) and torch.equal(walk.codes[-1], ends[1])
    (_, trained), _ = held_out(run.pack, run.configuration.data.valid)
    out = next(row for row in range(1437) if row not in trained)
    assert [picked(run, f"train:{row}").words for row in (trained[0], out)] == [
        f"train image {trained[0]}", f"train image {out}, held out"
    ]  # fmt: skip
    assert torch.equal(walk.codes, along(ends[0], ends[1], 7, how))
    assert np.array_equal(walk.images, decode(run.model, walk.codes))
    assert walk.ends == ("test image 3", "train image 5") and walk.conditions is None
    assert walk.norms == pytest.approx([float(np.linalg.norm(code)) / 2 for code in walk.codes.numpy()])
    assert np.array_equal(ms.interpolate(run.path, 3, "train:5", how=how, steps=7).images, walk.images)


def test_ends_are_seeds_and_pictures_too(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    walk = ms.interpolate(runs["dcgan"], "seed:3", "seed:4", steps=3)
    assert np.array_equal(walk.images[0], ms.sample(runs["dcgan"], 1, seed=3)[0])
    picture = tmp_path / "nine.png"
    Image.fromarray(runs["vae"].pack.split("test").images[9][..., 0]).save(picture)
    walk = ms.interpolate(runs["vae"], picture, 9, steps=2)
    assert torch.equal(walk.codes[0], walk.codes[1]) and walk.ends[0] == "nine.png"


def test_pace_is_the_root_mean_square_change() -> None:
    images = torch.zeros(3, 1, 2, 2)
    images[1, 0, 0, 0], images[2] = 1.0, 0.5
    expected = [math.sqrt(1 / 4), math.sqrt((3 * 0.25 + 0.25) / 4)]
    assert pace(images).mean == pytest.approx(np.mean(expected))
    assert pace(images).spread == pytest.approx(np.std(expected))
    assert pace(torch.linspace(0, 1, 5)[:, None].repeat(1, 9)).spread == pytest.approx(0, abs=1e-7)


def test_pace_is_measured_before_rounding(runs: dict[str, ms.Run]) -> None:
    """In many steps the change of a step is less than a level of 255, and adding up rounded ones would mislead."""
    few, many = (ms.interpolate(runs["vae"], 1, 2, how="linear", steps=n).pace.mean for n in (11, 2001))
    assert many * 200 == pytest.approx(few, rel=0.05)


def test_a_conditional_model_is_told_each_ends_own_class_mixed_between(runs: dict[str, ms.Run]) -> None:
    labels = runs["cvae"].pack.split("test").labels
    assert labels is not None
    first, second = 0, int(np.argmax(labels != labels[0]))
    walk = ms.interpolate(runs["cvae"], first, second, steps=3)
    assert walk.conditions is not None
    middle = np.eye(10)[labels[[first, second]]].mean(0)
    assert np.array_equal(walk.conditions[1].numpy(), middle.astype(np.float32))
    assert np.array_equal(walk.images, decode(runs["cvae"].model, walk.codes, walk.conditions))
    # Whatever is to be drawn, the encoder is told what an image shows.
    asked = ms.interpolate(runs["cvae"], first, second, steps=3, label=(labels[first] + 1) % 10)
    assert torch.equal(asked.codes, walk.codes) and not np.array_equal(asked.images, walk.images)
    pairs = draw_pairs(runs["cvae"], 3, 0), draw_pairs(runs["cvae"], 3, 0, asked=Condition(label=5))
    assert torch.equal(pairs[0].starts, pairs[1].starts) and pairs[1].conditions is not None
    assert pairs[1].conditions[0].argmax(1).tolist() == [5, 5, 5]
    asked = ms.interpolate(runs["cgan"], "seed:1", "seed:2", steps=3, label=4)
    assert asked.conditions is not None and asked.conditions.argmax(1).tolist() == [4, 4, 4]
    with pytest.raises(SettingError, match=r"label = None: cgan needs the condition of 'seed:1'"):
        ms.interpolate(runs["cgan"], "seed:1", "seed:2")
    with pytest.raises(MorphospaceError, match="takes no condition"):
        ms.interpolate(runs["vae"], 1, 2, label=4)


def test_a_saved_path_is_drawn_again_to_the_last_bit(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    for name, ends in (("vae", (1, 2)), ("cvae", (1, 2))):
        walk = ms.interpolate(runs[name], *ends, how="rotate", steps=5)
        save_walk(tmp_path / "path.json", runs[name], walk)
        again = follow(runs[name], tmp_path / "path.json")
        assert torch.equal(again.codes, walk.codes) and np.array_equal(again.images, walk.images)
        assert (again.how, again.ends, again.pace) == (walk.how, walk.ends, walk.pace)
    held = ms.interpolate(runs["cvae"], tmp_path / "path.json", f"{tmp_path / 'path.json'}#4", steps=2)
    assert torch.equal(held.codes, walk.codes[[0, -1]])  # its codes are ends for other tools


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", DataError, "is no path"),
        ("[1, 2]", DataError, "is no path"),
        ('{"codes": [[1, 2, 3, 4]]}', DataError, "is no path"),
        ('{"codes": [[1, 2, 3, 4], [1, 2, 3]]}', DataError, "is no path"),
        ('{"codes": [[1, 2, 3, 4], [1, 2, 3, NaN]]}', DataError, "finite"),
        ('{"codes": [[1, 2, 3], [4, 5, 6]]}', RunError, "codes of 3 numbers, the run's have 4"),
        ('{"codes": [[1, 2, 3, 4], [4, 5, 6, 7]], "conditions": [[1], [2]]}', RunError, "conditions of shape"),
    ],
)
def test_what_is_no_path_is_refused(
    runs: dict[str, ms.Run], tmp_path: Path, text: str, error: type[Exception], words: str
) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(error, match=words) as refused:
        follow(runs["vae"], tmp_path / "p.json")
    assert "\n" not in str(refused.value)


def test_a_morph_has_every_frame_between_its_ends(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    run = runs["vae"]
    made = ms.morph(run, tmp_path / "m.gif", pairs=(2, 3), fps=12.5, seconds=1, how="rotate", seed=5)
    assert made.film.frames == 12 and made.pairs == (2, 3) and len(made.ends) == 6
    frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(Image.open(tmp_path / "m.gif"))]
    assert len(frames) == 12
    first, last = made.ends[4]  # row 1, column 1: the cells are of 8 x 8 pixels, eight times as large
    for frame, words in ((frames[0], first), (frames[-1], last)):
        shown = frame[2 + 66 : 2 + 66 + 64 : 8, 2 + 66 : 2 + 66 + 64 : 8]
        walk = ms.interpolate(run, words.removeprefix("test image "), 0, steps=2)
        assert np.abs(shown.astype(int) - walk.images[0][..., 0]).max() <= 1
    told = json.loads(Image.open(tmp_path / "m.gif").info["comment"])
    assert told["ends"][4] == [first, last] and told["how"] == "rotate" and told["fps"] == 12.5
    numbers = [word for pair in made.ends for word in pair]
    assert len(set(numbers)) == 12
    again = ms.morph(run, tmp_path / "n.gif", pairs=(2, 3), fps=12.5, seconds=1, how="rotate", seed=5)
    assert again.ends == made.ends and (tmp_path / "n.gif").read_bytes() == (tmp_path / "m.gif").read_bytes()


def test_there_and_back_loops_without_a_frame_twice(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    made = ms.morph(runs["dcgan"], tmp_path / "m.webp", pairs=(1, 1), fps=5, seconds=1, there_and_back=True)
    assert made.film.frames == 5 + 3 and made.ends == (("sample 0 of seed 0", "sample 1 of seed 0"),)
    made = ms.morph(runs["dcgan"], tmp_path / "m.gif", pairs=(1, 1), fps=5, seconds=1, there_and_back=True)
    frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(Image.open(tmp_path / "m.gif"))]
    assert len(frames) == 8 and all(np.array_equal(frames[i], frames[8 - i]) for i in range(1, 4))


def test_a_gif_lasts_as_long_as_asked_at_a_rate_it_can_hold(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    made = ms.morph(runs["vae"], tmp_path / "m.gif", pairs=(1, 1), fps=120, seconds=0.4)
    assert made.film.fps == 50 and made.film.seconds == pytest.approx(0.4) and made.film.frames == 20


@pytest.mark.parametrize("name", ["vae", "cvae", "cgan", "ae"])
def test_frames_do_not_depend_on_how_many_are_decoded_at_once(
    runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pairs = draw_pairs(runs[name], 3, seed=1)
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    together = list(frames_of(runs[name], pairs, t, "slerp"))
    monkeypatch.setattr("morphospace.tools.walk.pairs.AT_ONCE", 6)
    apart = list(frames_of(runs[name], pairs, t, "slerp"))
    assert len(together) == len(apart) == 9 and together[0].shape == (3, 8, 8, 1)
    assert max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(together, apart)) <= 1
    told = None if pairs.conditions is None else pairs.conditions[0]
    assert np.abs(together[0].astype(int) - decode(runs[name].model, pairs.starts, told)).max() <= 1
    told = None if pairs.conditions is None else pairs.conditions[1]
    assert np.abs(together[-1].astype(int) - decode(runs[name].model, pairs.ends, told)).max() <= 1


def test_pairs_that_someone_names(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    made = ms.morph(runs["cvae"], tmp_path / "m.gif", starts=[1, 2], ends=["train:3", 4], fps=5, seconds=1)
    assert made.pairs == (1, 2) and made.ends == (("test image 1", "train image 3"), ("test image 2", "test image 4"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs": (0, 4)}, "pairs = '0x4'"),
        ({"pairs": (14, 14)}, "must be from 1 to 180"),
        ({"seconds": 0.01}, "seconds = 0.01"),
        ({"fps": -1}, "fps = -1"),
        ({"how": "curved"}, "linear, slerp, rotate"),
        ({"starts": [1, 2], "ends": [3]}, "ends = 1"),
        ({"starts": [1], "ends": [3], "pairs": (2, 2)}, "as many as the starts"),
        ({"starts": [1], "ends": [999]}, "from 0 to 359"),
    ],
)
def test_morphs_that_cannot_be_are_refused_and_leave_nothing(
    runs: dict[str, ms.Run], tmp_path: Path, change: dict, words: str
) -> None:
    with pytest.raises(MorphospaceError, match=words) as refused:
        ms.morph(runs["vae"], tmp_path / "m.gif", **{"seconds": 1, "fps": 5, **change})
    assert "\n" not in str(refused.value) and list(tmp_path.iterdir()) == []


def test_images_as_ends_need_an_encoder(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    for call in (
        lambda: ms.interpolate(runs["dcgan"], 1, 2),
        lambda: ms.morph(runs["dcgan"], tmp_path / "m.gif", starts=[1], ends=[2]),
    ):
        with pytest.raises(RunError, match="dcgan has no encoder: use `morpho project`"):
            call()
    with pytest.raises(SettingError, match="steps = 1"):
        ms.interpolate(runs["vae"], 1, 2, steps=1)


def test_the_study_holds_middles_against_the_nearest_training_image(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]

    def bright(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).mean(1, keepdims=True) / 255

    extractor = Extractor("bright", "bright", "none", 100, lambda images: (torch.tensor(bright(images.numpy())), None))
    found = path_study(run, 12, 2, features=extractor)
    assert (found.pairs, found.seeds, found.ends, found.features) == (12, 2, "images", "bright")
    assert [row.name for row in found.rows] == ["images", "ends", "linear", "slerp", "rotate"]
    (train, rows), held = held_out(run.pack, run.configuration.data.valid)
    assert held is not None and found.references == len(rows) == len(train) - len(held[1])
    known = bright(np.asarray(train.images)[rows])[:, 0]
    for seed in range(2):
        pairs = draw_pairs(run, 12, seed)
        middle = decode(run.model, (pairs.starts + pairs.ends) / 2)
        nearest = np.abs(bright(middle) - known).min(1).mean()
        assert found.row("linear").distances[seed] == pytest.approx(nearest, abs=1e-4)
        norm = float(((pairs.starts + pairs.ends) / 2).norm(dim=1).mean()) / 2
        assert found.row("linear").norms[seed] == pytest.approx(norm)
    speeds = []
    for start, end in zip(pairs.starts, pairs.ends):
        points = torch.stack([start + (end - start) * i / 10 for i in range(11)])
        images = run.model.decode(points).detach().numpy()
        speeds.append([math.sqrt(((b - a) ** 2).mean()) for a, b in itertools.pairwise(images)])
    assert found.row("linear").speeds[1] == pytest.approx(np.mean(speeds), rel=1e-3)
    assert found.row("linear").spreads[1] == pytest.approx(np.std(speeds, axis=1).mean(), rel=1e-3)


def test_the_study_of_a_generator_starts_from_draws(runs: dict[str, ms.Run]) -> None:
    found = path_study(runs["cgan"], 64, 1, features="pixels")
    assert found.ends == "prior" and found.features == "pixels"
    assert found.row("linear").norms[0] < 0.85 * found.row("slerp").norms[0]  # z = 4: rather less than 1 / sqrt(2)
    assert found.row("images").norms == () and len(found.row("rotate").speeds) == 1
