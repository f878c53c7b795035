"""The format of frames: what goes in comes out, to within a step of its rounding."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.studio.live.frames import packed, rounded, unpacked


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.sampled_from(["u8", "i16"]))
def test_values_survive(numbers: list[float], kind: str) -> None:
    values = np.array(numbers)
    low, high = float(values.min()), float(values.max())
    facts, found = unpacked(
        packed({"steps": 3}, {"a": rounded(values, kind, low, high), "b": rounded(values, "u8", 0, 1)})
    )
    assert facts == {"steps": 3}
    assert np.abs(found["a"] - values).max() <= (high - low) / (255 if kind == "u8" else 65535) + 1e-4
    assert found["b"].min() >= 0 and found["b"].max() <= 1


def test_numbers_that_are_not_finite_do_no_harm() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 0.5])
    facts, found = unpacked(packed({"loss": float("nan"), "all": [1.0, float("inf")]}, {"x": rounded(odd, "u8", 0, 1)}))
    assert facts == {"loss": None, "all": [1.0, None]}
    assert np.isfinite(found["x"]).all()
