"""A loss restricted to some of its paths: what it is the mean of, and how paths are named."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import Path, PathTable, StochasticLoss, TransformLoss
from multipath.errors import InputError
from multipath.losses import BalancedLoss
from multipath.optim import PSAGA, PAdam
from multipath.testing import QuadraticLoss
from multipath.transforms import JTFS, MultiResolutionSTFT


def batch(n_paths=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, n_paths, generator=generator, dtype=torch.float64)


@st.composite
def problems(draw):
    n_paths = draw(st.integers(1, 7))
    positive = st.floats(0.1, 10.0)
    weights = draw(st.lists(positive | st.just(0.0), min_size=n_paths, max_size=n_paths))
    if not any(weights):
        weights[0] = 1.0
    members = draw(st.lists(st.sampled_from(range(n_paths)), min_size=1, unique=True))
    return QuadraticLoss(n_paths, weights=weights), members


@given(problems())
@pytest.mark.slow
def test_it_is_the_weighted_mean_of_its_paths(problem):
    loss, members = problem
    x, y = batch(len(loss.paths))
    weights = loss.path_weights[members]
    if not weights.any():
        weights = torch.ones_like(weights)
    losses = loss.path_losses(x, y, members)
    expected = (weights[:, None] * losses).sum(dim=0) / weights.sum()
    subset = loss.subset(members)
    torch.testing.assert_close(subset(x, y, reduction="none"), expected, rtol=1e-12, atol=0)
    assert subset.evaluate(x, y, [0]).equal(losses[:1])


@given(problems())
@pytest.mark.slow
def test_a_partition_puts_the_loss_together_again(problem):
    loss, members = problem
    x, y = batch(len(loss.paths))
    rest = [path for path in range(len(loss.paths)) if path not in members]
    parts = [part for part in (members, rest) if part]
    total = sum(loss.path_weights[part].sum() * loss.subset(part)(x, y) for part in parts)
    torch.testing.assert_close(total, loss(x, y), rtol=1e-12, atol=1e-12)


def test_paths_are_named_in_any_way():
    loss = TransformLoss(MultiResolutionSTFT([64, 128, 256], [16, 32, 64], [64, 128, 256]))
    key = loss.paths[2].key
    ways = [
        [2, 0],
        (key, 0),
        torch.tensor([2, 0]),
        np.array([2, 0]),
        loss.paths.filter(lambda path: path.index != 1)[::-1],
    ]
    assert [loss.subset(way).members for way in ways] == [[2, 0]] * len(ways)
    assert loss.subset(lambda path: path.metadata["fft_size"] > 64).members == [1, 2]
    assert loss.subset(loss.paths.filter(fft_size=(100, None))).members == [1, 2]


def test_paths_keep_their_keys_and_descriptions_and_are_numbered_anew():
    loss = TransformLoss(JTFS(1024, J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=256, F=4, sample_rate=1024.0))
    subset = loss.subset(loss.paths.filter(spin=1))
    assert subset.paths.indices == list(range(len(subset.paths)))
    for path, member in zip(subset.paths, subset.members, strict=True):
        before = loss.paths[member]
        assert (path.key, path.metadata, path.cost) == (before.key, before.metadata, before.cost)
    assert set(subset.paths.column("spin")) == {1}
    again = subset.subset([subset.paths[1].key])
    assert again.paths[0].key == subset.paths[1].key


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([0, 8], "no path has the key or index 8"),
        ([[0, 1]], r"no path has the key or index \[0, 1\]"),
        ([0, 3, 0], "path 0 is named more than once"),
        ([], "at least one path, got none"),
        (torch.arange(8) < 2, "came as a mask; pass mask.nonzero"),
        (np.arange(8) < 2, "came as a mask"),
        (lambda path: False, "at least one path, got none"),
        ("slow", "expected a list of path keys .* got 'slow'; a single path goes into a list"),
        (3, "expected a list of path keys .* got 3"),
        (PathTable([Path(0, "elsewhere")]), "path 'elsewhere' is not among these"),
    ],
)
def test_paths_that_do_not_exist_are_refused(paths, message):
    with pytest.raises(InputError, match=message):
        QuadraticLoss(8).subset(paths)


def test_the_transform_is_asked_for_the_chosen_paths_only(monkeypatch):
    loss = TransformLoss(MultiResolutionSTFT([64, 128, 256], [16, 32, 64], [64, 128, 256]))
    asked, pairs = [], MultiResolutionSTFT.coefficient_pairs
    monkeypatch.setattr(
        MultiResolutionSTFT,
        "coefficient_pairs",
        lambda self, x, y, indices: asked.append(list(indices)) or pairs(self, x, y, indices),
    )
    loss.subset([2, 0])(*torch.randn(2, 1, 512))
    assert asked == [[2, 0]]


def test_its_norms_are_those_of_the_loss():
    loss, (x, _) = QuadraticLoss(8), batch()
    assert loss.subset([5, 1]).target_norms(x, [0]).equal(loss.target_norms(x, [5]))


def test_its_weights_follow_those_of_the_loss():
    loss = BalancedLoss(QuadraticLoss(4), [1.0, 2.0, 3.0, 4.0], power=1.0)
    subset = loss.subset([0, 3])
    assert subset.path_weights.tolist() == pytest.approx([0.8, 0.2], rel=1e-3)
    loss.load_state_dict(BalancedLoss(QuadraticLoss(4), [1.0, 1.0, 1.0, 1.0]).state_dict())
    assert subset.path_weights.tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("optimizer", [PAdam, PSAGA])
@pytest.mark.parametrize("reweight", [True, False])
@pytest.mark.parametrize("clock", ["paths", "visits"])
def test_paths_of_weight_zero_might_as_well_not_be_there(optimizer, reweight, clock):
    weights = torch.tensor([0.2, 0.0, 0.3, 0.0, 0.5], dtype=torch.float64)
    trajectories = []
    for loss in (
        QuadraticLoss(5, weights=weights),
        QuadraticLoss(5, weights=weights).subset([0, 2, 4]),
    ):
        criterion = StochasticLoss(loss, reweight=reweight, generator=0)
        x = torch.nn.Parameter(torch.ones(1, 5, dtype=torch.float64))
        training = optimizer([x], criterion, lr=0.05, clock=clock)
        values = []
        for _ in range(30):
            training.zero_grad()
            value = criterion(x, torch.zeros_like(x))
            value.backward()
            training.step()
            values.append(value.detach())
        trajectories.append(torch.stack([*values, *x.detach().flatten()]))
    torch.testing.assert_close(*trajectories, rtol=1e-9, atol=1e-12)


class Infinite(QuadraticLoss):
    """Path 1 is infinite."""

    def path_losses(self, input, target, indices):
        infinite = torch.tensor([torch.inf if path == 1 else 1.0 for path in indices])
        return infinite[:, None] * super().path_losses(input, target, indices).clamp_min(1e-9)


def test_a_path_of_weight_zero_may_be_infinite():
    loss = Infinite(4, weights=[0.5, 0.0, 0.25, 0.25])
    x, y = batch(4)
    value = loss.subset([0, 2, 3])(x, y)
    for same in (loss, loss.grouped([[0, 1], [2, 3]]), loss.subset([0, 1, 2, 3])):
        torch.testing.assert_close(same(x, y), value)
