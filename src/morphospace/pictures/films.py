"""Films: frames as GIF, animated WebP or MP4 files that carry their parameters and appear whole or not at all.

GIF and WebP loop; of an MP4 the player decides. Frames come one at a time and are not kept: a film may be longer than
memory. Their parameters stand as JSON in the comment of a GIF or MP4, and as the image description (Exif) of a WebP.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import GifImagePlugin, Image

from morphospace.errors import MissingExtra, RunError, SettingError, require
from morphospace.files import atomic, json_text
from morphospace.pictures.enlarge import asked

FILMS = (".gif", ".webp", ".mp4")
SLOWEST, FASTEST = 0.1, 240.0
GIF_FASTEST = 50.0  # browsers show a GIF's frame of one centisecond for ten
QUALITY = 85  # of a WebP
LOOKED_AT = 200_000  # pixels that a palette is made from
CRF = 18  # of an MP4: near what the eye takes for the original
GIF_SIDE, WEBP_SIDE = 65_535, 16_383  # pixels that the formats can hold
MP4_SIDE = 16_384


@dataclass(frozen=True)
class Film:
    """A film on disk.

    Attributes:
        path: The file.
        frames: How many frames it was given.
        fps: The rate at which it plays, frames a second: what the format could hold of what was asked for.
        seconds: How long a turn of it takes.
        size: Width and height of a frame in pixels.
        file_bytes: The file's length.
    """

    path: Path
    frames: int
    fps: float
    seconds: float
    size: tuple[int, int]
    file_bytes: int

    @property
    def words(self) -> str:
        """Frames, length, rate and size in words."""
        size = f"{self.size[0]}x{self.size[1]}, {self.file_bytes / 1e6:.1f} MB"
        return f"{self.frames} frames in {self.seconds:.2f} s, {self.fps:.4g} a second; {size}"

    def as_dict(self) -> dict[str, Any]:
        """Return frames, rate, length and size as plain values, for JSON."""
        return {"frames": self.frames, "fps": self.fps, "seconds": self.seconds, "size": list(self.size)}


def check_film_path(path: Path) -> None:
    """Refuse a path that no film can be written to, before any work is done.

    Raises:
        SettingError: If it is a folder, or not named .gif, .webp or .mp4.
        MissingExtra: If it is an MP4 and its encoder is not installed.
    """
    if path.suffix.lower() not in FILMS or path.is_dir():
        raise SettingError("out", str(path), "must be a file name that ends in .gif, .webp or .mp4")
    if path.suffix.lower() == ".mp4":
        _encoder()


def playable(path: Path, fps: float) -> float:
    """Return the rate asked for, or the fastest that a format plays: 50 frames a second in a GIF.

    Raises:
        SettingError: If the rate is out of range.
    """
    require(SLOWEST <= fps <= FASTEST, "fps", fps, f"must be from {SLOWEST:g} to {FASTEST:g} frames a second")
    return min(fps, GIF_FASTEST) if path.suffix.lower() == ".gif" else fps


def held_rate(path: Path, fps: float, frames: int) -> float:
    """Return the rate at which a format plays so many frames, asked for `fps`.

    A GIF holds whole centiseconds for each frame, a WebP milliseconds. The frames' delays differ by one such unit where
    that brings the end nearest to where it belongs: 150 frames at 30 a second are 5.00 s in either.

    Raises:
        SettingError: If the rate or the number of frames is out of range.
    """
    rate = playable(path, fps)
    require(frames >= 1, "frames", frames, "must be at least 1")
    if path.suffix.lower() == ".mp4":
        return rate
    return 1000 * frames / sum(_delays(rate, frames, 10 if path.suffix.lower() == ".gif" else 1))


def save_film(
    path: Path,
    frames: Iterable[Image.Image],
    count: int,
    fps: float,
    parameters: Mapping[str, Any],
    *,
    colours: Sequence[Image.Image] = (),
) -> Film:
    """Write a film, whole or not at all, with what made it.

    Args:
        path: Ends in .gif, .webp or .mp4.
        frames: Frames of one size, grey (`L`) or colour (`RGB`); taken one at a time.
        count: How many they are.
        fps: Frames a second; the nearest that the format can hold is taken.
        parameters: What made it. The file also gets the frames' number and the true rate.
        colours: Frames whose colours stand for all, where the format has but 256 (GIF); the first one when empty.

    Raises:
        SettingError: If the format, rate or size is not possible.
        MissingExtra: If it is an MP4 and its encoder is not installed.
        RunError: If it cannot be written.
    """
    check_film_path(path)
    rate = held_rate(path, fps, count)
    stream = iter(frames)
    first = next(stream)
    kind = path.suffix.lower()
    side = {".gif": GIF_SIDE, ".webp": WEBP_SIDE, ".mp4": MP4_SIDE}[kind]
    require(max(first.size) <= side, "frame", f"{first.width}x{first.height}", f"a {kind} holds at most {side} pixels")
    facts = json_text({**parameters, **asked().facts, "frames": count, "fps": rate}, sort_keys=True)
    every = _counted(itertools.chain([first], stream), count)
    with atomic(path) as partial:
        if kind == ".gif":
            _write_gif(partial, every, _delays(playable(path, fps), count, 10), facts, colours or [first])
        elif kind == ".webp":
            _write_webp(partial, every, _delays(fps, count, 1), facts)
        else:
            _write_mp4(partial, every, first.size, fps, facts)
    return Film(path, count, rate, count / rate, first.size, path.stat().st_size)


def _delays(fps: float, frames: int, unit: int) -> list[int]:
    """Return the frames' delays in milliseconds, each a multiple of `unit`."""
    ends = [round(i * 1000 / (fps * unit)) for i in range(frames + 1)]
    return [unit * (after - before) for before, after in itertools.pairwise(ends)]


