"""Malformed inputs to every reader: tracebacks, hangs, half-written files, memory, and what is opened outside.

Each case is made from (seed, kind, number) in a folder of its own, and one command line reads it, in a child forked
from a process that has imported everything. A case must end within 30 s with status 0, or with status 2 and one line
that says what is wrong, and then leave nothing behind. An audit hook records every file opened for writing outside the
case, every process started and every connection; a file outside must keep its bytes, and none may hold its secret.

`--only KIND:NUMBER` repeats one case and prints what it said.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

__all__ = ["add_arguments", "main", "run_cases"]

SECONDS, MEGABYTES = 30, 600
SAYS_WELL = 0, 2


@dataclass
class Ended:
    """How a case ended.

    Attributes:
        kind: What was malformed.
        number: Which case of the kind.
        words: The command line.
        code: Exit status; negative for a signal.
        faults: What went wrong.
        said: Standard output and error.
        megabytes: Most memory resident.
        seconds: How long it took.
    """

    kind: str
    number: int
    words: list[str]
    code: int = 0
    faults: list[str] = field(default_factory=list)
    said: str = ""
    megabytes: float = 0.0
    seconds: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command line of the measurement."""
    parser.add_argument("--n", type=int, default=4000, help="cases in all")
    parser.add_argument("--seed", type=int, default=0, help="which cases")
    parser.add_argument("--only", default="", metavar="KIND[:NUMBER]", help="one kind, or one case and what it says")


def main(arguments: argparse.Namespace) -> int:
    """Run the cases and print a table; the status is 1 if there was a fault."""
    ended = run_cases(arguments.n, arguments.seed, arguments.only, say=lambda line: print(line, flush=True))
    print(table_of(ended))
    if ":" in arguments.only:
        print(ended[0].said)
    return int(any(case.faults for case in ended))


def run_cases(n: int, seed: int, only: str = "", say: object = None) -> list[Ended]:
    """Run `n` cases and return how each ended.

    Args:
        n: How many in all, shared out among the kinds.
        seed: Which cases.
        only: A kind, or `KIND:NUMBER`.
        say: Called with a line for each fault.
    """
    ended: list[Ended] = []
    with tempfile.TemporaryDirectory(prefix="abuse-") as folder:
        root = Path(folder)
        os.environ |= {
            "HOME": str(root / "home"),
            "HF_HOME": str(root / "hf"),
            "MORPHOSPACE_CACHE": str(root / "cache"),
        }
        (root / "home").mkdir()
        template = root / "template"
        in_child(lambda: prepare(template))
        warm()
        from bench.abuse_cases import KINDS

        kind, _, number = only.partition(":")
        for name, (_, share) in KINDS.items():
            if kind in ("", name):
                count = range(max(1, round(n * share))) if not number else [int(number)]
                for i in count:
                    case = one_case(name, i, seed, root, template)
                    ended.append(case)
                    if case.faults and callable(say):
                        say(f"{name}:{i} {' '.join(case.words)[:120]!r}: {'; '.join(case.faults)}")
    return ended


def in_child(work: object) -> None:
    """Do some work in a child, so that its threads and imports stay out of this process."""
    child = os.fork()
    if child == 0:
        try:
            work()  # type: ignore[operator]
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the runs that the cases spoil could not be made")


