"""Which image files can be read here, and what to do about the others."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

# Pillow registers a format when its plugin is imported, and fails on one asked for but not registered. A JPEG of
# several pictures (MPO) is opened by the JPEG plugin.
_PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    WebPImagePlugin.WebPImageFile,
    TiffImagePlugin.TiffImageFile,
    PpmImagePlugin.PpmImageFile,
)


def _optional() -> Iterator[str]:
    """Register the formats that depend on how Pillow was built, or on pillow-heif, and yield their names."""
    for name, module, feature in (("AVIF", "AvifImagePlugin", "avif"), ("JPEG2000", "Jpeg2KImagePlugin", "jpg_2000")):
        if importlib.util.find_spec(f"PIL.{module}") and features.check(feature):
            importlib.import_module(f"PIL.{module}")
            yield name
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
        yield "HEIF"


FORMATS = (*(str(plugin.format) for plugin in _PLUGINS), *_optional())
_ENDINGS = {
    "JPEG": ".jpg .jpeg .jpe .jfif .jif .pjpeg .pjp .mpo",
    "PNG": ".png .apng",
    "BMP": ".bmp",
    "GIF": ".gif",
    "WEBP": ".webp",
    "TIFF": ".tif .tiff",
    "PPM": ".ppm .pgm .pbm .pnm",
    "AVIF": ".avif",
    "JPEG2000": ".jp2 .j2k .jpx .jpf .jpc .j2c",
    "HEIF": ".heic .heif .hif",
}
ENDINGS = tuple(ending for kind, endings in _ENDINGS.items() if kind in FORMATS for ending in endings.split())
"""Of image files that are read."""
NO_IMAGE = f"has no image file ({', '.join(ending[1:] for ending in ENDINGS)})"

_ADVICE = {
    "pip install pillow-heif, or convert to .jpg": _ENDINGS["HEIF"],
    "pip install -U pillow, or convert to .png": f"{_ENDINGS['AVIF']} {_ENDINGS['JPEG2000']}",
    "convert to .png": ".jxl .svg .psd .xcf .tga .dds .qoi .ico .icns .cur .dib .pcx .sgi .xpm .eps .pdf "
    ".exr .hdr .pfm .dcm .nii .mha .fits .fit .czi .svs .vsi .cr2 .cr3 .nef .arw .dng .orf .rw2 .raf .raw .pef .srw",
    "films: save their frames as .png": ".mp4 .mov .avi .mkv .webm .m4v .mpg",
    "archives: unpack, or read as zip:FILE or wds:FILE": ".zip .tar .gz .tgz .rar .7z .bz2 .xz",
    "arrays: read as npy:FILE or npz:FILE": ".npy .npz",
    "tables: read as hub:FOLDER": ".parquet",
}
WAYS_OUT = {ending: way_out for way_out, endings in _ADVICE.items() for ending in endings.split()}
"""What to do about files that are not read here, by their endings."""
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
"""Endings of files that may hold labels."""
_NO_IMAGE_ENDINGS = frozenset((*WAYS_OUT, *TABLES, ".txt", ".xml", ".md", ".yaml", ".yml", ".toml", ".log", ".py"))
_SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
)
_JUNK = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
HEAD_BYTES = 32


def way_out(kind: str) -> str:
    """Return what to do about a file of a format that is not read here."""
    return WAYS_OUT[_ENDINGS[kind].split()[0]]


def format_of(head: bytes) -> str | None:
    """Return the format that a file's first bytes announce, as Pillow calls it; None if they announce no image."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    if head.startswith((b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return (
            "AVIF" if brand in (b"avif", b"avis") else "HEIF" if brand[:3] in (b"hei", b"hev", b"mif", b"msf") else None
        )
    return None


def ending_of(name: str) -> str:
    """Return a file's ending in lower case, with its dot; empty if it has none."""
    last = name.rpartition("/")[2].lower()
    stem, dot, ending = last.rpartition(".")
    return dot + ending if stem and ending else ""


def is_junk(name: str) -> bool:
    """Return whether a system left this file or folder there, or it is hidden; such files are not counted."""
    return any(part.startswith(".") or part.casefold() in _SYSTEM_FOLDERS for part in name.split("/")) or (
        name.rpartition("/")[2].lower() in _JUNK
    )


def worth_a_look(name: str) -> bool:
    """Return whether a file's first bytes must say if it is an image: its name does not."""
    return ending_of(name) not in _NO_IMAGE_ENDINGS and not name.lower().endswith(ENDINGS)


@dataclass(frozen=True)
class Listing:
    """The files of a tree: what is read, and what is not.

    Attributes:
        images: Relative names, sorted.
        others: The ending, or what else they are, by relative name; sorted.
    """

    images: tuple[str, ...]
    others: Mapping[str, str]

    @property
    def missed(self) -> int:
        """How many of the others hold images or labels, as far as their endings say."""
        return sum(kind in WAYS_OUT or kind in TABLES for kind in self.others.values())

    def notes(self, used: Sequence[str] = ()) -> list[str]:
        """Return lines that count the others, as `unread` does, and name those that may hold labels.

        Args:
            used: Those of the others that are read as labels.
        """
        stems = {name.removesuffix(ending_of(name)) for name in map(str.lower, self.images)} if self.others else set()
        rest = {name: kind for name, kind in self.others.items() if name not in used}
        beside = Counter(kind for n, kind in rest.items() if kind and n.lower().removesuffix(kind) in stems)
        tables = [n for n, kind in rest.items() if kind in TABLES and n.lower().removesuffix(kind) not in stems]
        lines = []
        if tables and not used:
            more = f" and {len(tables) - 1:,} more" if len(tables) > 1 else ""
            asked = shlex.quote(
                tables[0] if len({n.rpartition("/")[2] for n in tables}) > 1 else tables[0].rpartition("/")[2]
            )
            lines.append(f"not read: {tables[0]}{more}; if labels stand there, --labels {asked} reads them")
            rest = {name: kind for name, kind in rest.items() if name not in set(tables)}
        return lines + list(unread(Counter(rest.values()), beside))


def sorted_out(names: Iterable[str], head: Callable[[str], bytes]) -> Listing:
    """Return which files are images, by their endings or else by their first bytes.

    Args:
        names: Relative names; hidden files and those of the system are passed over.
        head: Returns the first bytes of one of them.
    """
    images, others = [], {}
    for name in sorted(names):
        if is_junk(name):
            continue
        if name.lower().endswith(ENDINGS):
            images.append(name)
            continue
        kind = format_of(head(name)) if worth_a_look(name) else None
        if kind in FORMATS:
            images.append(name)
        else:
            others[name] = _ENDINGS[kind].split()[0] if kind else ending_of(name)
    return Listing(tuple(images), others)


def unread(others: Mapping[str, int], beside: Mapping[str, int] | None = None) -> Iterator[str]:
    """Yield lines that count the files not read, and say how they could be.

    Args:
        others: Their number by ending, or by what else they are.
        beside: How many of them are named like an image.
    """
    by_way_out: dict[str, list[str]] = {}
    for kind, count in sorted(others.items(), key=lambda item: (-item[1], item[0])):
        text = f"{count:,} {kind or 'without an ending'}"
        if beside and beside.get(kind) and kind not in WAYS_OUT:
            text += f" ({beside[kind]:,} named like an image)"
        by_way_out.setdefault(WAYS_OUT.get(kind, ""), []).append(text)
    for way_out, texts in sorted(by_way_out.items(), key=lambda item: not item[0]):
        yield f"not read: {', '.join(texts)}{f' ({way_out})' if way_out else ''}"
