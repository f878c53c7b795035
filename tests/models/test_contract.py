"""Per-sample noise, the caller's own parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.zoo.settings import (
    AESettings,
    BetaTCVAESettings,
    DCGANSettings,
    FactorVAESettings,
    IWAESettings,
    ModelSettings,
    VAEGANSettings,
    VAESettings,
)


def test_noise_is_normal_and_its_rows_and_seeds_differ() -> None:
    noise = seeded_noise(2000, 10, seed=5)
    assert abs(float(noise.mean())) < 0.03 and float(noise.std()) == pytest.approx(1, abs=0.02)
    assert len(torch.unique(noise[:, 0])) == 2000
    assert not torch.equal(seeded_noise(5, 4, seed=1), seeded_noise(5, 4, seed=2))
    # torch's CPU generator keeps 32 bits of a seed
    assert not torch.equal(seeded_noise(5, 4, seed=1), seeded_noise(5, 4, seed=1 + 2**32))


def test_own_parts_are_checked_by_what_they_do() -> None:
    good = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    model = VAESettings(latent_dim=6).build((8, 8, 1), {"encoder": good})
    assert model.networks["encoder"] is good and model.custom == ("encoder",)
    with pytest.raises(SettingError, match=r"maps \(2, 1, 8, 8\) to \(2, 5\), must give \(2, 12\)"):
        VAESettings(latent_dim=6).build((8, 8, 1), {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 5))})
    with pytest.raises(SettingError, match="failed on an input"):
        VAESettings(latent_dim=6).build((8, 8, 1), {"encoder": nn.Linear(3, 3)})
    with pytest.raises(SettingError, match=r"no such part.*generator, critic"):
        DCGANSettings().build((16, 16, 1), {"encoder": good})


class MeanAndLogVariance(nn.Module):
    """An encoder as most published VAEs have it: two heads, returned as two tensors."""

    def __init__(self, units: int = 6, outputs: int = 2) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(64, units) for _ in range(outputs))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(head(images.flatten(1)) for head in self.heads)


@pytest.mark.parametrize("settings", [VAESettings, IWAESettings, BetaTCVAESettings, FactorVAESettings, VAEGANSettings])
def test_an_own_encoder_may_return_mean_and_log_variance(settings: type[ModelSettings]) -> None:
    encoder, images = MeanAndLogVariance(), torch.rand(3, 1, 8, 8)
    model = settings(latent_dim=6, tower="mlp").build((8, 8, 1), {"encoder": encoder})
    assert model.networks["encoder"] is encoder
    mean, log_variance = encoder(images)
    posterior = model.encode(images)
    assert torch.equal(posterior.mean, mean) and torch.equal(posterior.log_variance, log_variance)
    joined = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    with torch.no_grad():
        joined[1].weight.copy_(torch.cat([head.weight for head in encoder.heads]))
        joined[1].bias.copy_(torch.cat([head.bias for head in encoder.heads]))
    same = settings(latent_dim=6, tower="mlp").build((8, 8, 1), {"encoder": joined}).encode(images)
    assert torch.allclose(same.mean, mean) and torch.allclose(same.log_variance, log_variance)


@pytest.mark.parametrize(
    ("settings", "encoder", "message"),
    [
        (
            VAESettings,
            MeanAndLogVariance(5),
            r"to \(2, 5\) and \(2, 5\), must give \(2, 12\), or mean .* of \(2, 6\) each",
        ),
        (VAESettings, MeanAndLogVariance(6, 3), r"to \(2, 6\) and \(2, 6\) and \(2, 6\), must give"),
        (VAESettings, MeanAndLogVariance(6, 1), r"to \(2, 6\), must give \(2, 12\), or"),
        (AESettings, MeanAndLogVariance(6), r"to \(2, 6\) and \(2, 6\), must give \(2, 6\)$"),
    ],
)
def test_an_encoder_of_the_wrong_shape_is_refused(settings: type, encoder: nn.Module, message: str) -> None:
    with pytest.raises(SettingError, match=r"encoder = MeanAndLogVariance: maps \(2, 1, 8, 8\) " + message):
        settings(latent_dim=6).build((8, 8, 1), {"encoder": encoder})
    assert encoder.training  # as it was before the check


def test_beta_in_nats() -> None:
    """The published face VAE: squared error averaged over 12,288 values and half the KL is beta = 3,072."""
    published = VAESettings(likelihood="squared-error", reduction="mean", beta=0.5, latent_dim=100)
    assert published.beta_in_nats(64 * 64 * 3) == 3072
    averaged = VAESettings(likelihood="squared-error", reduction="mean", kl_reduction="mean", beta=0.5, latent_dim=100)
    assert averaged.beta_in_nats(64 * 64 * 3) == pytest.approx(30.72)
    assert VAESettings().beta_in_nats(784) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 0}, "latent_dim = 0"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"lr": -1.0}, "lr = -1.0"),
        ({"beta": float("inf")}, "beta = inf"),
        ({"widths": (8, 0)}, "widths"),
        ({"signed": True}, "Bernoulli"),
        ({"variance": "learned"}, "only a Gaussian"),
        ({"betas": (0.9, 1.0)}, "betas"),
    ],
)
def test_absurd_settings_are_refused_by_name(settings: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        VAESettings(**settings)
