"""What `make dist` refuses: a wheel that lacks a file or says something else than the checkout; a missing package."""

from __future__ import annotations

import zipfile
from email.parser import Parser
from importlib.metadata import PackagePath
from pathlib import Path
from typing import Any

import pytest
from bench import release

import morphospace

README = (release.ROOT / "README.md").read_text(encoding="utf-8")
METADATA = f"""Metadata-Version: 2.4
Name: morphospace
Version: {morphospace.__version__}
Summary: Models of images.
License-Expression: Apache-2.0
Requires-Python: >=3.11
Description-Content-Type: text/markdown

{README}"""


def made(folder: Path, *, without: str = "", metadata: str = METADATA) -> list[str]:
    """Put a wheel together as setuptools does, as far as is looked at; what is wrong with it."""
    name = f"morphospace-{morphospace.__version__}"
    about, file = f"{name}.dist-info", folder / f"{name}-py3-none-any.whl"
    (folder / f"{name}.tar.gz").touch()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{about}/METADATA", metadata)
        for one in release.LICENCES:
            wheel.write(release.ROOT / one, f"{about}/licenses/{one}")
        for one in release.lacking([]):
            if one != without:
                wheel.write(release.SOURCE.parent / one, one)
    return release.checked(folder)[1]


def test_a_whole_wheel_is_fine_and_small(tmp_path: Path) -> None:
    assert made(tmp_path) == []


@pytest.mark.parametrize("name", ["studio/faces.safetensors", "learn/docs/glossary.md", "tools/compare/page.html"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    assert made(tmp_path, without=f"morphospace/{name}") == [f"the wheel lacks morphospace/{name}"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (f"Version: {morphospace.__version__}", "Version: 9.9", "its version is not __version__"),
        ("text/markdown", "text/plain", "not named as Markdown"),
        (README, "# Another text\n", "not the README"),
    ],
)
def test_other_metadata_are_named(tmp_path: Path, before: str, after: str, words: str) -> None:
    assert any(words in line for line in made(tmp_path, metadata=METADATA.replace(before, after, 1)))


def test_the_changelog_must_have_the_version() -> None:
    wrong = release.wrong_metadata(Parser().parsestr(METADATA.replace(morphospace.__version__, "9.9", 1)), "9.9")
    assert wrong == ["CHANGELOG.md has no section 9.9"]


class Package:
    """A package that is installed, as far as is looked at."""

    def __init__(self, folder: Path, version: str, files: list[str], requires: list[str]) -> None:
        self.folder, self.version, self.requires = folder, version, requires
        self.files = [PackagePath(file) for file in files]
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()

    def locate_file(self, path: str) -> Path:
        return self.folder / path


def test_the_environment_has_what_is_required_and_nothing_else(tmp_path: Path) -> None:
    def package(version: str, files: list[str], *requires: str) -> Any:
        return Package(tmp_path / "site", version, files, list(requires))

    known = {
        "plain": package("2.0", ["plain/__init__.py", "plain/data.txt"], "shared-a; python_version > '3'"),
        "shared-a": package("1.0", ["shared/a/__init__.py"]),
        "shared-b": package("1.0", ["shared/b/__init__.py"]),
        "extra": package("1.0", ["extra.py"]),
    }
    asked = ["plain>=1", "extra>=1; extra == 'more'"]
    names = release.required(asked, known)
    assert names == {"plain", "shared-a"}
    release.link(names, known, tmp_path / "env")
    assert sorted(path.name for path in (tmp_path / "env").rglob("*")) == ["a", "plain", "shared"]
    assert (tmp_path / "env" / "plain" / "data.txt").is_file() and (tmp_path / "env" / "shared" / "a").is_symlink()
    for line in ("plain>=3", "absent"):
        with pytest.raises(SystemExit, match="that is not here"):
            release.required([line], known)
