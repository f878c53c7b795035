"""One direction of imports, small files, and a light import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import morphospace
from morphospace import errors

ROOT = Path(morphospace.__file__).parent
LOWER = ["files", "data", "models", "objectives", "zoo", "training", "latent", "evaluation"]
ORDER = [*LOWER, "pictures", "runs", "tools", "studio", "learn", "cli"]
LEAVES = {"errors", "randomness", "ranges", "roles", "records", "plugins"}  # imported by all, import each other only
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


def module_of(path: Path) -> str:
    """Return the name of the module that a file is."""
    parts = ("morphospace", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_files_import_each_other() -> None:
    """Neither two files nor a longer circle, counting imports inside functions too.

    A door and the files of its room are one place: the door's function imports the work when it is called, and the work
    makes the result that the door declares.
    """
    modules = {module_of(path): path for path in FILES}
    doors = {module for module, path in modules.items() if path.name == "__init__.py"}
    wanted = {
        module: {
            name
            for name in runtime_imports(ast.parse(path.read_text(encoding="utf-8")))
            if name in modules
            and name != module
            and name != "morphospace"
            and not (name in doors and module.startswith(f"{name}."))
            and not (module in doors and name.startswith(f"{module}."))
        }
        for module, path in modules.items()
    }
    circles: list[list[str]] = []
    seen: set[str] = set()

    def follow(module: str, trail: list[str]) -> None:
        if module in trail:
            circles.append([*trail[trail.index(module) :], module])
            return
        if module not in seen:
            for name in sorted(wanted[module]):
                follow(name, [*trail, module])
            seen.add(module)

    for module in wanted:
        follow(module, [])
    assert not circles, "\n".join(" -> ".join(circle) for circle in circles)


READS = {"split", "startswith", "endswith", "partition", "rpartition", "find", "index", "removeprefix", "count"}


def test_nothing_decides_by_the_words_of_an_error() -> None:
    """Errors have fields (`name`, `value`, `rule`, `way_out`); their text is for people."""
    found = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        caught = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name]
        for handler in caught:
            error = handler.name
            fields = (f"{error}.{field}" for field in ("rule", "way_out", "reason", "args"))
            text = {f"str({error})", f"repr({error})", f"f'{{{error}}}'", *fields}
            for node in ast.walk(handler):  # kept in a variable, it is the same text
                if isinstance(node, ast.Assign) and ast.unparse(node.value).split("[")[0] in text:
                    text |= {ast.unparse(target) for target in node.targets}
            for node in ast.walk(handler):
                sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
                compared = any(ast.unparse(side).split("[")[0] in text for side in sides)
                method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READS
                if compared or (method and ast.unparse(node.func.value) in text and node.args):  # type: ignore[union-attr]
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    # torch raises a plain RuntimeError when memory is out: only its words tell.
    assert [line for line in found if not line.startswith("cli/app.py")] == []


def test_importing_it_loads_no_heavy_library() -> None:
    code = (
        "import sys, morphospace; print(sorted({'torch', 'numpy', 'PIL', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_installed_package_has_every_file() -> None:
    project = ROOT.parents[1] / "pyproject.toml"
    patterns = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]["morphospace"]
    brought = {file for pattern in patterns for file in ROOT.glob(pattern)} | set(FILES)
    there = {file for file in ROOT.rglob("*") if file.is_file() and not {"__pycache__", ".mypy_cache"} & {*file.parts}}
    assert there - brought == set()


def test_every_public_name_is_there() -> None:
    for name in morphospace.__all__:
        assert getattr(morphospace, name) is not None
    assert set(morphospace.__all__) <= set(dir(morphospace))
    assert morphospace.IWAESettings.name == "iwae"  # every model's settings, though only a few are listed
    with pytest.raises(AttributeError, match="nonsense"):
        morphospace.nonsense  # noqa: B018


ERRORS = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
ALLOWS = re.compile(r"\b(must|needs?|give|write|name|take|use|leave|choose|at least|at most)\b")


def says_what_is_allowed(rule: ast.expr, function: ast.AST, tree: ast.Module) -> bool:
    """Return whether the text of a rule, or of the variables in it, says what would be right."""
    names = {node.id for node in ast.walk(rule) if isinstance(node, ast.Name)}
    given = {each.arg for each in function.args.args} if isinstance(function, ast.FunctionDef) else set()
    if isinstance(rule, ast.Name) and rule.id in given:
        return True  # whoever calls this says it
    assigned = [
        node.value
        for node in (*ast.walk(function), *tree.body)
        if isinstance(node, ast.Assign)
        if any(isinstance(n, ast.Name) and n.id in names for target in node.targets for n in ast.walk(target))
    ]
    parts = [part for each in (rule, *assigned) for part in ast.walk(each)]
    # `nearest` names what there is, a range's `rule` begins with "must be", and a metric's reason ends with a way out.
    named = {getattr(part, "id", getattr(part, "attr", "")) for part in parts}
    text = " ".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
    return bool(ALLOWS.search(text) or named & {"nearest", "reason"} or getattr(rule, "attr", "") == "rule")


def without_way_out(path: Path) -> list[str]:
    """Return the places where a file makes an error that says neither what is allowed nor what to do."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name != "require" and name not in ERRORS:
            continue
        words = {keyword.arg: keyword.value for keyword in call.keywords}
        order = ("holds", "name", "value", "rule", "way_out")[name != "require" :]
        words |= dict(zip(order, call.args))
        rule, way_out = words.get("rule"), words.get("way_out")
        if None in words or any(isinstance(argument, ast.Starred) for argument in call.args):
            continue  # hands on the fields of another error
        if way_out is not None and not (isinstance(way_out, ast.Constant) and not way_out.value):
            continue
        if set(words) == {"rule"} and name == "DataError":
            continue  # why one file is left out: whoever catches it names the file, counts it and says what to do
        around = [node for node in functions if node.lineno <= call.lineno <= (node.end_lineno or 0)]
        inner = max(around, key=lambda node: node.lineno, default=tree)
        if rule is None or not says_what_is_allowed(rule, inner, tree):
            found.append(f"{path.relative_to(ROOT)}:{call.lineno} {ast.unparse(call)[:90]}")
    return found


def test_every_refusal_has_a_way_out() -> None:
    """What is wrong is half of an error; the other half is what is allowed, or what to do next."""
    assert not [place for path in FILES for place in without_way_out(path)]
