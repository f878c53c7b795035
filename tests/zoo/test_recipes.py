"""Recipes: every one resolves to a model, and those whose size is published have it."""

from __future__ import annotations

import pytest

from morphospace.artifacts.configuration import recipes, resolve
from morphospace.cli.opening import beta_line, parameter_counts

FACES, DIGITS = (64, 64, 3), (28, 28, 1)

PUBLISHED = {
    "celeba-vae": (FACES, 26_972_619),
    "celeba-vae-averaged": (FACES, 26_972_619),
    "celebamask-vae": (FACES, 2_958_659),
    "mnist-vae": (DIGITS, 652_824),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameter_counts(name: str) -> None:
    shape, count = PUBLISHED[name]
    assert sum(parameter_counts(resolve(recipe=name).model, shape).values()) == count


def test_every_recipe_resolves_and_says_what_to_expect() -> None:
    for name, recipe in recipes().items():
        assert resolve(recipe=name).model.name
        assert {"title", "source", "expect"} <= set(recipe.about), name


def test_what_the_published_betas_amount_to() -> None:
    said = {name: beta_line(resolve(recipe=name).model, FACES) for name in ("celeba-vae", "celeba-vae-averaged")}
    assert "beta 3,072 in nats" in said["celeba-vae"]
    assert "beta 30.72 in nats" in said["celeba-vae-averaged"]
    assert beta_line(resolve(recipe="celeba-vae-well").model, FACES) == ""
    assert "beta 0.5 in nats" in beta_line(resolve(recipe="vae-mlp").model, DIGITS)
