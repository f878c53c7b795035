"""Whatever is sent is a request or refused in one line, and nothing that is read can name a file."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import SettingError
from morphospace.studio import requests as ask

HOSTILE: list[Any] = [
    None, True, -1, 0, 10**400, 1e308, float("nan"), float("inf"), "", "../../etc/passwd", "r0", "seed:1", "train:1",
    "x" * 100_000, "\ud800", "\x00", [], [[]], [[], [1.0]], {}, {"label": 1}, {"label": None},
    {"attributes": {"a": "b"}},
    ["linear"], ["direction", "x", 1], [["dim", True, 1]], [[1e4] * 8], [0.0] * 8, [[0.0, 0.0]], [[0.0] * 8, [0.0] * 8],
]  # fmt: skip
FIELDS = (
    "run", "runs", "codes", "seeds", "points", "moves", "base", "condition", "image", "picture", "count", "by", "code",
    "among", "ends", "hows", "steps", "fps", "refine", "seed", "images", "channel", "id",
)  # fmt: skip
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
messages = st.builds(
    lambda kind, fields: {"kind": kind, **fields},
    st.sampled_from(sorted(ask.KINDS)),
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(HOSTILE) | jsons, max_size=8),
)


@settings(deadline=None, max_examples=150)
@given(jsons | messages)
def test_any_json_is_a_request_or_refused(message: Any) -> None:
    with contextlib.suppress(SettingError):
        assert isinstance(ask.parse(message), ask.Request)


def codes(count: int, dim: int = 2) -> list[list[float]]:
    return [[0.0] * dim] * count


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ([], "must be a JSON object"),
        ({"kind": "decod"}, "did you mean 'decode'"),
        ({"kind": ["decode"]}, "no such request"),
        ({"kind": "decode", "run": "r0"}, "give one of"),
        ({"kind": "decode", "run": "r0", "seeds": [1], "codes": [[0.0]]}, "give one of"),
        ({"kind": "decode", "run": "r0", "seeds": [True]}, "seeds"),
        ({"kind": "decode", "run": "r0", "seeds": [2**63]}, "seeds"),
        ({"kind": "decode", "run": "r0", "seeds": [1.0]}, "seeds"),
        ({"kind": "decode", "run": "r0", "codes": [[float("nan")]]}, "finite"),
        ({"kind": "decode", "run": "r0", "codes": [[1e308]]}, "finite"),
        ({"kind": "decode", "run": "r0", "codes": [[10**400]]}, "finite"),
        ({"kind": "decode", "run": "r0", "codes": [[True]]}, "finite"),
        ({"kind": "decode", "run": "r0", "codes": [["1"]]}, "finite"),
        ({"kind": "decode", "run": "r0", "codes": [[0.0], [0.0, 0.0]]}, "one length"),
        ({"kind": "decode", "run": "r0", "codes": codes(257)}, "1 to 256"),
        ({"kind": "decode", "run": "r0", "codes": [[0.0] * 70_000]}, "list of numbers"),
        ({"kind": "decode", "run": "r0", "points": [[0.0, 0.0, 0.0]]}, "pairs"),
        ({"kind": "decode", "run": "r0", "moves": [["dim", True, 1]]}, "moves"),
        ({"kind": "decode", "run": "r0", "moves": [["dim", -1, 1]]}, "moves"),
        ({"kind": "decode", "run": "r0", "moves": [[["dim"], 1, 1]]}, "moves"),
        ({"kind": "decode", "run": "r0", "moves": [["direction", 1, 1]]}, "moves"),
        ({"kind": "decode", "run": "r0", "seeds": [1], "condition": {"label": 1, "attributes": {}}}, "one object"),
        ({"kind": "decode", "run": "r0", "seeds": [1], "condition": {"label": [1]}}, "label"),
        ({"kind": "decode", "run": "r0", "seeds": [1], "condition": {"attributes": {"a": float("inf")}}}, "finite"),
        ({"kind": "decode", "run": "x" * 401, "seeds": [1]}, "at most 400"),
        ({"kind": "encode", "run": "r0", "image": "../../etc/passwd"}, "number of an image"),
        ({"kind": "encode", "run": "r0", "image": "seed:1"}, "number of an image"),
        ({"kind": "encode", "run": "r0", "image": "codes.json"}, "number of an image"),
        ({"kind": "encode", "run": "r0", "image": "train:"}, "number of an image"),
        ({"kind": "encode", "run": "r0", "image": -1}, "number of an image"),
        ({"kind": "encode", "run": "r0", "image": "٣"}, "number of an image"),
        ({"kind": "encode", "run": "r0", "image": True}, "image"),
        ({"kind": "map", "run": "r0", "count": 10**9}, "whole number"),
        ({"kind": "map", "run": "r0", "by": "tsne"}, "one of pca, umap"),
        ({"kind": "walk", "run": "r0", "ends": codes(1), "hows": ["linear"]}, "2 to 8"),
        ({"kind": "walk", "run": "r0", "ends": codes(2), "hows": [["linear"]]}, "hows"),
        ({"kind": "walk", "run": "r0", "ends": codes(8), "hows": ["linear"], "steps": 240}, "are the most"),
        ({"kind": "film", "run": "r0", "ends": codes(2), "hows": ["linear", "slerp"]}, "one kind of path"),
        ({"kind": "project", "run": "r0", "picture": "p1", "refine": 10**6}, "0 to 500"),
        ({"kind": "compare", "runs": ["r0"] * 5, "seed": 1}, "1 to 4"),
        ({"kind": "compare", "runs": "r0", "seed": 1}, "list"),
        ({"kind": "snapshot", "run": "r0", "images": "../0"}, "whole number"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused_with_the_rule(message: Any, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        ask.parse(message)
    assert words in str(caught.value)


def test_every_kind_can_be_asked_properly() -> None:
    fields: dict[str, Any] = {
        "run": "r0", "runs": ["r0"], "seeds": [1], "image": "train:3", "picture": "p1", "code": [0.0], "seed": 1,
        "ends": [[0.0], [1.0]], "hows": ["linear"], "images": 0,
    }  # fmt: skip
    for kind in ask.KINDS:
        message = json.loads(json.dumps({"kind": kind, **fields}))
        assert isinstance(ask.parse(message), ask.Request)
    assert ask.parse({"kind": "encode", "run": "r0", "image": 7}) == ask.Encode("r0", "7")
