"""The run that the studio opens without arguments: a small VAE of drawn faces, whose weights are in the package."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor

from morphospace.data.cache import cache_folder, locked, make_folder
from morphospace.data.prepare import prepare
from morphospace.errors import RunError, require
from morphospace.files import atomic
from morphospace.latent.paths import along
from morphospace.models.contract import Model, seeded_noise
from morphospace.runs.checkpoints import save_checkpoint
from morphospace.runs.configuration import resolve
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import load
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.training.events import State

RECIPE = "studio-faces-vae"
FILE = "faces.safetensors"
MOST_BYTES = 1_100_000
# Faces that training never saw: they are drawn with another seed.
DATA = "toyfaces:3000:1"
SCALE = ":scale"  # what the name of a matrix's scales ends in, beside its whole numbers
LEAST_PSNR = 40.0  # of images decoded by the rounded weights, against those of the exact ones
SEEDS, AMONG = 12, 400


def embedded() -> LoadedRuns:
    """Return the one run that the package brings; its folder is made in the cache if it is not there yet."""
    return LoadedRuns([embedded_run()])


def embedded_run() -> Path:
    """Return the folder of the run that the package brings."""
    return laid_out(packaged())


def packaged() -> bytes:
    """Return the weights in the package.

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
    with locked(make_folder(folder.parent) / folder.name):
        if (folder / "run.toml").is_file():
            return folder
        about = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])["__metadata__"]
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_run(partial, unrounded(read_tensors(weights)), int(about["images"]), json.loads(about["seeds"]))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        return folder


def write_run(folder: Path, tensors: Mapping[str, Tensor], images: int, seeds: Sequence[int]) -> Path:
    """Make a run of the recipe from weights, and return its folder.

    Args:
        folder: A new folder.
        tensors: Of the recipe's networks.
        images: How many training has seen.
        seeds: What the explorer opens with; the first seeds when empty.
    """
    configuration = resolve(recipe=RECIPE, overrides={"data": DATA})
    pack = prepare(configuration.data)
    model = configuration.model.build(pack.shape, {}, None)
    model.networks.load_state_dict(dict(tensors))
    facts = {"data": pack.name, "data_hash": pack.hash, "data_given": False, "shape": list(pack.shape), "custom": []}
    facts |= {"labels": list(pack.label_names), "attributes": list(pack.attribute_names)}
    facts |= {"seeds": list(seeds)} if seeds else {}
    RunFolder.create(folder, configuration, facts)
    state = State({"model": dict(model.networks.state_dict())}, {"step": 0, "images": images})
    save_checkpoint(folder / "checkpoints", state, best=False, keep=1)
    return folder


def rounded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round weights for the package: matrices and kernels to 255 levels a row, with one scale each; the rest stays."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2:
            found[name] = tensor.contiguous()
            continue
        scale = tensor.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        found[name] = (tensor / scale.view(-1, *[1] * (tensor.dim() - 1))).round().to(torch.int8).contiguous()
        found[name + SCALE] = scale
    return found


def unrounded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights that `rounded` made, in float32 again."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(SCALE):
            scale = tensors.get(name + SCALE)
            found[name] = tensor if scale is None else tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
    return found


def sampled_codes(model: Model, noise: Tensor) -> Tensor:
    """Return the codes of the prior for noise (N, D)."""
    assert model.prior is not None
    return model.prior.from_noise(noise).float()


@torch.no_grad()
def choose_seeds(model: Model, count: int, among: int) -> list[int]:
    """Choose seeds to open with: clear samples, unlike each other, between which faces stay clear.

    How clear an image is: how little it changes when the model encodes and decodes it again. An image that mixes two
    attributes comes back as one of them. The clearer half of the seeds are candidates. The one farthest in pixels from
    the mean image comes first; then always the candidate that is farthest from those before, among those to which the
    path from the one before (along the sphere) stays as clear as the candidates are.

    Args:
        model: It encodes and decodes.
        count: How many.
        among: Seeds 0 to this one.
    """
    codes = sampled_codes(model, torch.cat([seeded_noise(1, model.latent_dim, seed) for seed in range(among)]))

    def decoded(some: Tensor) -> Tensor:
        return torch.cat([model.decode(part) for part in some.float().split(64)])  # type: ignore[attr-defined]

    def unclear(images: Tensor) -> Tensor:
        again = torch.cat([model.decode(model.encode(part).mean) for part in images.split(64)])  # type: ignore[attr-defined]
        return (again - images).square().flatten(1).mean(1)

    images = decoded(codes)
    errors = unclear(images)
    candidates = errors.argsort()[: max(count, among // 2)]
    limit = float(errors[candidates].max())
    pixels = images[candidates].flatten(1)
    chosen = [int((pixels - images.flatten(1).mean(0)).norm(dim=1).argmax())]
    while len(chosen) < min(count, len(candidates)):
        away = torch.cdist(pixels, pixels[chosen]).amin(1)
        for place in away.argsort(descending=True).tolist():
            start, end = codes[candidates[chosen[-1]]], codes[candidates[place]]
            if place not in chosen and float(unclear(decoded(along(start, end, 12))).max()) <= limit:
                break
        else:
            place = next(i for i in away.argsort(descending=True).tolist() if i not in chosen)
        chosen.append(place)
    return [int(candidates[place]) for place in chosen]


def pack_weights(run: str | Path, out: str | Path) -> dict[str, float | int]:
    """Write a trained run's rounded weights, after checking that they still decode to the same images.

    Args:
        run: A run of the recipe.
        out: The file.

    Raises:
        RunError: If the weights are too large, or decode to other images when rounded.
        SettingError: If the run is of another recipe.
    """
    trained = load(run)
    wanted = resolve(recipe=RECIPE)
    same = trained.configuration.model == wanted.model
    require(same, "run", str(run), f"is not of the recipe {RECIPE}", "train it with `make faces`")
    model = trained.model
    z = sampled_codes(model, seeded_noise(64, model.latent_dim, 0))
    small = rounded(model.networks.state_dict())
    with torch.no_grad():
        before = model.decode(z)  # type: ignore[attr-defined]
        model.networks.load_state_dict(unrounded(small))
        error = float((model.decode(z) - before).square().mean())  # type: ignore[attr-defined]
    psnr = math.inf if error == 0 else -10 * math.log10(error)
    if psnr < LEAST_PSNR:
        rule = f"rounded weights decode to other images (PSNR {psnr:.1f} dB, not {LEAST_PSNR})"
        raise RunError("run", str(run), rule, "train it longer, or take another checkpoint")
    about = {"images": str(trained.images), "seeds": json.dumps(choose_seeds(model, SEEDS, AMONG))}
    data = write_tensors(small, about)
    if len(data) > MOST_BYTES:
        raise RunError("run", str(run), f"{len(data):,} bytes are more than {MOST_BYTES:,}", "take narrower nets")
    with atomic(Path(out)) as partial:
        partial.write_bytes(data)
    return {"bytes": len(data), "parameters": model.parameters(), "psnr_of_rounding": psnr}


if __name__ == "__main__":  # `make faces`
    print(pack_weights(sys.argv[1], Path(__file__).with_name(FILE)))
