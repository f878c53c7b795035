"""What GANs promise beyond the contracts: constraints that hold, remedies that do what they say, clear refusals."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from morphospace.errors import SettingError
from morphospace.models.conditioning import Conditioning
from morphospace.training.optim import make_optimizer
from morphospace.training.turn import EngineTurn
from morphospace.training.weights import load_optimizer_state, optimizer_state
from morphospace.zoo.settings_gan import (
    CGANSettings,
    DCGANSettings,
    GANSettings,
    R3GANSettings,
    SNGANSettings,
    WGANGPSettings,
    WGANSettings,
)
from tests.contracts.cases import Case, engine_for
from tests.contracts.test_members import judge

SMALL = {"latent_dim": 6, "widths": (8, 12)}
CLASSES = Conditioning("label", ("a", "b", "c"))


def engine_of(settings: GANSettings, **more: object):
    return engine_for(Case(settings, "x"), **more)


def turn_of(engine, phase: str = "critic") -> EngineTurn:
    turn = engine.turn(phase)
    turn.seed(phase)
    return turn


# -- a critic that redraws ----------------------------------------------------------------------------


def test_the_critic_redraws_the_images_it_saw_and_learns_from_it() -> None:
    engine = engine_of(DCGANSettings(**SMALL, critic_reconstruction=3.0))
    model, turn = engine.model, turn_of(engine)
    batch = engine.data.batch(0)
    terms = model.critic_loss(batch, turn)
    with torch.no_grad():
        pictures = model.networks["redrawer"](model.critic.features(batch.images))
        wanted = torch.nn.functional.adaptive_avg_pool2d(batch.images, pictures.shape[2:])
    assert pictures.shape[1:] == (1, 16, 16)
    by_hand = sum(float((a - b).abs().mean()) for a, b in zip(pictures, wanted)) / len(wanted)
    assert float(terms.means["redrawn"]) == pytest.approx(by_hand, rel=1e-4)
    weights = {name: weight for name, _, weight in terms.weighted}
    assert weights == {"real": 1.0, "fake": 1.0, "redrawn": 3.0}
    loss = next(mean for name, mean, _ in terms.weighted if name == "redrawn")
    kernel = next(p for p in model.critic.parameters() if p.dim() == 4)
    assert torch.autograd.grad(loss, kernel)[0].abs().sum() > 0


# -- constraints ---------------------------------------------------------------------------------------------


def test_clipped_weights_are_within_the_limit_after_every_turn_of_the_critic() -> None:
    engine = engine_of(WGANSettings(**SMALL, lr=0.05, weight_clip=0.03))
    for _ in range(3):
        engine.step()
        largest = max(float(p.detach().abs().max()) for p in engine.model.critic.parameters())
        assert largest == pytest.approx(0.03)
    assert max(float(p.detach().abs().max()) for p in engine.model.generator.parameters()) > 0.03


def test_without_the_limit_they_grow_past_it() -> None:
    engine = engine_of(WGANSettings(**SMALL, lr=0.05, weight_clip=0.0))
    engine.step()
    assert max(float(p.detach().abs().max()) for p in engine.model.critic.parameters()) > 0.03


def test_a_spectrally_normalised_critic_is_as_steep_as_its_layers_allow() -> None:
    engine = engine_of(SNGANSettings(**SMALL, lr=0.02))
    for _ in range(20):
        engine.step()
    for module in engine.model.critic.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.parametrizations.weight.original.detach()
            assert float(torch.linalg.svdvals(module.weight.detach().flatten(1))[0]) == pytest.approx(1, abs=0.1)
            assert weight.norm() > 0


def test_critics_turn_takes_one_power_iteration_whatever_it_judges() -> None:
    engine = engine_of(SNGANSettings(**SMALL, gradient_penalty=1.0, r1=1.0))
    norm = engine.model.critic.body[2].parametrizations.weight[0]
    calls: list[int] = []
    original = norm.iterate
    norm.iterate = lambda matrix: (calls.append(1), original(matrix))[1]
    judge(engine, engine.phases[0]).backward()
    assert len(calls) == 1


def test_gradient_penalty_of_the_whole_model_on_a_linear_critic() -> None:
    """A critic of one linear layer: its gradient is its weights everywhere, so the phase's term is known."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(256))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images.flatten(1) @ self.weight)[:, None]

    critic = Flat()
    settings = WGANGPSettings(latent_dim=6, widths=(8, 12), r1=2.0, r2=3.0, penalty_every=1)
    model = settings.build((16, 16, 1), {"critic": critic})
    engine = engine_of(settings)
    engine.model = model
    terms = model.critic_loss(engine.data.batch(0), turn_of(engine))
    norm = float(critic.weight.detach().norm())
    assert float(terms.means["gradient_penalty"]) == pytest.approx((norm - 1) ** 2, rel=1e-4)
    assert float(terms.means["r1"]) == pytest.approx(norm**2 / 2, rel=1e-4)
    assert float(terms.means["r2"]) == pytest.approx(norm**2 / 2, rel=1e-4)
    weights = [weight for *_, weight in terms.weighted]
    assert weights == [1.0, 1.0, 2.0, 3.0, 10.0]


