"""Every command and every example that the documentation shows is run, on small stand-ins for the real images."""

from __future__ import annotations

import gzip
import re
import shlex
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphospace import Run, train
from morphospace.cli import main
from morphospace.cli.app import build
from morphospace.evaluation import learned
from morphospace.tools.evaluate import likelihood
from tests.conftest import draw_blobs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page: Path) -> list[list[str]]:
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("morpho ")]


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put small sets where the documentation's commands look for real ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MORPHOSPACE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(learned, "FEWEST_STEPS", 5)  # networks for features are trained on next to nothing anyway
    monkeypatch.setitem(likelihood.iwae.__kwdefaults__, "k", 50)
    blobs = draw_blobs(96, (28, 28, 1))[..., 0]
    labels = (np.arange(96) % 10).astype(np.uint8)
    for name in ("mnist", "fashion_mnist", "kmnist"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for split in ("train", "t10k"):
            write_idx(folder / f"{split}-images-idx3-ubyte.gz", blobs)
            write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)
    faces = tmp_path / "data" / "celeba" / "img_align_celeba"
    faces.mkdir(parents=True)
    photos = tmp_path / "photos"
    photos.mkdir()
    names = [f"{i:06d}.jpg" for i in range(1, 97)]
    for name, pixels in zip(names, draw_blobs(96, (109, 89, 3))):
        Image.fromarray(pixels).save(faces / name)
        Image.fromarray(pixels).save(photos / name)
    for name in ("slices", "sprites"):
        (tmp_path / name).mkdir()
    for i, pixels in enumerate(draw_blobs(40, (16, 16, 4))):
        Image.fromarray(pixels).save(tmp_path / "sprites" / f"{i:02}.png")
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 12).save(tmp_path / "slices" / f"{i:02}.png")
    np.save(tmp_path / "volume.npy", draw_blobs(40, (16, 16, 1)).astype(np.int16)[..., 0] * 15 - 1000)
    partition = "".join(f"{name} {int(i >= 64) + int(i >= 80)}\n" for i, name in enumerate(names))
    (faces.parent / "list_eval_partition.txt").write_text(partition)
    rows = "".join(f"{name} {1 if i % 2 else -1} -1\n" for i, name in enumerate(names))
    (faces.parent / "list_attr_celeba.txt").write_text(f"96\nSmiling Male\n{rows}")


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.name)
def test_commands_run(page: Path, stand_ins: None, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(page):
        if command[0] in ("train", "sweep"):
            # The same command, for 64 images: flags given twice are refused, so lengths are replaced.
            kept = strip(command, {"--epochs", "--images", "--batch-size", "--n"})
            if "--grid" in kept:  # two values of each axis and two seeds are a grid, too
                kept = [re.sub(r"^(\w+=[^,]+,[^,]+),.*", r"\1", word) for word in kept]
                kept = ["2" if before == "--seeds" else word for before, word in zip(["", *kept], kept)]
            command = [*kept, "--images", "64", "--batch-size", "32", "--device", "cpu"]
        elif command[0] == "train-encoder":
            command = [*strip(command, {"--images", "--minutes"}), "--images", "64"]
        elif command[0] == "reproduce":  # whole pages are made in tests/cli/test_reproduce.py
            command = [*command, *([] if "--dry-run" in command else ["--dry-run"])]
        elif command[0] == "studio":  # would serve until stopped: its words are read, no more
            build(command).parse_args(command, exit_on_error=False, print_error=False)
            continue
        elif command[0] == "demo" or "fetch" in command:
            continue
        status = main(command)
        assert not status, (command, capsys.readouterr().err)


def strip(command: list[str], flags: set[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in command:
        if skip or word in flags:
            skip = word in flags
            continue
        kept.append(word)
    return kept


# The chapters' code runs in `tests/learn`, as it stands.
@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python") and p.parent.name != "learn"], ids=lambda p: p.name
)
def test_python_examples_run(page: Path, stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page are one program, in which training is short."""

    def briefly(*arguments: Any, **settings: Any) -> Run:
        settings.pop("epochs", None)
        return train(*arguments, **{**settings, "images": 64, "batch_size": 32})

    monkeypatch.setattr("morphospace.tools.train.train.train", briefly)
    monkeypatch.setattr("morphospace.tools.benchmark.plan.speed_of", lambda *arguments, **more: 20.0)
    program: dict[str, Any] = {"__name__": page.stem}
    for code in blocks(page, "python"):
        exec(code, program)


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
