"""PAdam: its eps, and moments kept in bfloat16."""

import math

import pytest
import torch

from multipath import StochasticLoss
from multipath.optim import PAdam

from .cases import Given, Model, train


def test_eps_lies_inside_the_root():
    model = Model()
    criterion = StochasticLoss(Given(1), generator=0)
    optimizer = PAdam(model.parameters(), criterion, lr=1.0, eps=0.25)
    assert optimizer.defaults["eps"] == 0.25
    start = model()[0].detach().clone()
    after = train(optimizer, criterion, model, [torch.full((1, 5), 2.0, dtype=torch.float64)])
    torch.testing.assert_close(start - after[0], torch.full_like(start, 2 / math.sqrt(0.25 + 4)))


@pytest.mark.slow
def test_bfloat16_moments_do_not_stall():
    """beta2 = 0.999 moves the root by 0.05 % a step, an eighth of bfloat16's half spacing."""
    roots = {}
    for state_dtype in (torch.float32, torch.bfloat16):
        criterion = StochasticLoss(Given(1), generator=0)
        x = torch.nn.Parameter(torch.zeros(1, 512))
        optimizer = PAdam([x], criterion, lr=0.0, state_dtype=state_dtype)
        generator = torch.Generator().manual_seed(0)
        for step in range(3000):
            scale = 4.0 if step < 100 else 1.0  # large at first, then it has to come down
            optimizer.zero_grad()
            criterion(x, scale * torch.randn(1, 512, generator=generator)).backward()
            optimizer.step()
        (entry,) = optimizer.state[x]["paths"].values()
        roots[state_dtype] = entry["unit"] * entry["root"].double()
    wide, narrow = roots.values()
    assert (narrow / wide).mean().item() == pytest.approx(1.0, abs=0.01)
    assert (narrow / wide).std() < 0.06  # of single weights: 2^-8 accumulated over 1000 steps
    # and what rounding to nearest would have left: it never comes down
    stalled = torch.tensor(4.0, dtype=torch.bfloat16)
    for _ in range(3000):
        stalled = torch.sqrt(0.999 * stalled.float() ** 2 + 0.001).bfloat16()
    assert stalled > 3
