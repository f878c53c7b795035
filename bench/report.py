"""What the speed measurement found, as markdown and as plain numbers."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.cases import Case

__all__ = ["Measured", "Report", "machine"]

Side = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Measured:
    """One case, measured.

    Attributes:
        case: What was trained, with the steps that were taken.
        published: What each run of the published side printed.
        ours: What each run of our side printed; run i of both are a pair.
        flop_per_image: Operations of one of our training steps, by image.
    """

    case: Case
    published: Side
    ours: Side
    flop_per_image: float

    def rate(self, side: Side) -> float:
        """Return a side's median images/s."""
        return median(run["images_per_second"] for run in side)

    @property
    def ratio(self) -> float:
        """Ours over published, of the medians."""
        return self.rate(self.ours) / self.rate(self.published)

    @property
    def pair_ratios(self) -> list[float]:
        """Ours over published, pair by pair."""
        return [b["images_per_second"] / a["images_per_second"] for a, b in zip(self.published, self.ours)]

    @property
    def gflop_per_second(self) -> float:
        """What our side computes a second."""
        return self.rate(self.ours) * self.flop_per_image / 1e9

    @property
    def parameters(self) -> tuple[int, int]:
        """Trainable numbers, published and ours."""
        return self.published[0]["parameters"], self.ours[0]["parameters"]

    def losses(self, side: Side) -> str:
        """Return a side's median losses in words."""
        names = side[0]["losses"]
        return ", ".join(f"{name} {median(run['losses'][name] for run in side):,.4g}" for name in names)

    def peak_mib(self, side: Side) -> float:
        """Return the most memory that any run of a side held."""
        return max(run["peak_mib"] for run in side)


@dataclass(frozen=True)
class Report:
    """A whole run of the measurement.

    Attributes:
        machine: CPU and number of cores.
        data: What the images were.
        products: Matrix-product rates, measured between the cases.
        measured: The cases.
        loader_workers: DataLoader workers of the published side.
    """

    machine: Mapping[str, Any]
    data: Mapping[str, str]
    products: Sequence[Mapping[str, Any]]
    measured: Sequence[Measured]
    loader_workers: int

    def product_rate(self, precision: str) -> float:
        """Return the median matrix-product rate in GFLOP/s."""
        return median(product["gflop_per_second"][precision] for product in self.products)

    def share(self, one: Measured) -> float:
        """Return the part of the matrix-product rate, in its own precision, that our training reaches."""
        return one.gflop_per_second / self.product_rate(one.ours[0]["precision"])

    def different(self) -> list[str]:
        """Return the cases whose sides have not the same number of parameters."""
        return [one.case.name for one in self.measured if len(set(one.parameters)) > 1]

    def header(self) -> list[str]:
        """Return what the numbers were taken on and with."""
        here, first = self.machine, self.products[0]
        precisions = ", ".join(sorted({one.ours[0]["precision"] for one in self.measured}))
        pairs = len(self.measured[0].ours)
        rates = ", ".join(f"{name} {self.product_rate(name):,.0f}" for name in first["gflop_per_second"])
        return [
            f"- {here['cpu']}, {here['cores']} cores, {first['threads']} threads; torch {first['torch']}, "
            f"Python {first['python']}, {here['system']}",
            f"- precision: published fp32, ours {precisions}; published DataLoader workers: {self.loader_workers}",
            f"- matrix products of {first['size']}x{first['size']}, GFLOP/s: {rates} "
            f"(median of {len(self.products)} measurements)",
            f"- pairs a model: {pairs}; every run in a process of its own, sides alternating; medians",
            f"- images: {'; '.join(self.data.values())}; the same on both sides",
        ]

    def markdown(self) -> str:
        """Return the tables."""
        speed = [
            _row(
                "model",
                "published images/s",
                "ours images/s",
                "ratio",
                "pairs, min-max",
                "target",
                "peak MiB, published / ours",
                "FLOP per image",
                "ours GFLOP/s",
                "share of matrix-product rate",
            ),
            _row("---", *["---:"] * 9),
        ]
        sane = [
            _row("model", "batch", "steps", "parameters", "loss, published", "loss, ours", "published reads"),
            _row("---", "---:", "---:", "---:", "---", "---", "---"),
        ]
        for one in self.measured:
            speed.append(self._speed_row(one))
            theirs, mine = one.parameters
            count = f"{mine:,}" if theirs == mine else f"DIFFERENT: {theirs:,} / {mine:,}"
            case = one.case
            losses = one.losses(one.published), one.losses(one.ours)
            sane.append(_row(case.name, f"{case.batch}", f"{case.warmup} + {case.steps}", count, *losses, case.note))
        title = "Do both sides train the same thing? Losses per image, means over the last steps (at most 10)."
        return "\n".join(["", *self.header(), "", *speed, "", title, "", *sane, ""])

    def _speed_row(self, one: Measured) -> str:
        ratios = one.pair_ratios
        return _row(
            one.case.name,
            _number(one.rate(one.published)),
            _number(one.rate(one.ours)),
            f"{one.ratio:.2f}x",
            f"{min(ratios):.2f}-{max(ratios):.2f}",
            f"{one.case.target:g}x",
            f"{one.peak_mib(one.published):,.0f} / {one.peak_mib(one.ours):,.0f}",
            _operations(one.flop_per_image),
            _number(one.gflop_per_second),
            f"{self.share(one):.0%}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return every number measured, and those derived from them."""
        return {
            "machine": dict(self.machine),
            "images": dict(self.data),
            "loader_workers": self.loader_workers,
            "matrix_products": list(self.products),
            "cases": [
                {
                    **dataclasses.asdict(one.case),
                    "published_images_per_second": one.rate(one.published),
                    "ours_images_per_second": one.rate(one.ours),
                    "ratio": one.ratio,
                    "pair_ratios": one.pair_ratios,
                    "flop_per_image": one.flop_per_image,
                    "gflop_per_second": one.gflop_per_second,
                    "share_of_matrix_product_rate": self.share(one),
                    "runs": {"published": list(one.published), "ours": list(one.ours)},
                }
                for one in self.measured
            ],
        }


def machine() -> dict[str, Any]:
    """Return the CPU's name, the cores this process may use, and the system."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return {"cpu": _cpu_name(), "cores": cores, "system": platform.system()}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _operations(count: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count:,.0f}"
