"""Answers to what a page asks, with no notion of how the question came: a request in, a reply out, errors as data."""

from __future__ import annotations

import io
import itertools
import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from morphospace.data.decode import Rule, read_header
from morphospace.errors import DataError, MorphospaceError, SettingError
from morphospace.latent.paths import along
from morphospace.runs.codes import as_seen, codes_of
from morphospace.runs.pick import picked
from morphospace.studio import requests as ask
from morphospace.studio.records import described, diagnosed, listed, plain, snapshot, trained
from morphospace.studio.shelf import Shelf
from morphospace.studio.space import Space
from morphospace.tools.card import card
from morphospace.tools.project import project
from morphospace.tools.walk.interpolate import pace

LOG = logging.getLogger(__name__)
PICTURES = 16
PICTURE_BYTES = 16 << 20
PICTURE_PIXELS = 64_000_000
PICTURE_SIDE = 1024  # a picture that was sent is kept no larger than this
QUICK_FLOP = 40e9  # about a fifth of a second


@dataclass(frozen=True)
class Block:
    """Some images of one size.

    Attributes:
        name: What they are.
        images: uint8 (N, H, W, C), C being 1 or 3.
    """

    name: str
    images: np.ndarray

    def rgba(self) -> np.ndarray:
        """Return the pixels as a canvas takes them, uint8 (N, H, W, 4)."""
        count, height, width, _ = self.images.shape
        pixels = np.full((count, height, width, 4), 255, np.uint8)
        pixels[..., :3] = self.images  # grey is spread over the three
        return pixels


@dataclass(frozen=True)
class Reply:
    """An answer: facts that JSON can hold, images, or a file."""

    facts: Mapping[str, Any]
    blocks: tuple[Block, ...] = ()
    file: bytes = b""


def refusal(error: str, reason: str) -> Reply:
    """Return the answer that says, in one line, why there is none."""
    return Reply({"error": " ".join(error.split())[:600], "reason": reason})


