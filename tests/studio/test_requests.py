"""Whatever is sent is a request or refused in one line, and nothing that is read can name a file."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import SettingError
from morphospace.ranges import types_of
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
        ({"kind": "walk", "run": "r0", "ends": codes(8), "hows": ["linear"], "steps": 240}, "must be at most"),
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
    assert ask.parse({"kind": "encode", "run": "r0", "image": 7}) == ask.Encode("r0", 7)


DIM, FAR, OVER = [0.0] * 65_536, 1e3, 1.001e3
TEXTS = (["r0", "x" * 400], ["x" * 401, 1, True, None, []])
CODE = ([[FAR], [-FAR], DIM], [[OVER], [-OVER], [*DIM, 0.0], [], [True], ["1"], [None], 1.0, "1", [[1.0]]])
MANY = [dict.fromkeys(map(str, range(count)), 1) for count in (400, 401)]
CONDITION = (
    [{"label": 3}, {"label": "cat"}, {"label": "x" * 400}, {"attributes": {"a": FAR}}, {"attributes": MANY[0]}],
    [{}, [], "cat", {"label": True}, {"label": 1.0}, {"label": None}, {"label": "x" * 401}, {"label": 1, "more": 1},
     {"attributes": {"a": OVER}}, {"attributes": {"a": True}}, {"attributes": []}, {"attributes": MANY[1]}],
)  # fmt: skip
IMAGE = ([0, 7, "7", "train:7", "9" * 12, 10**12 - 1], ["9" * 13, 10**12, -1, "", "train:", True, 7.0, "a", "seed:1"])
CODES = ([[[FAR]] * 256, [DIM]], [[], [[0.0]] * 257, [[0.0], [0.0, 0.0]], [[]], [[OVER]], [[*DIM, 0.0]], [0.0]])
SEEDS = ([[0] * 256, [2**63 - 1]], [[], [0] * 257, [-1], [2**63], [1.0], [True], ["1"], 1])
POINTS = ([[[FAR, -FAR]] * 256], [[], [[0.0, 0.0]] * 257, [[0.0]], [[0.0] * 3], [[0.0, OVER]], [0.0]])
MOVE = ["dim", 0, 1]
MOVES = (
    [[], [MOVE] * 64, [["dim", 65_535, FAR]], [["component", 65_535, -FAR]], [["direction", "x", 1]]],
    [[MOVE] * 65, [["dim", 65_536, 1]], [["dim", -1, 1]], [["dim", 1.0, 1]], [["component", "0", 1]], MOVE,
     [["direction", 0, 1]], [["dim", 0, OVER]], [["dim", 0, True]], [["dim", 0]], [["dim", 0, 1, 1]], [["up", 0, 1]]],
)  # fmt: skip
ENDS = ([[[FAR]] * 8, [[-FAR]] * 2, [DIM] * 2], [[[0.0]], [[0.0]] * 9, [[0.0], [0.0, 0.0]], [[0.0], [OVER]], None])
HOWS = ([["linear"], ["linear", "slerp", "rotate"]], [[], ["linear"] * 4, ["bezier"], [1], "linear", None])
STEPS = ([2, 240], [1, 241, 2.0, True, None])
# Of each question: the fields that it needs, and of every field the outermost values and those just outside.
RUN: dict[str, Any] = {"run": "r0"}
WALK: dict[str, Any] = {**RUN, "ends": [[0.0], [0.0]], "hows": ["linear"]}
BOUNDS: dict[str, tuple[dict[str, Any], dict[str, tuple[list[Any], list[Any]]]]] = {
    "runs": ({}, {}),
    "describe": ({}, {"run": TEXTS}),
    "card": ({}, {"run": TEXTS}),
    "training": ({}, {"run": TEXTS}),
    "diagnosis": ({}, {"run": TEXTS}),
    "sliders": (RUN, {"run": TEXTS, "by": (["component", "dim", "direction"], ["", "pca", 1, None, ["dim"]])}),
    "decode": (RUN, {
        "run": TEXTS, "codes": CODES, "seeds": SEEDS, "points": POINTS, "moves": MOVES, "base": CODE,
        "condition": CONDITION,
    }),
    "encode": (RUN, {"run": TEXTS, "image": IMAGE, "picture": TEXTS, "condition": CONDITION}),
    "gans": ({}, {}),
    "map": (RUN, {
        "run": TEXTS, "count": ([3, 3000], [2, 3001, 3.0, True, None, "3"]),
        "by": (["pca", "umap"], ["tsne", "", None, 1]),
    }),
    "colours": (RUN, {
        "run": TEXTS, "by": (["error", "attribute:Smiling"], ["x" * 401, 1, None]),
        "count": ([3, 3000], [2, 3001, 3.0, True, None]),
    }),
    "examples": (RUN, {"run": TEXTS, "count": ([1, 32], [0, 33, 1.0, True, None])}),
    "likeness": (RUN, {"run": TEXTS, "error": ([0, 0.5, 1.0], [-0.1, 1.1, True, "1", None])}),
    "neighbours": ({**RUN, "code": [0.0]}, {
        "run": TEXTS, "code": CODE, "count": ([1, 32], [0, 33, 1.0, True, None]),
        "among": (["codes", "train"], ["", "test", None]), "condition": CONDITION,
    }),
    "walk": (WALK, {"run": TEXTS, "ends": ENDS, "hows": HOWS, "steps": STEPS, "condition": CONDITION}),
    "film": (WALK, {
        "run": TEXTS, "ends": ENDS, "hows": ([["rotate"]], [["linear", "slerp"], *HOWS[1]]), "steps": STEPS,
        "condition": CONDITION, "fps": ([1, 50], [0, 51, 25.0, True, None]),
    }),
    "project": (RUN, {
        "run": TEXTS, "image": IMAGE, "picture": TEXTS, "condition": CONDITION,
        "refine": ([0, 500, None], [-1, 501, 1.0, True, "1"]),
    }),
    "compare": ({"runs": ["r0"]}, {
        "runs": ([["r0"] * 4, ["x" * 400]], [[], ["r0"] * 5, "r0", [1], ["x" * 401]]),
        "seed": ([0, 2**63 - 1], [-1, 2**63, 1.0, True, "1"]), "image": IMAGE, "picture": TEXTS,
        "condition": CONDITION,
    }),
    "snapshot": ({**RUN, "images": 0}, {
        "run": TEXTS, "images": ([0, 10**12], [-1, 10**12 + 1, 1.0, True, None, "1"]),
    }),
}  # fmt: skip
# Questions that need one of several fields, and one that does where another field is looked at.
ONE_OF = {
    "decode": (["codes", "seeds", "points", "moves"], {"moves": []}),
    "encode": (["image", "picture"], {"image": 1}),
    "project": (["image", "picture"], {"image": 1}),
    "compare": (["seed", "image", "picture"], {"seed": 1}),
}


def right_but_for(kind: str, field: str, value: Any) -> dict[str, Any]:
    """Return a question whose other fields are right."""
    needed, _ = BOUNDS[kind]
    several, one = ONE_OF.get(kind, ([], {}))
    return {"kind": kind, **needed, **RUN, **({} if field in several else one), field: value}


def test_every_field_of_every_question_has_its_bounds_listed() -> None:
    for kind, question in ask.KINDS.items():
        assert set(BOUNDS[kind][1]) == set(types_of(question)), kind


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, (_, fields) in BOUNDS.items() for field in fields])
def test_what_is_just_outside_a_bound_is_refused(kind: str, field: str) -> None:
    inside, outside = BOUNDS[kind][1][field]
    for value in inside:
        assert isinstance(ask.parse(right_but_for(kind, field, value)), ask.Request), value
    for value in outside:
        with pytest.raises(SettingError) as caught:
            ask.parse(right_but_for(kind, field, value))
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("kind", ["walk", "film"])
def test_a_walk_has_at_most_1080_images(kind: str) -> None:
    legs = {"kind": kind, **WALK, "ends": [[0.0]] * 7}
    assert isinstance(ask.parse({**legs, "steps": 180}), ask.Walk)
    with pytest.raises(SettingError, match="1080"):
        ask.parse({**legs, "steps": 181})
