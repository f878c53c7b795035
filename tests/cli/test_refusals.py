"""Bad input: one line `error: ...`, status 2, nothing left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from morphospace.cli.app import main

from .conftest import TINY, VAE, Morpho

# What is typed ({t} is an empty folder), and words that the one line must hold.
COMMAND_LINES = {
    "unknown verb": ("trian", "'trian'", "did you mean 'train'"),
    "unknown model": ("train vea --out {t}/r", "'vea'", "did you mean 'vae'"),
    "no model": ("train --out {t}/r", "model: none given", "morpho models"),
    "unknown flag": ("train vae --latent-dims 3 --out {t}/r", "--latent-dims", "did you mean --latent-dim?"),
    "another model's flag": ("train dcgan --variance learned --out {t}/r", "--variance", "one of ae, vae"),
    "flag without value": ("train vae --lr --out {t}/r", "--lr"),
    "argument too many": ("train vae dcgan --out {t}/r", "'dcgan'", "too many"),
    "no out": ("train vae", "out", "--out runs/first"),
    "flag given twice": ("train vae --lr 1 --lr 2 --out {t}/r", "--lr", "twice"),
    "not a number": ("train vae --lr fast --out {t}/r", "--lr = 'fast'", "number"),
    "not whole": ("train vae --images 1.5 --out {t}/r", "--images = '1.5'", "whole number"),
    "not a choice": ("train vae --tower mpl --out {t}/r", "--tower = 'mpl'", "conv, mlp", "did you mean 'mlp'"),
    "NaN": ("train vae --lr nan --out {t}/r", "lr = nan", "must be positive"),
    "infinite": ("train vae --beta inf --out {t}/r", "beta = inf"),
    "negative": ("train vae --latent-dim -3 --out {t}/r", "latent_dim = -3", "from 1 to 65536"),
    "too few": ("train vae --betas 0.5 --out {t}/r", "betas", "2 values"),
    "unknown source": ("train vae --data fashon-mnist --out {t}/r", "fashon-mnist", "fashion-mnist"),
    "unknown source, dry": ("train vae --data fashon-mnist --dry-run", "fashon-mnist", "fashion-mnist"),
    "unknown recipe": ("train --recipe mnist-vea --out {t}/r", "mnist-vea", "mnist-vae"),
    "no recipe file": ("train --recipe {t}/no.toml --out {t}/r", "no.toml", "no such file"),
    "recipe of another model": ("train dcgan --recipe mnist-vae --out {t}/r", "dcgan", "mnist-vae", "leave one"),
    "no such size": ("train vae --size 4 --out {t}/r", "4", "from 8"),
    "size in words": ("train vae --size big --out {t}/r", "big", "64x48"),
    "towers too high": ("train vae --widths 8,8,8,8,8 --size 16 --out {t}/r", "16x16", "at most"),
    "towers too high, dry": ("train vae --widths 8,8,8,8,8 --size 16 --dry-run", "16x16", "at most"),
    "batch over data": ("train vae --batch-size 5000 --data digits --size 8 --out {t}/r", "5000", "1365"),
    "valid": ("train vae --valid 0.99 --data digits --size 8 --out {t}/r", "0.99", "0.9"),
    "no run to start from": ("train vae --from {t}/no --out {t}/r", "from = ", "no run.toml"),
    "no files": ("train vae --data celeba --root {t} --out {t}/r", "celeba"),
    "no images": ("train vae --data folder:{t} --size 16 --out {t}/r", "no "),
    "run nowhere": ("sample {t}/no --out {t}/p.png", "no run.toml"),
    "resume nowhere": ("resume {t}/no", "no run.toml"),
    "runs nowhere": ("runs {t}/no", "no such folder"),
    "scale too large": ("sample {t}/no --scale 65 --out {t}/p.png", "scale = 65", "from 1 to 64"),
    "nothing to enlarge": ("sample {t}/no --scale 2 --out {t}/p.npz", "scale = 2", "none is written"),
    "nothing to smooth": (
        "score {t}/no digits --enlarge smooth --out {t}/p.csv",
        "enlarge = 'smooth'",
        "none is written",
    ),
    "no scale of a map": ("map {t}/no --scale 2 --out {t}/p.png", "--scale"),
    "no picture name": ("sample {t}/no --out {t}/p.jpg", ".png"),
    "no n": ("sample {t}/no --n 0 --out {t}/p.png", "n = 0", "at least 1|from 1"),
    "no seed": ("sample {t}/no --seed -1 --out {t}/p.png", "seed = -1"),
    "no prior": ("sample {t}/no --prior model1 --out {t}/p.png", "--prior = 'model1'", "normal"),
    "picture below a file": ("data show digits --out /dev/null/p.png", "/dev/null", "not a folder"),
    "no such split": ("data show digits --split tset --out {t}/p.png", "tset", "test"),
    "more than there are": ("data show digits --n 9999 --out {t}/p.png", "n = 9999", "1,437"),
    "fetch nothing": ("data fetch mnits", "mnits", "mnist"),
    "pack nothing": ("data pack mnits --out {t}/p", "mnits", "mnist"),
    "pack below a file": ("data pack digits --out /dev/null/p", "/dev/null", "not a folder"),
    "run below a file": ("train vae --out /dev/null/r", "/dev/null", "not a folder"),
    "packing": (
        "train dcgan --data digits --packing 3 --batch-size 32 --out {t}/r",
        "packing = 3",
        "32",
        "--batch-size",
    ),
    "no device": ("train vae --device tpu --out {t}/r", "--device = 'tpu'", "cuda"),
}


def check(said: object, *words: str) -> None:
    code, out, err = said.code, said.out, said.err  # type: ignore[attr-defined]
    assert code == 2, (out, err)
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert "Traceback" not in err and "<morphospace" not in err
    for word in words:
        assert any(choice in err for choice in word.split("|")), (word, err)


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_refusal(morpho: Morpho, tmp_path: Path, case: str) -> None:
    line, *words = COMMAND_LINES[case]
    said = morpho(*line.format(t=tmp_path).split())
    check(said, *words)
    assert "/loss" not in said.out  # nothing was trained before it was refused
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["unknown verb", "unknown flag", "unknown source", "run nowhere", "NaN"])
def test_refusal_in_json(morpho: Morpho, tmp_path: Path, case: str) -> None:
    line, *words = COMMAND_LINES[case]
    said = morpho(*line.format(t=tmp_path).split(), "--json")
    check(said, *words)
    assert f"error: {said.json['error']}\n" == said.err


def test_unknown_key_of_a_file_names_the_nearest(morpho: Morpho, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nname = "vae"\nlatent_dims = 3\n')
    check(morpho("train", "--recipe", file, "--out", tmp_path / "r"), "latent_dims = 3", "'latent_dim'")
    file.write_text('[model]\nname = "vae"\n[trainning]\nseed = 3\n')
    check(morpho("train", "--recipe", file, "--out", tmp_path / "r"), "[trainning]", "'training'")
    file.write_text("[model\n")
    check(morpho("train", "--recipe", file, "--out", tmp_path / "r"), "not valid TOML")
    file.write_text('[model]\nname = "vae"\nlr = "fast"\n')
    check(morpho("train", "--recipe", file, "--out", tmp_path / "r"), "lr = 'fast'", "must be a number")
    file.write_text("model = 3\n")
    check(morpho("train", "--recipe", file, "--out", tmp_path / "r"), "model = 3 must be a section")
    file.write_text("[model]\nname = 5\n")
    check(morpho("train", "--recipe", file, "--out", tmp_path / "r"), "model name = 5")
    file.write_bytes(b"\xff\xfe")
    check(morpho("train", "--recipe", file, "--out", tmp_path / "r"), "no text file")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_a_folder_that_is_something_else(morpho: Morpho, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    check(morpho(*VAE, "--out", tmp_path), "is not a run", "another path")
    check(morpho("data", "pack", "digits", "--out", tmp_path), "is not a pack", "another path")
    check(morpho(*VAE, "--out", tmp_path / "thesis.tex"), "is not a run")
    assert (tmp_path / "thesis.tex").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_a_run_of_another_configuration(morpho: Morpho, runs: dict[str, Path]) -> None:
    before = sorted(runs["vae"].rglob("*"))
    for more in ([], ["--dry-run"]):
        said = morpho(*VAE, "--out", runs["vae"], "--beta", 3, *more)
        check(said, "beta = 3.0, was 1.0", "another configuration")
    check(morpho("train", "ae", *TINY, "--widths", 4, "--out", runs["vae"]), "another configuration")
    assert sorted(runs["vae"].rglob("*")) == before


def test_broken_checkpoints(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["vae"], run)
    for file in run.glob("checkpoints/*/model.safetensors"):
        file.write_bytes(file.read_bytes()[:200])
    check(morpho("sample", run, "--out", tmp_path / "p.png"), "checkpoint")
    check(morpho("resume", run, "--images", 1000), "checkpoint")
    for file in run.glob("checkpoints/*/model.safetensors"):
        shutil.copy(next(runs["dcgan"].glob("checkpoints/*/model.safetensors")), file)
    check(morpho("sample", run, "--out", tmp_path / "p.png"), "checkpoint")
    check(morpho("sample", runs["vae"], "--checkpoint", "17", "--out", tmp_path / "p.png"), "not in")
    assert not (tmp_path / "p.png").exists()


def test_reconstruct_needs_an_encoder_and_enough_images(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    check(morpho("reconstruct", runs["dcgan"], "--out", tmp_path / "p.png"), "no encoder", "morpho train-encoder")
    check(morpho("reconstruct", runs["vae"], "--n", 5000, "--out", tmp_path / "p.png"), "n = 5000", "360")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_fit(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    said = morpho("train", "vae", *TINY, "--widths", 6, "--from", runs["vae"], "--out", tmp_path / "r")
    check(said, "from = ", "do not fit")
    assert list(tmp_path.iterdir()) == []


def test_out_of_memory_is_one_line(morpho: Morpho, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from morphospace.tools.train.job import Job

    def train(*arguments: object, **settings: object) -> None:
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9e9 bytes."
        )

    monkeypatch.setattr(Job, "run", train)
    check(morpho(*VAE, "--out", tmp_path / "r"), "out of memory", "--batch-size")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(morpho: Morpho, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    check(morpho(*VAE, "--out", tmp_path / "r"), "cannot be written")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(morpho: Morpho, tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "run"
    words = [*VAE[:-3], "4000", "--widths", "4", "--out", str(out), "--report-images", "6400"]
    assert words[words.index("4000") - 1] == "--epochs"
    process = subprocess.Popen(
        [sys.executable, "-m", "morphospace.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "images  " in line and "packing" not in line:
            break
    time.sleep(0.02)  # into the steps that follow the report
    process.send_signal(number)
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    assert "saved; run the same command again to go on" in rest.splitlines()[-1]
    images = int(rest.splitlines()[-1].split("image ")[1].split(",")[0])
    assert (out / "checkpoints" / "last").read_text().strip() == f"{images:012d}"
    told = morpho("runs", out, "--json").json["runs"][0]
    assert told["state"] == "stopped" and told["images"] == images


def test_interrupt_elsewhere_is_quiet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def find(folder: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("morphospace.cli.lists.find_runs", find)
    assert main(["runs", "."]) == 130
    assert capfd.readouterr() == ("", "")


def test_a_reader_that_leaves_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "morphospace.cli", "recipes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    time.sleep(0.1)
    assert process.stderr.read() == b""
    assert process.wait(30) == 141
