"""Draws by the energy of the targets, measured in advance or as they come."""

import pytest
import torch

from multipath import StochasticLoss, TransformLoss
from multipath.errors import InputError
from multipath.samplers import Energy, Uniform
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT, Scattering1D


def test_energy_measures_targets_without_gradients():
    loss = TransformLoss(MultiResolutionSTFT([64, 256], [16, 64]))
    x = torch.randn(6, 1024, requires_grad=True)
    norms = loss.target_norms(x, range(2))
    assert not norms.requires_grad
    whole = Energy.from_targets(loss, [x], floor=0.0)
    torch.testing.assert_close(
        whole.probabilities,
        (norms.double().mean(1) / norms.double().mean(1).sum()),
        rtol=1e-6,
        atol=0,
    )
    parts = Energy.from_targets(loss, [x[:1], x[1:]], floor=0.0)
    torch.testing.assert_close(parts.probabilities, whole.probabilities, rtol=1e-6, atol=0)


N = 512
TONE = 0.14 * torch.sin(0.35 * torch.arange(float(N)))[None]


def tone_loss(**options):
    return TransformLoss(Scattering1D(N, J=5, Q=(4, 1), T=64), **options)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("options", [{}, {"rho": "log1p"}, {"normalize": "target"}])
def test_paths_on_which_only_the_input_is_loud_are_drawn(options, scale):
    """Neither seldom nor with huge weights, in the units of noise as loud as the target."""
    loss = tone_loss(**options)
    paths = range(len(loss.paths))
    noise = torch.randn(1, N, generator=torch.Generator().manual_seed(1))
    noise *= TONE.square().mean().sqrt()
    law = Energy.from_targets(loss, scale * TONE, floor=0.1).probabilities
    uniform = 1 / len(paths)
    sizes = loss.path_losses(scale * noise, 0 * TONE, paths)[:, 0].sqrt().double()
    loud = sizes > sizes.mean()
    assert loud.sum() > 5
    assert (uniform / law[loud]).max() < 4
    one = loss.target_norms(torch.zeros_like(TONE), paths)
    assert one.isfinite().all()
    if not options:  # nothing is as silent as silence
        assert one.eq(0).all()


def test_noise_is_added_ten_decibels_below():
    loss = tone_loss(rho="log1p", eps=0.1)
    paths = [0, 7, 30]
    signals = torch.cat([TONE, torch.zeros_like(TONE), 3 * TONE.cos()])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((8, N), generator=generator, dtype=torch.float64).float()
    sizes = [c.square().mean().sqrt() for c in loss.transform.coefficients(noise, paths)]
    for column, y in enumerate(signals):
        level = y.square().mean().sqrt()
        for row, (path, size) in enumerate(zip(paths, sizes, strict=True)):
            (found,) = loss.transform.coefficients(y[None], [path])
            ramp = (torch.arange(found.numel()) + 0.5) * 3**0.5 / found.numel()
            squares = [loss.rho(c).square().sum() for c in (found, level * size * ramp)]
            expected = (squares[0] + 0.1 * squares[1]).sqrt()
            norm = loss.target_norms(signals, paths)[row, column]
            torch.testing.assert_close(norm, expected, rtol=1e-4, atol=1e-7)


def test_training_ends_where_uniform_draws_end_though_the_target_is_silent_almost_everywhere():
    loss = tone_loss()
    ends = {}
    for name, sampler in (
        ("uniform", Uniform()),
        ("energy", Energy.from_targets(loss, TONE)),
    ):
        x = 0.1 * torch.randn(1, N, generator=torch.Generator().manual_seed(0))
        x.requires_grad_()
        criterion = StochasticLoss(loss, sampler, n_draws=4, generator=0)
        optimizer = torch.optim.Adam([x], lr=3e-3)
        for _ in range(100):
            optimizer.zero_grad()
            criterion(x, TONE).backward()
            optimizer.step()
        ends[name] = float(loss(x.detach(), TONE))
    assert ends["energy"] < 1.2 * ends["uniform"]


def test_energy_counts_the_weights_of_the_loss():
    y = torch.randn(3, 2)
    plain = Energy.from_targets(QuadraticLoss(3), [y], floor=0.0).probabilities
    weights = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)
    weighted = Energy.from_targets(QuadraticLoss(3, weights=weights), [y], floor=0.0)
    expected = plain * weights / (plain * weights).sum()
    torch.testing.assert_close(weighted.probabilities, expected)
    StochasticLoss(QuadraticLoss(3, weights=weights), weighted)  # they are not counted again
    torch.testing.assert_close(weighted.probabilities, expected)


def test_energies_measured_on_targets_take_all_settings():
    loss = QuadraticLoss(3)
    sampler = Energy.from_targets(
        loss, [torch.ones(1, 1)], 0.2, threshold=0.5, power=2.0, replacement=False
    )
    squares = loss.target_norms(torch.ones(1, 1), [0, 1, 2]).double()[:, 0] ** 2
    squares[squares < 0.25 * squares.max()] = 0  # of the norms: half
    kept = (squares > 0).double()
    expected = 0.8 * squares / squares.sum() + 0.2 * kept / kept.sum()
    torch.testing.assert_close(sampler.probabilities, expected)
    assert not sampler.replacement


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "no batch of targets"),
        ([(torch.ones(1, 1), 0)], "got tuple; for pairs"),
        ([torch.full((1, 1), torch.nan)], "NaN or infinite"),
    ],
)
def test_refused_targets(targets, message):
    with pytest.raises(InputError, match=message):
        Energy.from_targets(QuadraticLoss(2), targets)
