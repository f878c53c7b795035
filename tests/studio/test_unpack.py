"""A large picture is unpacked in a process of its own, with the same pixels and the same refusals."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.data.decode import decode
from morphospace.data.rule import Rule
from morphospace.errors import DataError
from morphospace.studio import unpack
from morphospace.studio.unpack import unpacked

RULE = Rule(8, 6, 3, "center", background=(255, 255, 255))


def noise(kind: str = "PNG", mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((50, 40), 80).convert(mode).save(stream, kind)
    return stream.getvalue()


def test_apart_it_has_the_same_pixels_and_the_same_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)  # nothing is imported from where somebody starts the studio
    here: list[int] = []
    monkeypatch.setattr(unpack, "decode", lambda data, rule: here.append(1) or decode(data, rule))
    data, cut = noise(mode="RGBA"), noise()[:-60]
    whole = unpacked(data, RULE)
    assert here == [1] and np.array_equal(whole, decode(data, RULE))
    monkeypatch.setattr(unpack, "APART_PIXELS", 0)
    assert np.array_equal(unpacked(data, RULE), whole)
    for broken in (cut, noise("JPEG")[:300]):
        with pytest.raises(DataError) as far:
            unpacked(broken, RULE)
        with pytest.raises(DataError) as near:
            decode(broken, RULE)
        assert str(far.value) == str(near.value)
    assert here == [1]


def test_one_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "APART_PIXELS", 0)
    monkeypatch.setattr(unpack, "SECONDS", 0.01)
    with pytest.raises(DataError, match=r"longer than 0\.01 s"):
        unpacked(noise(), RULE)
