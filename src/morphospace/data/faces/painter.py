"""Paints toy faces from their traits, at any size, with analytic anti-aliasing.

Everything is laid out in a head's own frame (u to the right, v down, the head about 1 unit wide, tilted and shifted
with it), in a picture 2 units wide. Parts are painted front to back by `Canvas`; a part is computed only in the
window it can reach and only for the faces that have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from morphospace.data.faces.canvas import Canvas, Frame, head_frame, window_of
from morphospace.data.faces.hair import paint_hair
from morphospace.data.faces.palette import FRAMES, HAIR, IRIS, SKIN, hue, ramp, shade
from morphospace.data.faces.shapes import bar, cut, ellipse, join, ring
from morphospace.data.faces.traits import Traits

_F = np.float32
# Front to back.
LAYERS = (
    "frames", "glint", "lens", "brows", "fringe", "shine", "spark", "pupil", "iris", "white", "lash", "nose",
    "teeth", "tongue", "mouth", "lips", "beard", "blush", "head", "inner_ear", "ears", "collar", "shirt",
    "shadow", "neck", "mane", "disc", "sky",
)  # fmt: skip
PARTS: Mapping[str, tuple[str, ...]] = {
    "skin": ("head", "blush", "nose", "ears", "inner_ear", "neck", "shadow", "collar"),
    "hair": ("fringe", "shine", "mane"),
    "eyes": ("spark", "pupil", "iris", "white", "lash"),
    "mouth": ("teeth", "tongue", "mouth", "lips"),
    "glasses": ("frames", "glint", "lens"),
    "brows": ("brows",),
    "nose": ("nose",),
    "beard": ("beard",),
    "clothes": ("shirt",),
}
WHOLE = "face"  # as a part: every part at once


def _egg(u: np.ndarray, v: np.ndarray, f: Frame, rows: np.ndarray | None, grow: float, down: float = 0) -> np.ndarray:
    """Distance to the head, `grow` larger all round, `down` longer at the chin."""
    long = f.of("long", rows)
    narrower = 1 - f.of("taper", rows) * (v / long)
    half = f.of("half", rows) + grow
    if down:
        long = np.where(v > 0, long + _F(grow + down), long + _F(grow))
    else:
        long = long + _F(grow)
    return ellipse(u / narrower, v, half, long)


def _eyes(c: Canvas, f: Frame, t: Traits) -> None:
    win = window_of(c.side, -0.62, 0.62, -0.40, 0.26)
    u, v = f.at(win)
    size = 0.085 + 0.045 * f.of("eye_size")
    across = np.abs(u) - f.of("apart")
    up = v + _F(0.02)
    # Eyes are mirrored, their gaze is not.
    look_u = across - np.copysign(f.of("gaze_x") * size * _F(0.34), u)
    look_v = up - f.of("gaze_y") * size * _F(0.25)
    lid = -up - size * _F(0.82)
    white = c.light(cut(ellipse(across, up, size, size * _F(1.08)), lid))
    spark = ring(look_u + np.copysign(size * _F(0.2), u), look_v + size * _F(0.26), size * _F(0.22))
    seen = 1 - white
    for name, radius in (("spark", None), ("pupil", 0.44), ("iris", 0.72)):
        through = c.light(spark if radius is None else ring(look_u, look_v, size * _F(radius)))
        c.put(name, win, 1 - (1 - through) * seen)
    c.put("white", win, white)
    lash = ellipse(across, up + size * _F(0.14), size * _F(1.1), size * _F(1.12))
    c.put("lash", win, c.light(cut(lash, lid - size * _F(0.22))))
    c.fill("spark", np.array([255, 255, 255]))
    c.fill("pupil", np.array([30, 26, 34]))
    c.fill("iris", ramp(IRIS, t.values["eye_colour"]))
    c.fill("white", np.array([252, 252, 250]))
    c.fill("lash", np.array([52, 38, 40]))


def _brows(c: Canvas, f: Frame, hair: np.ndarray) -> None:
    win = window_of(c.side, -0.62, 0.62, -0.52, 0.02)
    u, v = f.at(win)
    across = np.abs(u) - f.of("apart")
    line = v + (0.185 + 0.085 * f.of("brow_height") + 0.03 * f.of("eye_size"))
    line -= across * (0.32 * f.of("brow_angle"))
    line += across * across * _F(1.4)
    c.put("brows", win, c.light(bar(across, line, 0.085, 0.026)))
    c.fill("brows", shade(hair, 0.72))


def _nose(c: Canvas, f: Frame, skin: np.ndarray) -> None:
    win = window_of(c.side, -0.25, 0.25, -0.05, 0.34)
    u, v = f.at(win)
    size = 0.045 + 0.035 * f.of("nose_size")
    c.put("nose", win, c.light(ellipse(u, v - _F(0.145), size, size * _F(0.72))))
    c.fill("nose", shade(skin, 0.84))


def _mouth(c: Canvas, f: Frame, skin: np.ndarray) -> None:
    win = window_of(c.side, -0.42, 0.42, 0.12, 0.62)
    u, v = f.at(win)
    smile, opened = f.of("smile"), np.maximum(f.of("mouth_open") - 0.4, 0) / _F(0.6)
    wide = 0.15 + 0.035 * np.abs(smile) + 0.02 * opened
    place = u / wide
    bow = 1 - np.minimum(place * place, 1.2)  # 1 in the middle, 0 at the corners
    low = v - (0.34 - 0.02 * opened)
    low -= smile * 0.085 * (bow - _F(0.5))
    gap = opened * bow
    # The lips' upper edge stays nearly straight in a smile, the lower one in a frown.
    above = -low - gap * (0.035 - 0.025 * smile)
    below = low - gap * (0.075 + 0.03 * smile)
    inside = np.maximum(above, below)
    ends = np.abs(u) - wide
    c.put("teeth", win, c.light(np.maximum(np.maximum(inside, ends), v - (0.30 + 0.03 * opened + 0.025 * smile))))
    c.put("tongue", win, c.light(np.maximum(np.maximum(inside, ends), -ring(u, v - _F(0.27), 0.135))))
    c.put("mouth", win, c.light(np.maximum(inside, ends)))
    c.put("lips", win, c.light(np.maximum(inside - _F(0.02), ends - _F(0.012))))
    c.fill("teeth", np.array([255, 252, 246]))
    c.fill("tongue", np.array([222, 96, 100]))
    c.fill("mouth", np.array([110, 30, 42]))
    c.fill("lips", shade(skin, 0.5) * _F(0.55) + np.array([150, 40, 48], _F) * _F(0.45))


def _beard(c: Canvas, f: Frame, t: Traits, hair: np.ndarray) -> None:
    rows = np.flatnonzero(t.beard)
    c.fill("beard", shade(hair, 0.86))
    if not len(rows):
        return
    win = window_of(c.side, -0.80, 0.80, -0.25, 0.86)
    u, v = f.at(win, rows)
    jaw = _egg(u, v, f, rows, 0.015, 0.05)
    far = u * u
    top = _F(0.215) + far * _F(0.55) - far * far * _F(5.5) - v
    c.put("beard", win, c.light(cut(jaw, top)), rows)


def _glasses(c: Canvas, f: Frame, t: Traits) -> None:
    rows = np.flatnonzero(t.glasses)
    c.fill("frames", FRAMES[t.frame_colour])
    c.fill("lens", np.array([232, 244, 252]))
    c.fill("glint", np.array([255, 255, 255]))
    if not len(rows):
        return
    win = window_of(c.side, -0.72, 0.72, -0.42, 0.28)
    u, v = f.at(win, rows)
    apart = f.of("apart", rows)
    across, up = np.abs(u) - apart, v + _F(0.01)
    radius = apart * _F(0.86)
    disc = ring(across, up, radius)
    x, y = np.abs(across) - radius * _F(0.55), np.abs(up) - radius * _F(0.40)
    block = np.maximum(x, 0)
    block = np.sqrt(block * block + np.square(np.maximum(y, 0))) - radius * _F(0.44)
    glass = np.where(t.round_glasses[rows][:, None, None], disc, block)
    bridge = np.maximum(np.abs(up + _F(0.03)) - _F(0.018), np.abs(u) - (apart - radius * _F(0.9)))
    outside = np.maximum(radius * _F(0.95) - across, np.abs(u) - f.of("half", rows))
    temple = np.maximum(np.abs(up + _F(0.02)) - _F(0.016), outside)
    c.put("frames", win, c.light(join(np.abs(glass) - _F(0.019), join(bridge, temple))), rows)
    stripe = np.abs(across + up + radius * _F(0.35)) - radius * _F(0.16)
    c.put("glint", win, c.light(cut(glass + _F(0.02), stripe), 0.35), rows)
    c.put("lens", win, c.light(glass, 0.12), rows)


def _head(c: Canvas, f: Frame, skin: np.ndarray) -> None:
    win = window_of(c.side, -0.75, 0.75, -0.80, 0.78)
    u, v = f.at(win)
    far = np.abs(u)
    cheek = np.square((far - _F(0.29)) / _F(0.13)) + np.square((v - _F(0.2)) / _F(0.1))
    np.minimum(cheek, 1, out=cheek)
    low = window_of(c.side, -0.60, 0.60, 0.0, 0.44)
    inner = (slice(None), slice(low[0].start - win[0].start, low[0].stop - win[0].start),
             slice(low[1].start - win[1].start, low[1].stop - win[1].start))  # fmt: skip
    faded = 1 - cheek[inner]
    c.put("blush", low, 1 - _F(0.5) * faded * faded)
    c.put("head", win, c.light(_egg(u, v, f, None, 0)))
    c.fill("blush", skin * _F(0.62) + np.array([244, 92, 96], _F) * _F(0.38))
    c.fill("head", skin)
    side, high = far - f.of("half"), v - _F(0.03)
    c.put("inner_ear", win, c.light(ellipse(side - _F(0.02), high, 0.04, 0.06)))
    c.put("ears", win, c.light(ellipse(side - _F(0.01), high, 0.085, 0.115)))
    c.fill("inner_ear", shade(skin, 0.8))
    c.fill("ears", shade(skin, 0.94))


def _body(c: Canvas, f: Frame, t: Traits, skin: np.ndarray) -> None:
    win = window_of(c.side, -1, 1, 0.4, 1)
    x, y = f.x, f.y[:, win[0], :]
    x, y = np.broadcast_arrays(x, y)
    neck = cut(np.abs(x) - _F(0.17), _F(0.45) - y)
    collar = ellipse(x, y - _F(0.73), 0.17, 0.13)
    c.put("collar", win, c.light(collar))
    c.put("shirt", win, c.light(ellipse(x, y - _F(1.14), 0.74, 0.42)))
    c.put("shadow", win, c.light(cut(neck, ellipse(x, y, f.of("half"), f.of("long") + _F(0.11)))))
    c.put("neck", win, c.light(neck))
    c.fill("collar", shade(skin, 0.88))
    c.fill("shirt", hue(t.values["clothes_hue"], 142, 58))
    c.fill("shadow", shade(skin, 0.74))
    c.fill("neck", shade(skin, 0.88))


def _sky(c: Canvas, f: Frame, t: Traits) -> None:
    win = window_of(c.side, -1, 1, -1, 1)
    grid = (np.arange(c.side, dtype=_F) + _F(0.5)) * _F(2 / c.side) - 1
    x, y = np.broadcast_arrays(grid[None, None, :], grid[None, :, None])
    disc = ring(x, y, 0.88)
    c.put("disc", win, np.broadcast_to(c.light(disc), c.left.shape).copy())
    sky = hue(t.values["background_hue"], 203, 29)
    c.fill("disc", shade(sky, 1.42))
    c.fill("sky", sky)


def layers_of(part: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the layers of a part, of the whole face, or of several parts together."""
    names = (part,) if isinstance(part, str) else part
    parts = PARTS if WHOLE in names else names
    return tuple(dict.fromkeys(layer for name in parts for layer in PARTS[name]))


