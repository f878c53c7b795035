from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from morphospace.data import workers as workers_module
from morphospace.data.decode import Chunk
from morphospace.data.pack import open_pack
from morphospace.data.prepare import data_list, fetch, parse_size, prepare
from morphospace.data.rule import Rule
from morphospace.data.settings import DataSettings
from morphospace.data.workers import decode_all
from morphospace.errors import DataError, MorphospaceError, SettingError

from .conftest import encoded, one_line, picture

Tree = Callable[..., Path]


def of(base: Path, **more: object) -> DataSettings:
    return DataSettings(data=f"folder:{base}", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "size"),
    [(None, None), ("64", (64, 64)), (64, (64, 64)), ("64x48", (64, 48)), ((8, 4096), (8, 4096)), (" 8X9 ", (8, 9))],
)
def test_parse_size(text: object, size: object) -> None:
    assert parse_size(text) == size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["7", "64x7", 5000, "", "x", "64x", "1e2", "-64", True, "64x64x3", (64,) * 3, "٦٤", 64.5]
)
def test_parse_size_refuses(text: object) -> None:
    with pytest.raises(SettingError, match="size = ") as caught:
        parse_size(text)  # type: ignore[arg-type]
    one_line(caught.value)


def test_packed_once_reused_and_packed_again_when_files_change(tree: Tree, cache: Path) -> None:
    base, lines = tree("a", "b", "c"), []
    first = prepare(of(base), say=lines.append)
    assert first.path is not None and first.path.parent == cache / "packs" and "packed 3 images" in lines[-1]
    stamp = (first.path / "manifest.json").stat().st_ino
    again = prepare(of(base), say=lines.append)
    assert "reusing" in lines[-1] and (again.path / "manifest.json").stat().st_ino == stamp  # type: ignore[operator]
    (base / "b.png").write_bytes(encoded(picture(9)))
    os.utime(base / "b.png", ns=(1, 1))
    changed = prepare(of(base), say=lines.append)
    assert changed.hash != first.hash and any("changed" in line for line in lines)
    (base / "d.png").write_bytes(encoded(picture(4)))
    assert len(prepare(of(base)).split("train")) == 4
    assert sorted(f.name for f in (cache / "packs").iterdir()) == [first.path.name]


def test_settings_make_packs_of_their_own(tree: Tree) -> None:
    base = tree("a", "b")
    packs = [
        prepare(s)
        for s in (
            of(base),
            of(base, size="10"),
            of(base, size="10", crop="pad"),
            of(base, channels=1),
            of(tree("a", name="o")),
        )
    ]
    assert len({p.path for p in packs}) == 5
    assert [p.shape for p in packs[:4]] == [(20, 16, 3), (10, 10, 3), (10, 10, 3), (20, 16, 1)]


def test_bytes_do_not_depend_on_workers(tree: Tree, tmp_path: Path) -> None:
    base = tree(*(f"{i:04}" for i in range(300)), kind="jpg")
    (base / "0100.jpg").write_bytes(b"")
    (base / "0299.jpg").write_bytes(b"no")
    made = [prepare(of(base, size="12x9"), out=tmp_path / f"w{n}", workers=n) for n in (1, 2, 3)]
    assert len(made[0].split("train")) == 298
    for file in ("manifest.json", "train.images.npy"):
        assert len({(p.path / file).read_bytes() for p in made if p.path}) == 1


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_workers_keep_order_on_every_system(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "sys", SimpleNamespace(platform=platform))
    images = picture_numbers(decode_all([one_grey(i) for i in range(300)], Rule(8, 8, 1), workers=2))
    assert images == [i % 256 for i in range(300)]


def one_grey(value: int) -> bytes:
    return encoded(np.full((8, 8, 1), value % 256, np.uint8))


def picture_numbers(chunks: Iterable[tuple[int, Chunk]]) -> list[int]:
    return np.concatenate([chunk.images for _, chunk in chunks])[:, 0, 0, 0].tolist()


UNGUARDED = """
import multiprocessing, sys, types
multiprocessing.set_start_method("spawn")
import morphospace.data.workers as workers
workers.sys = types.SimpleNamespace(platform="darwin")
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
print("begun")
print(len(prepare(DataSettings(data=sys.argv[1]), workers=2).split("train")))
"""


@pytest.mark.parametrize("by", ["file", "stdin"])
def test_where_processes_are_spawned_a_script_without_a_guard_runs_once(tree: Tree, tmp_path: Path, by: str) -> None:
    base, script = tree(*(f"{i:03}" for i in range(260))), tmp_path / "script.py"
    script.write_text(UNGUARDED)
    name = str(script) if by == "file" else "-"
    stdin = None if by == "file" else UNGUARDED
    command = [sys.executable, name, f"folder:{base}"]
    said = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert said.stdout == "begun\n260\n", said.stderr


