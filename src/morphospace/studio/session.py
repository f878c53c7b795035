"""Answers the page's questions, however they arrive: a request in, a reply out; an error is a reply too."""

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
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from morphospace.data.opening import read_header
from morphospace.data.rule import Rule
from morphospace.errors import DataError, MorphospaceError, RunError, SettingError
from morphospace.latent.paths import along
from morphospace.runs.codes import as_seen, codes_of
from morphospace.runs.folder import RunFolder
from morphospace.runs.pick import Pick, picked, shown
from morphospace.runs.report import sampled_from
from morphospace.studio import requests as ask
from morphospace.studio import run_facts
from morphospace.studio.live.settings import offered
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.studio.run_facts import finite
from morphospace.studio.space import ERROR, UNLIKE, Space
from morphospace.studio.unpack import unpacked
from morphospace.tools.card import card
from morphospace.tools.project import project
from morphospace.tools.walk.paths import pace

LOG = logging.getLogger(__name__)
PICTURES = 16
PICTURE_BYTES = 16 << 20
PICTURE_PIXELS = 64_000_000
PICTURE_SIDE = 1024  # a picture that was sent is kept no larger than this
AS_SENT_PIXELS = 16_000_000  # but as it was sent up to here, if a run's range or background may matter to it
KEPT_BYTES = 64 << 20
QUICK_FLOP = 40e9  # about a fifth of a second
MADE_FOR = {"direction": "directions", "component": "axes", "dim": "spread"}  # what each kind of slider needs
Lane = Literal["decode", "facts", "loading", "slow"]
"""Questions of one lane never wait for those of another. `decode` takes milliseconds of the network, `facts` reads
files or what was made before, `loading` needs a run that is not loaded yet, `slow` encodes in bulk or searches."""


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
    """Answers requests; several threads may ask at the same time.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: LoadedRuns) -> None:
        self.runs = runs
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._large: set[str] = set()  # those of them that were kept as they were sent, and take long to unpack
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._answers: dict[type, Callable[[Any], Reply]] = {
            ask.Runs: lambda request: Reply(run_facts.list_runs(runs)),
            ask.Gans: lambda request: Reply(offered()),
            ask.Describe: self.describe,
            ask.Card: lambda request: Reply({"card": card(runs.space(request.run).run)}),
            ask.Training: lambda request: Reply(run_facts.training_curves(runs.folder(request.run))),
            ask.Diagnosis: lambda request: Reply(run_facts.diagnosis(runs.space(request.run).run)),
            ask.Snapshot: self.snapshot,
            ask.Decode: self.decode,
            ask.Encode: self.encode,
            ask.Map: self.map,
            ask.Colours: self.colours,
            ask.Neighbours: self.neighbours,
            ask.Sliders: self.sliders,
            ask.Walk: self.walk,
            ask.Film: self.film,
            ask.Project: self.project,
            ask.Examples: self.examples,
            ask.Likeness: self.likeness,
            ask.Compare: self.compare,
        }

    def answer(self, request: ask.Request) -> Reply:
        """Answer a request; an error becomes an answer too."""
        try:
            return self._answers[type(request)](request)
        except MorphospaceError as error:
            return refusal(str(error), "setting")
        except Exception as error:  # whatever it is, the page gets an answer and the traceback goes to whoever serves
            LOG.exception("%s was not answered", type(request).__name__)
            return refusal(f"{type(error).__name__}: could not answer that; the studio's log says more", "internal")

    def lane(self, request: ask.Request) -> Lane:
        """Return the lane that answers a question."""
        if isinstance(request, (ask.Runs, ask.Gans, ask.Training, ask.Snapshot)):
            return "facts"
        keys = request.runs if isinstance(request, ask.Compare) else (request.run,)  # type: ignore[attr-defined]
        spaces = [self.runs.ready(key) for key in keys]
        kind = type(request)
        if kind in (ask.Describe, ask.Card):
            return "facts" if spaces[0] and "pack" in vars(spaces[0].run) else "loading"
        if isinstance(request, ask.Decode) and spaces[0] is None and not (request.points or request.moves):
            return "loading"
        if getattr(request, "picture", "") in self._large:
            return "slow"
        if not all(space and made_before(space, request) for space in spaces):
            return "slow"
        return "decode" if kind in (ask.Decode, ask.Encode, ask.Walk, ask.Compare) else "facts"

    def take_picture(self, data: bytes) -> str:
        """Keep a picture that was sent, in memory, and return its name; the oldest are forgotten.

        Raises:
            DataError: If it is too large, or no picture.
        """
        if len(data) > PICTURE_BYTES:
            rule = f"{len(data):,} bytes are more than {PICTURE_BYTES:,}"
            raise DataError("picture", rule=rule, way_out="send a smaller one")
        try:
            header = read_header(data, PICTURE_PIXELS)
        except DataError as error:
            raise no_picture(error) from None
        # Its header was read first: a decompression bomb is refused before it is unpacked.
        if not header.plain and header.height * header.width <= AS_SENT_PIXELS:
            decode_picture(data, Rule(1, 1, 3, range=(0, 1)))  # refuses what is not whole
            return self._keep(data, large=header.height * header.width > PICTURE_SIDE**2)
        scale = min(1.0, PICTURE_SIDE / max(header.height, header.width))
        size = (max(1, round(header.height * scale)), max(1, round(header.width * scale)))
        pixels = decode_picture(data, Rule(*size, 3, "stretch", PICTURE_PIXELS))
        kept = io.BytesIO()
        Image.fromarray(pixels).save(kept, format="PNG", compress_level=1)
        return self._keep(kept.getvalue())

    def _keep(self, data: bytes, *, large: bool = False) -> str:
        with self._lock:
            name = f"p{next(self._numbers)}"
            self._pictures[name] = data
            if large:
                self._large.add(name)
            while len(self._pictures) > PICTURES or sum(map(len, self._pictures.values())) > KEPT_BYTES:
                self._large.discard(self._pictures.popitem(last=False)[0])
        return name

    # -- images of codes, codes of images --------------------------------------------------------------------

    def describe(self, request: ask.Describe) -> Reply:
        """Describe a run, also one whose model cannot be loaded."""
        key, runs = request.run, self.runs
        path = runs.path(key)
        try:
            return Reply(run_facts.describe(key, runs.names[key], runs.space(key)))
        except RunError as error:
            return Reply(run_facts.describe_unloaded(key, runs.names[key], RunFolder.open(path), error.reason))

    def snapshot(self, request: ask.Snapshot) -> Reply:
        """Show the sample grid that training drew at a moment."""
        folder = self.runs.folder(request.run)
        grid = run_facts.sample_grid(folder, request.images)
        drawn_from = sampled_from(run_facts.sample_moments(folder.place)[request.images])
        return Reply({"drawn_from": drawn_from}, (Block("grid", grid),))

    def decode(self, request: ask.Decode) -> Reply:
        """Decode codes."""
        space = self.runs.space(request.run)
        if request.codes:
            codes = space.given(request.codes)
        elif request.seeds:
            codes = space.seeded(request.seeds)
        elif request.points:
            codes = space.at_points(request.points)
        else:
            base = space.start() if request.base is None else space.given((request.base,), "base")[0]
            codes = space.moved(base, request.moves or ())[None]
        images = space.frames(codes, space.condition(request.condition, len(codes)))
        return Reply({} if request.codes else {"codes": codes.tolist()}, (Block("images", images),))

    def encode(self, request: ask.Encode) -> Reply:
        """Encode an image and decode its code again."""
        space = self.runs.space(request.run)
        pick = self._pick(space, request.image, request.picture, request.condition)
        images = rebuilt(space, pick)
        facts = {"code": pick.code.tolist(), "words": pick.words, "mse": squared_error(*images)}
        return Reply({**facts, "condition": space.words(pick.condition)}, (Block("images", images),))

    def _pick(self, space: Space, image: int | str, picture: str, asked: ask.Condition | None) -> Pick:
        """Return an image as the run sees it, with its code, its condition and where it is from."""
        if not picture:
            return picked(space.run, image)
        condition = space.condition(asked)
        original = self._picture(space, picture)
        code = codes_of(space.run, original[None], condition)[0]
        return Pick(code, original, "your picture", None if condition is None else condition[0])

    def _picture(self, space: Space, name: str) -> np.ndarray:
        """Return a picture that was sent, cropped and resized by a run's own rule."""
        with self._lock:
            data = self._pictures.get(name)
        if data is None:
            raise SettingError("picture", name, "was not sent, or is forgotten by now", "send it again")
        image = decode_picture(data, space.run.rule)
        return as_seen(space.run, image[None])[0]

    def project(self, request: ask.Project) -> Reply:
        """Find the code whose image is most similar to a picture."""
        space = self.runs.space(request.run)
        condition = space.condition(request.condition)
        condition = None if condition is None else condition[0]
        if request.picture:
            original = self._picture(space, request.picture)
        else:
            seen = shown(space.run, request.image)
            original, condition = seen.image, condition if request.condition else seen.condition
        found = project(space.run, original[None], refine=request.refine, condition=condition)
        facts = {"code": found.codes[0].tolist(), "how": found.how, "mse": float(found.mse[0])}
        facts["encoder_mse"] = None if space.cannot() else space.error_of(original, condition)
        images = np.concatenate([found.originals[:1], found.images[:1]])
        return Reply({**facts, "psnr": finite(float(found.psnr[0]))}, (Block("images", images),))

    def examples(self, request: ask.Examples) -> Reply:
        """Show held-out images to begin with."""
        numbers, images = self.runs.space(request.run).examples(request.count)
        return Reply({"numbers": numbers.tolist()}, (Block("images", images),))

    def likeness(self, request: ask.Likeness) -> Reply:
        """Say whether a picture is unlike what the model has learned."""
        errors = self.runs.space(request.run).errors()
        share = (int((errors >= request.error).sum()) + 1) / (len(errors) + 1)
        return Reply({"share": share, "unlike": share < UNLIKE, "n": len(errors)})

    def compare(self, request: ask.Compare) -> Reply:
        """Show one seed, image or picture in several runs."""
        blocks: list[Block] = []
        facts: list[dict[str, Any]] = []
        for key in request.runs:
            try:
                space = self.runs.space(key)
                # The condition is for those of the runs that take one.
                asked = None if space.model.conditioning is None else request.condition
                if request.seed is not None:
                    codes = space.seeded((request.seed,))
                    blocks.append(Block(key, space.frames(codes, space.condition(asked))))
                    facts.append({"run": key, "code": codes[0].tolist()})
                    continue
                pick = self._pick(space, request.image, request.picture, asked)
                images = rebuilt(space, pick)
                blocks.append(Block(key, images))
                error = squared_error(*images)
                facts.append({"run": key, "code": pick.code.tolist(), "words": pick.words, "mse": error})
            except MorphospaceError as reason:
                facts.append({"run": key, "error": str(reason)})
        return Reply({"each": facts}, tuple(blocks))

    # -- the space -------------------------------------------------------------------------------------------

    def map(self, request: ask.Map) -> Reply:
        """Map the codes of images."""
        space = self.runs.space(request.run)
        chart, numbers = space.chart(request.by), space.gathered().numbers
        count = min(request.count, len(chart.points))
        left, bottom, right, top = chart.corners
        facts = {
            "points": np.round(chart.points[:count], 5).tolist(),
            "labels": None if chart.classes is None else chart.classes[:count].tolist(),
            "label_names": list(chart.class_names),
            "rows": numbers[:count].tolist(),
            "bounds": [left, right, bottom, top],
            "share": None if chart.share is None else list(chart.share),
            "flat": chart.by != "umap",
            "colours": space.colours(),
        }
        return Reply(facts, (Block("thumbnails", chart.images[:count]),))

    def colours(self, request: ask.Colours) -> Reply:
        """Return a number for each image of the map, to colour it by."""
        values = self.runs.space(request.run).coloured(request.by)[: request.count]
        return Reply({"values": np.round(values.astype(float), 6).tolist()})

    def neighbours(self, request: ask.Neighbours) -> Reply:
        """Show the images nearest to a code."""
        space = self.runs.space(request.run)
        code = space.given((request.code,), "code")
        if request.among == "train":
            image = space.frames(code, space.condition(request.condition))[0]
            rows, far, images = space.nearest_training(image, request.count)
            return Reply({"rows": rows.tolist(), "distances": far.tolist()}, (Block("images", images),))
        known = space.gathered()
        distance = (known.codes - code).norm(dim=1)
        near = distance.argsort(stable=True)[: request.count].numpy()
        facts = {"rows": known.numbers[near].tolist(), "distances": distance[near].tolist()}
        facts |= {"codes": known.codes[near].tolist()}
        if space.model.latent_dim >= 2 and len(known.rows) >= 3:
            facts |= {"points": space.chart().points[near].tolist()}
        return Reply(facts, (Block("images", np.stack(list(known.each(near)))),))

    def sliders(self, request: ask.Sliders) -> Reply:
        """List the sliders of one kind, those that work best first."""
        return Reply({"rows": self.runs.space(request.run).slider_rows(request.by)})

    def walk(self, request: ask.Walk) -> Reply:
        """Decode the codes between several, on each kind of path."""
        space = self.runs.space(request.run)
        blocks, facts = [], {}
        for how in request.hows:
            codes = route(space.given(request.ends, "ends"), how, request.steps)
            condition = space.condition(request.condition, len(codes))
            images = space.frames(codes, condition)
            speed = pace(torch.from_numpy(images).float() / 255)
            facts[how] = {
                "mean": speed.mean,
                "spread": speed.spread,
                "norms": codes.norm(dim=1).tolist(),
                "codes": codes.tolist(),
                "conditions": None if condition is None else condition.tolist(),
            }
            blocks.append(Block(how, images))
        return Reply({"paths": facts}, tuple(blocks))

    def film(self, request: ask.Film) -> Reply:
        """Make a walk into a GIF that goes there and back."""
        from morphospace.pictures.films import save_film

        (block,) = self.walk(request).blocks
        images = enlarged(np.concatenate([block.images, block.images[-2:0:-1]]))
        name = self.runs.path(request.run).name
        facts = {"run": name, "how": block.name, "ends": [list(end) for end in request.ends], "fps": request.fps}
        with tempfile.TemporaryDirectory(prefix="morphospace-") as folder:
            frames = [Image.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in images]
            film = save_film(Path(folder) / "walk.gif", frames, len(frames), request.fps, facts, colours=frames[::8])
            return Reply({"fps": film.fps, "frames": film.frames}, file=film.path.read_bytes())


