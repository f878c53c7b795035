"""Two processes are one run: the same order, the same noise, averaged gradients."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from safetensors.torch import load_file

from morphospace.errors import TrainingError
from morphospace.training import distributed
from morphospace.training.distributed import World
from morphospace.zoo.settings import ModelSettings
from tests.contracts.cases import CASES, Case

# In float64: two halves averaged then equal the whole but for the last bits, and Adam, which divides rounding errors by
# themselves, does not blow those up within a few steps.
SCRIPT = """
import copy, hashlib, os, sys
import torch
from torch import nn
from safetensors.torch import save_file
from morphospace.errors import DataError
from morphospace.training.distributed import World, alone
from morphospace.training.engine import Engine
from morphospace.zoo.settings import VAESettings
from morphospace.zoo.settings_gan import DCGANSettings
from morphospace.zoo.settings_vq import VQVAESettings
from tests.contracts.cases import CASES, Case, build, drawn_split, engine_for
from tests.contracts.test_members import _Double
torch.set_num_threads(1)
world = World.join(torch.device("cpu"))
mine, out = slice(world.rank * 8 // world.size * 2, (world.rank + 1) * 8 // world.size * 2), {}

class Seen(_Double):
    rows = ()
    def batch(self, index):
        batch = super().batch(index)
        self.rows = (*self.rows, *batch.rows.tolist())
        return batch

def digest(tensor):
    data = hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).digest()
    return torch.tensor(list(data), dtype=torch.uint8)

