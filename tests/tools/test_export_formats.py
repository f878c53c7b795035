"""What an exported file holds, and what the check before it is written would find."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphospace.errors import RunError
from morphospace.tools.export.formats import (
    Part,
    checked,
    decoder_part,
    encoder_part,
    largest_error,
    run_torchscript,
    stored_in_half,
    to_torchscript,
    without_sources,
)
from morphospace.zoo.settings import AESettings, VAESettings


def small(settings: type[AESettings] = VAESettings, **more: object) -> Part:
    torch.manual_seed(0)
    return decoder_part(settings(latent_dim=3, widths=(8,), **more).build((8, 8, 1)).eval())  # type: ignore[arg-type]


def test_a_part_holds_the_networks_it_uses_and_no_others() -> None:
    model = VAESettings(latent_dim=3, widths=(8,)).build((8, 8, 1)).eval()
    decoder, encoder = decoder_part(model), encoder_part(model, model)  # type: ignore[arg-type]
    assert list(decoder.module.networks) == ["decoder"] and list(encoder.module.networks) == ["encoder"]
    assert (decoder.inputs, decoder.outputs) == (("z",), ("images",))
    assert (encoder.inputs, encoder.outputs) == (("images",), ("mean", "log_variance"))
    plain = AESettings(latent_dim=3, widths=(8,)).build((8, 8, 1)).eval()
    assert encoder_part(plain, plain).outputs == ("mean",)  # type: ignore[arg-type]


def test_the_largest_error_is_the_largest_of_all_outputs_and_batches() -> None:
    part = small()

    def off(*arguments: Tensor) -> tuple[Tensor, ...]:
        (images,) = part(*arguments)
        images = images.clone()
        if len(images) == 5:
            images[4, 0, 7, 7] += 0.25
        return (images,)

    assert largest_error(part, off) == pytest.approx(0.25, abs=1e-6)
    big = replace(part, module=nn.Sequential(nn.Flatten(), Times(40.0)))
    theirs = replace(part, module=nn.Sequential(nn.Flatten(), Times(40.4)))
    assert largest_error(big, theirs.__call__) == pytest.approx(0.01, rel=1e-3)  # relative where outputs are above 1


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor) -> Tensor:
        return values * self.factor


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 0.01])
def test_a_file_that_differs_is_refused(wrong: float) -> None:
    part = small()
    with pytest.raises(RunError, match=r"weights = 'fp32': the decoder is off by .*, more than 0.0001; take another"):
        checked(part, lambda *z: tuple(values + wrong for values in part(*z)), "fp32")


def test_a_file_of_one_batch_size_is_refused() -> None:
    part = small()

    def fixed(*z: Tensor) -> tuple[Tensor, ...]:
        return tuple(values[:1] for values in part(*z))

    with pytest.raises(RunError, match="maps a batch of 2 to"):
        largest_error(part, fixed)


@pytest.mark.parametrize("half", [False, True])
def test_torchscript_names_no_file_of_this_machine(half: bool) -> None:
    part = small()
    content = to_torchscript(part, half, {"run": "small"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            assert not name.endswith(".debug_pkl")
            for path in (b"site-packages", b"/morphospace/", str(__file__).encode(), b"/home/", b"/tmp/"):
                assert path not in archive.read(name), name
        assert b'"run": "small"' in archive.read(next(n for n in archive.namelist() if n.endswith("morphospace.json")))
    assert largest_error(part, run_torchscript(content, part)) < (5e-3 if half else 1e-6)


def test_torch_itself_would_have_named_them() -> None:
    """If this fails, torch has mended it, and `without_sources` may go."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    with zipfile.ZipFile(buffer) as archive:
        assert any(__file__.encode() in archive.read(name) for name in archive.namelist())
    assert __file__.encode() not in without_sources(buffer.getvalue())


def test_weights_stored_in_half_are_computed_with_in_full() -> None:
    part = small()
    copy = stored_in_half(part.module)
    stored = dict(copy.named_buffers())
    assert not list(copy.parameters())
    assert {values.dtype for name, values in stored.items() if name.endswith("_half")} == {torch.float16}
    z = torch.randn(2, 3)
    by_hand = {name: values.half().float() for name, values in part.module.state_dict().items() if "num_b" not in name}
    with torch.no_grad():
        got = copy(z)
        part.module.load_state_dict(by_hand, strict=False)
        assert got.dtype == torch.float32
        # Running statistics are no parameters, and keep their precision.
        np.testing.assert_allclose(got.numpy(), part.module(z).numpy(), atol=1e-4)
