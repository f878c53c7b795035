"""Recordings: the frames that went in, small enough for a page, of the settings that they say."""

from __future__ import annotations

import numpy as np
from bench.tapes import MOMENTS, TAPES, moments, recorded

from morphospace.studio.live.frames import unpacked as frame_of
from morphospace.studio.live.settings import chosen
from morphospace.studio.live.tapes import packed, tapes, unpacked

MOST_BYTES = 140_000  # of each


def test_what_is_recorded_is_read_again() -> None:
    frames = recorded(chosen("dcgan", "digits", {"base_width": 4}, batch=4), [0, 1, 3])
    header, found = unpacked(packed("x", {"gan": "dcgan"}, frames))
    assert header == {"gan": "dcgan"} and found == frames
    facts, arrays = frame_of(found[2])
    assert facts["steps"] == 3 and facts["measured"]["of"] == 10
    assert len(arrays["images"]) == 25 * 256 and len(np.unique(arrays["images"])) <= 16


def test_the_packages_recordings_are_what_the_maker_records() -> None:
    """That they can be made again: the same settings, and the first moment value for value."""
    found = tapes()
    assert set(found) == set(TAPES)
    for name, text in found.items():
        gan, data, changes = TAPES[name]
        header, frames = unpacked(text)
        assert header == {"gan": gan, "data": data, "settings": changes} and len(text) < MOST_BYTES
        assert [frame_of(frame)[0]["steps"] for frame in frames] == moments() and len(frames) == MOMENTS
        (again,) = recorded(chosen(gan, data, changes), [0])
        (now, kept) = (frame_of(frame)[1]["images"] for frame in (again, frames[0]))
        assert np.abs(now - kept).max() <= 1.01 / 15, name  # another processor may round otherwise
