"""Multi-scale spectral losses: values of auraloss and of a plain reference; explicit randomness."""

import copy
import json
from collections import Counter

import numpy as np
import pytest
import scipy.signal
import torch

from multipath import StochasticLoss
from multipath.applications.losses.multi_scale import (
    PRIME_SIZES,
    mss_linear,
    mss_log,
    mss_revisited,
)
from multipath.applications.losses.random_resolutions import (
    RandomResolutionLoss,
    Resolution,
    mss_random,
)
from multipath.errors import ConfigurationError, InputError
from tests import GOLDEN as FOLDER

GOLDEN = np.load(FOLDER / "spectral_losses.npz")
MAKERS = {"linear": mss_linear, "log": mss_log, "revisited": mss_revisited}


@pytest.fixture(scope="module")
def sounds():
    generator = np.random.default_rng(int(GOLDEN["seed"]))
    x = generator.standard_normal((2, 4096)).astype(np.float32)
    y = 0.1 * generator.standard_normal((2, 4096)).astype(np.float32)
    y[1, 1000:] = 0
    np.testing.assert_array_equal(x[0, :8], GOLDEN["input_head"])
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.mark.parametrize("name", ["linear", "log"])
def test_values_and_gradients_are_those_of_auraloss(sounds, name):
    x, y = sounds
    x = x.clone().requires_grad_()
    value = MAKERS[name]()(x, y)
    assert value.item() == pytest.approx(float(GOLDEN[name]), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, x)
    expected = torch.from_numpy(GOLDEN[f"gradient_{name}"])
    torch.testing.assert_close(
        gradient[:, ::16], expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item()
    )


@pytest.mark.parametrize("index", range(5))
def test_a_random_resolution_has_the_value_of_auraloss(sounds, index):
    fft, hop, win, window = json.loads(str(GOLDEN["resolutions"]))[index]
    kind = ("kaiser", 12.0) if window == "kaiser" else window
    values = Resolution(fft, hop, win, kind).loss(*sounds)
    assert values[0].item() == pytest.approx(float(GOLDEN[f"resolution_{index}"]), rel=1e-5)


