"""Trains the faces that the explorer opens with: the networks of the recipe `studio-faces-vae`, with more help.

Three things differ from `morpho train --recipe studio-faces-vae`. Every face is seen once: it is drawn while training
goes on. Codes must also tell the attributes to one linear layer, which is left out afterwards: sliders of attributes
then work. Matrices and kernels take steps with orthogonal updates (Muon, Jordan et al. 2024), which need half the
images. The learning rate is constant, then falls to 0.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_HELP = "train the faces that the explorer opens with"
RATE, MUON_RATE, WARM_UP = 2e-3, 0.02, 200
TELLING = 20.0  # weight of a nat of the attributes beside a nat of the image
DRAWN = 3200  # faces at once


@dataclass(frozen=True)
class Progress:
    """What is printed now and then."""

    images: int
    psnr: float
    kl: float
    telling: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/studio-faces"), help="folder of the run; a new one")
    parser.add_argument("--images", type=int, default=280_000, help="faces at a constant learning rate")
    parser.add_argument("--decay", type=int, default=40_000, help="faces while it falls to 0")
    parser.add_argument("--judge", type=Path, help="measure this run, or the `embedded` one")


def main(arguments: argparse.Namespace) -> int:
    import torch

    from morphospace.studio.faces import write_run

    if arguments.judge:
        return judge(arguments.judge)
    torch.manual_seed(0)
    began = time.process_time()
    model = train(arguments.images, arguments.decay)
    run = write_run(arguments.out, dict(model.networks.state_dict()), arguments.images + arguments.decay, seeds=[])
    print(f"{run}: {(time.process_time() - began) / 60:.0f} minutes of CPU time")
    return 0


def train(images: int, decay: int, batch: int = 32) -> Any:
    """Train encoder, decoder and prior together, and return the model."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    from morphospace.data.faces.traits import ATTRIBUTES, draw_traits
    from morphospace.data.sources.toyfaces import draw_faces
    from morphospace.evaluation.learned import unit
    from morphospace.objectives.elbo import half_closed_kl
    from morphospace.runs.configuration import resolve
    from morphospace.studio.faces import RECIPE

    model = resolve(recipe=RECIPE).model.build((64, 64, 3), {}, None)
    networks = model.networks.to(memory_format=torch.channels_last)
    teller = nn.Linear(model.latent_dim, len(ATTRIBUTES))
    matrices = inner_matrices(networks)
    taken = {id(p) for p, _ in matrices}
    rest = [p for p in (*networks.parameters(), *teller.parameters()) if id(p) not in taken]
    adam = torch.optim.Adam(rest, RATE, betas=(0.9, 0.99), fused=True)
    momenta = [torch.zeros_like(p) for p, _ in matrices]
    total = (images + decay) // batch
    for step in range(total):
        first = step * batch
        if first % DRAWN == 0:
            rows = np.arange(DRAWN) + first
            faces, known = draw_faces(0, rows)[0], torch.from_numpy(draw_traits(0, rows).attributes()).float()
            if step == 0:
                model.start_from(unit(faces))
        at = slice(first % DRAWN, first % DRAWN + batch)
        scale = min(1.0, (step + 1) / WARM_UP, (total - step) * batch / max(decay, 1))
        adam.param_groups[0]["lr"] = RATE * scale
        x = unit(faces[at])
        posterior = model.encode(x)
        z = posterior.sample(torch.randn_like(posterior.mean))
        raw = model.raw(z)
        kl = half_closed_kl(posterior, z, model.prior).mean()
        telling = functional.binary_cross_entropy_with_logits(teller(z), known[at], reduction="none").sum(1).mean()
        loss = -model.likelihood.log_prob(raw, x).mean() + model.settings.beta * kl + TELLING * telling
        for parameter in (*rest, *(p for p, _ in matrices)):
            parameter.grad = None
        loss.backward()
        adam.step()
        muon(matrices, momenta, MUON_RATE * scale)
        if (step + 1) % 1000 == 0 or step + 1 == total:
            print(Progress(first + batch, psnr(model), float(kl), float(telling)), flush=True)
    return model


