"""Landscapes of losses whose valleys are known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from multipath import StochasticLoss, TransformLoss
from multipath.diagnostics import loss_landscape
from multipath.diagnostics.landscape import valleys_of
from multipath.errors import ConfigurationError, InputError
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT

GRID = torch.linspace(0, 1, 11, dtype=torch.float64)


def look(function, theta, **options):
    """At a loss that is a function of the guess and the truth, item by item."""
    theta = torch.as_tensor(theta, dtype=torch.float64)
    return loss_landscape(function, lambda guess: guess, (theta, theta), **options)


def places(landscape, *parameters, **options):
    return [
        tuple(round(x, 6) for x in valley.guess)
        for valley in landscape.valleys(*parameters, **options)
    ]


def two_valleys(x, y):
    """In x alone, at 0.2, and at 0.8, which is a little higher."""
    return torch.minimum((x - 0.2).square(), (x - 0.8).square() + 0.01).sum(dim=1)


def test_two_planted_valleys_are_found_with_their_depths():
    landscape = look(two_valleys, [[0.3]])
    assert places(landscape, "0") == [(0.2,), (0.8,)]
    lowest, second = landscape.valleys("0")
    heights = two_valleys(GRID[:, None], None)
    assert lowest.depth == 1.0
    assert lowest.loss == pytest.approx(0.0, abs=1e-12)
    climb = float(heights[5]) - 0.01  # the ridge is at 0.5
    assert second.depth == pytest.approx(climb / float(heights.max()))
    assert places(landscape, "0", shallow=second.depth + 1e-9) == [(0.2,)]


@pytest.mark.parametrize("truth", [0.0, 0.37, 0.5, 1.0])
def test_a_convex_loss_has_one_next_to_the_truth(truth):
    landscape = look(lambda x, y: (x - y).square().sum(dim=1), [[truth]])
    assert places(landscape, "0") == [(pytest.approx(round(truth, 1)),)]
    assert landscape.reach("0") == 1.0
    assert landscape.truth.tolist() == [0.0]


@pytest.mark.parametrize(("sign", "end"), [(1, 0.0), (-1, 1.0)])
def test_a_monotone_loss_has_one_at_the_end(sign, end):
    landscape = look(lambda x, y: 3 + sign * x.sum(dim=1), [[0.5], [0.6]])
    assert places(landscape, "0") == [(end,)]
    assert landscape.reach("0") == 0.0


def test_a_constant_loss_has_none():
    noise = torch.Generator().manual_seed(0)
    for loss in (
        lambda x, y: torch.ones(1),
        lambda x, y: torch.zeros(1),
        lambda x, y: 1 + 1e-7 * torch.rand(1, generator=noise),
    ):
        landscape = look(loss, [[0.3], [0.9]])
        assert landscape.valleys("0") == []
        assert landscape.reach("0") == 0.0
        assert "none" in str(landscape)


def test_valleys_over_two_parameters():
    def loss(x, y):
        a = (x - torch.tensor([0.2, 0.7])).square().sum(dim=1)
        b = (x - torch.tensor([0.9, 0.1])).square().sum(dim=1) + 0.02
        return torch.minimum(a, b)

    landscape = look(loss, [[0.2, 0.7]], names=["rate", "scale"], pairs=[("rate", "scale")])
    assert places(landscape, "rate", "scale") == [(0.2, 0.7), (0.9, 0.1)]
    assert places(landscape, "scale", "rate") == [(0.7, 0.2), (0.1, 0.9)]
    assert landscape.plane("scale", "rate").equal(landscape.plane("rate", "scale").T)
    assert places(landscape, "scale") == [(0.7,)]  # with the true rate
    for shown in ("(0.2, 0.7)", "rate and scale"):
        assert shown in str(landscape)
    figure = landscape.plot(title="two valleys")
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == [
        "guess of rate",
        "guess of scale",
        "rate",
    ]
    (marks,) = figure.axes[2].get_lines()
    assert sorted(zip(*marks.get_data(), strict=True)) == [
        (pytest.approx(0.2), pytest.approx(0.7)),
        (pytest.approx(0.9), pytest.approx(0.1)),
    ]


@given(st.lists(st.integers(0, 5), min_size=3, max_size=12))
def test_valleys_of_curves_are_all_local_minima(heights):
    """By a walk: runs of equal values whose neighbours, where there are any, are higher."""
    depths, basins = valleys_of(torch.tensor(heights, dtype=torch.float64), shallow=0.0)
    if len(set(heights)) == 1:
        assert (depths, basins) == ({}, [])
        return
    runs = [0, *(i for i in range(1, len(heights)) if heights[i] != heights[i - 1]), len(heights)]
    minima = {
        start
        for start, stop in pairwise(runs)
        if (start == 0 or heights[start - 1] > heights[start])
        and (stop == len(heights) or heights[stop] > heights[start])
    }
    assert {i for (i,) in depths} == minima
    assert max(depths.values()) == 1.0
    assert len(basins) == len(heights)
    for i, (place,) in enumerate(basins):  # nothing higher lies on the way down
        way = heights[min(i, place) : max(i, place) + 1]
        assert way in (sorted(way), sorted(way, reverse=True))


def test_reach_tells_a_loss_that_sees_no_parameter_from_one_that_does():
    theta = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)[:, None]
    seeing = look(lambda x, y: (x - y).square().sum(dim=1), theta)
    blind = look(lambda x, y: (x - 1).square().sum(dim=1), theta)
    caught = look(lambda x, y: torch.minimum((x - y).square(), 2 * (1 - x)).sum(dim=1), theta)
    assert seeing.reach("0") == 1.0
    assert blind.reach("0") == pytest.approx(1 / 3)  # only targets with high values are found
    assert blind.reach("0") < caught.reach("0") < 1.0


@pytest.mark.parametrize(("bounds", "nearest"), [((2.0, 3.0), 2.0), ((-3.0, -2.0), -2.0)])
def test_targets_may_lie_beyond_the_guesses(bounds, nearest):
    theta = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    landscape = look(lambda x, y: (x - y).square().sum(dim=1), theta, bounds=bounds)
    assert [valley.guess for valley in landscape.valleys("0")] == [(nearest,)]
    assert landscape.reach("0") == 1.0
    assert len(landscape.parts("0")) == 1
    assert "100%" in str(landscape)


def test_landscapes_are_compared_as_objects():
    landscape, other = (look(two_valleys, [[0.3]]) for _ in range(2))
    assert landscape == landscape
    assert landscape != other
    assert len({landscape, other}) == 2


def test_batches_context_and_criteria():
    """A synthesizer with time shifts, in batches, and an estimator, which is evaluated in full."""

    class Tone(nn.Module):
        parameter_names = ("pitch", "level")

        def forward(self, theta, shift):
            assert not self.training
            time = torch.arange(256.0) + shift[:, None]
            return theta[:, 1:] * torch.sin((0.2 + theta[:, :1]) * time)

    theta = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    shift, other = torch.arange(12).split(6)
    synth = Tone()
    target = synth.eval()(theta, shift)
    synth.train()
    loss = TransformLoss(MultiResolutionSTFT([32, 64]))
    criterion = StochasticLoss(loss, generator=0)
    state = torch.get_rng_state()
    whole = loss_landscape(criterion, synth, (theta, target, other), points=5)
    assert torch.get_rng_state().equal(state)
    assert synth.training
    assert criterion.training
    assert criterion.last_draw is None
    parts = [(theta[:4], target[:4], other[:4]), (theta[4:], target[4:], other[4:])]
    split = loss_landscape(loss, synth, iter(parts), points=5)
    torch.testing.assert_close(split.curves, whole.curves)
    guess = torch.stack([theta[:, 0], torch.full((6,), 0.25)], dim=1)
    expected = loss(synth.eval()(guess, other), target, reduction="none").double()
    torch.testing.assert_close(whole.curves[1, 1], expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(whole.curve("level")[1], expected.mean(), rtol=1e-5, atol=1e-7)


def test_progress_is_shown_on_request(capsys):
    look(two_valleys, [[0.3]], points=3, progress=True)
    shown = capsys.readouterr()
    assert "loss" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 2}, "points must be at least 3"),
        ({"points": 2.5}, "points must be a whole number"),
        ({"points": 10**9}, "at most"),
        ({"bounds": (1.0, 0.0)}, "two finite numbers, ascending"),
        ({"bounds": (0.0, float("inf"))}, "two finite numbers, ascending"),
        ({"bounds": (0.0, 0.5, 1.0)}, "two finite numbers, ascending"),
        ({"bounds": 1.0}, "bounds must be a sequence"),
        ({"names": ["a"]}, "2 different names"),
        ({"names": ["a", "a"]}, "2 different names"),
        ({"pairs": [("0", "2")]}, "two of the parameters 0, 1"),
        ({"pairs": [("0", "0")]}, "two of the parameters 0, 1"),
        ({"pairs": ["0"]}, "two of the parameters 0, 1"),
        ({"pairs": ["01"]}, "two of the parameters 0, 1"),
        ({"pairs": ("0", "1")}, "two of the parameters 0, 1"),
        ({"pairs": [("0", "1", "0")]}, "two of the parameters 0, 1"),
        ({"pairs": [(0, 1)]}, "two of the parameters 0, 1"),
        ({"pairs": [(["0"], ["1"])]}, "two of the parameters 0, 1"),
        ({"pairs": [3]}, "two of the parameters 0, 1"),
        ({"pairs": 3}, "pairs must be a sequence, got 3"),
        ({"pairs": None}, "pairs must be a sequence, got None"),
        ({"pairs": True}, "pairs must be a sequence, got True"),
        ({"names": "ab"}, "names must be a sequence, got 'ab'"),
        ({"names": 2}, "names must be a sequence, got 2"),
        ({"progress": "no"}, "progress must be True or False"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        look(two_valleys, [[0.3, 0.4]], **options)


@pytest.mark.parametrize("wrong", [None, 3, "mse", torch.ones(2)], ids=repr)
def test_what_cannot_be_called_is_refused(wrong):
    theta = torch.rand(3, 2)
    with pytest.raises(ConfigurationError, match="loss must be callable, got"):
        loss_landscape(wrong, nn.Identity(), (theta, theta))
    with pytest.raises(ConfigurationError, match="decoder must be callable, got"):
        loss_landscape(QuadraticLoss(2), wrong, (theta, theta))


@pytest.mark.parametrize("made", [0.5, None, [torch.ones(1)], np.float64(0.5)], ids=repr)
def test_a_loss_that_returns_no_real_numbers_is_refused(made):
    with pytest.raises(InputError, match=r"what the loss returns: expected a torch\.Tensor, got"):
        look(lambda x, y: made, [[0.3]], points=3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.complex64])
def test_a_loss_that_returns_other_numbers_is_refused(dtype):
    with pytest.raises(InputError, match="loss must return real numbers, got torch"):
        look(lambda x, y: (x - y).to(dtype), [[0.3]], points=3)


def test_wrong_questions_are_refused():
    landscape = look(two_valleys, [[0.3, 0.4]], points=3, pairs=[("0", "1")])
    for name in ("2", 0, None, ["0"], torch.ones(2)):
        for ask in (landscape.curve, landscape.valleys, landscape.reach, landscape.parts):
            with pytest.raises(InputError, match="no parameter is called"):
                ask(name)
        with pytest.raises(InputError, match="no plane of"):
            landscape.plane("0", name)
    for wrong in ("x", None, math.nan, [0.5]):
        with pytest.raises(ConfigurationError, match="low must"):
            landscape.curve("0", low=wrong)
        with pytest.raises(ConfigurationError, match="high must"):
            landscape.curve("0", high=wrong)
        for ask in (landscape.valleys, landscape.reach):
            with pytest.raises(ConfigurationError, match="shallow must lie in"):
                ask("0", shallow=wrong)


def test_wrong_targets_are_refused():
    theta = torch.rand(3, 2)
    for batches, message in [
        ([], "no batch came"),
        (None, "batches must be tuples .* got None"),
        (3, "batches must be tuples .* got 3"),
        ({"theta": theta}, "batches must be tuples .* got dict"),
        (torch.tensor(1.0), "batches must be tuples .* got torch.float32"),
        ([theta], "tuples"),
        (theta, "batches must be tuples .* got torch.float32 of shape"),
        ((theta.flatten(), theta), "theta of shape"),
        ((theta, theta[:2]), "as many items"),
        ([(theta, theta), (theta[:, :1], theta)], "same number of parameters"),
        ((theta > 0.5, theta), "tensor of parameters"),
        ((theta, theta, 3), "targets and context: expected a torch.Tensor, got int"),
        ((theta, theta, torch.tensor(3.0)), "as many items"),
        ([(theta[:0], theta[:0])], "none empty|no item|empty"),
    ]:
        with pytest.raises(InputError, match=message):
            loss_landscape(QuadraticLoss(2), nn.Identity(), batches)
    for decoder, message in [
        (lambda theta: None, "what the decoder makes: expected a torch.Tensor, got None"),
        (lambda theta: theta[:1], r"one item for each of the 3 targets, got shape \(1, 2\)"),
    ]:
        with pytest.raises(InputError, match=message):
            loss_landscape(QuadraticLoss(2), decoder, (theta, theta))
    with pytest.raises(InputError, match="not finite"):
        look(lambda x, y: (x - 0.5).log().sum(dim=1), theta)
    landscape = look(two_valleys, theta[:, :1])
    with pytest.raises(InputError, match="no parameter is called 'FM'; there are 0"):
        landscape.curve("FM")
    with pytest.raises(InputError, match="no plane of"):
        landscape.plane("0", "1")
    with pytest.raises(InputError, match="no target has a 0 from 2 to inf"):
        landscape.curve("0", low=2.0)
    with pytest.raises(ConfigurationError, match="one parameter or two"):
        landscape.valleys()
