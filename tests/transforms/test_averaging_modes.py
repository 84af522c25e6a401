"""Averaging over a window, over the whole signal, or not at all; lower orders; strides; borders."""

import numpy as np
import pytest
import torch

from multipath import TransformLoss
from multipath.errors import ConfigurationError
from multipath.transforms import JTFS, Scattering1D
from tests.reference.jtfs_twin import first_order_path
from tests.reference.scattering1d_twin import scattering1d_paths

from .cases import assert_near
from .cases import double_noise as noise

MODES = {"reflect": "reflect", "periodic": "wrap", "zero": "constant"}
SCATTERING = {"J": 5, "Q": (4, 2)}
JOINT = {"J": 5, "Q": (4, 1), "J_fr": 2, "Q_fr": 2}


@pytest.mark.parametrize("n_samples", [500, 777])
@pytest.mark.parametrize(
    "options",
    [
        {"T": 32, "border": "zero"},
        {"T": 48, "border": "periodic"},
        {"T": 32, "stride": 4},
        {"T": 20, "stride": 2, "border": "zero"},
    ],
    ids=str,
)
def test_windows_strides_and_borders_equal_the_twin(n_samples, options):
    x = noise(n_samples)
    transform = Scattering1D(n_samples, **SCATTERING, **options)
    mode = MODES[options.get("border", "reflect")]
    expected = scattering1d_paths(
        x.numpy(), T=options["T"], stride=options.get("stride"), border=mode, **SCATTERING
    )
    assert transform.paths.keys == list(expected)
    for key, path in zip(expected, transform(x), strict=True):
        assert_near(path, expected[key], 1e-10, key)


@pytest.mark.parametrize("border", MODES)
def test_without_averaging_a_path_is_its_modulus_at_its_own_rate(border):
    x = noise(700)
    transform = Scattering1D(700, **SCATTERING, T="none", border=border)
    expected = scattering1d_paths(
        x.numpy(), T=32, border=MODES[border], averaged=False, **SCATTERING
    )
    assert torch.equal(transform.coefficients(x, [0])[0], x)
    for key, path in zip(expected, transform(x), strict=True):
        assert_near(path, expected[key], 1e-10, key)
        assert key == () or path.min() >= 0


@pytest.mark.parametrize("unpad", [True, False])
@pytest.mark.parametrize("sampling", ["exact", "reduced"])
def test_global_is_the_mean_of_none(unpad, sampling):
    x = noise(2, 3, 333)
    options = {"unpad": unpad, "sampling": sampling}
    for make in (
        lambda T: Scattering1D(333, **SCATTERING, T=T, **options),
        lambda T: JTFS(333, **JOINT, T=T, orders=(0, 1, 2), **options),
    ):
        whole, moduli = make("global"), make("none")
        for path, a, b in zip(whole.paths, whole(x), moduli(x), strict=True):
            assert_near(a, b.mean(dim=-1, keepdim=True), key=path.key)


@pytest.mark.parametrize("T", [32, "none", "global"])
def test_global_over_log_frequency_is_the_mean_of_none(T):
    x = noise(2, 333)
    whole, moduli = (JTFS(333, **JOINT, T=T, F=F, orders=(1, 2)) for F in ("global", "none"))
    for path, a, b in zip(whole.paths, whole(x), moduli(x), strict=True):
        # nothing was computed of rows of zeros
        assert_near(a, b.mean(dim=-2, keepdim=True), 1e-11, key=path.key)


def test_without_averaging_over_log_frequency_each_scale_has_its_own_rows():
    transform = JTFS(333, **JOINT, T=32, F="none")
    averaged = JTFS(333, **JOINT, T=32, F=4)
    lengths = {path.shape[-2] for path in transform(noise(333))}
    assert len(lengths) > 1
    low_pass = transform.paths.filter(n_fr=0).indices  # is not averaged again in any case
    for a, b in zip(
        transform.coefficients(noise(333), low_pass),
        averaged.coefficients(noise(333), low_pass),
        strict=True,
    ):
        assert_near(a, b)


