"""Half of the samples, nearly the same coefficients."""

import pytest
import torch

from multipath.errors import ConfigurationError
from multipath.transforms import JTFS, Scattering1D

N = 4096
KINDS = {
    "jtfs": lambda **kw: JTFS(N, J=8, Q=(8, 2), J_fr=2, Q_fr=1, T=512, F=4, **kw),
    "scattering1d": lambda **kw: Scattering1D(N, J=8, Q=(8, 2), T=512, **kw),
}


@pytest.fixture(params=KINDS)
def pair(request):
    return KINDS[request.param](), KINDS[request.param](sampling="reduced")


def noise(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, N, generator=generator, dtype=torch.float64)


@pytest.mark.slow
def test_coefficients_of_audible_paths_are_near_the_exact_ones(pair):
    exact, reduced = (transform(noise()) for transform in pair)
    norms = torch.stack([b.norm() for b in exact])
    errors = torch.stack([(a - b).norm() for a, b in zip(reduced, exact, strict=True)]) / norms
    audible = errors[norms > 1e-3 * norms.max()]
    assert audible.median() < 5e-4
    assert audible.max() < 4e-2
    assert audible.max() > 1e-6  # something is left out


@pytest.mark.slow
def test_fewer_samples_and_the_same_paths(pair):
    exact, reduced = pair
    assert exact.paths.keys == reduced.paths.keys
    points = [sum(2.0**-level for level in t.time.levels1) for t in pair]
    assert points[1] < 0.6 * points[0]
    for ours, theirs in zip(reduced.time.levels1, exact.time.levels1, strict=True):
        assert theirs <= ours <= exact.time.log2_stride


@pytest.mark.slow
def test_gradients_are_those_of_the_coefficients(pair):
    _, reduced = pair
    index = len(reduced.paths) // 2
    x = noise(1).requires_grad_()
    (value,) = reduced.coefficients(x, [index])
    (gradient,) = torch.autograd.grad(value.sum(), x)
    direction, step = noise(2), 1e-5
    with torch.no_grad():
        up, down = (
            reduced.coefficients(x + sign * step * direction, [index])[0].sum() for sign in (1, -1)
        )
    expected = (up - down) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_other_modes_are_refused(kind):
    with pytest.raises(ConfigurationError, match='sampling must be "exact" or "reduced", got'):
        KINDS[kind](sampling="half")