PRIOR = dict(prior_width=8, prior_layers=1, prior_heads=2)
vae = dict(latent_dim=4, widths=(8,), likelihood="gaussian", variance="learned")
cases = {
    "plain": VAESettings(norm="none", **vae),
    "norm": VAESettings(**vae),
    "gan": DCGANSettings(latent_dim=4, widths=(8, 12), replay=0.5, replay_images=12),
    "codes": VQVAESettings(latent_dim=2, widths=(8,), blocks=1, entries=40, dead_share=0.5, norm="none", **PRIOR),
    "shared": DCGANSettings(latent_dim=4, widths=(8, 12), share_fakes=True),
}
for label, settings in cases.items():
    like = engine_for(Case(settings, label), batch_size=16, dtype=torch.float64, rank=world.rank, world=world.size)
    engine = Engine(like.model, Seen(like.data), like.settings, total_images=10**6, world=world,
                    ema_halflife_images=100)
    for _ in range(8 // engine.turns):
        engine.step()
    state = copy.deepcopy(engine.state())
    for file, tensors in state.tensors.items():
        out |= {f"{label}/{file}/{name}": t.detach().clone().contiguous() for name, t in tensors.items()}
    out[f"{label}/rows"] = torch.tensor(engine.data.rows)
    if label == "gan":
        held = {name: t.clone() for name, t in engine.model.memory.state_dict().items()}
        engine.model.memory["replay"].images.zero_()
        engine.load_state(state)
        for name, t in engine.model.memory.state_dict().items():
            assert torch.equal(t, held[name]), name
        out["own memory"] = held["replay.images"]
    engine.model.networks.eval()
    if world.leads:  # what one process does alone in evaluation mode waits for nobody
        engine.model.decode(torch.zeros(2, engine.model.latent_dim, dtype=torch.float64))

# Two steps of every member: the terms of the second depend on all that the first one moved.
for case in CASES:
    like = engine_for(case, batch_size=16, dtype=torch.float64, rank=world.rank, world=world.size)
    engine = Engine(like.model, _Double(like.data), like.settings, total_images=10**6, world=world,
                    ema_halflife_images=100)
    for _ in range(2):
        engine.step()
    for file, tensors in engine.state().tensors.items():
        out |= {f"{case.label}/state/{file}/{name}": digest(t) for name, t in tensors.items()}
    out |= {f"{case.label}/buffers/{name}": t.clone() for name, t in engine.model.networks.named_buffers()}
    out |= {f"{case.label}/terms/{name}": torch.stack(values).double() for name, values in engine.sums.items()}

# Layers by themselves, against torch's on the whole batch: values, running statistics, gradients and their gradients.
torch.manual_seed(0)
layers = {
    "1d": (nn.BatchNorm1d(3), torch.randn(16, 3)), "1d long": (nn.BatchNorm1d(3, eps=0.1), torch.randn(16, 3, 5)),
    "2d": (nn.BatchNorm2d(3, momentum=None), torch.randn(16, 3, 4, 5)),
    "3d": (nn.BatchNorm3d(3), torch.randn(16, 3, 2, 2, 2)),
    "bare": (nn.BatchNorm2d(3, affine=False), torch.randn(16, 3, 4, 5)),
    "untracked": (nn.BatchNorm2d(3, track_running_stats=False), torch.randn(16, 3, 4, 5)),
    "offset": (nn.BatchNorm2d(3), 1000 + torch.randn(16, 3, 4, 5)),
}
for label, (layer, values) in layers.items():
    layer.double()
    world.synchronise(nn.ModuleList([layer]))
    values = values.double()[mine].requires_grad_()
    for _ in range(2):
        result = layer(values)
    (grad,) = torch.autograd.grad((result ** 3).sum(), values, create_graph=True)
    (twice,) = torch.autograd.grad(grad.square().sum(), values)
    out |= {f"{label}/result": result.detach(), f"{label}/grad": grad.detach(), f"{label}/twice": twice}
    out |= {f"{label}/{name}": b for name, b in layer.state_dict().items()}
low = nn.BatchNorm2d(3)
world.synchronise(nn.ModuleList([low]))
with torch.autocast("cpu", dtype=torch.bfloat16):
    made = low(layers["2d"][1][mine].bfloat16())
out["bf16/result"] = made.detach()
save_file(out, f"{sys.argv[1]}/rank{world.rank}of{world.size}")
# What the leading process works out, or raises, all have; none waits for one that does something alone.
assert world.led(lambda: world.rank) == 0 and world.all(world.rank) == list(range(world.size))
def fail():
    raise DataError("photos", world.rank, "is missing")
try:
    world.led(fail)
    sys.exit("nothing was raised")
except DataError as error:
    assert str(error) == "photos = 0: is missing", error
own = nn.ModuleList([nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(3)])
with torch.no_grad():
    for tensor in own.state_dict().values():
        tensor.add_(world.rank)
world.share(own)
sums = [float(tensor.double().sum()) for tensor in own.state_dict().values()]
assert all(each == sums for each in world.all(sums))
world.synchronise(own)
if world.leads:
    with alone(own):
        own[1](torch.randn(4, 3, 2, 2))
assert type(own[1]) is not nn.BatchNorm2d or world.size == 1
world.wait()
sys.stdout.flush()
os._exit(0)  # gloo's teardown aborts now and then
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(size: int, out: Path) -> None:
    port = str(free_port())
    shared = {**os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if size == 1:
        shared.pop("WORLD_SIZE")
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(out)], env={**shared, "RANK": str(rank)}, cwd=root)
        for rank in range(size)
    ]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0] * size
    finally:  # one that waits for another that failed would wait for half an hour
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """What one process had, and each of two at the same global batch."""
    out = tmp_path_factory.mktemp("world")
    launch(1, out)
    launch(2, out)
    return [load_file(out / name) for name in ("rank0of1", "rank0of2", "rank1of2")]


@pytest.mark.parametrize("label", ["plain", "norm", "codes", "gan", "shared"])
def test_two_processes_agree_with_one_at_the_doubled_batch(runs: list[dict[str, torch.Tensor]], label: str) -> None:
    """Weights, batch-norm buffers, averages and Adam's state, to a billionth."""
    alone, first, second = ({k: v for k, v in run.items() if k.startswith(f"{label}/")} for run in runs)
    names = [name for name in alone if "/memory" not in name and not name.endswith("/rows")]
    assert len(names) > 20 and any("ema" in name for name in names)
    assert label in ("plain", "codes") or any("running_var" in name for name in names)
    for name in names:
        assert torch.equal(first[name], second[name]), name
        if label != "gan":  # whose processes each replay fakes of their own
            # A bias ahead of a batch norm has no gradient but rounding errors, which Adam scales to a step's size; all
            # that it moves is the running mean.
            idle = label == "norm" and (name.endswith("body.0.bias") or "running_mean" in name)
            rtol, atol = (1e-6, 1e-9) if idle else (1e-9, 1e-12)
            assert torch.allclose(first[name], alone[name], rtol=rtol, atol=atol), name


