"""Values and gradients of auraloss, what its documentation says where it fails, and refusals."""

import json
import logging

import numpy as np
import pytest
import torch
from torch import nn

from multipath.compat import auraloss
from multipath.errors import MultipathError
from tests import GOLDEN as FOLDER
from tests.simulated_device import SimulatedDevice

GOLDEN = np.load(FOLDER / "auraloss.npz")
SETTINGS = json.loads(str(GOLDEN["settings"]))
CLASSES = [
    item
    for module in (auraloss.freq, auraloss.time, auraloss.perceptual)
    for item in (getattr(module, name) for name in module.__all__)
]


def sounds(dtype=torch.float64):
    generator = np.random.default_rng(int(GOLDEN["seed"]))
    x, noise = generator.standard_normal((2, 2, 2, 1500)).astype(np.float32)
    np.testing.assert_array_equal(x[0, 0, :8], GOLDEN["input_head"])
    return torch.from_numpy(x).to(dtype), torch.from_numpy(0.3 * x + 0.5 * noise).to(dtype)


def flat(outputs):
    if isinstance(outputs, list | tuple):
        return torch.cat([flat(part) for part in outputs])
    return torch.as_tensor(outputs, dtype=torch.float64).flatten()


def shapes(outputs):
    if isinstance(outputs, list | tuple):
        return [shapes(part) for part in outputs]
    return list(outputs.shape) if isinstance(outputs, torch.Tensor) else "number"


def make(module, name, arguments, named):
    np.random.seed(3)  # noqa: NPY002
    if isinstance(named.get("window"), list):
        named = {**named, "window": tuple(named["window"])}
    return getattr(getattr(auraloss, module), name)(*arguments, **named)


@pytest.mark.parametrize("index", range(len(SETTINGS)))
def test_values_and_gradients_are_those_of_auraloss(index):
    *settings, dtype = SETTINGS[index]
    x, y = sounds(getattr(torch, dtype))
    outputs = make(*settings)(x.requires_grad_(), y)
    assert shapes(outputs) == json.loads(str(GOLDEN[f"shapes_{index}"]))
    values = flat(outputs)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    expected = GOLDEN[f"values_{index}"]
    found = values.detach()[:: -(-len(values) // 100)].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
    expected = GOLDEN[f"gradient_{index}"]
    worst = abs(gradient[..., ::16].numpy() - expected).max()
    assert worst <= 1e-4 * abs(expected).max()


def test_every_class_has_a_golden_value():
    covered = {name for _, name, *_ in SETTINGS}
    others = {"ChromaSTFTLoss", "FIRFilter", "STFTMagnitudeLoss", "SpectralConvergenceLoss"}
    assert {kind.__name__ for kind in CLASSES} == covered | others | {"SumAndDifference"}


def test_double_precision_is_taken_with_every_setting():
    for *settings, dtype in SETTINGS:
        values = [flat(make(*settings)(*sounds(kind))) for kind in (torch.float32, torch.float64)]
        if not settings[3].get("w_phs"):  # whose real bins have phases of rounding errors
            torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)
        assert values[1].isfinite().all(), dtype


def test_chroma_is_a_scale():
    loss = auraloss.freq.ChromaSTFTLoss(16000, 512, 128, 400, n_chroma=7)
    assert loss.fb.shape == (1, 7, 257)
    x, y = sounds()
    plain = auraloss.freq.STFTLoss(512, 128, 400)
    a, b = (loss.fb.double() @ plain.stft(s.flatten(0, 1))[0] for s in (x, y))
    expected = (b - a).norm() / b.norm() + (a.log() - b.log()).abs().mean()
    torch.testing.assert_close(loss(x, y), expected)


def test_scale_invariance_scales_each_target_by_itself():
    loss = auraloss.freq.STFTLoss(256, 64, 256, scale_invariance=True, reduction="none", w_sc=0.0)
    x, y = sounds()
    levels = torch.tensor([[1.0, 20.0], [0.1, 3.0]])[..., None]
    torch.testing.assert_close(loss(x, levels * y), loss(x, y))
    a, b = (loss.stft(each.flatten(0, 1))[0] for each in (x, y))
    for values, mine, theirs in zip(loss(x, y), a, b, strict=True):
        level = (mine * theirs).sum() / theirs.square().sum()
        torch.testing.assert_close(values, (mine.log() - (level * theirs).log()).abs())


def test_mel_scale_of_sum_and_difference():
    sizes = [512], [128], [512]
    mel = auraloss.freq.SumAndDifferenceSTFTLoss(
        *sizes, mel_stft=True, n_mel_bins=16, sample_rate=8000
    )
    same = auraloss.freq.SumAndDifferenceSTFTLoss(*sizes, scale="mel", n_bins=16, sample_rate=8000)
    torch.testing.assert_close(mel(*sounds()), same(*sounds()))
    assert mel.mrstft.stft_losses[0].fb.shape == (1, 16, 257)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        auraloss.freq.MultiResolutionSTFTLoss,
        lambda: auraloss.freq.STFTLoss(256, 64, 200, w_lin_mag=1.0, w_phs=1.0),
        lambda: auraloss.freq.STFTLoss(256, 64, 200, eps=0.0, scale_invariance=False),
        lambda: auraloss.freq.MelSTFTLoss(44100, 256, 64, 256),  # many bands without any bin
        *(getattr(auraloss.time, name) for name in auraloss.time.__all__),
    ],
)
def test_finite_at_silence_and_at_equal_sounds(make, dtype):
    loss, (x, _) = make(), sounds(dtype)
    x = x[..., :1100]
    for a, b in ((x, x), (0 * x, 0 * x), (0 * x, x), (1e4 * x, x)):
        leaf = a.clone().requires_grad_()
        value = loss(leaf, b)
        value.backward()
        assert value.isfinite()
        assert leaf.grad.isfinite().all()


