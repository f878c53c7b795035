"""Codes found by optimisation: what was planted is found, and the model is left as it was."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.latent.project import critic_features, mean_squared, project, pyramid_error
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model, seeded_noise
from morphospace.zoo.settings import AESettings, CGANSettings, DCGANSettings, FactorVAESettings, VAEGANSettings

SHAPE = (8, 8, 1)


def decoder(latent_dim: int = 4) -> Model:
    """A small decoder of random weights, wide enough for its images to tell codes apart."""
    torch.manual_seed(0)
    settings = AESettings(latent_dim=latent_dim, tower="mlp", widths=(64,), activation="tanh")
    model = settings.build(SHAPE).eval()
    with torch.no_grad():
        model.networks["decoder"].head.weight.mul_(4)
    return model


def gan(**settings: object) -> Model:
    torch.manual_seed(0)
    return lively(DCGANSettings(latent_dim=4, widths=(8,), **settings).build(SHAPE).eval())


def lively(model: Model) -> Model:
    """Give a generator that was never trained weights whose images differ."""
    for parameter in model.networks["generator"].parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def planted(model: Model, count: int = 4) -> tuple[Tensor, Tensor]:
    z = seeded_noise(count, model.latent_dim, 99)
    with torch.no_grad():
        return z, model.decode(z)


@pytest.mark.parametrize("model", [decoder(), gan()], ids=["decoder", "gan"])
def test_the_code_of_a_generated_image_is_found(model: Model) -> None:
    z, images = planted(model)
    found = project(model, images, starts=4, steps=200)
    assert found.codes.shape == z.shape and found.codes.dtype == torch.float32
    assert functional.cosine_similarity(found.codes, z).min() > 0.98
    assert found.error.max() < 1e-3
    assert (found.error < found.begun / 10).all()


def test_the_error_is_that_of_the_code_returned() -> None:
    model = gan()
    _, images = planted(model)
    found = project(model, images, starts=2, steps=5)
    with torch.no_grad():
        again = model.decode(found.codes)
    assert torch.allclose(found.error, ((again - images) ** 2).mean((1, 2, 3)) / 4, atol=1e-6)


def test_an_image_is_projected_alike_whatever_stands_beside_it() -> None:
    model = decoder()
    _, images = planted(model, 5)
    many = project(model, images, starts=3, steps=20, seed=1).codes
    assert torch.allclose(project(model, images[:2], starts=3, steps=20, seed=1).codes, many[:2], atol=1e-4)
    assert not torch.allclose(project(model, images, starts=3, steps=20, seed=2).codes, many, atol=1e-2)
    more = project(model, images[:1], starts=100, steps=20, seed=1)  # in blocks of two images
    assert torch.allclose(more.codes, project(model, images[:3], starts=100, steps=20, seed=1).codes[:1], atol=1e-4)


def test_it_never_ends_worse_than_it_began() -> None:
    model = decoder()
    z, images = planted(model)
    exact = project(model, images, begin=z, starts=1, steps=50, keep="free")
    assert exact.error.max() < 1e-12 and torch.equal(exact.codes, z)
    as_given = project(model, images, begin=z + 1, starts=1, steps=0)
    assert torch.equal(as_given.codes, z + 1) and torch.equal(as_given.error, as_given.begun)
    better = project(model, images, begin=z + 1, starts=1, steps=100)
    assert (better.error < better.begun).all()
    # Further starts are only taken where they are better.
    assert (project(model, images, begin=z, starts=4, steps=0, keep="free").codes == z).all()


def test_a_search_that_goes_astray_returns_the_best_it_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphospace.latent.project.RATE", 1000.0)
    model = decoder()
    z, images = planted(model)
    found = project(model, images, begin=z + 0.1, starts=1, steps=3, keep="free")
    assert torch.equal(found.codes, z + 0.1)


def test_norms_are_kept_plausible() -> None:
    model = decoder(16)
    strange = torch.rand(4, 1, *SHAPE[:2], generator=torch.Generator().manual_seed(0))
    norms = {
        keep: project(model, strange, starts=2, steps=100, keep=keep).codes.norm(dim=1)  # type: ignore[arg-type]
        for keep in ("free", "prior", "sphere")
    }
    assert torch.allclose(norms["sphere"], torch.full((4,), math.sqrt(16)), atol=1e-4)
    assert (norms["prior"] < norms["free"]).all()


def test_the_model_is_left_as_it_was() -> None:
    model = gan()
    model.networks.train()
    model.networks["critic"].eval()
    before = {name: value.clone() for name, value in model.networks.state_dict().items()}
    _, images = planted(gan())
    with torch.no_grad():  # whatever the caller's mode
        project(model, images, starts=2, steps=3)
    after = model.networks.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None and p.requires_grad for p in model.networks.parameters())
    assert model.networks["generator"].training and not model.networks["critic"].training


def test_a_conditional_generator_is_told() -> None:
    torch.manual_seed(0)
    told = Conditioning("label", ("a", "b", "c"))
    model = lively(CGANSettings(latent_dim=4, widths=(8,)).build(SHAPE, None, told).eval())
    z, condition = seeded_noise(3, 4, 5), torch.eye(3)
    with torch.no_grad():
        images = model.decode(z, condition)
    found = project(model, images, condition, starts=4, steps=150)
    assert functional.cosine_similarity(found.codes, z).min() > 0.95
    with pytest.raises(SettingError, match="needs a condition"):
        project(model, images, starts=1, steps=1)


def test_the_critics_features_are_those_that_its_judgement_is_made_of() -> None:
    model = gan()
    _, images = planted(model)
    features = critic_features(model)
    assert features is not None
    found = features(images, None)
    assert torch.allclose(model.networks["critic"].head(found).squeeze(1), model.score(images), atol=1e-5)
    both = VAEGANSettings(latent_dim=4, widths=(8,)).build(SHAPE).eval()
    seen = critic_features(both)
    assert seen is not None
    unit = images * 0.5 + 0.5
    assert torch.allclose(both.networks["critic"].head(seen(unit, None)).squeeze(1), both.score(unit), atol=1e-5)


def test_no_features_where_no_critic_judges_single_images() -> None:
    assert critic_features(gan(packing=2)) is None
    assert critic_features(decoder()) is None
    assert critic_features(FactorVAESettings(latent_dim=4, widths=(8,), critic_widths=(8,)).build(SHAPE)) is None


def test_errors_are_in_the_unit_range_and_the_pyramid_sees_what_is_far() -> None:
    black, white = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    assert mean_squared(black, white, signed=False).item() == 1
    assert mean_squared(-white, white, signed=True).item() == 1
    assert pyramid_error(-white, white, signed=True).item() == pytest.approx(1)
    near, far, dot = black.clone(), black.clone(), black.clone()
    dot[..., 4, 4], near[..., 4, 5], far[..., 12, 12] = 1, 1, 1
    assert mean_squared(dot, near, False) == mean_squared(dot, far, False)
    assert pyramid_error(dot, near, False) < pyramid_error(dot, far, False)


def test_nonsense_is_refused() -> None:
    _, images = planted(decoder(), 1)
    with pytest.raises(SettingError, match="starts = 0"):
        project(decoder(), images, starts=0)
    with pytest.raises(SettingError, match="steps = -1"):
        project(decoder(), images, steps=-1)
