"""What every transform owes its users, on a table of transforms; and what each one means."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import PathTable, StochasticLoss, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Transform,
    WaveletPacket,
    WaveletTransform,
)

N = 1024
TRANSFORMS = {
    "jtfs": lambda: JTFS(N, J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=128, F=4),
    "jtfs padded": lambda: JTFS(N, J=6, Q=(4, 2), J_fr=2, Q_fr=2, T=64, F=1, unpad=False),
    "scattering1d": lambda: Scattering1D(N, J=6, Q=(4, 1), T=128),
    "scattering1d, first order": lambda: Scattering1D(N, J=6, Q=8, T=64, max_order=1),
    "mrstft": lambda: MultiResolutionSTFT([64, 256, 128], [16, 64, 50], [64, 200, 128]),
    "wavelet": lambda: WaveletTransform("db4", level=5, mode="symmetric"),
    "wavelet packet": lambda: WaveletPacket("sym5", level=3),
}
SHARED = {name: make() for name, make in TRANSFORMS.items()}


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return SHARED[request.param]


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_paths_asked_apart_and_together_agree(transform):
    x = noise(2, N)
    every = transform(x)
    assert len(every) == len(transform.paths)
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(1))[:12]
    for index, together in zip(order.tolist(), transform.coefficients(x, order), strict=True):
        (apart,) = transform.coefficients(x, [index])
        rounding = 3e-7 * every[index].abs().max().item()  # signed coefficients cross zero
        torch.testing.assert_close(together, every[index], rtol=1e-5, atol=rounding)
        torch.testing.assert_close(apart, every[index], rtol=1e-5, atol=rounding)


def test_a_path_may_be_asked_for_twice(transform):
    first, other, again = transform.coefficients(noise(N), [1, 0, 1])
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_any_batch_shape_and_memory_layout(transform):
    x = noise(2, 3, N)
    batched = transform(x)
    for i, j in [(0, 0), (1, 2)]:
        for whole, single in zip(batched, transform(x[i, j]), strict=True):
            torch.testing.assert_close(whole[i, j], single, rtol=1e-5, atol=1e-8)
    strided = noise(N, 2).t()
    for a, b in zip(transform(strided), transform(strided.contiguous()), strict=True):
        torch.testing.assert_close(a, b)


@settings(max_examples=10)
@given(gain=st.floats(1e-6, 1e6))
def test_coefficients_scale_with_the_signal(gain):
    x = noise(N, dtype=torch.float64)
    for transform in SHARED.values():
        for a, b in zip(transform(gain * x), transform(x), strict=True):
            scale = gain * b.abs().max()
            assert (a - gain * b).abs().max() <= 1e-12 * scale


def test_precision_follows_the_signal(transform):
    x = noise(2, N, dtype=torch.float64)
    for exact, single, half in zip(
        transform(x), transform(x.float()), transform(x.bfloat16()), strict=True
    ):
        assert (exact.dtype, single.dtype, half.dtype) == (torch.float64, *2 * [torch.float32])
        assert (exact - single).abs().max() <= 1e-5 * exact.abs().max()


def test_casting_the_module_there_and_back_loses_nothing(transform):
    x = noise(N, dtype=torch.float64)
    there_and_back = copy.deepcopy(transform).half().double()
    for a, b in zip(transform(x), there_and_back(x), strict=True):
        assert torch.equal(a, b)


def test_filters_are_named_buffers_and_not_saved(transform):
    assert dict(transform.named_buffers())
    assert not transform.state_dict()
    clone = pickle.loads(pickle.dumps(transform))
    for a, b in zip(transform(noise(N)), clone(noise(N)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("amplitude", [0.0, 1e-40, 1e-30, 1e-12, 1.0])
def test_gradients_are_finite_at_silence_and_at_equal_signals(transform, amplitude):
    y = amplitude * noise(2, N)
    for distance in ("squared_l2", "l2", "l1"):
        for rho in (None, "log1p"):
            loss = TransformLoss(transform, distance=distance, rho=rho)
            x = y.clone().requires_grad_()
            loss(x, y).backward()
            assert torch.isfinite(x.grad).all()
            loss(x, torch.zeros_like(y)).backward()
            assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: JTFS(128, J=4, Q=(2, 1), J_fr=2, Q_fr=1, T=32, F=2),
        lambda: Scattering1D(128, J=4, Q=(2, 1), T=32),
        lambda: MultiResolutionSTFT([16, 32], [8, 8], [16, 24]),
    ],
)
def test_first_and_second_derivatives(make):
    transform = make()
    x = noise(2, 128, dtype=torch.float64).requires_grad_()
    some = list(range(0, len(transform.paths), max(1, len(transform.paths) // 5)))

    def energies(x):
        return torch.stack([c.square().mean() for c in transform.coefficients(x, some)])

    assert torch.autograd.gradcheck(energies, (x,))
    assert torch.autograd.gradgradcheck(energies, (x,))


@pytest.mark.parametrize("make", [*list(TRANSFORMS.values())[:3], TRANSFORMS["mrstft"]])
def test_second_derivatives_of_sounds_with_silences(make):
    # Rounding leaves some moduli exactly zero there, where 1 / |z| must not be met.
    transform = make()
    burst = torch.zeros(N, dtype=torch.float64)
    burst[400:600] = torch.hann_window(200, dtype=torch.float64) * noise(200, dtype=torch.float64)
    gain = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = TransformLoss(transform)

    def slope(gain):
        value = loss(torch.sin(gain * burst), burst)
        return torch.autograd.grad(value, gain, create_graph=True)[0]

    (curvature,) = torch.autograd.grad(slope(gain), gain)
    step = 1e-5
    above, below = ((1 + sign * step) * gain.detach() for sign in (1, -1))
    difference = slope(above.requires_grad_()) - slope(below.requires_grad_())
    assert curvature.item() == pytest.approx(difference.item() / (2 * step), rel=1e-4)


@pytest.mark.parametrize("gain", [1e9, 1e20, 1e30])
def test_large_gradients_at_silence_stay_finite(transform, gain):
    x = torch.zeros(N, requires_grad=True)
    sum(gain * c.sum() for c in transform(x)).backward()
    assert torch.isfinite(x.grad).all()


def test_an_evaluation_in_inference_mode_does_not_spoil_training():
    for make in TRANSFORMS.values():
        transform = make()
        with torch.inference_mode():
            transform(noise(2, N))
        x = noise(2, N).requires_grad_()
        sum(c.sum() for c in transform(x)).backward()
        assert x.grad.abs().max() > 0


def test_random_subsets_of_paths_do_not_fill_the_memory():
    transform = TRANSFORMS["scattering1d"]()
    transform(noise(N))
    for index in range(len(transform.paths)):
        transform.coefficients(noise(N), [index])
    held = len(transform.time._derived)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        chosen = torch.randperm(len(transform.paths), generator=generator)[:5]
        transform.coefficients(noise(N), chosen)
    assert len(transform.time._derived) == held


def test_autocast_keeps_out_of_coefficients_and_losses(transform):
    x, y = noise(2, N), noise(2, N, seed=1)
    criterion = StochasticLoss(TransformLoss(transform), n_draws=3, generator=0)
    expected, value = transform(x), criterion.estimate(x, y, criterion.make_draw([0, 1, 2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b in zip(transform(x), expected, strict=True):
            assert torch.equal(a, b)
        assert torch.equal(criterion.estimate(x, y, criterion.make_draw([0, 1, 2])), value)
        linear = torch.nn.Linear(N, N)
        loss = criterion(linear(x), y)  # a bfloat16 input beside a float32 target
    assert loss.dtype == torch.float32
    loss.backward()
    assert torch.isfinite(linear.weight.grad).all()


def test_averaging_takes_memory_in_proportion_to_the_signal():
    sizes = []
    for n_samples in (2**14, 2**16):
        transform = Scattering1D(n_samples, J=4, Q=(1, 1), T=64)
        transform(noise(n_samples))
        averages = [v for (k, *_), v in transform.time._derived.items() if k[0] == "phi"]
        bins = [v for (k, *_), v in transform.time._derived.items() if k[0] == "phi bins"]
        assert averages
        assert bins
        sizes.append(sum(a.parts.numel() + a.shapes.numel() + a.source.numel() for a in averages))
        sizes[-1] += sum(b.numel() for b in bins)
    assert sizes[1] < 4.5 * sizes[0]


@pytest.mark.parametrize("n_samples", [1021, 1000, 777])
@pytest.mark.parametrize("kind", [JTFS, Scattering1D])
def test_any_length_will_do(kind, n_samples):
    transform = kind(n_samples, J=5, Q=(4, 1), T=64)
    x = noise(n_samples, dtype=torch.float64) * torch.hann_window(n_samples, dtype=torch.float64)
    delayed = torch.roll(x, 1)
    for a, b in zip(transform(x), transform(delayed), strict=True):
        assert a.abs().max() > 0
        assert (a - b).norm() < 0.2 * a.norm()  # a shift far below T hardly shows


def test_translation_is_forgotten_up_to_T():
    burst = torch.zeros(4096, dtype=torch.float64)
    burst[1500:1756] = torch.hann_window(256, dtype=torch.float64) * noise(256)
    for make in (
        lambda T: Scattering1D(4096, J=6, Q=(4, 1), T=T),
        lambda T: JTFS(4096, J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=T, F=4),
    ):
        change = []
        for T in (64, 512, 2048):
            transform = make(T)
            a, b = (torch.cat([c.ravel() for c in transform(x)]) for x in (burst, burst.roll(64)))
            change.append(((a - b).norm() / a.norm()).item())
        assert change[0] > 2 * change[1] > 4 * change[2]
        assert change[2] < 0.1


def chirp(direction, n=8192, rate=2.0):
    """Rises or falls at ``rate`` octaves per 8192 samples through the middle of the spectrum."""
    t = torch.arange(n, dtype=torch.float64) / n - 0.5
    octaves = direction * rate * t
    phase = 2 * math.pi * n * 0.1 * (2**octaves - 1) / (direction * rate * math.log(2))
    return torch.sin(phase) * torch.exp(-((t / 0.15) ** 2))


@pytest.mark.parametrize("unpad", [True, False])
def test_spin_tells_rising_from_falling_unless_padding_is_kept(unpad):
    transform = JTFS(8192, J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=8, unpad=unpad)

    def energy(x, spin):
        indices = transform.paths.filter(spin=spin).indices
        return sum(c.square().sum().item() for c in transform.coefficients(x, indices))

    rising, falling = (energy(chirp(d), 1) / energy(chirp(d), -1) for d in (1, -1))
    if unpad:
        assert rising > 3 > 1 / 3 > falling
    else:  # half of the frames are the mirror image, where directions change places
        assert 0.8 < rising < 1.25
        assert 0.8 < falling < 1.25


def test_rates_and_frequencies_are_where_the_table_says():
    rate, carrier, sample_rate = 16.0, 500.0, 4096.0
    t = torch.arange(8192, dtype=torch.float64) / sample_rate
    x = (1 + torch.cos(2 * math.pi * rate * t)) * torch.sin(2 * math.pi * carrier * t)
    transform = Scattering1D(8192, J=9, Q=(8, 2), T=2048, sample_rate=sample_rate)
    loudest = {
        order: max(
            transform.paths.filter(order=order),
            key=lambda path: transform.coefficients(x, [path.index])[0].norm().item(),
        ).metadata
        for order in (1, 2)
    }
    assert loudest[1]["frequency"] == pytest.approx(carrier, rel=0.1)
    assert loudest[2]["rate"] == pytest.approx(rate, rel=0.25)
    joint = JTFS(8192, J=9, Q=(8, 2), J_fr=3, Q_fr=2, T=2048, F=8, sample_rate=sample_rate)
    norms = [c.norm().item() for c in joint(x)]
    best = joint.paths[norms.index(max(norms))].metadata
    assert best["rate"] == pytest.approx(rate, rel=0.25)


def test_stft_magnitudes_and_zero_gradient_at_zero():
    transform = MultiResolutionSTFT([64], [32])
    bin_8 = torch.cos(2 * math.pi * 8 / 64 * torch.arange(640, dtype=torch.float64))
    (magnitude,) = transform(bin_8)
    assert magnitude[:, 5].argmax() == 8
    assert magnitude[8, 5].item() == pytest.approx(64 / 4)  # half a Hann window of sum 32
    x = torch.zeros(640, requires_grad=True)
    transform(x)[0].sum().backward()
    assert torch.equal(x.grad, torch.zeros(640))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JTFS(1000, J=12, T=64), "1000 samples are too short for J=12.*use J <= 11"),
        (lambda: JTFS(1000, J=5, T=2048), "got T=2048 for 1000 samples"),
        (lambda: JTFS(1000, J=5, T=0), "got T=0"),
        (lambda: JTFS(1000, J=0, T=64), "J and Q must be at least 1, got J=0"),
        (lambda: JTFS(1000, J=5, T=64, Q=(8, 0)), r"got J=5, Q=\(8, 0\)"),
        (lambda: JTFS(1000, J=5, T=64, F=99), "F between 1 and .* = 48, .* F=99"),
        (lambda: JTFS(1000, J=5, T=64, J_fr=0), "J_fr=0"),
        (lambda: JTFS(1000, J=5.0, T=64), "J must be a whole number, got 5.0"),
        (lambda: JTFS(1000.0, J=5, T=64), "n_samples must be a whole number, got 1000.0"),
        (lambda: JTFS(1000, J=5, T=64, F=1.5), "F must be a whole number, got 1.5"),
        (
            lambda: JTFS(1000, J=5, T=64, Q=(8, 2, 1)),
            r"or Q1, got \(8, 2, 1\)",
        ),
        (lambda: JTFS(1000, J=5, T=64, sample_rate=-1.0), "sample_rate must be positive"),
        (lambda: Scattering1D(1000, J=5, T=64, Q=2.5), "Q must be"),
        (lambda: Scattering1D(1000, J=5, T=64, max_order=3), "max_order must be 1 or 2, got 3"),
        (lambda: MultiResolutionSTFT([64], [16, 16]), "one entry per resolution, got 1, 2 and 1"),
        (lambda: MultiResolutionSTFT([64], [16], [128]), "fft_size=64, .* win_length=128"),
        (lambda: MultiResolutionSTFT([64], [0]), "hop_size=0"),
        (lambda: MultiResolutionSTFT([64], [65]), "hop_size between 1 and fft_size.*hop_size=65"),
        (lambda: MultiResolutionSTFT(64), r"must list the sizes, e.g. \[64\]"),
        (lambda: MultiResolutionSTFT([64], window="tall"), "get_window knows, got 'tall'"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 1000), r"expected signals of 1024 samples, got 1000 in shape \(2, 1000\)"),
        (torch.zeros(1024, dtype=torch.int64), "real floating-point .* got torch.int64"),
        (torch.zeros(1024, dtype=torch.complex64), "got torch.complex64"),
        ([0.0] * 1024, "got list"),
        (torch.zeros(()), r"shape \(..., T\)"),
        (torch.zeros(0, 1024), "none empty"),
    ],
)
def test_signals_that_do_not_fit(x, message):
    with pytest.raises(InputError, match=message):
        SHARED["jtfs"].coefficients(x, [0])


def test_signals_too_short_for_an_fft():
    with pytest.raises(InputError, match="100 samples are too short for an FFT of 256"):
        SHARED["mrstft"](torch.zeros(100))


def test_batches_that_do_not_match_their_target():
    loss = TransformLoss(SHARED["jtfs"])
    x = torch.zeros(2, N)
    with pytest.raises(InputError, match=r"same batch size, got shapes \(2, 1024\) and \(3, 10"):
        loss(x, torch.zeros(3, N))
    with pytest.raises(InputError, match=r"same shape, got \(2, 1024\) and \(2, 1, 1024\)"):
        loss(x, torch.zeros(2, 1, N))
    with pytest.raises(InputError, match=r"same dtype, got torch\.float32 and torch\.float64"):
        loss(x, x.double())


class Halves(Transform):
    """A user's transform: the two halves of the signal."""

    def coefficients(self, x, indices):
        return [x[..., :4] if i == 0 else x[..., 4:] for i in indices]


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("squared_l2", [2 * 4.0, 2 * 36.0]),
        ("l2", [2.0, 6.0]),
        ("l1", [4.0, 12.0]),
        (lambda difference: difference.abs().amax(dim=1), [1.0, 3.0]),
    ],
)
def test_distances(distance, expected):
    loss = TransformLoss(Halves(2), distance=distance)
    x = torch.tensor([1.0] * 4 + [3.0] * 4)
    values = loss.path_losses(torch.stack([x, 0 * x]), torch.zeros(2, 8), [0, 1])
    assert values.tolist() == [[expected[0], 0.0], [expected[1], 0.0]]


