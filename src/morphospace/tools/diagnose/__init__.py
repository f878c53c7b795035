"""Diagnose a run: collapse, copies and trouble in training, in words, with what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from morphospace.evaluation.diagnose import Finding, worst
from morphospace.ranges import Between, Seed, check_ranges
from morphospace.tools.tool import Answer, Asked, Displayable, Summary, Table, at_images, tool

if TYPE_CHECKING:
    from morphospace.runs.run import Run


@dataclass(frozen=True)
class Diagnosis(Displayable):
    """What was found in a run.

    Attributes:
        run: Its folder.
        images: Images seen at the checkpoint.
        findings: The gravest first; empty for a healthy run.
        measured: Every number measured, by name, also of what is well.
        conditions: How many samples and images were compared, and the seed.
    """

    run: Path
    images: int
    findings: tuple[Finding, ...]
    measured: dict[str, Any]
    conditions: dict[str, Any]

    @property
    def severity(self) -> str:
        """The gravest severity, or `healthy`."""
        return worst(self.findings) or "healthy"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {
            "run": str(self.run),
            "images": self.images,
            "severity": self.severity,
            "findings": [{**asdict(f), "evidence": dict(f.evidence)} for f in self.findings],
            "measured": self.measured,
            "conditions": self.conditions,
        }

    def summary(self) -> Summary:
        """Return the findings in words, and a table of what was measured."""
        word = "healthy" if self.severity == "note" else self.severity
        head = f"{self.run}{at_images(self.images)}: {word}"
        lines = [head if self.findings else f"{head}; nothing to complain of"]
        for finding in self.findings:
            lines.append(f"{finding.severity}: {finding.name}: {finding.says}")
            lines += [f"  try: {finding.advice}"] if finding.advice else []
        return Summary(lines, Table(("measured", "value", "usual"), _rows(self.measured)))

    def show(self, asked: Asked) -> Answer:
        """Return the findings in words, and a table of what was measured."""
        return Answer(self.as_dict(), *self.summary())


@tool(hidden=("classes",))
def diagnose(
    run: Run | str | Path, *, n: Annotated[int, Between(16, 10_000)] = 500, seed: Seed = 0, classes: bool = True
) -> Diagnosis:
    """Check a run for collapse, copies of training images and trouble in training, and say what to try.

    Args:
        run: A loaded run or its folder.
        n: How many samples, and held-out images to compare them with.
        seed: Which samples.
        classes: Count the classes that samples show, where the data have labels and n is at least twenty for each. The
            classifier that sees them is trained when it is first needed, and kept in the cache.

    Raises:
        SettingError: If n is out of range.
        RunError: If there is no such run, or it has no checkpoint.
    """
    check_ranges(diagnose, locals())
    from morphospace.runs.run import loaded
    from morphospace.tools.diagnose.looks import diagnosed

    return diagnosed(loaded(run), n, seed, classes)


# What each number is, and what is usual; in the order of the table.
WORDS = {
    "active_units": ("units that say something of the image", "most of them"),
    "kl_nats": ("what codes say, nats an image", "over 1"),
    "code_variance_ratio": ("variance of codes over the prior's, the median unit's", "1"),
    "code_mean_furthest": ("furthest mean of a unit's codes, in deviations", "0"),
    "ks_largest": ("largest distance of a unit from the prior", "below 0.25"),
    "code_nats_over_normal": ("nats a code that a mixture fitted to codes gains over N(0, I)", "below 0.5"),
    "mmd": ("squared discrepancy of codes and prior", "about 0"),
    "entries_used": ("entries of the codebook that some image uses", "most of them"),
    "perplexity": ("entries in even use that would say as much", "over a tenth of them"),
    "code_nats": ("nats of a code under its prior", "below the next"),
    "code_nats_even": ("the same if all entries were as probable", ""),
    "sample_spread": ("how much samples vary, real images 1", "0.5 to 1.2"),
    "duplicates": ("samples that have a double", "0"),
    "modes": ("classes that samples show", "as the next"),
    "modes_of_real": ("the same of images not trained on", ""),
    "nearest_training": ("samples' distance to the nearest training image", "as the next"),
    "nearest_training_of_unseen": ("the same of images not trained on", ""),
    "copies": ("samples that are copies of one training image", "as the next"),
    "copies_of_unseen": ("the same of images not trained on", ""),
}


def _rows(measured: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for key, (words, usual) in WORDS.items():
        value = measured.get(key)
        if value is None:
            continue
        all_of = {"active_units": "units", "entries_used": "entries"}.get(key)
        of = f" of {measured[all_of]}" if all_of else ""
        text = f"{value:.0%}" if key.startswith(("copies", "duplicates")) else f"{value:.4g}{of}"
        rows.append([words, text, usual])
    rough = measured.get("roughness") or {}
    return rows + [[f"roughness of the loss of {name}", f"{value:.3g}", ""] for name, value in rough.items()]
