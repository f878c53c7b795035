"""Diagrams of models: layers, sizes and phases as an SVG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from morphospace.files import write_text
from morphospace.pictures.display import Media
from morphospace.tools.tool import Answer, Asked, Displayable, File, Summary, tool

if TYPE_CHECKING:
    from morphospace.models.contract import Model
    from morphospace.runs.run import Run
    from morphospace.training.anatomy import Anatomy

SVG = File((".svg",), "The diagram to write, an .svg.", required=True)


@dataclass(frozen=True)
class Diagram(Displayable):
    """The diagram of a model.

    Attributes:
        anatomy: Its networks and phases.
        title: The title of the picture.
        svg: The picture.
    """

    anatomy: Anatomy
    title: str
    svg: str

    def media(self) -> Media:
        """Return the drawing."""
        return Media("image/svg+xml", self.svg.encode())

    def summary(self) -> Summary:
        """Return how large the networks are."""
        parts = {part.name: part.parameters for part in self.anatomy.parts}
        sizes = ", ".join(f"{name} {count:,}" for name, count in parts.items())
        return Summary([f"{self.title}: {sum(parts.values()):,} parameters ({sizes})"])

    def show(self, asked: Asked) -> Answer:
        """Say how large the networks are and what each phase of a training step updates."""
        found = self.anatomy
        parts = {part.name: part.parameters for part in found.parts}
        phases = [
            {"name": one.name, "turns": one.turns, "every": one.every, "learns": one.learns, "terms": dict(one.terms)}
            for one in found.phases
        ]
        data = {"out": str(asked.files["out"]), "model": found.model, "shape": found.shape, "parameters": parts}
        return Answer({**data, "phases": phases}, [*self.summary().lines, f"diagram {asked.files['out']}"])


@tool(files={"out": SVG}, loads=False, devices=False, images=False, hidden=("settings",))
def diagram(
    model: str | Path | Run | Model,
    out: str | Path | None = None,
    *,
    size: str = "64",
    channels: Literal[1, 3] = 3,
    settings: Mapping[str, Any] | None = None,
) -> Diagram:
    """Draw a model as an SVG: its layers with their shapes, parameters and receptive fields, and its training step.

    A few random images pass through every phase of one step. The diagram shows what was called: for each phase the
    networks that are used, those that are updated, and the terms that are minimised with the weights that they have
    after every warm-up. No training data is needed.

    Args:
        model: A run's folder, the name of a model or recipe, or a TOML file of settings. In Python also a loaded run,
            or a model that was built.
        out: File to write it to; `.svg`.
        size: Height and width of the images of a model or recipe that does not say, as `64` or `64x48`.
        channels: 1 for grey or 3 for colour, likewise.
        settings: Settings of a model or recipe by name, `{"latent_dim": 8}` for instance.

    Raises:
        SettingError: If there is no such run, model or recipe, or `out` is no `.svg`.
        RunError: If a run's folder is broken, or the run was trained with networks of the caller's own.
    """
    path = None if out is None else SVG.path("out", out)
    from morphospace.pictures.diagram import diagram_svg
    from morphospace.tools.diagram.find import found_model
    from morphospace.training.anatomy import anatomy

    built, name = found_model(model, size, channels, settings or {})
    height, width, depth = built.shape
    title = f"{name}, images of {height}×{width}×{depth}"
    found = anatomy(built)
    made = Diagram(found, title, diagram_svg(found, title))
    if path is not None:
        write_text(path, made.svg)
    return made
