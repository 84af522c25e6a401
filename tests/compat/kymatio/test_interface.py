"""Settings, attributes, outputs, metadata and errors of the classes that stand for kymatio's."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import multipath.compat.kymatio as entry
from multipath.compat.kymatio import numpy as arrays
from multipath.compat.kymatio import sklearn as estimators
from multipath.compat.kymatio import torch as tensors
from multipath.errors import ConfigurationError, InputError, MultipathError
from multipath.transforms import JTFS, Scattering1D
from tests.transforms.cases import noise

TIME = {"J": 5, "shape": 300, "Q": (4, 1)}
JOINT = {"J": 5, "J_fr": 2, "Q": (4, 1), "shape": 300}


def test_order_and_output_may_be_changed():
    scattering = tensors.Scattering1D(**TIME)
    x = noise(2, 3, 300)
    array = scattering(x)
    assert array.shape == (2, 3, len(scattering.meta()["key"]), 9)
    scattering.out_type = "dict"
    found = scattering(x)
    assert list(found) == sorted(found)
    for column, key in enumerate(scattering.meta()["key"]):
        assert torch.equal(array[..., column, :], found[key])
    scattering.out_type = "list"
    assert [path["n"] for path in scattering(x)] == scattering.meta()["key"]
    assert scattering.output_size() == len(found)
    assert sum(scattering.output_size(detail=True)) == len(found)
    scattering.max_order = 1
    first = scattering(x)
    assert {path["order"] for path in first} == {0, 1}
    torch.testing.assert_close(first[3]["coef"], found[2,])
    assert scattering.output_size(detail=True) == (1, len(first) - 1)
    scattering.max_order = 3
    with pytest.raises(ValueError, match="max_order must be 1 or 2"):
        scattering(x)


def test_metadata_describe_the_wavelets():
    scattering = tensors.Scattering1D(**TIME)
    meta = scattering.meta()
    for row, key in enumerate(meta["key"]):
        assert meta["order"][row] == len(key)
        banks = scattering.psi1_f, scattering.psi2_f
        filters = [bank[n] for bank, n in zip(banks, key, strict=False)]
        for field in ("xi", "sigma", "j"):
            assert meta[field][row, : len(key)].tolist() == [psi[field] for psi in filters]
            assert np.isnan(meta[field][row, len(key) :]).all()
    assert all(psi["levels"][0].shape == (scattering._N_padded, 1) for psi in scattering.psi1_f)
    centre = np.argmax(arrays.Scattering1D(**TIME).psi1_f[3]["levels"][0]) / scattering._N_padded
    assert centre == pytest.approx(scattering.psi1_f[3]["xi"], abs=2 / scattering._N_padded)
    assert scattering.phi_f["sigma"] == pytest.approx(0.1 / scattering.T)


def test_attributes():
    scattering = tensors.Scattering1D(**TIME)
    assert (scattering.J, scattering.Q, scattering.T, scattering.log2_T) == (5, (4, 1), 32, 5)
    assert (scattering.shape, scattering.stride, scattering.average) == ((300,), 32, "local")
    assert tensors.Scattering1D(**TIME, T="global").average == "global"
    assert tensors.Scattering1D(**TIME, T=0).average is False
    joint = tensors.TimeFrequencyScattering(**JOINT, F=0, format="time")
    assert (joint.F, joint.log2_F, joint.Q_fr, joint.average_fr) == (4, 2, (1,), False)
    assert joint.filters_fr[1][0]["xi"] == 0


FIXED = {
    "Scattering1D": (
        TIME,
        "J Q T log2_T shape average stride version oversampling backend sigma0 pad_left psi1_f",
    ),
    "TimeFrequencyScattering": (JOINT, "J J_fr Q T F Q_fr average_fr stride_fr max_order phi_f"),
    "Scattering2D": ({"J": 2, "shape": (8, 8)}, "J L shape pre_pad backend M N phi psi"),
}


@pytest.mark.parametrize("module", [tensors, arrays, estimators], ids=lambda m: m.__name__)
@pytest.mark.parametrize("kind", FIXED)
def test_settings_are_read_only(module, kind):
    settings, names = FIXED[kind]
    scattering = getattr(module, kind)(**settings)
    for name in names.split():
        before = repr(getattr(scattering, name))
        for value in (getattr(scattering, name), 3):
            with pytest.raises(AttributeError):
                setattr(scattering, name, value)
        assert repr(getattr(scattering, name)) == before


def test_the_released_version_differs_by_powers_of_two():
    new, old = (tensors.Scattering1D(**TIME, version=v, out_type="dict") for v in ("0.4", "0.3"))
    x = noise(300)
    psi1, psi2 = new.psi1_f, new.psi2_f
    ours, theirs = new(x), old(x)
    assert set(ours) == set(theirs)
    for key, path in theirs.items():
        levels = [bank[n]["j"] for bank, n in zip((psi1, psi2), key, strict=False)]
        assert torch.equal(path, ours[key] / 2 ** sum(levels))
    with pytest.raises(NotImplementedError, match="without oversampling and stride"):
        tensors.Scattering1D(**TIME, version="0.3", stride=8)


@pytest.mark.parametrize("average", [False, True])
def test_the_released_version_is_told_whether_to_average(average):
    settings = {**TIME, "version": "0.3", "out_type": "dict"}
    told = tensors.Scattering1D(**settings, average=average)
    expected = tensors.Scattering1D(**settings, T=None if average else 0)
    x = noise(300)
    assert told.average == expected.average
    assert all(torch.equal(told(x)[key], path) for key, path in expected(x).items())


def test_oversampling_is_a_stride():
    with pytest.warns(DeprecationWarning, match="oversampling is deprecated"):
        oversampled = tensors.Scattering1D(**TIME, oversampling=2)
    x = noise(300)
    assert torch.equal(oversampled(x), tensors.Scattering1D(**TIME, stride=8)(x))


def test_lower_orders_and_totals_of_joint_scattering():
    joint = tensors.TimeFrequencyScattering(**JOINT, format="joint", out_type="dict")
    x = noise(2, 300)
    native = JTFS(300, 5, (4, 1), 2, 1, orders=(0, 1, 2))
    for path, found in zip(native.paths, joint(x).values(), strict=True):
        expected = native.coefficients(x, [path.index])[0]
        kept = expected[:, : found.shape[1]] if path.key else expected
        torch.testing.assert_close(found, kept)
    # kymatio gives no frames of order 1 here, and cannot stack sums in this format
    assert tensors.TimeFrequencyScattering(**JOINT, T=0, out_type="dict")(x)[0, 0].shape == (2, 9)
    total = tensors.TimeFrequencyScattering(**JOINT, T="global", format="joint")
    assert total(x).shape == (2, len(total.meta()["order"]), 14, 1)


def test_joint_metadata():
    for options in ({"format": "joint"}, {"format": "time"}, {"format": "time", "F": 0}):
        scattering = tensors.TimeFrequencyScattering(**JOINT, **options, out_type="dict")
        keys, meta = list(scattering(noise(300))), scattering.meta()
        assert sorted(keys, key=lambda key: (len(key), key)) == meta["key"]
        assert scattering.output_size() == len(keys)
        assert all(len(values) == len(keys) for values in meta.values())
        assert set(meta["order"].tolist()) == {0, 1, 2}
        assert set(meta["spin"][meta["order"] == 2].tolist()) == {-1, 0, 1}
        assert np.isnan(meta["xi"][meta["order"] == 0]).all()
        rates = {psi["xi"] for psi in scattering.psi2_f}
        assert set(meta["xi"][meta["order"] == 2][:, 1].tolist()) < rates


def test_frontends_agree():
    x = noise(2, 300, dtype=torch.float64)
    expected = tensors.Scattering1D(**TIME)(x).numpy()
    np.testing.assert_array_equal(arrays.Scattering1D(**TIME)(x.numpy()), expected)
    np.testing.assert_array_equal(arrays.Scattering1D(**TIME)(x), expected)  # kymatio takes them
    np.testing.assert_array_equal(
        estimators.Scattering1D(**TIME).transform(x.numpy()), expected.reshape(2, -1)
    )
    for frontend, module in (("torch", tensors), ("numpy", arrays), ("sklearn", estimators)):
        for name, settings in (
            ("Scattering1D", TIME),
            ("TimeFrequencyScattering", JOINT),
            ("Scattering2D", {"J": 2, "shape": (8, 8)}),
        ):
            made = getattr(entry, name)(**settings, frontend=frontend)
            assert type(made) is getattr(module, name)
    assert type(entry.Scattering2D(2, (8, 8))) is arrays.Scattering2D


def test_estimators_are_copied_and_reconfigured():
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scattering = estimators.Scattering1D(5, 300, T="global", max_order=1)
    x = np.random.default_rng(0).standard_normal((4, 300))
    expected = scattering.transform(x)
    other = clone(scattering)
    assert other.get_params() == scattering.get_params()
    assert other.average == "global"
    np.testing.assert_array_equal(other.transform(x), expected)
    other.set_params(max_order=2)
    assert other.transform(x).shape[1] > expected.shape[1]
    assert "max_order=1" in repr(scattering)
    features = make_pipeline(scattering, StandardScaler()).fit_transform(x)
    assert features.shape == expected.shape


@pytest.mark.parametrize("params", [{"J": 99}, {"foo": 3}, {"max_order": 1, "Q": "many"}], ids=str)
def test_refused_parameters_change_nothing(params):
    scattering = estimators.Scattering1D(**TIME)
    before = scattering.get_params()
    with pytest.raises(ValueError, match=r"J|foo|Q"):
        scattering.set_params(**params)
    assert scattering.get_params() == before
    assert (scattering.J, scattering.max_order) == (5, 2)


def test_parameters_follow_assignments():
    from sklearn.base import clone

    scattering = estimators.Scattering1D(**TIME, T=0, out_type="dict")
    scattering.max_order, scattering.out_type = np.int64(1), "list"
    other = clone(scattering)
    assert other.get_params() == scattering.get_params()
    assert (other.max_order, other.out_type) == (1, "list")
    assert scattering.set_params(T=16).max_order == 1
    assert scattering.T == 16


@pytest.mark.parametrize(
    "scattering",
    [
        estimators.Scattering1D(**TIME, T=0, out_type="dict"),
        estimators.Scattering1D(**TIME, out_type="list"),
        estimators.Scattering1D(**TIME, T=0),
        estimators.TimeFrequencyScattering(**JOINT, out_type="dict"),
        estimators.Scattering2D(2, (10, 30), out_type="list"),
    ],
    ids=range(5),
)
def test_features_are_an_array(scattering):
    for method in (scattering.transform, scattering.predict):
        with pytest.raises(ConfigurationError, match="needs out_type='array', and T above 0"):
            method(np.zeros((2, 300)))


def test_nothing_needs_fitting():
    from sklearn.pipeline import make_pipeline
    from sklearn.utils.validation import check_is_fitted

    scattering = estimators.Scattering1D(**TIME)
    check_is_fitted(scattering)
    x = np.zeros((2, 300))
    assert make_pipeline(scattering).transform(x).shape == scattering.transform(x).shape


def test_modules_move_cast_copy_and_load():
    scattering = tensors.Scattering1D(**TIME)
    x = noise(300)
    expected = scattering(x)
    for other in (copy.deepcopy(scattering), pickle.loads(pickle.dumps(scattering))):
        assert torch.equal(other(x), expected)
    assert scattering.double()(x.double()).dtype == torch.float64
    model = torch.nn.Sequential(tensors.Scattering1D(**TIME), torch.nn.Linear(9, 1))
    saved = {**model.state_dict(), "0.tensor0": x, "0.tensor12": x}  # as kymatio saves it
    model.load_state_dict(saved)
    with pytest.raises(RuntimeError, match="other"):
        model.load_state_dict({**saved, "0.other": x})


@pytest.mark.parametrize("T", [None, 0, "global"])
def test_gradients_are_finite_at_silence(T):
    x = torch.zeros(300, requires_grad=True)
    found = tensors.TimeFrequencyScattering(**JOINT, T=T, out_type="dict")(x)
    sum(path.sum() for path in found.values()).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("module", [tensors, arrays, estimators], ids=lambda m: m.__name__)
def test_filters_of_images_are_arrays(module):
    scattering = module.Scattering2D(3, (20, 33), L=4)
    assert scattering.shape == (scattering.M, scattering.N)
    phi, psi = scattering.phi, scattering.psi
    assert phi["j"] == 3
    assert [bank["j"] for bank in psi] == [0] * 4 + [1] * 4 + [2] * 4
    for bank, count in [(phi, 3), *zip(psi, [1] * 4 + [2] * 8, strict=True)]:
        assert [type(level) for level in bank["levels"]] == [np.ndarray] * count
        assert [level.shape for level in bank["levels"]] == [(32, 48), (16, 24), (8, 12)][:count]
    for level in phi["levels"]:
        assert level[0, 0] == level.max() == pytest.approx(1, abs=1e-4)
    # what averages an impulse is the filter itself
    image = np.zeros((32, 48))
    image[8, 16] = 1
    averages = arrays.Scattering2D(3, (20, 33), L=4, pre_pad=True)(image)[0]
    kernel = np.fft.ifft2(phi["levels"][0]).real[::8, ::8]
    np.testing.assert_allclose(averages, np.roll(kernel, (1, 2), (0, 1))[1:-1, 1:-1], atol=1e-12)


def test_a_padded_image_is_a_torus():
    whole = tensors.Scattering2D(2, (17, 12), L=3)
    padded = tensors.Scattering2D(2, (17, 12), L=3, pre_pad=True)
    x = noise(2, 17, 12)
    height, width = padded._M_padded - 17, padded._N_padded - 12
    margins = width // 2, width - width // 2, height // 2, height - height // 2
    mirrored = torch.nn.functional.pad(x, margins, mode="reflect")
    torch.testing.assert_close(padded(mirrored), whole(x), rtol=1e-5, atol=1e-6)
    assert len(whole.psi) == 6
    whole.max_order, whole.out_type = 1, "list"
    assert [path["theta"] for path in whole(x)] == [(), (0,), (1,), (2,), (0,), (1,), (2,)]


REFUSED = [
    (tensors.Scattering1D, {"shape": (3, 4)}, ValueError, "exactly one element"),
    (tensors.Scattering1D, {"shape": 1.5}, ValueError, "integer or a 1-tuple"),
    (tensors.Scattering1D, {"Q": 0.9}, ValueError, "Q must always be >= 1"),
    (tensors.Scattering1D, {"Q": [8]}, ValueError, "Q must be an integer or a tuple"),
    (tensors.Scattering1D, {"Q": (1, 1, 1)}, NotImplementedError, "beyond order 2"),
    (tensors.Scattering1D, {"T": 301}, ValueError, "cannot exceed input length"),
    (tensors.Scattering1D, {"T": -1}, ValueError, "must be ==0 or >=1"),
    (tensors.Scattering1D, {"T": "all"}, ValueError, 'T must be "global" or a number'),
    (tensors.Scattering1D, {"oversampling": -1}, ValueError, "nonnegative"),
    (tensors.Scattering1D, {"oversampling": 0.5}, ValueError, "integer"),
    (tensors.Scattering1D, {"stride": 17}, ValueError, "power of two"),
    (tensors.Scattering1D, {"stride": "8"}, ValueError, "integer"),
    (tensors.Scattering1D, {"T": 0, "stride": 8}, ValueError, "incompatible"),
    (tensors.Scattering1D, {"version": "0.2"}, ValueError, "version must be"),
    (tensors.Scattering1D, {"average": False}, ValueError, "T=0 for no averaging"),
    *(
        (tensors.Scattering1D, {"average": average, "version": "0.3", "T": T}, ValueError, message)
        for average, T, message in (
            (False, 16, "average=False is incompatible with T=16"),
            (True, 0, "average=True is incompatible with T=0"),
            (True, "global", "average=True is incompatible with T='global'"),
            ("no", None, "average must be"),
        )
    ),
    (tensors.Scattering1D, {"backend": "numpy"}, ImportError, "can not be called from"),
    (tensors.Scattering1D, {"backend": "torch_new"}, ImportError, "not found"),
    (arrays.Scattering1D, {"backend": SimpleNamespace(name="no")}, ImportError, "not supported"),
    (entry.Scattering1D, {"frontend": "new"}, RuntimeError, "is not valid"),
    (entry.Scattering1D, {"frontend": "jax"}, ImportError, "not offered"),
]


@pytest.mark.parametrize(("kind", "options", "error", "message"), REFUSED, ids=str)
def test_refused_settings(kind, options, error, message):
    with pytest.raises(error, match=message) as caught:
        kind(**{**TIME, **options})
    assert isinstance(caught.value, ConfigurationError)


REFUSED_JOINTLY = [
    ({"F": 100}, ValueError, "cannot exceed input length"),
    ({"Q_fr": 0}, ValueError, "Q_fr must always be >= 1"),
    ({"Q_fr": [1]}, ValueError, "Q_fr must be an integer or a tuple"),
    ({"Q_fr": (1, 2)}, NotImplementedError, "beyond order 2"),
    ({"stride_fr": 3}, ValueError, "power of two"),
    ({"stride_fr": 16}, ValueError, "stride_fr must divide the 56 rows .* use 8 or less"),
    ({"F": "global", "stride_fr": 2}, ValueError, "incompatible"),
    ({"format": "both"}, ValueError, "format must be 'time' or 'joint'"),
    ({"format": "joint", "F": 0}, ValueError, "Cannot convert to format='joint'"),
    ({"format": "joint", "F": 8}, ValueError, "Set stride_fr=4 or less"),
    ({"T": 0}, ValueError, "out_type='array' with T=0"),
    ({"out_type": "tuple"}, ValueError, "out_type must be one of"),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED_JOINTLY, ids=str)
def test_refused_joint_settings(options, error, message):
    with pytest.raises(error, match=message) as caught:
        tensors.TimeFrequencyScattering(**{**JOINT, **options})(noise(300))
    assert isinstance(caught.value, ConfigurationError)


IMAGE = arrays.Scattering2D(2, (8, 8))
REFUSED_INPUTS = [
    (tensors.Scattering1D(**TIME), torch.zeros(()), ValueError, "at least one axis"),
    (tensors.Scattering1D(**TIME), torch.zeros(200), RuntimeError, "should have 300 samples"),
    (tensors.Scattering1D(**TIME), None, TypeError, "input should be a PyTorch Tensor"),
    (tensors.Scattering1D(**TIME), torch.zeros(600)[::2], RuntimeError, "must be contiguous"),
    (arrays.Scattering1D(**TIME), np.zeros(300, int), TypeError, "input should be real"),
    (arrays.Scattering1D(**TIME), [0.0] * 300, TypeError, "input should be a NumPy array"),
    (IMAGE, np.zeros(8), RuntimeError, "array must have at least two dimensions"),
    (IMAGE, np.zeros((8, 9)), RuntimeError, "NumPy array must be of spatial size"),
    (
        arrays.Scattering2D(2, (8, 8), pre_pad=True),
        np.zeros((8, 8)),
        RuntimeError,
        "Padded array must be of spatial size",
    ),
    (
        tensors.Scattering2D(2, (8, 8), out_type="dict"),
        torch.zeros(8, 8),
        RuntimeError,
        "out_type must be one of",
    ),
]


@pytest.mark.parametrize(("scattering", "x", "error", "message"), REFUSED_INPUTS, ids=range(10))
def test_refused_inputs(scattering, x, error, message):
    with pytest.raises(error, match=message) as caught:
        scattering(x)
    assert isinstance(caught.value, InputError | ConfigurationError)


def test_what_is_not_offered():
    with pytest.raises(RuntimeError, match="smallest dimension"):
        tensors.Scattering2D(4, (8, 8))
    for module in (entry, tensors, arrays, estimators):
        with pytest.raises(
            NotImplementedError, match="HarmonicScattering3D is not offered"
        ) as error:
            module.HarmonicScattering3D(J=2, shape=(8, 8, 8))
        assert isinstance(error.value, MultipathError)


def test_settings_reach_the_native_transform():
    scattering = tensors.Scattering1D(**TIME, T=48, stride=16)
    x = noise(300)
    native = Scattering1D(300, J=5, Q=(4, 1), T=48, stride=16)
    assert torch.equal(scattering(x), torch.stack(native(x), dim=-2))
