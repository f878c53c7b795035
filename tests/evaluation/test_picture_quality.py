"""SSIM and PSNR against torchmetrics, sharpness against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from morphospace.errors import SettingError
from morphospace.evaluation.picture_quality import mean_squared_error, psnr, sharpness, ssim, ssim_window


def pair(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random(shape), (0, 2, 2, 0))
    real = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    return real, np.clip(real + rng.normal(0, 12, shape), 0, 255).astype(np.uint8)


def planes(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255


@pytest.mark.parametrize("shape", [(70, 28, 28, 1), (5, 20, 33, 3)])
def test_similarity_is_that_of_torchmetrics(shape: tuple[int, ...]) -> None:
    real, fake = pair(shape)
    # Wang et al. 2004 look where the window lies within the picture; torchmetrics also beyond its edge, mirrored.
    _, full = structural_similarity_index_measure(
        planes(fake), planes(real), data_range=1.0, reduction="none", return_full_image=True
    )
    theirs = full[..., 5:-5, 5:-5].flatten(1).mean(1)
    ours = ssim(real=real, fake=fake)
    assert ours.shape == (shape[0],) and np.allclose(ours, theirs.numpy(), atol=1e-6) and 0.2 < ours.mean() < 0.98
    theirs = peak_signal_noise_ratio(planes(fake), planes(real), data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert np.allclose(psnr(real=real, fake=fake), theirs.numpy(), atol=1e-5)
    assert np.allclose(mean_squared_error(real=real, fake=fake), ((real / 255 - fake / 255) ** 2).mean((1, 2, 3)))


def test_a_picture_is_itself_and_small_pictures_have_a_smaller_window() -> None:
    real, _ = pair((3, 8, 8, 1))
    assert np.allclose(ssim(real=real, fake=real), 1) and np.isinf(psnr(real=real, fake=real)).all()
    assert [ssim_window(side, 40) for side in (40, 11, 10, 8, 2)] == [11, 11, 9, 7, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_sharpness_is_the_variance_of_the_laplacian(channels: int) -> None:
    real, _ = pair((4, 20, 15, channels))
    grey = real[..., 0] / 255 if channels == 1 else real @ np.array([0.299, 0.587, 0.114]) / 255
    laplacian = np.stack([ndimage.laplace(image)[1:-1, 1:-1] for image in grey])
    assert np.allclose(sharpness(real), laplacian.var((1, 2)))
    blurred = ndimage.gaussian_filter(real, (0, 1, 1, 0))
    assert (sharpness(blurred) < sharpness(real)).all()


def test_refusals() -> None:
    real, fake = pair((3, 8, 8, 1))
    with pytest.raises(SettingError, match="like the other side"):
        ssim(real=real, fake=fake[:2])
    with pytest.raises(SettingError, match="uint8"):
        psnr(real=real / 255, fake=fake / 255)
    with pytest.raises(SettingError, match="3 x 3"):
        sharpness(real[:, :2])
