"""The run that the studio opens without arguments: a small VAE of drawn faces, whose weights are in the package."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors

from morphospace.data.cache import cache_folder
from morphospace.data.prepare import prepare
from morphospace.errors import RunError, require
from morphospace.files import atomic
from morphospace.runs.checkpoints import save_checkpoint
from morphospace.runs.configuration import resolve
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import load
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.training.events import State

RECIPE = "studio-faces-vae"
FILE = "faces.safetensors"
MOST_BYTES = 2_000_000
# Faces that training never saw: they are drawn with another seed.
DATA = "toyfaces:3000:1"


def embedded() -> LoadedRuns:
    """Return the one run that the package brings; its folder is made in the cache if it is not there yet."""
    return LoadedRuns([embedded_run()])


def embedded_run() -> Path:
    """Return the folder of the run that the package brings."""
    return laid_out(packaged())


def packaged() -> bytes:
    """Return the weights in the package, in half precision.

    Raises:
        RunError: If the package was built without them.
    """
    file = files("morphospace.studio").joinpath(FILE)
    if not file.is_file():
        raise RunError("studio", rule=f"the package has no {FILE}", way_out="give a run, or make it with `make faces`")
    return file.read_bytes()


def laid_out(weights: bytes) -> Path:
    """Return a run folder with these weights in the cache, where any tool can use it; made if it is not there yet."""
    folder = cache_folder() / "studio" / f"drawn-faces-{hashlib.blake2b(weights, digest_size=6).hexdigest()}"
    if (folder / "run.toml").is_file():
        return folder
    configuration = resolve(recipe=RECIPE, overrides={"data": DATA})
    pack = prepare(configuration.data)
    model = configuration.model.build(pack.shape, {}, None)
    tensors = {name: tensor.float() for name, tensor in read_tensors(weights).items()}
    model.networks.load_state_dict(tensors)
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    images = int(header["__metadata__"]["images"])
    facts = {"data": pack.name, "data_hash": pack.hash, "data_given": False, "shape": list(pack.shape), "custom": []}
    facts |= {"labels": list(pack.label_names), "attributes": list(pack.attribute_names)}
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    RunFolder.create(partial, configuration, facts)
    state = State({"model": dict(model.networks.state_dict())}, {"step": 0, "images": images})
    save_checkpoint(partial / "checkpoints", state, best=False, keep=1)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def pack_weights(run: str | Path, out: str | Path) -> dict[str, float | int]:
    """Write a trained run's weights in half precision, after checking that they still decode to the same images.

    Args:
        run: A run of the recipe.
        out: The file.

    Raises:
        RunError: If the weights are too large, or decode to other images in half precision.
        SettingError: If the run is of another recipe.
    """
    trained = load(run)
    wanted = resolve(recipe=RECIPE)
    same = trained.configuration.model == wanted.model
    require(same, "run", str(run), f"is not of the recipe {RECIPE}", f"train it with `morpho train --recipe {RECIPE}`")
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in trained.model.networks.state_dict().items()
    }
    data = write_tensors({name: tensor.contiguous() for name, tensor in half.items()}, {"images": str(trained.images)})
    if len(data) > MOST_BYTES:
        raise RunError("run", str(run), f"{len(data):,} bytes are more than {MOST_BYTES:,}", "take narrower nets")
    z = torch.randn(64, trained.model.latent_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = trained.model.decode(z)  # type: ignore[attr-defined]
        trained.model.networks.load_state_dict({name: tensor.float() for name, tensor in half.items()})
        error = float((trained.model.decode(z) - before).abs().max())  # type: ignore[attr-defined]
    if error > 2 / 255:
        raise RunError("run", str(run), f"half precision changes a pixel by {error:.4f}, more than two levels of 255")
    with atomic(Path(out)) as partial:
        partial.write_bytes(data)
    return {"bytes": len(data), "parameters": trained.model.parameters(), "largest_error": error}


if __name__ == "__main__":  # `make faces`
    print(pack_weights(sys.argv[1], Path(__file__).with_name(FILE)))
