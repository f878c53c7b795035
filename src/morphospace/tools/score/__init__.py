"""Anomaly scores: how strange a run finds each image of a set, and how well the scores tell strange images apart."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from morphospace.errors import require
from morphospace.files import atomic
from morphospace.ranges import AtLeast, Between, Seed, check_ranges
from morphospace.tools.tool import Answer, Asked, Displayable, File, Summary, Written, read_names, tool

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from morphospace.data.pack import Pack
    from morphospace.evaluation.anomaly import Auroc
    from morphospace.runs.run import Run

By = Literal["elbo", "iwae", "reconstruction", "critic", "latent"]
DRAWS = {"elbo": 8, "iwae": 64}
SHOWN, COLUMNS = 32, 8


@dataclass(frozen=True)
class Scored(Displayable):
    """A score for each image, higher for stranger.

    Attributes:
        scores: (N,), float64.
        rows: (N,), the image's row in its split.
        labels: (N,), -1 where the images have none.
        strange: (N,) bool, which images are known to be strange; None where nobody said.
        own: How many of the last images are the run's own held-out ones, beside which the others were put.
        by: Of what the score is made.
        unit: Its unit in words.
        auroc: How well it tells the strange ones; None where nobody said which they are.
        sources: Which images were scored, in words.
        notes: What is known of the source, such as files that are not read.
        pictures: The images' arrays, uint8 (., H, W, C), and the rows taken: one pair for each source.
    """

    scores: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    strange: np.ndarray | None
    own: int
    by: str
    unit: str
    auroc: Auroc | None
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]

    def strangest(self, n: int, *, least: bool = False) -> np.ndarray:
        """Return the n images of the highest scores, the strangest first, or of the lowest; uint8 (n, H, W, C)."""
        import numpy as np

        order = np.argsort(self.scores, kind="stable")
        chosen = order[:n] if least else order[::-1][:n]
        first = len(self.scores) - self.own
        return np.concatenate([self.pictures[int(i >= first)][self.rows[[i]]] for i in chosen])

    @property
    def shown(self) -> int:
        """How many images of each end the picture shows."""
        return min(SHOWN, len(self.scores) // 2 or 1)

    def picture(self) -> Image.Image:
        """Return the strangest images over the most usual ones, a white row between."""
        import numpy as np

        from morphospace.pictures.sheet import grid

        halves = [self.strangest(self.shown), self.strangest(self.shown, least=True)]
        columns = min(self.shown, COLUMNS)
        white = np.full((columns + (-self.shown % columns), *halves[0].shape[1:]), 255, np.uint8)
        return grid(np.concatenate([halves[0], white, halves[1]]), columns)

    def summary(self) -> Summary:
        """Return how the scores lie, and how well they tell."""
        lines = [f"{' and '.join(self.sources)} by {self.by}, in {self.unit}; higher is stranger"]
        shown = "  ".join(f"{value:.5g}" for value in self.quantiles)
        lines += [f"least, quarter, median, three quarters, most: {shown}", *self.notes]
        if (a := self.auroc) is not None:
            of = f"{a.strange:,} strange of {a.usual + a.strange:,}"
            lines.append(f"AUROC {a.value:.3f} ({a.low:.3f} to {a.high:.3f}), {of}")
        return Summary(lines)

    @property
    def quantiles(self) -> list[float]:
        """The least score, the quartiles and the largest."""
        import numpy as np

        found: list[float] = np.quantile(self.scores, (0, 0.25, 0.5, 0.75, 1)).tolist()
        return found

    def show(self, asked: Asked) -> Answer:
        """Write the table, and the picture where asked for; return how the scores lie and how well they tell."""
        assert asked.run is not None
        table, gallery = asked.files["out"], asked.files.get("gallery")
        write_scores(table, self)
        facts = {"run": str(asked.run.path), "source": asked.words["source"], "by": self.by, "unit": self.unit}
        facts |= {"seed": asked.words["seed"], "n": len(self.scores), "correct": asked.words["correct"]}
        facts |= {"images": asked.run.images, "raw": asked.raw}
        first, *others = self.summary().lines
        lines = [f"{first}: {table}", *others]
        data = {"out": str(table), **facts, "sources": list(self.sources), "quantiles": self.quantiles}
        if (a := self.auroc) is not None:
            data["auroc"] = {"value": a.value, "low": a.low, "high": a.high, "strange": a.strange, "usual": a.usual}
        if gallery is not None:
            from morphospace.pictures.sheet import save_picture

            rows = f"{self.shown} strangest, {self.shown} most usual"
            save_picture(gallery, self.picture(), {**facts, "rows": rows})
            lines.append(f"the strangest over the most usual: {gallery}")
            data["gallery"] = str(gallery)
        return Answer(data, lines)


def write_scores(path: Path, scored: Scored) -> None:
    """Write index, label and score of each image as CSV, whole or not at all; with which are strange where known."""
    columns = ["index", "label", "score", *(["strange"] if scored.strange is not None else [])]
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for i, value in enumerate(scored.scores):
            label = "" if scored.labels[i] < 0 else int(scored.labels[i])
            last = [] if scored.strange is None else [int(scored.strange[i])]
            writer.writerow([int(scored.rows[i]), label, f"{value:.8g}", *last])


def read_labels(text: str) -> tuple[str, ...]:
    """Read labels separated by commas.

    Raises:
        SettingError: If the text names none, though it is not empty.
    """
    labels = read_names(text)
    require(bool(labels) or not text, "strange", text, "must name labels, as 4 or 4,9")
    return labels


def check_score(
    by: str, correct: str, draws: int | None, strange: Sequence[int | str], against_own: bool, **others: Any
) -> None:
    """Refuse arguments that do not go together.

    Raises:
        SettingError: If draws or a correction are given for what is no bound, or strange labels with `against_own`.
    """
    bound = by in DRAWS
    require(correct == "none" or bound, "correct", correct, f"is of nats, which {by} is not", "take --by elbo or iwae")
    require(draws is None or bound, "draws", draws, f"nothing is drawn by {by}", "leave it out")
    require(not (strange and against_own), "strange", list(strange), "does not go with against-own", "take one of them")


TABLE = File((".csv",), "The table to write, a .csv.", required=True)
GALLERY = File((".png",), "A .png of the strangest images over the most usual ones.", enlarges=True)


@tool(files={"out": TABLE, "gallery": GALLERY}, check=check_score)
def score(
    run: Run | str | Path,
    source: str | Pack,
    *,
    by: By = "elbo",
    strange: Annotated[Sequence[int | str], Written(read_labels)] = (),
    against_own: bool = False,
    correct: Literal["none", "complexity"] = "none",
    draws: Annotated[int, Between(1, 100_000)] | None = None,
    n: Annotated[int, AtLeast(1)] | None = None,
    seed: Seed = 0,
) -> Scored:
    """Give each image of a source an anomaly score, higher for stranger, in a table.

    Where it is known which images are strange, the area under the ROC curve (AUROC) says how well the scores tell them
    from the others. Memory does not grow with the number of images but for the scores themselves.

    Args:
        run: A loaded run or its folder.
        source: A source, fashion-mnist or folder:photos for instance, or a pack. Its images are cropped, resized and
            coloured as the run's own data were. Its test split is taken where it has one (the held-out images of the
            run's own data), else all of it.
        by: Minus a bound on log p(x) (elbo, iwae), squared error, minus the critic's judgement, or the Mahalanobis
            distance of the code's mean from the training codes (latent).
        strange: Labels of the images that are strange, as 4 or 4,9, by name or number; adds AUROC. Those of a folder
            are its subfolders. A conditional model gets its condition by name, not by number.
        against_own: Take all of the source as strange, beside the run's own held-out images as usual ones.
        correct: By complexity, the length of the image as a PNG is taken off a bound, which else finds simple images
            usual (Serra et al. 2020).
        draws: Codes drawn for each image in a bound; 8 for elbo and 64 for iwae if left out.
        n: The first so many images of each source; all if left out.
        seed: Of the draws and of the bootstrap.

    Raises:
        SettingError: If the run cannot score by it, or the labels are not there.
        DataError: If there is no such source.
    """
    check_ranges(score, locals())
    check_score(by, correct, draws, strange, against_own)
    from morphospace.runs.run import loaded
    from morphospace.tools.score.judge import scored

    how: dict[str, Any] = {"by": by, "strange": strange, "against_own": against_own, "correct": correct}
    return scored(loaded(run), source, **how, draws=draws, n=n, seed=seed)