def route(ends: Tensor, how: str, steps: int) -> Tensor:
    """Return `steps` codes from each end to the next, (S, D); the end where two legs meet comes once."""
    legs = [along(a, b, steps, how) for a, b in itertools.pairwise(ends)]
    return torch.cat([legs[0], *(leg[1:] for leg in legs[1:])])


def decode_picture(data: bytes, rule: Rule) -> np.ndarray:
    """Decode a picture that was sent.

    Raises:
        DataError: If it is no picture.
    """
    try:
        return unpacked(data, rule)
    except DataError as error:
        raise no_picture(error) from None


def no_picture(error: DataError) -> DataError:
    """Return the refusal of something that cannot be decoded."""
    return DataError("picture", rule=error, way_out="send a JPEG, PNG or WebP")


def enlarged(images: np.ndarray, least: int = 128) -> np.ndarray:
    """Return images by repeated pixels, about `least` a side."""
    times = max(1, round(least / max(images.shape[1:3])))
    return images.repeat(times, axis=1).repeat(times, axis=2)


def rebuilt(space: Space, pick: Pick) -> np.ndarray:
    """Return an image and what the run decodes its code to, uint8 (2, H, W, C)."""
    assert pick.image is not None
    condition = None if pick.condition is None else pick.condition[None]
    return np.concatenate([pick.image[None], space.frames(pick.code[None], condition)])


