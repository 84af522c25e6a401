"""Spectral losses: what their formulas say, by name, on any scale, of mid and side."""

import pytest
import torch
from torch.func import grad, jvp, vmap

from multipath import SpectralLoss, StochasticLoss
from multipath.errors import ConfigurationError, InputError
from multipath.losses.spectral import TERMS
from multipath.samplers import AdaptiveImportance, Energy
from multipath.transforms import MultiResolutionSTFT, Scattering1D
from tests.transforms.cases import double_noise as noise

SIZES = [(64, 16, 48), (37, 9, 37)]
FLOOR, OFFSET = 0.3, 0.2


def transform(**options):
    return MultiResolutionSTFT(*map(list, zip(*SIZES, strict=True)), **options)


def spectra(x, fft, hop, win):
    window = torch.hann_window(win, dtype=x.dtype)
    return torch.stft(x, fft, hop, win, window, return_complex=True)


def term(name, x, y):
    """One item, from complex spectra."""
    a, b = x.abs().clamp(min=FLOOR), y.abs().clamp(min=FLOOR)
    if name == "convergence":
        return (a - b).norm() / b.norm()
    if name == "phase":
        a, b = x / a, y / b
        return ((a - b).abs() ** 2).mean() / 2
    if name.startswith("log"):
        a, b = (a + OFFSET).log(), (b + OFFSET).log()
    d = (a - b).flatten()
    return {"l1": d.abs().mean(), "l2": d.square().mean(), "norm": d.norm()}[name.split("_")[1]]


def test_each_path_is_what_its_name_says():
    loss = SpectralLoss(transform(), TERMS, floor=FLOOR, offset=OFFSET)
    x, y = noise(2, 3, 300)
    found = loss.path_losses(x, y, range(len(loss.paths)))
    assert len(loss.paths) == 2 * len(TERMS)
    for path in loss.paths:
        size = next(s for s in SIZES if s[0] == path.metadata["fft_size"])
        name = path.metadata["term"]
        assert path.key == "fft{}-hop{}-win{}/".format(*size) + name
        expected = [
            term(name, a, b) for a, b in zip(spectra(x, *size), spectra(y, *size), strict=True)
        ]
        torch.testing.assert_close(found[path.index], torch.stack(expected), rtol=1e-9, atol=0)


def test_phases_far_above_the_floor_give_one_less_the_cosine():
    loss = SpectralLoss(transform(), ["phase"], floor=1e-12)
    x, y = noise(2, 1, 300)
    for path, size in zip(loss.paths, SIZES, strict=True):
        angles = spectra(x, *size).angle() - spectra(y, *size).angle()
        expected = (1 - angles.cos()).mean()
        torch.testing.assert_close(loss.path_losses(x, y, [path.index])[0, 0], expected)


def test_the_loss_is_the_mean_over_resolutions_of_the_weighted_sum_of_terms():
    weights = {"linear_l1": 0.5, "log_l2": 3.0, "phase": 0.0}
    loss = SpectralLoss(transform(), weights, floor=FLOOR, offset=OFFSET)
    x, y = noise(2, 1, 300)
    expected = sum(
        weight * term(name, spectra(x[0], *size), spectra(y[0], *size)) / len(SIZES)
        for name, weight in weights.items()
        for size in SIZES
    )
    torch.testing.assert_close(loss(x, y), expected)
    assert "phase" not in {loss.paths[p].metadata["term"] for p in loss._paths_that_count()[0]}


def test_mid_and_side_are_sum_and_difference():
    terms = ["linear_l1", "phase"]
    loss = SpectralLoss(transform(), terms, mid_side=True)
    plain = SpectralLoss(transform(), terms)
    x, y = noise(2, 2, 3, 2, 300)
    mid, side = (
        plain(f(x), f(y)) for f in (lambda s: s.sum(-2), lambda s: -s.diff(dim=-2)[..., 0, :])
    )
    torch.testing.assert_close(loss(x, y), (mid + side) / 2)
    torch.testing.assert_close(loss.subset(loss.paths.filter(channel="mid"))(x, y), mid / 2)
    assert loss.paths[2].key == "fft64-hop16-win48/side/linear_l1"
    for wrong in (x[..., :1, :], x[0, 0, 0]):
        with pytest.raises(InputError, match=r"two channels: expected .* \(\.\.\., 2, T\), got"):
            loss(wrong, wrong)


