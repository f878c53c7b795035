from __future__ import annotations

import io
import os

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from morphospace.data.decode import decode, decode_chunk
from morphospace.data.fitting import fit, fit_mask
from morphospace.data.formats import FORMATS
from morphospace.data.opening import read_header
from morphospace.data.rule import Rule
from morphospace.errors import DataError

from .conftest import encoded, one_line, picture


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


SMALL = Rule(8, 8, 3)


def test_exact_size_is_not_touched() -> None:
    array = picture(1, 8, 8)
    assert (decode(encoded(array), SMALL) == array).all()


@pytest.mark.parametrize("crop", ["center", "stretch", "pad"])
def test_a_fine_checkerboard_shrinks_to_mid_grey(crop: str) -> None:
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    small = decode(encoded(board), Rule(16, 16, 1, crop))  # type: ignore[arg-type]
    assert abs(small.astype(int) - 128).max() <= 2


def test_center_keeps_the_middle_and_the_aspect() -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    assert (decode(encoded(wide), Rule(8, 8, 3))[:, 1:-1] == 255).all()
    tall = wide.transpose(1, 0, 2).copy()
    assert (decode(encoded(tall), Rule(8, 8, 3))[1:-1] == 255).all()


def test_pad_shows_all_on_black() -> None:
    out = decode(encoded(np.full((16, 32, 3), 200, np.uint8)), Rule(16, 16, 3, "pad"))
    assert (out[4:12] == 200).all() and (out[:4] == 0).all() and (out[12:] == 0).all()


def test_stretch_uses_every_part() -> None:
    halves = np.zeros((16, 64, 1), np.uint8)
    halves[:, 32:] = 255
    out = decode(encoded(halves), Rule(8, 8, 1, "stretch"))
    assert (out[:, :3] == 0).all() and (out[:, 5:] == 255).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(8, 40),
    st.integers(8, 40),
    st.sampled_from(["center", "stretch", "pad"]),
    st.sampled_from([1, 3]),
)
@example(3, 7, 8, 25, "center", 1)  # rounding put the box's edge below 0
def test_any_size_meets_any_target(h: int, w: int, height: int, width: int, crop: str, channels: int) -> None:
    rule = Rule(height, width, channels, crop)  # type: ignore[arg-type]
    flat = np.full((h, w, 3), 90, np.uint8)
    out = decode(encoded(flat), rule)
    assert out.shape == rule.shape and out.dtype == np.uint8
    if crop != "pad":
        assert (out == 90).all()
    assert fit_mask(np.ones((h, w, 2), np.uint8), rule).shape == (height, width, 2)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation(turn: int) -> None:
    upright = Image.fromarray(picture(3, 24, 16))
    # What a camera would have stored for it: the inverse of what the orientation asks for.
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose numbers
    stored = upright if turn == 1 else upright.transpose(Image.Transpose(undo[turn]))
    exif = Image.Exif()
    exif[0x0112] = turn
    blob = saved(stored, "PNG", exif=exif)
    assert (decode(blob, Rule(24, 16, 3)) == np.asarray(upright)).all()
    header = read_header(blob)
    assert (header.height, header.width) == (24, 16)


def test_transparency_lies_on_black() -> None:
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[:4, :, 3] = 0
    rgba[4:6, :, 3] = 128
    out = decode(saved(Image.fromarray(rgba)), SMALL)
    assert (out[:4] == 0).all() and (out[4:6] == 128).all() and (out[6:] == 255).all()
    grey = decode(saved(Image.fromarray(rgba).convert("LA")), Rule(8, 8, 1))
    assert (grey[:4] == 0).all() and (grey[6:] == 255).all()


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([9, 9, 9, 10, 200, 30] + [0] * 762)
    assert (decode(saved(image), SMALL) == (10, 200, 30)).all()
    assert (decode(saved(image, transparency=1), SMALL) == 0).all()


def test_cmyk() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert abs(decode(saved(cyan, "JPEG", quality=98), SMALL).astype(int) - (0, 255, 255)).max() < 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_divided_by_257(kind: str) -> None:
    levels = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    out = decode(saved(Image.fromarray(levels), kind), Rule(8, 8, 1))
    assert (out[..., 0] == np.rint(levels / 257)).all()
    assert read_header(saved(Image.fromarray(levels), kind)).grey


def test_bilevel_and_grey_to_colour() -> None:
    out = decode(saved(Image.new("1", (8, 8), 1)), SMALL)
    assert out.shape == (8, 8, 3) and (out == 255).all()
    assert (decode(encoded(np.full((8, 8, 3), (255, 0, 0), np.uint8)), Rule(8, 8, 1)) == 76).all()


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    blob = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(blob, SMALL) == (255, 0, 0)).all()


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    blob = saved(Image.new("1", (9000, 8000)))
    with pytest.raises(DataError, match="9000x8000 is more than 64,000,000 pixels") as caught:
        decode(blob, SMALL)
    one_line(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.9])