def squared_error(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean squared difference of two uint8 images, on the scale [0, 1]."""
    return float(((first.astype(np.float64) - second) ** 2).mean() / 255**2)


def made_before(space: Space, request: ask.Request) -> bool:
    """Return whether a loaded run answers a request in milliseconds: nothing to encode in bulk or to search."""
    if isinstance(request, (ask.Encode, ask.Compare)):
        return request.image == "" or "pack" in vars(space.run)
    if isinstance(request, ask.Map):
        return space.kept("codes", f"chart {request.by}")
    if isinstance(request, ask.Colours):
        return space.kept("codes") and (request.by != ERROR or space.kept("errors"))
    if isinstance(request, ask.Likeness):
        return space.kept("errors")
    if isinstance(request, ask.Examples):
        return "pack" in vars(space.run)
    if isinstance(request, ask.Neighbours):
        return request.among != "train" and space.kept("codes", "chart pca")
    if isinstance(request, ask.Sliders):
        return space.kept(f"sliders {request.by}")
    if type(request) is ask.Walk:
        count = len(request.hows) * (len(request.ends) - 1) * request.steps
    elif isinstance(request, ask.Decode):
        count = sum(len(codes or ()) for codes in (request.codes, request.seeds, request.points)) + 1
        # The page asks for the sliders before it moves any; until then nobody knows what there is.
        keys = [MADE_FOR[move.kind] for move in request.moves or ()]
        keys += ["codes", "axes"] if request.points else []
        keys += ["start"] if request.moves is not None and request.base is None else []
        if not space.kept(*keys):
            return False
    else:
        return False
    return count * space.decoder.flop <= QUICK_FLOP
