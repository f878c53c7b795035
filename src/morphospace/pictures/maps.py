"""Maps of codes as pictures: points by class, thumbnails where they fit, and the decoded plane behind them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from morphospace.data.naming import display_order
from morphospace.pictures.display import Displayable
from morphospace.pictures.lettering import for_plots, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


GRID = 16
"""Decoded images on a side of the plane behind the points."""
CELLS = 24
"""Thumbnails on a side."""

# Ten colours that stay apart for people who tell red from green, or blue from yellow, badly (15 in CIELAB at least
# under each kind; the usual ten come down to 5): Paul Tol's "muted" and a blue. Further classes have other markers.
COLOURS = ("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#4477ff")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
PLAIN = "#4477aa"
NAMED = 20
"""Classes that have their name in the map and a line in the legend; more would be a page of names."""

LETTERS, IN_MAP = 24, 16  # of a class's name in the legend and in the map; longer ones are cut
LETTER, LETTER_HEIGHT = 0.018, 0.034  # of a name in the map, as parts of the map's side
INCHES, DPI = 6.4, 125
THUMB = 48  # pixels of a cell before the picture is put together, frame included
FRAME = 3
FAINT = {"codes": 0.35, "pca": 0.25}  # of the decoded plane: of all that varies only codes of two dimensions show all


@dataclass(frozen=True)
class LatentMap(Displayable):
    """A set's codes in two dimensions.

    Attributes:
        run: Name of the run.
        model: Its model.
        split: Which split the images come from.
        by: `codes` (two dimensions as they are), `pca` or `umap`.
        points: (N, 2).
        images: uint8 (N, H, W, C), the images.
        classes: Number of each image's class, (N,); None where nothing tells them apart.
        class_names: Name of each class.
        share: Part of the codes' variance that each axis shows, for `pca`.
        grid: uint8 (GRID * GRID, H, W, C) decoded from points of the plane, top row first; None without a plane.
        corners: Left, bottom, right and top of the square that the grid fills.
        prior: Where the middle of the prior N(0, I) lies; None for another prior.
    """

    run: str
    model: str
    split: str
    by: str
    points: np.ndarray
    images: np.ndarray
    classes: np.ndarray | None
    class_names: tuple[str, ...]
    share: tuple[float, float] | None
    grid: np.ndarray | None
    corners: tuple[float, float, float, float]
    prior: tuple[float, float] | None

    @property
    def shown(self) -> list[int]:
        """The numbers of the classes that are there, in order."""
        return [] if self.classes is None else np.unique(self.classes).tolist()

    def picture(self) -> Image.Image:
        """Return the map as a picture: points by class over thumbnails."""
        return draw_maps([self])


def draw_maps(maps: Sequence[LatentMap], show: str = "both") -> Image.Image:
    """Draw maps beside each other in one style.

    Args:
        maps: One a run.
        show: `classes` for points, `thumbnails` for images (framed by class) in the cells of a grid that have any,
            each the one nearest to its cell's middle, or `both`, side by side for one run and below each other for
            several.
    """
    from matplotlib.figure import Figure

    kinds = ["classes", "thumbnails"] if show == "both" else [show]
    rows, columns = (1, len(kinds)) if len(maps) == 1 else (len(kinds), len(maps))
    figure = Figure(figsize=(INCHES * columns + 1.6, INCHES * rows), dpi=DPI, layout="constrained")
    panels = [(made, kind) for kind in kinds for made in maps]
    for i, (made, kind) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        (draw_points if kind == "classes" else draw_thumbnails)(axes, made)
        finish(axes, made)
    legend(figure, maps, points="classes" in kinds)
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=DPI)
        return Image.open(buffer).convert("RGB")


def look(number: int) -> tuple[str, str]:
    """Return colour and marker of a class."""
    return COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]


def draw_points(axes: Axes, made: LatentMap) -> None:
    """Draw each code as a point, over the faint decoded plane."""
    if made.grid is not None:
        plane = tiled(made.grid, GRID)
        faint = 255 - (255 - plane.astype(np.float64)) * FAINT[made.by]
        left, bottom, right, top = made.corners
        axes.imshow(faint.round().astype(np.uint8), extent=(left, right, bottom, top), interpolation="bilinear")
    size = float(np.clip(24_000 / len(made.points), 5, 40))
    style: dict[str, Any] = {"s": size, "linewidths": 0.35, "edgecolors": "white", "zorder": 3}
    order = np.random.default_rng(0).permutation(len(made.points))  # else the last class would hide the others
    if made.classes is None:
        x, y = made.points[order].T
        axes.scatter(x, y, c=PLAIN, **style)
        return
    looks = [look(number) for number in made.classes[order]]
    for marker in dict.fromkeys(marker for _, marker in looks):
        mine = [i for i, (_, one) in enumerate(looks) if one == marker]
        x, y = made.points[order[mine]].T
        axes.scatter(x, y, c=[looks[i][0] for i in mine], marker=marker, **style)
    name_classes(axes, made)


def name_classes(axes: Axes, made: LatentMap) -> None:
    """Write each class's name where the middle of its codes is: not everyone can tell the colours apart."""
    from matplotlib.patheffects import withStroke

    if made.classes is None or not 2 < len(made.shown) <= NAMED:
        return
    names = [shorten(made.class_names[number], IN_MAP) for number in made.shown]
    middles = np.stack([np.median(made.points[made.classes == number], axis=0) for number in made.shown])
    left, _, right, _ = made.corners
    side = right - left
    widths = np.array([len(name) for name in names]) * LETTER * side
    half = np.minimum(0.7 * widths, side / 2)  # no name is cut off at the edge, not even one of capitals
    middles[:, 0] = middles[:, 0].clip(left + half, right - half)
    places = moved_apart(middles, widths, LETTER_HEIGHT * side)
    texts, families = for_plots(names)
    for number, text, (x, y) in zip(made.shown, texts, places):
        halo = [withStroke(linewidth=3.5, foreground="white")]
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 12, "fontweight": "bold", "zorder": 4}
        style |= {"color": darker(look(number)[0]), "path_effects": halo, "clip_on": True}
        axes.text(x, y, text, fontfamily=families, **style)