def test_mean_over_paths_of_equation_3_is_the_squared_distance_of_the_transforms():
    transform = SHARED["jtfs"]
    x, y = noise(2, N), noise(2, N, seed=1)
    whole = sum((a - b).square().sum() for a, b in zip(transform(x), transform(y), strict=True))
    torch.testing.assert_close(TransformLoss(transform)(x, y, reduction="sum"), whole)


def test_compression_is_applied_to_both_signals():
    loss = TransformLoss(Halves(2), rho="log1p", eps=0.5, distance="l1")
    x, y = torch.full((1, 8), 1.0), torch.full((1, 8), 2.0)
    expected = 4 * (math.log(1 + 2.0 / 0.5) - math.log(1 + 1.0 / 0.5))
    assert loss.path_losses(x, y, [1]).item() == pytest.approx(expected)


def test_loss_takes_any_batch_shape():
    loss = TransformLoss(SHARED["mrstft"])
    x, y = noise(2, 3, N), noise(2, 3, N, seed=1)
    flat = loss.path_losses(x.reshape(6, N), y.reshape(6, N), [0, 2])
    assert flat.shape == (2, 6)
    torch.testing.assert_close(loss.path_losses(x, y, [0, 2]), flat)
    torch.testing.assert_close(loss.path_losses(x[0, 0], y[0, 0], [0, 2]), flat[:, :1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": "cosine"}, '"squared_l2", "l2", "l1" or a function, got \'cosine\''),
        ({"rho": "sqrt"}, '"identity", "log1p" or a function, got \'sqrt\''),
        ({"rho": "log1p", "eps": 0.0}, "eps of log1p must be positive, got 0"),
    ],
)
def test_refused_settings(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        TransformLoss(Halves(2), **arguments)
    with pytest.raises(ConfigurationError, match=r"must be a multipath.transforms.Transform"):
        TransformLoss(torch.nn.Identity())


def test_a_filtered_table_is_not_the_table_of_a_transform():
    table = PathTable(4)
    with pytest.raises(ConfigurationError, match="numbered from 0 without gaps"):
        Halves(table[2:])


def test_a_distance_must_keep_the_items_apart():
    loss = TransformLoss(Halves(2), distance=lambda difference: difference.square().mean())
    with pytest.raises(InputError, match=r"one distance for each of the 4 differences, got shape"):
        loss(torch.ones(2, 8), torch.zeros(2, 8))
