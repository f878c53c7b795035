"""Films as other readers see them: Pillow's for GIF and WebP, ffmpeg's for MP4."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from morphospace.errors import MissingExtra, RunError, SettingError
from morphospace.pictures.films import check_film_path, held_rate, save_film
from morphospace.pictures.sheet import grid_with_row_labels


def frames(count: int, mode: str = "L", size: tuple[int, int] = (20, 12)) -> Iterator[Image.Image]:
    """Draw a bar that moves; no two frames are alike."""
    for i in range(count):
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[:, i % size[0]] = (255, 10 * (i % 20), 40)
        pixels[0, 0] = i
        yield Image.fromarray(pixels).convert(mode)


def shown(path: Path) -> tuple[list[Image.Image], list[int]]:
    film = Image.open(path)
    kept = [frame.convert("RGB") for frame in ImageSequence.Iterator(film)]
    delays = []
    for i in range(film.n_frames):
        film.seek(i)
        film.load()
        delays.append(int(film.info["duration"]))
    return kept, delays


@pytest.mark.parametrize(("fps", "count", "total"), [(30, 150, 5000), (7, 10, 1430), (24, 48, 2000), (1, 3, 3000)])
def test_a_gif_plays_at_the_rate_it_says(tmp_path: Path, fps: int, count: int, total: int) -> None:
    path = tmp_path / "a.gif"
    film = save_film(path, frames(count), count, fps, {"seed": 3})
    kept, delays = shown(path)
    assert sum(delays) == total and all(d % 10 == 0 for d in delays) and max(delays) - min(delays) <= 10
    assert len(kept) == film.frames == count
    assert film.fps == pytest.approx(1000 * count / total) == held_rate(path, fps, count)
    assert film.seconds == pytest.approx(total / 1000)
    told = json.loads(Image.open(path).info["comment"])
    assert told == {"seed": 3, "frames": count, "fps": film.fps} and Image.open(path).info["loop"] == 0
    assert film.size == (20, 12) and film.file_bytes == path.stat().st_size


def test_no_gif_is_faster_than_browsers_play() -> None:
    assert held_rate(Path("a.gif"), 60, 120) == 50.0
    assert held_rate(Path("a.webp"), 60, 120) == pytest.approx(60)
    assert held_rate(Path("a.mp4"), 60, 120) == 60


def test_grey_frames_of_a_gif_are_exact(tmp_path: Path) -> None:
    save_film(tmp_path / "a.gif", frames(9), 9, 10, {})
    for kept, drawn in zip(shown(tmp_path / "a.gif")[0], frames(9), strict=True):
        assert np.array_equal(np.asarray(kept)[..., 0], np.asarray(drawn))


def test_colours_of_a_gif_stand_for_the_whole_film(tmp_path: Path) -> None:
    """The first frame is red, the last blue: a palette of the first alone could not show it."""
    ends = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    save_film(tmp_path / "a.gif", iter(ends), 2, 5, {}, colours=ends)
    assert [frame.getpixel((3, 3)) for frame in shown(tmp_path / "a.gif")[0]] == [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_webp_plays_at_the_rate_asked_for(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.webp"
    film = save_film(path, frames(30, mode), 30, 30, {"seed": 3})
    kept, delays = shown(path)
    assert sum(delays) == 1000 and set(delays) == {33, 34} and film.fps == pytest.approx(30)
    first = np.asarray(next(frames(1, mode)).convert("RGB")).astype(int)
    assert np.abs(np.asarray(kept[0]) - first).mean() < 20  # lossy, but that picture
    assert json.loads(Image.open(path).getexif()[0x010E]) == {"seed": 3, "frames": 30, "fps": film.fps}
    assert Image.open(path).info["loop"] == 0


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_a_film_of_one_frame(tmp_path: Path, name: str) -> None:
    assert save_film(tmp_path / name, frames(1), 1, 10, {}).frames == 1
    assert Image.open(tmp_path / name).size == (20, 12)


def test_an_mp4_holds_every_frame_and_its_parameters(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "a.mp4"
    size = (21, 13)
    film = save_film(path, frames(25, "RGB", size), 25, 12.5, {"how": 'it\'s "so"; é=1'})
    assert film.fps == 12.5 and film.seconds == 2
    reader = ffmpeg.read_frames(str(path))
    about = next(reader)
    assert about["size"] == (22, 14) and about["fps"] == 12.5  # even sides
    kept = [np.frombuffer(frame, np.uint8).reshape(14, 22, 3) for frame in reader]
    assert len(kept) == 25
    drawn = np.asarray(next(frames(1, "RGB", size))).astype(int)
    assert np.abs(kept[0][:13, :21].mean(2) - drawn.mean(2)).mean() < 12
    said = subprocess.run([ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr
    comment = re.search(r"comment\s*: (.*)", said)
    assert comment and json.loads(comment[1]) == {"how": 'it\'s "so"; é=1', "frames": 25, "fps": 12.5}


def test_an_encoder_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'no such\ncodec' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("morphospace.pictures.films._encoder", lambda: str(broken))
    with pytest.raises(RunError, match=r"no such codec.*\.gif") as refused:
        save_film(tmp_path / "a.mp4", frames(400, "RGB", (200, 200)), 400, 10, {})
    assert "\n" not in str(refused.value) and [p.name for p in tmp_path.iterdir()] == ["ffmpeg"]


def test_without_the_extra_an_mp4_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtra, match=r"morphospace\[video\].*\.gif"):
        check_film_path(Path("a.mp4"))


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_a_film_that_breaks_off_leaves_nothing(tmp_path: Path, name: str) -> None:
    def broken() -> Iterator[Image.Image]:
        yield from frames(2)
        raise KeyError("decoder")

    with pytest.raises(KeyError):
        save_film(tmp_path / name, broken(), 5, 10, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_frames_are_taken_one_at_a_time(tmp_path: Path, name: str) -> None:
    """No more than a few frames live at once, however long the film."""
    alive: weakref.WeakValueDictionary[int, Image.Image] = weakref.WeakValueDictionary()
    most = 0

    def counted() -> Iterator[Image.Image]:
        nonlocal most
        for frame in frames(60):
            alive[id(frame)] = frame
            yield frame
            most = max(most, len(alive))

    save_film(tmp_path / name, counted(), 60, 10, {})
    assert most <= 4


@pytest.mark.parametrize(
    ("name", "fps", "count", "words"),
    [
        ("a.png", 10, 3, r"\.gif, \.webp or \.mp4"),
        ("a.gif", 0, 3, "fps = 0"),
        ("a.gif", 1000, 3, "at most|to 240"),
        ("a.gif", float("nan"), 3, "fps = nan"),
        ("a.gif", 10, 0, "frames = 0"),
    ],
)
def test_refusals(tmp_path: Path, name: str, fps: float, count: int, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        save_film(tmp_path / name, itertools.repeat(Image.new("L", (4, 4))), count, fps, {})
    assert list(tmp_path.iterdir()) == []


def test_a_frame_wider_than_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="16383"):
        save_film(tmp_path / "a.webp", iter([Image.new("L", (16_400, 1))]), 1, 10, {})


def test_words_stand_left_of_their_rows() -> None:
    images = np.zeros((4, 32, 32, 1), np.uint8)
    plain, wordy = (
        grid_with_row_labels(images, 2, ["", ""], scale=1),
        grid_with_row_labels(images, 2, ["a", "a long word"], scale=1),
    )
    assert wordy.width > plain.width and wordy.height == plain.height
    left = np.asarray(wordy)[:, : wordy.width - 72]
    rows = [int((half < 128).sum()) for half in (left[:36], left[36:])]
    assert 0 < rows[0] < rows[1]


def test_words_never_stand_beside_other_rows() -> None:
    with pytest.raises(SettingError, match="images = 3: must be 4: 2 for each of 2 rows"):
        grid_with_row_labels(np.zeros((3, 8, 8, 1), np.uint8), 2, ["a", "b"])
