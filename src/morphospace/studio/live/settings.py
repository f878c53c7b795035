"""Which GANs the Play room can train, and what may be set: read from the zoo's own declarations; free of torch."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from morphospace.errors import SettingError, require
from morphospace.ranges import Range, Seed, marks_of
from morphospace.records import documentation, fields_of
from morphospace.roles import Role
from morphospace.runs.configuration import as_written, build_section
from morphospace.zoo.settings import ZOO, ModelSettings
from morphospace.zoo.settings_both import VAEGANSettings
from morphospace.zoo.settings_gan import GANSettings

Data = Literal["ring", "grid", "moons", "own", "digits", "faces"]
Ground = Literal["plane", "images"]
IMAGES: Mapping[str, str] = {"digits": "digits", "faces": "toyfaces:3000"}
"""The sources of images by their names here: both are there without a download."""
SIDE = 16  # pixels of an image's height and width
BATCH: Mapping[Ground, int] = {"plane": 128, "images": 32}
MOST_BATCH = 256
DEEPEST = 4  # layers of a network that is set by its widths

# What a setting is here where it is not the model's own default; a model takes those that it has.
USUAL: Mapping[Ground, Mapping[str, Any]] = {
    "plane": {"tower": "mlp", "widths": (64, 64), "latent_dim": 2, "init": "default"},
    "images": {"latent_dim": 16, "base_width": 16},
}
# What a paper says of its own: RMSprop and clipped weights cannot take steps of a third of what they are clipped at;
# points ask for far steeper critics than images do, hence a weak penalty, as in WGAN-GP's own plane study.
IN_THE_PLANE: Mapping[str, Mapping[str, Any]] = {
    "wgan": {"lr": 5e-4, "turns": 5},
    "wgan-gp": {"gradient_penalty": 0.1, "betas": (0.5, 0.9), "turns": 5, "critic_lr": None, "penalty_every": 1},
    "fast-gan": {"excitation": False, "upsampling": "transposed", "augment": ()},  # these are for images
    "info-gan": {"latent_dim": 10, "categories": 8, "continuous": 0},  # a category for each cluster of the ring
    "r3gan": {"r1": 0.02, "r2": 0.02, "penalty_by_size": False, "penalty_every": 1, "lr": 3e-3, "betas": (0.0, 0.99)},
    "vae-gan": {"signed": True, "likelihood": "gaussian", "critic_widths": (64, 64), "beta": 0.1},
}
OF_IMAGES: Mapping[str, Mapping[str, Any]] = {
    "vae-gan": {"widths": (16, 32), "critic_widths": (16, 32)},
}
# The largest that a setting may be here: a run shares the machine with whoever explores.
MOST: Mapping[str, int] = {
    "latent_dim": 128,
    "widths": 256,
    "generator_widths": 256,
    "critic_widths": 256,
    "base_width": 64,
    "critic_base_width": 64,
    "pair_width": 256,
    "blocks": 2,
    "turns": 20,
    "minibatch_discrimination": 100,
    "replay_images": 8192,
    "unrolled": 10,
    "packing": 8,
    "embedding": 128,
    "prior_components": 200,
    "prior_layers": 8,
    "draws": 10,
}


@dataclass(frozen=True)
class Chosen:
    """What one side of the Play room trains.

    Attributes:
        model: The GAN's settings.
        data: What it learns.
        own: The drawing, where that is what it learns.
        batch: Points or images in a batch.
        seed: Of weights, batches and noise.
    """

    model: ModelSettings
    data: Data
    own: str = ""
    batch: int = 0
    seed: Seed = 0

    @property
    def ground(self) -> Ground:
        """Whether it learns points in the plane or images."""
        return ground_of(self.data)


def ground_of(data: str) -> Ground:
    """Return whether data are points in the plane or images."""
    return "images" if data in IMAGES else "plane"


def gans() -> dict[str, type[ModelSettings]]:
    """Return the settings of every member of the zoo that has a critic of images, by name."""
    return {name: cls for name, cls in ZOO.items() if issubclass(cls, GANSettings | VAEGANSettings)}


def usual(name: str, ground: Ground) -> dict[str, Any]:
    """Return the settings of a GAN that differ here from its own defaults."""
    cls: type = gans()[name]
    own = IN_THE_PLANE if ground == "plane" else OF_IMAGES
    return {key: value for key, value in {**USUAL[ground], **own.get(name, {})}.items() if key in fields_of(cls)}


def chosen(gan: str, data: Data, changes: Mapping[str, Any], *, own: str = "", batch: int = 0, seed: int = 0) -> Chosen:
    """Return a GAN's settings with changes to what is usual here.

    Args:
        gan: Its name.
        data: What it learns.
        changes: Settings by the names that users write.
        own: The drawing, where that is what it learns.
        batch: Points or images in a batch; the usual number if 0.
        seed: Of weights, batches and noise.

    Raises:
        SettingError: If there is no such GAN or setting, or a value breaks its rule or is too large here.
    """
    known = gans()
    require(gan in known, "gan", gan, f"must be one of {', '.join(known)}")
    ground = ground_of(data)
    size = batch or BATCH[ground]
    model = build_section(known[gan], {**usual(gan, ground), **changes}, "model")
    for name, most in MOST.items():
        check_size(name, getattr(model, name, 0), most)
    packing = getattr(model, "packing", 1)
    require(size % packing == 0, "packing", packing, f"a batch of {size} does not divide by it", "take 2, 4 or 8")
    if ground == "plane":
        tower = getattr(model, "tower", "mlp")
        require(tower == "mlp", "tower", tower, "points have no neighbours to convolve", "take mlp, or images")
        require(not getattr(model, "augment", ()), "augment", "a point", "has no colours or edges", "take images")
        labelled = data != "own" or not getattr(model, "condition", "")
        require(labelled, "gan", gan, "needs labels, and a drawing has none", "choose other data")
    return Chosen(model, data, own, size, seed)


def check_size(name: str, value: Any, most: int) -> None:
    """Refuse a setting that is too large for the Play room.

    Raises:
        SettingError: If it is.
    """
    values = value if isinstance(value, tuple) else (value,)
    require(len(values) <= DEEPEST, name, value, f"must be at most {DEEPEST} layers in the Play room")
    require(max(values, default=0) <= most, name, value, f"must be at most {most} in the Play room")


def offered() -> dict[str, Any]:
    """Return all that can be chosen, as the page reads it: the GANs, their settings, and what is usual where."""
    return {
        "gans": [gan_offered(name, cls) for name, cls in gans().items()],
        "data": {"plane": [name for name in typing.get_args(Data) if name not in IMAGES], "images": list(IMAGES)},
        "batch": {**BATCH, "most": MOST_BATCH},
    }


def gan_offered(name: str, cls: Any) -> dict[str, Any]:
    """Return a GAN's settings: how each is chosen, what it is for, and its usual value in the plane and of images."""
    about, hints, plain = documentation(cls), fields_of(cls), cls()
    rows = [
        {
            "name": as_written(each.name),
            "label": as_written(each.name).replace("_", " "),
            "hint": about.get(each.name, "").replace("`", ""),
            "more": Role.FIT in marks_of(cls, each.name, Role),
            **kind_of(cls, each.name, hints[each.name]),
        }
        for each in fields(cls)
    ]
    defaults = {}
    for ground in typing.get_args(Ground):
        values = vars(replace(plain, **usual(name, ground)))
        defaults[ground] = {as_written(key): words_of(value) for key, value in values.items()}
    title = inspect.cleandoc(cls.__doc__ or "").splitlines()[0]
    return {"name": name, "title": title, "paper": cls.paper, "settings": rows, "defaults": defaults}