@pytest.mark.parametrize(
    "options", [{"scale": "mel"}, {"scale": "chroma", "n_bins": 6}, {"weighting": "A"}]
)
def test_losses_on_any_scale_compare_the_coefficients_of_the_transform(options):
    if "mel" in options.values():
        options["n_bins"] = [12, 7]
    on_scale = transform(sample_rate=8000.0, **options)
    loss = SpectralLoss(on_scale, ["log_l1"], floor=FLOOR)
    x, y = noise(2, 2, 300)
    for p, (a, b) in enumerate(zip(*map(on_scale, (x, y)), strict=True)):
        logs = (a.clamp(min=FLOOR).log() - b.clamp(min=FLOOR).log()).abs().flatten(1).mean(dim=1)
        torch.testing.assert_close(loss.path_losses(x, y, [p])[0], logs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("floor", [0.0, 1e-4])
def test_gradients_are_finite_at_silence_and_at_equal_sounds(floor, dtype):
    loss = SpectralLoss(transform(), TERMS, floor=floor, offset=1.0)
    sound, silence = noise(1, 300, dtype=dtype), torch.zeros(1, 300, dtype=dtype)
    for x, y in ((sound, sound), (silence, silence), (silence, sound), (1e-30 * sound, 0 * sound)):
        leaf = x.clone().requires_grad_()
        values = loss.path_losses(leaf, y, range(len(loss.paths)))
        assert torch.isfinite(values).all()
        values.sum().backward()
        assert torch.isfinite(leaf.grad).all()
        if x is y:
            assert not values.any()
            assert not leaf.grad.any()


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch, at its fallback
def test_torch_func_sees_through_all_terms():
    loss = SpectralLoss(transform(), TERMS, floor=FLOOR, offset=OFFSET)
    x, y, v = noise(3, 2, 150)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf, y), leaf)
    torch.testing.assert_close(grad(lambda x: loss(x, y))(x), expected)
    torch.testing.assert_close(jvp(lambda x: loss(x, y), (x,), (v,))[1], (expected * v).sum())
    samples = vmap(grad(lambda x, y: loss(x[None], y[None])))(x, y) / len(x)
    torch.testing.assert_close(samples, expected)


@pytest.mark.parametrize("sampler", [None, AdaptiveImportance(), Energy.running()])
def test_values_of_the_paths_drawn_by_name(sampler):
    loss = SpectralLoss(transform(), ["convergence", "log_l1", "phase"])
    criterion = StochasticLoss(loss, sampler, n_draws=4, generator=0)
    assert criterion.last_values == {}
    x, y = noise(2, 3, 300)
    criterion(x.requires_grad_(), y)
    found = criterion.last_values
    drawn = criterion.last_draw.indices.unique().tolist()
    assert set(found) == {loss.paths[p].key for p in drawn}
    for name, value in found.items():
        expected = loss.path_losses(x, y, [loss.paths.index_of(name)]).mean()
        assert not value.requires_grad
        torch.testing.assert_close(value, expected.detach())
    with torch.no_grad():
        criterion(2 * x, y)
    criterion.eval()(2 * x, y)
    assert criterion.last_values == found
    criterion.load_state_dict(criterion.state_dict())
    assert criterion.last_values == {}


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch, at its fallback
def test_values_under_torch_func_are_plain_and_of_the_whole_batch():
    loss = SpectralLoss(transform(), ["convergence", "log_l1"])
    x, y = noise(2, 3, 300)
    first, second = (StochasticLoss(loss, n_draws=2, generator=0) for _ in range(2))
    first(x.clone().requires_grad_(), y)
    vmap(grad(lambda x, y: second(x[None], y[None])))(x, y)
    assert first.last_values.keys() == second.last_values.keys()
    for name, value in second.last_values.items():
        assert not torch._C._functorch.is_functorch_wrapped_tensor(value)
        torch.testing.assert_close(value, first.last_values[name])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralLoss(terms=["loud"]), "terms are convergence, .* got 'loud'"),
        (lambda: SpectralLoss(terms=[]), "at least one of the terms"),
        (lambda: SpectralLoss(terms="log_l1"), "terms must be a sequence"),
        (lambda: SpectralLoss(terms={"log_l1": -1.0}), "weight of log_l1 must be finite and not"),
        (lambda: SpectralLoss(floor=0.0), "give a positive floor or offset"),
        (lambda: SpectralLoss(Scattering1D(64, 3, 1)), "must be a MultiResolutionSTFT, got Scat"),
    ],
)
def test_settings_that_cannot_work_are_refused(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