class Session:
    """Answers requests; safe to be asked from several threads.

    Args:
        shelf: The runs.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._answers: dict[type, Callable[[Any], Reply]] = {
            ask.Runs: lambda request: Reply(listed(self.shelf)),
            ask.Describe: lambda request: Reply(described(self.shelf, request.run)),
            ask.Card: lambda request: Reply({"card": card(self.shelf.space(request.run).run)}),
            ask.Training: lambda request: Reply(trained(self.shelf.folder(request.run))),
            ask.Diagnosis: lambda request: Reply(diagnosed(self.shelf.space(request.run).run)),
            ask.Snapshot: lambda request: Reply(
                {}, (Block("grid", snapshot(self.shelf.folder(request.run), request.images)),)
            ),
            ask.Decode: self.decode,
            ask.Encode: self.encode,
            ask.MapOf: self.map,
            ask.Neighbours: self.neighbours,
            ask.Sliders: self.sliders,
            ask.Walk: self.walk,
            ask.Film: self.film,
            ask.Project: self.project,
            ask.Compare: self.compare,
        }

    def answer(self, request: ask.Request) -> Reply:
        """Answer a request; what goes wrong is an answer too."""
        try:
            return self._answers[type(request)](request)
        except MorphospaceError as error:
            return refusal(str(error), "setting")
        except Exception as error:  # whatever it is, the page gets an answer and the traceback goes to whoever serves
            LOG.exception("%s was not answered", type(request).__name__)
            return refusal(f"{type(error).__name__}: could not answer that; the studio's log says more", "internal")

    def quick(self, request: ask.Request) -> bool:
        """Return whether an answer is a matter of milliseconds: nothing to load, to encode in bulk or to search.

        What is not is answered beside the rest, so that a hand on a slider never waits for it.
        """
        if isinstance(request, ask.Snapshot):
            return True
        if not isinstance(request, (ask.Decode, ask.Encode, ask.Walk, ask.Compare)):
            return False
        keys = request.runs if isinstance(request, ask.Compare) else (request.run,)
        spaces = [self.shelf.ready(key) for key in keys]
        return all(space is not None and quick_in(space, request) for space in spaces)

    def take_picture(self, data: bytes) -> str:
        """Keep a picture that was sent, in memory, and return its name; the oldest are forgotten.

        Raises:
            DataError: It is too large, or no picture.
        """
        if len(data) > PICTURE_BYTES:
            raise DataError(
                "picture", rule=f"{len(data):,} bytes are more than {PICTURE_BYTES:,}", way_out="send a smaller one"
            )
        try:
            header = read_header(data, PICTURE_PIXELS)
        except DataError as error:
            raise no_picture(error) from None
        # Once here, in a size that any model can be served from: a bomb is refused before it is unpacked.
        scale = min(1.0, PICTURE_SIDE / max(header.height, header.width))
        size = (max(1, round(header.height * scale)), max(1, round(header.width * scale)))
        pixels = decode_picture(data, Rule(*size, 3, "stretch", PICTURE_PIXELS))
        kept = io.BytesIO()
        Image.fromarray(pixels).save(kept, format="PNG", compress_level=1)
        with self._lock:
            name = f"p{next(self._numbers)}"
            self._pictures[name] = kept.getvalue()
            while len(self._pictures) > PICTURES:
                self._pictures.popitem(last=False)
        return name

    # -- images of codes, codes of images --------------------------------------------------------------------

    def decode(self, request: ask.Decode) -> Reply:
        """Draw codes."""
        space = self.shelf.space(request.run)
        if request.codes:
            codes = space.given(request.codes)
        elif request.seeds:
            codes = space.seeded(request.seeds)
        elif request.points:
            codes = space.at_points(request.points)
        else:
            base = space.start() if request.base is None else space.given((request.base,), "base")[0]
            codes = space.moved(base, [(move.kind, move.name, move.value) for move in request.moves])[None]
        images = space.frames(codes, space.condition(request.condition, len(codes)))
        return Reply({} if request.codes else {"codes": codes.tolist()}, (Block("images", images),))

    def encode(self, request: ask.Encode) -> Reply:
        """Find the code of an image, and draw it."""
        space = self.shelf.space(request.run)
        original, code, told, words = self._code(space, request.image, request.picture, request.condition)
        rebuilt = space.frames(code[None], told)
        facts = {"code": code.tolist(), "words": words, "mse": squared(original, rebuilt[0])}
        facts |= {"condition": None if told is None else space.words(told[0])}
        return Reply(facts, (Block("images", np.stack([original, rebuilt[0]])),))

    def _code(
        self, space: Space, image: str, picture: str, asked: ask.Condition | None
    ) -> tuple[np.ndarray, Tensor, Tensor | None, str]:
        """Return an image as the run sees it, its code, its condition and where it is from."""
        if picture:
            told = space.condition(asked)
            original = self._picture(space, picture)
            return original, codes_of(space.run, original[None], told)[0], told, "your picture"
        pick = picked(space.run, image)
        assert pick.image is not None
        return pick.image, pick.code, None if pick.condition is None else pick.condition[None], pick.words

    def _picture(self, space: Space, name: str) -> np.ndarray:
        """Return a picture that was sent, cropped and resized by a run's own rule."""
        with self._lock:
            data = self._pictures.get(name)
        if data is None:
            raise SettingError("picture", name, "was not sent, or is forgotten by now", "send it again")
        image = decode_picture(data, Rule(*space.model.shape, space.run.crop))
        return as_seen(space.run, image[None])[0]

    def project(self, request: ask.Project) -> Reply:
        """Find a picture in the space."""
        space = self.shelf.space(request.run)
        original = self._picture(space, request.picture)
        told = space.condition(request.condition)
        found = project(space.run, original[None], refine=request.refine, condition=None if told is None else told[0])
        facts = {"code": found.codes[0].tolist(), "how": found.how, "mse": float(found.mse[0])}
        images = np.concatenate([found.originals[:1], found.images[:1]])
        return Reply({**facts, "psnr": plain(float(found.psnr[0]))}, (Block("images", images),))

    def compare(self, request: ask.Compare) -> Reply:
        """Show one seed, image or picture in several runs."""
        blocks: list[Block] = []
        facts: list[dict[str, Any]] = []
        for key in request.runs:
            try:
                space = self.shelf.space(key)
                # What one run is told says nothing to a run that takes no condition.
                asked = None if space.model.conditioning is None else request.condition
                if request.seed is not None:
                    codes = space.seeded((request.seed,))
                    blocks.append(Block(key, space.frames(codes, space.condition(asked))))
                    facts.append({"run": key, "code": codes[0].tolist()})
                    continue
                original, code, told, words = self._code(space, request.image, request.picture, asked)
                images = np.concatenate([original[None], space.frames(code[None], told)])
                blocks.append(Block(key, images))
                facts.append({"run": key, "code": code.tolist(), "words": words, "mse": squared(*images)})
            except MorphospaceError as error:
                facts.append({"run": key, "error": str(error)})
        return Reply({"each": facts}, tuple(blocks))

    # -- the space -------------------------------------------------------------------------------------------

    def map(self, request: ask.MapOf) -> Reply:
        """Show where the data's codes lie, and what lies between them."""
        space = self.shelf.space(request.run)
        chart, rows = space.chart(request.by), space.gathered().rows
        count = min(request.count, len(chart.points))
        left, bottom, right, top = chart.corners
        facts = {
            "points": np.round(chart.points[:count], 5).tolist(),
            "labels": None if chart.classes is None else chart.classes[:count].tolist(),
            "label_names": list(chart.class_names),
            "rows": rows[:count].tolist(),
            "bounds": [left, right, bottom, top],
            "share": None if chart.share is None else list(chart.share),
            "flat": chart.flat,
        }
        blocks = [Block("thumbnails", chart.thumbnails[:count])]
        if chart.behind is not None:
            blocks.append(Block("behind", chart.behind))
        return Reply(facts, tuple(blocks))

    def neighbours(self, request: ask.Neighbours) -> Reply:
        """Show the images nearest to a code."""
        space = self.shelf.space(request.run)
        code = space.given((request.code,), "code")
        if request.among == "train":
            image = space.frames(code, space.condition(request.condition))[0]
            rows, far, images = space.nearest_training(image, request.count)
            return Reply({"rows": rows.tolist(), "distances": far.tolist()}, (Block("images", images),))
        known = space.gathered()
        distance = (known.codes - code).norm(dim=1)
        near = distance.argsort(stable=True)[: request.count].numpy()
        facts = {"rows": known.rows[near].tolist(), "distances": distance[near].tolist()}
        facts |= {"codes": known.codes[near].tolist()}
        if space.model.latent_dim >= 2 and len(known.rows) >= 3:
            facts |= {"points": space.chart().points[near].tolist()}
        return Reply(facts, (Block("images", np.stack(list(known.each(near)))),))

    def sliders(self, request: ask.Sliders) -> Reply:
        """List what a code can be moved along, of one kind."""
        space = self.shelf.space(request.run)
        rows: list[dict[str, Any]]
        if request.by == "component":
            rows = [{"name": i, "share": share} for i, share in enumerate(space.axes().share.tolist()[:64])]
        elif request.by == "dim":
            rows = [{"name": index, "change": size} for index, size in space.ranked()[:64]]
        else:
            rows = [
                {"name": name, "accuracy": plain(d.held and d.held.balanced_accuracy), "n": d.held.n if d.held else 0}
                for name, d in space.directions().items()
            ]
        return Reply({"rows": rows})

    def walk(self, request: ask.Walk) -> Reply:
        """Show what lies between codes."""
        space = self.shelf.space(request.run)
        blocks, facts = [], {}
        for how in request.hows:
            codes = route(space.given(request.ends, "ends"), how, request.steps)
            images = space.frames(codes, space.condition(request.condition, len(codes)))
            speed = pace(torch.from_numpy(images).float() / 255)
            told = space.condition(request.condition, len(codes))
            facts[how] = {
                "mean": speed.mean,
                "spread": speed.spread,
                "norms": codes.norm(dim=1).tolist(),
                "codes": codes.tolist(),
                "conditions": None if told is None else told.tolist(),
            }
            blocks.append(Block(how, images))
        return Reply({"paths": facts}, tuple(blocks))

    def film(self, request: ask.Film) -> Reply:
        """Make a walk into a GIF that goes forth and back."""
        from morphospace.pictures.films import save_film

        walk = request.walk
        (block,) = self.walk(walk).blocks
        images = enlarged(np.concatenate([block.images, block.images[-2:0:-1]]))
        name = self.shelf.folder(walk.run).path.name
        facts = {"run": name, "how": walk.hows[0], "ends": [list(end) for end in walk.ends], "fps": request.fps}
        with tempfile.TemporaryDirectory(prefix="morphospace-") as folder:
            frames = [Image.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in images]
            film = save_film(Path(folder) / "walk.gif", frames, len(frames), request.fps, facts, colours=frames[::8])
            return Reply({"fps": film.fps, "frames": film.frames}, file=film.path.read_bytes())


