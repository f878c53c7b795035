"""The published training loops, written the way their sources describe them.

Nothing here uses morphospace. What the sources have in common is kept: a `Dataset` that makes one image at a
time in Python through PIL, a `DataLoader` with its defaults, float32, Adam as it comes, a sigmoid and then
cross-entropy, and `.item()` at every step. The few lines of the usual image transforms are written out, so that
torchvision is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

__all__ = ["LOOPS", "Loop", "batches"]

Losses = dict[str, float]


class Loop:
    """A published model with its data and its step.

    Args:
        dataset: One (image, label) at a time.
        step: Trains on a batch and returns the losses it read.
        networks: All that is trained.
    """

    def __init__(self, dataset: Dataset[Any], step: Callable[[Tensor], Losses], *networks: nn.Module) -> None:
        self.dataset, self.step, self.networks = dataset, step, networks

    def parameters(self) -> int:
        """Return the number of trainable numbers."""
        return sum(p.numel() for network in self.networks for p in network.parameters())


def batches(loop: Loop, batch: int, workers: int) -> Iterator[Tensor]:
    """Yield image batches of one epoch after another."""
    loader = DataLoader(loop.dataset, batch_size=batch, shuffle=True, num_workers=workers)
    while True:
        for images, _ in loader:
            yield images


# -- data ----------------------------------------------------------------------------------------------------


def to_tensor(image: Image.Image) -> Tensor:
    """Turn a PIL image into a float tensor (C, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    pixels = pixels.view(image.size[1], image.size[0], len(image.getbands()))
    return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def resize_to_tensor(image: Image.Image) -> Tensor:
    """Resize a PIL image to 64x64 and scale it to [-1, 1]."""
    return to_signed_tensor(image.resize((64, 64), Image.Resampling.BILINEAR))


def to_signed_tensor(image: Image.Image) -> Tensor:
    """Turn a PIL image into a float tensor (C, H, W) in [-1, 1]."""
    tensor = to_tensor(image).clone()
    mean, std = torch.tensor([0.5]), torch.tensor([0.5])
    return tensor.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


class ArrayImages(Dataset[tuple[Tensor, int]]):
    """Images of an array in memory, through PIL one by one."""

    def __init__(self, file: Path, transform: Callable[[Image.Image], Tensor] = to_tensor) -> None:
        images = torch.from_numpy(np.load(file))
        self.images = images.squeeze(3) if images.shape[3] == 1 else images
        self.labels = torch.zeros(len(images), dtype=torch.int64)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index].numpy())), int(self.labels[index])


class FileImages(Dataset[tuple[Tensor, int]]):
    """Images of a folder, opened one by one."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return to_tensor(Image.open(self.files[index]).convert("RGB")), 0


# -- variational autoencoders --------------------------------------------------------------------------------


class MLPVAE(nn.Module):
    """784 -> 400 -> 20 and back; or another number of pixels."""

    def __init__(self, pixels: int = 784) -> None:
        super().__init__()
        self.pixels = pixels
        self.fc1 = nn.Linear(pixels, 400)
        self.fc_mu = nn.Linear(400, 20)
        self.fc_logvar = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, pixels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.fc1(x.view(-1, self.pixels)))
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decode(z), mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))


class ConvVAE(nn.Module):
    """64x64x3 through widths 32, 64, 128, 256 to 128 latent dimensions and back."""

    def __init__(self) -> None:
        super().__init__()
        down: list[nn.Module] = []
        for a, b in ((3, 32), (32, 64), (64, 128), (128, 256)):
            down += [nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.01)]
        up: list[nn.Module] = []
        for a, b in ((256, 128), (128, 64), (64, 32)):
            up += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.01)]
        self.encoder = nn.Sequential(*down, nn.Flatten())
        self.fc_mu = nn.Linear(4096, 128)
        self.fc_logvar = nn.Linear(4096, 128)
        self.decoder_input = nn.Linear(128, 4096)
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decoder(self.decoder_input(z).view(-1, 256, 4, 4)), mu, logvar


def _vae_step(model: nn.Module) -> Callable[[Tensor], Losses]:
    """Return a step on summed cross-entropy + KL with Adam's defaults."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()

    def step(x: Tensor) -> Losses:
        optimizer.zero_grad()
        recon, mu, logvar = model(x)
        bce = F.binary_cross_entropy(recon, x.view_as(recon), reduction="sum")
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = bce + kld
        loss.backward()
        optimizer.step()
        return {"vae": loss.item() / len(x)}

    return step


