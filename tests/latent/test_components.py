from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import Tensor, nn

from morphospace.errors import SettingError
from morphospace.latent.components import FirstLayer, Moments, active_units, factorised, regressed


def some_codes(count: int, dim: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, dim)) @ np.diag(np.linspace(3, 0.2, dim)) @ rng.normal(size=(dim, dim))
    return torch.from_numpy(mixed + rng.normal(size=dim) * 10)


def test_components_are_those_of_scikit_learn() -> None:
    codes = some_codes(300, 7)
    found = Moments.of(codes.split(41), 7).components()
    wanted = PCA().fit(codes.numpy())
    assert np.allclose(found.mean, wanted.mean_)
    assert np.allclose(found.variance, wanted.explained_variance_)
    assert np.allclose(found.share, wanted.explained_variance_ratio_)
    turned = wanted.components_ * np.sign((wanted.components_ * found.directions.numpy()).sum(1))[:, None]
    assert np.allclose(found.directions, turned, atol=1e-8)
    assert np.allclose(found.spread, np.sqrt(wanted.explained_variance_))
    assert np.allclose(np.abs(found.coordinates(codes)), np.abs(wanted.transform(codes.numpy())), atol=1e-7)
    assert torch.allclose(found.codes(found.coordinates(codes)), codes)


def test_components_are_those_of_the_svd_with_fixed_signs() -> None:
    codes = some_codes(50, 5, seed=1)
    found = Moments.of([codes], 5).components()
    _, sizes, rows = np.linalg.svd(codes.numpy() - codes.numpy().mean(0), full_matrices=False)
    assert np.allclose(found.variance, sizes**2 / 49)
    for mine, theirs in zip(found.directions.numpy(), rows):
        assert mine[np.abs(mine).argmax()] > 0
        assert np.allclose(mine, theirs * np.sign(theirs[np.abs(theirs).argmax()]))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.floats(-1e4, 1e4))
def test_blocks_of_any_size_give_the_moments_of_all_at_once(sizes: list[int], far: float) -> None:
    """Also far from zero, where a sum of squares would have lost every digit, and for empty blocks."""
    codes = some_codes(sum(sizes) + 2, 3) + far
    blocks = codes.split([*sizes, 2])
    left, right = Moments.of(blocks[:1], 3), Moments.of(blocks[1:], 3)
    for moments in (Moments.of(blocks, 3), left.merge(right)):
        assert moments.count == len(codes)
        assert np.allclose(moments.mean, codes.numpy().mean(0))
        assert np.allclose(moments.covariance, np.cov(codes.numpy().T), atol=1e-6)


def test_fewer_codes_than_dimensions_have_one_component_less_than_codes() -> None:
    found = Moments.of([some_codes(4, 10)], 10).components()
    assert len(found) == 3 and float(found.share.sum()) == pytest.approx(1)
    with pytest.raises(SettingError, match="at least 2"):
        Moments.of([some_codes(1, 10)], 10).components()


def test_how_many_dimensions_for_a_share() -> None:
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.normal(size=(4000, 10)) * ([5.0, 4.0, 3.0] + [0.05] * 7))
    moments = Moments.of([codes], 10)
    found = moments.components()
    assert [found.dims_for(share) for share in (0.4, 0.75, 0.99, 1.0)] == [1, 2, 3, 10]
    assert active_units(moments.variance) == 3
    assert active_units(moments.variance, 1e-4) == 10
    for share in (0.0, 1.1):
        with pytest.raises(SettingError, match="at most 1"):
            found.dims_for(share)


def test_factorised_weights_are_the_eigenvectors_of_their_square() -> None:
    weight = some_codes(40, 6).float()
    found = factorised(weight)
    values, vectors = np.linalg.eigh(weight.double().numpy().T @ weight.double().numpy())
    assert np.allclose(found.variance, values[::-1])
    assert np.allclose(np.abs(found.directions), np.abs(vectors.T[::-1]), atol=1e-7)
    assert torch.equal(found.spread, torch.ones(6, dtype=torch.float64)) and not found.mean.any()


def test_regressed_activations_of_a_linear_layer_are_its_factorisation() -> None:
    """For y = A z the principal components of y belong to the singular vectors of A, one standard deviation each."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(20_000, 4, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(30, 4, generator=generator, dtype=torch.float64))[0]
    weight = turn * torch.tensor([8.0, 4.0, 2.0, 1.0])
    z = z @ torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        return ((block, block @ weight.T + 3) for block in z.split(500))

    found, wanted = regressed(pairs, 4), factorised(weight)
    assert torch.allclose(found.variance, wanted.variance, rtol=0.05)
    assert found.total == pytest.approx(wanted.total, rel=0.02)
    assert (found.directions * wanted.directions).sum(1).abs().min() > 0.995
    assert torch.allclose(found.spread, torch.ones(4, dtype=torch.float64), rtol=0.05)


def test_a_component_that_no_code_brings_about_is_left_out() -> None:
    z = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)).double()

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        return ((b, torch.cat([b, torch.zeros(len(b), 3).double()], 1)) for b in z.split(100))

    found = regressed(pairs, 4)
    assert len(found) == 2 and bool((found.spread > 0.5).all())


class Told(nn.Module):
    """The condition's layer comes before the code's, and the code before the condition in the next."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.stem = nn.Linear(3, 2), nn.ConvTranspose2d(6, 5, 2)
        self.last = nn.Conv2d(5, 1, 1)

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        joined = torch.cat([z, self.embed(condition)], 1)
        return self.last(self.stem(joined[:, :, None, None]).relu())


def test_the_first_layer_is_the_one_that_takes_the_code() -> None:
    network, z, condition = Told().eval(), torch.randn(2, 4), torch.eye(3)[:2]
    layer = FirstLayer(network, network, z, condition)
    assert layer.layer is network.stem and layer.after is network.last
    direction = torch.tensor([0.0, 1.0, 0.0, 0.0])
    moved = network.stem(torch.cat([direction, torch.zeros(2)])[None, :, None, None])
    still = network.stem(torch.zeros(1, 6, 1, 1))
    assert torch.allclose(layer.weight @ direction, (moved - still).flatten(), atol=1e-6)
    heard = layer.activations(z, condition)
    joined = torch.cat([z, network.embed(condition)], 1)
    assert torch.allclose(heard, network.stem(joined[:, :, None, None]).relu().flatten(1))
    assert not any(module._forward_pre_hooks for module in network.modules())  # nothing is left behind


def test_the_first_layer_of_a_linear_decoder_and_of_none() -> None:
    flat = nn.Linear(3, 8)
    layer = FirstLayer(nn.ModuleList([flat]), lambda z, told: flat(z).view(-1, 1, 2, 4), torch.randn(2, 3))
    z = torch.randn(5, 3)
    assert torch.equal(layer.weight, flat.weight) and torch.equal(layer.activations(z), flat(z))
    hidden = FirstLayer(nn.ModuleList([flat]), lambda z, told: flat(z.sin()), torch.randn(2, 3))
    assert not hidden.found