def route(ends: Tensor, how: str, steps: int) -> Tensor:
    """Return `steps` codes from each end to the next, (S, D); where two legs meet, the end stands once."""
    legs = [along(a, b, steps, how) for a, b in itertools.pairwise(ends)]
    return torch.cat([legs[0], *(leg[1:] for leg in legs[1:])])


def decode_picture(data: bytes, rule: Rule) -> np.ndarray:
    """Decode a picture that was sent.

    Raises:
        DataError: It is none.
    """
    from morphospace.data.decode import decode

    try:
        return decode(data, rule)
    except DataError as error:
        raise no_picture(error) from None


def no_picture(error: DataError) -> DataError:
    """Return the refusal of something that cannot be decoded."""
    return DataError("picture", rule=error, way_out="send a JPEG, PNG or WebP")


def enlarged(images: np.ndarray, least: int = 128) -> np.ndarray:
    """Return images by repeated pixels, about `least` a side."""
    times = max(1, round(least / max(images.shape[1:3])))
    return images.repeat(times, axis=1).repeat(times, axis=2)


def squared(first_: np.ndarray, second: np.ndarray) -> float:
    """Return the mean squared difference of two uint8 images, in [0, 1]."""
    return float(((first_.astype(np.float64) - second) ** 2).mean() / 255**2)


def quick_in(space: Space, request: ask.Decode | ask.Encode | ask.Walk | ask.Compare) -> bool:
    """Return whether a loaded run answers a request at once."""
    if isinstance(request, (ask.Encode, ask.Compare)):
        return not request.image or "pack" in vars(space.run)
    if isinstance(request, ask.Walk):
        count = len(request.hows) * (len(request.ends) - 1) * request.steps
    else:
        count = len(request.codes) + len(request.seeds) + len(request.points) + 1
        # Sliders are asked for before any is moved; until then nobody knows what there is.
        needed = {"direction": "directions", "component": "axes", "dim": "spread"}
        keys = [needed[move.kind] for move in request.moves]
        keys += ["codes", "axes"] if request.points else []
        keys += ["start"] if request.moved and request.base is None else []
        if not space.kept(*keys):
            return False
    return count * space.decoder.flop <= QUICK_FLOP
