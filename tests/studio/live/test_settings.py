"""What can be chosen is what the zoo declares; what is not allowed is refused by name."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import SettingError
from morphospace.records import fields_of
from morphospace.runs.configuration import as_written
from morphospace.studio.live import commands
from morphospace.studio.live.settings import IMAGES, MOST, Data, chosen, gans, ground_of, offered
from morphospace.studio.requests import Request
from morphospace.zoo.settings import ZOO, GANSettings
from tests.studio.test_requests import HOSTILE, jsons

OFFER = offered()


def test_every_gan_and_every_setting_of_it_is_offered() -> None:
    assert {name for name, cls in ZOO.items() if issubclass(cls, GANSettings)} < set(gans())
    assert [one["name"] for one in OFFER["gans"]] == list(gans())
    for one in OFFER["gans"]:
        cls: type = gans()[one["name"]]
        names = {as_written(name) for name in fields_of(cls)}
        assert {row["name"] for row in one["settings"]} == names
        assert all(set(defaults) == names for defaults in one["defaults"].values())
        assert all(row["hint"] for row in one["settings"])
    assert len(json.dumps(OFFER)) < 150_000
    assert {*OFFER["data"]["plane"], *OFFER["data"]["images"]} == set(get_args(Data))


@pytest.mark.parametrize("gan", sorted(gans()))
def test_what_is_usual_is_allowed_and_what_the_page_shows(gan: str) -> None:
    shown = next(one for one in OFFER["gans"] if one["name"] == gan)["defaults"]
    for data in ("ring", "digits"):
        model = chosen(gan, data, {}).model
        assert shown[ground_of(data)]["latent_dim"] == str(model.latent_dim)
        assert shown[ground_of(data)]["lr"] == f"{model.lr:g}"


def test_numbers_have_limits() -> None:
    """A whole number that counts work must not be without one: the run shares a machine."""
    free = {"penalty_every", "penalty_decay_images", "kl_warmup_images", "capacity_images"}  # moments, and no work
    for one in OFFER["gans"]:
        for row in one["settings"]:
            if row["kind"] == "whole" and row["name"] not in free:
                assert row["max"] <= max(MOST.values()), row
            if row["kind"] == "numbers":
                assert row["name"] in MOST or row["name"] == "betas", row


REFUSED: list[tuple[str, Data, dict[str, Any], dict[str, Any], str]] = [
    ("vae", "ring", {}, {}, "gan"),
    ("dcgan", "ring", {"unrolledd": 4}, {}, "unrolledd"),
    ("dcgan", "ring", {"unrolled": "4"}, {}, "unrolled"),
    ("dcgan", "ring", {"unrolled": -1}, {}, "unrolled"),
    ("dcgan", "ring", {"unrolled": 11}, {}, "unrolled"),
    ("dcgan", "ring", {"widths": [10_000]}, {}, "widths"),
    ("dcgan", "ring", {"widths": [8, 8, 8, 8, 8]}, {}, "widths"),
    ("dcgan", "ring", {"packing": 3}, {"batch": 32}, "packing"),
    ("dcgan", "ring", {"tower": "conv"}, {}, "tower"),
    ("dcgan", "ring", {"augment": ["cutout"]}, {}, "augment"),
    ("dcgan", "digits", {"r1": 1.0}, {}, "r1"),  # batch norm: the library's own rule
    ("cgan", "own", {}, {"own": "0000"}, "gan"),
]


@pytest.mark.parametrize(("gan", "data", "changes", "more", "name"), REFUSED)
def test_what_is_not_allowed_is_refused_by_name(
    gan: str, data: Data, changes: dict[str, Any], more: dict[str, Any], name: str
) -> None:
    with pytest.raises(SettingError) as caught:
        chosen(gan, data, changes, **more)
    assert name in caught.value.name


FIELDS = ("gan", "data", "own", "seed", "batch", "settings", "picture", "run", "until", "player")
messages = st.builds(
    lambda kind, fields: {"kind": kind, **fields},
    st.sampled_from(sorted(commands.COMMANDS)),
    st.dictionaries(
        st.sampled_from(FIELDS), st.sampled_from(HOSTILE) | jsons | st.sampled_from(sorted(gans())), max_size=6
    ),
)


@settings(deadline=None, max_examples=100)
@given(jsons | messages)
def test_any_json_is_a_command_or_refused(message: Any) -> None:
    with contextlib.suppress(SettingError):
        command = commands.read(message)
        assert isinstance(command, Request)
        if isinstance(command, commands.Make):
            command.chosen()


def test_images_need_no_download() -> None:
    assert set(IMAGES.values()) == {"digits", "toyfaces:3000"}
