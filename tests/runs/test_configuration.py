"""One configuration from many sources, each mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError
from morphospace.records import fields_of
from morphospace.roles import AgainstCollapse, TowardsPrior
from morphospace.runs.configuration import advice_of, flag_for, recipes, resolve
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import ZOO


def test_recipe_under_settings_and_back_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[model]\nname = "vae"\nbeta = 4\nwidths = [8, 16]\n[data]\nsize = 32\n[training]\nbatch_size = 16\n'
        "images = 99\n"
    )
    made = resolve(recipe=str(file), overrides={"batch_size": 8, "latent_dim": 3})
    assert (made.model.beta, made.model.widths, made.data.size) == (4.0, (8, 16), "32")
    assert (made.training.batch_size, made.training.images, made.model.latent_dim) == (8, 99, 3)
    file.write_text(made.to_toml())
    assert resolve(recipe=str(file)) == made
    assert resolve(recipe=str(file), overrides={"epochs": 2.0}).training.images is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"latent_dims": 3}, "did you mean 'latent_dim'"),
        ({"batch_size": "many"}, "batch_size = 'many': must be a whole number"),
        ({"batch_size": True}, "must be a whole number"),
        ({"likelihood": "gausian"}, "must be one of 'bernoulli'"),
        ({"widths": 3}, "must be a list"),
        ({"betas": [0.1]}, "needs 2 values"),
    ],
)
def test_mistakes_are_named(overrides: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        resolve("vae", overrides=overrides)


def test_unknown_models_recipes_sections_and_keys(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="did you mean 'dcgan'"):
        resolve("dcgann")
    with pytest.raises(SettingError, match="no such recipe"):
        resolve("vae", recipe="minst-vae")
    with pytest.raises(SettingError, match="no such file"):
        resolve("vae", recipe=str(tmp_path / "none.toml"))
    file = tmp_path / "bad.toml"
    for text, message in (
        ("[models]\n", "unknown section"),
        ("[model]\nbetta = 1\n", "did you mean 'beta'"),
        ("[model", "not valid TOML"),
        ('[model]\nname = "dcgan"\n', "is for 'dcgan'"),
    ):
        file.write_text(text)
        with pytest.raises(SettingError, match=message):
            resolve("vae", recipe=str(file))
    with pytest.raises(SettingError, match="none given"):
        resolve()


def test_no_setting_has_two_homes() -> None:
    for cls in ZOO.values():
        names = [name for home in (cls, DataSettings, TrainingSettings) for name in fields_of(home)]
        assert len(names) == len(set(names))


def test_every_recipe_resolves() -> None:
    for name in recipes():
        resolve(recipe=name)


def test_what_may_change_when_a_run_goes_on() -> None:
    before = resolve("vae", overrides={"epochs": 1.0})
    assert before.differences(resolve("vae", overrides={"epochs": 2.0, "report_images": 5})) == []
    assert before.differences(resolve("vae", overrides={"beta": 2.0})) == ["beta = 2.0, was 1.0"]
    for schedule in ("cosine", "trapezoid"):
        falling = resolve("vae", overrides={"epochs": 1.0, "schedule": schedule})
        longer = resolve("vae", overrides={"epochs": 2.0, "schedule": schedule})
        assert falling.differences(longer) == ["epochs = 2.0, was 1.0"]


def test_a_run_that_is_older_than_a_setting_keeps_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[run]\n[model]\nname = "cgan"\n', encoding="utf-8")
    assert resolve(recipe=str(file)).model.generator_conditioning == "code"  # type: ignore[attr-defined]
    file.write_text('[model]\nname = "cgan"\n', encoding="utf-8")
    assert resolve(recipe=str(file)).model.generator_conditioning == "auto"  # type: ignore[attr-defined]
    for name in ("wgan-gp", "lsgan"):
        file.write_text(f'[run]\n[model]\nname = "{name}"\n', encoding="utf-8")
        assert resolve(recipe=str(file)).model.critic_lr is None  # type: ignore[attr-defined]
    for name in ("dcgan", "wgan-gp", "cgan", "bigan", "vae-gan"):
        for section, has in (("[run]", False), ("", True)):
            file.write_text(f'{section}\n[model]\nname = "{name}"\n', encoding="utf-8")
            assert resolve(recipe=str(file)).model.critic_bias is has, name  # type: ignore[attr-defined]


def test_a_run_keeps_what_is_not_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nname = "dcgan"\n[training]\nepochs = 2\n', encoding="utf-8")
    own = resolve("dcgan", overrides={"base_width": 64, "critic_lr": 0.1, "images": 500, "metrics": ("fd",)})
    again = resolve("dcgan", overrides={"base_width": 64, "lr": 2e-3}, own=own)
    assert own.differences(again) == ["lr = 0.002, was 0.001"] and again.named == {"base_width", "lr"}
    assert again.training == own.training and resolve(own=own) == own
    assert resolve("dcgan", overrides={"critic_lr": None}, own=own).model.critic_lr is None  # type: ignore[attr-defined]
    # A length asked for wins over the run's other way to say it.
    for longer in (resolve("dcgan", overrides={"epochs": 3.0}, own=own), resolve(recipe=str(file), own=own)):
        assert longer.training.images is None and longer.model == own.model
    other = resolve("ae", own=own)
    assert other == resolve("ae") and own.differences(other) == ["model = 'ae', was 'dcgan'"]


def test_advice_names_settings_that_the_model_has() -> None:
    """No model is told to set what it does not have, and each that can is told something."""
    for name, cls in ZOO.items():
        for kind in (AgainstCollapse, TowardsPrior):
            for advice in advice_of(cls, kind):
                assert any(advice.endswith(flag_for(field)) for field in fields_of(cls)), (name, advice)
    assert advice_of(ZOO["wae"], TowardsPrior) == advice_of(ZOO["info-vae"], TowardsPrior) == ["a larger --lambda"]
    assert advice_of(ZOO["aae"], TowardsPrior) == ["a larger --encoder-lr"]
    assert advice_of(ZOO["ae"], TowardsPrior) == advice_of(ZOO["rae"], TowardsPrior) == []
    assert advice_of(ZOO["info-vae"], AgainstCollapse) == ["a higher --alpha"]
