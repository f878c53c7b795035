"""`morpho demo`: three small models on embedded data, nothing to download, pictures at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer, Spoken
from morphospace.errors import command

ACTS = {
    "faces-vae": ("demo-faces-vae", "a variational autoencoder learns to draw faces from faces that the library drew"),
    "digits-vae": ("demo-digits-vae", "a variational autoencoder learns to compress digits and to draw new ones"),
    "digits-dcgan": ("demo-digits-dcgan", "a GAN learns to draw digits from a critic that tells real from fake"),
}


def demo(
    *,
    out: Annotated[str, Parameter(help="Folder for runs and pictures.")] = "demo",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Train three small models on embedded data and name the pictures they draw."""
    from morphospace.cli.training import carried_out
    from morphospace.cli.verbs import command_for
    from morphospace.files import check_folder
    from morphospace.runs.configuration import resolve
    from morphospace.runs.folder import own_settings
    from morphospace.tools.sample import draw_samples, reconstruct

    began, pictures = time.monotonic(), []
    folder = Path(out)
    for name in ACTS:  # what cannot be written is found out before minutes are spent
        check_folder(str(folder / name), holds="run.toml", what="run")
    for name, (recipe, line) in ACTS.items():
        talk.say(f"== {name}: {line}")
        talk.say(f"   {command('train', '--recipe', recipe, '--out', folder / name)}")
        own = own_settings(folder / name)
        trained = carried_out(resolve(recipe=recipe, own=own), folder / name, talk)
        if trained.code:
            return trained
        verbs: dict[str, Callable[..., Any]] = {"samples": draw_samples}
        verbs |= {"reconstructions": reconstruct} if "reconstructions" in trained.data else {}
        for kind, verb in verbs.items():
            picture = str(folder / f"{name}-{kind}.png")
            pictures.append(_named(name, kind, command_for(verb)(str(folder / name), out=picture, talk=talk)))
        talk.say("")
    seconds = time.monotonic() - began
    lines = [f"done in {seconds:.0f} s; look at", *(f"  {entry['path']}  {entry['what']}" for entry in pictures)]
    lines.append(f"and at the reports: {', '.join(str(folder / name / 'report.html') for name in ACTS)}")
    return Answer({"pictures": pictures, "seconds": round(seconds, 1)}, lines)


def _named(name: str, kind: str, answer: Answer) -> dict[str, Any]:
    what = f"drawn by {name}" if kind == "samples" else f"test images over what {name} makes of them"
    return {"path": answer.data["out"], "what": what}
