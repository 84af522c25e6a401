"""Coefficients, keys and gradients are those of kymatio, of either version."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch

from tests import GOLDEN

FILES = {version: np.load(GOLDEN / f"kymatio_{version}.npz") for version in ("0.3", "0.4")}
CASES = {version: json.loads(str(file["cases"])) for version, file in FILES.items()}
NAMES = [(version, name) for version, cases in CASES.items() for name in cases]


def made(version, name, frontend):
    kind, given = CASES[version][name]
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    if version == "0.3":
        settings["version"] = version
    return getattr(import_module(f"multipath.compat.kymatio.{frontend}"), kind)(**settings)


def stored_input(version, scattering):
    shape = scattering.shape
    if getattr(scattering, "pre_pad", False):
        shape = scattering._M_padded, scattering._N_padded
    return np.random.default_rng(int(FILES[version]["seed"])).standard_normal(shape)


def paths(output):
    if isinstance(output, dict):
        return list(output), list(output.values())
    if isinstance(output, list):
        return [path["n"] for path in output], [path["coef"] for path in output]
    return None, [output]


@pytest.mark.parametrize(("version", "name"), NAMES)
def test_arrays(version, name):
    file, scattering = FILES[version], made(version, name, "numpy")
    keys, values = paths(scattering(stored_input(version, scattering)))
    assert json.loads(json.dumps(keys)) == json.loads(str(file[f"{name}_keys"]))
    assert [list(v.shape) for v in values] == json.loads(str(file[f"{name}_shapes"]))
    assert {v.dtype for v in values} == {np.dtype("float64")}
    found = np.concatenate([v.ravel() for v in values])[:: int(file[f"{name}_stride"])]
    expected = file[f"{name}_values"]
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=3e-7 * np.abs(expected).max())


@pytest.mark.parametrize(("version", "name"), NAMES)
def test_tensors_and_gradients(version, name):
    file, scattering = FILES[version], made(version, name, "torch")
    x = torch.from_numpy(stored_input(version, scattering).astype(np.float32)).requires_grad_()
    _, values = paths(scattering(x))
    assert {v.dtype for v in values} == {torch.float32}
    found = torch.cat([v.detach().flatten() for v in values])[:: int(file[f"{name}_stride"])]
    expected = torch.from_numpy(file[f"{name}_values"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.max()))
    sum(v.square().sum() for v in values).backward()
    expected = torch.from_numpy(file[f"{name}_gradient"])
    error = (x.grad.flatten()[::4] - expected).norm()
    assert error <= 1e-5 * expected.norm()
