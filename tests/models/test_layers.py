"""Parts of critics against other ways to compute the same."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from morphospace.models.layers import Judge, MinibatchDiscrimination, SpectralNorm, limit_spectrum, pack
from morphospace.models.towers import MLP, ConvEncoder, Look

SHAPE = (8, 8, 2)
LOOK = Look(norm="none", activation="leaky", slope=0.2)


def conv() -> ConvEncoder:
    return ConvEncoder(SHAPE, (4, 6), 1, LOOK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spectral_norm_is_the_largest_singular_value(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = conv().to(dtype)
    weights = {name: p.detach().clone() for name, p in plain.named_parameters() if "weight" in name}
    network = limit_spectrum(plain).to(dtype).train()
    for _ in range(300):
        network(torch.zeros(1, 2, 8, 8, dtype=dtype))
    for name, before in weights.items():
        module = network.get_submodule(name.rpartition(".")[0])
        sigma = torch.linalg.svdvals(before.flatten(1))[0]
        assert torch.allclose(module.weight, before / sigma, atol=1e-5)


def test_spectral_norm_moves_in_training_only_and_a_copy_is_equal() -> None:
    torch.manual_seed(0)
    network = limit_spectrum(conv())
    u = network.body[0].parametrizations.weight[0].u
    x, before = torch.randn(2, 2, 8, 8), u.clone()
    network.eval()(x)
    assert torch.equal(u, before)
    with parametrize.cached():  # one step, however often the weight is asked for
        first = network.train()(x)
        assert torch.equal(network(x), first)
    after = u.clone()
    assert not torch.equal(after, before)
    other = limit_spectrum(conv())
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.eval()(x), network.eval()(x))


def test_spectral_norms_gradient_is_that_of_the_quotient() -> None:
    torch.manual_seed(0)
    weight, g = torch.randn(4, 6, dtype=torch.float64, requires_grad=True), torch.randn(4, 6, dtype=torch.float64)
    norm = SpectralNorm(weight.detach(), start=0).double()
    norm.u.copy_(torch.linalg.svd(weight.detach()).U[:, 0])
    (gradient,) = torch.autograd.grad((norm.eval()(weight) * g).sum(), weight)
    exact = weight.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad((exact / torch.linalg.svdvals(exact)[0] * g).sum(), exact)
    assert torch.allclose(gradient, expected, atol=1e-9)


def test_spectral_norm_keeps_full_precision_under_autocast() -> None:
    layer = limit_spectrum(nn.Linear(8, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.weight.dtype == torch.float32


def test_minibatch_discrimination_as_a_plain_loop() -> None:
    torch.manual_seed(0)
    layer, features = MinibatchDiscrimination(5, 3, 2), torch.randn(4, 5)
    result = layer(features)
    places = features @ layer.project.weight.T
    for i in range(4):
        for b in range(3):
            total = 0.0
            for j in range(4):
                if j != i:
                    apart = sum(abs(float(places[i, 2 * b + c] - places[j, 2 * b + c])) for c in range(2))
                    total += math.exp(-apart)
            assert float(result[i, b]) == pytest.approx(total, abs=1e-5)


def test_a_collapsed_batch_is_as_near_as_can_be() -> None:
    same = torch.randn(1, 5).expand(6, 5)
    assert MinibatchDiscrimination(5, 3)(same).tolist() == [[pytest.approx(5.0, abs=1e-5)] * 3] * 6


@pytest.mark.parametrize("tower", ["conv", "mlp"])
def test_projection_critic_is_its_formula(tower: str) -> None:
    torch.manual_seed(0)
    made = conv() if tower == "conv" else MLP(128, (7,), 1, LOOK)
    x, y = torch.randn(3, 2, 8, 8), torch.eye(4)[[0, 2, 2]]
    psi = made(x)[:, 0]
    maps = made.body(x if tower == "conv" else x.flatten(1))
    phi = maps.sum((2, 3)) if tower == "conv" else maps
    critic = Judge(made, condition=4)
    formula = torch.stack([y[i] @ critic.embed.weight.T @ phi[i] + psi[i] for i in range(3)])
    assert torch.allclose(critic(x, y)[:, 0], formula, atol=1e-5)


def test_embedding_critic_sees_one_plane_more() -> None:
    torch.manual_seed(0)
    made = ConvEncoder((8, 8, 3), (4,), 1, LOOK)
    head = made.head
    critic = Judge(made, condition=4, plane=(8, 8))
    x, y = torch.randn(2, 2, 8, 8), torch.eye(4)[[1, 3]]
    plane = (y @ critic.embed.weight.T).view(2, 1, 8, 8)
    assert torch.allclose(critic(x, y), head(made.body(torch.cat([x, plane], 1)).flatten(1)), atol=1e-6)


def test_packing_joins_neighbours_on_the_channels() -> None:
    x = torch.randn(6, 2, 4, 4).contiguous(memory_format=torch.channels_last)
    packed = pack(x, 3)
    assert packed.shape == (2, 6, 4, 4)
    assert torch.equal(packed[1, 2:4], x[4]) and torch.equal(packed[0, :2], x[0])
    assert pack(x, 1) is x
    assert torch.equal(pack(torch.arange(8.0).view(4, 2), 2), torch.arange(8.0).view(2, 4))


def test_a_condition_begins_quieter_than_the_code_beside_it() -> None:
    """Equally loud, the generator listens to the condition alone and draws one picture a class."""
    from morphospace.models.layers import ConditionalGenerator

    torch.manual_seed(0)
    generator = ConditionalGenerator(torch.nn.Identity(), size=10, embedded=100)
    joined = generator(torch.randn(1000, 100), torch.eye(10).repeat(100, 1))
    code, condition = joined[:, :100].norm(dim=1).mean(), joined[:, 100:].norm(dim=1).mean()
    assert 5 < float(code / condition) < 20
