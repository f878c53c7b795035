"""Trains the drawn faces of the lesson on latent spaces, and writes their decoder into the page.

A VAE small enough for a lesson: 32x32 pixels, and a decoder of some 40,000 weights, rounded to 255 levels a channel. It
is trained by `ms.train` alone, with the prior N(0, I), so that random codes are what the lesson says they are.
"""

from __future__ import annotations

import argparse
import base64
import json
import textwrap
import time
from pathlib import Path

__all__ = ["add_arguments", "main"]

FILE = Path(__file__).parents[1] / "src" / "morphospace" / "studio" / "page" / "play" / "faces.js"
SETTINGS = {
    "data": "toyfaces:16000",
    "size": "32",
    "latent_dim": 16,
    "widths": (20, 28, 40),
    "likelihood": "gaussian",
    "beta": 12.0,
    "lr": 2e-3,
    "batch_size": 32,
    "schedule": "cosine",
}
GOLDEN = 16  # every so many numbers of the golden image
TEXT = """\
// A decoder of drawn faces, 32x32: codes of {dimensions} numbers, prior N(0, I), {weights} weights.
// `python -m bench lesson-faces` trains it, {images} faces in {minutes} minutes of a core, and writes this file.
import {{ build }} from "../network.js";

const DECODER = {decoder};
const WHOLE = {whole};
const FLOATS = {floats};
// A code and some numbers of what the library decodes from it, by which a test checks the page.
export const GOLDEN = {golden};

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
let made = null;

// `decode` turns a code into three planes of 32 * 32 values in [0, 1]; good until it is called again.
export function faces() {{
  if (made) return made;
  const kinds = {{ i8: new Int8Array(bytes(WHOLE)), f32: new Float32Array(bytes(FLOATS)) }};
  const network = build(DECODER, ([kind, first, count]) => kinds[kind].subarray(first, first + count));
  made = {{ dimensions: {dimensions}, decode: (code) => network.run(code) }};
  return made;
}}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's flags."""
    parser.add_argument("--out", type=Path, default=Path("runs/lesson-faces"), help="folder of the run")
    parser.add_argument("--images", type=int, default=300_000, help="faces seen in training")


def main(arguments: argparse.Namespace) -> int:
    """Train, and write the decoder."""
    import morphospace as ms

    began = time.process_time()
    run = ms.train("vae", out=arguments.out, seed=0, device="cpu", images=arguments.images, **SETTINGS)
    minutes = (time.process_time() - began) / 60
    text = decoder_text(run, f"{arguments.images:,}", f"{minutes:.0f}")
    FILE.write_text(text, encoding="utf-8")
    print(f"{FILE}: {len(text):,} bytes, {minutes:.1f} minutes of CPU time")
    return 0


def decoder_text(run: object, images: str, minutes: str) -> str:
    """Return the page's module."""
    from morphospace.models.contract import seeded_noise
    from morphospace.studio.page_file import Numbers, Written
    from morphospace.tools.export.write import parts_of

    (part,) = parts_of(run, "decoder")  # type: ignore[arg-type]
    written = Written.of(part, "int8")
    numbers = Numbers()
    decoder = numbers.network(written.program, written.rounded)
    code = seeded_noise(1, 16, 0)
    image = part(code)[0].numpy().reshape(-1)
    count = sum(matrix.size for matrix, _ in written.program.weights)
    return TEXT.format(
        dimensions=16,
        weights=f"{count:,}",
        images=images,
        minutes=minutes,
        decoder=json.dumps(decoder, separators=(",", ":")),
        whole=lines(numbers.bytes_of("i8")),
        floats=lines(numbers.bytes_of("f32")),
        golden=json.dumps(
            {
                "code": [round(float(v), 6) for v in code[0]],
                "every": GOLDEN,
                "values": [round(float(v), 4) for v in image[::GOLDEN]],
            }
        ),
    )


def lines(content: bytes) -> str:
    """Return bytes as a JavaScript text on lines of 120 letters."""
    return " +\n  ".join(f'"{part}"' for part in textwrap.wrap(base64.b64encode(content).decode(), 116))