def decoded_in_a_daemon(count: int) -> list[int]:
    return picture_numbers(decode_all([one_grey(i) for i in range(count)], Rule(8, 8, 1), workers=2))


def test_a_daemon_decodes_though_it_may_start_no_process() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(decoded_in_a_daemon, (260,)) == [i % 256 for i in range(260)]


def test_warnings_of_others_come_back_after_threads_ignored_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "sys", SimpleNamespace(platform="darwin"))
    before = list(warnings.filters)
    for _ in range(3):
        picture_numbers(decode_all([one_grey(i) for i in range(600)], Rule(8, 8, 1), workers=4))
        assert warnings.filters == before


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_workers_are_checked(tree: Tree, workers: int) -> None:
    with pytest.raises(SettingError, match="workers = "):
        prepare(of(tree("a")), workers=workers)


def test_unreadable_files_are_skipped_with_labels_aligned(tree: Tree) -> None:
    base = tree(*(f"{'ab'[i % 2]}/{i:02}" for i in range(10)))
    whole = prepare(of(base, classes=True)).split("train")
    spoiled = {"a/00.png": b"", "b/05.png": b"text", "a/08.png": (base / "a/08.png").read_bytes()[:90]}
    for name, data in spoiled.items():
        (base / name).write_bytes(data)
    lines: list[str] = []
    pack = prepare(of(base, classes=True), say=lines.append)
    names = [f"a/{i:02}.png" for i in range(0, 10, 2)] + [f"b/{i:02}.png" for i in range(1, 10, 2)]
    kept = [i for i, name in enumerate(names) if name not in spoiled]
    split = pack.split("train")
    assert (split.images == whole.images[kept]).all()
    assert (split.labels == whole.labels[kept]).all()  # type: ignore[index]
    assert pack.manifest["skipped"]["count"] == 3
    assert {s["file"] for s in pack.manifest["skipped"]["first"]} == set(spoiled)
    assert any("skipped 3 unreadable" in line for line in lines)
    # strict is not satisfied by the pack that was made without it
    with pytest.raises(DataError, match=r"a/00\.png.*empty file") as caught:
        prepare(of(base, classes=True, strict=True))
    one_line(caught.value)


def test_labels_stay_aligned_past_the_first_chunk(tree: Tree) -> None:
    base = tree(*(f"{i % 7}/{i:03}" for i in range(200)))
    whole = prepare(of(base, classes=True)).split("train")
    names = sorted(p.relative_to(base).as_posix() for p in base.rglob("*.png"))
    lost = [70, 133, 199]
    for row in lost:
        (base / names[row]).write_bytes(b"")
    split = prepare(of(base, classes=True)).split("train")
    kept = np.setdiff1d(np.arange(200), lost)
    assert (split.images == whole.images[kept]).all()
    assert (split.labels == whole.labels[kept]).all()  # type: ignore[index]


def test_all_unreadable(tree: Tree) -> None:
    base = tree("a", "b")
    for file in base.iterdir():
        file.write_bytes(b"nothing")
    for settings in (of(base), of(base, size="8", channels=3)):
        with pytest.raises(DataError, match="can be read") as caught:
            prepare(settings)
        one_line(caught.value)


def test_progress_reaches_the_total(tree: Tree) -> None:
    seen: list[tuple[int, int]] = []
    prepare(of(tree("train/a", "train/b", "test/c")), progress=lambda *at: seen.append(at))
    assert seen[-1] == (3, 3) and seen == sorted(seen)


def test_out(tree: Tree, tmp_path: Path) -> None:
    base, out = tree("a", "b"), tmp_path / "deep" / "out"
    assert prepare(of(base), out=out).path == out
    assert prepare(of(base), out=out).path == out
    assert sorted(f.name for f in out.parent.iterdir()) == ["out"]
    with pytest.raises(DataError, match="holds another pack"):
        prepare(of(base, size="8"), out=out)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="no whole pack") as caught:
        prepare(of(base), out=mine)
    one_line(caught.value)
    assert [f.name for f in mine.iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert len(prepare(of(base), out=tmp_path / "empty").split("train")) == 2


def test_a_pack_is_opened_as_it_is(tree: Tree, tmp_path: Path) -> None:
    made = prepare(of(tree("a")), out=tmp_path / "p")
    opened = prepare(DataSettings(data=str(tmp_path / "p"), size="20x16", channels=3))
    assert opened.hash == made.hash
    refused = ({"size": "8"}, {"channels": 1}, {"crop": "pad"}, {"classes": True}, {"parts": ("hair",)})
    for more in refused:
        word = f"{next(iter(more))} = "
        with pytest.raises(SettingError, match=word) as caught:
            prepare(DataSettings(data=str(tmp_path / "p"), **more))  # type: ignore[arg-type]
        one_line(caught.value)


def test_a_spoiled_cached_pack_is_packed_again(tree: Tree) -> None:
    base = tree("a", "b")
    pack = prepare(of(base))
    assert pack.path is not None
    (pack.path / "train.images.npy").write_bytes(b"")
    lines: list[str] = []
    assert prepare(of(base), say=lines.append).hash == pack.hash and "packing again" in lines[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "fashon-mnist"},
        {"data": "folder:"},
        {"data": "folder:/does/not/exist"},
        {"data": "celeba"},
        {"data": "digits", "size": "4"},
        {"data": "digits", "channels": 2},
        {"data": "digits", "crop": "middle"},
        {"data": "digits:3"},
        {"data": "digits", "classes": True},
        {"data": "digits", "parts": ("hair",)},
        {"data": "digits", "background": "white"},
        {"data": "toyfaces:20", "classes": True},
        {"data": "."},
        {"data": ""},
    ],
)
def test_bad_settings_in_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(MorphospaceError) as caught:
        prepare(DataSettings(**settings))
    one_line(caught.value)


