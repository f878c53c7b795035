from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from morphospace.errors import RunError
from morphospace.pictures.plots import variance_plot
from morphospace.pictures.sheet import annotated_grid
from morphospace.runs.checkpoints import load_vectors, save_vectors


def dark_boxes(picture: np.ndarray, height: int, width: int) -> int:
    """Count the places of a picture whose every pixel within (height, width) is black."""
    windows = np.lib.stride_tricks.sliding_window_view(picture.max(2), (height, width))
    return int((windows.max((2, 3)) == 0).sum())


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_there_whole_whatever_stands_beside_it(channels: int) -> None:
    images = np.zeros((6, 20, 16, channels), np.uint8)
    long = ["a heading far wider than an image", "b", "c"]
    plain = np.asarray(annotated_grid(images, 3, scale=1))
    worded = np.asarray(
        annotated_grid(images, 3, rows=("one\ntwo\nthree", "x" * 30), headings=long, across="right", up="up", scale=1)
    )
    assert dark_boxes(plain, 20, 16) == dark_boxes(worded, 20, 16) == 6
    assert worded.shape[0] > plain.shape[0] and worded.shape[1] > plain.shape[1]


def test_words_stand_inside_the_picture() -> None:
    images = np.full((4, 8, 8, 1), 255, np.uint8)
    words = annotated_grid(
        images, 2, rows=("left", "left"), headings=("first heading", "second"), across="a long axis " * 9
    )
    ink = np.asarray(words.convert("L")) < 128
    assert ink.any() and not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


def test_the_plot_is_drawn_with_and_without_an_answer() -> None:
    for dims, active in ((2, 3), (None, None)):
        plot = variance_plot([0.5, 0.3, 0.1], dims=dims, dims_for=0.8, active=active, title="t")
        assert plot.width > 400 and np.asarray(plot).std() > 0


def test_vectors_come_back_with_what_they_mean(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_vectors(path, "direction", {"vector": torch.arange(4.0)[::2]}, {"name": "Smiling", "held": {"auroc": 0.9}})
    tensors, facts = load_vectors(path, "direction", ("vector",))
    assert tensors["vector"].tolist() == [0, 2] and facts == {"name": "Smiling", "held": {"auroc": 0.9}}
    with pytest.raises(RunError, match="holds direction, not components"):
        load_vectors(path, "components", ("vector",))
    with pytest.raises(RunError, match=r"holds the tensors .*vector.*, not mean"):
        load_vectors(path, "direction", ("mean",))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RunError, match="not a whole safetensors file"):
        load_vectors(path, "direction", ("vector",))
    with pytest.raises(RunError, match="no such file"):
        load_vectors(tmp_path / "no.safetensors", "direction", ("vector",))
