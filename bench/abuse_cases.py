"""Malformed inputs for `bench abuse`: each kind makes the files of a case and the command line that reads them."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import struct
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Words = list[str]
Maker = Callable[[random.Random, Path, Path], Words]

SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m`$(touch pwned)`"
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


# What reads a file of tensors that a tool saved: "python" instead of a verb calls it.
READERS = {
    "components": "morphospace.tools.directions.pca:load_components",
    "direction": "morphospace.tools.directions.attribute:load_direction",
    "exported": "morphospace.tools.export:load_exported",
}


# -- damage ----------------------------------------------------------------------------------------------------------


def damaged(rng: random.Random, data: bytes, header: int = 64) -> bytes:
    """Return bytes with one to four faults, half of them in the first bytes."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not content:
            return b""
        at = rng.randrange(min(header, len(content)) if rng.random() < 0.5 else len(content))
        how = rng.randrange(8)
        if how == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del content[at:]
        elif how == 2:
            content[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"])
        elif how == 3:
            content[at:at] = rng.randbytes(rng.randint(1, 40))
        elif how == 4:
            content[at : at + rng.randint(1, 64)] = b""
        elif how == 5:
            content[at : at + 16] = rng.randbytes(16)
        elif how == 6:
            content += content[at : at + 4096]
        else:
            digits = [i for i, byte in enumerate(content[:4096]) if chr(byte).isdigit()]
            if digits:
                content[rng.choice(digits)] = ord(rng.choice("0123456789-e."))
    return bytes(content)


def odd_value(rng: random.Random) -> Any:
    """Return a value that a file may hold and hardly any reader expects."""
    deep: Any = 1
    for _ in range(rng.choice([3, 60, 3000])):
        deep = [deep]
    return rng.choice(
        [None, True, -1, 0, 1, 2**31, 2**63, 2**70, 10**400, -0.5, 1e308, float("nan"), float("inf"), "", "x", SCRIPT]
        + ["a" * 20_000, "../../../secret", "/etc/passwd", "=1+1", "\ud800", "\0", "1" * 5000, [], [1], {}, {"a": 1}]
        + [[1, 2, 3], ["a", 2], [[]], deep]
    )


def odd_json(rng: random.Random, content: Any) -> Any:
    """Return JSON's values with one to three of them replaced, dropped or added."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.randint(1, 3)):
        nodes: list[tuple[Any, Any]] = []

        def walk(node: Any, nodes: list[tuple[Any, Any]] = nodes) -> None:
            items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
            for key, inner in items:
                nodes.append((node, key))
                walk(inner)

        try:
            if len(str(content)) > 200_000:
                break
            walk(content)
        except RecursionError:
            break
        if not nodes or rng.random() < 0.05:
            return odd_value(rng)
        parent, key = rng.choice(nodes)
        how = rng.random()
        if how < 0.7:
            parent[key] = odd_value(rng)
        elif how < 0.85:
            del parent[key]
        elif isinstance(parent, dict):
            parent[rng.choice(["x", SCRIPT, "__class__", "name"])] = odd_value(rng)
    return content


def json_text(rng: random.Random, content: Any) -> bytes:
    """Return JSON text of odd values, or damaged text."""
    made = odd_json(rng, content) if rng.random() < 0.8 else content
    try:
        text = json.dumps(made).encode("utf-8", "surrogatepass")
    except (RecursionError, ValueError):
        text = b'{"a":' * 5000 + b"1" + b"}" * 5000
    return damaged(rng, text) if made is content or rng.random() < 0.2 else text


def toml_text(rng: random.Random, content: dict[str, Any]) -> bytes:
    """Return TOML text of odd values, or damaged text."""
    import tomli_w

    lines = [
        "a" + ".a" * rng.choice([3, 40, 20_000]) + " = 1",
        "x = " + "[" * rng.choice([4, 2000]) + "1",
        "x = " + "9" * 6000,
        "x = 1e99999",
        "x = 1979-05-27",
        "[model.model]",
        "[run]\nx = 1",
        '"\\u0000" = 3',
        "x = " + "{a = " * 900 + "1" + "}" * 900,
    ]
    try:
        made = odd_json(rng, content)
        text = tomli_w.dumps(made if isinstance(made, dict) else {"model": 3}).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError, AttributeError):
        text = tomli_w.dumps(content).encode() + rng.choice(lines).encode() + b"\n"
    if rng.random() < 0.25:
        text = rng.choice(lines).encode() + b"\n" + text if rng.random() < 0.5 else text + rng.choice(lines).encode()
    return damaged(rng, text, len(text)) if rng.random() < 0.25 else text


# -- sources ---------------------------------------------------------------------------------------------------------


def encoded(rng: random.Random, format: str, side: int = 24) -> bytes:
    """Return a picture of a format, of one of its modes."""
    modes = {"JPEG": ["L", "RGB", "CMYK"], "BMP": ["L", "RGB", "1", "P"], "PPM": ["L", "RGB", "1", "I"]}
    modes |= {"GIF": ["P", "L"], "WEBP": ["RGB", "RGBA"], "PNG": ["L", "RGB", "RGBA", "P", "LA", "1", "I;16"]}
    mode = rng.choice(modes.get(format, ["L", "RGB", "RGBA", "P", "CMYK", "I;16", "F", "1"]))
    noise = np.frombuffer(rng.randbytes(side * side * 3), np.uint8).reshape(side, side, 3)
    image = Image.fromarray(noise)
    image = Image.fromarray(noise[..., 0].astype(np.uint16) * 200) if mode == "I;16" else image.convert(mode)
    how: dict[str, Any] = {}
    if format == "TIFF" and mode in ("L", "RGB"):
        how["compression"] = rng.choice([None, "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"])
    if format == "JPEG":
        how["progressive"] = rng.random() < 0.3
    if format == "GIF" and rng.random() < 0.3:
        how |= {"save_all": True, "append_images": [image] * 3}
    with io.BytesIO() as buffer:
        image.save(buffer, format, **how)
        return buffer.getvalue()


def malformed_image(rng: random.Random) -> tuple[str, bytes]:
    """Return the name and bytes of a malformed picture."""
    format = rng.choice(FORMATS)
    data = encoded(rng, format)
    if rng.random() < 0.05:
        data = rng.choice([b"", b"\0" * 4096, rng.randbytes(200), b"%PDF-1.4", b"<svg onload=alert(1)>", b"P6 9 9"])
    elif format == "PNG" and rng.random() < 0.2:  # a header of another size, with its sum
        import zlib

        sides = rng.choice([(60_000, 60_000), (2**31 - 1, 1), (0, 5), (8000, 7000)])
        head = b"IHDR" + struct.pack(">II", *sides) + data[24:29]
        data = data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    else:
        data = damaged(rng, data)
    ending = "jpg" if format == "JPEG" else format.lower()
    return f"{rng.choice(['odd', 'a b', 'ä', '=1', '-x'])}.{ending}", data


def images(rng: random.Random, folder: Path, template: Path) -> Words:
    """Make a folder of images of which one or more are malformed."""
    place = folder / "in" / rng.choice(["a", "train/a", "train"])
    place.mkdir(parents=True)
    if rng.random() < 0.7:
        (place / "good.png").write_bytes(encoded(rng, "PNG"))
    for _ in range(rng.randint(1, 3)):
        name, data = malformed_image(rng)
        (place / name).write_bytes(data)
    if rng.random() < 0.1:
        os.mkfifo(place / "pipe.png")
        (place / "link.png").symlink_to("/dev/zero")
    more = rng.choice([[], ["--classes"], ["--strict"], ["--channels", "1"], ["--crop", "pad"]])
    sized = ["--size", "16"] if rng.random() < 0.8 else []
    verb = rng.choice(["check", "pack"])
    out = ["--out", "out/pack"] if verb == "pack" else []
    return ["data", verb, f"folder:{folder / 'in'}", *sized, *more, *out]


def one_image(rng: random.Random, folder: Path, template: Path) -> Words:
    """Give a malformed picture to a tool that encodes it."""
    name, data = malformed_image(rng)
    (folder / f"in{Path(name).suffix}").write_bytes(data)
    return ["project", str(template / "vae"), f"in{Path(name).suffix}", "--out", "out/x.png"]


def idx(rng: random.Random, folder: Path, template: Path) -> Words:
    """Make the four files of MNIST, one of them malformed."""
    place = folder / "mnist"
    place.mkdir()
    files = {}
    for stem, count in (("train", 3), ("t10k", 2)):
        pixels = rng.randbytes(count * 784)
        files[f"{stem}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, count, 28, 28) + pixels
        files[f"{stem}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, count) + bytes(range(count))
    odd = rng.choice(sorted(files))
    for name, data in files.items():
        if rng.random() < 0.3:
            data = gzip.compress(data)
            name = f"{name}.gz" if rng.random() < 0.8 else name
        (place / name).write_bytes(damaged(rng, data, 24) if name.startswith(odd) else data)
    return ["data", "check", "mnist", "--root", str(folder)]


def npy_bytes(rng: random.Random, array: np.ndarray) -> bytes:
    """Return an array's file, its header odd or its bytes damaged."""
    with io.BytesIO() as buffer:
        np.save(buffer, array, allow_pickle=array.dtype.hasobject)
        data = buffer.getvalue()
    if rng.random() < 0.6:
        head = rng.choice(
            [
                "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 99999999, 3)}",
                "{'descr': '|u1', 'fortran_order': False, 'shape': (-3, 8, 8)}",
                "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 8, 8)}",
                "{'descr': '<f9', 'fortran_order': False, 'shape': (4, 8, 8)}",
                "{'descr': [('a', '<u4', (2,))], 'fortran_order': False, 'shape': (4, 8, 8)}",
                "{'descr': [('a', '<u4'), ('a', '<u4')], 'fortran_order': False, 'shape': (4,)}",
                "{'descr': '|O', 'fortran_order': False, 'shape': (4, 8, 8)}",
                "{'descr': '|V0', 'fortran_order': False, 'shape': (4, 8, 8)}",
                "{'descr': '<U0', 'fortran_order': False, 'shape': (4, 8, 8)}",
                "{'descr': ('<u4', (2,) * 40), 'fortran_order': False, 'shape': (4, 8, 8)}",
                "{'descr': '|u1', 'fortran_order': True, 'shape': (4, 8, 8)}",
                "{'descr': '|u1', 'fortran_order': 3, 'shape': (4, 8, 8)}",
                "{'descr': None, 'fortran_order': False, 'shape': (4, 8, 8)}",
                "{'descr': '|u1', 'shape': (4, 8, 8)}",
                "{'descr': '|u1', 'fortran_order': False, 'shape': 4}",
                "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1," * 70 + ")}",
                "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
                "(" * 300 + ")" * 300,
                "[" * 9000,
                "__import__('os').system('touch pwned')",
                "{'descr': '|u1', 'fortran_order': False, 'shape': (4L, 8L, 8L)}",
                "\0\0\0",
                "lambda: 0",
                "",
            ]
        ).encode()
        version = rng.choice([(1, 0), (1, 0), (2, 0), (3, 0), (9, 9)])
        size = struct.pack("<H" if version == (1, 0) else "<I", min(len(head) + 1, 65_535))
        data = b"\x93NUMPY" + bytes(version) + size + head + b"\n" + bytes(4 * 8 * 8)
        return data if rng.random() < 0.8 else damaged(rng, data, 100)
    return damaged(rng, data, 100)


def arrays(rng: random.Random, folder: Path, template: Path) -> Words:
    """Make an .npy or .npz whose arrays are malformed or odd."""
    kinds: list[np.ndarray] = [
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((4, 8, 8, 3), np.float32),
        np.full((4, 8, 8), np.nan),
        np.zeros((0, 8, 8), np.uint8),
        np.zeros((4, 8, 8), np.complex64),
        np.array([{"a": 1}], dtype=object),
        np.zeros((4,), "U3"),
        np.zeros((4, 1, 1), np.uint8),
    ]
    if rng.random() < 0.5:
        data = npy_bytes(rng, rng.choice(kinds))
        (folder / "x.npy").write_bytes(data)
        return ["data", "check", "npy:x.npy"]
    labels = [np.arange(4), np.array([0, 1, 2, 2**62]), np.array([-1, 0, 1, 2]), np.array([0.5, 1, 2, 3]), np.arange(5)]
    labels += [np.array(["a", "b", "c", "d"]), np.zeros((4, 10)), np.array([0, 3_000_000, 1, 1])]
    with zipfile.ZipFile(folder / "x.npz", "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        with io.BytesIO() as buffer:
            np.save(buffer, rng.choice(kinds), allow_pickle=True)
            good = buffer.getvalue()
        archive.writestr("images.npy", good if rng.random() < 0.5 else npy_bytes(rng, rng.choice(kinds)))
        if rng.random() < 0.7:
            with io.BytesIO() as buffer:
                np.save(buffer, rng.choice(labels))
                archive.writestr("labels.npy", buffer.getvalue())
        if rng.random() < 0.3:
            archive.writestr(rng.choice(["masks.npy", "factors.npy", "attributes.npy"]), npy_bytes(rng, kinds[0]))
    if rng.random() < 0.5:
        file = folder / "x.npz"
        file.write_bytes(damaged(rng, file.read_bytes()))
    return rng.choice([["data", "check", "npz:x.npz"], ["data", "show", "npz:x.npz", "--out", "out/x.png"]])


def zips(rng: random.Random, folder: Path, template: Path) -> Words:
    """Make a zip of images whose names, entries or bytes are odd."""
    names = ["a/x.png", "../x.png", "/x.png", "C:\\x.png", "a\\b.png", "x\0.png", "a/" * 200 + "x.png", "=x.png"]
    with zipfile.ZipFile(folder / "x.zip", "w", rng.choice([0, 8, 12, 14])) as archive:
        for number in range(rng.randint(1, 4)):
            name = f"{number}/x.png" if rng.random() < 0.6 else rng.choice(names)
            archive.writestr(name, encoded(rng, "PNG") if rng.random() < 0.6 else malformed_image(rng)[1])
        if rng.random() < 0.2:
            link = zipfile.ZipInfo("link.png")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        if rng.random() < 0.2:
            archive.writestr("bomb.png", b"\0" * (300 << 20) if rng.random() < 0.1 else b"\0" * (1 << 20), 8)
    if rng.random() < 0.6:
        file = folder / "x.zip"
        file.write_bytes(damaged(rng, file.read_bytes()))
    return ["data", "check", "zip:x.zip", "--size", "16"]


def tars(rng: random.Random, folder: Path, template: Path) -> Words:
    """Make a shard whose names, entries or bytes are odd."""
    ending = rng.choice(["tar", "tar.gz", "tgz"])
    file = folder / f"x.{ending}"
    tables = [b"3", b"cat", b"\xff\xfe", b"9" * 6000, b"-1", b"", SCRIPT.encode()]
    with tarfile.open(file, "w:gz" if "gz" in ending else "w") as archive:
        for number in range(rng.randint(1, 4)):
            stem = rng.choice([f"{number:04}", "../x", "/x", "a b", "."]) if rng.random() < 0.3 else f"{number:04}"
            members = {"png": encoded(rng, "PNG") if rng.random() < 0.7 else malformed_image(rng)[1]}
            if rng.random() < 0.5:
                members["cls"] = rng.choice(tables)
            if rng.random() < 0.5:
                members["json"] = json_text(rng, {"label": 3, "smiling": True})
            for kind, data in members.items():
                about = tarfile.TarInfo(f"{stem}.{kind}")
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
        if rng.random() < 0.2:
            about = tarfile.TarInfo("link.png")
            about.type, about.linkname = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]), "/etc/passwd"
            archive.addfile(about)
    if rng.random() < 0.6:
        file.write_bytes(damaged(rng, file.read_bytes(), 600))
    return ["data", "check", f"wds:{file.name}", "--size", "16"]