@pytest.mark.parametrize("settings", [{"T": 32, "F": 4}, {"T": 64, "F": 2}, {"T": 16, "F": 1}])
def test_lower_orders_of_a_jtfs(settings):
    x = noise(400)
    transform = JTFS(400, **JOINT, **settings, orders=[1, 0, 2])
    n_first = len(transform.paths.filter(order=1))
    assert transform.paths.keys[: n_first + 1] == [(), *((n,) for n in range(n_first))]
    assert n_first == 1 + (len(transform.frequency._designs) // 2 - 1) // 2  # no negative spins
    alone = Scattering1D(400, J=5, Q=(4, 1), T=settings["T"])
    zeroth, *first = transform.coefficients(x, range(n_first + 1))
    assert_near(zeroth, alone.coefficients(x, [0])[0])
    for n_fr, path in enumerate(first):
        assert_near(path, first_order_path(x.numpy(), n_fr, {**JOINT, **settings}), 1e-10, n_fr)
    second = JTFS(400, **JOINT, **settings)
    assert transform.paths.keys[n_first + 1 :] == second.paths.keys
    for a, b in zip(transform(x)[n_first + 1 :], second(x), strict=True):
        assert_near(a, b)


@pytest.mark.parametrize("T", [32, "none", "global"])
def test_a_period_is_enough_of_a_periodic_signal(T):
    x = noise(2, 512)
    for transform in (
        Scattering1D(512, **SCATTERING, T=T, border="periodic"),
        JTFS(512, **JOINT, T=T, border="periodic", orders=(0, 1, 2)),
    ):
        assert transform.time.padded == 512
        for path, a, b in zip(
            transform.paths, transform(x), transform(x.roll(64, -1)), strict=True
        ):
            assert_near(b, a.roll(64 * a.shape[-1] // 512, -1), key=path.key)


def test_rows_that_share_a_wavelet_are_read_once_and_found_by_name():
    transform = Scattering1D(512, **SCATTERING, T="none")
    x = noise(2, 512)
    keys = [(3,), (3, 9), (), (7,), (0, 9)]
    together = transform.coefficients(x, [transform.paths.index_of(key) for key in keys])
    for key, path in zip(keys, together, strict=True):
        assert_near(path, transform.coefficients(x, [transform.paths.index_of(key)])[0])


def test_modes_serve_a_loss_with_a_gradient_at_silence():
    for transform in (
        Scattering1D(256, J=4, Q=(2, 1), T="global"),
        JTFS(256, J=4, Q=(2, 1), J_fr=2, Q_fr=1, T="none", F="none", orders=(0, 1, 2)),
    ):
        x = torch.zeros(2, 256, requires_grad=True)
        TransformLoss(transform)(x, torch.randn(2, 256)).backward()
        assert torch.isfinite(x.grad).all()


REFUSED = [
    ({"T": "all"}, 'T must be "global", "none" or a whole number'),
    ({"T": 0}, 'T="none" to average nothing'),
    ({"T": 512}, 'T="global" to average over all of a signal'),
    ({"T": "none", "stride": 4}, 'with T="none" there is none, leave stride out'),
    ({"stride": 6}, "stride must be a power of two between 1 and 256, got 6"),
    ({"stride": 512}, "stride must be a power of two between 1 and 256, got 512"),
    ({"border": "symmetric"}, 'border must be "reflect", "periodic" or "zero"'),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=str)
def test_refusals(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Scattering1D(256, J=4, Q=(2, 1), **options)


REFUSED_JOINTLY = [
    ({"F": "local"}, 'F must be "global", "none" or a whole number'),
    ({"F": 0}, "F between 1 and"),
    ({"F": "global", "stride_fr": 2}, 'with F="global" there is none, leave stride_fr out'),
    ({"stride_fr": 3}, "stride_fr must be a power of two"),
    ({"orders": (0, 1)}, "orders must be some of 0, 1 and 2, each once and 2 among them"),
    ({"orders": (2, 2)}, "each once"),
    ({"orders": (2, 3)}, "some of 0, 1 and 2"),
    ({"orders": 2}, "orders must be a sequence"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED_JOINTLY, ids=str)
def test_joint_refusals(options, message):
    with pytest.raises(ConfigurationError, match=message):
        JTFS(256, J=4, Q=(2, 1), J_fr=2, Q_fr=1, **options)


def test_print_shows_the_modes():
    shown = repr(JTFS(256, J=4, Q=2, J_fr=2, T="none", F="global", orders=(1, 2), border="zero"))
    for words in ("T='none'", "F='global'", "orders=(1, 2)", "border='zero'"):
        assert words in shown
    assert "stride=8" in repr(Scattering1D(256, J=4, Q=2, stride=8))
    assert np.unique([p.cost for p in JTFS(256, J=4, Q=2, orders=(0, 1, 2)).paths]).size > 2
