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
    from morphospace.api.arithmetic import Combined, combine
    from morphospace.api.cards import card
    from morphospace.api.comparing import compare
    from morphospace.api.components import ComponentPlane, components, pca
    from morphospace.api.decoding import Decoder
    from morphospace.api.diagnosing import Diagnosis, diagnose
    from morphospace.api.directions import AttributeWalk, attribute, direction
    from morphospace.api.evaluating import Evaluation, evaluate
    from morphospace.api.exporting import Exported, Networks, export, load_exported
    from morphospace.api.judging import judge, pool_answers
    from morphospace.api.loading import Run, load
    from morphospace.api.mapping import latent_map
    from morphospace.api.morphing import Morph, morph
    from morphospace.api.projecting import Projections, project, train_encoder
    from morphospace.api.sampling import Reconstructions, SampleGrid, reconstruct, sample, sample_grid, sample_masks
    from morphospace.api.scoring import Scored, score
    from morphospace.api.sweeping import Sweep, sweep
    from morphospace.api.training import resume, train
    from morphospace.api.traversing import Traversal, traverse
    from morphospace.api.walking import Walk, interpolate
    from morphospace.artifacts.comparison import Comparison
    from morphospace.artifacts.comparison_page import save_comparison
    from morphospace.artifacts.configuration import Configuration
    from morphospace.artifacts.maps import LatentMap
    from morphospace.data.pack import Pack, open_pack
    from morphospace.data.settings import DataSettings
    from morphospace.errors import MorphospaceError
    from morphospace.training.settings import TrainingSettings
    from morphospace.zoo.settings import AESettings, DCGANSettings, VAESettings

_HOMES = {
    "train": "api.training",
    "resume": "api.training",
    "sweep": "api.sweeping",
    "Sweep": "api.sweeping",
    "load": "api.loading",
    "sample": "api.sampling",
    "sample_grid": "api.sampling",
    "sample_masks": "api.sampling",
    "reconstruct": "api.sampling",
    "project": "api.projecting",
    "train_encoder": "api.projecting",
    "score": "api.scoring",
    "Projections": "api.projecting",
    "Scored": "api.scoring",
    "interpolate": "api.walking",
    "morph": "api.morphing",
    "components": "api.components",
    "pca": "api.components",
    "traverse": "api.traversing",
    "attribute": "api.directions",
    "direction": "api.directions",
    "combine": "api.arithmetic",
    "diagnose": "api.diagnosing",
    "Diagnosis": "api.diagnosing",
    "evaluate": "api.evaluating",
    "Evaluation": "api.evaluating",
    "compare": "api.comparing",
    "Comparison": "artifacts.comparison",
    "save_comparison": "artifacts.comparison_page",
    "judge": "api.judging",
    "pool_answers": "api.judging",
    "latent_map": "api.mapping",
    "export": "api.exporting",
    "load_exported": "api.exporting",
    "card": "api.cards",
    "Decoder": "api.decoding",
    "Exported": "api.exporting",
    "Networks": "api.exporting",
    "LatentMap": "artifacts.maps",
    "Run": "api.loading",
    "Reconstructions": "api.sampling",
    "SampleGrid": "api.sampling",
    "Walk": "api.walking",
    "Morph": "api.morphing",
    "ComponentPlane": "api.components",
    "Traversal": "api.traversing",
    "AttributeWalk": "api.directions",
    "Combined": "api.arithmetic",
    "Configuration": "artifacts.configuration",
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
        if name in settings.__all__:  # every model's, beside the few that are listed
            return getattr(settings, name)
    if name not in _HOMES:
        raise AttributeError(f"module 'morphospace' has no attribute {name!r}")
    return getattr(import_module(f"morphospace.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