def hub(rng: random.Random, folder: Path, template: Path) -> Words:
    """Make a table of the Hub's layout whose columns are odd, name files and addresses, or whose bytes are damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = folder / "set" / "data"
    place.mkdir(parents=True)
    (folder / "secret.png").write_bytes(encoded(rng, "PNG"))
    count = 3
    blobs: list[Any] = [encoded(rng, "PNG") if rng.random() < 0.7 else malformed_image(rng)[1] for _ in range(count)]
    paths = [rng.choice([None, "x.png", str(folder / "secret.png"), "http://127.0.0.1:9/x.png"]) for _ in range(count)]
    if rng.random() < 0.3:
        blobs = [None] * count
    columns: dict[str, Any] = {
        "image": rng.choice(
            [
                pa.array([{"bytes": b, "path": p} for b, p in zip(blobs, paths)]),
                pa.array(blobs, pa.binary()),
                pa.array(paths, pa.string()),
                pa.array([[b] for b in blobs], pa.list_(pa.binary())),
                pa.array([{"bytes": 10**9, "path": 3}] * count),
                pa.array(range(count)),
            ]
        )
    }
    labels = [pa.array(range(count)), pa.array([None, 1, 2]), pa.array(["a", "b", "c"]), pa.array([2**62, 0, -1])]
    labels += [pa.array([[1], [2], []]), pa.array([0.5, 1.0, 2.0])]
    if rng.random() < 0.7:
        columns["label"] = rng.choice(labels)
    features = {"image": {"_type": rng.choice(["Image", "Image", "Value", "Video", "Nothing"])}}
    if rng.random() < 0.5:
        columns["other"] = pa.array([{"bytes": None, "path": p or "x"} for p in paths])
        features["other"] = {"_type": rng.choice(["Audio", "Video", "Image"])}
    table = pa.table(columns)
    if rng.random() < 0.5:
        about = json_text(rng, {"info": {"features": features}}) if rng.random() < 0.3 else None
        about = about or json.dumps({"info": {"features": features}}).encode()
        table = table.replace_schema_metadata({b"huggingface": about})
    file = place / "train-00000-of-00001.parquet"
    pq.write_table(table, file)
    if rng.random() < 0.3:
        file.write_bytes(damaged(rng, file.read_bytes()))
    return ["data", "check", "hub:set", "--size", "16"]


# -- runs, recipes, packs, results -----------------------------------------------------------------------------------


def safetensors_text(rng: random.Random, data: bytes) -> bytes:
    """Return a file of tensors whose header says other things than it holds."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    text = json_text(rng, header)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def run_folders(rng: random.Random, folder: Path, template: Path) -> Words:
    """Copy a small run, spoil a file of it, and use it."""
    kind = rng.choice(["vae", "vae", "gan"])
    run = folder / "run"
    shutil.copytree(template / kind, run)
    secret = folder / "secret.txt"
    secret.write_text("SECRET" * 20)
    files = sorted(file for file in run.rglob("*") if file.is_file() and "events.out" not in file.name)
    chosen = [run / name for name in ("run.toml", "metrics.jsonl", "best.json", "evaluation.json")]
    chosen += [file for file in files if file.parent.parent.name == "checkpoints" or file.parent.name == "checkpoints"]
    for file in rng.sample(chosen, rng.choice([1, 1, 2])):
        data = file.read_bytes()
        how = rng.random()
        if how < 0.06:
            file.unlink()
            file.symlink_to(secret)
        elif how < 0.1:
            file.unlink()
            os.mkfifo(file)
        elif how < 0.14:
            file.unlink()
            if rng.random() < 0.5:
                file.mkdir()
        elif file.suffix == ".toml":
            file.write_bytes(toml_text(rng, tomllib.loads(data.decode())))
        elif file.suffix == ".json":
            file.write_bytes(json_text(rng, json.loads(data)))
        elif file.suffix == ".jsonl":
            lines = data.splitlines()
            at = rng.randrange(len(lines))
            lines[at] = json_text(rng, json.loads(lines[at])).replace(b"\n", b"")
            file.write_bytes(b"\n".join(lines) + b"\n")
        elif file.suffix == ".safetensors" and how < 0.7:
            file.write_bytes(safetensors_text(rng, data))
        elif file.name in ("last", "best"):
            odd = ["../../..", "0", "9" * 30, "", "١٢٣", "000000000064\n", "\0", str(secret), "x" * 5000]
            file.write_bytes(rng.choice(odd).encode())
        else:
            file.write_bytes(damaged(rng, data))
    extra = rng.random()
    if extra < 0.08:
        (run / ".lock").unlink()
        (run / ".lock").symlink_to(secret) if extra < 0.05 else os.mkfifo(run / ".lock")
    elif extra < 0.12 and (run / "checkpoints").is_dir():
        moved = folder / "elsewhere"
        shutil.move(run / "checkpoints", moved)
        (run / "checkpoints").symlink_to(moved)
    elif extra < 0.15:
        (run / "checkpoints" / "000000000999").symlink_to(folder)
    out = "out/x"
    verbs = [
        ["runs", "."],
        ["sample", "run", "--n", "2", "--out", f"{out}.png"],
        ["sample", "run", "--n", "2", "--checkpoint", rng.choice(["last", "64", "0", "9" * 50]), "--out", f"{out}.png"],
        ["card", "run", "--out", f"{out}.md"],
        ["reconstruct", "run", "--n", "2", "--out", f"{out}.png"],
        ["resume", "run"],
        ["resume", "run", "--epochs", "2", "--images", "96"],
        ["export", "run", "--format", "safetensors", "--out", f"{out}.safetensors"],
        ["evaluate", "run", "--metrics", "fd", "--features", "pixels", "--n", "32"],
        ["compare", "run", str(template / "vae"), "--metrics", "none", "--out", f"{out}.html"],
        ["train", "--recipe", "run/run.toml", "--dry-run"],
        ["interpolate", "run", "--from", "seed:0", "--to", "seed:1", "--out", f"{out}.png"],
        ["diagnose", "run", "--n", "32"],
        ["score", "run", "digits", "--n", "8", "--out", f"{out}.csv"],
    ]
    return rng.choice(verbs)


