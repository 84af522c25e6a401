"""The core abstraction, proved on a ten-line loss that knows nothing of sound."""

import pytest
import torch

from multipath import GroupedLoss, Path, PathDecomposedLoss, PathTable
from multipath.errors import ConfigurationError, InputError
from multipath.testing import QuadraticLoss


class Toy(PathDecomposedLoss):
    """L_p = (x - p)^2 for numbers x; remembers what it was asked for."""

    def __init__(self, paths=3, **options):
        super().__init__(paths, **options)
        self.asked = []

    def path_losses(self, input, target, indices):
        self.asked.append(list(indices))
        return torch.stack([(input - target - p) ** 2 for p in indices])


X, Y = torch.tensor([1.0, 4.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)


def test_full_loss_is_the_mean_over_paths_and_batch():
    loss = Toy()
    per_item = torch.tensor([(1 + 0 + 1) / 3, (16 + 9 + 4) / 3], dtype=torch.float64)
    torch.testing.assert_close(loss(X, Y, reduction="none"), per_item)
    torch.testing.assert_close(loss(X, Y), per_item.mean())
    torch.testing.assert_close(loss(X, Y, reduction="sum"), per_item.sum())
    torch.testing.assert_close(Toy(reduction="none")(X, Y), per_item)


def test_weights_replace_the_mean():
    loss = Toy(weights=[2.0, 0.0, 1.0])
    torch.testing.assert_close(loss(X, Y, reduction="none"), 2 * X**2 + (X - 2) ** 2)


PARTITIONS = [
    [[0], [1], [2], [3], [4]],
    [[0, 1, 2, 3, 4]],
    [[4, 0], [1], [3, 2]],
    [[1, 2, 3, 4], [0]],
]


@pytest.mark.parametrize("by", PARTITIONS)
@pytest.mark.parametrize("weights", [None, [0.1, 0.5, 0.0, 2.0, 0.4]])
def test_grouping_never_changes_the_loss(by, weights):
    loss = QuadraticLoss(5, weights=weights)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(4, 3, dtype=torch.float64)
    grouped = loss.grouped(by)
    torch.testing.assert_close(grouped(x, y), loss(x, y), rtol=1e-14, atol=0)
    (expected,) = torch.autograd.grad(loss(x, y), x)
    (actual,) = torch.autograd.grad(grouped(x, y), x)
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-15)


def test_group_members_are_evaluated_together():
    loss = Toy(4)
    loss.grouped([[0, 3], [1, 2]]).path_losses(X, Y, [1, 0])
    assert loss.asked == [[1, 2, 0, 3]]


def test_group_is_the_mean_of_its_members():
    loss = QuadraticLoss(4)
    x, y = torch.randn(2, 3, 2).unbind()
    members = loss.path_losses(x, y, [0, 2, 3])
    torch.testing.assert_close(
        loss.grouped([[0, 2, 3], [1]]).path_losses(x, y, [0]), members.mean(0, keepdim=True)
    )


def test_group_metadata_and_cost():
    table = PathTable(
        Path(i, metadata={"rate": i // 2, "order": 2, "spin": i % 2}, cost=1 + i) for i in range(4)
    )
    grouped = Toy(table).grouped("rate")
    assert isinstance(grouped, GroupedLoss)
    assert grouped.paths.keys == [0, 1]
    assert grouped.paths.columns == ["rate", "order", "paths"]  # spins differ within a group
    assert grouped.paths.costs.tolist() == [3.0, 7.0]
    assert grouped.grouped([[0, 1]]).paths[0].cost == 10.0


def test_target_norms_are_distances_from_silence():
    loss = QuadraticLoss(2)
    y = torch.tensor([[2.0]])
    torch.testing.assert_close(
        loss.target_norms(y, [0, 1]), loss.path_losses(0 * y, y, [0, 1]).sqrt()
    )


def test_grouped_target_norms_are_root_mean_squares():
    loss = QuadraticLoss(3)
    y = torch.randn(2, 4)
    single = loss.target_norms(y, [0, 1, 2])
    grouped = loss.grouped([[0, 1], [2]]).target_norms(y, [0, 1])
    torch.testing.assert_close(grouped[0], single[:2].square().mean(0).sqrt())
    torch.testing.assert_close(grouped[1], single[2])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"one entry per path, shape \(3,\), got \(1,\)"),
        ([1.0, -0.1, 0.1], "not negative"),
        ([0.0, 0.0, 0.0], "not all zero"),
        ([float("nan"), 1.0, 1.0], "finite"),
    ],
)
def test_refused_weights(weights, message):
    with pytest.raises(ConfigurationError, match=message):
        Toy(weights=weights)


def test_refused_reductions():
    with pytest.raises(ConfigurationError, match='"mean", "sum" or "none", got \'avg\''):
        Toy(reduction="avg")
    with pytest.raises(ConfigurationError, match="got 'max'"):
        Toy()(X, Y, reduction="max")


def test_a_plug_in_that_returns_the_wrong_shape_is_told_so():
    class Wrong(PathDecomposedLoss):
        def path_losses(self, input, target, indices):
            return torch.zeros(len(indices))

    with pytest.raises(InputError, match=r"Wrong.path_losses must return .* \(2, batch\)"):
        Wrong(2)(X, Y)


def test_batches_that_do_not_match_their_target():
    for target in (Y[:1], torch.zeros(3)):  # the first would broadcast
        with pytest.raises(InputError, match=r"same batch size, got shapes \(2,\) and"):
            Toy()(X, target)
    assert Toy()(X, torch.tensor(0.0)).ndim == 0  # a scalar target belongs to every item


def test_a_loss_may_have_weights_of_its_own():
    class Weighted(Toy):
        def __init__(self):
            super().__init__(3)
            self.register_buffer("weights", torch.tensor([5.0, 6.0]))

    torch.testing.assert_close(Weighted()(X, Y), Toy()(X, Y))
    with pytest.raises(AttributeError):
        Toy().path_weights = torch.ones(3)


def test_path_losses_that_are_not_a_tensor():
    class Listing(PathDecomposedLoss):
        def path_losses(self, input, target, indices):
            return [0.0 for _ in indices]

    with pytest.raises(InputError, match=r"must return a tensor of .* got list"):
        Listing(2)(X, Y)


def test_path_losses_must_be_defined():
    with pytest.raises(TypeError, match="path_losses"):
        PathDecomposedLoss(3)
