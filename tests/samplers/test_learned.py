"""Laws that are learned, against a readable twin, and what they declare from the start."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import Path, PathTable
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Uniform,
)

from .cases import bound


def moving_average_law(sampler, factors, history, decay, floor, power=1.0, threshold=0.0):
    """Readable twin: averages by a loop over what was observed, then the law by its formula."""
    n_paths = len(factors)
    averages = {}
    for indices, values in history:
        for p, value in zip(indices, values, strict=True):
            averages[p] = decay * averages[p] + (1 - decay) * value if p in averages else value
    level = {p: factors[p] * average for p, average in averages.items()}
    kept = [
        p for p in range(n_paths) if p not in level or level[p] >= threshold * max(level.values())
    ]
    known = [p for p in kept if p in level]
    if sum(factors[p] ** power for p in known) > 0:
        mean = sum(level[p] ** power for p in known) / sum(factors[p] ** power for p in known)
    else:
        mean = 1.0
    score = {p: level[p] ** power if p in level else mean * factors[p] ** power for p in kept}
    total = sum(score.values())
    pi = torch.zeros(n_paths, dtype=torch.float64)
    for p in kept:
        pi[p] = (1 - floor) * score[p] / total + floor / len(kept) if total else 1 / len(kept)
    return pi


@settings(max_examples=60)
@given(data=st.data())
@pytest.mark.slow
def test_learned_laws_against_a_readable_twin(data):
    n_paths = data.draw(st.integers(1, 9))
    number = st.floats(0.01, 10)
    weights = torch.tensor(data.draw(st.lists(number, min_size=n_paths, max_size=n_paths)))
    costs = data.draw(st.lists(number, min_size=n_paths, max_size=n_paths))
    floor, decay = data.draw(st.floats(0.0, 1.0)), data.draw(st.floats(0.0, 0.95))
    weights = weights.double()
    table = PathTable(Path(i, cost=cost) for i, cost in enumerate(costs))
    options = {}
    if data.draw(st.booleans(), label="energy"):
        options = {
            "power": data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
            "threshold": data.draw(st.sampled_from([0.0, 0.3])),
        }
        sampler, factors = Energy.running(decay, floor=floor, **options), weights.tolist()
    else:
        aware = data.draw(st.booleans(), label="cost aware")
        sampler = AdaptiveImportance(decay, floor, cost_aware=aware)
        factors = [w / c**0.5 if aware else w for w, c in zip(weights.tolist(), costs, strict=True)]
    sampler.bind(table, weights)
    history = []
    for _ in range(data.draw(st.integers(0, 4))):
        indices = data.draw(
            st.lists(st.integers(0, n_paths - 1), unique=True, min_size=1, max_size=n_paths)
        )
        values = data.draw(
            st.lists(st.just(0.0) | number, min_size=len(indices), max_size=len(indices))
        )
        sampler.observe(torch.tensor(indices), torch.tensor(values, dtype=torch.float64))
        history.append((indices, values))
    expected = moving_average_law(sampler, factors, history, decay, floor, **options)
    torch.testing.assert_close(sampler.probabilities, expected, rtol=1e-10, atol=1e-14)
    other = type(sampler)(floor=floor, decay=decay, **options)
    other.bind(table, sampler.weights)
    other.load_state_dict(sampler.state_dict())
    if isinstance(sampler, Energy) or not sampler.cost_aware:
        assert torch.equal(other.probabilities, sampler.probabilities)


@pytest.mark.parametrize("options", [{"threshold": 0.1}, {"floor": 0.0}])
def test_what_may_be_left_out_later_is_declared_from_the_start(options):
    """Paths not seen yet are possible; told, they may not be."""
    learning = [Energy.running(**options)]
    if "floor" in options:
        learning.append(AdaptiveImportance(**options))
    for sampler in learning:
        assert not sampler.unbiased
        assert not bound(sampler).unbiased
        assert not bound(Mixture([Importance([0.5, 0.5, 0.0, 0.0]), copy.copy(sampler)])).unbiased
        assert bound(Mixture([Uniform(), sampler])).unbiased
        assert not bound(Mixture([Uniform(), sampler], [0.0, 1.0])).unbiased
    assert Energy([1.0, 0.5], **options).unbiased
    halves = [Importance([1.0, 0.0]), Importance([0.0, 1.0])]
    assert bound(Mixture(halves), n_paths=2).unbiased
