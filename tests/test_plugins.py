"""Models, sources, metrics and tools from outside the tree: installed, or passed by --plugin."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import morphospace as ms
from morphospace.errors import SettingError
from morphospace.plugins import NotHere, Registry, plug

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ["--latent-dim", "2", "--widths", "4", "--images", "256", "--device", "cpu"]
# Runs command lines one after another in one process, and says what each left behind it.
SESSION = """
import contextlib, io, json, sys
from morphospace.cli import main

said = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    said.append({"code": code, "out": out.getvalue(), "err": err.getvalue(), "torch": "torch" in sys.modules})
print(json.dumps(said))
"""


def session(folder: Path, *commands: Sequence[str], site: Path | None = None) -> list[dict[str, Any]]:
    """Run command lines in `folder`, with the packages of `site` installed."""
    paths = [str(Path(ms.__file__).parents[1]), *([str(site)] if site else [])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MORPHOSPACE_CACHE": str(folder / "cache")}
    words = json.dumps([list(map(str, command)) for command in commands])
    done = subprocess.run(
        [sys.executable, "-P", "-c", SESSION, words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    said: list[dict[str, Any]] = json.loads(done.stdout)
    return said


def install(site: Path, name: str, entry_points: dict[str, dict[str, str]]) -> None:
    """Write what an installed package leaves beside its code."""
    about = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [f"[{group}]\n" + "\n".join(map(" = ".join, some.items())) for group, some in entry_points.items()]
    (about / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed; and one that cannot be imported and names a built-in besides."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLES / "my_plugin" / "my_plugin", folder / "my_plugin")
    project = tomllib.loads((EXAMPLES / "my_plugin" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    install(folder, project["name"], project["entry-points"])
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    groups = {f"morphospace.{kind}": {"broken": "broken"} for kind in ("models", "sources", "metrics", "tools")}
    groups["morphospace.models"] |= {"vae": "broken", "absent": "json"}
    groups["morphospace.tools"] |= {"train": "broken"}
    install(folder, "broken-plugin", groups)
    return folder


def test_an_installed_package_brings_a_model_a_source_a_metric_and_a_tool(site: Path, tmp_path: Path) -> None:
    said = session(
        tmp_path,
        ["--help"],
        ["train", "sparse-vae", "--help"],
        ["train", "vae", "--data", "rings", *SMALL, "--out", "other"],
        ["train", "sparse-vae", "--data", "rings", *SMALL, "--sparsity", "2", "--out", "run", "--best", "brightness"],
        ["evaluate", "run", "--metrics", "brightness", "--n", "20", "--json"],
        ["by-brightness", "run", "--n", "4", "--out", "dark.png", "--json"],
        ["compare", "run", "other", "--metrics", "brightness", "--out", "page.html"],
        ["sweep", "sparse-vae", "--data", "rings", "--grid", "sparsity=1,2", "--out", "sweep", "--dry-run"],
        site=site,
    )
    assert [one["code"] for one in said] == [0] * len(said), said
    listed, flags, _, _, scored, drawn, _, swept = said
    assert "by-brightness" in listed["out"] and "A tool of the package my-plugin." in listed["out"]
    assert listed["err"].splitlines() == [
        "warning: tool = 'train': the one of the package broken-plugin is left out, because a built-in has that name"
    ]
    assert "--sparsity FLOAT" in flags["out"] and not flags["torch"]
    (result,) = json.loads(scored["out"])["results"]
    assert (result["metric"], result["better"]) == ("brightness", "lower") and result["value"] > 0
    assert json.loads(drawn["out"])["n"] == 4 and (tmp_path / "dark.png").is_file()
    assert "brightness" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(swept["out"].splitlines()) == 2
    assert "sparse-vae" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_lists_show_what_packages_bring_and_say_in_one_line_what_is_left_out(site: Path, tmp_path: Path) -> None:
    dry, models, sources, again, asked, flags = session(
        tmp_path,
        ["train", "vae", "--data", "digits", "--dry-run"],
        ["models", "--json"],
        ["data", "list", "--json"],
        ["models"],
        ["train", "broken", "--data", "digits", "--dry-run"],
        ["train", "--help"],
        site=site,
    )
    assert dry["err"] == ""  # a package that cannot be imported concerns nobody who asks for none of its names
    names = [model["name"] for model in json.loads(models["out"])["models"]]
    assert names[:2] == ["ae", "vae"] and names[-1] == "sparse-vae"
    reason = "(ModuleNotFoundError: No module named 'no_such_module_anywhere')"
    assert sorted(models["err"].splitlines()) == [
        "warning: model = 'absent': json of the package broken-plugin registers none of that name; update or uninstall "
        "the package",
        f"warning: model = 'broken': the package broken-plugin cannot be imported {reason}; update or uninstall the "
        "package",
        "warning: model = 'vae': the one of the package broken-plugin is left out, because a built-in has that name",
    ]
    assert "rings" in [source["name"] for source in json.loads(sources["out"])["sources"]]
    assert len(sources["err"].splitlines()) == 1
    assert again["err"] == ""  # once a process
    assert asked["code"] == 2 and reason in asked["err"] and len(asked["err"].splitlines()) == 1
    assert flags["code"] == 0 and "sparse-vae: VAE whose mean codes" in flags["out"]


MINE = '''
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphospace.data.sources import Contents, Part, Source, SourceInfo, source
from morphospace.evaluation.results import Result
from morphospace.tools.evaluate.metric import metric
from morphospace.tools.tool import Answer, tool
from morphospace.zoo.registry import member
from morphospace.zoo.settings import VAESettings


@member("my-vae", "morphospace.zoo.vae:VAE")
@dataclass(frozen=True, kw_only=True)
class MySettings(VAESettings):
    """My VAE.

    Attributes:
        powers: Whole numbers.
        loud: Yes or no.
    """

    powers: tuple[int, ...] = ()
    loud: bool = False


@member("ae", "morphospace.zoo.vae:VAE")
@dataclass(frozen=True, kw_only=True)
class Impostor(VAESettings):
    """Not the autoencoder."""


@source
class Noise(Source):
    info = SourceInfo("noise", "Noise", "CC0", (8, 8, 1), "drawn here", "none")

    def here(self):
        return True

    def inputs(self):
        return {"version": 1}

    def read(self):
        images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1)).astype(np.uint8)
        return Contents("noise", {"train": Part(images=images)}, (8, 8, 1))


@metric("white", "share of white pixels", better={"white": ""})
def white(evidence):
    return [Result("white", float((evidence.fake_images > 254).mean()), conditions=evidence.conditions())]


class Seen:
    def show(self, asked):
        return Answer(asked.facts, [f"seen {asked.run.images}"])


@tool()
def images_seen(run: Run | str):
    """Say how many images a run has seen."""
    return Seen()
'''


def test_a_module_that_is_passed_brings_them_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "my-recipe.toml").write_text('[model]\nname = "my-vae"\n[data]\ndata = "noise"\n', encoding="utf-8")
    given = ["--recipe", "my-recipe.toml", "--powers", "1,2", "--loud", *SMALL]
    before, models, trained, scored, seen, swept, unknown, nothing, twice = session(
        tmp_path,
        ["train", "my-vae", "--data", "noise", "--dry-run"],
        ["--plugin", "mine", "models", "--json"],
        ["train", *given, "--out", "run", "--plugin=mine"],
        ["evaluate", "run", "--plugin", "mine", "--metrics", "white", "--json"],
        ["images-seen", "run", "--plugin", "mine"],
        ["sweep", "my-vae", "--data", "noise", "--grid", "loud=yes,no", "--out", "s", "--dry-run", "--plugin", "mine"],
        ["models", "--plugin", "no_such_module"],
        ["models", "--plugin"],
        ["--plugin", "mine", "models", "--plugin", "json"],
    )
    assert before["code"] == 2 and before["err"].startswith("error: model = 'my-vae': no such model here")
    assert "install the package or pass --plugin MODULE" in before["err"]
    listed = {model["name"]: model["about"] for model in json.loads(models["out"])["models"]}
    assert listed["my-vae"] == "My VAE." and listed["ae"].startswith("Autoencoder")
    assert models["err"] == "warning: model = 'ae': the one of mine is left out, because a built-in has that name\n"
    assert [one["code"] for one in (trained, scored, seen, swept, twice)] == [0] * 5, (trained, scored, seen, swept)
    settings = tomllib.loads((tmp_path / "run" / "run.toml").read_text(encoding="utf-8"))["model"]
    assert settings["name"] == "my-vae" and settings["powers"] == [1, 2] and settings["loud"]
    assert [result["name"] for result in json.loads(scored["out"])["results"]] == ["white"]
    assert seen["out"].startswith("seen ") and len(swept["out"].splitlines()) == 2
    assert unknown["code"] == 2 and "No module named 'no_such_module'" in unknown["err"]
    assert len(unknown["err"].splitlines()) == 1
    assert nothing["code"] == 2 and nothing["err"].startswith("error: --plugin: needs a value")


def test_files_import_nothing_by_the_names_in_them(site: Path, tmp_path: Path) -> None:
    (trained,) = session(tmp_path, ["train", "vae", "--data", "rings", *SMALL, "--out", "run"], site=site)
    assert trained["code"] == 0
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('imported').touch()\n", encoding="utf-8")
    text = (tmp_path / "run" / "run.toml").read_text(encoding="utf-8")
    install(tmp_path, "evil", {"morphospace.models": {"evil": "evil"}, "morphospace.sources": {"evil": "evil"}})
    commands = []
    for i, name in enumerate(("evil", "evil:Model", "evil.Model")):
        shutil.copytree(tmp_path / "run", tmp_path / f"evil{i}")
        content = text.replace('name = "vae"', f'name = "{name}"').replace('data = "rings"', f'data = "{name}"')
        (tmp_path / f"evil{i}" / "run.toml").write_text(content, encoding="utf-8")
        commands += [["sample", f"evil{i}", "--out", "x.png"], ["resume", f"evil{i}"]]
        commands.append(["train", "--recipe", f"evil{i}/run.toml", "--out", "again"])
        commands.append(["data", "show", name, "--out", "y.png"])
    # A run owns its images: its source need not be here.
    commands += [["evaluate", "run", "--metrics", "mse", "--plugin", "json"], ["runs", "."]]
    *said, evaluated, listed = session(tmp_path, *commands)
    assert evaluated["code"] == 0, evaluated
    assert not (tmp_path / "imported").exists()
    for command, one in zip(commands, said):
        assert one["code"] == 2 and len(one["err"].splitlines()) == 1, (command, one)
        kind = "source" if command[0] == "data" else "such model here"
        assert kind in one["err"] and "pass --plugin MODULE" in one["err"], (command, one)
    assert listed["code"] == 0 and listed["out"].count("broken") == 3


def test_a_name_is_taken_once(caplog: pytest.LogCaptureFixture) -> None:
    registry: Registry[int] = Registry("model")
    registry.register("mine", 1, "a")
    registry.register("mine", 2, "a")  # a notebook's cell that is run again
    assert registry["mine"] == 2 and "mine" in registry and not caplog.messages
    registry.register("mine", 3, "b")
    assert registry["mine"] == 2 and "the one of b is left out, because a has that name" in caplog.messages[-1]
    registry.register("mine", 4, "morphospace.zoo.settings")  # built-ins may come later than what is passed
    assert registry["mine"] == 4 and "the one of a is left out" in caplog.messages[-1]
    registry.reserve(["verb"])
    registry.register("verb", 5, "a")
    assert "verb" not in registry and registry.get("verb") is None and list(registry) == ["mine"]
    with pytest.raises(NotHere, match="no such model here"):
        ms.train("unheard-of")


def test_own_networks_train_and_results_show_themselves(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("own_networks", EXAMPLES / "own_networks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = module.main(tmp_path, epochs=0.2)
    assert repr(run) == f"vae of digits, 8x8x1, {run.images:,} images seen: {tmp_path / 'run'}"
    assert (tmp_path / "own-networks.png").is_file()
    assert ms.reconstruct(run, 3)._repr_png_().startswith(b"\x89PNG")


def test_a_setting_named_like_one_of_the_data_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "clashing.py").write_text(
        "from dataclasses import dataclass\n"
        "from morphospace.zoo.registry import ModelSettings, member\n\n\n"
        "@member('clash', 'clashing:Clash', 'Nobody 2027')\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class ClashSettings(ModelSettings):\n"
        '    """A model that wants a size of its own.\n\n    Attributes:\n        size: Taken.\n    """\n\n'
        "    size: int = 1\n"
    )
    said = subprocess.run(
        [sys.executable, "-m", "morphospace.cli", "train", "clash", "--plugin", "clashing", "--help"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert said.returncode == 2 and "'size' is a data or training setting" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_reason_of_thousands_of_letters_is_cut() -> None:
    with pytest.raises(SettingError) as refused:
        plug("9" * 5000)
    assert len(str(refused.value)) < 1000