def recipes(rng: random.Random, folder: Path, template: Path) -> Words:
    """Write a malformed recipe."""
    content = {
        "recipe": {"title": "x", "year": 2020, "minutes": 3, "share": 0.5, "expect": "y", "source": "z"},
        "model": {"name": rng.choice(["vae", "dcgan", "cvae"]), "latent_dim": 8, "widths": [8, 16], "lr": 1e-3},
        "data": {"data": "digits", "size": 32, "valid": 0.1},
        "training": {"epochs": 1, "batch_size": 8, "betas": 1} if rng.random() < 0.1 else {"epochs": 1},
    }
    (folder / "x.toml").write_bytes(toml_text(rng, content))
    return rng.choice([["train", "--recipe", "x.toml", "--dry-run"], ["recipes", "x.toml"]])


def packs(rng: random.Random, folder: Path, template: Path) -> Words:
    """Copy a pack and spoil a file of it."""
    place = folder / "pack"
    shutil.copytree(template / "pack", place)
    file = rng.choice(sorted(place.iterdir()))
    data = file.read_bytes()
    how = rng.random()
    if how < 0.05:
        file.unlink()
        os.mkfifo(file)
    elif file.suffix == ".json":
        file.write_bytes(json_text(rng, json.loads(data)))
    else:
        made = npy_bytes(rng, np.zeros((4, 8, 8, 1), np.uint8))
        made = (made + bytes(max(0, len(data) - len(made))))[: len(data)] if rng.random() < 0.7 else made
        file.write_bytes(made if rng.random() < 0.7 else damaged(rng, data, 128))
    return rng.choice([["data", "check", "pack"], ["data", "show", "pack", "--out", "out/x.png"]])


