"""Tiles over time give what the whole transform gives, and take the memory of a tile."""

from functools import cache, partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import StochasticLoss, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import JTFS, MultiResolutionSTFT, Scattering1D, Tiled, tiled

from .cases import assert_near, noise

N = 5003  # several tiles of 2048 samples with their padding
SCATTERING = partial(Scattering1D, J=4, Q=(4, 1))
JOINT = partial(JTFS, J=4, Q=(4, 1), J_fr=1, Q_fr=1, F=2)
KINDS = {
    "scattering1d": SCATTERING,
    "scattering1d, first order": partial(SCATTERING, max_order=1, unpad=False, stride=4),
    "scattering1d, silent borders": partial(SCATTERING, T=7, border="zero"),
    "scattering1d, periodic, long averages": partial(SCATTERING, T=24, border="periodic"),
    "scattering1d, moduli": partial(SCATTERING, T="none"),
    "jtfs": JOINT,
    "jtfs, frames kept": partial(JOINT, unpad=False),
    "jtfs, moduli": partial(JOINT, T="none", orders=(0, 1, 2)),
    "jtfs, means over frequency": partial(JOINT, F="global", T=13),
}


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch):
    """As tiles of long recordings are computed, so that the gradient computes each again."""
    monkeypatch.setattr(tiled, "SAMPLES", 1)


@cache
def both(name, tile=1024, length=N):
    return KINDS[name](length), Tiled(KINDS[name](tile))


def distance(found, expected):
    """Relative, over all paths."""
    assert [c.shape for c in found] == [c.shape for c in expected]
    a, b = (torch.cat([c.detach().double().flatten() for c in each]) for each in (found, expected))
    return float((a - b).norm() / b.norm())


def values_and_gradient(transform, x, weights=None):
    leaf = x.clone().requires_grad_()
    values = transform(leaf)
    weights = weights or [noise(*c.shape, seed=i, dtype=c.dtype) for i, c in enumerate(values)]
    return values, torch.autograd.grad(values, leaf, weights), weights


QUICK = {"scattering1d", "scattering1d, first order", "jtfs, moduli"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in KINDS]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_values_and_gradients_are_those_of_the_whole(name, dtype, tolerance):
    whole, tiles = both(name)
    x = noise(2, 1, N, dtype=dtype)
    expected, expected_gradient, weights = values_and_gradient(whole, x)
    found, gradient, _ = values_and_gradient(tiles, x, weights)
    assert 2 * (tiles.tile - 2 * tiles.overlap[dtype]) < N  # there are several
    assert distance(found, expected) < tolerance
    assert distance(gradient, expected_gradient) < tolerance
    for path, ours, theirs in zip(whole.paths, found, expected, strict=True):
        assert ours.dtype == dtype
        assert distance([ours], [theirs]) < 10 * tolerance, path.key


def test_rounding_is_that_of_the_whole():
    whole, tiles = both("jtfs")
    x = noise(1, N)
    exact = whole(x.double())
    errors = [
        [distance([c], [e]) for c, e in zip(t(x), exact, strict=True)] for t in (whole, tiles)
    ]
    assert max(errors[1]) < 1.5 * max(errors[0])


@given(
    name=st.sampled_from(["scattering1d", "jtfs, moduli", "scattering1d, silent borders"]),
    tile=st.sampled_from([512, 700, 1024, 4096]),
    length=st.integers(4096, 7000),
    seed=st.integers(0, 9),
)
@settings(max_examples=10)
@pytest.mark.slow
def test_any_tile_and_any_length_give_the_same(name, tile, length, seed):
    x = noise(length, seed=seed, dtype=torch.float64)
    found = Tiled(KINDS[name](tile))(x)
    assert distance(found, KINDS[name](length)(x)) < 1e-12


