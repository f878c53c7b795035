"""The work of `latent_map`: place codes in two dimensions, and decode the plane they lie in."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from morphospace.data.pack import Pack, Split, class_count
from morphospace.errors import RunError, SettingError, nearest, require
from morphospace.latent.components import Components, Moments
from morphospace.models.contract import Decodes
from morphospace.models.priors import Normal
from morphospace.pictures.maps import GRID, LatentMap
from morphospace.randomness import stream
from morphospace.runs.codes import decode, each_code, encoder_of, judged_rows
from morphospace.runs.run import Run

MARGIN = 0.04  # of the width of the codes, on each side


def laid_out(run: Run, images: int, by: str, attribute: str | None, seed: int, behind: bool) -> LatentMap:
    """Make the map of a run; `latent_map` says how."""
    encoder_of(run)
    dim, name = run.model.latent_dim, str(run.path)
    if dim < 2:
        raise RunError(
            "run", name, f"codes of {dim} dimension lie on a line, and make no map", "train with two or more"
        )
    split, rows, label = judged_rows(run.pack, run.configuration.data.valid, least=3)
    rule = f"a map needs at least 3, and the {label} split has no more"
    require(len(rows) >= 3, "images", len(rows), rule, "train on more images")
    chosen = np.random.default_rng(stream(seed, "map")).permutation(len(rows))[:images]
    rows = np.sort(rows[chosen])
    classes, names = classes_of(run.pack, split, rows, attribute)
    codes = torch.cat([block for block, _ in each_code(run, split, rows)])
    components = None if dim == 2 or by == "umap" else Moments.of([codes], dim).components()
    points = placed(codes, components, by, seed)
    flat = by == "pca" or dim == 2  # whether the map is a plane in the space of codes
    corners = framed(points)
    return LatentMap(
        run=run.path.resolve().name,
        model=run.configuration.model.name,
        split=label,
        by="codes" if dim == 2 else by,
        points=points,
        images=np.asarray(split.images[rows]),
        classes=classes,
        class_names=names,
        share=None if components is None else tuple(components.share[:2].tolist()),
        grid=plane(run, components, corners) if behind and flat else None,
        corners=corners,
        prior=prior_centre(run, components) if flat else None,
    )


def classes_of(
    pack: Pack, split: Split, rows: np.ndarray, attribute: str | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the class of each image, (N,), and the classes' names: by attribute, else by label; None where neither.

    Raises:
        SettingError: If the data have no such attribute.
    """
    if attribute is not None:
        if split.attributes is None:
            raise SettingError("attribute", attribute, f"{pack.name} has no attributes", "leave it out")
        known = pack.attribute_names
        if attribute not in known:
            raise SettingError("attribute", attribute, f"{pack.name} has no such one{nearest(attribute, known)}")
        values = np.asarray(split.attributes[rows])[:, known.index(attribute)]
        return values.astype(np.int64), (f"not {attribute}", attribute)
    if split.labels is None:
        return None, ()
    labels = np.asarray(split.labels[rows])
    if pack.label_names or class_count(split):
        return labels, pack.label_names or tuple(map(str, range(int(labels.max()) + 1)))
    there, numbers = np.unique(labels, return_inverse=True)
    return numbers, tuple(map(str, there.tolist()))


def placed(codes: Tensor, components: Components | None, by: str, seed: int) -> np.ndarray:
    """Return where codes (N, D) are on the map, (N, 2)."""
    if codes.shape[1] == 2:
        return codes.double().numpy()
    if components is not None:
        return components.coordinates(codes)[:, :2].numpy()
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that a seed means one thread, which is what is asked for
        made = UMAP(
            n_neighbors=min(15, len(codes) - 1), random_state=stream(seed, "umap") % 2**32, n_jobs=1, init="pca"
        ).fit_transform(codes.numpy())
    return np.asarray(made, np.float64)


def plane(run: Run, components: Components | None, corners: tuple[float, float, float, float]) -> np.ndarray | None:
    """Return decoded images of a grid that fills a square, uint8 (GRID * GRID, H, W, C), top row first.

    The plane of components goes through the mean of the codes: what lies off it is not seen. None for a conditional
    model: what a point decodes to would be another image for every condition.
    """
    left, bottom, right, top = corners
    model = run.model
    if model.conditioning is not None or not isinstance(model, Decodes):
        return None
    x = left + (right - left) * (np.arange(GRID) + 0.5) / GRID
    y = top - (top - bottom) * (np.arange(GRID) + 0.5) / GRID
    at = torch.from_numpy(np.stack([np.tile(x, GRID), np.repeat(y, GRID)], 1))
    codes = at if components is None else components.codes(at)
    return decode(model, codes.float())


def framed(points: np.ndarray) -> tuple[float, float, float, float]:
    """Return the square that a map shows: left, bottom, right, top; all but the farthest 1 in 200 points fit in it."""
    low, high = np.quantile(points, [0.0025, 0.9975], axis=0)
    centre, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-6) * (1 + 2 * MARGIN)
    return (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)


def prior_centre(run: Run, components: Components | None) -> tuple[float, float] | None:
    """Return where the middle of N(0, I) lies on the map, whatever plane that shows; None for another prior."""
    if not isinstance(run.model.prior, Normal):
        return None
    if components is None:
        return (0.0, 0.0)
    x, y = components.coordinates(torch.zeros(1, run.model.latent_dim))[0, :2].tolist()
    return (x, y)