def results(rng: random.Random, folder: Path, template: Path) -> Words:
    """Spoil a file that one tool writes and another reads."""
    run = str(template / "vae")
    kind = rng.randrange(5)
    if kind == 0:
        (folder / "code.json").write_bytes(json_text(rng, {"codes": [[0.0] * 4] * 2, "run": "x"}))
        which = rng.choice(["code.json", "code.json#1", "code.json#" + "9" * 5000, "code.json#-1"])
        return ["interpolate", run, "--from", which, "--to", "seed:1", "--out", "out/x.png"]
    if kind == 1:
        (folder / "path.json").write_bytes(
            json_text(rng, {"codes": [[0.0] * 4] * 3, "how": "line", "ends": ["a", "b"]})
        )
        return ["interpolate", run, "--path", "path.json", "--out", "out/x.png"]
    if kind == 2:
        trials = [{"image": i, "truth": "real", "answer": "generated", "milliseconds": 30.5} for i in range(4)]
        content = {"page": "ab", "run": "x", "seconds": 1, "trials": trials}
        (folder / "answers.json").write_bytes(json_text(rng, content))
        return ["judge", "--answers", "answers.json"]
    name, reader = rng.choice(list(READERS.items()))
    data = (template / f"{name}.safetensors").read_bytes()
    made = safetensors_text(rng, data) if rng.random() < 0.6 else damaged(rng, data)
    (folder / "x.safetensors").write_bytes(made)
    return ["python", reader, "x.safetensors"]


