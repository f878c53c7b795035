"""Write samples into files: a PNG each in a folder or a zip, or one array of all in an .npz."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import PngImagePlugin
from torch import Tensor

from morphospace.errors import require
from morphospace.files import atomic, check_parent, writing
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import DecodesMasks
from morphospace.models.sampling import Hold, PriorName, SampleOptions, TopK, Truncation
from morphospace.pictures.enlarge import asked, enlarged
from morphospace.pictures.sheet import as_picture
from morphospace.ranges import Seed, check_ranges
from morphospace.runs.condition import Condition
from morphospace.runs.run import Run, loaded
from morphospace.tools.sampling import Block, Sampling
from morphospace.tools.tool import (
    SAMPLES,
    Answer,
    Asked,
    Displayable,
    Label,
    Summary,
    at_images,
    status,
)

SECONDS_BETWEEN_LINES = 10.0
DIGITS = 5  # at least, of the number in a file's name
LONGEST_NAME = 60  # letters of a class in a file's name


@dataclass(frozen=True)
class SampleFiles(Displayable):
    """Samples that were written into files.

    Attributes:
        path: The folder, .zip or .npz.
        n: How many.
        facts: What made them.
    """

    path: Path
    n: int
    facts: Mapping[str, Any]

    def summary(self) -> Summary:
        """Return what was written."""
        of = f" of {self.facts['condition']}" if "condition" in self.facts else ""
        line = f"{self.n:,} sample{'' if self.n == 1 else 's'}{of}{at_images(self.facts['images'])}: {self.path}"
        lines = [line, *([f"as many of each: {'; '.join(self.facts['rows'])}"] if "rows" in self.facts else [])]
        return Summary(lines)

    def show(self, asked: Asked) -> Answer:
        """Return what was written."""
        return Answer({"out": str(self.path), **self.facts}, *self.summary())


def save_samples(
    run: Run | str | Path,
    out: str | Path,
    *,
    n: int | None = None,
    seed: Seed = 0,
    prior: PriorName = "auto",
    truncation: Truncation = 1.0,
    top_k: TopK = 0,
    hold: Hold = None,
    label: Label = None,
    attributes: Mapping[str, float] | None = None,
    say: Callable[[str], None] = status,
) -> SampleFiles:
    """Sample images from a run into a file each, or into one array; memory does not grow with their number.

    They are the images that the sheet of `morpho sample` shows for the same arguments, in the same order: without a
    condition, a conditional model gets as many of each class, of the same codes.

    Args:
        run: A loaded run or its folder.
        out: A folder, new or empty, or a .zip: a PNG for each image, named by number and class. Or a .npz: `arr_0`,
            uint8 (N, H, W, C), with `labels` and `label_names`, or `attributes` and `attribute_names`, and `masks`,
            where the model has any.
        n: Number of images; 64 if left out.
        seed: Which samples.
        prior: As for `sample`.
        truncation: As for `sample`.
        top_k: As for `sample`.
        hold: As for `sample`.
        label: The class to sample, by name or number.
        attributes: The attributes to sample; those not named are 0.
        say: Takes one line at a time for the user.

    Raises:
        SettingError: If the folder is not empty, or an argument breaks its rule.
    """
    check_ranges(save_samples, {"seed": seed})
    options = SampleOptions(prior=prior, truncation=truncation, top_k=top_k, hold=hold)
    asked = Condition(label, attributes)
    folder = not Path(out).suffix or str(out).endswith(("/", os.sep)) or Path(out).is_dir()
    path = SAMPLES.path("out", f"{out}/" if folder else out)
    rule = "one picture cannot hold a file for each image"
    require(folder or path.suffix.lower() != ".png", "out", str(out), rule, "give a folder, a .zip or a .npz")
    check_parent(path)
    run = loaded(run)
    sampling = Sampling.of(run, asked, n=n, seed=seed, options=options)
    facts = {"run": str(run.path), "n": sampling.n, "seed": seed, "prior": prior, "images": run.images, "raw": run.raw}
    facts |= sampling.about
    write = _write_folder if folder else _write_arrays if path.suffix.lower() == ".npz" else _write_zip
    write(path, sampling, facts, say)
    return SampleFiles(path, sampling.n, facts)


def _told(sampling: Sampling, say: Callable[[str], None]) -> Iterator[tuple[int, Block]]:
    """Yield each block with the number of its first sample, and say now and then how far it is."""
    first, said = 0, time.monotonic()
    for block in sampling.blocks():
        yield first, block
        first += len(block.images)
        if time.monotonic() - said >= SECONDS_BETWEEN_LINES and first < sampling.n:
            said = time.monotonic()
            say(f"  {first:,}/{sampling.n:,} samples")


# -- a file each -------------------------------------------------------------------------------------------------


def _files(sampling: Sampling, facts: Mapping[str, Any], say: Callable[[str], None]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file."""
    known, digits = sampling.run.model.conditioning, max(DIGITS, len(str(sampling.n - 1)))
    for first, block in _told(sampling, say):
        for i, image in enumerate(block.images):
            words = "" if known is None or block.conditions is None else known.words(block.conditions[i])
            name = f"{first + i:0{digits}}{f'-{file_name(words)}' if words else ''}"
            about = {**facts, "number": first + i, **({"condition": words} if words else {})}
            yield f"{name}.png", _png(image, about)
            if block.masks is not None:
                yield f"{name}.mask.png", _png(block.masks[i], about)


