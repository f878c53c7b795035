"""The prior over quantised codes: it sums to one, sees no later place, and samples what it says."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from morphospace.models.autoregressive import CodePrior, choose_entries
from morphospace.models.codebook import Codebook
from morphospace.models.contract import seeded_noise


@pytest.fixture
def prior() -> CodePrior:
    """A prior of 2x2 places and three entries, with weights at which each place matters."""
    torch.manual_seed(0)
    codebook = Codebook(3, 2, decay=0.9, dead=0.1)
    codebook.share.fill_(1 / 3)
    codebook.sums.copy_(torch.randn(3, 2))
    made = CodePrior(codebook, (2, 2), width=8, layers=2, heads=2)
    torch.nn.init.normal_(made.predict.weight)
    return made.eval()


ALL = torch.tensor(list(itertools.product(range(3), repeat=4)))


def codes(prior: CodePrior, numbers: Tensor) -> Tensor:
    return prior.codebook.entries[numbers].flatten(1)


def test_the_masses_of_all_codes_sum_to_one(prior: CodePrior) -> None:
    mass = prior.log_prob(codes(prior, ALL)).exp()
    assert float(mass.detach().sum()) == pytest.approx(1, abs=1e-5) and len(mass.detach().unique()) > 60
    among = prior.among(2).log_prob(codes(prior, ALL)).exp()
    assert float(among.detach().sum()) == pytest.approx(1, abs=1e-5)
    assert int((among > 0).sum()) == 2**4


def test_no_place_depends_on_itself_or_a_later_one(prior: CodePrior) -> None:
    before = prior.logits(ALL[:1])
    for place in range(4):
        changed = ALL[:1].clone()
        changed[0, place] = 2
        moved = (prior.logits(changed) != before).any(2)[0].tolist()
        assert moved == [False] * (place + 1) + [True] * (3 - place)


def test_every_earlier_place_is_seen(prior: CodePrior) -> None:
    """No blind spot: the last place depends on each before it, whatever row and column that has."""
    last = prior.logits(ALL)[:, 3].view(3, 3, 3, 3, 3)
    assert all(last.std(axis).max() > 1e-3 for axis in range(3))


def test_samples_follow_the_masses(prior: CodePrior) -> None:
    """Place by place with what was kept of earlier ones, it chooses what the logits of the whole code say."""
    noise = torch.randn(200, 8)
    z = prior.from_noise(noise)
    numbers, uniform = prior.numbers(z), torch.special.ndtr(noise.double()).view(200, 4, 2)[:, :, 0]
    logits = prior.logits(numbers).double()
    for place in range(4):
        assert torch.equal(choose_entries(logits[:, place], uniform[:, place], 1.0, 0), numbers[:, place])
    assert len(numbers.unique(dim=0)) > 8


def test_temperature_and_top_k(prior: CodePrior) -> None:
    noise = torch.randn(300, 8)
    cold, best = prior.from_noise(noise, 0.0), prior.among(1).from_noise(noise)
    assert len(cold.unique(dim=0)) == 1 and torch.equal(cold, best)
    kinds = [len(prior.from_noise(noise, t).unique(dim=0)) for t in (0.2, 1.0, 2.0)]
    assert kinds[0] < kinds[1] < kinds[2]
    two = prior.numbers(prior.among(2).from_noise(noise))
    rank = prior.logits(two).argsort(-1, descending=True).argsort(-1).gather(2, two[:, :, None])
    assert int(rank.max()) == 1


def test_a_sample_is_the_same_at_any_batch_size(prior: CodePrior) -> None:
    among = prior.from_noise(seeded_noise(300, 8, 0))
    assert torch.equal(prior.from_noise(seeded_noise(1, 8, 0, start=270)), among[270:271])


def test_choice_is_by_the_shares_in_order() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(6, 3)
    uniform = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 1.0])
    assert choose_entries(logits, uniform, 1.0, 0).tolist() == [0, 0, 1, 1, 2, 2]
    assert choose_entries(logits, uniform, 1.0, 2).tolist() == [1, 1, 1, 2, 2, 2]