def test_a_cache_that_cannot_be_written(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="MORPHOSPACE_CACHE") as caught:
        prepare(of(tree("a")))
    one_line(caught.value)


def test_a_full_disk_leaves_nothing(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("morphospace.data.writer.os.fsync", full)
    with pytest.raises(DataError, match="No space left"):
        prepare(of(tree("a")), out=tmp_path / "out" / "p")
    assert list((tmp_path / "out").iterdir()) == []


SCRIPT = """
import sys, time
from pathlib import Path
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
def slowly(done, total):
    print(done, flush=True)
    time.sleep(float(sys.argv[3]))
workers = int(sys.argv[4]) if len(sys.argv) > 4 else 1
prepare(DataSettings(data="folder:" + sys.argv[1]), out=Path(sys.argv[2]), workers=workers, progress=slowly, say=print)
"""


def test_a_killed_run_leaves_nothing_a_later_one_uses(tree: Tree, tmp_path: Path) -> None:
    base, out = tree(*(f"{i:03}" for i in range(200))), tmp_path / "out" / "p"
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, base, out, "60"], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    assert not out.exists() and len(list(out.parent.glob("p.partial-*"))) == 1
    child.send_signal(signal.SIGKILL)
    child.wait()
    with pytest.raises(DataError):
        open_pack(next(out.parent.glob("p.partial-*")))
    pack = prepare(of(base), out=out)  # the lock went with the process
    assert len(pack.split("train")) == 200
    assert sorted(f.name for f in out.parent.iterdir()) == ["p"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are threads")
def test_a_killed_packings_workers_end_with_it_and_give_the_lock_back(tree: Tree, tmp_path: Path) -> None:
    base, out = tree(*(f"{i:03}" for i in range(300))), tmp_path / "out" / "p"
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, base, out, "60", "2"], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    again = subprocess.run([sys.executable, "-c", SCRIPT, base, out, "0", "2"], capture_output=True, timeout=100)
    assert b"packed 300" in again.stdout


def test_two_at_once_pack_once(tree: Tree, tmp_path: Path) -> None:
    base, out = tree(*(f"{i:03}" for i in range(200))), tmp_path / "p"
    first = subprocess.Popen([sys.executable, "-c", SCRIPT, base, out, "0.3"], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline()
    lines: list[str] = []
    prepare(of(base), out=out, say=lines.append)  # here, for a second process may start when the first is done
    assert "waiting for another process" in lines[0] and "reusing" in lines[1]
    assert "packed 200" in first.communicate()[0]


def test_the_manifest_names_no_place(tree: Tree, tmp_path: Path) -> None:
    pack = prepare(of(tree("a")))
    assert str(tmp_path) not in json.dumps(dict(pack.manifest))


def test_list_and_fetch() -> None:
    listed = {info.name: info for info in data_list()}
    assert listed["digits"].here is True and listed["mnist"].here is False and listed["celeba"].shape == (64, 64, 3)
    assert listed["digits"].size == "none" and listed["celeba"].size == "1.4 GB" and listed["folder"].size == ""
    assert all(info.size for info in listed.values() if info.here is not None)
    assert fetch("digits") is None
    for name in ("celeba", "mnits", "wds"):
        with pytest.raises(DataError) as caught:
            fetch(name)
        one_line(caught.value)


def test_light_imports() -> None:
    code = """if True:
        import sys
        import morphospace.data.settings
        assert not {"torch", "numpy", "PIL", "sklearn"} & set(sys.modules)
        import morphospace.data.prepare
        assert not {"torch", "sklearn", "pooch"} & set(sys.modules)
        from morphospace.data import Batches, Pack, parse_size, DataSettings
    """
    subprocess.run([sys.executable, "-c", code], check=True)
