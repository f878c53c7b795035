"""Faster decoders for a few images at a time on a CPU: weights are put once into the order that its kernels need.

At each call of a transposed convolution torch puts the weights into oneDNN's order anew. For a single image of 64x64
that is a third to a half of the decoder's time. The operators here are those that torch's compiler calls for frozen
weights; a build without them keeps the usual ones.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from morphospace.models.contract import Model
from morphospace.models.towers import ConvDecoder, NearestDoubling


class PackedTransposed(nn.Module):
    """A transposed convolution (B, C, H, W) -> (B, C', H', W') with weights in the kernel's own order, not trainable.

    Args:
        layer: The layer that it replaces.
        size: (H, W) of its usual input; other sizes give the same numbers.
    """

    def __init__(self, layer: nn.ConvTranspose2d, size: tuple[int, int]) -> None:
        super().__init__()
        at = (layer.padding, layer.output_padding, layer.stride, layer.dilation)
        self.arguments = (*(list(pair) for pair in at), layer.groups)
        self.bias = None if layer.bias is None else layer.bias.detach()
        weight, usual = layer.weight.detach().contiguous(), [1, layer.in_channels, *size]
        self.weight = torch.ops.mkldnn._reorder_convolution_transpose_weight(weight, *self.arguments, usual)

    def forward(self, images: Tensor) -> Tensor:
        run = torch.ops.mkldnn._convolution_transpose_pointwise
        return run(images, self.weight, self.bias, *self.arguments, "none", [], "")


def packed(model: Model) -> Model:
    """Return a model that decodes the same images, to rounding, in less time when a call decodes few of them.

    Its transposed convolutions are copies, each with the following batch norm folded in (in evaluation mode). All else
    is shared with the model, which does not change. A model on an accelerator, in bf16 or without transposed
    convolutions is returned itself.
    """
    parts = {name: part for name, part in vars(model).items() if isinstance(part, nn.Module) and name != "networks"}
    decoders = {name: p for name, p in parts.items() if any(isinstance(m, ConvDecoder) for m in p.modules())}
    if not decoders or model.device.type != "cpu" or model.dtype != torch.float32 or not _available():
        return model
    made = copy.copy(model)
    for name, part in decoders.items():
        shared = {id(tensor): tensor for tensor in (*part.parameters(), *part.buffers())}
        quick = copy.deepcopy(part, shared)
        for inner in quick.modules():
            if isinstance(inner, ConvDecoder):
                inner.body, inner.doubling = _packed_body(inner), PackedTransposed
        setattr(made, name, quick)
    return made


def packed_bytes(model: Model) -> int:
    """Return the bytes that a packed model needs beside the one it was made from."""
    parts = [part for part in vars(model).values() if isinstance(part, nn.Module)]
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, PackedTransposed)]
    return sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)


def _packed_body(decoder: ConvDecoder) -> nn.Sequential:
    layers: list[nn.Module] = []
    for own in decoder.body:
        layer = own.plain() if isinstance(own, NearestDoubling) else own
        if isinstance(layer, nn.BatchNorm2d) and layers and isinstance(layers[-1], nn.ConvTranspose2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer, transpose=True)
        else:
            layers.append(layer)
    height, width = decoder.base[1:]
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.ConvTranspose2d):
            layers[i] = PackedTransposed(layer, (height, width))
            height, width = (2 * side + odd for side, odd in zip((height, width), layer.output_padding, strict=True))
    return nn.Sequential(*layers)


def _available() -> bool:
    names = ("_reorder_convolution_transpose_weight", "_convolution_transpose_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
