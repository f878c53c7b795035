"""Published sets, from small files of the same layout made here: CIFAR, SVHN, SmallNORB, MPI3D, Cars3D, Shapes3D."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.data.pack import Pack
from morphospace.data.prepare import data_list, fetch, prepare
from morphospace.data.settings import DataSettings
from morphospace.data.sources import mpi3d
from morphospace.data.sources.cifar import Cifar10, Cifar100, read_binary, read_pickled
from morphospace.data.sources.matlab import read_arrays
from morphospace.data.sources.smallnorb import read_matrix
from morphospace.errors import DataError, MissingExtra, SettingError
from morphospace.evaluation.factors import states_of

from ..conftest import one_line

PHOTOS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def pack_of(data: str, root: Path, **more: Any) -> Pack:
    return prepare(DataSettings(data=data, root=str(root), **more))


# -- CIFAR -----------------------------------------------------------------------------------------------------


def planes(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def binary(images: np.ndarray, *labels: np.ndarray) -> bytes:
    return np.concatenate([np.stack(labels, 1).astype(np.uint8), planes(images)], axis=1).tobytes()


def cifar10(form: str) -> dict[str, bytes]:
    """Two images in each of the six files; the labels are 0 to 9, 9 and 9."""
    files = {}
    for number in range(6):
        images, labels = PHOTOS[2 * number : 2 * number + 2], np.minimum([2 * number, 2 * number + 1], 9)
        name = "test_batch" if number == 5 else f"data_batch_{number + 1}"
        if form == "bin":
            files[f"{name}.bin"] = binary(images, labels)
        else:
            names = [f"leptodactylus_{i}.png" for i in range(2)]
            said = {"batch_label": "batch 1 of 5", "labels": labels.tolist(), "data": planes(images)}
            files[name] = pickle.dumps({**said, "filenames": names}, protocol=2 if form == "py" else 4)
    return files


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize(("form", "inside"), [("bin", "cifar-10-batches-bin"), ("py", "cifar-10-batches-py")])
def test_cifar_10_in_both_forms(tmp_path: Path, form: str, inside: str, archived: bool) -> None:
    base = tmp_path / "cifar10"
    base.mkdir()
    if archived:
        name = "cifar-10-binary.tar.gz" if form == "bin" else "cifar-10-python.tar.gz"
        with tarfile.open(base / name, "w:gz") as tar:
            for file, content in cifar10(form).items():
                info = tarfile.TarInfo(f"{inside}/{file}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    else:
        (base / inside).mkdir()
        for file, content in cifar10(form).items():
            (base / inside / file).write_bytes(content)
    pack = pack_of("cifar-10", tmp_path)
    assert (pack.split("train").images == PHOTOS[:10]).all() and (pack.split("test").images == PHOTOS[10:]).all()
    assert pack.split("train").labels.tolist() == list(range(10))  # type: ignore[union-attr]
    assert pack.label_names == Cifar10.classes and pack.label_names[3] == "cat"
    assert {info.name: info.here for info in data_list(tmp_path)}["cifar-10"]


def test_cifar_100_has_fine_and_coarse_classes(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100" / "cifar-100-binary"
    folder.mkdir(parents=True)
    fine, coarse = np.array([0, 99, 50]), np.array([4, 14, 16])
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(binary(PHOTOS[:3], coarse, fine))
    pack = pack_of("cifar-100", tmp_path)
    assert pack.split("train").labels.tolist() == [0, 99, 50] and len(pack.label_names) == 100  # type: ignore[union-attr]
    groups = pack_of("cifar-100:coarse", tmp_path)
    assert groups.split("test").labels.tolist() == [4, 14, 16]  # type: ignore[union-attr]
    assert groups.label_names == Cifar100.coarse and len(groups.label_names) == 20
    with pytest.raises(SettingError, match="cifar-100:coarse"):
        pack_of("cifar-100:medium", tmp_path)


class Harm:
    """Runs a command when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_in_a_pickle_is_executed(tmp_path: Path, protocol: int) -> None:
    bad = pickle.dumps({"data": Harm(tmp_path / "harm"), "labels": [1, 2]}, protocol=protocol)
    with pytest.raises(DataError, match="do not fit; fetch it again"):
        read_pickled(bad, ("labels",), "file")
    with pytest.raises(DataError, match="do not fit; fetch it again"):
        read_pickled(pickle.dumps({"labels": [1, 2**99], "data": planes(PHOTOS[:2])}, protocol), ("labels",), "file")
    both = pickle.dumps({"labels": [1, 2], "x": Harm(tmp_path / "harm"), "data": planes(PHOTOS[:2])}, protocol=4)
    images, labels = read_pickled(both, ("labels",), "file")
    assert (images == PHOTOS[:2]).all() and labels.tolist() == [[1], [2]]
    assert not (tmp_path / "harm").exists()


