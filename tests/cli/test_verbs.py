"""Every verb, as a user types it, and as a program reads it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.cli.preview import beta_line, opening, parameter_counts
from morphospace.data.sources import SOURCES
from morphospace.runs.configuration import recipes, resolve
from morphospace.zoo.settings import ZOO, VAESettings

from .conftest import TINY, VAE, Morpho


def test_models_and_recipes(morpho: Morpho) -> None:
    told = morpho("models", "--json").json["models"]
    assert [model["name"] for model in told] == list(ZOO)
    assert all(model["paper"] and model["about"] for model in told)
    text = morpho("models")
    assert all(f"\n{name} " in text.out for name in ZOO)
    told = morpho("recipes", "--json").json["recipes"]
    assert [recipe["name"] for recipe in told] == list(recipes())
    assert all(recipe["title"] and recipe["source"] and recipe["model"] in ZOO for recipe in told)
    assert all(2000 < recipe["year"] < 2027 and recipe["data"] and recipe["expect"] for recipe in told)
    assert "mnist-vae" in morpho("recipes").out and "2014" in morpho("recipes").out


def test_one_recipe_is_told_whole(morpho: Morpho, tmp_path: Path) -> None:
    said, told = morpho("recipes", "celeba-vae"), morpho("recipes", "celeba-vae", "--json").json
    recipe = recipes()["celeba-vae"]
    assert recipe.about["note"] in said.out and recipe.about["expect"] in said.out and 'reduction = "mean"' in said.out
    assert told["sections"] == recipe.sections and told["title"] == recipe.about["title"]
    own = tmp_path / "mine.toml"
    own.write_text('[recipe]\nminutes = 100\nshare = 0.25\n[model]\nname = "vae"\nsigned = true\n')
    said = morpho("recipes", own)
    assert "~100; 25% of it was run" in said.out and "signed = true" in said.out
    assert "did you mean 'mnist-vae'" in morpho("recipes", "mnist-va").err


def test_what_recipes_say_they_took_is_of_what_was_run() -> None:
    for recipe in recipes().values():
        share = recipe.about.get("share", 1)
        assert 0 < share <= 1 and ("minutes" in recipe.about or "share" not in recipe.about), recipe.name
        assert recipe.about.get("minutes", 1) > 0, recipe.name


def test_data_list(morpho: Morpho) -> None:
    told = morpho("data", "list", "--json").json["sources"]
    assert {"digits", "mnist", "celeba", "folder"} <= {source["name"] for source in told}
    here = {source["name"]: source["here"] for source in told}
    assert here["digits"] is True and here["celeba"] is False
    assert "digits" in morpho("data", "list").out


def test_data_fetch_of_what_needs_no_files(morpho: Morpho) -> None:
    assert morpho("data", "fetch", "digits", "--json").json == {"source": "digits", "folder": None}


def test_data_pack_and_show(morpho: Morpho, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    told = morpho("data", "pack", "digits", "--size", "16x12", "--channels", "3", "--out", pack, "--json").json
    assert told["shape"] == [16, 12, 3] and told["splits"] == {"train": 1437, "test": 360}
    assert (pack / "manifest.json").is_file()
    picture = tmp_path / "deep" / "digits.png"
    said = morpho("data", "show", pack, "--n", 6, "--split", "test", "--out", picture, "--json")
    assert said.json == {"out": str(picture), "data": "digits", "split": "test", "n": 6, "seed": 0}
    assert Image.open(picture).mode == "RGB"
    said = morpho("train", "vae", "--data", pack, "--images", 64, "--widths", 4, "--out", tmp_path / "run")
    assert said.code == 0 and "16x12x3" in said.out


def test_train_says_what_it_does_and_what_it_left(morpho: Morpho, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = morpho(*VAE, "--out", out)
    assert said.code == 0 and said.err == ""
    lines = said.out.splitlines()
    assert lines[0].startswith("vae: ") and " parameters (encoder " in lines[0]
    assert lines[1].startswith("digits at 8x8x1: 0.2 epochs, batch 64, ")
    assert any(line.startswith("  64/273 images  23%") and "vae/kl" in line and "left 0:" in line for line in lines)
    assert any(line.startswith("held out: loss ") for line in lines)
    assert str(sorted((out / "samples").glob("*.png"))[-1]) in said.out
    assert str(out / "report.html") in said.out
    assert f"morpho sample {out} --n 64" in said.out and f"morpho reconstruct {out}" in said.out
    again = morpho(*VAE, "--out", out)
    assert again.code == 0
    assert "resumed at step 5" in again.out.splitlines()
    assert "nothing left to do at image 320" in again.out


def test_the_two_next_commands_work(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    for name, run in runs.items():
        said = morpho("train", name, *TINY, "--widths", 4, "--out", run)
        told = said.out.split("next ", 1)[1].replace(" morpho", "\nmorpho").splitlines()
        commands = [line.strip().split()[1:] for line in told if line.strip().startswith("morpho")]
        assert len(commands) == 2
        for words in commands:
            words = [str(tmp_path / "p.png") if word.endswith(".png") else word for word in words]
            assert morpho(*words).code == 0, words


def test_resume_goes_on(morpho: Morpho, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert morpho(*VAE, "--out", out).code == 0
    said = morpho("resume", out, "--images", 500, "--json")
    assert said.json["resumed_at"] == 5 and said.json["images"] == 512
    assert "resumed at step 5" in said.err.splitlines()
    assert morpho("resume", out, "--beta", "2").code == 2


def test_train_json(morpho: Morpho, tmp_path: Path) -> None:
    said = morpho(*VAE, "--out", tmp_path / "run", "--json")
    told = said.json
    assert told["run"] == str(tmp_path / "run") and told["images"] == 320 and told["stopped"] == ""
    assert told["resumed_at"] is None and told["valid_loss"] > 0 and "vae/kl" in told["terms"]
    assert Path(told["samples"]).is_file() and Path(told["report"]).is_file()
    assert "320/" not in said.out and "273/273 images" in said.err


def test_fine_tuning(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    said = morpho(*VAE, "--from", runs["vae"], "--out", tmp_path / "tuned")
    assert said.code == 0


def test_sample(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    picture = tmp_path / "s.png"
    for name, run in runs.items():
        said = morpho("sample", run, "--n", 4, "--seed", 7, "--prior", "normal", "--raw", "--out", picture, "--json")
        assert said.json["n"] == 4 and said.json["prior"] == "normal", name
        assert json.loads(Image.open(picture).info["morphospace"])["seed"] == 7
    assert morpho("sample", runs["ae"], "--n", 1, "--out", picture).out == f"1 sample at 320 images: {picture}\n"
    assert morpho("sample", runs["vae"], "--n", 1, "--checkpoint", "last", "--out", picture).code == 0


def test_scale_enlarges_sheets_films_and_files(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    """Images of 8x8, three pixels for one; words keep their size."""
    run, larger = runs["vae"], ("--scale", 3, "--enlarge", "smooth")
    for words, size in {
        "sample --n 4 --out a.png": (54, 54),
        "reconstruct --n 2 --out b.png": (54, 54),
        "interpolate --from 0 --to 1 --steps 4 --out c.png": (106, 28),
        "interpolate --from 0 --to 1 --steps 4 --out d.gif": (28, 28),
        "morph --pairs 1x1 --seconds 0.5 --out e.gif": (28, 28),
    }.items():
        verb, *rest, out = words.split()
        assert morpho(verb, run, *rest, tmp_path / out, *larger).code == 0, words
        picture = Image.open(tmp_path / out)
        told = json.loads(picture.info["morphospace" if out.endswith("png") else "comment"])
        assert picture.size == size and (told["scale"], told["enlarge"]) == (3, "smooth"), words
    assert morpho("sample", run, "--n", 2, "--out", f"{tmp_path}/each/", "--scale", 3).code == 0
    assert {Image.open(file).size for file in (tmp_path / "each").glob("*.png")} == {(24, 24)}
    assert morpho("data", "show", "digits", "--n", 4, "--scale", 3, "--out", tmp_path / "f.png").code == 0
    assert Image.open(tmp_path / "f.png").height < 130


@pytest.mark.parametrize("n", [1, 11, 16])
def test_reconstruct_shows_all_that_was_asked_for(
    morpho: Morpho, runs: dict[str, Path], tmp_path: Path, n: int
) -> None:
    picture = tmp_path / "r.png"
    said = morpho("reconstruct", runs["vae"], "--n", n, "--out", picture, "--json")
    assert said.json["split"] == "test" and 0 < said.json["mse"] < 1
    sheet = np.asarray(Image.open(picture))
    columns, side = min(n, 8), 66
    assert sheet.shape == (2 + side * 2 * -(-n // columns), 2 + side * columns)
    last = sheet[-side * 2 : -side, 2 + side * ((n - 1) % columns) :][:64, :64]
    assert last.std() > 0  # a digit, not the white that fills the row


def test_runs(morpho: Morpho, runs: dict[str, Path]) -> None:
    folder = runs["vae"].parent
    told = {Path(run["name"]).name: run for run in morpho("runs", folder, "--json").json["runs"]}
    assert set(told) == set(runs)
    assert told["vae"]["state"] == "finished" and told["vae"]["images"] == 320 and told["vae"]["data"] == "digits"
    assert set(told["vae"]["loss"]) == {"held out"} and set(told["dcgan"]["loss"]) == {"critic", "generator"}
    lines = morpho("runs", folder).out.splitlines()
    assert lines[0].split() == ["run", "model", "data", "images", "state", "loss"]
    assert len(lines) == 4


def test_runs_names_what_is_unfinished_and_what_is_broken(
    morpho: Morpho, runs: dict[str, Path], tmp_path: Path
) -> None:
    text = (runs["vae"] / "run.toml").read_text()
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.toml").write_text(text if name != "c" else text[:100])
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 1, "images": 64, "epoch": 0.05, "vae/loss": 3.5}\n{"ste')
    told = {Path(run["name"]).name: run for run in morpho("runs", tmp_path, "--json").json["runs"]}
    assert [told[name]["state"] for name in "abc"] == ["stopped", "not begun", "broken"]
    assert told["a"]["loss"] == {"vae": 3.5}
    assert morpho("runs", tmp_path).code == 0


def test_a_run_in_training_is_seen(morpho: Morpho, runs: dict[str, Path]) -> None:
    from morphospace.runs.folder import RunFolder

    if not Path("/proc/locks").is_file():
        pytest.skip("the kernel tells no locks")
    with RunFolder.open(runs["vae"]).locked():
        told = morpho("runs", runs["vae"], "--json").json["runs"][0]
    assert told["state"] == "training"


@pytest.mark.parametrize("name", recipes())
def test_dry_run_of_every_recipe_leaves_nothing_and_is_a_recipe(morpho: Morpho, tmp_path: Path, name: str) -> None:
    twin, source = "twin_of" in recipes()[name].about, resolve(recipe=name).data.data
    embedded = {"data": SOURCES[source].info.embedded or source} if twin else {}  # for no other images are here
    wanted = resolve(recipe=name, overrides=embedded)
    said = morpho("train", "--recipe", name, "--out", tmp_path / "run", "--dry-run")
    assert said.code == 0 and list(tmp_path.iterdir()) == []
    assert " parameters (" in said.out
    file = tmp_path / "again.toml"
    file.write_text(said.out)
    assert tomllib.loads(said.out) == wanted.to_dict()
    assert resolve(recipe=str(file)) == wanted
    assert said.out.endswith(morpho("train", "--recipe", file, "--dry-run").out)  # a twin says that it falls back
    assert morpho("train", "--recipe", name, "--dry-run", "--json").json == wanted.to_dict()


def test_flags_win_over_a_recipe(morpho: Morpho) -> None:
    told = morpho("train", "--recipe", "mnist-vae", "--widths", "8,8", "--epochs", 3, "--dry-run", "--json").json
    assert told["model"]["widths"] == [8, 8] and told["training"]["epochs"] == 3
    assert told["model"]["latent_dim"] == 20 and told["model"]["activation"] == "relu"


COUNTS = {
    "mnist-vae": ((28, 28, 1), {"all": 652_824}),
    "mnist-dcgan": ((64, 64, 1), {"generator": 3_574_656, "critic": 2_763_520}),
    "celebamask-vae": ((64, 64, 3), {"all": 2_958_659}),
    # The VAE of the same source has 26,972,619; one head of 16,384 x 100 and its bias less.
    "celeba-ae": ((64, 64, 3), {"all": 26_972_619 - 16_385 * 100}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_recipes_have_the_published_parameter_counts(name: str) -> None:
    shape, wanted = COUNTS[name]
    counts = parameter_counts(resolve(recipe=name).model, shape)
    assert {"all": sum(counts.values()), **counts}.items() >= wanted.items()


@pytest.mark.parametrize("name", COUNTS)
def test_published_recipes_do_nothing_that_was_not_published(name: str) -> None:
    configuration = resolve(recipe=name)
    assert configuration.training.ema_halflife_images == 0
    assert configuration.training.schedule == "constant" and configuration.training.clip == 0
    assert configuration.data.valid == 0
    assert configuration.model.optimizer == "adam" and configuration.model.weight_decay == 0


def test_beta_is_said_in_nats() -> None:
    assert beta_line(VAESettings(), (64, 64, 3)) == ""
    line = beta_line(VAESettings(likelihood="gaussian", reduction="mean"), (32, 32, 3))
    assert line == "beta 1 with reduction=mean amounts to beta 3,072 in nats"
    assert line in opening(resolve("vae", None, {"reduction": "mean", "likelihood": "gaussian"}), (32, 32, 3))
    for settings in (VAESettings, ZOO["ladder-vae"], ZOO["beta-tcvae"]):
        line = beta_line(settings(likelihood="squared-error", beta=1.0), (32, 32, 3))  # type: ignore[call-arg]
        assert line == "beta 1 with likelihood=squared-error amounts to beta 0.5 in nats"
    assert beta_line(ZOO["rae"](), (32, 32, 3)) == beta_line(ZOO["ae"](), (32, 32, 3)) == ""


def test_demo_is_an_ordinary_use(morpho: Morpho, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its recipes made tiny, the whole demo: both acts, pictures that are there, a second time at once."""
    import morphospace.runs.configuration as configuration
    from morphospace.cli.demo import ACTS
    from morphospace.runs.configuration import Recipe

    real = dict(recipes())
    tiny = {"model": {"widths": [4]}, "data": {"size": "8"}, "training": {"epochs": 0.2}}
    for recipe, _ in ACTS.values():
        sections = {name: {**real[recipe].sections[name], **tiny[name]} for name in tiny}
        real[recipe] = Recipe(recipe, real[recipe].about, sections)
    monkeypatch.setattr(configuration, "recipes", lambda: real)
    told = morpho("demo", "--out", tmp_path / "demo", "--json").json
    assert [Path(picture["path"]).name for picture in told["pictures"]] == [
        "faces-vae-samples.png",
        "faces-vae-reconstructions.png",
        "digits-vae-samples.png",
        "digits-vae-reconstructions.png",
        "digits-dcgan-samples.png",
    ]
    assert all(Image.open(picture["path"]).width > 100 for picture in told["pictures"])
    again = morpho("demo", "--out", tmp_path / "demo")
    assert again.code == 0 and all(picture["path"] in again.out for picture in told["pictures"])


def test_demo_recipes_need_no_download() -> None:
    for name in ("demo-faces-vae", "demo-digits-vae", "demo-digits-dcgan"):
        assert resolve(recipe=name).data.data in ("digits", "toyfaces")
