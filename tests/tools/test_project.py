"""Pictures into a run's space, encoders trained afterwards, and codes kept in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.errors import DataError, RunError, SettingError
from morphospace.runs.codes import codes_of, encoder_of
from morphospace.runs.encoder import encoder_file
from morphospace.runs.pick import picked

SMALL = {"data": "digits", "images": 640, "batch_size": 32, "widths": (8,), "latent_dim": 4}
QUIET = {"device": "cpu", "report_images": 10**6, "checkpoint_images": 10**6}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    # With its usual small weights, so short a training leaves samples that differ by two levels of grey.
    more = {"dcgan": {"init": "default"}}
    names = ("ae", "vae", "dcgan", "cgan")
    return {name: ms.train(name, out=folder / name, **SMALL, **QUIET, **more.get(name, {})) for name in names}


@pytest.fixture
def gan(runs: dict[str, ms.Run], tmp_path: Path) -> ms.Run:
    """The GAN's run in a folder of its own, without an encoder."""
    return copied(runs["dcgan"], tmp_path)


def copied(run: ms.Run, folder: Path) -> ms.Run:
    import shutil

    return ms.load(shutil.copytree(run.path, folder / "copy"), device="cpu")


def test_a_generated_image_is_found_again(runs: dict[str, ms.Run]) -> None:
    run = runs["dcgan"]
    images = ms.sample(run, 3, seed=5)
    made = ms.project(run, images, refine=150, starts=4)
    assert made.how == "150 steps from 4 starts" and made.words == ("image 0", "image 1", "image 2")
    assert made.images.shape == images.shape and made.images.dtype == np.uint8
    assert made.mse == pytest.approx(((images / 255.0 - made.images / 255.0) ** 2).mean((1, 2, 3)))
    assert made.psnr == pytest.approx(10 * np.log10(1 / made.mse))
    between = ((images[:1] / 255.0 - images[1:] / 255.0) ** 2).mean()
    assert made.mse.max() < between / 20