def of_one_process(settings: ModelSettings) -> bool:
    """Return whether an objective has a statistic of a batch, which each process takes of its own slice of it.

    `docs/data.md` lists them for readers.
    """
    if settings.name in ("beta-tcvae", "dip-vae", "factor-vae", "info-vae", "wae"):
        return True
    if getattr(settings, "likelihood", "") == "gaussian" and getattr(settings, "variance", "") == "calibrated":
        return True
    asked = ("free_bits", "capacity", "feature_matching", "minibatch_discrimination", "unrolled", "replay")
    return any(getattr(settings, name, 0) for name in asked)


@pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
def test_every_member_trains_in_two_processes_what_one_would(runs: list[dict[str, torch.Tensor]], case: Case) -> None:
    """All that a checkpoint holds is the same in both; what is reported, and buffers, are those of one process."""
    alone, first, second = (
        {k.removeprefix(f"{case.label}/"): v for k, v in run.items() if k.startswith(f"{case.label}/")} for run in runs
    )
    assert any(name.endswith("/loss") for name in alone) and set(alone) <= set(first)
    replays = bool(getattr(case.settings, "replay", 0))  # each process its own fakes
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        if "/memory-1/" in name:
            assert replays or torch.equal(value, first[name.replace("/memory-1/", "/memory/")]), name
    for name, want in alone.items():
        # The error of a pixel within masks is divided by those of a process: a number to watch, and no term.
        if not (name.startswith("state/") or name.endswith("/mse") or of_one_process(case.settings)):
            near = 1e-5 * float(want.double().abs().max()) + 1e-9
            assert torch.allclose(first[name].double(), want.double(), rtol=0, atol=near), name


@pytest.mark.parametrize("label", ["plain", "norm"])
def test_every_image_is_seen_exactly_once_an_epoch(runs: list[dict[str, torch.Tensor]], label: str) -> None:
    alone, first, second = (run[f"{label}/rows"] for run in runs)
    assert sorted(alone.tolist()) == sorted(list(range(64)) * 2)  # 8 steps of 16 images
    assert sorted([*first.tolist(), *second.tolist()]) == sorted(alone.tolist())
    for epoch in range(2):
        halves = [rows[32 * epoch : 32 * epoch + 32].tolist() for rows in (first, second)]
        assert sorted([*halves[0], *halves[1]]) == list(range(64))


def test_every_process_gets_its_own_replay_memory_back(runs: list[dict[str, torch.Tensor]]) -> None:
    alone, first, second = runs
    assert "gan/memory/replay.images" in alone and "gan/memory-1/replay.images" not in alone
    assert not torch.equal(first["own memory"], second["own memory"])
    for run in (first, second):
        assert torch.equal(run["gan/memory/replay.images"], first["own memory"])
        assert torch.equal(run["gan/memory-1/replay.images"], second["own memory"])


LAYERS = ["1d", "1d long", "2d", "3d", "bare", "untracked", "offset"]


@pytest.mark.parametrize("label", LAYERS)
def test_synchronised_batch_norm_is_that_of_the_whole_batch(runs: list[dict[str, torch.Tensor]], label: str) -> None:
    alone, first, second = ({k: v for k, v in run.items() if k.startswith(f"{label}/")} for run in runs)
    assert set(alone) == set(first)
    for name, want in alone.items():
        several = name.rpartition("/")[2] in ("result", "grad", "twice")
        got = torch.cat([first[name], second[name]]) if several else first[name]
        close = torch.allclose(got.double(), want.double(), rtol=1e-9, atol=1e-9 * float(want.abs().max()))
        assert close and (several or torch.equal(first[name], second[name])), name


def test_synchronised_batch_norm_keeps_the_type(runs: list[dict[str, torch.Tensor]]) -> None:
    alone, first, second = (run["bf16/result"] for run in runs)
    assert first.dtype == alone.dtype == torch.bfloat16
    assert torch.allclose(torch.cat([first, second]).float(), alone.float(), atol=0.02)