def test_filters_are_what_they_say():
    x = torch.zeros(1, 1, 9, dtype=torch.float64)
    x[..., 4] = 1.0
    high, target = auraloss.perceptual.FIRFilter("hp", coef=0.5, ntaps=3)(x, 2 * x)
    assert high.flatten().tolist() == [0, 0, 0, 0, -0.5, 1, 0, 0, 0]
    torch.testing.assert_close(target, 2 * high)
    assert auraloss.perceptual.FIRFilter()(x, x)[0].shape == (1, 1, 9 + 98)
    weighting = auraloss.perceptual.FIRFilter("aw", fs=48000)
    response = torch.fft.rfft(weighting.fir.weight.flatten(), n=48000).abs()
    for frequency, decibels in ((1000, 0.0), (500, -3.2), (4000, 1.0)):
        assert 20 * response[frequency].log10() == pytest.approx(decibels, abs=1.0)


@pytest.mark.parametrize("float64", [True, False])
def test_on_a_device_as_on_the_cpu_without_waiting_for_it(float64):
    x, y = sounds(torch.float32)
    losses = [
        auraloss.freq.MultiResolutionSTFTLoss([256, 64], [64, 16], [200, 64], window="hann"),
        auraloss.freq.MelSTFTLoss(
            16000, 256, 64, 200, n_mels=16, perceptual_weighting=True, scale_invariance=True
        ),
        auraloss.time.SISDRLoss(),
    ]
    expected = [loss(x, y) for loss in losses]
    with SimulatedDevice(float64=float64) as device:
        a, b = x.to("meta").requires_grad_(), y.to("meta")
        for loss in losses:
            loss(a, b)  # moves what the loss is made of
        device.waits = False
        found = [loss(a, b) for loss in losses]
        sum(found).backward()
    for value, wanted in zip(found, expected, strict=True):
        assert float(value.inner.detach()) == pytest.approx(float(wanted), rel=1e-4)


