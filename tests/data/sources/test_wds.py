"""WebDataset shards: against the images they were made of, from disk and from a server that breaks off."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.data.pack import Pack
from morphospace.data.prepare import data_list, prepare
from morphospace.data.settings import DataSettings
from morphospace.data.sources.wds import expand
from morphospace.errors import DataError, MorphospaceError

from ..conftest import encoded, one_line, picture
from .test_download import Server

Files = Mapping[str, bytes]


def tar(path: Path, files: Files, kind: Mapping[str, bytes] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if kind and name in kind:
                info.type, info.linkname, info.size = kind[name], "/etc/passwd", 0
            archive.addfile(info, io.BytesIO(content))
    return path


def sample(i: int, **more: bytes) -> dict[str, bytes]:
    return {f"{i:05d}.png": encoded(picture(i)), **{f"{i:05d}.{kind}": content for kind, content in more.items()}}


def joined(*parts: Files) -> dict[str, bytes]:
    return {name: content for part in parts for name, content in part.items()}


def packed(data: object, **more: object) -> Pack:
    return prepare(DataSettings(data=f"wds:{data}", **more))  # type: ignore[arg-type]


def test_shards_are_read_in_order_with_their_classes(tmp_path: Path) -> None:
    for number in range(3):
        mine = [sample(i, cls=str(i % 4).encode()) for i in range(number * 30, number * 30 + 30)]
        tar(tmp_path / f"set-{number:03d}.tar", joined(*mine))
    pack = packed(tmp_path / "set-{000..002}.tar")
    split = pack.split("train")
    assert pack.name == "set" and pack.shape == (20, 16, 3) and pack.label_names == ()
    assert (split.images == np.stack([picture(i) for i in range(90)])).all()
    assert split.labels is not None and split.labels.tolist() == [i % 4 for i in range(90)]
    for same in (tmp_path, tmp_path / "set-*.tar", tmp_path / "set-{000,001,002}.tar"):
        assert packed(same).hash == pack.hash
    assert len(packed(tmp_path / "set-00{1..2}.tar").split("train")) == 60


@pytest.mark.parametrize("workers", [1, 3])
def test_bytes_do_not_depend_on_workers_nor_on_shards(tmp_path: Path, workers: int) -> None:
    samples = [sample(i, cls=b"ab"[i % 2 : i % 2 + 1]) for i in range(200)]
    tar(tmp_path / "one" / "a.tar", joined(*samples))
    for number in range(4):
        tar(tmp_path / "four" / f"a{number}.tar", joined(*samples[number * 50 : number * 50 + 50]))
    one, four = (
        prepare(DataSettings(data=f"wds:{tmp_path / name}", size="12x9"), workers=workers, out=tmp_path / f"o{name}")
        for name in ("one", "four")
    )
    assert one.hash == four.hash and one.label_names == ("a", "b")
    folder = tmp_path / "files"
    folder.mkdir()
    for part in samples:
        for name, content in part.items():
            if name.endswith("png"):
                (folder / name).write_bytes(content)
    reference = prepare(DataSettings(data=f"folder:{folder}", size="12x9"))
    assert (reference.split("train").images == one.split("train").images).all()


def test_words_are_numbered_as_they_are_sorted_over_all_splits(tmp_path: Path) -> None:
    for split, words in (("train", "zebra cat zebra"), ("val", "cat ant"), ("test", "zebra")):
        tar(tmp_path / f"{split}-0.tar", joined(*(sample(i, cls=w.encode()) for i, w in enumerate(words.split()))))
    pack = packed(tmp_path)
    assert pack.label_names == ("ant", "cat", "zebra") and set(pack.splits) == {"train", "valid", "test"}
    labels = {name: split.labels.tolist() for name, split in pack.splits.items()}  # type: ignore[union-attr]
    assert labels == {"train": [2, 1, 2], "valid": [1, 0], "test": [2]}


def test_json_brings_classes_and_attributes(tmp_path: Path) -> None:
    def said(i: int) -> bytes:
        return json.dumps({"label": i, "caption": "x", "smiling": i % 2 == 0, "hat": i == 1, "age": 3.5}).encode()

    tar(tmp_path / "a.tar", joined(*(sample(i, json=said(i), txt=b"a face") for i in range(4))))
    pack = packed(tmp_path / "a.tar")
    split = pack.split("train")
    assert split.labels.tolist() == [0, 1, 2, 3] and pack.attribute_names == ("smiling", "hat")  # type: ignore[union-attr]
    assert split.attributes.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]  # type: ignore[union-attr]


def test_text_and_folders_are_classes_when_asked_for(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", joined(*(sample(i, txt=b"7" if i else b"cat\n") for i in range(2))))
    assert packed(tmp_path / "a.tar").split("train").labels is None
    assert packed(tmp_path / "a.tar", classes=True).label_names == ("7", "cat")
    folders = {f"./{'ab'[i % 2]}.x/{i}.webp": encoded(picture(i), "WEBP", lossless=True) for i in range(4)}
    tar(tmp_path / "b.tar", folders)
    pack = packed(tmp_path / "b.tar", classes=True)
    assert pack.label_names == ("a.x", "b.x") and pack.split("train").labels.tolist() == [0, 1, 0, 1]  # type: ignore[union-attr]


def test_what_cannot_be_used_is_left_out_and_counted_and_its_class_with_it(tmp_path: Path) -> None:
    good = [sample(i, cls=str(i).encode()) for i in range(4)]
    bad = [
        {"10.cls": b"1"},  # no image
        {"11.png": b"no image", "11.cls": b"1"},
        {"12.png": encoded(picture(1))},  # no class
        {"13.png": encoded(picture(1)), "13.cls": b"\xff\xfe"},
        {"14.png": encoded(picture(1)), "14.cls": b"word"},
        {"15.png": encoded(picture(1)), "15.cls": b"-1"},
        {"16.png": b"", "16.cls": b"1"},
        {"17.png": encoded(picture(1)), "17.cls": b"1" * (2 << 20)},
    ]
    files = joined(*(part for pair in zip(good, bad[:4]) for part in pair), *bad[4:])
    lines: list[str] = []
    made = prepare(DataSettings(data=f"wds:{tar(tmp_path / 'a.tar', files)}"), say=lines.append)
    assert made.split("train").labels.tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]
    assert (made.split("train").images == np.stack([picture(i) for i in range(4)])).all()
    assert made.manifest["skipped"]["count"] == 8 and any("skipped 8" in line for line in lines)
    reasons = {Path(s["file"]).name: s["reason"] for s in made.manifest["skipped"]["first"]}
    assert "no image (only cls)" in reasons["10"] and "class is None" in reasons["12"] and "1 MB" in reasons["17"]
    assert "neither a number nor a word" in reasons["13"] and "word" in reasons["14"] and "'-1'" in reasons["15"]
    with pytest.raises(DataError, match="strict"):
        packed(tmp_path / "a.tar", strict=True)


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    files = joined(sample(0), {"__meta__.json": b"{}", "._00001.png": b"mac", "README": b"hi", "00000.npy": b"x"})
    files |= {"00002.png": b"", **sample(3), "dir/.hidden/00004.png": b"x"}
    tar(tmp_path / "a.tar", files, kind={"00002.png": tarfile.SYMTYPE})
    pack = packed(tmp_path / "a.tar")
    assert (pack.split("train").images == np.stack([picture(0), picture(3)])).all()
    assert pack.manifest["skipped"]["count"] == 0


def test_images_in_formats_that_are_not_read_are_counted_by_ending(tmp_path: Path) -> None:
    others = joined({"00007.jxl": b"x", "00007.cls": b"1"}, {"00008.nii.gz": b"x", "00008.cls": b"1"})
    pack = packed(tar(tmp_path / "a.tar", joined(sample(0), sample(1)) | others))
    assert "not read: 1 .jxl (convert to .png)" in pack.manifest["notes"] and pack.manifest["skipped"]["count"] == 0
    with pytest.raises(DataError, match=r"has no sample with an image .*1 \.jxl \(convert to \.png\)"):
        packed(tar(tmp_path / "b.tar", others))


def test_long_class_numbers_are_numbers(tmp_path: Path) -> None:
    files = joined(*({f"{i}.png": encoded(picture(i)), f"{i}.cls": str(2**62 * (i % 2)).encode()} for i in range(4)))
    pack = packed(tar(tmp_path / "a.tar", files))
    assert pack.label_names == ("0", str(2**62)) and pack.split("train").labels.tolist() == [0, 1, 0, 1]  # type: ignore[union-attr]


def test_gzipped_shards(tmp_path: Path) -> None:
    plain = tar(tmp_path / "a.tar", joined(*(sample(i) for i in range(30))))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert packed(tmp_path / "b.tar.gz").hash == packed(plain).hash


def claims(size: int) -> Callable[[bytes], bytes]:
    """Make the first header an extended one of that size."""

    def change(data: bytes) -> bytes:
        info = tarfile.TarInfo("x")
        info.size, info.type = size, tarfile.XHDTYPE
        return info.tobuf(tarfile.GNU_FORMAT) + data

    return change


@pytest.mark.parametrize(
    ("spoil", "left"),
    [
        (lambda d: d[: int(len(d) * 0.3)], 6),
        (lambda d: d[:-10240].rstrip(b"\0"), 9),
        (lambda d: d[:2048] + b"\xff" * 512 + d[2560:], None),
        (lambda d: b"", 0),
        (lambda d: b"<html>no such file</html>" * 200, 0),
        (claims(1 << 40), 0),
        (claims(300 << 20), 0),
        (lambda d: bytes(20480), 0),
    ],
    ids=["cut", "no-end", "header", "empty", "html", "tera", "mega", "zeros"],
)
def test_damaged_shards_are_named_and_the_others_read(tmp_path: Path, spoil, left: int | None) -> None:
    for number in range(2):
        path = tar(tmp_path / f"a-{number}.tar", joined(*(sample(10 * number + i) for i in range(10))))
    path.write_bytes(spoil(path.read_bytes()))
    pack = packed(tmp_path)
    count = len(pack.split("train"))
    assert 10 <= count < 20 and (left is None or abs(count - 10 - left) <= 1)
    wrong = pack.manifest["skipped"]["first"]
    assert path.read_bytes() == bytes(20480) or wrong[-1]["file"] == str(path)
    (tmp_path / "a-0.tar").unlink()
    if count == 10:
        with pytest.raises(DataError) as caught:
            packed(tmp_path)
        one_line(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_crashes_it(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed anywhere, headers above all: packed or refused in one line."""
    folder = tmp_path_factory.mktemp("d")
    content = bytearray(tar(folder / "a.tar", joined(*(sample(i, cls=b"1") for i in range(3)))).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        block = data.draw(st.integers(0, len(content) // 512 - 1))
        content[block * 512 + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    (folder / "a.tar").write_bytes(content)
    before = sorted(folder.rglob("*"))
    try:
        prepare(DataSettings(data=f"wds:{folder / 'a.tar'}", size="8"), workers=1, out=folder / "out")
    except MorphospaceError as error:
        one_line(error)
        assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("", "names no shards"),
        ("{tmp}/none.tar", r"no file .*none\.tar"),
        ("{tmp}/a-{{0..1}}.tar", r"no file .*a-1\.tar"),
        ("{tmp}/x*.tar", "no shard"),
        ("{tmp}/a-{{5..1}}.tar", "count upwards"),
        ("{tmp}/a-{{0..999999999}}.tar", "at most"),
        ("{tmp}/{{0..999}}{{0..999}}.tar", "more than"),
        ("{tmp}/empty", "no shard"),
        ("{tmp}/climbs.tar", "outside its folder"),
        ("{tmp}/rooted.tar", "outside its folder"),
        ("{tmp}/mixed.tar", r"differ in size \(20x16 and 8x9\).*--size"),
        ("{tmp}/words.tar", "no sample with an image"),
        ("http://127.0.0.1:9/a.tar", "127.0.0.1:9/a.tar: cannot be read"),
    ],
)
def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, match: str) -> None:
    monkeypatch.setattr("morphospace.data.sources.tars._PAUSE_SECONDS", 0)
    (tmp_path / "empty").mkdir()
    tar(tmp_path / "a-0.tar", sample(0))
    tar(tmp_path / "climbs.tar", {"../../x.png": b"x"})
    tar(tmp_path / "rooted.tar", {"/x.png": b"x"})
    many = joined(*(sample(i) for i in range(300)))  # the odd one comes after those that are looked at first
    tar(tmp_path / "mixed.tar", {**many, "9.png": encoded(picture(0, height=8, width=9))})
    tar(tmp_path / "words.tar", {"a.txt": b"x"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MorphospaceError, match=match) as caught:
        packed(data.format(tmp=tmp_path))
    one_line(caught.value)
    left = [p for p in sorted(tmp_path.rglob("*")) if p not in before and p.suffix != ".lock"]
    assert all("cache" in p.parts and not p.is_file() for p in left)


@given(st.integers(0, 2000), st.integers(0, 300), st.integers(1, 6))
def test_braces_count_as_the_shell_does(first: int, more: int, width: int) -> None:
    text = f"{first:0{width}d}..{first + more}"
    assert expand(f"a{{{text}}}b") == [f"a{n:0{width}d}b" for n in range(first, first + more + 1)]


def test_a_pack_is_made_again_when_a_shard_changes(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", joined(sample(0), sample(1)))
    first = packed(path)
    assert packed(path).path == first.path
    tar(path, joined(sample(0), sample(2), sample(3)))
    assert len(packed(path).split("train")) == 3


def test_it_is_listed() -> None:
    assert next(info for info in data_list() if info.name == "wds").here is None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("morphospace.data.sources.tars._PAUSE_SECONDS", 0)
    made = Server()
    noisy = np.random.default_rng(0).integers(0, 256, (40, 40, 40, 3)).astype(np.uint8)
    made.body = tar(tmp_path / "a.tar", {f"{i}.png": encoded(noisy[i]) for i in range(40)}).read_bytes()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_shards_behind_an_address(tmp_path: Path, server: Server, cache: Path) -> None:
    local = packed(tmp_path / "a.tar")
    pack = packed(f"{server.url}/a-{{0..1}}.tar?key=1")
    assert (pack.split("train").images == np.concatenate([local.split("train").images] * 2)).all()
    assert pack.name == "a"
    sent = len(server.sent)
    assert packed(f"{server.url}/a-{{0..1}}.tar?key=1").path == pack.path and len(server.sent) == sent  # offline
    assert not [p for p in cache.rglob("*") if p.is_file() and p.parent != pack.path and p.parent != local.path]


def test_a_connection_that_breaks_is_taken_up(tmp_path: Path, server: Server) -> None:
    server.breaks_after = 70_000
    pack = packed(f"{server.url}/a.tar")
    assert pack.hash == packed(tmp_path / "a.tar").hash
    assert any(first > 0 for _, first in server.sent)


@pytest.mark.parametrize(("ranges", "breaks"), [(False, 70_000), (True, 0)])
def test_a_connection_that_cannot_be_taken_up_leaves_no_pack(
    server: Server, cache: Path, ranges: bool, breaks: int
) -> None:
    server.ranges, server.breaks_after = ranges, breaks
    with pytest.raises(DataError, match="network") as caught:
        packed(f"{server.url}/a.tar")
    one_line(caught.value)
    assert not list((cache / "packs").glob("*/manifest.json"))


MEMORY = """
import sys
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
prepare(DataSettings(data="wds:" + sys.argv[1], size="8"), workers=1)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_in_the_number_of_samples(tmp_path: Path) -> None:
    image, peaks = encoded(picture(0, height=8, width=8)), []
    for count in (500, 8_500):
        path = tar(tmp_path / f"{count}.tar", {f"{i}.png": image for i in range(count)})
        done = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 4, peaks  # the headers alone would be 8 MB if they were kept


def test_colour_behind_grey_images_is_not_lost(tmp_path: Path) -> None:
    grey = [{f"{i:04}.png": encoded(picture(i)[..., :1])} for i in range(256)]
    tar(tmp_path / "a.tar", joined(*grey, {"0256.png": encoded(picture(256))}))
    with pytest.raises(DataError, match="give --channels 3"):
        packed(tmp_path / "a.tar")
    assert packed(tmp_path / "a.tar", channels=3).shape == (20, 16, 3)
    assert packed(tmp_path / "a.tar", channels=1).shape == (20, 16, 1)
