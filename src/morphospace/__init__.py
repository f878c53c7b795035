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
    from morphospace.pictures.enlarge import enlarging
    from morphospace.pictures.maps import LatentMap
    from morphospace.runs.configuration import Configuration
    from morphospace.runs.decoder import Decoder
    from morphospace.runs.run import Run, load
    from morphospace.studio.notebook import Explorer, explore
    from morphospace.tools.adopt import adopt
    from morphospace.tools.benchmark.benchmark import Benchmark, benchmark
    from morphospace.tools.card import card
    from morphospace.tools.compare import Comparison, compare, save_comparison
    from morphospace.tools.diagnose import Diagnosis, diagnose
    from morphospace.tools.diagram import Diagram, diagram
    from morphospace.tools.directions.attribute import AttributeWalk, Combined, attribute, combine, direction
    from morphospace.tools.directions.pca import ComponentPlane, components, pca
    from morphospace.tools.directions.traverse import Traversal, traverse
    from morphospace.tools.evaluate import Evaluation, evaluate
    from morphospace.tools.export import Exported, Networks, export, load_exported
    from morphospace.tools.judge import judge, pool_answers
    from morphospace.tools.map import latent_map
    from morphospace.tools.project import Projections, project, train_encoder
    from morphospace.tools.push import Pushed, push
    from morphospace.tools.sample import Reconstructions, SampleGrid, reconstruct, sample, sample_grid, sample_masks
    from morphospace.tools.sample_files import SampleFiles, save_samples
    from morphospace.tools.score import Scored, score
    from morphospace.tools.sweep.sweep import Sweep, sweep
    from morphospace.tools.train.train import Hooks, resume, train
    from morphospace.tools.walk.interpolate import interpolate
    from morphospace.tools.walk.morph import Morph, morph
    from morphospace.tools.walk.paths import Walk
    from morphospace.training.settings import TrainingSettings
    from morphospace.zoo.settings_gan import DCGANSettings
    from morphospace.zoo.settings_vae import AESettings, VAESettings

# Public names, by the module that holds them; loaded when first asked for.
_PUBLIC = {
    "tools.train.train": "train resume Hooks",
    "tools.adopt": "adopt",
    "tools.sweep.sweep": "sweep Sweep",
    "tools.benchmark.benchmark": "benchmark Benchmark",
    "runs.run": "load Run",
    "tools.sample": "sample sample_grid sample_masks reconstruct Reconstructions SampleGrid",
    "tools.sample_files": "save_samples SampleFiles",
    "tools.project": "project train_encoder Projections",
    "tools.score": "score Scored",
    "tools.walk.interpolate": "interpolate",
    "tools.walk.morph": "morph Morph",
    "tools.directions.pca": "components pca ComponentPlane",
    "tools.directions.traverse": "traverse Traversal",
    "tools.directions.attribute": "attribute direction combine AttributeWalk Combined",
    "tools.diagram": "diagram Diagram",
    "tools.diagnose": "diagnose Diagnosis",
    "tools.evaluate": "evaluate Evaluation",
    "tools.compare": "compare save_comparison Comparison",
    "tools.judge": "judge pool_answers",
    "tools.map": "latent_map",
    "tools.export": "export load_exported Exported Networks",
    "tools.card": "card",
    "studio.notebook": "explore Explorer",
    "tools.push": "push Pushed",
    "runs.decoder": "Decoder",
    "pictures.enlarge": "enlarging",
    "pictures.maps": "LatentMap",
    "tools.walk.paths": "Walk",
    "runs.configuration": "Configuration",
    "data.settings": "DataSettings",
    "training.settings": "TrainingSettings",
    "zoo.settings": "AESettings VAESettings DCGANSettings",
    "data.pack": "Pack open_pack",
    "errors": "MorphospaceError",
}
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = list(_HOMES)


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
