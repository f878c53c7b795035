"""What each setting is for. Pinned: what may change when a run continues, and of the rest what is easy to get wrong."""

from __future__ import annotations

import re
from dataclasses import fields

from morphospace.data.settings import DataSettings
from morphospace.plugins import built_in
from morphospace.ranges import marks_of
from morphospace.roles import DESCRIPTIVE, AgainstCollapse, Role, changeable, fields_with
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import ZOO
from morphospace.zoo.settings_vae import VAESettings

# Decisions. A setting that is not named here is part of the objective, unless its type says otherwise.
DECIDED = {
    Role.OBJECTIVE: """
        likelihood variance dequantise signed reduction prior beta kl draws capacity samples condition gamma alpha
        lambda_ mask_weight gradient_penalty r1 r2 weight_clip spectral_norm unrolled_lr entries
        commitment autoencoder_images
        size channels crop labels background binarise resize range
    """,
    Role.FIT: """
        latent_dim optimizer betas eps weight_decay init output_bias tower activation slope norm turns
        batch_size seed precision clip schedule warmup_images ema_halflife_images flip shift brightness valid
    """,
    Role.SCORING: """
        stop_on_collapse collapse_reports metrics metrics_every_images metrics_n metrics_features
        best patience min_delta
    """,
    Role.LENGTH: "epochs images",
    Role.REPORTING: "report_images checkpoint_images keep track",
    Role.PLACE: "root device exact graphs products resident",
    Role.SOURCE: "data",
}
HOW_NETWORKS_ARE = re.compile(r"(^|_)(lr|widths?|layers|blocks|heads|components)$")
OURS = [cls for cls in ZOO.values() if built_in(cls.__module__)]  # a plugin of another test is not
CLASSES = (DataSettings, TrainingSettings, *OURS)


def roles() -> dict[str, set[Role]]:
    """Return the roles of each setting; one that several classes have is there once."""
    found: dict[str, set[Role]] = {}
    for cls in CLASSES:
        for role in Role:
            for name in fields_with(cls, role):
                found.setdefault(name, set()).add(role)
    return found


def test_settings_have_the_roles_that_were_decided() -> None:
    found = roles()
    for role, names in DECIDED.items():
        assert {name: found[name] for name in names.split() if found[name] != {role}} == {}, role


def test_a_setting_has_one_role_whatever_the_model() -> None:
    assert {name: several for name, several in roles().items() if len(several) > 1} == {}
    for cls in CLASSES:
        assert sorted(fields_with(cls, *Role)) == sorted(field.name for field in fields(cls))
        assert all(len(set(marks_of(cls, field.name, Role))) <= 1 for field in fields(cls))


def test_sizes_of_networks_and_learning_rates_are_no_part_of_the_objective() -> None:
    """A new one without `Role.FIT` would count as another objective when runs are compared."""
    named = {name: several for name, several in roles().items() if HOW_NETWORKS_ARE.search(name)}
    del named["unrolled_lr"]  # what the generator minimises depends on it
    assert len(named) > 12 and {name for name, several in named.items() if several != {Role.FIT}} == set()


def test_a_run_may_go_on_longer_elsewhere_and_score_other_metrics() -> None:
    length_and_place = {"epochs", "images", "device", "exact", "graphs", "products", "resident"}
    reporting = {"report_images", "checkpoint_images", "keep", "track"}
    assert set(changeable(TrainingSettings)) == length_and_place | reporting | set(DECIDED[Role.SCORING].split())
    assert changeable(DataSettings) == ["root"]
    assert not any(changeable(cls) for cls in OURS)


def test_a_run_is_described_without_its_places() -> None:
    told = {name for cls in CLASSES for name in fields_with(cls, *DESCRIPTIVE)}
    places = {"root", "data", "device", "exact", "graphs", "products", "resident"}
    untold = places | {"checkpoint_images", "report_images", "keep", "track"}
    assert {field.name for cls in CLASSES for field in fields(cls)} - told == untold


def test_what_helps_against_collapse_comes_in_the_order_to_try_it() -> None:
    assert [f.name for f in fields(VAESettings) if marks_of(VAESettings, f.name, AgainstCollapse)] == [
        "beta",
        "kl_warmup_images",
        "free_bits",
    ]
