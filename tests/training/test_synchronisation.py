"""How often a training step waits for its device: never, whatever the model. Counted where tensors have no values.

And that a step has nothing that a GPU computes to other bytes each time.
"""

from __future__ import annotations

import traceback
from contextlib import nullcontext, suppress
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from morphospace.data.augment import Augment
from morphospace.data.batches import Batches
from morphospace.training.guard import Guard
from tests.contracts.cases import CASES, Case, drawn_split, engine_for

DEVICE = torch.device("meta")  # stands for a GPU: its tensors have shapes, and nobody can read them
SHAPE = (16, 16, 1)
ROWS = torch.zeros(4, dtype=torch.long, device=DEVICE)
aten = torch.ops.aten
# What reads values from the device, or how many there are.
READS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten._unique2.default,
    aten.bincount.default,
}
# What a GPU adds in another order each time, by the notes of `torch.use_deterministic_algorithms`.
UNSTEADY = {
    *(aten.index_add.default, aten.index_add_.default, aten.scatter_reduce.two, aten.put_.default),
    *(aten.scatter_add.default, aten.scatter_add_.default, aten._adaptive_avg_pool2d_backward.default),
    *(aten.upsample_linear1d_backward.default, aten.upsample_bilinear2d_backward.default),
    *(aten.upsample_bicubic2d_backward.default, aten._upsample_bilinear2d_aa_backward.default),
    *(aten.reflection_pad2d_backward.default, aten.replication_pad2d_backward.default),
    *(aten.grid_sampler_2d_backward.default, aten.nll_loss2d_forward.default, aten.histc.default),
}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
COPIES = {aten._to_copy.default, aten.copy_.default}


class Waits(TorchDispatchMode):
    """Notes each operation for which a GPU would make the program wait, and the line of the library that asks for it.

    Attributes:
        found: The operations, with their lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        reads = function in READS and any(isinstance(one, Tensor) and one.device == DEVICE for one in args)
        at = [one for one in args[1] if one is not None] if function in INDEXED and args[0].device == DEVICE else []
        masked, far = any(one.dtype == torch.bool for one in at), any(one.device != DEVICE for one in at)
        if reads or masked or far or (function in COPIES and self.copies(function, args, kwargs)):
            self.note(str(function))
            if function is aten._local_scalar_dense.default:
                return 1.0
            if reads or masked:
                return torch.zeros((), device=DEVICE)
        return function(*args, **kwargs)

    def note(self, what: str) -> None:
        """Note an operation, with the innermost line of the library."""
        lines = [frame for frame in traceback.extract_stack() if "/morphospace/" in frame.filename]
        self.found.append(f"{what} for `{lines[-1].line if lines else 'the test'}`")

    def __enter__(self) -> Waits:
        self.made = Made(self)
        self.made.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.made.__exit__(*error)

    def copies(self, function: Any, args: Any, kwargs: Any) -> bool:
        """Return whether a copy leads to the device or away from it and is waited for."""
        if function is aten.copy_.default:
            target, source, goes_on = args[0].device, args[1].device, kwargs.get("non_blocking") or args[2:3] == (True,)
        else:
            target, source, goes_on = kwargs.get("device"), args[0].device, kwargs.get("non_blocking")
            target = source if target is None else torch.device(target)
        return source != target and (target != DEVICE or not goes_on)


class Unsteady(TorchDispatchMode):
    """Notes each operation that a GPU computes to other bytes each time.

    Attributes:
        found: The operations.
        count: How many operations there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[Any] = set()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        if function in UNSTEADY and not self.steady(function, args):
            self.found.add(function)
        return function(*args, **(kwargs or {}))

    @staticmethod
    def steady(function: Any, args: Any) -> bool:
        """Return whether no two values are added at one place."""
        if function is aten.scatter_add.default:  # the gradient of taking one value of each row
            return bool(args[2].shape[args[1]] == 1)
        if function is aten._adaptive_avg_pool2d_backward.default:
            return all(size % made == 0 for made, size in zip(args[0].shape[2:], args[1].shape[2:]))
        return False


