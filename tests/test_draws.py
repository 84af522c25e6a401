"""Draws, and how often each path was drawn."""

import pytest
import torch

from multipath import PathTable, StochasticLoss
from multipath.draws import DrawCounts
from multipath.errors import InputError
from multipath.testing import QuadraticLoss


def test_a_draw_counts_once_however_many_forwards_share_it():
    criterion = StochasticLoss(QuadraticLoss(4), n_draws=3, generator=0)
    counts = DrawCounts(criterion.loss.paths)
    draw, other = criterion.make_draw([1, 1, 3]), criterion.make_draw([0, 3, 3])
    for each in (None, draw, draw, other):
        counts.add(each)
    assert counts.counts.tolist() == [1, 2, 0, 3]


def test_counts_of_another_loss_are_refused():
    with pytest.raises(InputError, match=r"expected counts of 2 paths, got \(3,\)"):
        DrawCounts(PathTable(2)).load_state_dict({"counts": torch.zeros(3)})
