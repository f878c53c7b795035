"""A run's decoder behind a Gradio slider, for `python -m bench studio --gradio`; Gradio is no dependency here.

    python -m bench.studio_gradio RUN PORT

The slider moves the first number of a code, and the image follows: Gradio's documented way, an `input` event with
progress hidden, nothing else on the page. `MOVE` is what a browser does there: it moves the slider and waits until
another image has been loaded and a frame drawn.
"""

from __future__ import annotations

import sys

__all__ = ["MOVE"]

MOVE = """async (count) => {
    const slider = document.querySelector('input[type=range]');
    const put = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
    const frame = () => new Promise((drawn) => requestAnimationFrame(drawn));
    const times = [];
    for (let i = 0; i < count; i++) {
        const before = document.querySelector('img[src*="/file="], img[src^="data:"]')?.src;
        const began = performance.now();
        put.call(slider, String(((7 * i) % 590) / 100 - 2.9));
        slider.dispatchEvent(new Event('input', { bubbles: true }));
        for (;;) {
            const image = document.querySelector('img[src*="/file="], img[src^="data:"]');
            if (image && image.src !== before && image.complete && image.naturalWidth) break;
            await frame();
            if (performance.now() - began > 10000) throw new Error('no image within 10 s');
        }
        times.push(performance.now() - began);
    }
    return times;
}"""


def main(run: str, port: int) -> None:
    """Serve until killed."""
    import gradio
    import numpy as np
    import torch

    import morphospace as ms
    from morphospace.api.decoding import Decoder

    loaded = ms.load(run)
    decoder = Decoder(loaded)
    code = torch.randn(1, loaded.model.latent_dim, generator=torch.Generator().manual_seed(0))

    def draw(value: float) -> np.ndarray:
        moved = code.clone()
        moved[0, 0] = value
        return decoder.frames(moved, None)[0]

    with gradio.Blocks() as page:
        slider = gradio.Slider(-3, 3, value=0, step=0.01)
        image = gradio.Image(show_label=False)
        slider.input(draw, slider, image, show_progress="hidden")
    page.launch(server_name="127.0.0.1", server_port=port, quiet=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
