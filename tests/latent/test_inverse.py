"""An encoder learned from a generator that stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphospace.errors import SettingError, TrainingError
from morphospace.latent.inverse import GeneratorInverse, train_inverse
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Encodes, Model
from morphospace.zoo.settings import CGANSettings, DCGANSettings
from tests.latent.test_project import lively

SHAPE = (8, 8, 1)
TOLD = Conditioning("label", ("a", "b", "c"))


def gan() -> Model:
    torch.manual_seed(0)
    return lively(DCGANSettings(latent_dim=4, widths=(8,)).build(SHAPE).eval())


def encoder(conditions: int = 0) -> GeneratorInverse:
    torch.manual_seed(1)
    return GeneratorInverse(SHAPE, 4, (8,), conditions)


def test_it_learns_and_leaves_the_generator_alone() -> None:
    model, blank, learned = gan(), encoder(), encoder()
    before = {name: value.clone() for name, value in model.networks.state_dict().items()}
    start = train_inverse(model, blank, images=64, lr=1e-9)
    seen: list[int] = []
    fitted = train_inverse(model, learned, images=6400, lr=1e-2, report=lambda images, loss: seen.append(images))
    assert fitted.images == 6400 and seen == [3200, 6400]
    assert start.cosine < 0.5 and fitted.cosine > 0.9
    assert fitted.mse < 0.1 * fitted.spread and fitted.mse < 0.2 * start.mse
    assert not learned.training and isinstance(learned, Encodes)
    after = model.networks.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in model.networks.parameters())


def test_an_encoder_that_is_not_finite_is_not_handed_back() -> None:
    with pytest.raises(TrainingError, match=r"the loss of the encoder is .* nothing was kept"):
        train_inverse(gan(), encoder(), images=320, lr=1e30)


def test_it_is_the_same_for_the_same_seed() -> None:
    made = []
    for seed in (0, 0, 1):
        one = encoder()
        train_inverse(gan(), one, images=192, seed=seed)
        made.append(one.tower.head.weight.detach().clone())
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_real_images_count_by_how_well_they_are_rebuilt() -> None:
    asked: list[tuple[int, int]] = []
    with torch.no_grad():
        rare = gan().decode(torch.tensor([[3.0, -3.0, 3.0, -3.0]]))  # such as the prior hardly ever draws

    def real(step: int, count: int) -> tuple[Tensor, None]:
        asked.append((step, count))
        return rare.expand(count, -1, -1, -1), None

    errors = {}
    for name, source in (("without", None), ("with", real)):
        one = encoder()
        train_inverse(gan(), one, images=3200, lr=1e-2, real=source)
        with torch.no_grad():
            errors[name] = float((gan().decode(one(rare)) - rare).square().mean())
    assert asked == [(step, 32) for step in range(1, 51)]
    assert errors["with"] < errors["without"] / 3, errors


def test_a_conditional_generator_is_undone_under_its_condition() -> None:
    torch.manual_seed(0)
    model = lively(CGANSettings(latent_dim=4, widths=(8,)).build(SHAPE, None, TOLD).eval())
    one = encoder(TOLD.size)
    assert train_inverse(model, one, images=3200, lr=1e-2).cosine > 0.7
    images = torch.zeros(2, 1, 8, 8)
    codes = [one.encode(images, TOLD.label(k).expand(2, -1)).mean for k in (0, 1)]
    assert not torch.allclose(*codes)
    with pytest.raises(SettingError, match="conditional generator"):
        one.encode(images)


def test_time_is_kept() -> None:
    assert train_inverse(gan(), encoder(), images=10**9, minutes=1e-6).images == 64
    with pytest.raises(SettingError, match="minutes = 0"):
        train_inverse(gan(), encoder(), minutes=0)
    with pytest.raises(SettingError, match="images = 3"):
        train_inverse(gan(), encoder(), images=3)
