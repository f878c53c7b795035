"""Exported networks do what the run's own do, elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import DataError, MissingExtra, RunError, SettingError
from morphospace.tools.export import write as exporting
from tests.conftest import draw_blobs

SMALL = {"images": 64, "batch_size": 32, "widths": (32,), "latent_dim": 4, "device": "cpu", "report_images": 10**6}

# Runs where there is no torch: the import is refused, as if it were not installed.
ALONE = """
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "morphospace"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
fed = dict(np.load(sys.argv[2]))
outputs = session.run(None, fed)
names = [output.name for output in session.get_outputs()]
np.savez(sys.argv[3], **dict(zip(names, outputs)))
inputs = [one.name for one in session.get_inputs()]
facts = session.get_modelmeta().custom_metadata_map
print(json.dumps({"facts": facts, "inputs": inputs, "torch": "torch" in sys.modules}))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("secret-folder")
    made = {name: ms.train(name, data="digits", out=folder / name, **SMALL) for name in ("ae", "dcgan")}
    labels = (np.arange(64) % 3).astype(np.int64)
    told = in_memory_pack("blobs", Split(draw_blobs(64, (8, 8, 3)), labels=labels), label_names=("a", "b", "c"))
    made["cvae"] = ms.train("cvae", data=told, condition="label", out=folder / "cvae", **SMALL)
    return made


