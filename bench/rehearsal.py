"""Rehearse training on two machines: two network namespaces of this one, which have no common folder.

Each scene is one thing that happens to people: training on both, a process killed, a cable cut, other images or other
settings on one of them, going on with fewer processes. The last one counts the bytes of a step, and times it behind a
slow network. Linux only, and as root, because it makes networks; needs `ip` and `tc` (Debian: iproute2).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["add_arguments", "main"]

LIMIT_SECONDS = 600
SILENCE_SECONDS = 15  # after which a cut is noticed here; in earnest it is ten minutes
PHOTOS, SIZE, STEPS = 400, 16, 100
MODEL = ["--widths=16,32", "--latent-dim=8", "--batch-size=64", "--precision=fp32", "--device=cpu"]
PACE = [f"--images={STEPS * 64}", "--report-images=1280", "--checkpoint-images=1280"]
WORDS = ["train", "vae", "--data=folder:photos", f"--size={SIZE}", *MODEL, *PACE, "--out=run"]
NETWORKS = {
    "as it is": "",
    "1 Gbit/s": "tbf rate 1gbit burst 256kbit latency 400ms",
    "100 Mbit/s": "tbf rate 100mbit burst 256kbit latency 400ms",
    "10 Mbit/s": "tbf rate 10mbit burst 64kbit latency 400ms",
    "1 ms": "netem delay 1ms",
    "10 ms": "netem delay 10ms",
}
WORKER = """
import datetime, os, sys, time
from morphospace.training import distributed
seconds, pause = float(os.environ["SILENCE"]), float(os.environ["PAUSE"])
distributed.STEP = datetime.timedelta(seconds=seconds) if seconds else distributed.STEP
if pause:  # so that there is time to kill and to cut
    average = distributed.World.average
    distributed.World.average = lambda self, tensors: (time.sleep(pause), average(self, tensors))[1]
from morphospace.cli import main
sys.exit(main(sys.argv[1:]))
"""


def sh(*words: str) -> str:
    """Run a command of the system and return what it prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@dataclass
class Machine:
    """One of the two.

    Attributes:
        name: Its network namespace.
        link: Its network interface.
        address: Its address.
        folder: Its working directory; the other has none of its files.
    """

    name: str
    link: str
    address: str
    folder: Path

    def inside(self, *words: str) -> list[str]:
        """Return a command that runs on this machine."""
        return ["ip", "netns", "exec", self.name, *words]

    def sent(self) -> int:
        """Bytes that it has sent."""
        return int(sh(*self.inside("cat", f"/sys/class/net/{self.link}/statistics/tx_bytes")))

    def network(self, rule: str) -> bool:
        """Let what it sends be slow, by a rule of `tc`; return whether this kernel can. Without a rule, let it pass."""
        subprocess.run(self.inside("tc", "qdisc", "del", "dev", self.link, "root"), capture_output=True)
        words = self.inside("tc", "qdisc", "add", "dev", self.link, "root", *rule.split())
        return not rule or subprocess.run(words, capture_output=True).returncode == 0


@contextmanager
def two_machines(place: Path) -> Iterator[tuple[Machine, Machine]]:
    """Make two machines with a cable between them, and remove them in the end."""
    tag = str(os.getpid())
    machines = tuple(
        Machine(f"morpho-{tag}-{one}", f"m{tag}{one}", f"10.77.1.{1 + i}", place / one) for i, one in enumerate("ab")
    )
    try:
        for machine in machines:
            machine.folder.mkdir(parents=True)
            sh("ip", "netns", "add", machine.name)
        sh("ip", "link", "add", machines[0].link, "type", "veth", "peer", "name", machines[1].link)
        for machine in machines:
            sh("ip", "link", "set", machine.link, "netns", machine.name)
            sh(*machine.inside("ip", "addr", "add", f"{machine.address}/24", "dev", machine.link))
            for link in ("lo", machine.link):
                sh(*machine.inside("ip", "link", "set", link, "up"))
        yield machines[0], machines[1]
    finally:
        for machine in machines:
            subprocess.run(["ip", "netns", "del", machine.name], capture_output=True)


