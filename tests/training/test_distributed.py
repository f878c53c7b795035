"""Two processes are one run: the same order, the same noise, averaged gradients."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# In float64 and without batch norm: two halves averaged then equal the whole but for the last bits.
SCRIPT = """
import os, sys
import torch
from safetensors.torch import save_file
from morphospace.training.distributed import World
from morphospace.training.engine import Engine
from morphospace.zoo.settings import VAESettings
from tests.contracts.cases import Case, engine_for
from tests.contracts.test_members import _Double
torch.set_num_threads(1)
world = World.join(torch.device("cpu"))
case = Case(VAESettings(latent_dim=4, widths=(8,), norm="none", likelihood="gaussian", variance="learned"), "vae")
engine = engine_for(case, batch_size=16, dtype=torch.float64, rank=world.rank, world=world.size)
engine.world = world
engine.data = _Double(engine.data)
for _ in range(10):
    engine.step()
weights = {n: p.detach().contiguous() for p, n in engine.names.items()}
save_file(weights, f"{sys.argv[1]}/rank{world.rank}of{world.size}")
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
    assert [process.wait(timeout=120) for process in processes] == [0] * size


def test_two_processes_agree_with_one_at_the_doubled_batch(tmp_path: Path) -> None:
    launch(1, tmp_path)
    launch(2, tmp_path)
    alone = load_file(tmp_path / "rank0of1")
    first, second = (load_file(tmp_path / f"rank{rank}of2") for rank in (0, 1))
    for name, weight in alone.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], weight, rtol=1e-9, atol=1e-12), name


def test_flat_average_keeps_layouts_and_types() -> None:
    from morphospace.training.distributed import World

    kernel = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    assert kernel.as_strided((kernel.numel(),), (1,)).numel() == kernel.numel()
    before = kernel.clone()
    World().average([kernel])
    assert torch.equal(kernel, before)


@pytest.mark.parametrize("world", [3])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(world: int) -> None:
    from morphospace.errors import SettingError
    from tests.contracts.cases import CASES, engine_for

    with pytest.raises(SettingError, match="batch"):
        engine_for(CASES[0], batch_size=8, world=world)