@settings(max_examples=30)
@given(st.data())
def test_a_damaged_batch_is_read_or_refused(data: st.DataObject) -> None:
    whole = cifar10("py")["test_batch"]
    spoiled = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(spoiled) - 1)), max_size=3)) if spoiled else ():
        spoiled[at] = data.draw(st.integers(0, 255))
    try:
        images, labels = read_pickled(bytes(spoiled), ("labels",), "file")
        assert len(images) == len(labels)
    except DataError as error:
        one_line(error)


def test_what_is_wrong_with_a_binary_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must have a multiple of 3,073"):
        read_binary(b"x" * 3072, 1, "file")
    (tmp_path / "cifar-10").mkdir()
    for name, content in cifar10("bin").items():
        (tmp_path / "cifar-10" / name).write_bytes(b"\x0a" + content[1:])
    with pytest.raises(DataError, match="has label 10, must be from 0 to 9"):
        pack_of("cifar-10", tmp_path)


# -- MATLAB ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_svhn(tmp_path: Path, compressed: bool) -> None:
    (tmp_path / "svhn").mkdir()
    labels = np.array([1, 10, 9, 2, 3, 4, 5, 6, 7, 8, 10, 1], np.uint8)[:, None]
    for name in ("train_32x32.mat", "test_32x32.mat"):
        held = {"X": PHOTOS.transpose(1, 2, 3, 0), "y": labels, "more": np.eye(3), "text": "no array"}
        scipy.io.savemat(tmp_path / "svhn" / name, held, do_compression=compressed)
    pack = pack_of("svhn", tmp_path)
    assert (pack.split("train").images == PHOTOS).all()
    assert pack.split("test").labels.tolist() == (labels[:, 0] % 10).tolist()  # type: ignore[union-attr]
    (tmp_path / "svhn" / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match=r"lacks test_32x32.mat; put it there"):
        pack_of("svhn", tmp_path)


@settings(max_examples=30)
@given(st.data(), st.booleans())
def test_damaged_matlab_files_are_read_or_refused(data: st.DataObject, compressed: bool) -> None:
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"a": np.arange(6.0).reshape(2, 3)}, do_compression=compressed)
    spoiled = bytearray(stream.getvalue())
    for at in data.draw(st.lists(st.integers(100, len(spoiled) - 1), min_size=1, max_size=4)):
        spoiled[at] = data.draw(st.integers(0, 255))
    path = Path(os.environ["MORPHOSPACE_CACHE"]) / "a.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(spoiled)
    try:
        assert read_arrays(path, {"a": (2, 3)}, 1 << 20)["a"].shape == (3, 2)
    except DataError as error:
        one_line(error)


@given(st.sampled_from([np.uint8, np.int16, np.float64, np.float32]), st.booleans(), st.integers(1, 3))
def test_arrays_are_those_that_scipy_wrote(kind: type, compressed: bool, count: int) -> None:
    array = np.arange(2 * 3 * count).reshape(2, 3, count).astype(kind)
    array = array if count > 1 else np.concatenate([array, array], axis=2)
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"a": array, "b": np.eye(2)}, do_compression=compressed)
    path = Path(os.environ["MORPHOSPACE_CACHE"]) / "a.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())
    found = read_arrays(path, {"a": (2, 3, 0)}, 1 << 20)["a"]
    assert (found.transpose(2, 1, 0) == array).all()


