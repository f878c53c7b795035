"""Samples and reconstructions of a run, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from morphospace.errors import SettingError, require
from morphospace.models.sampling import Hold, PriorName, SampleOptions, TopK, Truncation
from morphospace.ranges import AtLeast, Between, Seed, check_ranges
from morphospace.runs.condition import Condition
from morphospace.tools.tool import (
    PNG,
    SAMPLES,
    Answer,
    Asked,
    Attributes,
    Displayable,
    Label,
    Summary,
    at_images,
    check_condition,
    status,
    tool,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from morphospace.runs.run import Run
    from morphospace.tools.sample_files import SampleFiles

COLUMNS = 8
FITTED = (
    "the codes of images do not lie as N(0, I) does: sampled from a mixture fitted to them (--prior model for N(0, I))"
)
MOST = 1_000_000
MOST_SHOWN = 65_536


@dataclass(frozen=True)
class Reconstructions(Displayable):
    """Images and their reconstructions.

    Attributes:
        originals: uint8 (N, H, W, C).
        images: uint8 (N, H, W, C), decoded from the codes' means.
        mse: Mean squared error a pixel, both in [0, 1]; of pixels within the true masks where the model learned no
            others.
        split: Which split the originals come from.
        masks: The originals' masks and what the model makes of them, each uint8 (N, H, W, 1); None for a model that
            decodes no masks.
    """

    originals: np.ndarray
    images: np.ndarray
    mse: float
    split: str
    masks: tuple[np.ndarray, np.ndarray] | None = None

    def picture(self) -> Image.Image:
        """Return rows of originals, each over a row of their reconstructions."""
        from morphospace.pictures.sheet import grid_of_rows

        most = COLUMNS if self.masks is None else COLUMNS // 2
        return grid_of_rows(self.originals, self.images, most, self.masks)

    def summary(self) -> Summary:
        """Return how far the reconstructions are from the images."""
        of = f"{len(self.images)} of the {self.split} split"
        return Summary([f"{of}, originals over reconstructions, mean squared error {self.mse:.5f}"])

    def show(self, asked: Asked) -> Answer:
        """Write the picture, and say how far the reconstructions are from the images."""
        from morphospace.pictures.sheet import save_picture

        path, n = asked.files["out"], len(self.images)
        assert asked.run is not None
        facts = {"run": str(asked.run.path), "n": n, "split": self.split, "images": asked.run.images, "raw": asked.raw}
        facts |= {} if self.masks is None else {"pairs": "image, mask"}
        save_picture(path, self.picture(), {**facts, "rows": "original, reconstruction"})
        line = f"{self.summary().lines[0]}: {path}"
        fewer = [f"there are no more than {n} in it; a larger --valid holds out more"] if n < asked.words["n"] else []
        return Answer({"out": str(path), **facts, "mse": self.mse}, [line, *fewer])


@dataclass(frozen=True)
class SampleGrid(Displayable):
    """Samples of a conditional model, a condition a row and a code a column.

    Attributes:
        images: uint8 (R * columns, H, W, C), row by row.
        rows: The condition of each row, in words.
        columns: Images in a row.
    """

    images: np.ndarray
    rows: tuple[str, ...]
    columns: int

    def picture(self) -> Image.Image:
        """Return a row of samples for each condition, with its name."""
        from morphospace.pictures.sheet import grid_with_row_labels

        return grid_with_row_labels(self.images, self.columns, self.rows)


@dataclass(frozen=True)
class Samples(Displayable):
    """Samples as a picture shows them.

    Attributes:
        images: uint8 (N, H, W, C).
        masks: uint8 (N, H, W, 1); None for a model that decodes no masks.
        columns: Images in a row; None makes the grid as square as possible.
        about: The condition that was asked for, or those of the rows, in words.
    """

    images: np.ndarray
    masks: np.ndarray | None
    columns: int | None
    about: Mapping[str, Any]

    def picture(self) -> Image.Image:
        """Return the samples in a grid, each beside its mask where there is one."""
        from morphospace.pictures.sheet import grid, grid_of_pairs, with_row_labels

        if self.masks is None:
            sheet = grid(self.images, self.columns)
        else:
            sheet = grid_of_pairs(self.images, self.masks, self.columns)
        return with_row_labels(sheet, self.about["rows"]) if "rows" in self.about else sheet

    def show(self, asked: Asked) -> Answer:
        """Write the picture, and say what it shows."""
        from morphospace.pictures.sheet import save_picture

        run, path, n = asked.run, asked.files["out"], len(self.images)
        assert run is not None
        facts = {"run": str(run.path), "n": n, "seed": asked.words["seed"], "prior": asked.words["prior"]}
        facts |= {"images": run.images, "raw": asked.raw, **self.about}
        facts |= {} if self.masks is None else {"pairs": "sample, mask"}
        save_picture(path, self.picture(), facts)
        of = f" of {self.about['condition']}" if "condition" in self.about else ""
        lines = [f"{n} sample{'' if n == 1 else 's'}{of}{at_images(run.images)}: {path}"]
        lines += [f"a row each: {'; '.join(self.about['rows'])}"] if "rows" in self.about else []
        lines += [FITTED] if asked.words["prior"] == "auto" and self.about["prior"] == "mixture" else []
        return Answer({"out": str(path), **facts}, lines)


@tool(files={"out": SAMPLES}, check=check_condition)
def draw_samples(
    run: Run | str | Path,
    *,
    n: Annotated[int | None, Between(1, MOST)] = None,
    seed: Seed = 0,
    prior: PriorName = "auto",
    truncation: Truncation = 1.0,
    top_k: TopK = 0,
    hold: Hold = None,
    label: Label = None,
    attributes: Attributes = None,
    out: Path | None = None,
    say: Callable[[str], None] = status,
) -> Samples | SampleFiles:
    """Sample images from a run: onto a sheet, or into a file each.

    Without a condition, each row of a conditional model shows one class, with the same codes.

    Args:
        run: A loaded run or its folder.
        n: Number of images; 64 if left out. If each row shows one class, rounded up to whole rows.
        seed: Which samples. Sample i of a seed is the same at any n.
        prior: The model's own prior (`model`), N(0, I) (`normal`), or one fitted to the codes of training images.
            `auto` takes the model's own, or a fitted mixture where the codes of images do not lie as N(0, I) does.
        truncation: Sample codes t times as far from their mean m, z = m + t (z' - m) with z' from the prior; below 1,
            samples are more usual and vary less. In a mixture, m is the mean of the component. For a prior over the
            entries of a codebook it is the temperature.
        top_k: Of such a prior: choose among so many most probable entries at each place; 0 for all of them.
        hold: Hold so many levels of the code, from the top, as they are in the first sample; only those below vary. For
            models whose code has several levels (ladder-vae).
        label: The class to sample, by name or number. If left out, each row shows one class.
        attributes: The attributes to sample, as Smiling=1,Male=0; those not named are 0.
        out: Where to write a file for each image, as for `save_samples`; returns them as a sheet if left out.
        say: Takes one line at a time for the user.
    """
    check_ranges(draw_samples, locals())
    asked = Condition(label, attributes)
    options = SampleOptions(prior=prior, truncation=truncation, top_k=top_k, hold=hold)
    from morphospace.runs.run import loaded
    from morphospace.tools.sample_files import save_samples
    from morphospace.tools.sampling import Sampling

    if out is not None and out.suffix.lower() != ".png":
        return save_samples(run, out, n=n, seed=seed, **vars(options), label=label, attributes=attributes, say=say)
    sampling = Sampling.of(loaded(run), asked, n=n, seed=seed, options=options)
    sampling.check_sheet()
    images, masks = sampling.all()
    return Samples(images, masks, sampling.columns, sampling.about)


def sample_masks(
    run: Run | str | Path,
    n: int = 64,
    seed: int = 0,
    *,
    prior: PriorName = "auto",
    truncation: Truncation = 1.0,
    top_k: TopK = 0,
    start: int = 0,
) -> np.ndarray | None:
    """Return the masks of the very images that `sample` returns for the same arguments.

    Returns:
        uint8 (n, H, W, 1), the probability of being within times 255; None for a model that decodes no masks.
    """
    options = SampleOptions(prior=prior, truncation=truncation, top_k=top_k)
    from morphospace.models.contract import DecodesMasks, seeded_noise
    from morphospace.runs.codes import decode_masks, noise_to_codes
    from morphospace.runs.run import loaded

    run = loaded(run)
    require(n >= 1, "n", n, "must be at least 1")
    if not isinstance(run.model, DecodesMasks):
        return None
    noise = seeded_noise(n, run.model.latent_dim, seed, start=start)
    return decode_masks(run.model, noise_to_codes(run, options, seed)(noise))


def sample(
    run: Run | str | Path,
    n: Annotated[int, AtLeast(1)] = 64,
    seed: int = 0,
    *,
    prior: PriorName = "auto",
    truncation: Truncation = 1.0,
    top_k: TopK = 0,
    start: int = 0,
    hold: Hold = None,
    label: Label = None,
    attributes: Attributes = None,
) -> np.ndarray:
    """Sample images from a run.

    Sample i depends on (seed, start + i) only: the same at any n. An autoencoder has no prior; one is fitted to the
    codes of its training images when it is first sampled, and kept in the run. A fitted prior may also take the place
    of the N(0, I) of a model that has an encoder: the codes of a VAE never fill N(0, I) evenly.

    Args:
        run: A loaded run or its folder.
        n: Number of samples.
        seed: Which.
        prior: `auto` for the model's own prior, or a fitted mixture where the codes of images do not lie as N(0, I)
            does; `model` for the model's own, `normal` for N(0, I) whatever the model, `gaussian`, `mixture` or
            `flow` for one fitted to codes of training images.
        truncation: Sample codes t times as far from their mean m, z = m + t (z' - m) with z' from the prior. In a
            mixture, m is the mean of the component. For a prior over the entries of a codebook it is the temperature.
        top_k: Of such a prior: choose among so many most probable entries at each place; 0 for all of them.
        start: Number of the first sample.
        hold: Hold so many levels of the code, from the top, as they are in sample 0 of the seed; only those below vary.
            For models whose code has several levels (ladder-vae).
        label: The class to sample from a conditional model, by name or number; all in turn when not given.
        attributes: The attributes to sample from a conditional model; those not named are 0.

    Returns:
        uint8 (n, H, W, C); a notebook displays it as a grid.
    """
    check_ranges(sample, {"n": n})
    options = SampleOptions(prior=prior, truncation=truncation, top_k=top_k, hold=hold)
    from morphospace.models.contract import seeded_noise
    from morphospace.pictures.images import Images
    from morphospace.runs.codes import decode, noise_to_codes
    from morphospace.runs.run import loaded

    run = loaded(run)
    conditions = Condition(label, attributes).rows(run.model, n, start)
    codes = noise_to_codes(run, options, seed)(seeded_noise(n, run.model.latent_dim, seed, start=start))
    return decode(run.model, codes, conditions).view(Images)


def sample_grid(
    run: Run | str | Path,
    columns: Annotated[int, AtLeast(1)] = 8,
    seed: int = 0,
    *,
    prior: PriorName = "auto",
    truncation: Truncation = 1.0,
    top_k: TopK = 0,
) -> SampleGrid:
    """Decode the same codes once for every class, or every mix of the attributes, that a conditional model knows.

    Args:
        run: A loaded run or its folder.
        columns: Number of codes. Column i depends on (seed, i) only.
        seed: Which codes.
        prior: As for `sample`.
        truncation: As for `sample`.
        top_k: As for `sample`.

    Raises:
        SettingError: If the model is not conditional.
    """
    check_ranges(sample_grid, {"columns": columns})
    options = SampleOptions(prior=prior, truncation=truncation, top_k=top_k)
    from morphospace.models.contract import each_condition
    from morphospace.runs.codes import decode, noise_to_codes
    from morphospace.runs.run import loaded

    run = loaded(run)
    known = run.model.conditioning
    if known is None:
        name = run.model.settings.name
        raise SettingError("run", str(run.path), f"{name} takes no condition, so there is no class a row", "use sample")
    noise, condition = each_condition(run.model, columns, seed)
    images = decode(run.model, noise_to_codes(run, options, seed)(noise), condition)
    return SampleGrid(images, tuple(known.words(row) for row in known.shown()), columns)


@tool(files={"out": PNG}, hidden=("data",))
def reconstruct(
    run: Run | str | Path, n: Annotated[int, Between(1, MOST_SHOWN)] = 16, *, data: Any = None
) -> Reconstructions:
    """Show held-out images above their reconstructions: encode them and decode the means of their codes.

    Args:
        run: A loaded run or its folder.
        n: Number of images: the first of the test split, else of the held-out ones; of fewer than 16, all.
        data: What to take them from in place of the run's own images: a pack, or what `load` takes.

    Raises:
        RunError: If the model has no encoder, and none was trained for it.
        SettingError: If there are fewer images than that, and more than a few.
    """
    check_ranges(reconstruct, locals())
    import numpy as np

    from morphospace.data.pack import Pack
    from morphospace.runs.codes import (
        FEW,
        as_seen,
        codes_of,
        conditions_of,
        decode,
        decode_masks,
        encoder_of,
        judged_rows,
    )
    from morphospace.runs.images import given_images
    from morphospace.runs.run import loaded

    run = loaded(run)
    encoder_of(run)
    pack = run.pack if data is None else data if isinstance(data, Pack) else given_images(run.folder, data)
    split, rows, label = judged_rows(pack, run.configuration.data.valid)
    rule = f"must be from 1 to {len(rows)}, the images in the {label} split"
    require(n <= len(rows) or len(rows) < FEW, "n", n, rule)  # of a few images, all that there are
    chosen = np.sort(rows[:n])
    originals = as_seen(run, np.asarray(split.images[chosen]), chosen)
    condition = conditions_of(run.model, split, chosen)
    codes = codes_of(run, originals, condition)
    rebuilt, masks = decode(run.model, codes, condition), decode_masks(run.model, codes)
    squares = ((originals.astype(np.float64) - rebuilt) / 255) ** 2
    if masks is None or split.masks is None:
        return Reconstructions(originals, rebuilt, float(squares.mean()), label)
    within = np.asarray(split.masks[chosen]).max(axis=-1, keepdims=True)
    mse = float(squares.mean(axis=-1, keepdims=True)[within > 0].mean())
    return Reconstructions(originals, rebuilt, mse, label, (within * np.uint8(255), masks))
