"""What the speed measurement compares; free of torch and numpy, so that the parent process stays small."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """One model, trained by a published loop and by ours.

    Attributes:
        name: What the table calls it.
        recipe: Our recipe of the same model.
        loop: The published loop, a function of `bench.published`.
        input: Images that the published loop reads, see `bench.images`.
        pack: The same images as our pack holds them.
        batch: Batch size of both sides.
        steps: Timed steps of both sides.
        warmup: Steps before the clock starts.
        quick_steps: Timed steps with `--quick`.
        target: Ratio that the project set itself; shown, never asserted.
        note: How the published side reads its images.
    """

    name: str
    recipe: str
    loop: str
    input: str
    pack: str
    batch: int
    steps: int
    warmup: int
    quick_steps: int
    target: float
    note: str


_EVERY = (
    Case(
        name="mnist-vae",
        recipe="mnist-vae",
        loop="mnist_vae",
        input="grey-28",
        pack="grey-28",
        batch=128,
        steps=600,
        warmup=50,
        quick_steps=200,
        target=6.0,
        note="array row -> PIL image -> float tensor, one image at a time",
    ),
    Case(
        name="mnist-dcgan",
        recipe="mnist-dcgan",
        loop="mnist_dcgan",
        input="grey-28",
        pack="grey-64",
        batch=128,
        steps=8,
        warmup=2,
        quick_steps=3,
        target=6.0,
        note="array row -> PIL image -> bilinear 64x64 -> float tensor -> [-1, 1]; our pack is resized once",
    ),
    Case(
        name="conv-vae",
        recipe="celebamask-vae-celeba",
        loop="conv_vae",
        input="files-64",
        pack="colour-64",
        batch=32,
        steps=80,
        warmup=10,
        quick_steps=25,
        target=4.0,
        note="64x64 PNG file (lossless) -> PIL image -> float tensor, as its source reads files",
    ),
    Case(
        name="conv-vae-arrays",
        recipe="celebamask-vae-celeba",
        loop="conv_vae",
        input="colour-64",
        pack="colour-64",
        batch=32,
        steps=80,
        warmup=10,
        quick_steps=25,
        target=4.0,
        note="the same loop from an array in memory: no files and no decoding in the ratio",
    ),
)

CASES: dict[str, Case] = {case.name: case for case in _EVERY}