def psnr(model: Any, count: int = 256) -> float:
    """Return the PSNR of the mean squared error of reconstructions of held-out faces, and leave the model training."""
    import math

    import numpy as np
    import torch

    from morphospace.data.sources.toyfaces import draw_faces
    from morphospace.evaluation.learned import unit

    faces = unit(draw_faces(1, np.arange(count) + (1 << 41))[0])
    model.networks.eval()
    with torch.no_grad():
        error = float((model.decode(model.encode(faces).mean) - faces).square().mean())
    model.networks.train()
    return -10 * math.log10(error)


def inner_matrices(networks: Any) -> list[tuple[Any, bool]]:
    """Return the matrices and kernels between inner layers, each with whether it is of a transposed convolution."""
    from torch import nn

    found = []
    for name, module in networks.named_modules():
        if name.startswith("prior") or not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        if 3 not in module.weight.shape[:2]:  # not next to the image
            found.append((module.weight, isinstance(module, nn.ConvTranspose2d)))
    return found


def muon(matrices: list[tuple[Any, bool]], momenta: list[Any], rate: float) -> None:
    """Take a step with each gradient's nearest orthogonal matrix, by Newton and Schulz, after Nesterov's momentum."""
    import torch

    with torch.no_grad():
        for (parameter, transposed), momentum in zip(matrices, momenta, strict=True):
            momentum.lerp_(parameter.grad, 0.05)
            update = parameter.grad.lerp(momentum, 0.95)
            update = update.transpose(0, 1) if transposed else update
            shape = update.shape
            flat = update.reshape(shape[0], -1)
            tall = flat.shape[0] > flat.shape[1]
            x = flat.T if tall else flat
            x = x / (x.norm() + 1e-7)
            for _ in range(5):
                square = x @ x.T
                x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
            x = x.T if tall else x
            x = (x * max(1.0, x.shape[0] / x.shape[1]) ** 0.5).reshape(shape)
            parameter.add_(x.transpose(0, 1) if transposed else x, alpha=-rate)


STRENGTH, JUDGED = 3.0, 200  # half of what a slider reaches; held-out faces that are moved


def judge(path: Path) -> int:
    """Print how well a run reconstructs, and how often its sliders of attributes do what their names say.

    A classifier of attributes is trained on 10,000 other faces. 200 held-out faces are encoded, moved by 3 along an
    attribute's direction and by -3, and decoded. A move counts as right if the classifier then says that the attribute
    is there, and is not. What is printed is the mean of the two shares.
    """
    import numpy as np
    import torch

    import morphospace as ms
    from morphospace.data.faces.traits import ATTRIBUTES
    from morphospace.data.prepare import prepare
    from morphospace.data.settings import DataSettings
    from morphospace.evaluation.learned import train_attributes, unit
    from morphospace.studio.faces import laid_out, packaged
    from morphospace.tools.directions.find_directions import directions

    run = ms.load(laid_out(packaged()) if str(path) == "embedded" else path)
    pack = prepare(DataSettings(data="toyfaces:10000:2"))
    train, test = ((pack.split(name), np.arange(len(pack.split(name)))) for name in ("train", "test"))
    classifier = train_attributes(train, test)
    held = unit(np.array(run.pack.split("test").images[:]))
    with torch.no_grad():
        codes = torch.cat([run.model.encode(part).mean for part in held.split(100)])
        made = torch.cat([run.model.decode(part) for part in codes.split(100)])
        error = float((made - held).square().mean())
        print(f"{len(held)} held-out faces: squared error {error:.5f}, PSNR {-10 * np.log10(error):.2f} dB")
        print(f"the classifier's balanced accuracy on real faces: {classifier.quality:.3f}")
        for one in directions(run, len(ATTRIBUTES), by="classifier"):
            column, shares = ATTRIBUTES.index(one.name), []
            for sign in (1, -1):
                images = run.model.decode(codes[:JUDGED] + sign * STRENGTH * one.vector)
                shares.append(float((sign * classifier.network(images)[:, column] > 0).double().mean()))
            separates = one.held.balanced_accuracy if one.held else float("nan")
            words = f"appears {shares[0]:.1%}, goes {shares[1]:.1%}, both {np.mean(shares):.1%}"
            print(f"{one.name:12} {words}; separates held-out codes {separates:.1%}")
    return 0
