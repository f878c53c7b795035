"""VQ-VAE (van den Oord, Vinyals & Kavukcuoglu 2017): codes of a codebook's entries, and an autoregressive prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.models.autoregressive import CodePrior
from morphospace.models.codebook import Codebook
from morphospace.models.distributions import Quantised, full
from morphospace.models.grids import GridHead, GridStem
from morphospace.models.priors import Sampler
from morphospace.models.sampling import SampleOptions
from morphospace.models.towers import ConvDecoder, ConvEncoder, initialise
from morphospace.objectives.phase import Phase, Round, Turn
from morphospace.objectives.terms import Terms
from morphospace.zoo.ae import AE
from morphospace.zoo.settings_vq import VQVAESettings


class VQVAE(AE):
    """Minimises -log p(x | e) + commitment |z - sg(e)|^2, where e are the entries nearest to z = encoder(x).

    The encoder gets the decoder's gradient at e, straight through; the entries are moving averages of what chooses
    them (Razavi et al. 2019). The prior minimises -log p(e). Both together bound the image: -log p(x) <= -log p(x | e)
    - log p(e), which is the loss in validation.

    A code of the model is z, before it is quantised, and `decode` quantises it. So paths, components and directions
    run through a space of vectors, and images along them change in steps.
    """

    settings: VQVAESettings
    prior: CodePrior

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the networks of an autoencoder, then codebook and prior."""
        s = self.settings
        super().build_networks(parts)
        self.codebook = Codebook(s.entries, s.latent_dim, s.codebook_decay, s.dead_share)
        self.prior = CodePrior(self.codebook, s.grid(self.shape), s.prior_width, s.prior_layers, s.prior_heads)
        self.networks.update({"codebook": self.codebook, "prior": self.prior})
        self.averaged = (*self.averaged, "codebook", "prior")

    @property
    def widths(self) -> tuple[int, ...]:
        """The encoder's widths, as set or as chosen from the image's shape."""
        return self.settings.layer_widths(self.shape)

    def make_encoder(self, outputs: int) -> nn.Module:
        """Build the encoder that the settings describe."""
        s = self.settings
        head = partial(GridHead, dim=s.latent_dim, blocks=s.blocks, look=self.look)
        return initialise(ConvEncoder(self.shape, self.widths, outputs, self.look, head=head), s.init)

    def make_decoder(self, raw: tuple[int, int, int]) -> nn.Module:
        """Build the encoder's mirror, with raw images (C, H, W) as output."""
        s, shape = self.settings, (*self.shape[:2], raw[0])
        stem = partial(GridStem, dim=s.latent_dim, blocks=s.blocks, look=self.look)
        return initialise(ConvDecoder(self.latent_dim, self.widths[::-1], shape, self.look, stem=stem), s.init)

    def narrowed(self, options: SampleOptions, first: Tensor) -> Sampler | None:
        """Return the prior, which chooses among `options.top_k` entries at each place."""
        return self.prior.among(options.top_k) if options.top_k else self.prior

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Quantised:
        """Return the code of images (B, C, H, W), before it is quantised."""
        return Quantised(self.encoder(images))

    def quantised(self, z: Tensor) -> Tensor:
        """Return codes (B, D) with the nearest entry at each place, through which gradients pass straight."""
        return self.codebook(self.at_places(z)).flatten(1).to(z.dtype)

    def numbers(self, z: Tensor) -> Tensor:
        """Return the number of the entry nearest to codes (B, D) at each place, (B, P)."""
        return self.codebook.nearest(self.at_places(z))

    def at_places(self, z: Tensor) -> Tensor:
        """Return codes (B, D) as the vectors of their places, (B, P, d)."""
        return z.unflatten(1, (-1, self.settings.latent_dim))

    def with_code(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return the decoder's input: the codes, quantised."""
        return self.quantised(z)

    def codes(self, batch: Batch, turn: Turn) -> Tensor:
        """Encode a batch, while training once for both players; as in evaluation once the autoencoder is fixed."""

        def make() -> Tensor:
            return self.encoder(batch.images)

        if not turn.training:
            return make()
        begins = self.settings.autoencoder_images
        if not (begins and turn.clock.reached(begins)):
            return turn.once("codes", make, by=(self.encoder,))
        self.encoder.eval()
        with torch.no_grad():
            z = make()
        self.encoder.train()
        return z

    def prior_loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return -log p of the entries of a batch."""
        return Terms().add("code", -self.prior.log_prob(self.codes(batch, turn).detach()))

    def loss(self, batch: Batch, turn: Turn) -> Terms:
        """Return reconstruction and commitment of a batch; while training, let the codebook learn from it.

        Validation leaves the commitment out, which is no part of a bound.
        """
        z = self.codes(batch, turn)
        entries = self.quantised(z)
        terms = self.reconstruction(Terms(), self.decoder(entries), batch.images, turn)
        distance = (full(z) - full(entries).detach()).square().sum(1)
        if turn.training:
            terms.add("commitment", distance, self.settings.commitment * self.weight)
            vectors = self.at_places(z).detach()
            uniform = turn.uniform(*vectors.shape[:2])
            self.codebook.learn(turn.gathered(vectors).flatten(0, 1), turn.gathered(uniform).flatten())
        else:
            terms.note("commitment", distance)
        return terms.note("perplexity", self.codebook.perplexity()).note("entries_used", self.codebook.used())

    def rounds(self) -> Sequence[Round]:
        """Return the prior's phase, then that of encoder, decoder and likelihood, on the same codes."""
        s = self.settings
        return [
            Phase("prior", (self.prior,), self.prior_loss, lr=s.prior_lr, begins=s.autoencoder_images, validates=True),
            Phase(s.name, self.learns, self.loss, ends=s.autoencoder_images or None, validates=True),
        ]