def command_lines(rng: random.Random, folder: Path, template: Path) -> Words:
    """Write a command line of odd words."""
    from morphospace.cli.app import TOOLS, VERBS

    verb = rng.choice(
        [*(name for name in (*VERBS, *TOOLS) if name not in ("demo", "studio")), "data check", "data show"]
    )
    run = str(template / "vae")
    odd = ["", "-1", "0", "1e999", "nan", "9" * 5000, "x", "\udcff", "../..", "/dev/null", "=1", SCRIPT, "a,b", "a=b=c"]
    odd += [
        "--",
        "-",
        "[]",
        "none",
        "seed:" + "9" * 400,
        "train:٣",
        "'",
        "folder:",
        "wds:{0..9999999999}",
        "hub:a/../b",
    ]
    odd += ["toyfaces:99999999999999999999", "toyfaces:-1:x", "npz:/dev/zero", "zip:/dev/full", "folder:/dev"]
    flags = ["--n", "--seed", "--out", "--size", "--data", "--label", "--checkpoint", "--json", "--metrics", "--epochs"]
    flags += ["--attributes", "--columns", "--features", "--device", "--plugin", "--grid", "--widths", "--from", "--lr"]
    words = verb.split()
    for _ in range(rng.randint(0, 4)):
        words.append(rng.choice([rng.choice(odd), run, rng.choice(flags), "vae", "digits"]))
        if words[-1].startswith("--") and rng.random() < 0.8:
            words.append(rng.choice(odd))
    slow = words[0] in ("train", "sweep", "resume", "train-encoder", "project")
    return [*words, "--dry-run"] if words[0] == "train" else ["models"] if slow and words[0] != "train" else words


KINDS: dict[str, tuple[Maker, float]] = {  # with the share of the cases
    "images": (images, 0.2),
    "one-image": (one_image, 0.06),
    "idx": (idx, 0.06),
    "arrays": (arrays, 0.1),
    "zip": (zips, 0.07),
    "tar": (tars, 0.07),
    "hub": (hub, 0.05),
    "runs": (run_folders, 0.16),
    "recipes": (recipes, 0.08),
    "packs": (packs, 0.06),
    "results": (results, 0.05),
    "command-lines": (command_lines, 0.04),
}
