"""One direction of imports, small files, and a light import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import morphospace

ROOT = Path(morphospace.__file__).parent
LOWER = ["files", "data", "models", "objectives", "zoo", "training", "latent", "evaluation"]
ORDER = [*LOWER, "pictures", "runs", "tools", "studio", "cli"]
LEAVES = {"errors", "randomness", "ranges", "roles", "plugins"}  # imported by all, import each other only
FILES = sorted(ROOT.rglob("*.py"))


def runtime_imports(tree: ast.AST) -> set[str]:
    """Return the project's modules that a file imports when it runs (not those for the type checker only)."""
    skipped = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test)
        for node in ast.walk(outer)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "morphospace"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_imports_only_what_stands_to_its_left(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if package == "__init__":
        return
    allowed = LEAVES if package in LEAVES else LEAVES | set(ORDER[: ORDER.index(package) + 1])
    for name in runtime_imports(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if len(parts) > 1 and parts[1] != "__version__":
            assert parts[1] in allowed, f"{path.name} imports {name}"


def test_training_never_imports_the_zoo() -> None:
    for path in (ROOT / "training").glob("*.py"):
        names = runtime_imports(ast.parse(path.read_text(encoding="utf-8")))
        assert not [name for name in names if name.startswith("morphospace.zoo")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = (node.end_lineno or 0) - node.lineno + 1 - docstring.count("\n")
            assert length <= 60, f"{node.name} has {length} lines"


def test_importing_it_loads_no_heavy_library() -> None:
    code = (
        "import sys, morphospace; print(sorted({'torch', 'numpy', 'PIL', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in morphospace.__all__:
        assert getattr(morphospace, name) is not None
    assert set(morphospace.__all__) <= set(dir(morphospace))
    assert morphospace.IWAESettings.name == "iwae"  # every model's settings, though only a few are listed
    with pytest.raises(AttributeError, match="nonsense"):
        morphospace.nonsense  # noqa: B018