def test_an_encoder_is_used_where_there_is_one_and_refined(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    test = np.asarray(run.pack.split("test").images[:4])
    plain = ms.project(run, [0, 1, 2, 3])
    assert plain.how == "encoder" and np.array_equal(plain.originals, test)
    assert torch.equal(plain.codes, codes_of(run, test)) and plain.words[3] == "test image 3"
    refined = ms.project(run, test, refine=30)
    assert refined.how == "encoder and 30 steps from 1 start" and (refined.mse < 1.01 * plain.mse).all()
    assert refined.mse.mean() < plain.mse.mean()
    searched = ms.project(runs["ae"], test, refine=30, starts=3)
    assert searched.how == "encoder and 30 steps from 3 starts"


def test_a_file_is_cut_to_the_runs_shape(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(photo)
    made = ms.project(runs["vae"], [photo, "train:2"])
    assert made.originals.shape == (2, 8, 8, 1) and (made.originals[0] == 200).all()
    assert made.words == ("photo.png", "train image 2")


def test_a_conditional_model_is_told_what_pictures_show(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    run = runs["cgan"]
    assert run.model.conditioning is not None
    made = ms.project(run, [0, 1], refine=5, starts=2)
    labels = np.asarray(run.pack.split("test").labels[:2])
    assert made.conditions is not None and made.conditions.argmax(1).tolist() == labels.tolist()
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(photo)
    with pytest.raises(SettingError, match=r"cgan needs the condition of photo\.png; give a label"):
        ms.project(run, [photo], refine=5)
    told = ms.project(run, [photo], refine=5, condition=run.model.conditioning.label(3))
    assert told.conditions is not None and told.conditions.argmax().item() == 3
    both = ms.project(run, [0, photo], refine=2, starts=1, condition=run.model.conditioning.label((labels[0] + 1) % 10))
    assert both.conditions is not None and both.conditions.argmax(1).tolist() == [labels[0], (labels[0] + 1) % 10]


def test_a_code_kept_in_a_file_is_picked_again(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    made, file = ms.project(runs["cgan"], [0, 1], refine=2, starts=1), tmp_path / "code.json"
    file.write_text(json.dumps(made.to_json()))
    assert made.conditions is not None
    for words, row in (("code.json", 0), ("code.json#0", 0), ("code.json#1", 1)):
        pick = picked(runs["cgan"], str(tmp_path / words))
        assert torch.equal(pick.code, made.codes[row]) and pick.words == words
        assert pick.condition is not None and torch.equal(pick.condition, made.conditions[row])
    plain = ms.project(runs["dcgan"], [0], refine=2, starts=1)
    file.write_text(json.dumps(plain.to_json()))
    assert torch.equal(picked(runs["dcgan"], file).code, plain.codes[0])  # though it has no encoder


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ('{"codes": [[1, 2, 3, 4]]}', "code.json#1", "#0 to"),
        ('{"codes": [[1, 2, 3, 4]]}', "code.json#x", "FILE.json#NUMBER"),
        ('{"codes": [[1, 2, 3]]}', "code.json", "has 3 numbers, the codes of this run have 4"),
        ('{"codes": [[1, 2, 3, NaN]]}', "code.json", "code = "),
        ('{"codes": [[1, 2, 3, 4]], "conditions": [[1]]}', "code.json", "condition"),
        ('{"codes": [["a"]]}', "code.json", "holds no codes"),
        ("[1, 2]", "code.json", "holds no codes"),
        ("{", "code.json", "holds no codes"),
        ("{}", "other.json", "no such file"),
    ],
)
def test_a_file_without_codes_is_refused(
    runs: dict[str, ms.Run], tmp_path: Path, text: str, name: str, message: str
) -> None:
    (tmp_path / "code.json").write_text(text)
    with pytest.raises((DataError, SettingError), match=message) as refused:
        picked(runs["vae"], str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_an_encoder_trained_afterwards_serves_every_tool(gan: ms.Run) -> None:
    with pytest.raises(RunError, match="no encoder"):
        ms.reconstruct(gan, 4)
    fitted = ms.train_encoder(gan, images=6400, real=True)
    assert encoder_file(gan).is_file() and fitted.cosine > 0.5
    assert json.loads(encoder_file(gan).read_text())["real"] is True
    again = ms.load(gan.path, device="cpu")
    made = ms.reconstruct(again, 4)
    projected = ms.project(again, [0, 1, 2, 3])
    assert projected.how == "encoder" and np.array_equal(made.images, projected.images)
    code = picked(again, 0).code
    assert torch.allclose(code, projected.codes[0], atol=1e-6)
    # Better than any one code is for all of them.
    alike = ms.sample(again, 1)
    assert made.mse < ((made.originals / 255.0 - alike / 255.0) ** 2).mean()


def test_a_new_encoder_takes_the_place_of_the_old_one(gan: ms.Run) -> None:
    ms.train_encoder(gan, images=64, seed=0)
    first = codes_of(gan, gan.pack.split("test").images[:2])
    ms.train_encoder(gan, images=64, seed=1)
    second = codes_of(gan, gan.pack.split("test").images[:2])
    ms.train_encoder(gan, images=64, seed=0)
    assert not torch.allclose(first, second)
    assert torch.equal(codes_of(gan, gan.pack.split("test").images[:2]), first)


def test_an_encoder_for_raw_weights_is_another(gan: ms.Run) -> None:
    raw = ms.load(gan.path, raw=True, device="cpu")
    ms.train_encoder(raw, images=64)
    assert encoder_of(raw) and encoder_file(raw) != encoder_file(gan)
    with pytest.raises(RunError, match="no encoder"):
        encoder_of(gan)


def test_a_conditional_gan_gets_one_too(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    run = copied(runs["cgan"], tmp_path)
    ms.train_encoder(run, images=128, real=True)
    assert ms.reconstruct(run, 4).images.shape == (4, 8, 8, 1)


def test_a_broken_encoder_is_said_to_be_so(gan: ms.Run) -> None:
    ms.train_encoder(gan, images=64)
    weights = encoder_file(gan).with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-10])
    encoder_file(gan).touch()
    with pytest.raises(RunError, match=r"is broken .*run `morpho train-encoder` again") as refused:
        encoder_of(ms.load(gan.path, device="cpu"))
    assert "\n" not in str(refused.value)
    ms.train_encoder(gan, images=64)
    encoder_of(gan)


def test_nothing_is_left_half_done(gan: ms.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path.name for path in gan.checkpoint.iterdir())
    with pytest.raises(KeyboardInterrupt):
        ms.train_encoder(gan, images=10**6, progress=interrupt)
    assert sorted(path.name for path in gan.checkpoint.iterdir()) == before


def interrupt(images: int, loss: float) -> None:
    raise KeyboardInterrupt


def test_what_cannot_be_done_is_refused(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="vae has an encoder of its own"):
        ms.train_encoder(runs["vae"])
    for change, message in (
        ({"refine": -1}, "refine = -1"),
        ({"starts": 0}, "starts = 0"),
        ({"pictures": []}, "name one at least"),
        ({"pictures": [5000]}, "from 0 to 359"),
        ({"pictures": ["none.png"]}, "no such file"),
        ({"pictures": np.zeros((1, 9, 9, 1), np.uint8)}, "must be uint8"),
    ):
        with pytest.raises(SettingError, match=message):
            ms.project(runs["dcgan"], **{"pictures": [0], **change})  # type: ignore[arg-type]
