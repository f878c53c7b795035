"""A run from start to end through the Python API."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import MorphospaceError, RunError, SettingError
from morphospace.models.priors import FittedMixture
from morphospace.pictures.sheet import grid
from morphospace.runs import recorder
from morphospace.runs.codes import named_prior
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.studio.session import Session
from morphospace.studio.space import Space
from morphospace.tools.evaluate.measure import _pack as pack_of
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Reported
from tests.conftest import draw_blobs

SMALL = {"images": 256, "batch_size": 32, "widths": (8,), "latent_dim": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: ms.train(name, data="digits", out=folder / name, **SMALL) for name in ("ae", "vae", "dcgan")}


def test_what_a_run_leaves(runs: dict[str, ms.Run]) -> None:
    path = runs["vae"].path
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert all({"step", "images", "seconds"} <= set(line) for line in lines)
    assert lines[-1]["images"] == 256 and any("valid/vae/kl" in line for line in lines)
    assert (path / "checkpoints" / "000000000256" / "model.safetensors").is_file()
    assert len(list((path / "samples").glob("*.png"))) == len(list((path / "reconstructions").glob("*.png"))) > 3
    assert Image.open(path / "curves.png").width > 300
    assert list((path / "tensorboard").glob("events*"))
    page = (path / "report.html").read_text()
    assert page.count("data:image/png") == 3 and "fitted to the codes" not in page
    assert "://" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)  # nothing is fetched when it is opened


def test_curves_are_drawn_in_the_end_and_on_the_way_of_a_long_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(recorder, "draw_curves", lambda path, lines, title: drawn.append(title.split(", ")[-1]))
    ms.train("vae", data="digits", out=tmp_path / "short", **SMALL, checkpoint_images=64)
    assert drawn == ["256 images"]
    monkeypatch.setattr(recorder, "CURVES_SECONDS", 0.0)
    ms.train("vae", data="digits", out=tmp_path / "long", **SMALL, checkpoint_images=128)
    assert drawn[1:] == ["128 images", "256 images", "256 images"]


def test_samples_are_the_same_at_any_number_and_differ_by_seed(runs: dict[str, ms.Run]) -> None:
    for run in runs.values():
        many = ms.sample(run, 10, seed=3)
        assert many.dtype == np.uint8 and many.shape == (10, 8, 8, 1)
        few = ms.sample(run.path, 2, seed=3, start=7)
        assert np.abs(few.astype(int) - many[7:9]).max() <= 1
        assert (ms.sample(run, 10, seed=4) != many).any()


def test_an_autoencoder_samples_from_the_prior_fitted_to_its_codes(runs: dict[str, ms.Run]) -> None:
    run = runs["ae"]
    fitted = ms.sample(run, 4)
    assert run.prior_file("gaussian").is_file()
    assert np.array_equal(ms.sample(ms.load(run.path), 4), fitted)
    assert (ms.sample(run, 4, prior="normal") != fitted).any()


def test_a_model_that_is_meant_for_a_mixture_samples_from_one(tmp_path: Path) -> None:
    run = ms.train("rae", data="digits", out=tmp_path / "rae", **SMALL, tower="mlp")
    fitted = ms.sample(run, 4)
    assert run.prior_file("mixture").is_file() and not run.prior_file("gaussian").exists()
    again = ms.load(run.path)
    assert isinstance(again.model.prior, FittedMixture) and np.array_equal(ms.sample(again, 4), fitted)
    assert (ms.sample(run, 4, prior="gaussian") != fitted).any()


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_a_prior_can_be_fitted_to_any_encoder_and_is_kept_with_the_checkpoint(
    runs: dict[str, ms.Run], kind: str
) -> None:
    for name in ("ae", "vae"):
        run = runs[name]
        fitted = ms.sample(run, 6, prior=kind)
        before = run.prior_file(kind).stat().st_mtime_ns
        assert np.array_equal(ms.sample(ms.load(run.path), 6, prior=kind), fitted)
        assert run.prior_file(kind).stat().st_mtime_ns == before
        few = ms.sample(run, 2, prior=kind, start=3)
        assert np.abs(few.astype(int) - fitted[3:5]).max() <= 1
    assert (ms.sample(runs["vae"], 6) != fitted).any()  # asking for it does not change the model's own
    with pytest.raises(SettingError, match="dcgan has no encoder to fit a prior"):
        ms.sample(runs["dcgan"], 4, prior=kind)
    with pytest.raises(SettingError, match="prior = 'vamp': must be one of auto, model"):
        ms.sample(runs["vae"], 4, prior="vamp")


def test_reconstructions_are_of_the_test_split_and_use_means(runs: dict[str, ms.Run]) -> None:
    made = ms.reconstruct(runs["vae"], 8)
    assert made.split == "test" and np.array_equal(made.originals, runs["vae"].pack.split("test").images[:8])
    assert np.array_equal(made.images, ms.reconstruct(runs["vae"].path, 8).images)
    error = ((made.originals / 255.0 - made.images / 255.0) ** 2).mean()
    assert made.mse == pytest.approx(error)
    with pytest.raises(RunError, match="dcgan has no encoder: use `morpho project` or train one"):
        ms.reconstruct(runs["dcgan"])


def test_the_same_call_again_goes_on_and_another_configuration_is_refused(tmp_path: Path) -> None:
    told: list[str] = []
    hooks = Hooks(listeners=[lambda event: told.append(type(event).__name__)])
    ms.train("vae", data="digits", out=tmp_path / "r", **SMALL)
    again = ms.train("vae", data="digits", out=tmp_path / "r", hooks=hooks, **SMALL)
    assert again.images == 256 and told == ["Resumed", "Finished"]
    longer = ms.resume(tmp_path / "r", images=320)
    assert longer.images == 320
    assert ms.load(tmp_path / "r").configuration.training.images == 320  # known to the next who goes on
    with pytest.raises(RunError, match=r"another configuration \(beta = 2.0, was 1.0\)"):
        ms.train("vae", data="digits", out=tmp_path / "r", beta=2.0, **SMALL)
    with pytest.raises(RunError, match="hash differs"):
        ms.train("vae", data=in_memory_pack("other", train=draw_blobs(64, (8, 8, 1))), out=tmp_path / "r", **SMALL)


def test_a_run_keeps_the_settings_that_a_call_does_not_name(tmp_path: Path) -> None:
    """It may have been made when they had other defaults, or by another call."""
    asked: dict[str, Any] = {"images": 64, "batch_size": 32, "widths": (4,), "device": "cpu"}
    former = {"lr": 3e-4, "critic_lr": 1e-4, "generator_bias": True, "valid": 0.2, "keep": 2}
    made = ms.train("dcgan", "digits", tmp_path / "r", **asked, **former)
    longer = ms.train("dcgan", "digits", tmp_path / "r", **{**asked, "images": 96})
    assert longer.images == 96
    assert longer.configuration == replace(made.configuration, training=replace(made.configuration.training, images=96))
    assert ms.train("dcgan", out=tmp_path / "r").images == 96  # the images are its own, too
    assert ms.train(out=tmp_path / "r", images=128).images == 128
    with pytest.raises(
        RunError, match=r"\(lr = 0.0002, was 0.0003\); leave out what differs to continue this run, or .* --from"
    ):
        ms.train("dcgan", "digits", tmp_path / "r", **asked, lr=2e-4)


def test_a_run_keeps_the_images_that_python_handed_over(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"images": 64, "batch_size": 32, "widths": (4,), "device": "cpu"}
    images = draw_blobs(64, (8, 8, 1))
    made = ms.train("vae", images, tmp_path / "g", **asked, valid=0.2)
    again = ms.train("vae", out=tmp_path / "g", **{**asked, "images": 96})
    assert again.images == 96 and again.configuration.data == made.configuration.data


def test_the_last_samples_of_a_run_come_from_the_prior_that_sample_takes(tmp_path: Path) -> None:
    asked: dict[str, Any] = {**SMALL, "beta": 0.0, "lr": 0.05, "checkpoint_images": 128}
    run = ms.train("vae", data="digits", out=tmp_path / "r", **asked)
    drawn = [Image.open(file) for file in sorted((run.path / "samples").glob("*.png"))]
    assert ["prior" in json.loads(sheet.info["morphospace"]) for sheet in drawn] == [False, True]
    fitted = grid(ms.sample(ms.load(run.path, checkpoint="last"), 64), 8).convert("RGB")
    assert np.abs(np.asarray(drawn[-1].convert("RGB")).astype(int) - np.asarray(fitted)).max() <= 1
    page = (run.path / "report.html").read_text()
    assert "from a mixture fitted to the codes of training images" in page
    longer = ms.train("vae", data="digits", out=run.path, **{**asked, "images": 384})
    at_once = ms.train("vae", data="digits", out=tmp_path / "s", **{**asked, "images": 384})
    sheets = [sorted((each.path / "samples").glob("*.png")) for each in (longer, at_once)]
    assert [file.read_bytes() for file in sheets[0]] == [file.read_bytes() for file in sheets[1]]


def test_longer_is_the_same_as_long_at_once(tmp_path: Path) -> None:
    ms.train("vae", data="digits", out=tmp_path / "a", **SMALL)
    first = ms.resume(tmp_path / "a", images=512)
    second = ms.train("vae", data="digits", out=tmp_path / "b", **{**SMALL, "images": 512})
    weights = [run.model.networks.state_dict() for run in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_fine_tuning_starts_from_another_runs_weights(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    tuned = ms.train("vae", data="digits", out=tmp_path / "r", start_from=runs["vae"].path, **{**SMALL, "lr": 1e-9})
    old, new = runs["vae"].model.networks.state_dict(), tuned.model.networks.state_dict()
    assert all(torch.allclose(old[k], new[k], atol=1e-5) for k in old if k.endswith("weight") and "body" not in k)
    with pytest.raises(RunError, match="do not fit"):
        ms.train("dcgan", data="digits", out=tmp_path / "g", start_from=runs["vae"].path, **SMALL)
    assert not (tmp_path / "g").exists()


def test_fine_tuning_that_was_killed_before_its_first_checkpoint_begins_from_the_same_weights(
    runs: dict[str, ms.Run], tmp_path: Path
) -> None:
    def killed(event: object) -> None:
        if isinstance(event, Reported):
            raise RuntimeError

    how = {"start_from": runs["vae"].path, **SMALL, "report_images": 64, "seed": 3}
    straight = ms.train("vae", data="digits", out=tmp_path / "a", **how)
    with pytest.raises(RuntimeError):
        ms.train("vae", data="digits", out=tmp_path / "b", hooks=Hooks(listeners=[killed]), **how)
    again = ms.resume(tmp_path / "b")
    weights = [run.model.networks.state_dict() for run in (straight, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    with pytest.raises(RunError, match="began from"):
        ms.train("vae", data="digits", out=tmp_path / "b", **{**how, "start_from": runs["ae"].path})
    with pytest.raises(RunError, match="began from new weights"):
        ms.train("vae", data="digits", out=runs["vae"].path, start_from=tmp_path / "a", **SMALL)


def test_pictures_meet_a_packs_shape_as_its_images_did(tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for number, image in enumerate(draw_blobs(40, (8, 16, 1))):
        Image.fromarray(image[..., 0]).save(folder / f"{number:02}.png")
    pack = prepare(DataSettings(data=f"folder:{folder}", size="8", crop="pad"), out=tmp_path / "pack")
    run = ms.train("vae", data=str(tmp_path / "pack"), out=tmp_path / "r", **SMALL)
    made = ms.project(run, [folder / "03.png"])
    assert np.array_equal(made.originals[0], pack.split("train").images[3])
    scored = ms.score(run, f"folder:{folder}", by="reconstruction")
    assert len(scored.scores) == 2  # known as its own data, of which two are held out
    with pytest.raises(SettingError, match="size = '32'"):
        ms.train("vae", data=in_memory_pack("d", draw_blobs(40, (8, 8, 1))), out=tmp_path / "s", size="32", **SMALL)


def test_new_pictures_are_read_as_the_runs_own_data_were(tmp_path: Path) -> None:
    """Range, background and filter: by project, score, evaluate and the explorer, whatever range the new ones have."""
    rng = np.random.default_rng(0)
    for name, low in {"own": 0, "new": 1000}.items():
        (tmp_path / name).mkdir()
        for i in range(40):
            values = rng.integers(low, 3000, (16, 16)).astype(np.uint16)
            values.flat[:2] = low, 3000
            Image.fromarray(values).save(tmp_path / name / f"{i:02}.png")
    own, new = (f"folder:{tmp_path / name}" for name in ("own", "new"))
    how = {**SMALL, "size": "8", "range": "auto", "resize": "nearest", "background": "#203040"}
    run = ms.train("vae", data=own, out=tmp_path / "r", **how)
    run = ms.load(tmp_path / "r")
    assert run.rule.range == (0, 3000) and run.rule.resize == "nearest" and run.rule.background == (32, 48, 64)
    wanted = prepare(DataSettings(data=new, size="8", resize="nearest", range="0:3000"))
    wanted_images = np.asarray(wanted.split("train").images)
    made = ms.project(run, [tmp_path / "new" / "03.png"], refine=0)
    assert np.array_equal(made.originals[0], wanted_images[3])
    read = prepare(run.settings_for(new))
    assert np.array_equal(read.split("train").images, wanted_images)
    for images in (
        ms.score(run, new, by="reconstruction").pictures[0],
        pack_of(new, "real", run, note=print).split("train").images,
    ):
        assert np.array_equal(images, wanted_images)
    session = Session(LoadedRuns([tmp_path / "r"]))
    name = session.take_picture((tmp_path / "new" / "03.png").read_bytes())
    assert np.array_equal(session._picture(Space(run), name), wanted_images[3])
    clear = Image.new("RGBA", (16, 16))
    clear.save(tmp_path / "clear.png")
    assert (ms.project(run, [tmp_path / "clear.png"], refine=0).originals == 45).all()  # the luma of #203040


def test_own_parts_and_any_dataset(tmp_path: Path) -> None:
    images = draw_blobs(48, (8, 8, 1))

    class Dataset:
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            return Image.fromarray(images[index, ..., 0]), index % 3

    parts = {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 8))}
    run = ms.train("vae", data=Dataset(), out=tmp_path / "r", parts=parts, **SMALL)
    assert ms.sample(run, 2).shape == (2, 8, 8, 1)
    with pytest.raises(RunError, match="the caller's own"):
        ms.load(tmp_path / "r")
    assert ms.reconstruct(run, 2).images.shape == (2, 8, 8, 1)
    held = ms.reconstruct(run, 2, data=in_memory_pack("d", train=Split(images=images)))
    assert held.images.shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 5000}, "batch"),
        ({"data": "fashon-mnist"}, "fashion-mnist"),
        ({"size": "7"}, "8"),
        ({"widths": (8, 8, 8, 8)}, "halved 3 times"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"valid": 2.0}, "valid"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_left(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(MorphospaceError, match=message) as refused:
        ms.train("vae", out=tmp_path / "r", **{**SMALL, "data": "digits", **change})
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "r").exists()


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="not a run"):
        ms.train("vae", data="digits", out=tmp_path, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(RunError, match=r"no run\.toml"):
        ms.load(tmp_path)


def test_two_processes_cannot_train_one_run(runs: dict[str, ms.Run]) -> None:
    told = (runs["vae"].path / "run.toml").read_bytes()
    with runs["vae"].folder.locked(), pytest.raises(RunError, match="another process"):
        ms.resume(runs["vae"].path, images=512)
    with pytest.raises(RunError, match="has seen 256 already"):
        ms.resume(runs["vae"].path, images=64)
    assert (runs["vae"].path / "run.toml").read_bytes() == told


def test_a_signal_while_saving_still_leaves_the_last_steps_saved(tmp_path: Path) -> None:
    """The stop may come while a report or a checkpoint is written: the steps after it must not be lost."""
    import os
    import signal

    from morphospace.training.events import Checkpointed, Finished

    saved: list[int] = []

    def told(event: object) -> None:
        if isinstance(event, Checkpointed):
            saved.append(event.clock.images)
            if len(saved) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
        if isinstance(event, Finished):
            assert event.stopped == "SIGTERM" and saved[-1] == event.clock.images

    run = ms.train(
        "vae", data="digits", out=tmp_path / "r", checkpoint_images=64, hooks=Hooks(listeners=[told]), **SMALL
    )
    assert ms.load(run.path, checkpoint="last").images == saved[-1] == 96
    assert ms.load(run.path, checkpoint="best").images == 64  # the best is of those that an uninterrupted run has too


def test_averaged_weights_are_loaded_unless_raw(tmp_path: Path) -> None:
    run = ms.train("dcgan", data="digits", out=tmp_path / "r", **SMALL)
    raw = ms.load(tmp_path / "r", raw=True)
    averaged, live = (r.model.networks["generator"].state_dict() for r in (run, raw))
    assert any(not torch.equal(averaged[name], live[name]) for name in averaged)


def test_samples_come_from_a_mixture_where_codes_lie_off_the_prior(tmp_path: Path) -> None:
    """A VAE with next to no KL puts its codes far from N(0, I); one with much weight on the KL does not."""
    how: dict[str, Any] = {"data": "digits", "size": "8", "images": 4000, "device": "cpu", "tower": "mlp"}
    how |= {"widths": (32,), "latent_dim": 4, "lr": 5e-3}
    off = ms.train("vae", out=tmp_path / "off", beta=1e-3, **how)
    assert named_prior(off, "auto") == "mixture"
    assert np.array_equal(ms.sample(off, 5), ms.sample(off, 5, prior="mixture"))
    assert named_prior(ms.load(off.path), "auto") == "mixture"  # kept with the checkpoint
    on = ms.train("vae", out=tmp_path / "on", beta=4.0, **how)
    assert named_prior(on, "auto") == "model"
    assert np.array_equal(ms.sample(on, 5), ms.sample(on, 5, prior="normal"))


def test_codes_that_are_normal_one_by_one_but_not_together_are_sampled_from_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ms.train("wae", data="digits", out=tmp_path / "wae", **SMALL, tower="mlp")
    torch.manual_seed(0)
    found = {}
    for name, sign in {"mixture": torch.randn(1200, 1).sign(), "model": torch.randn(1200, 1)}.items():
        codes = torch.randn(1200, 4)
        codes[:, 1:2] = codes[:, :1] * sign if name == "mixture" else sign
        monkeypatch.setattr("morphospace.runs.codes.codes_to_fit", lambda *asked, codes=codes: codes)
        (run.checkpoint / "prior.json").unlink()
        found[name] = named_prior(run, "auto")
    assert found == {"mixture": "mixture", "model": "model"}


def test_a_run_stays_where_it_is_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = ms.train("ae", data="digits", out="run", **SMALL)
    monkeypatch.chdir(tmp_path / "there")
    assert str(run.path) == "run"  # as it was named
    assert ms.sample(run, 2).shape == (2, 8, 8, 1) and run.prior_file("gaussian").is_file()
    assert len(ms.reconstruct(run, 3).images) == 3
    assert run.folder.read_metrics() and "digits" in str(ms.card(run))
    ms.evaluate(run, metrics=["mse"])
    assert (tmp_path / "here" / "run" / "evaluation.json").is_file()
    assert not list((tmp_path / "there").iterdir())