@pytest.mark.parametrize(
    ("more", "images", "share"),
    [
        ({}, 0, 1.0),
        ({"penalty_by_size": True}, 0, (16 / 64) ** 2),
        ({"penalty_decay_images": 1000}, 0, 1.0),
        ({"penalty_decay_images": 1000}, 500, 0.55),
        ({"penalty_decay_images": 1000}, 5000, 0.1),
        ({"penalty_by_size": True, "penalty_decay_images": 1000}, 5000, 0.1 / 16),
    ],
)
def test_penalties_grow_with_the_images_and_fall_with_time(more: dict[str, Any], images: int, share: float) -> None:
    settings = R3GANSettings(**{**SMALL, "penalty_every": 1, "penalty_by_size": False, "r1": 3.0, "r2": 4.0, **more})
    engine = engine_of(settings)
    turn = turn_of(engine)
    turn.clock = replace(turn.clock, images=images)
    terms = engine.model.critic_loss(engine.data.batch(0), turn)
    weights = [weight for _, _, weight in terms.weighted]
    assert weights == pytest.approx([1.0, 3.0 * share, 4.0 * share])


def test_widths_double_from_the_base_and_old_runs_keep_theirs(tmp_path: Path) -> None:
    from morphospace.runs.configuration import resolve
    from morphospace.zoo.gan_towers import critic_widths

    assert critic_widths(DCGANSettings(), (28, 28, 1)) == (32, 64, 128)
    assert critic_widths(DCGANSettings(base_width=48), (64, 64, 3)) == (48, 96, 192, 384)
    run = tmp_path / "run.toml"
    run.write_text('[run]\nversion = "0.1"\n[model]\nname = "dcgan"\nwidths = []\n')
    assert critic_widths(resolve(recipe=str(run)).model, (28, 28, 1)) == (64, 128, 256)  # type: ignore[arg-type]


def test_lazy_penalties_are_a_phase_of_their_own_on_the_critics_optimizer() -> None:
    engine = engine_of(R3GANSettings(**SMALL, penalty_every=4))
    assert [(p.name, p.every, p.optimizer) for p in engine.phases] == [
        ("critic", 1, None),
        ("penalty", 4, "critic"),
        ("generator", 1, None),
    ]
    assert set(engine.optimizers) == {"critic", "generator"}
    engine.step()
    assert {"penalty/r1", "penalty/r2"} <= set(engine.sums) and "critic/r1" not in engine.sums
    engine.sums = {}
    engine.step()
    assert "penalty/r1" not in engine.sums


@pytest.mark.parametrize("every", [1, 4])
def test_every_update_of_the_critic_has_the_whole_penalty_on_average(every: int) -> None:
    engine = engine_of(WGANGPSettings(**SMALL, turns=3, penalty_every=every))
    carries = [phase for phase in engine.phases if phase.name == ("critic" if every == 1 else "penalty")]
    assert [(phase.turns, phase.every) for phase in carries] == [(3, every)]  # the engine multiplies by `every`


@pytest.mark.parametrize("every", [1, 2])
def test_a_critics_rate_and_limit_hold_in_lazy_penalties_too(every: int) -> None:
    settings = WGANSettings(**SMALL, critic_norm="none", r1=1.0, penalty_every=every, lr=1e-2, critic_lr=5e-2, turns=1)
    engine = engine_of(settings)
    rates = {name: optimizer.defaults["lr"] for name, optimizer in engine.optimizers.items()}
    assert rates == {"critic": 5e-2, "generator": 1e-2}
    engine.step()
    assert max(float(p.detach().abs().max()) for p in engine.model.critic.parameters()) <= settings.weight_clip


