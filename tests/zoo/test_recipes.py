"""Recipes: every one resolves to a model, and those whose size is published have it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from morphospace.cli.preview import beta_line, parameter_counts
from morphospace.errors import SettingError
from morphospace.runs.configuration import recipe_named, recipes, resolve
from morphospace.zoo.settings import ZOO, AutoencoderKLSettings, BetaTCVAESettings

FACES, DIGITS = (64, 64, 3), (28, 28, 1)

PUBLISHED = {
    "celeba-vae": (FACES, 26_972_619),
    "celeba-vae-averaged": (FACES, 26_972_619),
    "celebamask-vae": (FACES, 2_958_659),
    "mnist-vae": (DIGITS, 652_824),
}


def test_the_autoencoder_of_latent_diffusion_has_as_many_parameters_as_published() -> None:
    """83,653,863: the autoencoder of Stable Diffusion, whose images are halved three times."""
    published = {"widths": (128, 256, 512, 512), "blocks": 2, "groups": 32, "adversarial": 0.0}
    assert sum(parameter_counts(AutoencoderKLSettings(**published), (256, 256, 3)).values()) == 83_653_863


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameter_counts(name: str) -> None:
    shape, count = PUBLISHED[name]
    assert sum(parameter_counts(resolve(recipe=name).model, shape).values()) == count


def test_every_recipe_resolves_and_says_what_to_expect() -> None:
    for name, recipe in recipes().items():
        assert resolve(recipe=name).model.name
        assert {"title", "source", "year", "data", "minutes", "expect"} <= set(recipe.about), name


def test_what_says_averaged_weights_keeps_them() -> None:
    saying = [name for name, recipe in recipes().items() if "averaged weights" in f"{recipe.about}"]
    assert len(saying) >= 4
    for name in saying:
        assert resolve(recipe=name).training.ema_halflife_images, name


def test_published_recipes_begin_as_published() -> None:
    """The bias from the data is ours; a published recipe has it only where its code has."""
    for name in ("celeba-vae", "celeba-ae", "celebamask-vae", "mnist-vae", "vae-mlp", "cvae"):
        assert resolve(recipe=name).model.output_bias == "init", name  # type: ignore[attr-defined]
    for name in ("mnist-iwae-k1", "mnist-iwae-k50"):
        model = resolve(recipe=name).model
        assert (model.init, model.output_bias, model.betas[0], model.eps) == ("glorot", "data", 0.99, 1e-4)  # type: ignore[attr-defined]


def test_the_table_of_models_names_settings_that_they_have() -> None:
    page = Path(__file__).parents[2] / "docs" / "models.md"
    rows = [line.split("|") for line in page.read_text().replace(r"\|", "/").splitlines() if line.startswith("| `")]
    named = 0
    for _, models, _, settings, *_ in (row for row in rows if len(row) > 4):
        for model in re.findall(r"`([a-z-]+)`", models):
            if model not in ZOO:
                continue
            for setting in re.findall(r"`([a-z][a-z_]*)(?: = [^`]*)?`", settings):
                named += 1
                assert setting in {field.name.rstrip("_") for field in fields(ZOO[model])}, (model, setting)
    assert named > 8


def test_what_the_published_betas_amount_to() -> None:
    said = {name: beta_line(resolve(recipe=name).model, FACES) for name in ("celeba-vae", "celeba-vae-averaged")}
    assert "beta 3,072 in nats" in said["celeba-vae"]
    assert "beta 30.72 in nats" in said["celeba-vae-averaged"]
    assert beta_line(resolve(recipe="celeba-vae-well").model, FACES) == ""
    assert "beta 0.5 in nats" in beta_line(resolve(recipe="vae-mlp").model, DIGITS)
    assert "beta 6 with reduction=mean amounts to beta 4,704" in beta_line(BetaTCVAESettings(reduction="mean"), DIGITS)
    assert beta_line(BetaTCVAESettings(), DIGITS) == ""


@pytest.mark.parametrize("value", ["2020-01-01", "[1, 12:30:00]", "{ a = 2020-01-01T10:00:00Z }"])
def test_dates_in_a_recipe_are_refused(value: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(f'[model]\nname = "vae"\nbeta = {value}\n')
    with pytest.raises(SettingError, match=r"\[model\] beta holds a date or time"):
        recipe_named(str(file))