def test_damaged_and_huge_matlab_files_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"a": np.arange(6.0).reshape(2, 3)})
    whole, path = stream.getvalue(), tmp_path / "a.mat"
    for cut in (0, 100, 130, 140, 180, len(whole) - 8):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"a.mat: .*; fetch it again"):
            read_arrays(path, {"a": (2, 3)}, 1 << 20)
    path.write_bytes(whole)
    with pytest.raises(DataError, match="lacks the array a of 3x2"):
        read_arrays(path, {"a": (3, 2)}, 1 << 20)
    bomb = zlib.compress(struct.pack("<II", 14, 1 << 30) + bytes(1 << 20))
    path.write_bytes(whole[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(DataError, match="lacks the array"):
        read_arrays(path, {"a": (2, 3)}, 1 << 20)


def test_cars3d(tmp_path: Path) -> None:
    folder = tmp_path / "cars3d" / "data" / "cars"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    cars = {n: rng.integers(0, 256, (128, 128, 3, 24, 4), dtype=np.uint8) for n in (1, 2)}
    for n, car in cars.items():
        scipy.io.savemat(folder / f"car_{n:03}_mesh.mat", {"im": car, "mask": np.zeros((128, 128, 24, 4), np.uint8)})
    pack = pack_of("cars3d", tmp_path)
    full = pack.split("train")
    assert len(full) == 192 and pack.factor_names == ("elevation", "azimuth", "object_type")
    row = 96 + 2 * 24 + 5  # the second car, third elevation, sixth azimuth
    assert (full.images[row] == cars[2][..., 5, 2]).all()
    assert np.allclose(full.factors[row], [2 / 3, 2 * np.pi * 5 / 24, 1])  # type: ignore[index]
    _, _, ordered = states_of(np.asarray(full.factors), pack.factor_names)
    assert ordered == (True, True, False) and any("2 of 183 cars" in note for note in pack.manifest["notes"])


# -- the others ------------------------------------------------------------------------------------------------


def norb(array: np.ndarray) -> bytes:
    magic = 0x1E3D4C55 if array.dtype == np.uint8 else 0x1E3D4C54
    sides = (*array.shape, 1, 1)[: max(3, array.ndim)]
    return struct.pack(f"<II{len(sides)}I", magic, array.ndim, *sides) + array.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_smallnorb(tmp_path: Path, zipped: bool) -> None:
    folder = tmp_path / "smallnorb"
    folder.mkdir()
    rng = np.random.default_rng(0)
    count = 40 if zipped else 300  # more than are read together
    images = rng.integers(0, 256, (count, 2, 96, 96), dtype=np.uint8)
    rows = np.arange(count)
    kinds = (rows % 5).astype("<i4")
    numbers = np.stack([np.full(count, 4), rows % 9, 2 * (rows % 18), rows % 6], 1)
    for stem in ("5x46789x9x18x6x2x96x96-training", "5x01235x9x18x6x2x96x96-testing"):
        for kind, array in (("dat", images), ("cat", kinds), ("info", numbers.astype("<i4"))):
            content = norb(array)
            path = folder / f"smallnorb-{stem}-{kind}.mat{'.gz' * zipped}"
            path.write_bytes(gzip.compress(content, 1) if zipped else content)
    pack = pack_of("smallnorb", tmp_path)
    assert (pack.split("test").images[..., 0] == images[:, 0]).all()
    assert pack.label_names[4] == "car" and pack.split("train").labels.tolist() == kinds.tolist()  # type: ignore[union-attr]
    found = np.asarray(pack.split("train").factors)
    assert np.allclose(np.rad2deg(found[19, 1:3]), [35, 20]) and found[19, 3] == 1
    assert states_of(found, pack.factor_names)[2] == (False, True, True, False)
    path.write_bytes(gzip.compress(content + b"x") if zipped else content[:-1])
    with pytest.raises(DataError, match=r"info.mat.* cannot be read .*; fetch it again"):
        pack_of("smallnorb", tmp_path)


@pytest.mark.parametrize("head", [b"", b"x" * 20, struct.pack("<IIIII", 0x1E3D4C54, 2, 2**31, 4, 1)])
def test_headers_of_norb_are_checked_before_anything_is_allocated(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(DataError, match="cannot be read"):
        read_matrix(tmp_path / "a", "info")


def test_mpi3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi3d, "_GRIDS", ((2, 2, 1, 1, 1, 3, 2),))
    images = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    (tmp_path / "mpi3d").mkdir()
    np.savez_compressed(tmp_path / "mpi3d" / "mpi3d_real.npz", images=images)
    pack = pack_of("mpi3d", tmp_path)
    train = pack.split("train")
    assert (train.images == images).all() and pack.name == "mpi3d-real"
    assert train.factors[-1].tolist() == [1, 1, 0, 0, 0, 1, 1] and train.labels.tolist()[6] == 1  # type: ignore[index,union-attr]
    _, names, ordered = states_of(np.asarray(train.factors), pack.factor_names)
    assert dict(zip(names, ordered)) == {
        "object_color": False, "object_shape": False, "horizontal_axis": True, "vertical_axis": False,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"mpi3d_toy.npz from https"):
        pack_of("mpi3d:toy", tmp_path)
    with pytest.raises(SettingError, match="must be mpi3d, or mpi3d:toy"):
        pack_of("mpi3d:dream", tmp_path)
    np.savez(tmp_path / "mpi3d" / "mpi3d_real.npz", images=images[:20])
    with pytest.raises(DataError, match="must have 24 of 64x64x3"):
        pack_of("mpi3d", tmp_path)


def shapes(count: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    rows = np.arange(count)
    labels = np.stack([rows % 10 / 10, rows % 7 / 10, rows % 3 / 10, 0.75 + rows % 8 / 14, rows % 4, rows - 3.5], 1)
    return images, labels


def check_shapes(pack: Pack, images: np.ndarray, labels: np.ndarray) -> None:
    train = pack.split("train")
    assert (train.images == images).all() and np.allclose(np.asarray(train.factors), labels)
    assert train.labels.tolist() == labels[:, 4].tolist() and pack.label_names[3] == "capsule"  # type: ignore[union-attr]
    assert states_of(np.asarray(train.factors), pack.factor_names)[2] == (True, True, True, True, False, True)


@pytest.mark.parametrize(
    "name", ["3dshapes.npz", "look-at-object-room_floor-hueXwall-hueXobj-hueXobj-sizeXobj-shapeXview-azi.npz"]
)
def test_shapes3d_as_arrays(tmp_path: Path, name: str) -> None:
    images, labels = shapes(24)
    flat = name.startswith("3d")
    grid = (images, labels) if flat else (images.reshape(2, 3, 4, 64, 64, 3), labels.reshape(2, 3, 4, 6))
    (tmp_path / "3dshapes").mkdir()
    np.savez(tmp_path / "3dshapes" / name, images=grid[0], labels=grid[1])
    check_shapes(pack_of("shapes3d", tmp_path), images, labels)


def test_shapes3d_as_published(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    images, labels = shapes(24)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=images, compression="gzip")
        file["labels"] = labels
    check_shapes(pack_of("shapes3d", tmp_path), images, labels)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = images
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file["images"] = h5py.ExternalLink("other.h5", "images")
        file["labels"] = labels
    with pytest.raises(DataError, match="no array images of its own"):
        pack_of("shapes3d", tmp_path)


def test_shapes3d_without_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "3dshapes.h5").write_bytes(b"x")
    with pytest.raises(MissingExtra, match=r"pip install 'morphospace\[hdf5\]'"):
        pack_of("shapes3d", tmp_path)


@pytest.mark.parametrize("name", ["cars3d", "mpi3d"])
def test_what_must_be_fetched_by_hand_says_how(tmp_path: Path, name: str) -> None:
    for call in (lambda: prepare(DataSettings(data=name)), lambda: fetch(name, tmp_path)):
        with pytest.raises(DataError, match=r"(put|unpack) .*http.* into ") as caught:
            call()
        one_line(caught.value)


@pytest.mark.parametrize(
    ("name", "files"), [("cifar-10", 1), ("cifar-100", 1), ("svhn", 2), ("smallnorb", 6), ("shapes3d", 1)]
)
def test_what_is_downloaded_is_checked(tmp_path: Path, name: str, files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(file: str, sha256: str, *_: object) -> None:
        assert len(sha256) == 64
        asked.append(file)

    monkeypatch.setattr("morphospace.data.sources.published.download", download)
    fetch(name, tmp_path)
    assert len(asked) == files