def test_cut_files_are_refused(kind: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    whole = encoded(noise, kind)
    decode(whole, SMALL)
    with pytest.raises(DataError) as caught:
        decode(whole[: int(len(whole) * keep)], SMALL)
    one_line(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\x00"])
)
def test_no_bytes_bring_more_than_a_data_error(tail: bytes, head: bytes) -> None:
    for call in (lambda: decode(head + tail, SMALL), lambda: read_header(head + tail)):
        try:
            call()
        except DataError as error:
            one_line(error)


def test_draft_only_where_twice_the_target_is_left() -> None:
    photo = encoded(picture(5, 512, 512), "JPEG", quality=95)
    for side in (64, 200, 300):
        ours = decode(photo, Rule(side, side, 3)).astype(int)
        full = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
        assert abs(ours - full).mean() < 1.0
        if side > 128:
            assert (ours == full).all()


def test_chunks_report_what_failed() -> None:
    images, bad, *_ = decode_chunk([encoded(picture(0)), b"", encoded(picture(1)), b"no image"], SMALL)
    assert images.shape == (2, 8, 8, 3)
    assert [position for position, _ in bad] == [1, 3]
    assert decode_chunk([b""], SMALL)[0].shape == (0, 8, 8, 3)


def test_fit_takes_arrays() -> None:
    assert fit(picture(0, 30, 30, 1), Rule(10, 12, 3)).shape == (10, 12, 3)


def test_a_header_is_read_without_unpacking_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    blobs = [saved(Image.new("RGB", (30, 20)), kind, exif=turned) for kind in ("PNG", "JPEG", "WEBP", "TIFF")]
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("unpacked"))
    assert all((header.height, header.width) == (30, 20) for header in map(read_header, blobs))


def test_a_large_image_that_is_refused_leaves_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[tuple[int, int]] = []
    real = Image.Image.close
    monkeypatch.setattr(Image.Image, "close", lambda image: (closed.append(image.size), real(image))[1])
    blob = saved(Image.effect_noise((1200, 1000), 50), "PNG")
    with pytest.raises(DataError):
        decode(blob[: len(blob) // 2], SMALL)
    assert (1200, 1000) in closed


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_an_image_of_any_format_stands_upright(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    blob = saved(Image.effect_noise((30, 20), 90).convert("RGB"), kind, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(blob))))
    assert np.array_equal(decode(blob, Rule(*upright.shape, "stretch")), upright)
    header = read_header(blob)
    assert (header.height, header.width) == upright.shape[:2] == ((30, 20) if turn >= 5 else (20, 30))


def test_libtiff_prints_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    with io.BytesIO() as buffer:
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(buffer, "TIFF", compression="tiff_lzw")
        data = bytearray(buffer.getvalue())
    data[20:60] = bytes(40)
    with pytest.raises(DataError):
        decode(bytes(data), SMALL)
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


@pytest.mark.skipif("JPEG2000" not in FORMATS, reason="Pillow has no JPEG 2000 here")
def test_a_large_jpeg_2000_is_decoded_at_a_reduced_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.asarray(Image.fromarray(picture(5, 64, 64)).resize((512, 512)))
    blobs = {n: saved(Image.fromarray(photo), "JPEG2000", num_resolutions=n + 1) for n in (0, 1, 5)}
    rule = Rule(16, 16, 3)
    whole = [decode(blob, rule) for blob in blobs.values()]
    sizes: list[tuple[int, int]] = []
    real = Image.Image.resize

    def resize(image: Image.Image, *more: object, **named: object) -> Image.Image:
        sizes.append(image.size)
        return real(image, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", resize)
    monkeypatch.setattr("morphospace.data.decode.LARGE_PIXELS", 500 * 500)
    small = [decode(blob, rule) for blob in blobs.values()]
    assert sizes == [(512, 512), (256, 256), (64, 64)]  # as often halved as the file allows
    assert np.array_equal(whole[0], small[0])
    shifted = np.abs(np.roll(whole[0].astype(int), 1, axis=1) - whole[0]).mean()
    assert all(np.abs(one.astype(int) - other).mean() < shifted / 3 for one, other in zip(whole, small, strict=True))
    assert np.array_equal(decode(blobs[5], Rule(512, 512, 3)), photo)


def test_a_format_that_is_copied_says_why_less_is_taken() -> None:
    blob = saved(Image.new("RGB", (40, 30)), "WEBP")
    with pytest.raises(DataError, match="40x30 is more than 600 pixels, the most of a WEBP, of which several copies"):
        decode(blob, Rule(8, 8, 3, max_pixels=1200))
