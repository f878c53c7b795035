"""Runs on the Hub: pushed and fetched again, against a stand-in of its API; repositories of strangers."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import MissingExtra, MorphospaceError, RunError, SettingError
from morphospace.runs import hub as runs_hub
from tests.runs.hub_server import READER, TOKEN, Hub, Repo

constants = pytest.importorskip("huggingface_hub.constants")
SMALL: dict[str, Any] = {"size": "8", "images": 256, "batch_size": 32, "valid": 0.1}


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of the digits, with an evaluation."""
    out = tmp_path_factory.mktemp("runs") / "small digits"
    how = {"metrics": "fd", "metrics_features": "pixels", "metrics_n": 40}
    ms.train("vae", "digits", out, widths=(8,), latent_dim=3, ema_halflife_images=64, **how, **SMALL)
    return out


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The stand-in; `anna` is logged in."""
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def test_a_run_that_was_pushed_gives_the_same_samples_elsewhere(
    vae: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert main(["push", str(vae), "anna/digits", "--message", "first"]) == 0
    said = capsys.readouterr()
    assert f"pushed to anna/digits (private): {hub.address}/anna/digits/commit/" in said.out
    assert hub.created == [{"name": "digits", "organization": "anna", "visibility": "private"}]
    repo = hub.repos["anna/digits"]
    assert repo.private and repo.messages[-1] == "first"
    files = repo.commits[repo.branches["main"][-1]]
    wanted = {"README.md", "run.json", "model.safetensors", "diagram.svg", "page.html", "metrics.jsonl"}
    assert set(files) == wanted | {".gitattributes", "evaluation.json", "prior.json", "prior-mixture.safetensors"} or (
        set(files) == wanted | {".gitattributes", "evaluation.json", "prior.json"}
    )
    # Nothing of the machine, and no token, in a file or in a log.
    for private in (TOKEN, str(vae.parent), str(Path.home()), str(tmp_path)):
        assert not [name for name, content in files.items() if private.encode() in content], private
    assert TOKEN not in said.out + said.err + caplog.text
    host = re.compile(rf"\b{re.escape(socket.gethostname())}\b".encode())
    assert not [
        name for name in ("README.md", "run.json", "diagram.svg", "evaluation.json") if host.search(files[name])
    ]
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: morphospace\n") and "ms.load('hub:anna/digits')" in card
    assert "morpho sample hub:anna/digits" in card and "(page.html)" in card and "(diagram.svg)" in card

    here, there = ms.load(vae), ms.load("hub:anna/digits")
    assert np.array_equal(ms.sample(here, 20, seed=3), ms.sample(there, 20, seed=3))
    assert there.images == here.images and there.path.name == "digits" and repo.branches["main"][-1] in str(there.path)
    assert there.folder.facts["hub"] == f"anna/digits@{repo.branches['main'][-1]}"
    assert there.folder.facts["data_hash"] == here.folder.facts["data_hash"]
    assert ms.reconstruct(there, 4).images.shape == (4, 8, 8, 1)  # the digits come with the library
    assert ms.card(there).count("fd") == ms.card(here).count("fd") > 0


def test_pushing_again_says_what_changed_and_without_a_change_sends_nothing(
    vae: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ms.push(vae, "anna/digits", page="never")
    assert first.sent and set(first.changed.values()) == {"added"}
    asked = len(hub.requests)
    again = ms.push(vae, "hub:anna/digits", page="never")
    assert not again.sent and not again.changed and again.private
    assert {method for method, _ in hub.requests[asked:]} == {"GET"}
    other = ms.push(ms.load(vae, raw=True), "anna/digits", page="never")
    assert other.changed["model.safetensors"] == "changed" and other.sent
    assert "diagram.svg" not in other.changed and len(hub.repos["anna/digits"].branches["main"]) == 3
    assert main(["push", str(vae), "anna/digits", "--page", "never", "--revision", "trial", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["private"] is True and told["sent"] and "model.safetensors" in told["changed"]
    repo = hub.repos["anna/digits"]
    trial = ms.load("hub:anna/digits@trial")
    assert trial.path != ms.load("hub:anna/digits").path
    assert ms.load(f"hub:anna/digits@{repo.branches['trial'][-1]}").path == trial.path


def test_a_dry_run_lists_the_files_and_asks_nobody(
    vae: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(vae), "anna/digits", "--dry-run", "--page", "never"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"would push .* MB in \d+ files to anna/digits, private if it is new; nothing was sent", first)
    assert [line.split()[0] for line in lines[:3]] == ["README.md", "run.json", "model.safetensors"]
    assert hub.requests == []


def test_a_public_repository_is_pushed_to_only_if_that_was_said(vae: Path, hub: Hub) -> None:
    hub.repos["anna/open"] = Repo(private=False)
    hub.repos["anna/open"].commit("main", {})
    with pytest.raises(RunError, match="everybody can see it; add --public"):
        ms.push(vae, "anna/open", page="never")
    assert len(hub.repos["anna/open"].commits) == 1
    assert not ms.push(vae, "anna/open", page="never", public=True).private
    assert not ms.push(vae, "anna/new", page="never", public=True).private
    assert hub.created[-1]["visibility"] == "public"


@pytest.mark.parametrize(
    ("token", "repo", "says"),
    [
        ("", "anna/x", "you are not logged in; log in with `hf auth login`"),
        ("hf_wrong", "anna/x", "does not accept your token; log in"),
        (TOKEN, "bob/x", "you have no right to do this there; push to a name of your own"),
        (TOKEN, "anna", "must be OWNER/NAME"),
        (TOKEN, "anna/../x", "must be OWNER/NAME"),
        (TOKEN, "anna/a b", "must be OWNER/NAME"),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_the_way_out(
    vae: Path, hub: Hub, token: str, repo: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises((RunError, SettingError), match=re.escape(says)) as refused:
        ms.push(vae, repo, page="never")
    assert "\n" not in str(refused.value) and not (token and token in str(refused.value))
    assert not hub.repos


def test_without_a_network_a_fetched_run_still_loads(
    vae: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ms.push(vae, "anna/digits", page="never")
    wanted = ms.sample("hub:anna/digits", 2, seed=1)
    hub.shutdown()
    hub.server_close()
    assert np.array_equal(ms.sample("hub:anna/digits", 2, seed=1), wanted)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert np.array_equal(ms.sample("hub:anna/digits", 2, seed=1), wanted)
    assert main(["sample", "hub:anna/other", "--out", "x.png"]) == 2
    words = capsys.readouterr().err
    assert "not in the cache of this machine, and the Hub does not answer" in words and words.count("\n") == 1
    with pytest.raises(RunError, match="does not answer"):
        ms.push(vae, "anna/digits", page="never")


def test_what_is_not_the_hub_is_said_in_a_line(vae: Path, hub: Hub) -> None:
    hub.captive = True
    for call, says in (
        (lambda: ms.load("hub:anna/digits"), "does not seem to be served by a Hugging Face Hub .*check the network"),
        (lambda: ms.push(vae, "anna/digits", page="never"), "what answers is not the Hub .*check the network"),
    ):
        with pytest.raises(RunError, match=says) as refused:
            call()
        assert "\n" not in str(refused.value) and TOKEN not in str(refused.value)
    with pytest.raises(RunError, match="is no name that the Hub knows"):
        ms.load(f"hub:anna/{'x' * 300}")


def test_only_those_who_may_read_a_private_run_fetch_it(vae: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    ms.push(vae, "anna/digits", page="never")
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(RunError, match=r"no such repository, or you may not read it; .*log in"):
        ms.load("hub:anna/digits")


def test_a_run_of_the_hub_is_taken_by_every_command_and_not_trained_further(
    vae: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ms.push(vae, "anna/digits", page="never")
    assert main(["sample", "hub:anna/digits", "--n", "4", "--out", str(tmp_path / "x.png")]) == 0
    assert "what tools write beside a run is written there" in capsys.readouterr().out
    assert main(["export", "hub:anna/digits", "--format", "torchscript", "--out", str(tmp_path / "x.pt")]) == 0
    assert main(["diagram", "hub:anna/digits", "--out", str(tmp_path / "x.svg")]) == 0
    assert main(["compare", str(vae), "hub:anna/digits", "--metrics", "none", "--out", str(tmp_path / "c.html")]) == 0
    assert "fetches" not in capsys.readouterr().out  # it was here already
    assert main(["resume", "hub:anna/digits", "--images", "512"]) == 2
    assert "begin anew with --from hub:anna/digits@" in capsys.readouterr().err
    out = ["--out", str(tmp_path / "more"), "--images", "64", "--batch-size", "32"]
    same = ["--data", "digits", "--size", "8", "--widths", "8", "--latent-dim", "3"]
    assert main(["train", "vae", *same, *out, "--from", "hub:anna/digits"]) == 0
    from morphospace.studio.loaded_runs import run_folders

    assert run_folders(["hub:anna/digits"]) == [ms.load("hub:anna/digits").path]


def test_images_of_ones_own_are_asked_for_and_their_folder_is_not_told(
    hub: Hub, tmp_path: Path, blobs: np.ndarray
) -> None:
    from PIL import Image

    photos = tmp_path / "private place" / "photos"
    photos.mkdir(parents=True)
    for number, image in enumerate(blobs):
        Image.fromarray(image[..., 0]).save(photos / f"{number}.png")
    small: dict[str, Any] = {"widths": (8,), "latent_dim": 2, "images": 64, "batch_size": 16, "size": "8"}
    ms.train("ae", f"folder:{photos}", tmp_path / "run", **small)
    made = ms.push(tmp_path / "run", "anna/photos")
    assert "page.html" not in made.files and any("theirs to say" in note for note in made.notes)
    files = hub.repos["anna/photos"].commits[hub.repos["anna/photos"].branches["main"][-1]]
    assert not [name for name, content in files.items() if b"private place" in content]
    assert json.loads(files["run.json"])["data"]["data"] == "folder:photos"
    wanted = ms.sample(tmp_path / "run", 4)
    for pack in (tmp_path / "cache").glob("**/manifest.json"):
        pack.unlink()
    run = ms.load("hub:anna/photos")
    assert np.array_equal(ms.sample(run, 4), wanted)  # by the prior that was fitted before it was pushed
    with pytest.raises(
        RunError, match=r"came from hub:anna/photos@.* without its images; say where they are with --data"
    ):
        ms.reconstruct(run, 4)
    assert ms.reconstruct(ms.load("hub:anna/photos", data=f"folder:{photos}"), 2).images.shape == (2, 8, 8, 1)


def test_an_adopted_run_of_plain_layers_is_pushed_and_one_of_own_code_is_refused(hub: Hub, tmp_path: Path) -> None:
    from torch import nn

    class Own(nn.Sequential):
        """A network whose code is not of torch."""

    layers = (nn.Linear(3, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    how: dict[str, Any] = {"shape": (8, 8, 1), "latent_dim": 3, "say": str}
    run = ms.adopt(nn.Sequential(*layers), out=tmp_path / "plain", **how)
    assert ms.push(run, "anna/plain", page="never").sent
    assert np.array_equal(ms.sample("hub:anna/plain", 4), ms.sample(run, 4))
    with pytest.raises(RunError, match=r"has the caller's own \['decoder'\], which only their code can build again"):
        ms.push(ms.adopt(Own(*layers), out=tmp_path / "own", **how), "anna/own")
    assert "anna/own" not in hub.repos


def put(hub: Hub, files: dict[str, bytes]) -> None:
    """Put a repository on the stand-in as a stranger could."""
    hub.repos["eve/x"] = Repo(private=False)
    hub.repos["eve/x"].commit("main", files)


def described(vae: Path, hub: Hub) -> dict[str, bytes]:
    """Return the files of a good repository, to be spoiled."""
    ms.push(vae, "anna/digits", page="never")
    repo = hub.repos["anna/digits"]
    return dict(repo.commits[repo.branches["main"][-1]])


def spoiled(files: dict[str, bytes], /, **changes: Any) -> dict[str, bytes]:
    """Return them with another run.json, whose hashes are those of the files."""
    about = json.loads(files["run.json"])
    for name, content in files.items():
        if name in about["files"]:
            about["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {**files, "run.json": json.dumps({**about, **changes}).encode()}


def test_a_repository_that_is_no_run_says_what_it_has(hub: Hub) -> None:
    put(hub, {"pytorch_model.bin": b"\x80\x04.", "config.json": b"{}", "<img src=x>\x1b[31m": b""})
    with pytest.raises(
        RunError, match=r"no run of this library: it has no run.json .*pytorch_model.bin.*ms.adopt"
    ) as no:
        ms.load("hub:eve/x")
    assert "\x1b" not in str(no.value) and "\n" not in str(no.value)
    assert not [path for method, path in hub.requests if "pytorch_model.bin" in path]
    with pytest.raises(RunError, match="has no such revision"):
        ms.load("hub:eve/x@v9")
    for wrong in ("hub:eve", "hub:eve/../x", "hub:/etc/passwd", "hub:eve/x@../y", "hub:eve/x y"):
        with pytest.raises(RunError, match="must be hub:OWNER/NAME"):
            ms.load(wrong)


def test_what_a_stranger_pushed_leads_nowhere(vae: Path, hub: Hub, tmp_path: Path) -> None:
    good = described(vae, hub)
    facts = json.loads(good["run.json"])
    weights = good["model.safetensors"]
    huge = (1 << 40).to_bytes(8, "little") + weights[8:]
    one = {"bytes": 3, "sha256": "0" * 64}
    wide = {**facts["model"], "widths": [60_000, 60_000, 60_000]}
    label = {**facts["run"], "labels": ["<script>alert(1)</script>"] * 10}
    cases: list[tuple[dict[str, bytes], str]] = [
        (spoiled({**good, "model.safetensors": huge}), "not a whole safetensors file"),
        (spoiled({**good, "model.safetensors": b"\x80\x04."}), "not a whole safetensors file"),
        (
            {**good, "model.safetensors": weights[:-1] + b"x"},
            "its model.safetensors is not the one that run.json names",
        ),
        (spoiled(good, model=wide), "has shape|weights of this model"),
        (
            spoiled(good, files={**facts["files"], "../../evil.py": one}),
            "names a file '../../evil.py', which no run has",
        ),
        (spoiled(good, files={"run.toml": one}), "names a file 'run.toml', which no run has"),
        (spoiled(good, files={}), "names no model.safetensors"),
        (spoiled(good, images=-1), "images"),
        (spoiled(good, run={"data": None}), "run.toml is broken|no whole run"),
        (spoiled(good, model={"name": "os.system"}), "no whole run"),
        ({**good, "run.json": b"[" * 100_000}, "no whole run"),
        ({**good, "run.json": b"\xff\xfe"}, "no whole run"),
    ]
    for number, (files, says) in enumerate(cases):
        put(hub, files)
        hub.repos["eve/x"] = repo = Repo(private=False)
        repo.commit(f"{number}", files)
        with pytest.raises(MorphospaceError, match=says) as refused:
            ms.load(f"hub:eve/x@{number}")
        assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("evil.py")) and not list((tmp_path / "cache").rglob(".partial-*"))
    hub.repos["eve/x"] = repo = Repo(private=False)
    repo.commit("names", spoiled(good, run=label))
    page = ms.export("hub:eve/x@names", tmp_path / "x.html", format="html").files[0].read_text()
    assert "<script>alert(1)" not in page


def test_a_file_that_is_larger_than_it_says_is_not_fetched(vae: Path, hub: Hub) -> None:
    put(hub, described(vae, hub))
    hub.size_of = lambda name, content: 1 << 50 if name == "run.json" else len(content)
    with pytest.raises(RunError, match=r"its run.json has 1,125,899,906,842,624 bytes, and may have 16,777,216"):
        ms.load("hub:eve/x")
    assert ("GET", "eve/x/resolve/main/run.json") not in hub.requests


def test_a_missing_extra_is_one_line(vae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    for call in (lambda: ms.load("hub:a/b"), lambda: ms.push(vae, "a/b")):
        with pytest.raises(MissingExtra, match=r"hub: needs huggingface_hub; pip install 'morphospace\[hub\]'"):
            call()
    assert runs_hub.is_address("hub:a/b") and not runs_hub.is_address("runs/hub")