def _counted(frames: Iterator[Image.Image], count: int) -> Iterator[Image.Image]:
    """Pass frames on, and check their number, size and mode."""
    size, mode, met = None, None, 0
    for frame in frames:
        met += 1
        size, mode = size or frame.size, mode or frame.mode
        assert (frame.size, frame.mode) == (size, mode) and mode in ("L", "RGB") and met <= count
        yield frame
    assert met == count


def _write_gif(
    path: Path, frames: Iterator[Image.Image], delays: Sequence[int], facts: str, colours: Sequence[Image.Image]
) -> None:
    # Image.save keeps every frame until the last, and takes 256 colours of each by itself, which flickers: so the
    # pieces are put together here, with one palette for the whole film. A grey frame has its 256 levels anyway.
    palette = None if colours[0].mode == "L" else _palette(colours)
    with path.open("wb") as file:
        for i, (frame, delay) in enumerate(zip(frames, delays, strict=True)):
            drawn = frame if palette is None else frame.quantize(palette=palette, dither=Image.Dither.NONE)
            if i == 0:
                info = {"loop": 0, "comment": facts.encode()}
                file.writelines(GifImagePlugin.getheader(drawn.copy(), info=info)[0])
            file.writelines(GifImagePlugin.getdata(drawn, duration=delay))
        file.write(b";")


def _palette(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return a picture with the 256 colours that stand best for those of some pictures together."""
    pixels = np.concatenate([np.asarray(picture).reshape(-1, 3) for picture in pictures])
    pixels = pixels[:: max(1, len(pixels) // LOOKED_AT)]
    return Image.fromarray(pixels[None]).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)


class _Reel:
    """Frames to come, in the form of one multi-frame image: Image.save would make a list of single ones."""

    def __init__(self, frames: Iterator[Image.Image], count: int) -> None:
        self.frames, self.n_frames = frames, count
        self.frame: Image.Image | None = None

    def seek(self, index: int) -> None:
        self.frame = next(self.frames)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["frame"], name)


def _write_webp(path: Path, frames: Iterator[Image.Image], delays: Sequence[int], facts: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = facts  # ImageDescription
    first = next(frames)
    rest = [_Reel(frames, len(delays) - 1)] if len(delays) > 1 else []
    settings: dict[str, Any] = {"duration": list(delays), "loop": 0, "quality": QUALITY, "method": 2, "exif": exif}
    first.save(path, format="WEBP", save_all=True, append_images=rest, **settings)


def _encoder() -> str:
    """Return the path of ffmpeg."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        way_out = "pip install 'morphospace[video]', or write a .gif or .webp"
        raise MissingExtra("video", rule="an MP4 needs an encoder", way_out=way_out) from error


def _write_mp4(path: Path, frames: Iterator[Image.Image], size: tuple[int, int], fps: float, facts: str) -> None:
    # Colours at half the resolution, as every player wants it, need even sides: white is added.
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", f"{fps:.6f}", "-i", "-"]
    made = ["-an", "-vf", f"pad={even[0]}:{even[1]}:0:0:white", "-c:v", "libx264", "-crf", str(CRF)]
    made += ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-metadata", f"comment={facts}", str(path)]
    with tempfile.TemporaryFile() as said:
        command = [_encoder(), "-y", "-v", "error", "-nostdin", *given, *made]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        assert process.stdin is not None
        try:
            for frame in frames:
                process.stdin.write(frame.convert("RGB").tobytes())
            process.stdin.close()
            failed = process.wait() != 0
        except BrokenPipeError:
            failed = True
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if failed:
            said.seek(0)
            why = " ".join(said.read().decode(errors="replace").split()) or f"exit status {process.returncode}"
            raise RunError("out", str(path), f"the encoder could not write it ({why[-200:]})", "try a .gif or .webp")
