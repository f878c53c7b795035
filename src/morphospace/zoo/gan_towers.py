"""The two networks of a GAN, as its settings describe them."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from morphospace.models.conditioning import Conditioning
from morphospace.models.layers import ConditionalGenerator, Judge, limit_spectrum
from morphospace.models.residual import ResidualDecoder, ResidualEncoder
from morphospace.models.towers import MLP, ConvDecoder, ConvEncoder, Look, Shape, auto_widths, initialise, pyramid
from morphospace.zoo.settings_gan import GANSettings

READ = 128  # units of the hidden layer that reads a critic's features
THUMBNAIL = 32  # longest side of the pictures that a critic draws of images


def critic_widths(settings: GANSettings, shape: Shape) -> tuple[int, ...]:
    """Return the critic's widths, as set or as chosen from the image's shape."""
    if settings.widths:
        return settings.widths
    if settings.tower == "mlp":
        return (256, 256)
    return auto_widths(shape, settings.base_width, 512 if settings.tower == "conv" else 256)


def make_generator(settings: GANSettings, shape: Shape, conditioning: Conditioning | None) -> nn.Module:
    """Build the generator without its final tanh; in `conv`: stem, batch norm, ReLU, then convolutions that double."""
    s = settings
    widths = s.generator_widths or critic_widths(s, shape)[::-1]
    by_norm = getattr(s, "by_norm", False)
    embedded = getattr(s, "embedding", 0) if conditioning and not by_norm else 0
    size = conditioning.size if conditioning and by_norm else 0
    inputs, look = s.latent_dim + embedded, Look(activation="relu", bias=s.generator_bias, condition=size)
    body: nn.Module
    if s.tower == "residual":
        body = ResidualDecoder(inputs, widths, shape, s.blocks)
    elif s.tower == "mlp":
        body = initialise(MLP(inputs, widths, (shape[2], *shape[:2]), look), s.init)
    else:
        conv = ConvDecoder(
            inputs,
            widths,
            shape,
            look,
            stem=s.stem,
            stem_bias=False,
            stem_norm=True,
            attention=s.attention,
            excitation=s.excitation,
            upsampling=s.upsampling,
        )
        body = initialise(conv, s.init)
    return ConditionalGenerator(body, conditioning.size, embedded) if conditioning else body


def make_critic(settings: GANSettings, shape: Shape, conditioning: Conditioning | None, shifts: bool) -> nn.Module:
    """Build the critic, which has one output.

    Args:
        settings: The GAN's settings.
        shape: (H, W, C) of its images.
        conditioning: The conditions of a conditional GAN.
        shifts: Whether a constant added to every judgement leaves the loss as it is; the last bias is then left out.
    """
    s, (height, width, channels) = settings, shape
    plane = (height, width) if conditioning and getattr(s, "conditioning", "") == "embedding" else None
    tower = make_critic_tower(s, (height, width, channels * s.packing + (plane is not None)), 1, bias=not shifts)
    if s.minibatch_discrimination or conditioning:
        size = conditioning.size * s.packing if conditioning else 0
        init = "" if s.tower == "residual" else s.init
        tower = Judge(tower, minibatch=s.minibatch_discrimination, condition=size, plane=plane, init=init)
    return limit_spectrum(tower) if s.spectral_norm else tower


def make_reader(settings: GANSettings, critic: nn.Module, outputs: int) -> nn.Module:
    """Build what reads numbers from the critic's last features: one hidden layer, with layer norm."""
    head = critic.head
    assert isinstance(head, nn.Linear)
    inputs = head.in_features - settings.minibatch_discrimination
    hidden = [nn.Linear(inputs, READ), nn.LayerNorm(READ), nn.LeakyReLU(settings.slope)]
    return initialise(nn.Sequential(*hidden, nn.Linear(READ, outputs)), settings.init)


def make_critic_tower(settings: GANSettings, seen: Shape, outputs: int, *, bias: bool = True) -> nn.Module:
    """Build the tower of a critic; in `conv` with a norm: from the second layer on, and biases in the first alone.

    Args:
        settings: The GAN's settings.
        seen: (H, W, C) of what it sees, several images at once with packing.
        outputs: Number of outputs.
        bias: Whether the last layer may have a bias.
    """
    s, widths, biases = settings, critic_widths(settings, seen), settings.critic_norm == "none"
    look = Look(norm=s.critic_norm, activation="leaky", slope=s.slope, bias=biases, norm_first=False)
    if s.tower == "residual":
        return ResidualEncoder(seen, widths, outputs, s.blocks)
    if s.tower == "mlp":
        return initialise(MLP(math.prod(seen), widths, outputs, look, head_bias=bias), s.init)
    head = biases and bias
    conv = ConvEncoder(seen, widths, outputs, look, head_bias=head, unnormed_bias=s.critic_bias, attention=s.attention)
    initialise(conv, s.init)
    first = conv.body[0]
    assert isinstance(first, nn.Conv2d)
    if first.bias is not None and s.critic_norm != "none":
        # As torch's own, in every scheme: at 0 the critic does not see contrast before they have grown.
        most = first.weight[0].numel() ** -0.5
        nn.init.uniform_(first.bias, -most, most)
    return conv


def make_redrawer(settings: GANSettings, shape: Shape) -> nn.Module:
    """Build what draws a small picture of an image from the critic's last map: doubling transposed convolutions."""
    s, widths = settings, critic_widths(settings, shape)
    sizes = pyramid(shape, len(widths))[::-1]
    layers: list[nn.Module] = [nn.Unflatten(1, (widths[-1], *sizes[0]))]
    doublings = list(pairwise(sizes))
    steps = [step for step in doublings if max(step[1]) <= THUMBNAIL] or doublings[:1]
    channels, look = widths[-1], Look(norm="batch" if s.critic_norm == "batch" else "none")
    for i, ((low, narrow), (height, width)) in enumerate(steps):
        last = i == len(steps) - 1
        out = shape[2] * s.packing if last else max(16, channels // 2)
        odd = (height - 2 * low, width - 2 * narrow)
        layers += [nn.ConvTranspose2d(channels, out, 4, 2, 1, output_padding=odd)]
        layers += [nn.Tanh()] if last else look.after(out)
        channels = out
    return initialise(nn.Sequential(*layers), s.init)