def test_one_process_keeps_its_own_batch_norm() -> None:

    layers = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    World().synchronise(layers)
    assert type(layers[0]) is torch.nn.BatchNorm2d


def test_flat_average_keeps_layouts_and_types() -> None:

    kernel = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    assert kernel.as_strided((kernel.numel(),), (1,)).numel() == kernel.numel()
    before = kernel.clone()
    World().average([kernel])
    assert torch.equal(kernel, before)


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that run tests have no two GPUs, so this checks the calls to torch."""
    taken: list[int] = []
    groups: list[str] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    monkeypatch.setattr(dist, "rendezvous", lambda *_, **__: iter([(dist.HashStore(), 1, 2)]))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: groups.append(backend))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "_STORE", [])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert World.join(torch.device("cuda")) == World(1, 2)
    assert taken == [1] and groups == ["cpu:gloo,cuda:nccl"]  # weights are shared before they are on a GPU
    assert World.join(torch.device("cpu")) == World(1, 2)
    assert taken == [1] and groups[1:] == ["gloo"]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(TrainingError, match=r"process 3 .* torch sees 2; start 2 here: --nproc-per-node 2"):
        World.join(torch.device("cuda"))


@pytest.mark.parametrize("world", [3])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(world: int) -> None:
    from morphospace.errors import SettingError
    from tests.contracts.cases import engine_for

    with pytest.raises(SettingError, match="batch"):
        engine_for(CASES[0], batch_size=8, world=world)


MACHINE = """
import hashlib, os, sys
import torch
torch.set_num_threads(1)
import morphospace as ms
rank = os.environ["RANK"]
os.chdir(f"{sys.argv[1]}/{rank}")
more = {"lr": 0.01 * (1 + int(rank))} if sys.argv[3] == "lr" else {}
data = f"folder:{sys.argv[1]}/photos" if sys.argv[3] != "images" or rank == "0" else "digits"
try:
    run = ms.train("vae", data=data, size="8", channels=1, widths=(8,), latent_dim=2, batch_size=16, out="run",
                   images=int(sys.argv[2]), precision="fp32", **more)
except ms.MorphospaceError as error:
    open("error", "w").write(str(error))
    os._exit(2)
digest = hashlib.sha256()
for name, tensor in sorted(run.model.networks.state_dict().items()):
    digest.update(name.encode() + tensor.numpy().tobytes())
open("weights", "w").write(digest.hexdigest())
os._exit(0)
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two working directories that have no file of each other, as on two machines, and images."""
    place = tmp_path_factory.mktemp("machines")
    for name in ("0", "1", "photos"):
        (place / name).mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(place / "photos" / f"{i}.png")
    return place


def on_both(place: Path, images: int, differs: str = "") -> list[int]:
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-c", MACHINE, str(place), str(images), differs]
    caches = [{"RANK": str(rank), "MORPHOSPACE_CACHE": str(place / f"cache{rank}")} for rank in (0, 1)]
    processes = [subprocess.Popen(command, env={**shared, **each}) for each in caches]
    try:
        return [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()


def test_the_runs_folder_is_the_leading_machines_and_both_go_on_from_it(machines: Path) -> None:
    hashes = []
    for images in (160, 320):  # the second goes on from the first's checkpoint, which one machine has
        assert on_both(machines, images) == [0, 0]
        assert not (machines / "1" / "run").exists()
        both = {(machines / rank / "weights").read_text() for rank in ("0", "1")}
        assert len(both) == 1
        hashes += both
    assert hashes[0] != hashes[1]
    steps = [json.loads(line)["images"] for line in (machines / "0" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and 160 in steps and steps[-1] == 320


@pytest.mark.parametrize(("differs", "rule"), [("lr", "lr is 0.01 there, 0.02 here"), ("images", "images")])
def test_machines_that_were_asked_for_different_things_are_refused(machines: Path, differs: str, rule: str) -> None:
    shutil.rmtree(machines / "0" / "run", ignore_errors=True)
    assert on_both(machines, 160, differs) == [2, 2]
    assert all(rule in (machines / rank / "error").read_text() for rank in ("0", "1"))
    assert not (machines / "0" / "run").exists()
