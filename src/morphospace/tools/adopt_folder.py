"""The verb `adopt`: a run of a folder that the library diffusers wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from morphospace.data.sizes import parse_size
from morphospace.errors import command
from morphospace.tools.tool import Answer, Asked, Displayable, Summary, tool

if TYPE_CHECKING:
    from morphospace.runs.run import Run


@dataclass(frozen=True)
class AdoptedFolder(Displayable):
    """A run that was adopted.

    Attributes:
        run: The run, loaded.
    """

    run: Run

    def summary(self) -> Summary:
        """Return what it is, and what to do with it."""
        path, (height, width, channels) = self.run.path, self.run.model.shape
        lines = [
            f"{self.run.configuration.model.name}, images of {height}x{width}x{channels}, codes of "
            f"{self.run.model.latent_dim:,} numbers: {path}"
        ]
        if self.run.folder.facts["data_hash"]:
            lines.append(f"next            {command('reconstruct', path, '--out', 'pairs.png')}")
        else:
            lines.append("without --data it has no images to encode, or to fit a prior to")
        return Summary(lines)

    def show(self, asked: Asked) -> Answer:
        """Return the run's folder, and what it holds."""
        model = self.run.configuration.model.name
        data = {"run": str(self.run.path), "model": model, "shape": list(self.run.model.shape)}
        return Answer({**data, "latent_dim": self.run.model.latent_dim}, self.summary().lines)


@tool(loads=False, devices=False)
def adopt_folder(
    folder: str | Path,
    *,
    out: str | Path,
    data: str | None = None,
    size: str | None = None,
    say: Callable[[str], None] | None = None,
) -> AdoptedFolder:
    """Make a run of an `AutoencoderKL` that the library diffusers wrote, so that every tool takes it.

    The folder holds config.json and diffusion_pytorch_model.safetensors. Of a pipeline, it is the folder vae. Diffusers
    itself is not needed. Networks of other kinds are adopted in Python, by `ms.adopt`.

    Args:
        folder: The folder that diffusers wrote.
        out: The run's folder.
        data: Images to evaluate it by and to encode: a source, as for `morpho train`.
        size: Height and width of the images, as 64 or 64x48; if left out, those that config.json says.
        say: Takes a line for the user.

    Raises:
        DataError: If the folder holds none, or one with something that `autoencoder-kl` has not.
        RunError: If `out` holds something else.
    """
    from morphospace.tools.adopt import adopt
    from morphospace.tools.export.diffusers_folder import read_config, shape_of

    sides = parse_size(size)
    shape = None if sides is None else (*sides, shape_of(read_config(Path(folder)))[2])
    return AdoptedFolder(adopt(folder, data=data, shape=shape, out=out, say=say))
