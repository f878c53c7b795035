"""Networks written down as steps: they compute what the network computes, and what cannot be written is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import RunError
from morphospace.models.contract import Encodes, Model
from morphospace.tools.export.formats import Part, decoder_part, encoder_part
from morphospace.tools.export.program import merged, recorded
from morphospace.tools.export.reader import run
from morphospace.tools.export.steps import Program
from tests.contracts.cases import CASES, SHAPES, Case, build


def used_for_a_while(model: Model) -> Model:
    """Give a new model what training gives: other statistics than 0 and 1, and no layer that is zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, values in model.networks.state_dict().items():
            if name.endswith("running_var"):
                values.uniform_(0.5, 2, generator=generator)
            elif name.endswith("running_mean") or (values.is_floating_point() and not values.any()):
                values.normal_(0, 0.3, generator=generator)
    return model.eval()


def parts(case: Case, shape: tuple[int, int, int]) -> list[Part]:
    model = used_for_a_while(build(case, shape))
    return [decoder_part(model), *([encoder_part(model, model)] if isinstance(model, Encodes) else [])]


def off(program: Program, wanted: Tensor, *inputs: Tensor) -> float:
    weights = [matrix for matrix, _ in program.weights]
    found = [run(program, weights, *one) for one in zip(*(values.numpy() for values in inputs))]
    return float(np.abs(np.stack(found) - wanted.flatten(1).numpy()).max() / max(1, wanted.abs().max()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_every_member_is_written(case: Case) -> None:
    for shape in map(case.fitting, SHAPES):
        for part in parts(case, shape):
            inputs = part.arguments(3)
            program = recorded(part.module, *(one[:1] for one in inputs))
            assert off(program, part(*inputs)[0], *inputs) < 1e-5, (shape, part.name)


def steps(module: nn.Module, *inputs: Tensor) -> list[str]:
    return [step.get("f", step["op"]) for step in recorded(module.eval(), *inputs).steps]


def test_norms_and_relus_join_the_product_before_them() -> None:
    z, image = torch.randn(1, 6), torch.randn(1, 3, 8, 8)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.2))
    assert steps(conv, image) == ["conv"]
    assert steps(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2), nn.Tanh()), z) == [
        "linear", "linear", "tanh",
    ]  # fmt: skip
    # A result that something else reads too stays what it is.
    assert steps(Twice(conv), image) == ["conv", "relu", "add"]
    assert steps(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)), image) == ["scale", "conv"]


class Twice(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, values: Tensor) -> Tensor:
        made = self.body(values)
        return made + functional.relu(made)


def test_of_an_encoder_only_the_mean_is_written() -> None:
    part = parts(next(case for case in CASES if case.label == "vae-mlp"), (16, 16, 1))[1]
    program = recorded(part.module, *part.arguments(1))
    assert program.output[1] == 6 and [matrix.shape[1] for matrix, _ in program.weights] == [24, 6]


class Others(nn.Module):
    """What decoders of other people are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.grow = nn.Conv2d(8, 16, 3, padding=1, groups=4)
        self.tokens, self.mix = nn.LayerNorm(6), nn.Linear(6, 10)
        self.wide = nn.ConvTranspose2d(4, 3, (3, 5), (2, 3), (1, 2), (1, 1), groups=1)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.gelu(self.norm(self.first(image)))
        x = functional.interpolate(functional.elu(x), scale_factor=2, mode="nearest")
        x = functional.max_pool2d(functional.pixel_shuffle(self.grow(x), 2), 2)
        x = functional.avg_pool2d(functional.pad(x, (1, 2, 0, 1)), 3, 2)
        seen = self.mix(self.tokens(x.flatten(2)[:, :, :6])).softmax(-1)
        x = torch.lerp(x, x * 2, 0.25) - seen.mean((1, 2), keepdim=True)[..., None]
        x = functional.interpolate(self.wide(x), (9, 7), mode="bilinear")
        high = x.amax(1, keepdim=True).clamp(-1, 2).expand_as(x)
        first = torch.where(x > 0.1, x, high.abs() / 3).select(1, 0)
        return torch.cat([x, high, first.unsqueeze(1), 1 - x**2], 1)


def test_what_decoders_of_others_are_made_of() -> None:
    torch.manual_seed(0)
    module, images = Others().eval(), torch.randn(3, 4, 6, 8)
    with torch.no_grad():
        wanted = torch.cat([module(image[None]) for image in images])
    program = recorded(module, images[:1])
    assert off(program, wanted, images) < 2e-6
    kept = sum(step.get("c", 0) for step in program.steps)
    assert kept and program.size < sum(values.numel() for values in (images, wanted)) * 40  # buffers are used again


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv2d(3, 3, 3, dilation=2), r"0 \(Conv2d\)'?: a convolution that is not flat, or dilated"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), r"0 \(Upsample\)"),
        (nn.InstanceNorm2d(3, track_running_stats=False), r"batch norm by the batch"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_written_is_named(layer: nn.Module, words: str) -> None:
    with pytest.raises(RunError, match=f"{words}.*cannot be written into a page; take --format onnx"):
        recorded(nn.Sequential(layer).eval(), torch.zeros(1, 3, 8, 8))


class Attends(nn.Module):
    """Attention, and means over windows of equal and of several sizes."""

    def forward(self, values: Tensor) -> Tensor:
        maps = values.unflatten(2, (4, 6))
        equal, uneven = (functional.adaptive_avg_pool2d(maps, size).flatten(2) for size in ((2, 3), (3, 4)))
        weights = (values.transpose(1, 2) @ torch.cat([equal, uneven], 2)).softmax(-1)
        return torch.cat([equal, uneven], 2) @ weights.transpose(1, 2)


def test_products_of_two_results_and_means_over_windows() -> None:
    torch.manual_seed(0)
    module, values = Attends(), torch.randn(3, 5, 24)
    wanted = torch.cat([module(one[None]) for one in values])
    assert off(recorded(module, values[:1]), wanted, values) < 2e-6


def test_a_product_of_two_results_that_would_fill_a_pages_memory_is_refused() -> None:
    with pytest.raises(RunError, match=r"the network \(Attends\).*multiplications cannot be written"):
        recorded(Attends(), torch.zeros(1, 2**15, 24))


def test_neighbouring_axes_are_joined() -> None:
    assert merged((2, 1, 3, 4), [(12, 12, 4, 1), (0, 0, 4, 1)]) == (
        [1, 1, 1, 2, 12],
        [[0, 0, 0, 12, 1], [0, 0, 0, 0, 1]],
    )
    with pytest.raises(RunError, match="6 axes"):
        merged((2,) * 6, [(1, 2, 4, 8, 16, 32)])