def test_the_overlap_is_as_long_as_it_has_to_be():
    whole, _ = both("scattering1d")
    x = noise(1, N, dtype=torch.float64)
    errors = {}
    for share in (1.0, 0.5):
        tiles = Tiled(KINDS["scattering1d"](1024))
        tiles.overlap = {d: int(share * n) // 16 * 16 for d, n in tiles.overlap.items()}
        errors[share] = distance(tiles(x), whole(x))
    assert errors[1.0] < 1e-13 < 1e-8 < errors[0.5]


@pytest.mark.parametrize("border", ["reflect", "zero", "periodic"])
def test_short_averages_reach_across_the_whole_padding(border):
    """Slow wavelets see more than the padding for a short average: the circle it is on."""
    make = partial(Scattering1D, J=6, Q=(1, 1), T=2, border=border)
    whole, tiles = make(8100), Tiled(make(4096))
    assert whole.time.pad_left < tiles.overlap[torch.float64]
    x = noise(8100, dtype=torch.float64)
    assert distance(tiles(x), whole(x)) < 1e-12


def test_half_precision_is_computed_in_single():
    _, tiles = both("scattering1d")
    x = noise(N).to(torch.bfloat16)
    assert distance(tiles(x), tiles(x.float())) == 0.0


def test_draws_of_a_loss():
    whole, tiles = (TransformLoss(t, rho="log1p") for t in both("jtfs"))
    x, y = noise(2, 3, N, dtype=torch.float64).unbind()
    gradients = []
    for loss in (whole, tiles):
        leaf = x.clone().requires_grad_()
        StochasticLoss(loss, n_draws=5, generator=0)(leaf, y).backward()
        gradients.append(leaf.grad)
    assert_near(*gradients, tolerance=1e-11)


def test_the_gradient_keeps_no_more_than_the_recording():
    tiles = Tiled(Scattering1D(1024, J=4, Q=(8, 1)))
    x = noise(40_000).requires_grad_()
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = tiles.coefficients(x, range(50))
        assert sum(kept.values()) < 3 * 4 * len(x)
        torch.autograd.grad(sum(c.sum() for c in found), x)


def test_gradients_of_gradients():
    whole, tiles = (TransformLoss(t) for t in both("scattering1d"))
    x, y = noise(2, N, dtype=torch.float64).unbind()
    found = []
    for loss in (whole, tiles):
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(
            loss.path_losses(leaf, y, [3, 20]).sum(), leaf, create_graph=True
        )
        found.append(torch.autograd.grad(slope.square().sum(), leaf)[0])
    assert_near(*found, tolerance=1e-11)


def test_settings_and_places():
    _, tiles = both("scattering1d")
    assert "tile=2048, overlap=192" in repr(tiles)
    assert "T=16" in repr(tiles)
    with torch.device("meta"):
        shapes = [c.shape for c in tiles(torch.empty(2, N))]
    assert shapes == [c.shape for c in tiles(noise(2, N))]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiResolutionSTFT([64]), "only Scattering1D and JTFS .*, got MultiResolution"),
        (lambda: Scattering1D(4096, J=4, T="global"), r"mean over the whole signal .* a window T"),
        (
            lambda: Scattering1D(4096, J=10),
            r"tiles of 8192 samples \(n_samples=4096 with its padding\) are not longer than the "
            r"14336 samples at each end .* n_samples=32768 or more, or lower J or T",
        ),
    ],
)
def test_what_cannot_be_tiled_is_refused(make, message):
    with pytest.raises(ConfigurationError, match=message):
        Tiled(make())


def test_recordings_that_do_not_suit_are_refused():
    _, tiles = both("scattering1d")
    with pytest.raises(InputError, match=r"at least 1024 samples, got 1000; use a transform made"):
        tiles(noise(1000))
    with pytest.raises(InputError, match="real floating-point tensor"):
        tiles(torch.ones(N, dtype=torch.int64))
    single = Tiled(Scattering1D(128, J=3, Q=(2, 1)))
    single(noise(300))
    with pytest.raises(InputError, match=r"their neighbours in float64: make .*n_samples=512 or"):
        single(noise(300, dtype=torch.float64))
