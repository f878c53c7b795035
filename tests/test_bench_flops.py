"""What the benches count as work: torch's own counts where they are right, and by hand where they are not."""

import pytest
import torch
from bench.flops import Flops
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_and_both_its_gradients_cost_the_same_each(groups: int) -> None:
    x = torch.randn(2, 8, 10, 10, requires_grad=True)
    w = torch.randn(16, 8 // groups, 3, 3, requires_grad=True)
    with Flops() as counted:
        F.conv2d(x, w, stride=2, padding=1, groups=groups).sum().backward()
    once = 2 * (2 * 16 * 5 * 5) * (8 // groups * 9)
    assert counted.total == 3 * once


def test_without_groups_the_count_is_torchs_own() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.Tanh(), torch.nn.ConvTranspose2d(8, 3, 4, 2, 1), torch.nn.Flatten(),
        torch.nn.Linear(192, 5),
    )  # fmt: skip
    x = torch.randn(4, 3, 8, 8, requires_grad=True)

    with FlopCounterMode(display=False) as theirs:
        net(x).square().sum().backward()
    with Flops() as ours:
        net(x).square().sum().backward()
    assert ours.total == theirs.get_total_flops() > 0


def test_gradients_with_respect_to_parameters_can_be_counted() -> None:
    linear = torch.nn.Linear(3, 2)
    with Flops() as counted:
        torch.autograd.grad(linear(torch.randn(5, 3)).sum(), linear.weight)
    assert counted.total == 2 * (2 * 5 * 3 * 2)
