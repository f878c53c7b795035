"""What each setting is for. A new setting fails these tests until its role is written here as well."""

from __future__ import annotations

from dataclasses import fields

from morphospace.data.settings import DataSettings
from morphospace.ranges import marks_of
from morphospace.roles import DESCRIPTIVE, AgainstCollapse, Role, changeable, fields_with
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import ZOO, VAESettings

FIT = """
latent_dim levels skips encoder_lr lr critic_lr optimizer betas eps weight_decay init output_bias prior_components
prior_layers generator_conditioning tower widths base_width critic_widths critic_base_width generator_widths norm
critic_norm activation slope blocks attention excitation stem generator_bias turns batch_size seed
codebook_decay dead_share prior_width prior_heads prior_lr encoder_lr levels skips
precision clip schedule warmup_images ema_halflife_images flip shift brightness valid strict max_pixels
"""
OBJECTIVE = """
likelihood variance sigma dequantise signed reduction beta kl draws kl_warmup_images kl_reduction free_bits capacity
capacity_weight capacity_images samples gradient condition gamma alpha sampling mask_weight outside lambda_ mixing
adversarial_unit judged reconstruction_space share_fakes weight_clip gradient_penalty r1 r2 penalty_every
entries commitment autoencoder_images regulariser weight variant diagonal
off_diagonal kernel penalty_by_size penalty_decay_images
critic_reconstruction spectral_norm minibatch_discrimination feature_matching
replay replay_images unrolled unrolled_lr packing augment embedding
weight kernel variant regulariser diagonal off_diagonal
conditioning size channels crop classes labels parts background binarise resize range prior
"""
SCORING = """
stop_on_collapse collapse_reports metrics metrics_every_images metrics_n metrics_features best patience min_delta
"""
EXPECTED = {
    Role.OBJECTIVE: OBJECTIVE,
    Role.FIT: FIT,
    Role.LENGTH: "epochs images",
    Role.SCORING: SCORING,
    Role.REPORTING: "report_images checkpoint_images keep track",
    Role.PLACE: "root device exact graphs products resident",
    Role.SOURCE: "data",
}
OURS = [cls for cls in ZOO.values() if cls.__module__.startswith("morphospace.")]  # a plugin of another test is not
CLASSES = (DataSettings, TrainingSettings, *OURS)


def test_every_setting_has_the_role_that_is_written_here() -> None:
    for role, names in EXPECTED.items():
        assert {name for cls in CLASSES for name in fields_with(cls, role)} == set(names.split()), role
    for cls in CLASSES:
        assert sorted(fields_with(cls, *Role)) == sorted(field.name for field in fields(cls))
        assert all(len(set(marks_of(cls, field.name, Role))) <= 1 for field in fields(cls))


def test_a_run_may_go_on_longer_elsewhere_and_score_other_metrics() -> None:
    length_and_place = {"epochs", "images", "device", "exact", "graphs", "products", "resident"}
    reporting = {"report_images", "checkpoint_images", "keep", "track"}
    assert set(changeable(TrainingSettings)) == length_and_place | reporting | set(SCORING.split())
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