def prepare(template: Path) -> None:
    """Make the runs, the pack and the results that cases copy and spoil."""
    import morphospace as ms
    from morphospace.cli.app import main as morpho

    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the child ends
    template.mkdir()
    shape = {"latent_dim": 4, "batch_size": 32, "images": 64, "size": "8", "device": "cpu"}
    best = {"metrics": ("fd",), "metrics_features": "pixels", "metrics_n": 32, "best": "fd"}
    ms.train("vae", "digits", template / "vae", tower="mlp", widths=(8,), **shape, **best)
    ms.train("lsgan", "digits", template / "gan", tower="mlp", widths=(8,), ema_halflife_images=100, **shape)
    for run in ("vae", "gan"):
        ms.evaluate(template / run, metrics=["fd"], n=32, features="pixels")
        ms.sample(template / run, 2)
        for name in ("best.json", "evaluation.json"):
            if not (template / run / name).exists():
                shutil.copy(template / "vae" / name, template / run / name)
        if not (template / run / "checkpoints" / "best").exists():
            shutil.copy(template / run / "checkpoints" / "last", template / run / "checkpoints" / "best")
    run, out = str(template / "vae"), str(template / "x.png")
    name = str(template / "{}.safetensors")
    assert morpho(["export", run, "--format", "safetensors", "--out", name.format("exported")]) == 0
    assert morpho(["pca", run, "--images", "32", "--grid", "2", "--save", name.format("components"), "--out", out]) == 0
    assert morpho(["attribute", run, "--name", "3", "--save", name.format("direction"), "--out", out]) == 0
    assert morpho(["data", "pack", "digits", "--size", "8", "--out", str(template / "pack")]) == 0