@dataclass
class Training:
    """torchrun on some machines.

    Attributes:
        machines: Where it runs; the first one leads.
        words: The command line of each.
        processes: On each machine.
        silence: Seconds after which a silent network counts as gone; 0 for the library's own.
        pause: Seconds that each step takes longer.
    """

    machines: Sequence[Machine]
    words: Sequence[Sequence[str]]
    processes: int = 1
    silence: float = 0
    pause: float = 0
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    port = 29500

    def start(self) -> Training:
        """Start it."""
        Training.port += 1
        where = ["--master-addr", self.machines[0].address, "--master-port", str(Training.port)]
        for rank, (machine, words) in enumerate(zip(self.machines, self.words)):
            launch = ["--nnodes", str(len(self.machines)), "--node-rank", str(rank), *where]
            launch += ["--nproc-per-node", str(self.processes), "--no-python"]
            command = [sys.executable, "-m", "torch.distributed.run", *launch, sys.executable, "-c", WORKER, *words]
            mine = {"GLOO_SOCKET_IFNAME": machine.link, "MORPHOSPACE_CACHE": str(machine.folder / "cache")}
            mine |= {"OMP_NUM_THREADS": "1", "SILENCE": str(self.silence), "PAUSE": str(self.pause)}
            log = (machine.folder / "log").open("wb")
            self.started.append(
                subprocess.Popen(
                    machine.inside(*command),
                    cwd=machine.folder,
                    env={**os.environ, **mine},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
            )
        return self

    def end(self, seconds: float = LIMIT_SECONDS) -> list[int]:
        """Wait for all; return their exit statuses, or kill them and return -9 where the time is over."""
        until = time.monotonic() + seconds
        for one in self.started:
            try:
                one.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()
        return [one.returncode for one in self.started]

    def until(self, there: Callable[[], bool]) -> None:
        """Wait until something is there, or all have ended."""
        until = time.monotonic() + LIMIT_SECONDS
        while not there() and time.monotonic() < until and all(one.poll() is None for one in self.started):
            time.sleep(0.05)

    def worker(self, which: int) -> int:
        """Return the process that trains on a machine: the child of torchrun, which is the child of `ip`'s."""
        children = Path(f"/proc/{self.started[which].pid}/task/{self.started[which].pid}/children").read_text().split()
        return int(children[0])


def errors(machine: Machine) -> list[str]:
    """Return the lines with which training refused or broke off on a machine."""
    lines = (machine.folder / "log").read_text(errors="replace").splitlines()
    return [line for line in lines if line.startswith("error:")]


def weights(machine: Machine) -> str:
    """Return the hash of the weights that a run ended with."""
    name = (machine.folder / "run" / "checkpoints" / "last").read_text().strip()
    digest = hashlib.sha256()
    for file in ("model", "ema", "optimizer"):
        path = machine.folder / "run" / "checkpoints" / name / f"{file}.safetensors"
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def checkpoints(machine: Machine) -> int:
    """Return how many checkpoints a run has."""
    return len(list((machine.folder / "run" / "checkpoints").glob("0*")))


class Rehearsal:
    """The scenes; each returns what was seen, and raises AssertionError where it is not what must be."""

    def __init__(self, lead: Machine, other: Machine) -> None:
        self.lead, self.other = lead, other
        self.both = (lead, other)
        self.whole = ""  # hash of the weights of the undisturbed run

    def anew(self) -> None:
        """Forget the run."""
        for machine in self.both:
            shutil.rmtree(machine.folder / "run", ignore_errors=True)

    def trained(self) -> str:
        """Both machines train one model; the second has images, and no folder of the run."""
        self.anew()
        assert Training(self.both, [WORDS, WORDS]).start().end() == [0, 0], self.logs()
        assert not (self.other.folder / "run").exists()
        self.whole = weights(self.lead)
        return f"both end well; weights {self.whole}"

    def as_two_processes(self) -> str:
        """The weights are those of two processes on one machine."""
        self.anew()
        assert Training([self.lead], [WORDS], processes=2).start().end() == [0], self.logs()
        assert weights(self.lead) == self.whole
        return "two processes on one machine end with the same bytes"

    def killed(self) -> str:
        """A process is killed: the other machine ends too, in one line, and the run goes on to the same end."""
        self.anew()
        training = Training(self.both, [WORDS, WORDS], pause=0.05).start()
        training.until(lambda: checkpoints(self.lead) > 1)
        os.kill(training.worker(1), signal.SIGKILL)
        began = time.monotonic()
        codes = training.end()
        seconds = time.monotonic() - began
        said = errors(self.lead)
        assert 0 not in codes and -9 not in codes and seconds < 60, (codes, seconds)
        assert len(said) == 1 and "another process" in said[0], self.logs()
        assert Training(self.both, [WORDS, WORDS]).start().end() == [0, 0], self.logs()
        assert weights(self.lead) == self.whole
        return f"both had ended after {seconds:.0f} s, in one line; run again, the weights are the same bytes"

    def fewer(self) -> str:
        """One machine goes on alone."""
        self.anew()
        training = Training(self.both, [WORDS, WORDS], pause=0.05).start()
        training.until(lambda: checkpoints(self.lead) > 0)
        os.kill(training.worker(0), signal.SIGKILL)
        training.end()
        assert Training([self.lead], [WORDS]).start().end() == [0], self.logs()
        log = (self.lead.folder / "log").read_text()
        assert "processes 1, was 2" in log and "byte for byte" in log, log
        assert weights(self.lead) != self.whole
        return "one machine goes on alone, and says that the weights will differ in bytes"

    def cut(self) -> str:
        """The cable is cut."""
        self.anew()
        training = Training(self.both, [WORDS, WORDS], pause=0.05, silence=SILENCE_SECONDS).start()
        training.until(lambda: checkpoints(self.lead) > 0)
        for machine in self.both:  # how often what nobody answers is sent again: 15 times takes a quarter of an hour
            sh(*machine.inside("sysctl", "-q", "-w", "net.ipv4.tcp_retries2=5"))
        sh(*self.other.inside("ip", "link", "set", self.other.link, "down"))
        began = time.monotonic()
        codes = training.end(SILENCE_SECONDS + 120)
        seconds = time.monotonic() - began
        sh(*self.other.inside("ip", "link", "set", self.other.link, "up"))
        said = [errors(machine) for machine in self.both]
        assert 0 not in codes and -9 not in codes, (codes, self.logs())
        assert all(len(each) == 1 and "another process" in each[0] for each in said), said
        assert Training(self.both, [WORDS, WORDS]).start().end() == [0, 0], self.logs()
        assert weights(self.lead) == self.whole
        return (
            f"both had ended after {seconds:.0f} s (silence allowed: {SILENCE_SECONDS}); with the cable, the same bytes"
        )

    def other_images(self) -> str:
        """One machine lacks an image."""
        self.anew()
        photo = next((self.other.folder / "photos").iterdir())
        moved = photo.rename(self.other.folder / photo.name)
        codes = Training(self.both, [WORDS, WORDS]).start().end()
        moved.rename(photo)
        said = errors(self.lead)
        assert 0 not in codes and len(said) == 1 and "different images" in said[0], self.logs()
        assert not (self.lead.folder / "run").exists()
        return said[0]

    def other_settings(self) -> str:
        """One machine was given another command."""
        self.anew()
        codes = Training(self.both, [WORDS, [*WORDS, "--lr=0.002"]]).start().end()
        said = errors(self.lead)
        assert 0 not in codes and len(said) == 1 and "lr" in said[0], self.logs()
        assert not (self.lead.folder / "run").exists()
        return said[0]

    def network(self) -> str:
        """Bytes a step, and images a second behind a slow network."""
        lines = []
        for name, rule in NETWORKS.items():
            if not all(machine.network(rule) for machine in self.both):
                lines.append(f"{name:14}not tried: this kernel has no {rule.split()[0]}")
                continue
            self.anew()
            before = [machine.sent() for machine in self.both]
            assert Training(self.both, [WORDS, WORDS]).start().end() == [0, 0], self.logs()
            sent = sum(machine.sent() - was for machine, was in zip(self.both, before)) / 2
            lines.append(f"{name:14}{self.speed():8,.0f} images/s{sent / STEPS / 1e3:10.1f} kB a step")
        for machine in self.both:
            machine.network("")
        weights_sent = (self.lead.folder / "run" / "checkpoints").glob("0*/model.safetensors")
        lines.append(
            f"a step's gradients are at most {next(weights_sent).stat().st_size / 1e3:.1f} kB, the model's size"
        )
        return "\n".join(lines)

    def speed(self) -> float:
        """Return the images/s of the last report."""
        log = (self.lead.folder / "run" / "metrics.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in log]
        return float([one["images_per_second"] for one in found if "images_per_second" in one][-1])

    def logs(self) -> str:
        """Return what both machines printed."""
        return "\n".join(f"--- {m.name}\n{(m.folder / 'log').read_text(errors='replace')[-3000:]}" for m in self.both)


SCENES = ("trained", "as_two_processes", "killed", "fewer", "cut", "other_images", "other_settings", "network")


def draw_photos(folder: Path) -> None:
    """Write some drawn faces as files."""
    from PIL import Image

    from morphospace.data.prepare import prepare
    from morphospace.data.settings import DataSettings

    images = prepare(DataSettings(data="toyfaces", size=str(SIZE))).split("train").images[:PHOTOS]
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:04d}.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the measurement's own options."""
    parser.add_argument("--scenes", nargs="*", default=list(SCENES), choices=SCENES, help="which; all when left out")


def main(arguments: argparse.Namespace) -> int:
    """Play the scenes; the exit status is how many did not end as they must."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        print("skipped: two machines need Linux, root, and ip and tc (Debian: iproute2)")
        return 0
    failed = 0
    scenes = [name for name in SCENES if name in arguments.scenes or name == "trained"]  # the others compare with it
    with tempfile.TemporaryDirectory() as place, two_machines(Path(place)) as machines:
        for machine in machines:
            draw_photos(machine.folder / "photos")
        rehearsal = Rehearsal(*machines)
        for name in scenes:
            began = time.monotonic()
            try:
                seen = getattr(rehearsal, name)()
            except AssertionError as error:
                failed, seen = failed + 1, f"FAILED: {error}"
            print(f"{name} ({time.monotonic() - began:.0f} s)\n    " + seen.replace("\n", "\n    "), flush=True)
    return failed
