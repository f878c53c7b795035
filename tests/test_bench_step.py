"""What the count of a training step counts."""

import pytest
import torch
from bench.step import GROUPS, markdown
from bench.step_worker import Work, fastest, shares
from torch.nn import functional


def test_bytes_and_calls_of_all_but_products_are_counted() -> None:
    maps, weight = torch.ones(4, 8), torch.ones(8, 8)
    with Work() as work:
        product = maps @ weight  # counted as operations
        product.t()  # a view moves nothing
        functional.relu(product)  # reads and writes 4 x 8 values of 4 bytes
        product.add_(1.0)
    assert work.total == 2 * 4 * 8 * 8
    assert (work.calls, work.moved) == (3, 2 * 2 * 4 * 8 * 4)


def test_a_profile_is_shared_out_among_the_groups() -> None:
    values = torch.ones(64, 64)
    found = shares(lambda: torch.mm(values, values), 3)
    assert found.keys() == set(GROUPS) and sum(found.values()) == pytest.approx(1)
    assert found["products"] > 0.3
    assert fastest(lambda: values.add(1), 2) > 0


def test_the_table_shows_the_floor_beside_the_step() -> None:
    row = {
        "model": "m", "precision": "fp32", "step_ms": 10.0, "images_per_second": 100.0, "flop": 2e9, "bytes": 3e6,
        "calls": 7, "product_rate": 1e11, "copy_rate": 1e10, "call_us": 2.0,
        "floor_ms": {"products": 4.0, "memory": 1.0, "calls": 0.5}, "shares": dict.fromkeys(GROUPS, 0.2),
    }  # fmt: skip
    assert "| m, fp32 | 10.0 | 100 | 4.00 | 1.00 | 0.50 | 5.5 | 55% |" in markdown([row])
