"""Golden values, see `make_golden.py`; `load` gives one file with its signals drawn again."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def noise(seed, n_samples):
    """The white noise that the golden values were computed on."""
    return np.random.default_rng(int(seed)).standard_normal(n_samples).astype(np.float32)


def load(name):
    """Fields of `<name>.npz` as attributes; `settings` a dict, `keys` tuples, `x` the input."""
    with np.load(Path(__file__).parent / f"{name}.npz") as file:
        fields = {key: file[key] for key in file.files}
    settings = json.loads(str(fields.pop("settings")))
    settings["Q"] = tuple(settings["Q"])
    keys = [tuple(n for n in key if n >= 0) for key in fields.pop("keys").tolist()]
    x = noise(fields["seed"], settings["n_samples"])
    np.testing.assert_array_equal(x[:8], fields.pop("input_head"), "numpy draws other noise")
    if "values" in fields:
        fields["values"] = fields["values"].reshape(len(fields["stored"]), -1)
    return SimpleNamespace(settings=settings, keys=keys, x=x, **fields)