def moved_apart(middles: np.ndarray, widths: np.ndarray, height: float) -> np.ndarray:
    """Return the places of words (N, 2), each as near to its own as it can be above or below without touching another.

    >>> moved_apart(np.array([[0.0, 0.0], [0.1, 0.2], [5.0, 0.0]]), np.ones(3), 1.0).tolist()
    [[0.0, 0.0], [0.1, 1.0], [5.0, 0.0]]
    """
    placed: list[tuple[float, float, float]] = []

    def free(x: float, y: float, width: float) -> bool:
        return all(abs(x - a) >= (width + w) / 2 or abs(y - b) >= height * 0.999 for a, b, w in placed)

    for (x, y), width in zip(middles.tolist(), widths.tolist()):
        near = [b + sign * height for a, b, w in placed if abs(x - a) < (width + w) / 2 for sign in (-1, 1)]
        best = min((each for each in (y, *near) if free(x, each, width)), key=lambda each: abs(each - y), default=y)
        placed.append((x, best, width))
    return np.array([(x, y) for x, y, _ in placed])


def darker(colour: str) -> str:
    """Return a colour dark enough to read on white, of the same hue.

    >>> darker("#332288"), darker("#88ccee")
    ('#332288', '#4c7285')
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    share = min(1.0, 105 / (0.299 * red + 0.587 * green + 0.114 * blue + 1e-9))
    return "#" + "".join(f"{int(value * share):02x}" for value in (red, green, blue))


def draw_thumbnails(axes: Axes, made: LatentMap) -> None:
    """Draw the images themselves in the cells of a grid, none over another, framed in their class's colour."""
    sheet = np.full((CELLS * THUMB, CELLS * THUMB, 3), 255, np.uint8)
    inner = THUMB - 2 * FRAME - 2
    for (row, column), index in snapped(made.points, made.corners).items():
        pixels = colour_image(made.images[index])
        colour = "#bbbbbb" if made.classes is None else look(int(made.classes[index]))[0]
        fitted = ImageOps.contain(Image.fromarray(pixels), (inner, inner), Image.Resampling.LANCZOS)
        framed = np.asarray(ImageOps.expand(fitted, FRAME, colour))
        height, width = framed.shape[:2]
        y, x = row * THUMB + (THUMB - height) // 2, column * THUMB + (THUMB - width) // 2
        sheet[y : y + height, x : x + width] = framed
    left, bottom, right, top = made.corners
    axes.imshow(sheet, extent=(left, right, bottom, top), interpolation="lanczos")