# -- remedies ------------------------------------------------------------------------------------------------


def test_unrolled_once_is_judged_by_a_critic_that_took_one_explicit_step() -> None:
    engine = engine_of(DCGANSettings(**SMALL, unrolled=1, unrolled_lr=0.3))
    model, batch = engine.model, engine.data.batch(0)
    before = copy.deepcopy(model.critic.state_dict())
    fake = torch.randn(8, 1, 16, 16).tanh().requires_grad_()
    on_fake, _ = model.judge_ahead(batch.images, fake, None)
    assert all(torch.equal(value, before[name]) for name, value in model.critic.state_dict().items())  # buffers too

    critic = copy.deepcopy(model.critic)
    loss = (
        torch.nn.functional.softplus(-critic(batch.images)).mean() + torch.nn.functional.softplus(critic(fake)).mean()
    )
    gradients = torch.autograd.grad(loss, list(critic.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(critic.parameters(), gradients):
            parameter -= 0.3 * gradient
    assert torch.allclose(on_fake, critic(fake)[:, 0], atol=1e-5)
    # What looking ahead adds: the gradient through the critic's step.
    through = torch.autograd.grad(on_fake.sum(), fake, retain_graph=True)[0]
    frozen = torch.autograd.grad(critic(fake).sum(), fake)[0]
    assert not torch.allclose(through, frozen, atol=1e-4)


def test_replay_remembers_the_critics_fakes_and_hands_them_back() -> None:
    engine = engine_of(DCGANSettings(**SMALL, replay=0.5, replay_images=3))
    seen: list[torch.Tensor] = []
    original = engine.model.shown
    engine.model.shown = lambda turn, images: (seen.append(images.detach().clone()), original(turn, images))[1]
    engine.step()
    memory = engine.model.replay
    first = seen[0]
    assert int(memory.count) == 1 and torch.equal(memory.images[0], first[0])
    seen.clear()
    engine.step()
    assert all(torch.equal(image, memory.images[0]) for image in seen[0][:4])
    assert not any(torch.equal(image, memory.images[0]) for image in seen[0][4:])
    assert int(memory.count) == 2
    assert engine.state().tensors["memory"]["replay.images"].shape == (3, 1, 16, 16)
    assert not any("replay" in name for name, _ in engine.model.networks.named_buffers())


def test_packing_halves_the_judgements_and_doubles_the_channels() -> None:
    engine = engine_of(DCGANSettings(**SMALL, packing=2), shape=(16, 16, 3))
    assert engine.model.critic.body[0].in_channels == 6
    shown = engine.model.shown(turn_of(engine), engine.data.batch(0).images)
    assert shown.shape == (4, 6, 16, 16) and engine.model.judge(shown).shape == (4,)
    with pytest.raises(SettingError, match="none has a score of its own"):
        engine.model.score(engine.data.batch(0).images)
    coupled = engine_of(DCGANSettings(**SMALL, minibatch_discrimination=4))
    with pytest.raises(SettingError, match=r"minibatch_discrimination = 4: .* no image has a score of its own"):
        coupled.model.score(coupled.data.batch(0).images)
    with pytest.raises(SettingError, match=r"packing = 3: a batch of 8 images"):
        engine_of(DCGANSettings(**SMALL, packing=3)).step()


def test_augmentation_is_seen_by_the_critic_in_both_turns_and_on_both_kinds() -> None:
    engine = engine_of(R3GANSettings(**SMALL, penalty_every=1, augment=("cutout",)))
    seen: list[torch.Tensor] = []
    original = engine.model.judge
    engine.model.judge = lambda shown, condition=None: (seen.append(shown.detach()), original(shown, condition))[1]
    engine.step()
    assert len(seen) == 4  # real and fake, in either turn
    for images in seen:
        assert ((images == 0).flatten(1).sum(1) >= 16).all()


def test_feature_matching_is_a_term_of_the_generator_only() -> None:
    engine = engine_of(DCGANSettings(**SMALL, feature_matching=2.0))
    engine.step()
    assert "generator/features" in engine.sums and "critic/features" not in engine.sums
    plain = engine_of(DCGANSettings(**SMALL))
    phase = engine.phases[1]
    terms = phase.loss(engine.data.batch(0), turn_of(engine, "generator"))
    assert [weight for *_, weight in terms.weighted] == [1.0, 2.0]
    assert plain.phases[1].loss(plain.data.batch(0), turn_of(plain, "generator")).means.keys() == {"adversarial"}


# -- conditions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditioning", ["projection", "embedding"])
def test_a_condition_changes_image_and_judgement(conditioning: str) -> None:
    model = CGANSettings(**SMALL, conditioning=conditioning, packing=1).build((16, 16, 1), None, CLASSES).eval()
    z, x = torch.randn(3, 6), torch.randn(3, 1, 16, 16)
    one, two = (torch.eye(3)[[k] * 3] for k in (0, 1))
    assert not torch.equal(model.decode(z, one), model.decode(z, two))
    assert not torch.equal(model.score(x, one), model.score(x, two))
    with pytest.raises(SettingError, match="needs a condition: a, b, c"):
        model.decode(z)
    with pytest.raises(SettingError, match="needs the condition of every image"):
        model.score(x)


def test_a_packed_conditional_critic_hears_every_condition() -> None:
    engine = engine_of(CGANSettings(**SMALL, packing=2))
    engine.step()
    assert engine.model.critic.embed.in_features == 6


def test_fakes_are_drawn_for_the_classes_of_the_batch() -> None:
    engine = engine_of(CGANSettings(**SMALL))
    batch = engine.data.batch(0)
    assert torch.equal(engine.model.condition_of(batch).argmax(1), batch.labels)


def test_a_critic_with_layer_norm_judges_each_image_by_itself() -> None:
    torch.manual_seed(0)
    images = torch.rand(6, 1, 16, 16) * 2 - 1
    for norm, alone in (("layer", True), ("none", True), ("batch", False)):
        model = DCGANSettings(widths=(4, 8), critic_norm=norm, init="default").build((16, 16, 1))
        judged, few = model.score(images), model.score(images[:2])
        assert torch.allclose(judged[:2], few, atol=1e-6) == alone, norm


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_critic_sees_how_strong_the_contrast_is_unless_a_norm_takes_it_away(norm: str, bias: bool) -> None:
    torch.manual_seed(0)
    # With weights as small as those of `dcgan`, the norm's epsilon lets a little contrast through at first.
    settings = DCGANSettings(widths=(4, 8), critic_norm=norm, critic_bias=bias, init="default")  # type: ignore[arg-type]
    images = torch.rand(6, 1, 16, 16) * 2 - 1
    model = settings.build((16, 16, 1))
    strong, pale = model.score(images), model.score(0.3 * images)
    blind = torch.allclose(strong, pale, rtol=0.02)
    assert blind == (norm != "none" and not bias), (strong, pale)


@pytest.mark.parametrize("init", ["dcgan", "glorot", "wide", "default"])
def test_biases_before_the_first_norm_do_not_begin_at_zero(init: str) -> None:
    critic = DCGANSettings(widths=(4, 8), init=init).build((16, 16, 1)).critic  # type: ignore[arg-type]
    assert 0.01 < float(critic.body[0].bias.detach().abs().max()) < 1 / 4  # of 4x4 numbers: within 1 / sqrt(16)


# -- refusals ------------------------------------------------------------------------------------------------

REFUSED = {
    "size without a penalty": (DCGANSettings, {"penalty_by_size": True}, "penalty_by_size.*neither; add --r1"),
    "decay without a penalty": (DCGANSettings, {"penalty_decay_images": 5}, "penalty_decay_images = 5.*neither"),
    "penalty with batch norm": (DCGANSettings, {"r1": 1.0}, "r1 = 1.0.*batch norm.*--critic-norm none"),
    "penalty with minibatch": (
        WGANGPSettings,
        {"minibatch_discrimination": 4},
        "gradient_penalty = 10.0.*minibatch discrimination.*leave it out",
    ),
    "spectral norm with batch norm": (DCGANSettings, {"spectral_norm": True}, "spectral_norm.*--critic-norm none"),
    "two limits": (SNGANSettings, {"weight_clip": 0.01}, "spectral_norm.*weight_clip = 0.01.*one of them"),
    "penalty with clipping": (
        WGANSettings,
        {"gradient_penalty": 10.0, "critic_norm": "none"},
        "gradient_penalty = 10.0.*weight_clip = 0.01.*one of them",
    ),
    "spectral norm of residual blocks": (
        R3GANSettings,
        {"tower": "residual", "spectral_norm": True},
        "spectral_norm.*add --tower conv",
    ),
    "two ways to see a batch": (DCGANSettings, {"packing": 2, "minibatch_discrimination": 4}, "packing = 2.*one of"),
    "unrolled with penalty": (WGANGPSettings, {"unrolled": 1}, "unrolled = 1.*a penalty"),
    "unrolled with clipping": (WGANSettings, {"unrolled": 1}, "unrolled = 1.*clipped"),
    "unrolled with features": (DCGANSettings, {"unrolled": 1, "feature_matching": 1.0}, "feature_matching = 1.0"),
    "attention without maps": (DCGANSettings, {"tower": "mlp", "attention": 1}, "attention = 1.*tower is 'mlp'.*conv"),
    "excitation without maps": (DCGANSettings, {"tower": "mlp", "excitation": True}, "excitation.*--tower conv"),
    "doubling without maps": (DCGANSettings, {"tower": "mlp", "upsampling": "nearest"}, "upsampling.*transposed"),
    "unrolled with redrawing": (
        DCGANSettings,
        {"unrolled": 1, "critic_reconstruction": 1.0},
        "unrolled = 1.*reconstruction",
    ),
    "lazy nothing": (DCGANSettings, {"penalty_every": 4}, "penalty_every = 4.*no gradient penalty"),
    "replay of classes": (CGANSettings, {"replay": 0.5}, "replay = 0.5.*without their classes"),
    "no condition": (CGANSettings, {"condition": ""}, "condition = ''"),
    "unknown augmentation": (DCGANSettings, {"augment": ("flip",)}, "augment.*colour, translation, cutout"),
    "share of one": (DCGANSettings, {"replay": 1.0}, "replay = 1.0"),
    "packing of none": (DCGANSettings, {"packing": 0}, "packing = 0.*from 1 to 64"),
}


def test_attention_asked_of_a_map_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingError, match=r"attention = 3.*2 pixels a side.*2 times.*up to 2"):
        DCGANSettings(**SMALL, attention=3).build((16, 16, 1))


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_setting_value_rule_and_way_out(name: str) -> None:
    cls, settings, message = REFUSED[name]
    with pytest.raises(SettingError, match=message) as caught:
        cls(**settings)
    assert "\n" not in str(caught.value)


def test_a_conditional_gan_without_conditions_is_refused() -> None:
    with pytest.raises(SettingError, match="condition = 'label'"):
        CGANSettings(**SMALL).build((16, 16, 1))


def test_remedies_inside_the_critic_do_not_go_with_the_callers_own() -> None:
    own = nn.Sequential(nn.Flatten(), nn.Linear(256, 1))
    for name, value in (("spectral_norm", True), ("minibatch_discrimination", 4), ("feature_matching", 1.0)):
        settings = replace(DCGANSettings(critic_norm="none"), **{name: value})
        with pytest.raises(SettingError, match=f"{name}.*your"):
            settings.build((16, 16, 1), {"critic": own})
    DCGANSettings().build((16, 16, 1), {"critic": own})


# -- optimizer -----------------------------------------------------------------------------------------------


def test_rmsprop_by_hand_and_resumed() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = make_optimizer([parameter], "rmsprop", 0.1, (0.9, 0.99), 1e-8, 0.0)
    square, value = torch.zeros(2), parameter.detach().clone()

    def step(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        parameter.grad = gradient.clone()
        optimizer.step()

    for gradient in (torch.tensor([0.5, 2.0]), torch.tensor([-1.0, 3.0])):
        step(optimizer, parameter, gradient)
        square = 0.99 * square + 0.01 * gradient**2
        value = value - 0.1 * gradient / (square.sqrt() + 1e-8)
    assert torch.allclose(parameter.detach(), value, atol=1e-6)

    other = nn.Parameter(parameter.detach().clone())
    again = make_optimizer([other], "rmsprop", 0.1, (0.9, 0.99), 1e-8, 0.0)
    load_optimizer_state(again, {other: "p"}, optimizer_state(optimizer, {parameter: "p"}))
    for made, p in ((optimizer, parameter), (again, other)):
        step(made, p, torch.tensor([0.3, 0.7]))
    assert torch.equal(parameter, other)