def paint(
    traits: Traits, side: int, parts: Sequence[str | tuple[str, ...]] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """Paint faces.

    Args:
        traits: Of B faces.
        side: Height and width in pixels.
        parts: Of which parts to give masks, see PARTS; several in a tuple are one mask. A pixel may be half two parts
            and no part alone, so that is more than the masks of each together.

    Returns:
        uint8 (B, side, side, 3), and uint8 0 or 1 (B, side, side, M) or None.
    """
    canvas, frame = Canvas(len(traits.beard), side, LAYERS), head_frame(traits, side)
    skin, hair = ramp(SKIN, traits.values["skin_tone"]), HAIR[traits.hair_colour]
    _glasses(canvas, frame, traits)
    _brows(canvas, frame, hair)
    behind = paint_hair(canvas, frame, traits, hair)
    _eyes(canvas, frame, traits)
    _nose(canvas, frame, skin)
    _mouth(canvas, frame, skin)
    _beard(canvas, frame, traits, hair)
    _head(canvas, frame, skin)
    _body(canvas, frame, traits, skin)
    if behind is not None:
        window, through, rows = behind
        canvas.put("mane", window, through, rows)
    _sky(canvas, frame, traits)
    pictures = canvas.pictures("sky")
    masks = [canvas.mask(layers_of(part)) for part in parts]
    return pictures, np.stack(masks, axis=-1) if masks else None
