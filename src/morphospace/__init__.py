"""Train, explore and judge latent-variable image models: autoencoders, VAEs and GANs in one engine.

    import morphospace as ms

    run = ms.train("vae", data="fashion-mnist", out="runs/fashion", epochs=10)
    pictures = ms.sample(run, n=64, seed=0)  # uint8 (64, 28, 28, 1)

Importing this loads no torch; the first name that needs it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphospace.data.pack import Pack, open_pack
    from morphospace.data.settings import DataSettings
    from morphospace.errors import MorphospaceError
    from morphospace.pictures.maps import LatentMap
    from morphospace.runs.configuration import Configuration
    from morphospace.runs.decoder import Decoder
    from morphospace.runs.run import Run, load
    from morphospace.tools.card import card
    from morphospace.tools.compare import Comparison, compare, save_comparison
    from morphospace.tools.diagnose import Diagnosis, diagnose
    from morphospace.tools.directions.attribute import AttributeWalk, Combined, attribute, combine, direction
    from morphospace.tools.directions.components import ComponentPlane, components, pca
    from morphospace.tools.directions.traverse import Traversal, traverse
    from morphospace.tools.evaluate import Evaluation, evaluate
    from morphospace.tools.export import Exported, Networks, export, load_exported
    from morphospace.tools.judge import judge, pool_answers
    from morphospace.tools.map import latent_map
    from morphospace.tools.project import Projections, project, train_encoder
    from morphospace.tools.sample import Reconstructions, SampleGrid, reconstruct, sample, sample_grid, sample_masks
    from morphospace.tools.score import Scored, score
    from morphospace.tools.sweep.sweep import Sweep, sweep
    from morphospace.tools.train.train import Hooks, resume, train
    from morphospace.tools.walk.interpolate import interpolate
    from morphospace.tools.walk.morph import Morph, morph
    from morphospace.tools.walk.paths import Walk
    from morphospace.training.settings import TrainingSettings
    from morphospace.zoo.settings import AESettings, DCGANSettings, VAESettings

_HOMES = {
    "train": "tools.train.train",
    "resume": "tools.train.train",
    "Hooks": "tools.train.train",
    "sweep": "tools.sweep.sweep",
    "Sweep": "tools.sweep.sweep",
    "load": "runs.run",
    "sample": "tools.sample",
    "sample_grid": "tools.sample",
    "sample_masks": "tools.sample",
    "reconstruct": "tools.sample",
    "project": "tools.project",
    "train_encoder": "tools.project",
    "score": "tools.score",
    "Projections": "tools.project",
    "Scored": "tools.score",
    "interpolate": "tools.walk.interpolate",
    "morph": "tools.walk.morph",
    "components": "tools.directions.components",
    "pca": "tools.directions.components",
    "traverse": "tools.directions.traverse",
    "attribute": "tools.directions.attribute",
    "direction": "tools.directions.attribute",
    "combine": "tools.directions.attribute",
    "diagnose": "tools.diagnose",
    "Diagnosis": "tools.diagnose",
    "evaluate": "tools.evaluate",
    "Evaluation": "tools.evaluate",
    "compare": "tools.compare",
    "Comparison": "tools.compare",
    "save_comparison": "tools.compare",
    "judge": "tools.judge",
    "pool_answers": "tools.judge",
    "latent_map": "tools.map",
    "export": "tools.export",
    "load_exported": "tools.export",
    "card": "tools.card",
    "Decoder": "runs.decoder",
    "Exported": "tools.export",
    "Networks": "tools.export",
    "LatentMap": "pictures.maps",
    "Run": "runs.run",
    "Reconstructions": "tools.sample",
    "SampleGrid": "tools.sample",
    "Walk": "tools.walk.paths",
    "Morph": "tools.walk.morph",
    "ComponentPlane": "tools.directions.components",
    "Traversal": "tools.directions.traverse",
    "AttributeWalk": "tools.directions.attribute",
    "Combined": "tools.directions.attribute",
    "Configuration": "runs.configuration",
    "DataSettings": "data.settings",
    "TrainingSettings": "training.settings",
    "AESettings": "zoo.settings",
    "VAESettings": "zoo.settings",
    "DCGANSettings": "zoo.settings",
    "Pack": "data.pack",
    "open_pack": "data.pack",
    "MorphospaceError": "errors",
}

__version__ = "0.1.0"
__all__ = [
    "train",
    "resume",
    "sweep",
    "load",
    "sample",
    "sample_grid",
    "sample_masks",
    "reconstruct",
    "project",
    "train_encoder",
    "score",
    "interpolate",
    "morph",
    "components",
    "pca",
    "traverse",
    "attribute",
    "direction",
    "combine",
    "diagnose",
    "evaluate",
    "compare",
    "save_comparison",
    "judge",
    "pool_answers",
    "latent_map",
    "export",
    "load_exported",
    "card",
    "Decoder",
    "Run",
    "Sweep",
    "Exported",
    "Networks",
    "LatentMap",
    "Evaluation",
    "Comparison",
    "Reconstructions",
    "Projections",
    "Scored",
    "SampleGrid",
    "Walk",
    "Morph",
    "ComponentPlane",
    "Traversal",
    "AttributeWalk",
    "Combined",
    "Diagnosis",
    "Hooks",
    "Configuration",
    "DataSettings",
    "TrainingSettings",
    "AESettings",
    "VAESettings",
    "DCGANSettings",
    "Pack",
    "open_pack",
    "MorphospaceError",
]


def __getattr__(name: str) -> Any:
    if name.endswith("Settings") and name not in _HOMES:
        settings = import_module("morphospace.zoo.settings")
        if name in vars(settings):  # every model's, beside the few that are listed
            return getattr(settings, name)
    if name not in _HOMES:
        raise AttributeError(f"module 'morphospace' has no attribute {name!r}")
    return getattr(import_module(f"morphospace.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
