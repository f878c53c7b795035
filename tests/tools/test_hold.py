"""Samples of which some levels of the code are held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.runs.codes import codes_of, decode, posteriors
from morphospace.runs.run import Run
from morphospace.tools.sample import draw_samples
from tests.conftest import draw_blobs

SMALL = {"tower": "mlp", "widths": (16,), "latent_dim": 6, "images": 64, "batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    images = draw_blobs(60, (8, 8, 1))
    return ms.train("ladder-vae", data=images, levels=3, out=tmp_path_factory.mktemp("held") / "ladder", **SMALL)


def test_upper_levels_are_those_of_the_first_sample_and_lower_ones_vary(run: Run) -> None:
    noise = seeded_noise(5, 6, 3)
    for hold in (1, 2):
        codes = torch.cat([noise[:1, : 2 * hold].expand(5, -1), noise[:, 2 * hold :]], 1)
        expected = decode(run.model, codes)
        assert np.array_equal(ms.sample(run, 5, seed=3, hold=hold), expected)
        assert np.array_equal(ms.sample(run, 2, seed=3, start=3, hold=hold), expected[3:])
        assert np.array_equal(draw_samples(run, n=5, seed=3, hold=hold).images, expected)
    assert np.array_equal(ms.sample(run, 5, seed=3, prior="model")[0], expected[0])


def test_the_command_says_what_is_held(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run.path), "--n", "4", "--hold", "2", "--out", f"{tmp_path}/a.npz", "--json"]) == 0
    assert '"hold": 2' in capsys.readouterr().out


def test_what_cannot_be_held_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="hold = 3: must be from 1 to 2"):
        ms.sample(run, 2, hold=3)
    with pytest.raises(SettingError, match="prior = 'gaussian': is not the model's own, which --hold"):
        ms.sample(run, 2, hold=1, prior="gaussian")
    vae = ms.train("vae", data=draw_blobs(40, (8, 8, 1)), out=tmp_path / "vae", **SMALL)
    with pytest.raises(SettingError, match="vae has no such option; leave it out, or sample ladder-vae"):
        ms.sample(vae, 2, hold=1)


def test_posteriors_are_those_given_sampled_codes_above(run: Run) -> None:
    """The top level's is the image's own; those below depend on the code above, which is always the same."""
    split = run.pack.split("train")
    rows = np.arange(4)
    found, again = posteriors(run, split, rows), posteriors(run, split, rows)
    assert found.log_variances is not None and torch.equal(found.means, again.means)
    with torch.no_grad():
        posterior = run.model.encode(run.model.from_uint8(torch.from_numpy(np.array(split.images[rows]))))
        along_the_means = posterior.drawn(torch.zeros(4, 6))[1]
    assert torch.allclose(found.means[:, :2], along_the_means.mean[:, :2], atol=1e-5)
    assert not (found.means.requires_grad or codes_of(run, split.images[rows]).requires_grad)
    assert not torch.allclose(found.means[:, 2:], along_the_means.mean[:, 2:], atol=1e-5)