def kind_of(cls: type, name: str, hint: Any) -> dict[str, Any]:
    """Return how a setting is chosen: a switch, one of several words, a number, or several numbers or words.

    Raises:
        SettingError: If it is of a type that the page has no control for.
    """
    options = [one for one in typing.get_args(hint) if one is not type(None)]
    if hint is bool:
        return {"kind": "switch"}
    if typing.get_origin(hint) is Literal:
        return {"kind": "choice", "values": list(options)}
    if typing.get_origin(hint) is tuple:
        return {"kind": "words" if options[0] is str else "numbers"}
    plain = options[0] if options else hint
    if plain is str:
        return {"kind": "text"}
    if plain not in (int, float):
        raise SettingError(name, hint, "is of a type that the Play room has no control for", "add one to kind_of")
    limits = marks_of(cls, name, Range)
    low = max((limit.low for limit in limits), default=0)
    high = min([*(limit.high for limit in limits), MOST.get(name, 1e9)])
    return {"kind": "whole" if plain is int else "number", "min": low, "max": high}


def words_of(value: Any) -> str:
    """Return a setting's value as a field of the page shows it.

    >>> words_of((64, 64)), words_of(True), words_of(0.001), words_of(None), words_of(())
    ('64 64', 'on', '0.001', 'the same', 'none')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "the same" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
