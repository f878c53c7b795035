"""Pictures into a run's latent space: find their codes, and train an encoder for a run that has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from morphospace.errors import command, require
from morphospace.files import json_text, write_text
from morphospace.ranges import Between, Seed, check_ranges
from morphospace.runs.condition import Condition
from morphospace.tools.tool import (
    PNG,
    Answer,
    Asked,
    Attributes,
    Displayable,
    File,
    Label,
    Summary,
    Table,
    check_condition,
    status,
    tool,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from morphospace.runs.run import Run

COLUMNS = 8
Keep = Literal["prior", "sphere", "free"]


@dataclass(frozen=True)
class Projections(Displayable):
    """Pictures, and the nearest that a run's model can do.

    Attributes:
        originals: uint8 (N, H, W, C), in the run's own shape.
        images: uint8 (N, H, W, C), decoded from the codes.
        codes: (N, D), float32 on the CPU.
        words: Where each picture comes from.
        conditions: The condition of each picture, (N, K); None for models that take none.
        how: How the codes were found: `encoder`, `encoder and 100 steps`, `300 steps from 8 starts`.
    """

    originals: np.ndarray
    images: np.ndarray
    codes: Tensor
    words: tuple[str, ...]
    conditions: Tensor | None
    how: str

    @property
    def mse(self) -> np.ndarray:
        """Mean squared error a pixel of each picture, both in [0, 1], (N,)."""
        squared = (self.originals.astype("float64") - self.images) ** 2
        mse: np.ndarray = squared.reshape(len(squared), -1).mean(1) / 255**2
        return mse

    @property
    def psnr(self) -> np.ndarray:
        """Peak signal-to-noise ratio of each picture, -10 log10 MSE, in decibels, (N,); infinite where they agree."""
        import numpy as np

        with np.errstate(divide="ignore"):
            return -10 * np.log10(self.mse)

    def to_json(self) -> dict[str, Any]:
        """Return the codes as JSON holds them; `picked` reads them back."""
        conditions = None if self.conditions is None else self.conditions.tolist()
        each = {"words": list(self.words), "mse": self.mse.tolist(), "how": self.how}
        return {"codes": self.codes.tolist(), **({"conditions": conditions} if conditions else {}), **each}

    def picture(self) -> Image.Image:
        """Return one picture beside its projection, or rows of several, each over a row of their projections."""
        import numpy as np

        from morphospace.pictures.sheet import grid, grid_of_rows

        if len(self.images) == 1:
            return grid(np.concatenate([self.originals, self.images]), 2)
        return grid_of_rows(self.originals, self.images, COLUMNS)

    def summary(self) -> Summary:
        """Return how near each projection comes."""
        rows = [[w, f"{m:.5f}", f"{p:.1f}"] for w, m, p in zip(self.words, self.mse, self.psnr)]
        order = "the original on the left" if len(rows) == 1 else "originals over projections"
        return Summary([f"by {self.how}, {order}"], Table(("picture", "mse", "psnr dB"), rows))

    def show(self, asked: Asked) -> Answer:
        """Write the picture, and the codes where asked for; return how near each projection comes."""
        from morphospace.pictures.sheet import save_picture

        path, code = asked.files["out"], asked.files.get("code")
        facts = {**asked.facts, "how": self.how, "seed": asked.words["seed"]}
        each = {"pictures": list(self.words), "mse": self.mse.tolist()}
        save_picture(path, self.picture(), {**facts, **each, "order": "original, projection"})
        if code is not None:
            write_text(code, json_text({**facts, **self.to_json()}) + "\n")
        told = self.summary()
        lines = [f"{told.lines[0]}: {path}", *([f"codes: {code}"] if code else [])]
        # JSON has no infinity, the ratio of a picture to itself.
        ratios = [float(p) if math.isfinite(p) else None for p in self.psnr]
        data = {"out": str(path), **facts, **each, "psnr": ratios, **({"code": str(code)} if code else {})}
        return Answer(data, lines, told.table)


def check_project(
    pictures: Sequence[Any] | np.ndarray, label: object = None, attributes: object = None, **others: Any
) -> None:
    """Refuse no pictures at all, and a label and attributes at once.

    Raises:
        SettingError: If there are no pictures, or both are given.
    """
    require(len(pictures) > 0, "pictures", [], "name one at least, a file or the number of a held-out image")
    check_condition(label, attributes)


CODE = File((".json",), "Keep the codes in this .json, for --from and --to.")


@tool(files={"out": PNG, "code": CODE}, moves=True, check=check_project, hidden=("condition",))
def project(
    run: Run | str | Path,
    pictures: Sequence[int | str | Path] | np.ndarray,
    *,
    refine: Annotated[int, Between(0, 100_000)] | None = None,
    starts: Annotated[int, Between(1, 256)] | None = None,
    keep: Keep | None = None,
    label: Label = None,
    attributes: Attributes = None,
    condition: Tensor | None = None,
    seed: Seed = 0,
) -> Projections:
    """Find the latent codes of pictures, and show each beside its decoded code.

    The run's encoder finds them where it has one, or one was trained for it; else optimisation from several starts.

    Args:
        run: A loaded run or its folder.
        pictures: Files, which are cropped and resized as the run's own data were; numbers of held-out images; or
            train:NUMBER. In Python also uint8 images (N, H, W, C) in the run's shape.
        refine: Steps of optimisation. If left out, 0 after an encoder and 300 without one.
        starts: Codes to search from; the encoder's is the first. If left out, 1 with an encoder and 8 without one.
        keep: What keeps codes plausible: the prior's log density, the sphere of radius sqrt(z), or nothing. If left
            out, the prior where it is N(0, I), else nothing.
        label: The class that files show, for a conditional model.
        attributes: The same by attributes, as Smiling=1,Male=0.
        condition: The same as a vector (K,).
        seed: Of the starts. The code of picture i depends on (seed, i) and the picture only.

    Raises:
        SettingError: If the model does not decode, or is conditional and the condition of a picture is not known.
        DataError: If a file is no picture.
    """
    check_ranges(project, locals())
    check_project(pictures, label, attributes)
    from morphospace.runs.run import loaded
    from morphospace.tools.project.find import found

    run = loaded(run)
    asked = Condition(label, attributes)
    return found(run, pictures, refine, starts, keep, asked.row(run.model) if asked else condition, seed)


@dataclass(frozen=True)
class TrainedEncoder(Displayable):
    """An encoder that was trained for a run, and how well it undoes its generator on images it did not see.

    Attributes:
        file: Where it is kept, with the run's checkpoint.
        images: Images it was trained on.
        cosine: Mean cosine between z and E(G(z)).
        mse: Mean squared error a pixel between G(z) and G(E(G(z))), both in [0, 1].
        spread: Mean squared difference a pixel of two generated images, beside which `mse` is to be read.
    """

    file: Path
    images: int
    cosine: float
    mse: float
    spread: float

    def summary(self) -> Summary:
        """Return how well it does."""
        line = f"on new images: cosine of codes {self.cosine:.3f}, squared error a pixel {self.mse:.5f}"
        return Summary([f"{line} (two generated images differ by {self.spread:.5f}): {self.file}"])

    def show(self, asked: Asked) -> Answer:
        """Return how well it does, and what to do with it."""
        assert asked.run is not None
        data = {"run": str(asked.run.path), "encoder": str(self.file), "images": self.images}
        data |= {"real": asked.words["real"], "cosine": self.cosine, "mse": self.mse, "spread": self.spread}
        then = f"next {command('reconstruct', asked.words['run'], '--out', 'reconstructions.png')}"
        return Answer(data, [*self.summary().lines, then])


@tool(hidden=("progress",))
def train_encoder(
    run: Run | str | Path,
    *,
    images: int = 100_000,
    minutes: float | None = None,
    real: bool = False,
    seed: Seed = 0,
    progress: Callable[[int, float], None] | None = None,
    say: Callable[[str], None] = status,
) -> TrainedEncoder:
    """Train an encoder for a run that has none, a GAN for instance, and keep it with the run's checkpoint.

    From then on whatever asks for codes of images works for the run: reconstruct, interpolate, components, attributes.
    An encoder that is there already is replaced.

    Args:
        run: A loaded run or its folder.
        images: How many generated images to train on.
        minutes: Stop earlier when so many have passed.
        real: Train on the run's own images too, by how well they are rebuilt.
        seed: Of what is drawn.
        progress: Called now and then with the images seen and the loss.
        say: Called with lines about the progress.

    Raises:
        SettingError: If the model has an encoder of its own, or does not decode.
    """
    check_ranges(train_encoder, locals())
    from morphospace.runs.run import loaded
    from morphospace.tools.project.find import trained

    def report(seen: int, loss: float) -> None:
        if progress is not None:
            progress(seen, loss)
        say(f"  {seen:,}/{images:,} images  {min(1.0, seen / images):.0%}  loss {loss:.4g}")

    return trained(loaded(run), images, minutes, real, seed, report, say)
