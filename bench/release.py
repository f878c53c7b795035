"""Check the wheel and the source archive in dist/, and run the wheel where it has only what it asks for.

The wheel is installed into an environment of its own. Of all packages here, this environment sees those that the wheel
requires without extras, and what they require in turn. The main commands then run in an empty folder: a file that is
missing in the wheel fails, and so does a command that needs an extra.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from email.message import Message
from email.parser import Parser
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "morphospace"
MOST_BYTES = 3_000_000
LICENCES = ("LICENSE", "NOTICE")
TINY = "--data digits --size 16 --images 640 --batch-size 32 --widths 8 --latent-dim 4 --device cpu --out run"
# What a person does first, and every command that fills in a template or draws. One process, as torch takes seconds.
COMMANDS = (
    f"train vae {TINY}",
    "sample run --n 8 --out samples.png",
    "reconstruct run --n 4 --out rebuilt.png",
    "interpolate run --from 1 --to 2 --steps 5 --out walk.gif",
    "traverse run --rows 2 --out traversal.png",
    "map run --images 100 --out map.png",
    "evaluate run --metrics mse,psnr,fd --features pixels --n 32",
    "diagnose run --n 32",
    "judge run --trials 4 --practice 0 --out judge.html",
    "card run --out card.md",
    "diagram run --out diagram.svg",
    "export run --format html --out page.html",
    "sweep vae --data digits --images 64 --batch-size 32 --widths 8 --device cpu --grid beta=1,4 --out sweep",
    "reproduce note --dry-run",
    "recipes",
    "data list",
    "learn --out lessons",
    "play --out play.html",
)
LEFT = (
    "samples.png",
    "walk.gif",
    "page.html",
    "run/report.html",
    "lessons/index.html",
    "play.html",
    "sweep/compare.html",
)
SCRIPT = """
import sys
from pathlib import Path

import morphospace
from morphospace.cli import main

assert Path(morphospace.__file__).is_relative_to(sys.prefix), morphospace.__file__
for line in sys.stdin.read().splitlines():
    print("$ morpho", line, flush=True)
    status = main(line.split())
    assert not status, (line, status)
assert main(["export", "run", "--out", "decoder.onnx"]) == 2  # an extra, and it says so
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the wheel and the source archive")


def main(arguments: argparse.Namespace) -> int:
    wheel, wrong = checked(arguments.dist)
    for line in wrong:
        print(f"wrong: {line}")
    if wrong:
        return 1
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="morphospace-release-") as place:
        python = environment(wheel, Path(place) / "env")
        work = Path(place) / "work"
        work.mkdir()
        try_out(python, work)
    print(f"installed without extras and tried out in {time.monotonic() - began:.0f} s")
    return 0


# -- the files -----------------------------------------------------------------------------------------------------


def checked(dist: Path) -> tuple[Path, list[str]]:
    """Return the wheel in a folder, and what is wrong with it and the source archive."""
    wheels, archives = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    if (len(wheels), len(archives)) != (1, 1):
        return dist, [f"{dist} must have one wheel and one source archive: run `make dist`"]
    with zipfile.ZipFile(wheels[0]) as held:
        names = held.namelist()
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(held.read(about).decode())
        version = re.search(r'^__version__ = "(.*)"$', held.read("morphospace/__init__.py").decode(), re.MULTILINE)
    wrong = [f"the wheel lacks {name}" for name in lacking(names)]
    wrong += [f"the wheel has no licence text {name}" for name in LICENCES if not any(
        one.endswith(f".dist-info/licenses/{name}") for one in names)]  # fmt: skip
    size = wheels[0].stat().st_size
    wrong += [f"the wheel has {size:,} bytes, at most {MOST_BYTES:,} are allowed"] if size > MOST_BYTES else []
    wrong += wrong_metadata(metadata, version[1] if version else "")
    wrong += [
        f"{one.name} is of another version" for one in (*wheels, *archives) if f"-{metadata['Version']}" not in one.name
    ]
    return wheels[0], wrong


