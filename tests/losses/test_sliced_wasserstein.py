"""Sliced Wasserstein: agreement with POT, closed forms, laws, and what it refuses."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import SlicedWasserstein
from multipath.errors import ConfigurationError, InputError
from tests import GOLDEN as FOLDER

GOLDEN = FOLDER / "sliced.npz"


def clouds(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("pair", ["equal", "unequal", "masses"])
def test_equals_pot_on_every_projection(pair, p):
    with np.load(GOLDEN) as file:
        golden = {name: torch.from_numpy(file[name]) for name in file.files}
    loss = SlicedWasserstein(3, 11, p=p, masses=pair == "masses").double()
    loss.load_state_dict({"projections": golden["projections"]})
    x, y = golden["x"], golden["y" if pair == "equal" else "z"]
    if pair == "masses":  # of any sum
        x = torch.cat([x, 7.0 * golden["a"][:, None]], dim=1)
        y = torch.cat([y, golden["b"][:, None]], dim=1)
    values = loss.path_losses(x[None], y[None], range(11))[:, 0]
    torch.testing.assert_close(values, golden[f"{pair}_{p}"], rtol=1e-12, atol=0)
    distance = loss(x[None], y[None]) ** (1 / p)
    torch.testing.assert_close(distance, golden[f"distance_{pair}_{p}"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_in_one_dimension_it_is_the_best_matching(p):
    loss = SlicedWasserstein(1, 2, p=p).double()
    x, y = clouds(2, 3, 5, 1)
    costs = [
        (x - y[:, list(order)]).abs().pow(p).mean(dim=(1, 2)) for order in permutations(range(5))
    ]
    torch.testing.assert_close(loss(x, y, reduction="none"), torch.stack(costs).amin(dim=0))


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.sampled_from([1.0, 2.0, 3.5]))
def test_a_translation_costs_its_length_along_each_direction(shift, p):
    loss = SlicedWasserstein(3, 8, p=p).double()
    x, shift = clouds(2, 6, 3), torch.tensor(shift, dtype=torch.float64)
    expected = (loss.projections @ shift).abs() ** p
    values = loss.path_losses(x, x + shift, range(8))
    torch.testing.assert_close(values, expected[:, None].expand(8, 2))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@pytest.mark.slow
def test_masses_are_repetitions(times, n, seed):
    """A point of mass m is m points; points of mass zero are none; order is nothing."""
    x, y = clouds(1, n, 2, seed=seed), clouds(1, 4, 2, seed=seed + 1)
    counts = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(seed))
    counts[0] = times
    plain = SlicedWasserstein(2, 5).double()
    weighted = SlicedWasserstein(2, 5, masses=True).double()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    heavy = torch.cat([x, counts[None, :, None].double()], dim=2)[:, order]
    light = torch.cat([y, torch.full((1, 4, 1), 0.3, dtype=torch.float64)], dim=2)
    expected = plain.path_losses(x.repeat_interleave(counts, dim=1), y, range(5))
    torch.testing.assert_close(weighted.path_losses(heavy, light, range(5)), expected)
    torch.testing.assert_close(weighted.path_losses(light, heavy, range(5)), expected)


def test_target_norms_keep_the_masses():
    loss = SlicedWasserstein(2, 6, masses=True).double()
    y = clouds(3, 5, 3).abs()
    mass = y[..., 2] / y[..., 2].sum(dim=1, keepdim=True)
    along = torch.einsum("bnd,kd->kbn", y[..., :2], loss.projections)
    expected = (mass * along.square()).sum(dim=-1).sqrt()
    torch.testing.assert_close(loss.target_norms(y, range(6)), expected)


def test_directions_follow_the_seed_and_are_saved():
    first, second = SlicedWasserstein(3, 7, generator=5), SlicedWasserstein(3, 7, generator=6)
    twin = SlicedWasserstein(3, 7, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first.projections, twin.projections)
    assert not torch.equal(first.projections, second.projections)
    torch.testing.assert_close(first.projections.norm(dim=1), torch.ones(7))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.projections, second.projections)
    assert set(first.paths.costs.tolist()) == {1.0}


def test_half_precision_is_computed_in_single():
    loss = SlicedWasserstein(3, 4)
    x, y = clouds(2, 1, 50, 3).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss.path_losses(x, y, range(4))
    torch.testing.assert_close(value, loss.path_losses(x.float(), y.float(), range(4)))
    assert value.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be a positive integer, got 0"),
        ({"n_projections": 2.5}, "n_projections must be a positive integer, got 2.5"),
        ({"p": 0.5}, "power p must lie in \\[1, 16\\], got 0.5"),
        ({"p": float("nan")}, "power p must lie in \\[1, 16\\], got nan"),
        ({"p": 17}, "power p must lie in \\[1, 16\\], got 17"),
        ({"p": float("inf")}, "power p must lie in \\[1, 16\\], got inf"),
        ({"p": "2"}, "power p must lie in \\[1, 16\\], got '2'"),
        ({"generator": None}, "generator must be a seed or a torch.Generator, got None"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        SlicedWasserstein(**{"dim": 2, **options})


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (clouds(2, 5, 2), clouds(2, 5, 3), r"input must have shape \(batch, points, 3\)"),
        (clouds(2, 5, 3), clouds(2, 0, 3), r"a point at least, got \(2, 0, 3\)"),
        (clouds(5, 3), clouds(5, 3), r"got \(5, 3\)"),
        (clouds(2, 5, 3).long(), clouds(2, 5, 3).long(), "input must hold real .* torch.int64"),
        (clouds(2, 5, 3), clouds(2, 5, 3) + 0j, "target must hold real .* torch.complex128"),
        (clouds(2, 5, 3), clouds(2, 5, 3).float(), "must have the same dtype and device"),
    ],
)
def test_clouds_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(InputError, match=message):
        SlicedWasserstein(3).path_losses(x, y, [0])


@pytest.mark.parametrize(("factor", "message"), [(0.0, "not all zero"), (-1.0, "not be negative")])
def test_masses_that_are_none_are_refused(factor, message):
    x = clouds(2, 5, 3).abs()
    y = torch.cat([x[..., :2], factor * x[..., 2:]], dim=2)
    with pytest.raises(InputError, match=message):
        SlicedWasserstein(2, masses=True).path_losses(x, y, [0])
