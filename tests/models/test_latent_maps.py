"""The critic of patches: how much of an image one judgement depends on."""

from __future__ import annotations

import pytest
import torch

from morphospace.models.latent_maps import PatchCritic, patch_side
from morphospace.zoo.settings_latent import AutoencoderKLSettings


@pytest.mark.parametrize("widths", [(4,), (4, 4), (4, 4, 4), (4, 4, 4, 4)])
def test_a_judgement_depends_on_a_square_of_as_many_pixels_as_said(widths: tuple[int, ...]) -> None:
    image = torch.rand(1, 1, 112, 112, requires_grad=True)
    judgements = PatchCritic(1, widths, "batch").eval()(image)
    middle = judgements.shape[2] // 2
    judgements[0, 0, middle, middle].backward()
    seen = image.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [patch_side(widths)] * 2


def test_patches_cover_six_tenths_of_the_shorter_side_at_most_where_layers_are_chosen() -> None:
    settings = AutoencoderKLSettings()
    for side in (28, 32, 64, 128, 256):
        assert patch_side(settings.critic_layers((side, side, 3))) <= 0.6 * side
    assert settings.critic_layers((64, 64, 3)) == (32, 64, 128)