def warm() -> None:
    """Import everything that a verb may need, so that a case takes no longer than its work."""
    import pkgutil

    import morphospace

    for package in ("cli", "data", "tools", "runs", "zoo", "evaluation", "latent", "pictures"):
        found = import_module(f"morphospace.{package}")
        for module in pkgutil.walk_packages(found.__path__, f"{found.__name__}."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    for name in (
        "torch",
        "datasets",
        "pyarrow.parquet",
        "matplotlib.pyplot",
        "sklearn.datasets",
        "tensorboard",
        "onnx",
    ):
        try:
            import_module(name)
        except ImportError:
            continue
    assert morphospace


def one_case(kind: str, number: int, seed: int, root: Path, template: Path) -> Ended:
    """Make a case, let a child read it, and judge how it ended."""
    from bench.abuse_cases import KINDS

    rng = random.Random(f"{seed} {kind} {number}")
    folder, outside = root / "case", root / "outside"
    for place in (folder, outside):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    (folder / "out").mkdir()
    (outside / "canary").write_text("CANARY")
    shutil.copytree(root / "cache", folder / "cache")
    cwd = Path.cwd()
    os.chdir(folder)
    try:
        words = KINDS[kind][0](rng, folder, template)
    finally:
        os.chdir(cwd)
    before = listing(folder)
    case = Ended(kind, number, words)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _read(words, folder, root)
    status, used = waited(child)
    case.seconds, case.megabytes = time.monotonic() - began, used.ru_maxrss / 1024
    case.code = os.waitstatus_to_exitcode(status)
    judge(case, folder, outside, before)
    return case


def waited(child: int) -> tuple[int, resource.struct_rusage]:
    """Wait for a child; one that sleeps or computes for too long is killed. Waiting for a core is not counted."""
    began = last_seen = time.monotonic()
    busy = 0.0
    while True:
        found, status, used = os.wait4(child, os.WNOHANG)
        if found:
            return status, used
        time.sleep(0.003)
        now = time.monotonic()
        if now - began > SECONDS:
            words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            before, busy = busy, (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
            last_seen = now if words[0] == "R" or busy > before else last_seen
            if busy > SECONDS or now - last_seen > SECONDS or now - began > 10 * SECONDS:
                os.killpg(child, signal.SIGKILL)
                _, status, used = os.wait4(child, 0)
                return status, used


def _read(words: list[str], folder: Path, root: Path) -> None:
    """Be the child: read the case, watched by an audit hook."""
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ |= {"MORPHOSPACE_CACHE": str(folder / "cache"), "HOME": str(folder / "cache")}
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    log = os.open(folder / "audit", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.cpu_count = lambda: 1  # no pools: a case is small
    sys.addaudithook(lambda event, about: _audit(event, about, log, str(folder)))
    code = 70
    try:
        code = _called(words[1:]) if words[0] == "python" else import_module("morphospace.cli.app").main(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 71
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _called(words: list[str]) -> int:
    """Call a function of the library with a file, as the command line would."""
    from morphospace.errors import MorphospaceError

    module, _, name = words[0].partition(":")
    try:
        getattr(import_module(module), name)(*words[1:])
    except MorphospaceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _audit(event: str, about: tuple[object, ...], log: int, folder: str) -> None:
    """Record what a reader of files has no business to do."""
    if event == "open":
        path, flags = about[0], about[2]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if not writes or not isinstance(path, str | bytes):
            return
        place = os.path.realpath(os.fsdecode(path))
        if place.startswith((f"{folder}/", "/dev/null")) or place == folder:
            return
        if place.startswith(tempfile.gettempdir()) and "/abuse-" not in place:
            return  # a file without a name, to try whether a folder can be written to
        about = (place,)
    elif event not in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.exec", "os.posix_spawn") and (
        event not in ("os.system", "os.fork", "os.forkpty", "pickle.find_class", "webbrowser.open", "ftplib.connect")
    ):
        return
    os.write(log, f"{event} {about!r}\n".encode(errors="replace"))


def listing(folder: Path) -> set[str]:
    """Return the files of a case, but for what the bench itself writes."""
    own = {"stdout", "stderr", "audit"}
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if str(file.relative_to(folder)) not in own}


def judge(case: Ended, folder: Path, outside: Path, before: set[str]) -> None:
    """Note what went wrong with a case."""
    out, err = ((folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
    case.said = f"{' '.join(case.words)}\nstatus {case.code}, {case.megabytes:.0f} MB\n{out[-3000:]}\n{err[-6000:]}"
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if "Traceback (most recent call last)" in err:
        case.faults.append(f"traceback: {err.strip().splitlines()[-1][:160]}")
    elif case.code == -signal.SIGKILL:
        case.faults.append(f"hang: over {SECONDS} s")
    elif case.code not in SAYS_WELL:
        case.faults.append(f"status {case.code}")
    elif case.code == 2 and "--json" not in case.words:
        if len(errors) != 1:
            case.faults.append(f"{len(errors)} lines of error")
        elif len(errors[0]) > 1500:
            case.faults.append(f"an error of {len(errors[0])} letters")
    noise = [line for line in err.splitlines() if not line.startswith(("error: ", "warning: "))]
    if noise and "Traceback" not in err:
        case.faults.append(f"noise: {noise[0][:120]}")
    if case.megabytes > MEGABYTES:
        case.faults.append(f"memory: {case.megabytes:.0f} MB")
    asked = (folder / "audit").read_text(errors="replace").splitlines()
    if asked:
        case.faults.append(f"asked: {asked[0][:160]}")
    if [file.name for file in outside.iterdir()] != ["canary"] or (outside / "canary").read_text() != "CANARY":
        case.faults.append("outside: a file changed")
    secret = folder / "secret.txt"
    if secret.is_file() and secret.read_text() != "SECRET" * 20:
        case.faults.append("outside: the linked file changed")
    if "SECRETSECRET" in out + err:
        case.faults.append("secret: a linked file was shown")
    after = listing(folder)
    new = [name for name in after - before if not name.startswith("cache/downloads")]  # another library's
    left = sorted(name for name in new if "partial" in name or (name.endswith(".lock") and name != "run/.lock"))
    left += sorted(name for name in new if case.code and name.startswith("out/"))
    if any(Path(name).name == "pwned" for name in after):
        case.faults.append("executed: a file of the case ran")
    if left:
        case.faults.append(f"left: {left[0]}")


def table_of(ended: list[Ended]) -> str:
    """Return a Markdown table: a line each kind."""
    lines = ["| kind | cases | read | refused | faults | most memory | longest |", "|---|---|---|---|---|---|---|"]
    for kind in [*dict.fromkeys(case.kind for case in ended), "all"]:
        mine = [case for case in ended if kind in (case.kind, "all")]
        counts = Counter(case.code for case in mine)
        faults = sum(bool(case.faults) for case in mine)
        most, longest = max(case.megabytes for case in mine), max(case.seconds for case in mine)
        lines.append(
            f"| {kind} | {len(mine):,} | {counts[0]:,} | {counts[2]:,} | {faults} | {most:.0f} MB | {longest:.1f} s |"
        )
    return "\n".join(lines)
