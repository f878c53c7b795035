"""Nothing that only reads the command line may import torch."""

from __future__ import annotations

import pytest

from morphospace.cli.app import DATA_VERBS, TOOLS, VERBS

from .conftest import python

CODE = """
import sys
from morphospace.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "sklearn", "matplotlib", "tensorboard"} & set(sys.modules)
print("HEAVY", sorted(heavy), "CODE", code)
"""
VERB_HELP = [[verb, "--help"] for verb in (*VERBS, *TOOLS)] + [["data", verb, "--help"] for verb in DATA_VERBS]
ERRORS = [
    ["trian"],
    ["train", "vae", "--lattent-dim", "3"],
    ["train", "vea"],
    ["sample"],
    ["train", "vae", "--lr", "x"],
]
LIGHT = [["models"], ["recipes", "--json"], ["runs", "."], ["train", "vae", "--latent-dim", "0"]]


@pytest.fixture(scope="module")
def ended() -> dict[tuple[str, ...], str]:
    """How each command ends, all in one process: what the last one has not imported, none has."""
    lines = [["--help"], *VERB_HELP, ["train", "vae", "--help"], *ERRORS, *LIGHT]
    code = CODE.replace("main(sys.argv[1:])", f"[main(line) for line in {lines!r}]")
    done = python(code)
    assert "Traceback" not in done.stderr
    return {"last": done.stdout.splitlines()[-1]}  # type: ignore[dict-item]


def test_no_help_and_no_refusal_imports_torch(ended: dict[str, str]) -> None:
    good = 1 + len(VERB_HELP) + 1
    codes = [0] * good + [2] * len(ERRORS) + [0, 0, 0, 2]
    assert ended["last"] == f"HEAVY [] CODE {codes}"


def test_module_is_runnable() -> None:
    done = python(
        "import runpy, sys; sys.argv = ['morpho', '--version'];runpy.run_module('morphospace.cli', run_name='__main__')"
    )
    assert done.returncode == 0
    assert done.stdout.strip() == "0.1.0"
