"""The tool `by-brightness`, which becomes the command `morpho by-brightness RUN --out PICTURE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from morphospace.ranges import Between, Seed
from morphospace.tools.tool import PNG, Answer, Asked, Displayable, tool

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from morphospace import Run


@dataclass(frozen=True)
class Sorted(Displayable):
    """Samples, the darkest first.

    Attributes:
        images: uint8 (N, H, W, C).
        seed: Which samples they are.
    """

    images: np.ndarray
    seed: int

    def picture(self) -> Image.Image:
        """Draw the samples in rows."""
        from morphospace.pictures.sheet import grid

        return grid(self.images)

    def show(self, asked: Asked) -> Answer:
        """Write the picture and say where it is."""
        from morphospace.pictures.sheet import save_picture

        facts = {**asked.facts, "n": len(self.images), "seed": self.seed}
        save_picture(asked.files["out"], self.picture(), facts)
        return Answer({"out": str(asked.files["out"]), **facts}, [f"{len(self.images)} samples: {asked.files['out']}"])


@tool(files={"out": PNG})
def by_brightness(run: Run | str | Path, n: Annotated[int, Between(1, 1000)] = 64, *, seed: Seed = 0) -> Sorted:
    """Sample images from a run and sort them by brightness.

    Args:
        run: A loaded run or its folder.
        n: How many samples.
        seed: Which samples.
    """
    import morphospace as ms

    images = ms.sample(run, n, seed)
    return Sorted(images[images.mean(axis=(1, 2, 3)).argsort()], seed)
