"""Rounding to bfloat16 goes to a neighbour and is right on average."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath.optim._foreach import round_into


@given(st.floats(1e-30, 1e30), st.booleans(), st.integers(0, 2**40))
def test_rounding_is_to_a_neighbour_and_right_on_average(magnitude, negative, seed):
    value = torch.tensor(-magnitude if negative else magnitude, dtype=torch.float32)
    n = 2**12
    values, stored = [value.repeat(n)], [torch.zeros(n, dtype=torch.bfloat16)]
    round_into(stored, values, [torch.zeros(n, dtype=torch.int32)], seed)
    assert torch.equal(values[0], stored[0].float())
    assert len(stored[0].unique()) <= 2
    spacing = 2.0**-7 * 2 ** math.floor(math.log2(value.abs().item()))
    assert (stored[0].double() - value.double()).abs().max() < spacing
    # 4096 points of a sequence of low discrepancy: far closer than independent ones would be
    assert abs(stored[0].double().mean() - value.double()) < 2e-3 * spacing


@pytest.mark.slow
def test_rounding_of_one_weight_is_right_over_time():
    value, n = torch.tensor([1.0 + 2.0**-9]), 20_000  # a quarter of the way to the next
    total = 0.0
    for seed in range(n):
        stored = [torch.zeros(1, dtype=torch.bfloat16)]
        round_into(stored, [value.clone()], [torch.zeros(1, dtype=torch.int32)], seed)
        total += float(stored[0] > 1)
    assert total / n == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / n))


def test_rounding_leaves_infinity_zero_and_nan_alone():
    special = torch.tensor([torch.inf, -torch.inf, 0.0, torch.nan])
    stored = [torch.zeros(4, dtype=torch.bfloat16)]
    round_into(stored, [special.clone()], [torch.zeros(4, dtype=torch.int32)], 0)
    assert torch.equal(stored[0][:3].float(), special[:3])
    assert stored[0][3].isnan()