def test_making_a_loss_uses_up_no_randomness_of_torch():
    before = torch.get_rng_state()
    auraloss.freq.STFTLoss(perceptual_weighting=True, sample_rate=44100, scale="mel", n_bins=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_of_auraloss_loads():
    loss = auraloss.freq.STFTLoss(
        perceptual_weighting=True, sample_rate=44100, scale="mel", n_bins=9
    )
    assert {*loss.state_dict()} == {"fb", "prefilter.fir.weight"}
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    network = nn.Sequential(loss).double()
    x, y = sounds()
    torch.testing.assert_close(network[0](x, y), loss(x, y))


def test_random_resolutions_are_drawn_when_it_is_time():
    loss = auraloss.freq.RandomResolutionSTFTLoss(max_fft_size=256, randomize_rate=2)
    seen = []
    for _ in range(4):
        loss(*sounds())
        seen.append(loss.stft_losses)
    assert seen[0] is seen[1] is not seen[2] is seen[3]
    assert loss.nforwards == 4


def test_the_smallest_resolutions_can_be_drawn():
    loss = auraloss.freq.RandomResolutionSTFTLoss(40, 1, 8, 0.01, 0.02)
    assert loss(*sounds()).isfinite()
    assert {each.fft_size for each in loss.stft_losses} == {1, 2, 4}
    assert {each.hop_size for each in loss.stft_losses} == {1}


def test_arguments_without_effect_are_logged(caplog):
    with caplog.at_level(logging.WARNING):
        auraloss.freq.RandomResolutionSTFTLoss(eps=1.0, output="full")
    assert "takes eps, output without effect" in caplog.text


def call(name, *arguments, **named):
    module = next(m for m in ("freq", "time", "perceptual") if hasattr(getattr(auraloss, m), name))
    return lambda *signals: getattr(getattr(auraloss, module), name)(*arguments, **named)(*signals)


REFUSED = [
    (call("STFTLoss", scale="bark", sample_rate=1, n_bins=2), ValueError, '"mel" or "chroma"'),
    (call("STFTLoss", scale="mel", n_bins=20), AssertionError, "needs a sample_rate"),
    (call("STFTLoss", scale="chroma", sample_rate=1), TypeError, "needs n_bins"),
    (call("STFTLoss", scale="mel", sample_rate=1, n_bins=1025), AssertionError, "between 1 and"),
    (call("STFTLoss", perceptual_weighting=True), ValueError, "needs the sample_rate"),
    *(
        (call(*setting, **named, sample_rate=rate), kind, f"sample_rate must be .*got {rate!r}")
        for rate, kind in (
            (-16000, ValueError),
            (0, ValueError),
            (np.nan, ValueError),
            ("16k", TypeError),
        )
        for setting, named in (
            (["STFTLoss"], {"scale": "mel", "n_bins": 64}),
            (["STFTLoss"], {"scale": "chroma", "n_bins": 12}),
            (["STFTLoss"], {"perceptual_weighting": True}),
            (["MelSTFTLoss"], {}),
            (["RandomResolutionSTFTLoss"], {"scale": "mel", "n_mels": 4}),
        )
    ),
    *(
        (call(name, **{setting: value}), kind, f"{setting} must be .*got {value!r}")
        for name, setting in (
            ("STFTLoss", "eps"),
            ("STFTLoss", "log_eps"),
            ("STFTLoss", "log_fac"),
            ("ESRLoss", "eps"),
            ("SISDRLoss", "eps"),
            ("LogCoshLoss", "a"),
        )
        for value, kind in ((-1, ValueError), (np.nan, ValueError), ("1", TypeError))
    ),
    (call("FIRFilter", "aw", fs="16k"), TypeError, "fs must be a number"),
    (call("STFTLoss", mag_distance="L3"), ValueError, '^mag_distance must be "L1" or "L2"'),
    (call("STFTLoss", reduction="avg"), ValueError, 'reduction must be "mean", "sum" or "none"'),
    (call("STFTLoss", output="all"), ValueError, 'output must be "loss" or "full"'),
    (call("STFTLoss", window="nope"), ValueError, "window must be a name"),
    (call("STFTLoss", window="kaiser"), ValueError, "window must be a name"),
    (call("STFTLoss", 512, 128, 600), RuntimeError, "1 <= win_length <= fft_size"),
    (call("STFTLoss", 512, 0, 512), RuntimeError, "hop_size >= 1"),
    (call("STFTLoss", 512, 1.5, 512), TypeError, "hop_size must be a whole number"),
    (call("STFTLoss", 4096), RuntimeError, "too short for an FFT of 4096"),
    (call("MultiResolutionSTFTLoss", [64], [16, 3], [64]), AssertionError, "got 1, 2 and 1"),
    (
        call("MultiResolutionSTFTLoss", [64, 32], [9, 9], [9, 9], reduction="none"),
        *(RuntimeError, "have no mean"),
    ),
    (call("RandomResolutionSTFTLoss"), ValueError, "must be longer than max_fft_size=32768"),
    (call("RandomResolutionSTFTLoss", 0), ValueError, "resolutions must be a positive integer"),
    *(
        (call("RandomResolutionSTFTLoss", **settings), ValueError, message)
        for settings, message in (
            ({"randomize_rate": 0}, "randomize_rate must be a positive integer, got 0"),
            ({"min_fft_size": 256, "max_fft_size": 256}, "there is none from 256 to 256"),
            ({"min_fft_size": 512, "max_fft_size": 256}, "there is none from 512 to 256"),
            ({"min_fft_size": 17, "max_fft_size": 31}, "there is none from 17 to 31"),
            ({"min_fft_size": 0.1}, "there is none from 0.1"),
            ({"min_fft_size": 2**70, "max_fft_size": 2**72}, "at most .* are possible"),
            ({"min_fft_size": 0}, "min_fft_size must be positive, got 0"),
            ({"max_fft_size": np.inf}, "max_fft_size must be positive, got inf"),
            ({"min_hop_size": -1}, "min_hop_size must be positive, got -1"),
            ({"max_hop_size": np.nan}, "max_hop_size must be positive, got nan"),
            ({"windows": "hann_window"}, "windows must be a sequence, got 'hann_window'"),
            ({"windows": []}, r"windows must be names of windows, got \[\]"),
            ({"windows": [("kaiser", 8.0)]}, "windows must be names"),
            ({"windows": ["hann_window", "nope"]}, "window must be a name"),
        )
    ),
    *(
        (call("STFTLoss", window=name), ValueError, f"window must be a name .* got {name!r}")
        for name in ("empty", "rand", "zeros", "arange", "nn", "float32")
    ),
    (call("FIRFilter", ntaps=100), ValueError, "ntaps must be odd, got 100"),
    (call("FIRFilter", "lp"), AttributeError, 'filter_type must be "hp", "fd" or "aw"'),
    (call("ESRLoss", reduction="avg"), ValueError, "reduction must be"),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_refusals_are_of_the_kind_that_auraloss_raises(make, kind, message):
    with pytest.raises(MultipathError, match=message) as caught:
        make(*sounds())
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda x: x[0], ValueError, r"expected signals of shape \(batch, channels, T\), got"),
        (lambda x: x.int(), RuntimeError, "expected a real floating-point tensor"),
        (lambda x: x + 0j, RuntimeError, "expected a real floating-point tensor"),
    ],
)
def test_signals_that_are_refused(spoil, kind, message):
    with pytest.raises(MultipathError, match=message) as caught:
        auraloss.freq.STFTLoss()(*map(spoil, sounds()))
    assert isinstance(caught.value, kind)


