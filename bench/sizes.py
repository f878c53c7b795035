"""Name long files and functions: places to look at, not rules."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "morphospace"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=int, default=400, help="a file with more lines is long")
    parser.add_argument(
        "--function", type=int, default=60, help="a function with more lines, docstring left out, is long"
    )


def main(arguments: argparse.Namespace) -> int:
    total = 0
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        total += text.count("\n")
        name = path.relative_to(SOURCE.parents[1])
        if text.count("\n") > arguments.lines:
            print(f"{name}: {text.count(chr(10))} lines; do two things meet in it?")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                length = (node.end_lineno or 0) - node.lineno + 1 - docstring.count("\n")
                if length > arguments.function:
                    print(f"{name}:{node.lineno}: {node.name} has {length} lines")
    print(f"{total:,} lines of Python in src/morphospace")
    return 0