def lacking(names: Iterable[str]) -> list[str]:
    """Return the files of the package that are not among the names in a wheel."""
    there = (file for file in SOURCE.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    docs = SOURCE / "learn" / "docs"  # a link, whose lessons and glossary the package brings
    wanted = {
        file.relative_to(SOURCE.parent).as_posix() for file in (*there, docs / "glossary.md", *docs.glob("learn/*.md"))
    }
    wanted.discard("morphospace/learn/docs")
    return sorted(wanted - set(names))


def wrong_metadata(metadata: Message, version: str) -> list[str]:
    """Return what an index of packages would refuse or show badly, and which versions differ."""
    from markdown_it import MarkdownIt

    body = str(metadata.get_payload())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    checks = {
        "its version is not __version__": metadata["Version"] == version,
        f"CHANGELOG.md has no section {version}": re.search(rf"^## {re.escape(version)}\b", changes, re.MULTILINE),
        "its description is not the README": body.strip() == readme.strip(),
        "its description is not named as Markdown": metadata["Description-Content-Type"] == "text/markdown",
        "its description does not render": "<h1>" in MarkdownIt("commonmark").enable("table").render(body),
        "it names no licence": metadata["License-Expression"],
        "its summary is not one line of at most 512 letters": re.fullmatch(r".{1,512}", metadata["Summary"] or ""),
        "it does not say which Python it needs": metadata["Requires-Python"],
    }
    return [words for words, holds in checks.items() if not holds]


# -- an environment with what the wheel requires -----------------------------------------------------------------


def environment(wheel: Path, place: Path) -> Path:
    """Make an environment with a wheel and the packages that it requires without extras; return its Python.

    The packages are links to those of the environment that runs this, in the versions that are there.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as held:
        (about,) = (name for name in held.namelist() if name.endswith(".dist-info/METADATA"))
        asked = Parser().parsestr(held.read(about).decode()).get_all("Requires-Dist") or []
    known = {canonical(one.metadata["Name"]): one for one in distributions()}
    link(required(asked, known), known, packages)
    return python


def canonical(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(asked: Iterable[str], known: Mapping[str, Distribution]) -> set[str]:
    """Return the names of all packages that requirements need, and what those need in turn.

    Raises:
        SystemExit: If one is not here, or not in a version that is asked for.
    """
    from packaging.requirements import Requirement

    found: set[tuple[str, str]] = set()
    open_ = [(Requirement(one), "") for one in asked]
    while open_:
        one, extra = open_.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonical(one.name)
        if name not in known or not one.specifier.contains(known[name].version, prereleases=True):
            raise SystemExit(f"the wheel requires {one}, and that is not here: run `make setup`")
        for wanted in {"", *one.extras}:
            if (name, wanted) not in found:
                found.add((name, wanted))
                open_ += [(Requirement(line), wanted) for line in known[name].requires or ()]
    return {name for name, _ in found}


def link(names: set[str], known: Mapping[str, Distribution], packages: Path) -> None:
    """Link packages into a folder: whole folders where no other package has files in them."""
    owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, one in known.items():
        for file in one.files or ():
            for depth in range(1, len(file.parts) + 1):
                owners[file.parts[:depth]].add(name)
    for name in names:
        for file in known[name].files or ():
            if file.parts[0] == ".." or "__pycache__" in file.parts:
                continue
            depth = next(
                d for d in range(1, len(file.parts) + 1) if owners[file.parts[:d]] <= names or d == len(file.parts)
            )
            place = packages.joinpath(*file.parts[:depth])
            if not place.is_symlink():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path(str(known[name].locate_file(""))).joinpath(*file.parts[:depth]))


# -- trying it out -------------------------------------------------------------------------------------------------


def try_out(python: Path, work: Path) -> None:
    """Run the main commands and the explorer in an empty folder."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MORPHOSPACE"))}
    env |= {"HOME": str(work), "XDG_CACHE_HOME": str(work / "cache"), "OMP_NUM_THREADS": "1"}
    morpho = python.with_name("morpho")
    said = subprocess.run([morpho, "--version"], cwd=work, env=env, check=True, capture_output=True, text=True).stdout
    print(f"morpho --version: {said.strip()}")
    captured = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([python, "-c", SCRIPT], cwd=work, env=env, input="\n".join(COMMANDS), check=False, **captured)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-3000:]}\nthe wheel fails without extras, see above")
    print(*(f"morpho {line.split()[0]}: ok" for line in COMMANDS), sep="\n")
    gone = [name for name in LEFT if not (work / name).is_file()]
    assert not gone, f"not written: {gone}"
    serve = [morpho, "studio", "--no-browser", "--port", "0", "--json"]
    with subprocess.Popen(serve, cwd=work, env=env, stdout=subprocess.PIPE, text=True) as studio:
        try:
            assert studio.stdout is not None
            address = json.loads(studio.stdout.readline())["address"]
            with urllib.request.urlopen(address, timeout=60) as page:
                assert b"morphospace studio" in page.read()
            asked = subprocess.run(
                [python, "-c", ASK, address], cwd=work, env=env, check=True, capture_output=True, text=True
            )
            print(f"morpho studio: {asked.stdout.strip()}")
        finally:
            studio.terminate()


ASK = """
import json, sys
from websockets.sync.client import connect

address = sys.argv[1].rstrip("/")
with connect(address.replace("http", "ws") + "/ws", origin=address, open_timeout=60) as socket:
    socket.send(json.dumps({"id": 1, "kind": "describe", "run": "r0"}))
    answer = socket.recv(timeout=120)
    facts = json.loads(answer[4 : 4 + int.from_bytes(answer[:4], "little")])
    print("describes", facts["model"], "of", facts["shape"])
"""
