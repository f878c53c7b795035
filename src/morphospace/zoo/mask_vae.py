"""VAE of images with masks: one code, one decoder for the image within its mask and one for the mask."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.errors import SettingError
from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.likelihoods import Bernoulli
from morphospace.objectives.phase import Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.ae import set_output_bias
from morphospace.zoo.settings_vae import MaskVAESettings
from morphospace.zoo.vae import VAE


class MaskVAE(VAE):
    """p(mask | z) p(image within the mask | z): pixels outside the true mask do not count.

    The mask is one channel, the union of an image's masks in the data. The encoder sees the whole image.
    """

    settings: MaskVAESettings
    needs = ("masks",)
    replaceable = (*VAE.replaceable, "mask_decoder")
    averaged = (*VAE.averaged, "mask_decoder")

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the VAE's networks, then the decoder of masks."""
        super().build_networks(parts)
        raw = (1, *self.shape[:2])
        code = torch.zeros(2, self.latent_dim)
        self.mask_decoder = self.part(parts, "mask_decoder", code, (2, *raw), lambda: self.make_decoder(raw))
        self.networks["mask_decoder"] = self.mask_decoder
        self.learns = (*self.learns, self.mask_decoder)
        self.mask_likelihood = Bernoulli()

    def start_from(self, images: Tensor, masks: Tensor | None = None) -> None:
        """Begin where the decoders' last biases alone decode the mean image and the mean mask."""
        super().start_from(images, masks)
        if self.settings.output_bias == "data" and masks is not None:
            set_output_bias(self.mask_decoder, self.mask_likelihood, masks)

    def decode_image(self, z: Tensor) -> Tensor:
        """Return the mean images (B, C, H, W) of codes (B, D), which were trained within the mask only."""
        return self.likelihood.mean(self.decoder(z))

    def decode_mask(self, z: Tensor) -> Tensor:
        """Return the probability that each pixel is within the mask, (B, 1, H, W), of codes (B, D)."""
        return self.mask_likelihood.mean(self.mask_decoder(z))

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the images (B, C, H, W) of codes (B, D), blended with the background by the mask's probability."""
        level = self.settings.outside
        background = 2 * level - 1 if self.signed else level
        return background + (self.decode_image(z) - background) * self.decode_mask(z)

    def negative_bound(self, batch: Batch, posterior: DiagonalGaussian, z: Tensor, raw: Tensor, turn: Turn) -> Terms:
        """Return the image's loss within the true mask, the mask's loss, and the KL.

        Raises:
            SettingError: If the images have no masks.
        """
        if batch.masks is None:
            rule = "learns from masks, and these images have none"
            raise SettingError("model = 'mask-vae'", rule=rule, way_out="take data with masks, or another model")
        mask = batch.masks.amax(1, keepdim=True).to(batch.images.dtype)
        terms = self.reconstruction(Terms(), raw, batch.images, turn, mask)
        repeated = mask.repeat_interleave(len(z) // len(mask), 0) if len(z) > len(mask) else mask
        # A mean over pixels divides both losses.
        weight = self.settings.mask_weight * self.weight
        terms.add("mask", -self.mask_likelihood.log_prob(self.mask_decoder(z), repeated), weight)
        return self.add_kl(terms, posterior, z, turn)