def alone(file: Path, folder: Path, **fed: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Run an ONNX file in a process without torch."""
    np.savez(folder / "in.npz", **fed)
    words = [sys.executable, "-c", ALONE, str(file), str(folder / "in.npz"), str(folder / "out.npz")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "out.npz")), json.loads(done.stdout)


def test_onnx_runs_without_torch_and_agrees(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = runs["cvae"]
    made = ms.export(run, tmp_path / "c.onnx")
    assert made.files == (tmp_path / "c.onnx",) and made.error < 1e-5 and made.bytes == made.files[0].stat().st_size
    rng = np.random.default_rng(0)
    for count in (1, 7):
        z = rng.standard_normal((count, 4)).astype(np.float32)
        condition = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
        got, told = alone(made.files[0], tmp_path, z=z, condition=condition)
        with torch.no_grad():
            native = run.model.decode(torch.from_numpy(z), torch.from_numpy(condition))
        np.testing.assert_allclose(got["images"], native.numpy(), atol=1e-5)
    facts = told["facts"]
    assert told["torch"] is False and told["inputs"] == ["z", "condition"]
    assert facts["run"] == "cvae" and json.loads(facts["shape"]) == [8, 8, 3] and json.loads(facts["range"]) == [0, 1]
    assert json.loads(facts["condition"]) == ["a", "b", "c"] and facts["version"].startswith("morphospace ")
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".npz", ".onnx")] == []  # no data beside it


def test_a_code_of_several_levels_travels_at_any_number_of_images(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    run = ms.train("ladder-vae", data=draw_blobs(40, (8, 8, 1)), out=tmp_path / "ladder", levels=2, **SMALL)
    made = ms.export(run, tmp_path / "l.onnx", what="both")
    assert made.error < 1e-5 and len(made.files) == 2
    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "l-encoder.onnx"), providers=["CPUExecutionProvider"])
    (mean,) = session.run(None, {session.get_inputs()[0].name: images})
    with torch.no_grad():
        expected = run.model.encode(torch.from_numpy(images)).mean  # that of each level, from the top
    np.testing.assert_allclose(mean, expected.numpy(), atol=1e-5)


def test_onnx_in_half_is_half_the_size_and_names_no_path(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = runs["dcgan"]
    full = ms.export(run, tmp_path / "full.onnx")
    half = ms.export(run, tmp_path / "half.onnx", weights="fp16")
    assert half.error < 5e-3 and half.bytes < 0.75 * full.bytes
    here = [str(run.path.parent), "secret-folder", "site-packages", sys.prefix, str(Path(ms.__file__).parent)]
    for file in (*full.files, *half.files):
        content = file.read_bytes()
        assert [path for path in here if path.encode() in content] == []
        assert b".py" not in content
    z = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    got, told = alone(half.files[0], tmp_path, z=z)
    frames = np.round((got["images"].transpose(0, 2, 3, 1) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    assert json.loads(told["facts"]["range"]) == [-1, 1] and told["facts"]["to_uint8"] == "round((x + 1) * 127.5)"
    from morphospace.runs.codes import decode

    assert np.abs(frames.astype(int) - decode(run.model, torch.from_numpy(z))).max() <= 1


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["ae", "cvae"])
def test_both_halves_in_every_other_format(runs: dict[str, ms.Run], name: str, weights: str, tmp_path: Path) -> None:
    run = runs[name]
    named = ms.export(run, tmp_path / "w.safetensors", format="safetensors", what="both", weights=weights)
    script = ms.export(run, tmp_path / "w.pt", format="torchscript", what="both", weights=weights)
    assert [file.name for file in named.files] == ["w.safetensors"]
    assert [file.name for file in script.files] == ["w-decoder.pt", "w-encoder.pt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w-decoder.pt", "w-encoder.pt", "w.safetensors"]
    again = ms.load_exported(named.files[0])
    assert again.facts["run"] == name and again.facts["part"] == "decoder+encoder"
    told = () if name != "cvae" else (torch.eye(3),)
    images = torch.rand(3, run.model.shape[2], 8, 8)
    most = 1e-5 if weights == "fp32" else 2e-2
    with torch.no_grad():
        posterior, decoded = run.model.encode(images, *told), run.model.decode(torch.ones(3, 4), *told)
        for decoder, encoder in (
            (again.decoder, again.encoder),
            tuple(torch.jit.load(str(file)) for file in script.files),
        ):
            assert (decoder(torch.ones(3, 4), *told) - decoded).abs().max() < most
            found = encoder(images, *told)
            mean = found if name == "ae" else found[0]
            assert (mean - posterior.mean).abs().max() < most * posterior.mean.abs().max().clamp(min=1)
            if name != "ae":
                assert (found[1] - posterior.log_variance).abs().max() < most * 10


def test_the_run_itself_stays_as_it_was(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    before = {name: values.clone() for name, values in runs["cvae"].model.networks.state_dict().items()}
    ms.export(runs["cvae"], tmp_path / "w.pt", format="torchscript", weights="fp16")
    after = runs["cvae"].model.networks.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module._forward_pre_hooks for module in runs["cvae"].model.networks.modules())


def test_only_the_decoder_travels(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    made = ms.export(runs["dcgan"], tmp_path / "g.safetensors", format="safetensors")
    again = ms.load_exported(made.files[0])
    assert again.encoder is None and again.decoder is not None
    with torch.no_grad():
        assert torch.allclose(again.decoder(torch.ones(3, 4)), runs["dcgan"].model.decode(torch.ones(3, 4)), atol=1e-6)
    from safetensors import safe_open

    with safe_open(str(made.files[0]), framework="pt") as opened:
        assert all(key.startswith("generator.") for key in opened.keys())  # noqa: SIM118


def test_refusals(runs: dict[str, ms.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in (
        ("format", "must be one of onnx"),
        ("what", "must be one of decoder"),
        ("weights", "fp32, fp16"),
    ):
        with pytest.raises(SettingError, match=f"{name} = 'x': .*{words}"):
            ms.export(runs["cvae"], tmp_path / "v.onnx", **{name: "x"})
    with pytest.raises(SettingError, match=r"must be a file name that ends in \.onnx for onnx"):
        ms.export(runs["cvae"], tmp_path / "v.pt")
    for what in ("encoder", "both"):
        with pytest.raises(RunError, match="dcgan has no encoder: use `morpho project`"):
            ms.export(runs["dcgan"], tmp_path / "v.pt", format="torchscript", what=what)
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no safetensors file"):
        ms.load_exported(tmp_path / "no.safetensors")
    with pytest.raises(DataError, match="no such file"):
        ms.load_exported(tmp_path / "none.safetensors")
    (tmp_path / "no.safetensors").unlink()
    monkeypatch.setattr("morphospace.tools.export.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs onnx, onnxscript, onnxruntime; pip install 'morphospace\[export\]'"):
        ms.export(runs["cvae"], tmp_path / "v.onnx")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_when_the_second_half_fails(
    runs: dict[str, ms.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = exporting.exported

    def failing(part: object, *arguments: object) -> object:
        if part.name == "encoder":  # type: ignore[attr-defined]
            raise RunError("off")
        return whole(part, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exporting, "exported", failing)
    with pytest.raises(RunError, match="off"):
        ms.export(runs["cvae"], tmp_path / "v.pt", format="torchscript", what="both")
    assert not list(tmp_path.iterdir())


def test_a_foreign_safetensors_file_is_said_to_be_one(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(DataError, match="is none that `morpho export` wrote"):
        ms.load_exported(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("shape", "[8, 8]"),
        ("shape", "[8, 8, 2]"),
        ("shape", "[-8, 8, 1]"),
        ("shape", "[1e400, 8, 1]"),
        ("settings", '{"name": "vae", "latent_dim": 60000}'),
        ("settings", '{"name": "vae", "widths": [60000, 60000]}'),
        ("settings", '{"name": ["vae"]}'),
        ("settings", '"vae"'),
        ("settings", '{"name": "vae", "beta": {"a": 1}}'),
        ("part", "both"),
        ("part", "[" * 5000),
        ("labels", '{"a": 1}'),
        ("attributes", "[1]"),
    ],
)
def test_a_strangers_metadata_is_checked_before_a_network_is_made(
    runs: dict[str, ms.Run], tmp_path: Path, key: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    ms.export(runs["ae"], good, format="safetensors")
    with safe_open(str(good), framework="pt") as opened:
        metadata = opened.metadata()
    save_file(load_file(good), str(bad), metadata | {key: text})
    most: list[int] = []
    real = torch.nn.init._no_grad_uniform_
    monkeypatch.setattr(
        torch.nn.init,
        "_no_grad_uniform_",
        lambda t, *more, **named: (most.append(0 if t.is_meta else t.numel()), real(t, *more, **named))[1],
    )
    with pytest.raises(DataError, match="is none that `morpho export` wrote") as refused:
        ms.load_exported(bad)
    assert "\n" not in str(refused.value) and max(most, default=0) < 1_000_000


def test_a_huge_network_beside_the_weights_is_not_made() -> None:
    held = {"decoder.weight": torch.zeros(4, 4)}
    exporting._check_held(held, {"decoder.weight": (4, 4), "encoder.weight": (40, 4)})
    with pytest.raises(DataError, match="ask for 1,000,016 weights, and it holds 16"):
        exporting._check_held(held, {"decoder.weight": (4, 4), "critic.weight": (1000, 1000)})
    with pytest.raises(RunError, match="has shape"):
        exporting._check_held(held, {"decoder.weight": (400, 4)})