def file_name(words: str) -> str:
    """Return words as part of a file's name, on any system.

    >>> file_name("T-shirt/top"), file_name("Smiling=1, Male=0")
    ('T-shirt_top', 'Smiling=1, Male=0')
    """
    plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", words)[:LONGEST_NAME]
    while len(plain.encode("utf-8", "replace")) > 3 * LONGEST_NAME:
        plain = plain[:-1]
    return plain.encode("utf-8", "replace").decode().rstrip(". ") or "_"


def _png(image: np.ndarray, about: Mapping[str, Any]) -> bytes:
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("Software", "morphospace")
    chunk.add_text("morphospace", json.dumps({**about, **asked().facts}, sort_keys=True))
    held = io.BytesIO()
    # A sheet enlarges small images unasked; these are files for other programs.
    image = image if asked().scale is None else enlarged(image[None])[0]
    as_picture(image).save(held, format="PNG", pnginfo=chunk)
    return held.getvalue()


def _write_folder(path: Path, sampling: Sampling, facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Write the files into a folder beside their place, then move them there together."""
    new = not path.exists()
    partial = path / f".partial-{os.getpid()}"
    try:
        with writing(path):
            partial.mkdir(parents=True)
        for name, content in _files(sampling, facts, say):
            with writing(path):
                (partial / name).write_bytes(content)
        with writing(path):
            for file in sorted(partial.iterdir()):
                file.rename(path / file.name)
            partial.rmdir()
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _write_zip(path: Path, sampling: Sampling, facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
    with atomic(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, content in _files(sampling, facts, say):
            archive.writestr(zipfile.ZipInfo(name), content)


# -- arrays ------------------------------------------------------------------------------------------------------


def _write_arrays(path: Path, sampling: Sampling, facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Write an .npz, the images block by block; the masks, which are as many, are sampled in a second pass."""
    shape = sampling.run.model.shape
    conditions: list[Tensor] = []
    with atomic(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        with _array(archive, "arr_0", (sampling.n, *shape)) as put:
            for _, block in _told(sampling, say):
                put(block.images)
                conditions += [] if block.conditions is None else [block.conditions]
        if isinstance(sampling.run.model, DecodesMasks):
            with _array(archive, "masks", (sampling.n, *shape[:2], 1)) as put:
                for _, block in _told(sampling, say):
                    assert block.masks is not None
                    put(block.masks)
        for name, array in _annotations(sampling.run.model.conditioning, conditions).items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


@contextlib.contextmanager
def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Iterator[Callable[[np.ndarray], Any]]:
    """Open an array of uint8 in an .npz; what it yields writes the next rows."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield lambda rows: file.write(np.ascontiguousarray(rows).tobytes())


def _annotations(known: Conditioning | None, conditions: list[Tensor]) -> dict[str, np.ndarray]:
    """Return labels or attributes of all samples, with their names."""
    if known is None or not conditions:
        return {}
    if known.kind == "label":
        numbers = [part.argmax(1).numpy() for part in conditions]
        return {"labels": np.concatenate(numbers).astype(np.int64), "label_names": np.array(known.names)}
    values = [part.numpy() for part in conditions]
    return {"attributes": np.concatenate(values).astype(np.float32), "attribute_names": np.array(known.names)}
