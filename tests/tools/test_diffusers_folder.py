"""Folders in the layout of diffusers' `AutoencoderKL`: written, opened by diffusers itself, and adopted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import DataError, MorphospaceError, RunError, SettingError
from morphospace.models.contract import seeded_noise
from morphospace.tools.export.diffusers_folder import CONFIG, WEIGHTS, settings_of
from tests.conftest import draw_blobs

NETS = {"widths": (4, 8), "groups": 2, "latent_dim": 2, "perceptual": 0.0, "adversarial": 0.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    out = tmp_path_factory.mktemp("runs") / "kl"
    given: dict[str, Any] = {**NETS, "images": 64, "batch_size": 8, "device": "cpu", "quiet": True}
    return ms.train("autoencoder-kl", data=draw_blobs(48, (12, 16, 3)), out=out, **given)


@pytest.fixture(scope="module")
def folder(run: ms.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = ms.export(run, tmp_path_factory.mktemp("made") / "vae", format="diffusers")
    assert made.error < 1e-5 and {file.name for file in made.files} == {CONFIG, WEIGHTS}
    return made.files[0].parent


def adopted(folder: Path, out: Path, **more: Any) -> ms.Run:
    return ms.adopt(folder, out=out, say=lambda line: None, **more)


def test_diffusers_opens_the_folder_and_computes_the_same(run: ms.Run, folder: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.AutoencoderKL.from_pretrained(folder).eval()
    assert tuple(theirs.config.sample_size) == (12, 16)
    factor, images = theirs.config.scaling_factor, torch.rand(3, 3, 12, 16) * 2 - 1
    with torch.no_grad():
        ours, latents = run.model.encode(images), theirs.encode(images).latent_dist
        assert torch.allclose(ours.mean, (latents.mean * factor).flatten(1), atol=1e-5)
        assert torch.allclose(ours.log_variance.exp(), (latents.var * factor**2).flatten(1), rtol=1e-4)
        decoded = theirs.decode(ours.mean.unflatten(1, (2, 6, 8)) / factor).sample.clamp(-1, 1)
        assert torch.allclose(run.model.decode(ours.mean), decoded, atol=1e-5)


def test_a_model_of_diffusers_is_adopted_and_computes_the_same(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        latent_channels=2,
        sample_size=16,
        scaling_factor=0.3,
        shift_factor=0.1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    run, images = adopted(tmp_path / "theirs", tmp_path / "run"), torch.rand(3, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        ours, latents = run.model.encode(images), theirs.encode(images).latent_dist
        assert torch.allclose(ours.mean, ((latents.mean - 0.1) * 0.3).flatten(1), atol=1e-5)
        assert torch.allclose(run.model.decode(ours.mean), theirs.decode(latents.mean).sample.clamp(-1, 1), atol=1e-5)


def test_what_was_exported_and_adopted_is_the_same_run_again_with_all_tools(
    run: ms.Run, folder: Path, tmp_path: Path
) -> None:
    again = adopted(folder, tmp_path / "run", data=draw_blobs(48, (12, 16, 3)))
    z = seeded_noise(4, run.model.latent_dim, 0)
    with torch.no_grad():
        assert torch.allclose(again.model.decode(z), run.model.decode(z), atol=1e-5)
    assert ms.load(again.path).configuration.model.name == "autoencoder-kl"
    assert adopted(folder, tmp_path / "run", data=draw_blobs(48, (12, 16, 3))).path == again.path
    assert ms.sample(again, 3).shape == (3, 12, 16, 3) and len(ms.interpolate(again, 0, 1).images) > 2
    assert np.isfinite([r.value for r in ms.evaluate(again, metrics=["mse"], n=8).results]).all()
    twice = ms.export(again, tmp_path / "twice", format="diffusers")
    first, second = load_file(folder / WEIGHTS), load_file(twice.files[1])
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((folder / CONFIG).read_text()) == json.loads(twice.files[0].read_text())


def test_without_images_there_is_no_prior_and_what_it_needs_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = adopted(folder, tmp_path / "alone")
    with pytest.raises(MorphospaceError, match="images"):
        ms.sample(alone, 2)
    assert ms.sample(alone, 2, prior="normal").shape == (2, 12, 16, 3)
    assert "trained elsewhere and adopted" in str(ms.card(alone))
    assert main(["runs", str(tmp_path)]) == 0 and "adopted" in capsys.readouterr().out.split()


def test_training_does_not_go_on_from_weights_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = adopted(folder, tmp_path / "alone", data=draw_blobs(48, (12, 16, 3)))
    assert main(["resume", str(alone.path)]) == 2
    assert "holds weights alone, as of an adopted or published run" in capsys.readouterr().err


def test_other_files_of_it_keep_the_scale_of_its_codes(run: ms.Run, tmp_path: Path) -> None:
    assert float(run.model.networks["scale"].log_deviation) != 0
    for half in ("decoder", "encoder", "both"):
        file = tmp_path / f"{half}.safetensors"
        assert ms.export(run, file, format="safetensors", what=half).error < 1e-5
    networks, z = ms.load_exported(tmp_path / "both.safetensors"), seeded_noise(2, run.model.latent_dim, 0)
    assert networks.decoder is not None
    assert torch.allclose(networks.decoder(z), run.model.decode(z), atol=1e-5)


def test_the_verb_adopts_a_folder_with_images_of_a_source(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["adopt", str(folder), "--data", "toyfaces:40", "--size", "16x8", "--out", str(tmp_path / "run")]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == "autoencoder-kl" and said["shape"] == [16, 8, 3] and said["latent_dim"] == 2 * 8 * 4
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "morpho reconstruct" in printed and "morpho morpho" not in printed
    assert main(["adopt", str(tmp_path), "--out", str(tmp_path / "other")]) == 2
    assert "has no config.json" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_older_names_of_the_attention_are_read(run: ms.Run, folder: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def older(name: str) -> str:
        for new, before in names.items():
            name = name.replace(f".{new}.", f".{before}.")
        return name

    save_file({older(name): value for name, value in load_file(folder / WEIGHTS).items()}, old / WEIGHTS)
    z = seeded_noise(2, run.model.latent_dim, 0)
    assert torch.allclose(adopted(old, tmp_path / "run").model.decode(z), run.model.decode(z), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"_class_name": "AutoencoderTiny"}, "_class_name = 'AutoencoderTiny': must be \"AutoencoderKL\""),
        ({"act_fn": "gelu"}, 'act_fn = \'gelu\': must be "silu" or "swish"'),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 2}, "must be DownEncoderBlock2D, as often as"),
        (
            {"up_block_types": ["UpDecoderBlock2D"]},
            "must be UpDecoderBlock2D, as often as there are block_out_channels",
        ),
        ({"latents_mean": [0.0, 0.0]}, "latents_mean .* must be null"),
        ({"use_quant_conv": False}, "use_post_quant_conv = True: differs from use_quant_conv"),
        ({"block_out_channels": [4, 6]}, "weights .* has shape"),
        ({"norm_num_groups": 3}, "groups = 3: must divide each of the widths"),
        ({"layers_per_block": True}, "layers_per_block = True: is of another type"),
        ({"out_channels": 4}, "out_channels = 4: must be those of the input, 3"),
        ({"temporal": 3}, "temporal = 3: is nothing that this library knows of such a model"),
        ({"scaling_factor": "big"}, "scaling_factor = 'big': must be a number"),
        ({"sample_size": "big"}, "sample_size = 'big': must be one whole number, or two"),
    ],
)
def test_what_the_model_has_not_is_refused(folder: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = json.loads((folder / CONFIG).read_text()) | changes
    (other / CONFIG).write_text(json.dumps(config))
    with pytest.raises((DataError, SettingError), match=says):
        adopted(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_without_configuration_or_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no config.json; .* of a pipeline, its folder vae"):
        adopted(tmp_path, tmp_path / "run")
    shutil.copy(folder / CONFIG, tmp_path)
    with pytest.raises(DataError, match=r"has no diffusion_pytorch_model.safetensors; .* safe_serialization=True"):
        adopted(tmp_path, tmp_path / "run")


def test_a_configuration_that_leaves_much_out_means_what_diffusers_means_by_it() -> None:
    found = settings_of({"_class_name": "AutoencoderKL"}, CONFIG)
    assert (found.widths, found.blocks, found.groups, found.latent_dim) == ((64,), 1, 32, 4)
    assert found.attention and found.quant_conv and not found.adversarial


def test_the_command_takes_a_folder_without_a_slash(run: ms.Run, tmp_path: Path) -> None:
    assert main(["export", str(run.path), "--format", "diffusers", "--out", str(tmp_path / "vae")]) == 0
    assert (tmp_path / "vae" / CONFIG).is_file()


def test_only_its_whole_model_goes_into_a_folder(run: ms.Run, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="what = 'decoder': diffusers opens encoder and decoder together"):
        ms.export(run, tmp_path / "half", format="diffusers", what="decoder")
    with pytest.raises(SettingError, match=r"must be a folder, DIR/, for diffusers; leave out the ending"):
        ms.export(run, tmp_path / "vae.safetensors", format="diffusers")
    settings: dict[str, Any] = {"widths": (8,), "latent_dim": 2, "images": 16, "batch_size": 8, "quiet": True}
    other = ms.train("ae", data=draw_blobs(16, (8, 8, 1)), out=tmp_path / "ae", device="cpu", **settings)
    with pytest.raises(RunError, match="is of ae, and diffusers has no such networks"):
        ms.export(other, tmp_path / "vae", format="diffusers")
    assert not (tmp_path / "half").exists() and not (tmp_path / "vae").exists()