def mnist_vae(images: Path) -> Loop:
    """Build the lesson's fully connected VAE, for images of any size."""
    data = ArrayImages(images)
    model = MLPVAE(data.images[0].numel())
    return Loop(data, _vae_step(model), model)


def conv_vae(images: Path) -> Loop:
    """Build the deep dive's convolutional VAE, on a folder of files or on an array."""
    model = ConvVAE()
    data = FileImages(images) if images.is_dir() else ArrayImages(images)
    return Loop(data, _vae_step(model), model)


# -- GANs -------------------------------------------------------------------------------------------------


def _generator(widths: Sequence[int] = (512, 256, 128, 64)) -> nn.Module:
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(100, widths[0], 4, 1, 0, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(True),
    ]
    for a, b in pairwise(widths):
        layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1, bias=False), nn.Tanh())


def _discriminator(widths: Sequence[int] = (64, 128, 256, 512)) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for a, b in pairwise(widths):
        layers += [
            nn.Conv2d(a, b, 4, 2, 1, bias=False),
            nn.BatchNorm2d(b),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Sigmoid())


def mnist_dcgan(images: Path) -> Loop:
    """Build the lesson's DCGAN: the critic on real and fake, then the generator on fresh noise."""
    generator, discriminator = _generator(), _discriminator()
    criterion = nn.BCELoss()
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(real: Tensor) -> Losses:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))

        optimizer_d.zero_grad()
        fake = generator(torch.randn(len(real), 100, 1, 1))
        real_loss = criterion(discriminator(real).view(-1), ones)
        fake_loss = criterion(discriminator(fake.detach()).view(-1), zeros)
        d_loss = real_loss + fake_loss
        d_loss.backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        fake = generator(torch.randn(len(real), 100, 1, 1))
        g_loss = criterion(discriminator(fake).view(-1), ones)
        g_loss.backward()
        optimizer_g.step()
        return {"critic": d_loss.item(), "generator": g_loss.item()}

    return Loop(ArrayImages(images, resize_to_tensor), step, generator, discriminator)


def _tutorial_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.constant_(module.bias, 0)


def tutorial_dcgan(images: Path) -> Loop:
    """Build PyTorch's DCGAN tutorial for 32x32: its networks without one layer, and its step.

    The critic takes real and fake images one after the other, each with a backward pass; the generator learns from the
    same fakes. Five numbers are read at each step.
    """
    generator = _generator((256, 128, 64)).apply(_tutorial_weights)
    discriminator = _discriminator((64, 128, 256)).apply(_tutorial_weights)
    criterion = nn.BCELoss()
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(real: Tensor) -> Losses:
        discriminator.zero_grad()
        label = torch.full((len(real),), 1.0)
        output = discriminator(real).view(-1)
        real_loss = criterion(output, label)
        real_loss.backward()
        on_real = output.mean().item()

        fake = generator(torch.randn(len(real), 100, 1, 1))
        label.fill_(0.0)
        output = discriminator(fake.detach()).view(-1)
        fake_loss = criterion(output, label)
        fake_loss.backward()
        on_fake = output.mean().item()
        optimizer_d.step()

        generator.zero_grad()
        label.fill_(1.0)
        output = discriminator(fake).view(-1)
        g_loss = criterion(output, label)
        g_loss.backward()
        on_fake_after = output.mean().item()
        optimizer_g.step()
        judged = {"real": on_real, "fake": on_fake, "fake, after": on_fake_after}
        return {"critic": (real_loss + fake_loss).item(), "generator": g_loss.item(), **judged}

    return Loop(ArrayImages(images, to_signed_tensor), step, generator, discriminator)


LOOPS: dict[str, Callable[[Path], Loop]] = {
    "mnist_vae": mnist_vae,
    "mnist_dcgan": mnist_dcgan,
    "conv_vae": conv_vae,
    "tutorial_dcgan": tutorial_dcgan,
}
