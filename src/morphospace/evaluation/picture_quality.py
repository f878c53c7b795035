"""How near pictures are to others (MSE, PSNR, SSIM), and how sharp: uint8 (N, H, W, C) in, float64 (N,) out."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from morphospace.errors import require

AT_ONCE = 64
WINDOW, SIGMA = 11, 1.5
LUMA = (0.299, 0.587, 0.114)


def _check(real: np.ndarray, fake: np.ndarray) -> None:
    same = real.shape == fake.shape and real.ndim == 4 and real.dtype == fake.dtype == np.uint8
    why = f"must be uint8 (N, H, W, C) like the other side, {fake.shape} {fake.dtype}"
    require(same, "real", f"{real.shape} {real.dtype}", why)
    require(len(real) > 0, "real", 0, "must be at least one image")


def _blocks(images: np.ndarray) -> list[np.ndarray]:
    return [images[first : first + AT_ONCE] for first in range(0, len(images), AT_ONCE)]


def mean_squared_error(*, real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Return the mean squared error a value, (N,), pixels in [0, 1]."""
    _check(real, fake)
    parts = [
        ((a.astype(np.float64) - b) ** 2).reshape(len(a), -1).mean(1) for a, b in zip(_blocks(real), _blocks(fake))
    ]
    return np.concatenate(parts) / 255**2


def psnr(*, real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio, -10 log10 MSE in dB, (N,): infinite for equal pictures."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mean_squared_error(real=real, fake=fake))


def ssim_window(height: int, width: int) -> int:
    """Return the side of SSIM's window: 11, or the largest odd number that fits a smaller picture."""
    side = min(WINDOW, height, width)
    return side - 1 + side % 2


def _planes(images: np.ndarray) -> Tensor:
    """Return pixels in [0, 1] as float64 (B * C, 1, H, W)."""
    values = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).double() / 255
    return values.flatten(0, 1).unsqueeze(1)


def ssim(*, real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Return the structural similarity, (N,): 1 for equal pictures.

    (2 m_x m_y + c1)(2 s_xy + c2) / ((m_x^2 + m_y^2 + c1)(s_x^2 + s_y^2 + c2)), the mean over all places where the
    window lies within the picture, and over channels; Gaussian window of 11 x 11 and sigma 1.5, c1 = 0.01^2,
    c2 = 0.03^2, pixels in [0, 1].

    Reference: Wang, Bovik, Sheikh & Simoncelli 2004, "Image quality assessment".
    """
    _check(real, fake)
    side = ssim_window(*real.shape[1:3])
    at = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    kernel = torch.exp(-(at**2) / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()

    def blurred(planes: Tensor) -> Tensor:
        down = functional.conv2d(planes, kernel.view(1, 1, -1, 1))
        return functional.conv2d(down, kernel.view(1, 1, 1, -1))

    found = []
    for a, b in zip(_blocks(real), _blocks(fake)):
        x, y = _planes(a), _planes(b)
        moments = blurred(torch.cat([x, y, x * x, y * y, x * y]))
        mean_x, mean_y, square_x, square_y, product = moments.chunk(5)
        both, squares = mean_x * mean_y, mean_x**2 + mean_y**2
        c1, c2 = 0.01**2, 0.03**2
        top = (2 * both + c1) * (2 * (product - both) + c2)
        found.append((top / ((squares + c1) * (square_x + square_y - squares + c2))).reshape(len(a), -1).mean(1))
    return torch.cat(found).numpy()


def sharpness(images: np.ndarray) -> np.ndarray:
    """Return the variance over pixels of the Laplacian of each picture's grey values in [0, 1], (N,).

    Blur takes it away, noise adds to it: it means something beside that of real pictures of the same size, not alone.
    Reference: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    fits = images.ndim == 4 and images.dtype == np.uint8 and min(images.shape[1:3], default=0) >= 3
    require(fits, "images", f"{images.shape} {images.dtype}", "must be uint8 (N, H, W, C) of 3 x 3 pixels or more")
    found = []
    for part in _blocks(images):
        values = part.astype(np.float64) / 255
        grey = values @ np.array(LUMA) if part.shape[3] == 3 else values.mean(3)
        inner = grey[:, 1:-1, 1:-1]
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        found.append((around - 4 * inner).reshape(len(part), math.prod(inner.shape[1:])).var(1))
    return np.concatenate(found)
