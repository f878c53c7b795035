from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from morphospace.data.pack import Pack, Split, in_memory_pack, open_pack
from morphospace.data.writer import PackWriter, clear_leftovers
from morphospace.errors import DataError

from .conftest import one_line


def written(out: Path, count: int = 5) -> Pack:
    with PackWriter(out) as writer:
        for start in range(0, count, 2):
            rows = np.arange(start, min(start + 2, count))
            writer.append("train", "images", np.tile(rows[:, None, None, None], (1, 8, 8, 1)))
        writer.append("train", "labels", np.arange(count) % 2)
        names = {"label_names": ("a", "b"), "attribute_names": (), "factor_names": (), "mask_names": ()}
        writer.finish(name="w", shape=(8, 8, 1), names=names, about={})
    return open_pack(out, verify=True)


def test_written_pack_is_plain_numpy(tmp_path: Path) -> None:
    pack = written(tmp_path / "p")
    images = np.load(tmp_path / "p" / "train.images.npy", allow_pickle=False)
    assert images.dtype == np.uint8 and (images[:, 0, 0, 0] == np.arange(5)).all()
    assert isinstance(pack.split("train").images, np.memmap) and not pack.split("train").images.flags.writeable
    assert sorted(f.name for f in tmp_path.iterdir()) == ["p"]
    with pytest.raises(DataError, match="it has train"):
        pack.split("valid")


def test_hash_is_of_content(tmp_path: Path) -> None:
    one, other, longer = written(tmp_path / "a"), written(tmp_path / "b"), written(tmp_path / "c", 6)
    assert one.hash == other.hash != longer.hash


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path / "p").__enter__()
    writer.append("train", "images", np.zeros((1, 8, 8, 1), np.uint8))
    assert len(list(tmp_path.iterdir())) == 1
    writer.__exit__(RuntimeError, RuntimeError(), None)
    assert list(tmp_path.iterdir()) == []


def test_replacing_keeps_open_maps(tmp_path: Path) -> None:
    old = written(tmp_path / "p", 5).split("train")
    assert len(written(tmp_path / "p", 6).split("train")) == 6
    assert (old.images[:, 0, 0, 0] == np.arange(5)).all()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["p"]


def test_leftovers_are_cleared_but_not_neighbours(tmp_path: Path) -> None:
    for name in ("p[1].partial-7", "p[1].old-7", "p1.partial-7", "p[1]"):
        (tmp_path / name).mkdir()
    clear_leftovers(tmp_path / "p[1]")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["p1.partial-7", "p[1]"]


def _edit(**changes: object):
    def edit(path: Path) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        manifest.update(changes)
        (path / "manifest.json").write_text(json.dumps(manifest))

    return edit


def _write(name: str, data: bytes):
    return lambda path: (path / name).write_bytes(data)


def _grow(path: Path) -> None:
    with (path / "train.images.npy").open("ab") as stream:
        stream.write(b"0")


def _pickle(path: Path) -> None:
    size = (path / "train.labels.npy").stat().st_size
    with (path / "train.labels.npy").open("wb") as stream:
        np.save(stream, np.array([{}] * 5, object), allow_pickle=True)
    data = (path / "train.labels.npy").read_bytes()
    (path / "train.labels.npy").write_bytes(data[:size].ljust(size, b"\0"))


def _escape(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["splits"]["../train"] = manifest["splits"].pop("train")
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "train.images.npy").unlink(),
        _write("manifest.json", b"{"),
        _write("manifest.json", b"[]"),
        _write("manifest.json", b'{"format": 1}'),
        _write("manifest.json", b"\xff\xfe"),
        _write("train.labels.npy", b""),
        _grow,
        _pickle,
        _escape,
        _edit(format=99),
        _edit(shape=[8, 9, 1]),
        _edit(shape="8x8"),
        _edit(splits={}),
        _edit(splits=[]),
        _edit(hash="0"),
        _edit(label_names=["b", "a"]),
        _edit(label_names=None),
    ],
)
def test_spoiled_packs_are_refused_in_one_line(tmp_path: Path, spoil) -> None:
    written(tmp_path / "p")
    spoil(tmp_path / "p")
    with pytest.raises(DataError) as caught:
        open_pack(tmp_path / "p")
    assert str(tmp_path / "p") in one_line(caught.value) or "pack" in one_line(caught.value)


def test_changed_pixels_are_seen_by_verify(tmp_path: Path) -> None:
    written(tmp_path / "p")
    file = tmp_path / "p" / "train.images.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    open_pack(tmp_path / "p")
    with pytest.raises(DataError, match=r"train\.images\.npy"):
        open_pack(tmp_path / "p", verify=True)


@pytest.mark.parametrize(
    "split",
    [
        Split(np.zeros((0, 8, 8, 1), np.uint8)),
        Split(np.zeros((2, 8, 8, 1), np.float32)),
        Split(np.zeros((2, 8, 8, 4), np.uint8)),
        Split(np.zeros((2, 8, 8, 1), np.uint8), labels=np.array([0, 3])),
        Split(np.zeros((2, 8, 8, 1), np.uint8), labels=np.array([0, -1])),
        Split(np.zeros((2, 8, 8, 1), np.uint8), labels=np.array([0])),
        Split(np.zeros((2, 8, 8, 1), np.uint8), masks=np.zeros((2, 8, 9, 1), np.uint8)),
    ],
)
def test_arrays_must_fit_each_other(split: Split) -> None:
    with pytest.raises(DataError) as caught:
        in_memory_pack("m", split, label_names=("a", "b"))
    one_line(caught.value)
