"""Numbers of any kind are settings of every class, and become plain Python numbers."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from multipath import (
    BalancedLoss,
    CombinedLoss,
    FeatureLayers,
    Path,
    PathTable,
    SlicedWasserstein,
    SpectralLoss,
    StatisticsLoss,
    StochasticLoss,
    TargetCache,
    TermLoss,
    TransformLoss,
)
from multipath.applications.audio.resampling import Resample
from multipath.applications.losses.multi_scale import mss_linear
from multipath.applications.losses.random_resolutions import RandomResolutionLoss
from multipath.applications.metrics.drums import DrumMetrics
from multipath.applications.synths.am_chirp import AMChirpRanges, AMChirpSynth
from multipath.applications.synths.chirplet import ChirpletSynth
from multipath.applications.synths.drum import DrumRanges, DrumSynth
from multipath.applications.synths.granular import GranularSynth
from multipath.applications.synths.tr808 import TR808Synth
from multipath.compat import SCRAPLLoss
from multipath.compat.kymatio.torch import Scattering1D as KymatioScattering1D
from multipath.compat.kymatio.torch import Scattering2D as KymatioScattering2D
from multipath.compat.kymatio.torch import TimeFrequencyScattering as KymatioTimeFrequencyScattering
from multipath.errors import ConfigurationError
from multipath.optim import PSAGA, PAdam
from multipath.samplers import AdaptiveImportance, Energy, Importance, Mixture, Stratified, Uniform
from multipath.testing import QuadraticLoss
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    WaveletPacket,
    WaveletTransform,
)

pytestmark = pytest.mark.slow  # over a thousand cases


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(1, 2, 3), nn.Tanh())


def difference(x, y):
    return (x - y).square().mean(dim=1)


def psaga(**options):
    weight = nn.Parameter(torch.zeros(2))
    optimizer = PSAGA([weight], StochasticLoss(QuadraticLoss(3), generator=0), **options)
    return optimizer.defaults, optimizer.state_dict()


def padam(**options):
    weight = nn.Parameter(torch.zeros(2))
    optimizer = PAdam([weight], StochasticLoss(QuadraticLoss(3), generator=0), **options)
    return optimizer.defaults, optimizer.state_dict()


# settings in plain Python; an integer here is one that must be an integer
CASES = {
    "JTFS": (
        JTFS,
        {
            **{"n_samples": 256, "J": 4, "Q": (2, 1), "J_fr": 2, "Q_fr": 1, "T": 64, "F": 2},
            **{"sample_rate": 100.0, "orders": (1, 2), "stride": 32, "stride_fr": 1},
        },
    ),
    "Scattering1D": (
        Scattering1D,
        {
            **{"n_samples": 256, "J": 4, "Q": 2, "T": 64, "max_order": 2, "sample_rate": 100.0},
            "stride": 32,
        },
    ),
    "kymatio's Scattering1D": (
        KymatioScattering1D,
        {"J": 4, "shape": 256, "Q": 2, "T": 64, "stride": 16, "max_order": 2, "oversampling": 0},
    ),
    "kymatio's TimeFrequencyScattering": (
        KymatioTimeFrequencyScattering,
        {
            **{"J": 4, "J_fr": 2, "Q": 2, "shape": 256, "T": 64, "stride": 16},
            **{"Q_fr": 1, "F": 4, "stride_fr": 2},
        },
    ),
    "kymatio's Scattering2D": (
        KymatioScattering2D,
        {"J": 2, "shape": (16, 8), "L": 2, "max_order": 1},
    ),
    "Scattering2D": (Scattering2D, {"shape": (16, 8), "J": 2, "L": 2, "max_order": 1}),
    "MultiResolutionSTFT": (
        partial(MultiResolutionSTFT, scale="chroma"),
        {
            **{"fft_sizes": (64, 32), "hop_sizes": (16, 8), "win_lengths": (64, 32)},
            **{"sample_rate": 100.0, "n_bins": (3, 5)},
        },
    ),
    "SpectralLoss": (
        lambda **options: SpectralLoss(
            MultiResolutionSTFT([16]),
            {"log_l1": options.pop("weight")},
            **options,
        ),
        {"floor": 0.5, "offset": 0.25, "weight": 2.0},
    ),
    "WaveletTransform": (WaveletTransform, {"level": 2, "signal_ndim": 1, "sample_rate": 10.0}),
    "WaveletPacket": (WaveletPacket, {"level": 2, "signal_ndim": 2, "sample_rate": 10.0}),
    "TransformLoss": (
        lambda **options: TransformLoss(WaveletTransform(level=1), rho="log1p", **options),
        {"eps": 0.5, "weights": (0.25, 0.75)},
    ),
    "CombinedLoss": (
        lambda size=1.0, share=1.0: CombinedLoss(
            {"a": TransformLoss(WaveletTransform(level=1))}, {"a": share}, {"a": size}
        ),
        {"size": 2.0, "share": 0.25},
    ),
    "BalancedLoss": (
        lambda **options: BalancedLoss(QuadraticLoss(3), **options),
        {"sizes": (1.0, 2.0, 3.0), "power": 0.5, "floor": 0.25},
    ),
    "SlicedWasserstein": (
        SlicedWasserstein,
        {"dim": 2, "n_projections": 3, "p": 1.5, "generator": 3},
    ),
    "FeatureLayers": (
        lambda **options: FeatureLayers(network(), ["0", "1"], **options),
        {"eps": 0.5, "channel_dim": 1, "costs": (1.0, 2.0)},
    ),
    "TermLoss": (
        lambda **options: TermLoss({"a": difference, "b": difference}, **options),
        {"weights": (1.0, 2.0), "costs": (1.0, 3.0)},
    ),
    "StatisticsLoss": (
        lambda **options: StatisticsLoss(WaveletTransform(level=1), rho="log1p", **options),
        {"statistics": (0.5, 0.25), "scale": (2.0, 1.0), "eps": 0.5},
    ),
    "TargetCache": (TargetCache, {"max_bytes": 1000.0}),
    "Path": (Path, {"index": 3, "cost": 2.0}),
    "PathTable": (PathTable, {"paths": 3}),
    "StochasticLoss": (
        lambda **options: StochasticLoss(QuadraticLoss(3), **options),
        {"n_draws": 2, "generator": 5},
    ),
    "Importance": (Importance, {"probabilities": (0.5, 0.25, 0.25)}),
    "Stratified": (
        lambda **options: Stratified([[0, 1], [2]], **options),
        {"probabilities": (0.5, 0.25, 0.25)},
    ),
    "Mixture": (
        lambda **options: Mixture([Uniform(), Uniform()], **options),
        {"weights": (0.25, 0.75)},
    ),
    "Energy": (
        Energy,
        {
            **{"energies": (1.0, 2.0), "floor": 0.25, "threshold": 0.125, "power": 0.5},
            **{"decay": 0.5, "every": 2},
        },
    ),
    "AdaptiveImportance": (AdaptiveImportance, {"decay": 0.5, "floor": 0.25, "every": 2}),
    "PAdam": (padam, {"lr": 0.5, "betas": (0.5, 0.75), "eps": 0.25, "weight_decay": 0.125}),
    "PSAGA": (psaga, {"lr": 0.5, "betas": (0.5, 0.75), "eps": 0.25, "alpha": 0.5}),
    "SCRAPLLoss": (
        SCRAPLLoss,
        {
            **{"shape": 256, "J": 4, "Q1": 2, "Q2": 1, "J_fr": 2, "Q_fr": 1, "T": 64, "F": 2},
            **{"p": 1.5, "grad_mult": 2.0, "p_adam_eps": 0.5, "generator": 0},
        },
    ),
    "ChirpletSynth": (
        ChirpletSynth,
        {
            **{"n_samples": 64, "sample_rate": 64.0, "f0": 8.0, "bandwidth": 1.0, "sigma": 0.25},
        },
    ),
    "AMChirpSynth": (
        lambda carrier, am, fm, **options: AMChirpSynth(AMChirpRanges(carrier, am, fm), **options),
        {
            **{"n_samples": 64, "sample_rate": 64.0, "bandwidth": 1.0, "sigma": 0.25},
            **{"carrier": (4.0, 8.0), "am": (1.0, 2.0), "fm": (0.5, 1.0)},
        },
    ),
    "DrumSynth": (
        lambda omega, tau, p, **options: DrumSynth(DrumRanges(omega, tau, p), **options),
        {
            **{"n_samples": 64, "sample_rate": 64.0, "modes": (2, 3)},
            **{"omega": (8.0, 16.0), "tau": (0.5, 1.0), "p": (0.25, 0.5)},
        },
    ),
    "GranularSynth": (
        GranularSynth,
        {
            **{"n_samples": 64, "sample_rate": 64.0, "n_grains": 2, "grain_samples": 8},
            **{"f_min": 8.0, "f_max": 16.0, "typical_slope": 2.0, "steepest": 0.5},
            **{"bandwidth": 0.5, "softness": 0.25},
        },
    ),
    "TR808Synth": (TR808Synth, {"n_samples": 64, "sample_rate": 44100.0}),
    "DrumMetrics": (
        lambda **options: DrumMetrics(scattering=WaveletTransform(level=1), **options),
        {
            **{"n_samples": 2048, "sample_rate": 8000.0, "onset": 1, "frame_size": 64},
            **{"hop_size": 32, "transient_frames": 1, "decay_frames": 2},
        },
    ),
    "RandomResolutionLoss": (
        RandomResolutionLoss,
        {"min_fft_size": 16, "max_fft_size": 32, "n_resolutions": 2, "generator": 3},
    ),
    "mss_linear": (mss_linear, {"fft_sizes": (16, 32), "n_samples": 64}),
    "Resample": (Resample, {"source_rate": 8000, "target_rate": 4000}),
}


def as_numpy(value):
    if isinstance(value, tuple):
        return np.array(value)[::-1].copy()[::-1]  # not contiguous
    return np.int16(value) if isinstance(value, int) else np.float64(value)


def as_array(value):
    return np.array(value)


def as_list(value):
    return [as_numpy(member) for member in value] if isinstance(value, tuple) else value


def kept(made, seen):
    """All that an object keeps, in order, with the types of numbers."""
    if isinstance(made, torch.Tensor | np.ndarray):
        return [str(made.dtype), made.tolist()]
    if isinstance(made, torch.Generator):
        return made.get_state().tolist()
    if isinstance(made, int | float | str | bytes | np.generic) or made is None:
        return [type(made).__name__, made]
    if id(made) in seen:
        return []
    seen[id(made)] = made
    if isinstance(made, dict):
        return [kept(part, seen) for item in made.items() for part in item]
    if isinstance(made, list | tuple | set | PathTable):
        return [kept(part, seen) for part in made]
    return kept(getattr(made, "__dict__", None), seen)


@pytest.mark.parametrize("convert", [as_numpy, as_array, as_list])
@pytest.mark.parametrize("name", CASES)
def test_numbers_of_any_kind_make_the_same_object(name, convert):
    make, settings = CASES[name]
    expected = make(**settings)
    made = make(
        **{key: value if key == "generator" else convert(value) for key, value in settings.items()}
    )
    assert repr(made) == repr(expected)
    assert kept(made, {}) == kept(expected, {})


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (name, setting)
        for name, (_, settings) in CASES.items()
        for setting, value in settings.items()
        if isinstance(value, int)
    ],
)
@pytest.mark.parametrize("wrong", [True, np.True_, 4.5, np.float32(4.5), "4", 4 + 0j, [[4]]])
def test_what_is_no_integer_is_refused(name, setting, wrong):
    make, settings = CASES[name]
    with pytest.raises(ConfigurationError, match="got"):
        make(**{**settings, setting: wrong})


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (name, setting)
        for name, (_, settings) in CASES.items()
        for setting, value in settings.items()
        if isinstance(value, float | tuple)
    ],
)
@pytest.mark.parametrize("wrong", ["1", True, float("nan"), 10**400, 0.5j, np.array([[0.5]]), {}])
def test_what_is_no_real_number_is_refused(name, setting, wrong):
    make, settings = CASES[name]
    with pytest.raises(ConfigurationError, match=r"got|numbers|list the sizes"):
        make(**{**settings, setting: wrong})


REPRESENTED = {
    **{name: {"sample_rate"} for name in ("WaveletTransform", "WaveletPacket")},
    **{name: set() for name in ("JTFS", "Scattering1D", "Scattering2D", "AdaptiveImportance")},
    "TransformLoss": {"weights"},
    "BalancedLoss": {"sizes"},
    "SlicedWasserstein": {"n_projections", "generator"},
    "FeatureLayers": {"costs"},
    "SpectralLoss": {"weight"},
    "StochasticLoss": {"generator"},
    "Mixture": set(),
    "Energy": {"energies", "decay", "every"},
}
"""Classes that are printed with their settings, and those left out: the long, and the unused."""


@pytest.mark.parametrize("name", REPRESENTED)
def test_settings_are_printed(name):
    make, settings = CASES[name]
    printed = repr(make(**settings)).replace("weights=[0.25, 0.75]", "weights=(0.25, 0.75)")
    shown = settings | ({"Q": (2, 1)} if name == "Scattering1D" else {})
    for setting in shown.keys() - REPRESENTED[name]:
        assert f"{setting}={shown[setting]!r}" in printed


def test_functions_are_printed_by_name():
    loss = TransformLoss(
        MultiResolutionSTFT([64], window=torch.hamming_window), distance=difference
    )
    assert "fft64-hop16-win64, window=hamming_window" in repr(loss)
    assert "distance=difference" in repr(loss)
    assert "distance=_norm(order=1.5)" in repr(SCRAPLLoss(**CASES["SCRAPLLoss"][1]))
    assert "by='rate'" in repr(Stratified("rate"))
    assert "floor=0.1, power=1.0, threshold=0.0, decay=0.99, every=1" in repr(Energy())
    assert "replacement=False" in repr(Uniform(replacement=False))
    assert "terms=['a']" in repr(TermLoss({"a": difference}))
    assert "lr: 0.001" in repr(
        PSAGA([nn.Parameter(torch.zeros(2))], StochasticLoss(QuadraticLoss(3)))
    )


def test_a_seed_may_come_from_numpy():
    for make in (CASES["StochasticLoss"][0], SlicedWasserstein, RandomResolutionLoss):
        options = {"dim": 2} if make is SlicedWasserstein else {}
        made, expected = (make(generator=seed, **options) for seed in (np.uint8(7), 7))
        assert kept(made, {}) == kept(expected, {})
        with pytest.raises(ConfigurationError, match="64 bits"):
            make(generator=2**64, **options)


def test_one_number_serves_all_resolutions():
    shared = MultiResolutionSTFT([256, 512], hop_sizes=np.int64(64), win_lengths=128)
    listed = MultiResolutionSTFT(range(256, 513, 256), [64, 64], np.array([128, 128]))
    assert shared.paths == listed.paths


SWITCHES = {
    "reweight": lambda value: StochasticLoss(QuadraticLoss(3), reweight=value),
    "replacement": lambda value: Uniform(replacement=value),
    "cost_aware": lambda value: AdaptiveImportance(cost_aware=value),
    "masses": lambda value: SlicedWasserstein(2, masses=value),
    "unpad": lambda value: Scattering1D(64, J=3, unpad=value),
    "mid_side": lambda value: SpectralLoss(mid_side=value),
    "verify": lambda value: TargetCache(2**20, verify=value),
    "maximize": lambda value: PSAGA(
        [torch.nn.Parameter(torch.ones(1))], StochasticLoss(QuadraticLoss(3)), maximize=value
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [None, "no", 2, 0.5, [], torch.ones(2)], ids=repr)
def test_what_counts_as_true_is_not_guessed(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} must be True or False, got"):
        SWITCHES[name](value)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [True, np.False_, 1, torch.tensor(False)], ids=repr)
def test_switches_of_any_kind(name, value):
    SWITCHES[name](value)


@pytest.mark.parametrize("name", ["lr", "weight_decay", "eps"])
def test_hyperparameters_stay_within_single_precision(name):
    criterion = StochasticLoss(QuadraticLoss(3))
    with pytest.raises(ConfigurationError, match=rf"{name} must be at most 1e\+18, got 1e\+300"):
        PSAGA([torch.nn.Parameter(torch.ones(1))], criterion, **{name: 1e300})