class Made(TorchFunctionMode):
    """Notes each tensor that is made of numbers of Python and has to be copied."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = (kwargs or {}).get("device")
        if function in (torch.tensor, torch.as_tensor) and device is not None and torch.device(device) == DEVICE:
            self.waits.note("torch.tensor")
        if function in (Tensor.__getitem__, Tensor.__setitem__) and args[0].device == DEVICE:
            at = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(one, list) for one in at):
                self.waits.note("an index by a list")
            # torch makes a tensor of the number on the CPU, and copies that
            if args[2:] and not isinstance(args[2], Tensor) and any(isinstance(one, Tensor) for one in at):
                self.waits.note("a number put at an index")
        return function(*args, **(kwargs or {}))


def batches_for(**more: Any) -> Batches:
    return Batches(drawn_split(32, SHAPE), batch_size=8, seed=0, device=DEVICE, **{"signed": True, **more})


@pytest.fixture(autouse=True)
def as_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let run here what torch has for a GPU and not for tensors without values."""
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **more: nullcontext())
    monkeypatch.setattr("torch.utils._foreach_utils._get_foreach_kernels_supported_devices", lambda: ["cuda", "meta"])


@pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
def test_a_step_of_a_member_waits_for_nothing(case: Case) -> None:
    engine = engine_for(case, device=DEVICE, clip=1.0, ema_halflife_images=100)
    with Waits() as waits:
        engine.step()
        waits.found.clear()  # the first step may move what is moved once
        for _ in range(max(phase.every for phase in engine.phases)):
            engine.step()
    assert not waits.found


@pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
def test_a_step_of_a_member_has_nothing_that_differs_each_time(case: Case) -> None:
    """`index_add_` in a codebook and bilinear maps in a generator did, on the first GPU that these ran on."""
    engine = engine_for(case, device=DEVICE)
    with Waits(), Unsteady() as unsteady:
        for _ in range(max(phase.every for phase in engine.phases)):
            engine.step()
    assert unsteady.count > 100
    assert not unsteady.found


@pytest.mark.parametrize(
    ("compute", "unsteady"),
    [
        (lambda x: x.index_add(0, ROWS, x), True),
        (lambda x: functional.interpolate(x, 8, mode="bilinear"), True),
        (lambda x: functional.adaptive_avg_pool2d(x, 3), True),
        (lambda x: functional.adaptive_avg_pool2d(x, 2), False),
        (lambda x: x.flatten(1).gather(1, ROWS[:, None].expand(4, 2)), True),
        (lambda x: x.flatten(1).gather(1, ROWS[:, None]), False),
        (lambda x: x[ROWS], False),
    ],
)
def test_what_differs_each_time_is_found(compute: Any, unsteady: bool) -> None:
    x = torch.ones(4, 1, 4, 4, device=DEVICE, requires_grad=True)
    with Unsteady() as watch:
        compute(x).sum().backward()
    assert bool(watch.found) is unsteady


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("binarise", ["none", "threshold", "dynamic"])
def test_a_batch_waits_for_nothing(binarise: str, resident: bool) -> None:
    augment = Augment(flip=True, shift=2, brightness=0.1, mirrored=(0,))
    batches = batches_for(resident=resident, binarise=binarise, augment=augment if binarise == "none" else None)
    with Waits() as waits:
        for index in range(3):
            batches.batch(index)
    assert not waits.found


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x + torch.ones(3).to(DEVICE),
        lambda x: torch.tensor(1.0).to(DEVICE),
        lambda x: torch.tensor([1.0], device=DEVICE),
        lambda x: x[[0, 2]],
        lambda x: x.__setitem__(torch.zeros(1, dtype=torch.long, device=DEVICE), 1.0),
    ],
)
def test_the_count_sees_what_waits(read: Any) -> None:
    with Waits() as waits, suppress(NotImplementedError):  # there is nothing to copy
        read(torch.ones(3, device=DEVICE))
    assert len(waits.found) == 1


def test_a_step_that_may_not_be_taken_moves_nothing_without_a_wait() -> None:
    """An optimizer without a flag of its own gets gradients of zero once a number was not finite."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.RMSprop([weight], lr=0.1)
    guard = Guard(torch.device("cpu"))
    guard.reads = False  # as on a GPU
    for number, moved in ((1.0, True), (float("nan"), False), (1.0, False)):
        before = weight.detach().clone()
        weight.grad = torch.full((3,), number)
        guard.passes(weight.grad.sum())
        assert guard.allows(optimizer)
        optimizer.step()
        assert torch.equal(weight, before) is not moved
    assert not guard.clean()
