"""CelebAMask-HQ: 30,000 faces with masks of 18 parts, prepared as foregrounds on a plain background."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from morphospace.data.decode import Chunk, decode
from morphospace.data.fitting import fit
from morphospace.data.opening import read_header
from morphospace.data.rule import Rule
from morphospace.data.sizes import parse_background
from morphospace.data.sources.base import Contents, HandFetched, Part, SourceInfo, damaged, fingerprint
from morphospace.data.sources.celeba import read_attributes
from morphospace.errors import DataError, SettingError, nearest, one_line

# In the order of the class maps, whose 0 is background.
PARTS = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
GROUPS: Mapping[str, tuple[str, ...]] = {
    "eyes": ("l_eye", "r_eye"),
    "brows": ("l_brow", "r_brow"),
    "ears": ("l_ear", "r_ear"),
    "lips": ("u_lip", "l_lip"),
    "face": PARTS,
}
_HOME = "https://github.com/switchablenorms/CelebAMask-HQ"
_SIDE = 512
_PER_FOLDER = 2000


@dataclass(frozen=True, slots=True)
class Face:
    """One image and where its masks are: a file a part, or one class map."""

    image: str
    masks: tuple[tuple[int, str], ...]
    map: str | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """Which parts make each mask, which make the foreground, and what is painted elsewhere."""

    layers: tuple[tuple[int, ...], ...]
    kept: tuple[int, ...]
    background: tuple[int, int, int] | None


def _levels(path: str) -> np.ndarray:
    """(512, 512) grey levels or class numbers of a mask, by nearest neighbour where it has another size."""
    header = read_header(path)
    if header.height != header.width:
        raise DataError(rule=f"mask {Path(path).name} is {header.height}x{header.width}, not square like its image")
    try:
        with Image.open(path) as image:
            grey = image if image.mode in ("L", "P") else image.convert("L")
            levels = np.asarray(
                grey if grey.size == (_SIDE, _SIDE) else grey.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            )
    except Exception as error:  # plugins raise many kinds on broken files
        raise damaged(f"mask {Path(path).name}", one_line(error)) from None
    return levels


def _regions(face: Face, parts: Sequence[int]) -> dict[int, np.ndarray]:
    """Where each of `parts` is, bool (512, 512); parts that the face lacks are left out."""
    if face.map is not None:
        levels = _levels(face.map)
        if levels.max() > len(PARTS):
            raise DataError(rule=f"class map {Path(face.map).name} has class {levels.max()}, must be 0 to {len(PARTS)}")
        return {part: levels == part + 1 for part in parts}
    if not face.masks:
        raise DataError(rule="has no mask of any part")
    return {part: _levels(path) > 0 for part, path in face.masks if part in parts}


def _union(regions: Mapping[int, np.ndarray], parts: Sequence[int]) -> np.ndarray:
    union = np.zeros((_SIDE, _SIDE), bool)
    for part in parts:
        if part in regions:
            union |= regions[part]
    return union


def _prepared(face: Face, rule: Rule, wish: _Wish) -> tuple[np.ndarray, np.ndarray]:
    pixels = decode(face.image, Rule(_SIDE, _SIDE, 3, max_pixels=rule.max_pixels))
    regions = _regions(face, sorted({part for layer in (*wish.layers, wish.kept) for part in layer}))
    if wish.background is not None:
        kept = _union(regions, wish.kept)
        if not kept.any():
            raise DataError(rule="its masks mark nothing of the parts asked for")
        pixels = np.where(kept[..., None], pixels, np.array(wish.background, np.uint8))
    grey = Rule(rule.height, rule.width, 1, rule.crop)
    layers = [fit(_union(regions, layer).astype(np.uint8) * np.uint8(255), grey) >= 128 for layer in wish.layers]
    return fit(pixels, rule), np.concatenate(layers, axis=-1).astype(np.uint8)


def decode_faces(faces: Sequence[Face], rule: Rule, wish: _Wish) -> Chunk:
    """Prepare many faces; what a worker process runs."""
    images, masks, bad = [], [], []
    for position, face in enumerate(faces):
        try:
            image, mask = _prepared(face, rule, wish)
        except DataError as error:
            bad.append((position, str(error)))
            continue
        images.append(image)
        masks.append(mask)
    if not images:
        return Chunk(
            np.empty((0, *rule.shape), np.uint8), bad, np.empty((0, *rule.shape[:2], len(wish.layers)), np.uint8)
        )
    return Chunk(np.stack(images), bad, np.stack(masks))


class CelebAMaskHQ(HandFetched):
    """`CelebA-HQ-img/N.jpg` with `CelebAMask-HQ-mask-anno/N // 2000/NNNNN_part.png`, or with class maps.

    Each image is resized to 512 and centre-cropped, all but the union of the chosen parts (all when none are
    chosen) is painted the background (black unless said), and the result is resized. Masks are those of the parts
    chosen, or of the union, named `face`: one where at least half a pixel is covered. Both resizes are this
    library's one (bicubic, antialiased, 8 bit). Class maps, values 0..18, are looked for in
    `CelebAMask-HQ-mask/N.png`, and in the authors' `MaskGAN_demo/samples` beside the images. An image without masks is
    left out and reported. There is no official split in the download, so all images are `train`.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="celebamask-hq",
        description="30,000 aligned faces of 1024x1024 with masks of 18 parts and 40 attributes",
        licence="non-commercial research and education only; no further copying or distribution",
        shape=(64, 64, 3),
        where=_HOME,
        size="3.2 GB",
        embedded="toyfaces",
    )
    takes = ("parts", "background")

    def _find(self) -> tuple[Path, Path] | None:
        """The set's folder and that of its images."""
        if self.root is None:
            return None
        for name in ("CelebAMask-HQ", "celebamask-hq", "celebamask_hq", "celebamask_hq/CelebAMask-HQ", ""):
            for inner in ("CelebA-HQ-img", "MaskGAN_demo/samples"):
                if (self.root / name / inner).is_dir():
                    return self.root / name, self.root / name / inner
        return None

    def _lost(self) -> str:
        return f"no CelebA-HQ-img below {self.root or 'ROOT (none is given)'}"

    def _manual(self) -> str:
        unknown = "ROOT/CelebAMask-HQ (root= or MORPHOSPACE_DATA names ROOT)"
        folder = self.root / "CelebAMask-HQ" if self.root else unknown
        terms = self.info.licence.replace(";", ",")
        return (
            f"get CelebAMask-HQ.zip (3 GB) by the links on {_HOME}, whose terms are {terms}, and unpack it"
            f" so that {folder} holds CelebA-HQ-img and CelebAMask-HQ-mask-anno"
        )

    @functools.cached_property
    def _faces(self) -> dict[str, Face]:
        base, images = self._located()
        numbers = sorted(int(p.stem) for p in images.glob("*.jpg") if p.stem.isascii() and p.stem.isdigit())
        if not numbers:
            raise DataError(images, rule="has no image named by a number, such as 0.jpg", way_out=self._manual())
        masks, maps = base / "CelebAMask-HQ-mask-anno", base / "CelebAMask-HQ-mask"
        if images.name == "samples":
            maps = images
        whole = not masks.is_dir()
        if whole and not maps.is_dir():
            rule = "has neither CelebAMask-HQ-mask-anno nor CelebAMask-HQ-mask"
            raise DataError(base, rule=rule, way_out=self._manual())
        found: dict[tuple[int, str], str] = {}
        if not whole:
            found = {(int(p.stem[:5]), p.stem[6:]): str(p) for p in masks.glob("*/[0-9][0-9][0-9][0-9][0-9]_*.png")}
        faces = {}
        for n in numbers:
            name = next(f for f in (f"{n}.jpg", f"{n:05}.jpg") if (images / f).is_file())
            mine = tuple((i, found[n, part]) for i, part in enumerate(PARTS) if (n, part) in found)
            faces[name] = Face(str(images / name), mine, str(maps / f"{n}.png") if whole else None)
        return faces

    def inputs(self) -> Mapping[str, Any]:
        base, _ = self._located()
        files = [face.image for face in self._faces.values()]
        for face in self._faces.values():
            files += [path for _, path in face.masks]
            if face.map is not None and Path(face.map).is_file():
                files.append(face.map)
        return fingerprint(base, [str(Path(file).relative_to(base)) for file in files])

    def _wish(self) -> tuple[_Wish, tuple[str, ...]]:
        chosen = self.settings.parts
        for part in chosen:
            if part not in (*PARTS, *GROUPS, "all"):
                known = nearest(part, (*PARTS, *GROUPS))
                raise SettingError("parts", ",".join(chosen), f"celebamask-hq has no {part!r}{known}")
        names = PARTS if "all" in chosen else tuple(dict.fromkeys(chosen))
        every = tuple(range(len(PARTS)))
        layers = tuple(tuple(PARTS.index(p) for p in GROUPS.get(name, (name,))) for name in names) or (every,)
        kept = tuple(sorted({part for layer in layers for part in layer}))
        text = self.settings.background
        background = parse_background("black" if text is None else text)
        return _Wish(layers, kept, background), names or ("face",)

    def read(self) -> Contents:
        base, _ = self._located()
        wish, mask_names = self._wish()
        names = list(self._faces)
        listing = base / "CelebAMask-HQ-attribute-anno.txt"
        columns, table, listed = read_attributes(listing if listing.is_file() else None, set(names))
        notes = []
        if listed is None:
            notes.append("celebamask-hq: no CelebAMask-HQ-attribute-anno.txt is here, so images have no attributes")
        else:
            notes.append(f"celebamask-hq: {len(table):,} of {listed:,} listed images are here")
            if len(table) < len(names):
                notes.append(f"celebamask-hq: {len(names) - len(table):,} images are not listed and are left out")
            names = [name for name in names if name in table]
        bare = sum(1 for name in names if not self._faces[name].masks and self._faces[name].map is None)
        if bare:
            notes.append(f"celebamask-hq: {bare:,} images have no masks and are left out")
        if not names:
            raise DataError(listing, rule="lists none of the images", way_out="check the names")
        part = Part(
            files=[self._faces[name] for name in names],
            attributes=None if listed is None else np.stack([table[name] for name in names]),
            names=names,
            chunk=functools.partial(decode_faces, wish=wish),
        )
        return Contents(
            "celebamask-hq",
            {"train": part},
            (64, 64, 3),
            attribute_names=columns,
            mask_names=mask_names,
            notes=tuple(notes),
        )