def test_revisited_is_what_its_formula_says():
    x, y = torch.randn(2, 2, 4096, generator=torch.Generator().manual_seed(0)).double()
    expected = 0
    for size in (67, 127, 257, 509, 1021, 2053):
        window = torch.from_numpy(scipy.signal.windows.flattop(size, sym=False))
        a, b = (
            torch.log1p(torch.stft(s, size, size // 2, window=window, return_complex=True).abs())
            for s in (x, y)
        )
        expected = expected + (a - b).flatten(1).norm(dim=1)
    found = mss_revisited()(x, y, reduction="none")
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("make", [*MAKERS.values(), lambda: mss_random(4096, generator=3)])
def test_gradients_are_finite_at_silence_and_at_equal_sounds(make, sounds):
    loss = make()
    silence = torch.zeros_like(sounds[0])
    for x, y in [(sounds[0], sounds[0]), (silence, silence), (silence, sounds[0])]:
        for _ in range(3):
            leaf = x.clone().requires_grad_()
            value = loss(leaf, y)
            (gradient,) = torch.autograd.grad(value, leaf)
            assert torch.isfinite(gradient).all()
            assert torch.isfinite(value)
            if x is y:
                assert value == 0
                assert not gradient.any()


@pytest.mark.parametrize("make", MAKERS.values())
def test_one_scale_at_a_time_gives_the_full_loss(make, sounds):
    loss = make()
    rows = torch.stack([loss.path_losses(*sounds, [p])[0] for p in range(len(loss.paths))])
    total = (loss.path_weights[:, None] * rows).sum(dim=0).mean()
    torch.testing.assert_close(loss(*sounds).double(), total)
    criterion = StochasticLoss(loss, n_draws=2, generator=0)
    assert criterion(sounds[0].clone().requires_grad_(), sounds[1]) > 0


@pytest.mark.parametrize("make", MAKERS.values())
def test_scales_that_do_not_fit_are_refused(make):
    with pytest.raises(ConfigurationError, match="1000 samples are too short for a scale of 20"):
        make(n_samples=1000)
    with pytest.raises(InputError, match="too short for an FFT"):
        make()(torch.zeros(1, 1000), torch.zeros(1, 1000))
    assert len(make(PRIME_SIZES[:4], n_samples=1000).paths) == 4


def test_random_resolutions_are_redrawn_by_training_steps_alone(sounds):
    x, y = sounds[0].clone().requires_grad_(), sounds[1]
    loss, again = (mss_random(4096, generator=5) for _ in range(2))
    first, evaluations = [], []
    for _ in range(4):
        first.append((loss(x, y).item(), loss.resolutions))
    for _ in range(4):
        with torch.no_grad():
            evaluations.append(again(x, y).item())
        again.eval()
        evaluations.append(again(x, y).item())
        again.train()
        assert (again(x, y).item(), again.resolutions) == first.pop(0)
    assert len(set(evaluations)) == 1


def test_a_restored_random_loss_goes_on_with_the_same_draws(sounds):
    x, y = sounds[0].clone().requires_grad_(), sounds[1]
    loss = mss_random(4096, generator=5)
    loss(x, y)
    state = copy.deepcopy(loss.state_dict())
    expected = [loss(x, y).item() for _ in range(3)]
    other = mss_random(4096, generator=6)
    other.load_state_dict(state)
    assert [other(x, y).item() for _ in range(3)] == expected
    assert other.eval()(x, y) == loss.eval()(x, y)


def test_the_law_of_random_resolutions():
    loss = RandomResolutionLoss(16, 128, generator=0)
    drawn = [loss._draw(loss.generator) for _ in range(4000)]
    sizes = Counter(d.fft_size for d in drawn)
    windows = Counter(d.window for d in drawn)
    assert set(sizes) == {16, 32, 64, 128}
    assert set(windows) == {"hann", "bartlett", "blackman", "hamming", ("kaiser", 12.0)}
    fractions = Counter(d.fft_size // d.win_length for d in drawn)
    assert set(fractions) == {1, 2, 4}
    for counts in (sizes, windows, fractions):
        share = 1 / len(counts)
        error = 5 * np.sqrt(share * (1 - share) / len(drawn))
        assert all(abs(count / len(drawn) - share) < error for count in counts.values())
    hops = np.array([d.hop_size / d.fft_size for d in drawn if d.fft_size == 128])
    assert 0.09 < hops.min() < 0.12
    assert 0.97 < hops.max() < 1
    assert hops.mean() == pytest.approx(0.55, abs=0.05)


@pytest.mark.parametrize(("n_samples", "largest"), [(4096, 1024), (32768, 8192), (44100, 8192)])
def test_random_resolutions_fit_the_signal(n_samples, largest):
    assert mss_random(n_samples).exponents == (4, largest.bit_length() - 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mss_random(8), "8 samples are too short for a scale of 16"),
        (lambda: mss_random(4096, max_fft_size=8192), "more than 4096 are needed"),
        (lambda: RandomResolutionLoss(8), "powers of two with 16 <= min_fft_size"),
        (lambda: RandomResolutionLoss(16, 100), "powers of two .* got 16 and 100"),
        (lambda: RandomResolutionLoss(n_resolutions=0), "n_resolutions must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_random_loss_refuses_what_does_not_fit():
    loss = mss_random(4096)
    with pytest.raises(InputError, match="same shape, got"):
        loss(torch.zeros(2, 4096), torch.zeros(1, 4096))
    with pytest.raises(InputError, match="512 samples are too short for an FFT of 1024"):
        loss(torch.zeros(2, 512), torch.zeros(2, 512))