def snapped(
    points: np.ndarray, corners: tuple[float, float, float, float], cells: int = CELLS
) -> dict[tuple[int, int], int]:
    """Return, by (row, column) of a cell with row 0 on top, the number of the point nearest to its middle.

    Each point belongs to the cell that it lies in, so that a thumbnail is at most half a cell from its code.
    """
    left, bottom, right, top = corners
    x, y = (points[:, 0] - left) / (right - left) * cells, (top - points[:, 1]) / (top - bottom) * cells
    inside = (x >= 0) & (x < cells) & (y >= 0) & (y < cells)
    distance = (x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2
    found: dict[tuple[int, int], int] = {}
    for index in np.argsort(distance, kind="stable"):
        if inside[index]:
            found.setdefault((int(y[index]), int(x[index])), int(index))
    return found


def finish(axes: Axes, made: LatentMap) -> None:
    """Give a panel its frame, title, axes and the circle of the prior."""
    from matplotlib.patches import Circle

    left, bottom, right, top = made.corners
    if made.prior is not None:
        for width, colour in ((3.0, "white"), (1.3, "black")):
            style: dict[str, Any] = {"linestyle": "--", "linewidth": width, "color": colour, "zorder": 5}
            axes.add_patch(Circle(made.prior, 2.0, fill=False, **style, capstyle="round"))
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    (title,), families = for_plots([f"{shorten(made.run, 2 * LETTERS)} ({made.model})"])
    axes.set_title(title, fontsize=11, fontfamily=families)
    axes.tick_params(labelsize=8)
    names = {"codes": "z{}", "pca": "component {}", "umap": "UMAP {}"}[made.by]
    shares = [""] * 2 if made.share is None else [f" ({share:.0%} of the variance)" for share in made.share]
    axes.set_xlabel(names.format(1) + shares[0], fontsize=9)
    axes.set_ylabel(names.format(2) + shares[1], fontsize=9)
    if made.by == "umap":  # its distances mean nothing, so it has no scale
        axes.set_xticks([])
        axes.set_yticks([])


def legend(figure: Figure, maps: Sequence[LatentMap], *, points: bool) -> None:
    """Write one legend for all panels."""
    from matplotlib.lines import Line2D

    named: dict[int, str] = {}
    for made in maps:
        named |= {number: made.class_names[number] for number in made.shown}
    handles, numbers = [], sorted(named)
    ordered = [numbers[i] for i in display_order([named[number] for number in numbers])][:NAMED]
    texts, families = for_plots([shorten(named[number], LETTERS) for number in ordered])
    for number, text in zip(ordered, texts):
        colour, marker = look(number)
        style: dict[str, Any] = {"color": colour, "marker": marker if points else "s", "linestyle": ""}
        handles.append(Line2D([], [], **style, label=text))
    if len(named) > NAMED:
        handles.append(Line2D([], [], linestyle="", label=f"and {len(named) - NAMED} more"))
    if any(made.prior is not None for made in maps):
        dashes = Line2D([], [], color="black", linestyle="--", linewidth=1.3, label="prior, two\nstandard\ndeviations")
        handles.append(dashes)
    if handles:
        font = {"family": families, "size": 9}
        figure.legend(handles=handles, loc="outside right upper", prop=font, frameon=False)


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Return images (N, H, W, C) side by side without gaps, uint8 (rows * H, columns * W, 3)."""
    count, height, width, channels = images.shape
    rows = images.reshape(count // columns, columns, height, width, channels)
    return colour_image(rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, channels))


def colour_image(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) with three channels."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
