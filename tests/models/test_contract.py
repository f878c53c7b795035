"""Per-sample noise, the caller's own parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.zoo.settings import DCGANSettings, VAESettings


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
