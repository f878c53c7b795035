"""GANs that read more from the critic's features than a judgement: which codes, or which class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.models.contract import Encodes, Recognises
from morphospace.models.layers import judge_with_features
from morphospace.zoo.settings_gan import ACGANSettings, InfoGANSettings
from tests.contracts.cases import Case, engine_for
from tests.zoo.test_gan import turn_of

SMALL: dict[str, Any] = {"latent_dim": 9, "widths": (8, 12)}
INFO = InfoGANSettings(**SMALL, categories=3, variables=2, continuous=1, information=2.0, continuous_information=0.5)


def weights(terms: Any) -> dict[str, float]:
    return {name: weight for name, _, weight in terms.weighted}


def gradients(terms: Any, name: str, module: torch.nn.Module) -> float:
    value = next(mean for term, mean, _ in terms.weighted if term == name)
    found = torch.autograd.grad(value, list(module.parameters()), retain_graph=True, allow_unused=True)
    return sum(float(one.abs().sum()) for one in found if one is not None)


# -- info-gan --------------------------------------------------------------------------------------------------


def test_both_players_raise_the_information_of_the_codes_that_the_fakes_were_made_from() -> None:
    engine = engine_for(Case(INFO, "x"))
    model, batch = engine.model, engine.data.batch(0)
    z = turn_of(engine, "generator").normal(8, 9)
    terms = model.generator_loss(batch, turn_of(engine, "generator"))
    model.networks.train()
    assert weights(terms) == {"adversarial": 1.0, "categories": 2.0, "continuous": 0.5}
    with torch.no_grad():
        found = model.looked_at(model.decode(z))
    for name, values in zip(("categories", "continuous"), found.log_probs(z)):
        assert float(terms.means[name]) == pytest.approx(-float(values.mean()), rel=1e-3)
        assert gradients(terms, name, model.generator) > 0
    assert float(terms.means["information"]) == pytest.approx(float(found.information(z).mean()), abs=1e-3)
    terms = model.critic_loss(batch, turn_of(engine, "critic"))
    assert weights(terms) == {"real": 1.0, "fake": 1.0, "categories": 2.0, "continuous": 0.5}
    for name in ("categories", "continuous"):
        assert gradients(terms, name, model.critic) > 0 and gradients(terms, name, model.readers["recogniser"]) > 0
    learned = [[type(module).__name__ for module in phase.learns] for phase in model.rounds()]
    assert [len(modules) for modules in learned] == [2, 1]  # the recogniser learns with the critic


def test_what_images_say_of_their_codes() -> None:
    model = engine_for(Case(INFO, "x")).model.eval()
    assert isinstance(model, Recognises) and not isinstance(model, Encodes)
    images = torch.randn(5, 1, 16, 16).clamp(-1, 1)
    posterior = model.recognise(images)
    assert (
        posterior.mean.shape == (5, 9) and not posterior.mean[:, 7:].any() and not posterior.log_variance[:, 7:].any()
    )
    assert torch.equal(model.categorise(images), model.layout.numbers(posterior.mean))
    alone = InfoGANSettings(**SMALL, categories=0).build((16, 16, 1))
    assert alone.recognise(images).mean.shape == (5, 9) and alone.categorise(images).shape == (5, 0)


@pytest.mark.parametrize(
    ("settings", "name", "says"),
    [
        ({"categories": 1}, "categories", "take 2 or more"),
        ({"categories": 0, "continuous": 0}, "continuous", "add --categories"),
        ({"categories": 10, "variables": 4}, "latent_dim", "at least 42"),
        ({"packing": 2}, "packing", "several images"),
        ({"replay": 0.5}, "replay", "info-gan"),
        ({"unrolled": 2}, "unrolled", "critic to come"),
    ],
)
def test_what_info_gan_refuses(settings: dict[str, Any], name: str, says: str) -> None:
    with pytest.raises(SettingError, match=says) as error:
        InfoGANSettings(**{"latent_dim": 20, **settings})
    assert error.value.name == name


# -- acgan -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ["label", "attributes:round,bright"])
def test_the_class_is_read_from_real_and_generated_images(condition: str) -> None:
    engine = engine_for(Case(ACGANSettings(**SMALL, condition=condition, classification=3.0), "x"))
    model, batch = engine.model, engine.data.batch(0)
    terms = model.critic_loss(batch, turn_of(engine, "critic"))
    assert weights(terms) == {"real": 1.0, "fake": 1.0, "class_real": 3.0} and "accuracy_fake" not in terms.means
    model.settings = replace(model.settings, classify_generated=True)
    published = weights(model.critic_loss(batch, turn_of(engine, "critic")))
    assert published == {"real": 1.0, "fake": 1.0, "class_real": 3.0, "class_fake": 3.0}
    with torch.no_grad():
        logits = model.readers["classifier"](judge_with_features(model.critic, batch.images)[1])
    wanted = model.condition_of(batch)
    if condition == "label":
        by_hand = functional.cross_entropy(logits, batch.labels)
    else:
        by_hand = functional.binary_cross_entropy_with_logits(logits, wanted) * 2
    assert float(terms.means["class_real"]) == pytest.approx(float(by_hand), rel=1e-4)
    assert gradients(terms, "class_real", model.critic) > 0 and 0 <= float(terms.means["accuracy_real"]) <= 1
    terms = model.generator_loss(batch, turn_of(engine, "generator"))
    assert weights(terms) == {"adversarial": 1.0, "class_fake": 3.0} and "accuracy_fake" in terms.means
    assert gradients(terms, "class_fake", model.generator) > 0


def test_acgans_critic_is_not_given_the_condition() -> None:
    model = engine_for(Case(ACGANSettings(**SMALL), "x")).model.eval()
    images = torch.randn(3, 1, 16, 16).clamp(-1, 1)
    alone = model.score(images)
    assert torch.equal(alone, model.score(images, model.conditioning.spread(3)))
    with pytest.raises(SettingError, match="needs a condition"):
        model.decode(torch.zeros(1, 9))
    with pytest.raises(SettingError, match="several images"):
        ACGANSettings(packing=2)