PAIRED = [
    lambda: auraloss.freq.STFTLoss(256, 64, 256),
    lambda: auraloss.freq.STFTLoss(256, 64, 256, w_phs=1.0, scale="mel", n_bins=8, sample_rate=8e3),
    lambda: auraloss.freq.MultiResolutionSTFTLoss([256, 64], [64, 16], [256, 64]),
    lambda: auraloss.freq.RandomResolutionSTFTLoss(max_fft_size=64),
    *(getattr(auraloss.time, name) for name in auraloss.time.__all__),
]


@pytest.mark.parametrize("make", PAIRED)
def test_signals_that_cannot_be_compared_are_refused_in_one_line(make):
    x, y = sounds()
    for other in (torch.cat([y, y[:1]]), y[..., :700], y.repeat(1, 2, 1)[:, :3]):
        with pytest.raises(MultipathError, match=r"must have the same shape, got \(2, ") as caught:
            make()(x, other)
        assert isinstance(caught.value, RuntimeError)
        assert "\n" not in str(caught.value)
    for other in (y.numpy(), y + 0j, y.int(), None):
        for name, pair in (("input", (other, y)), ("target", (x, other))):
            with pytest.raises(MultipathError, match=f"^{name}: expected") as caught:
                make()(*pair)
            assert isinstance(caught.value, RuntimeError)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_signals_are_broadcast_as_auraloss_does():
    x, y = sounds()
    one = y[:1, :1]
    loss = auraloss.freq.STFTLoss(256, 64, 256, w_sc=0.0)  # of which Y alone has a norm
    torch.testing.assert_close(loss(x, one), loss(x, one.expand_as(x)))
    for make in PAIRED[:2]:
        turned = y.reshape(4, 1, -1)
        torch.testing.assert_close(make()(x, turned), make()(x, y))
        longer = torch.cat([y, y[..., :4]], dim=-1)  # as many frames
        assert make()(x, longer).isfinite()
    for make in PAIRED[4:]:
        torch.testing.assert_close(make()(x, one), make()(x, one.expand_as(x)))


def test_two_channels_of_one_shape():
    loss = auraloss.freq.SumAndDifferenceSTFTLoss([64], [16], [64])
    x, y = sounds()
    with pytest.raises(AssertionError, match="must have the same shape"):
        loss(x, y[:1])
    with pytest.raises(ValueError, match="expected stereo signals"):
        loss(x[:, :1], y[:, :1])
    with pytest.raises(TypeError, match="unexpected keyword"):
        auraloss.freq.STFTLoss(smoothness=1)
