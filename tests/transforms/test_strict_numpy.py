"""Whatever numpy and warnings are told to report, filters are the same, bit for bit."""

import warnings

import numpy as np
import pytest
import torch

from multipath.transforms import MultiResolutionSTFT

from .cases import TRANSFORMS, N, fitting, noise, shared

WINDOWS = {
    "gaussian": lambda: MultiResolutionSTFT([256, 511], window=("gaussian", 1.0)),
    "kaiser": lambda: MultiResolutionSTFT([256, 511], window=("kaiser", 300.0)),
}


def filters(transform):
    buffers = dict(transform.named_buffers())
    return {name: value.numpy().tobytes() for name, value in buffers.items()}


@pytest.mark.parametrize("name", [*TRANSFORMS, *WINDOWS])
def test_transforms_are_built_and_used_under_any_settings_of_numpy(name):
    make = WINDOWS[name] if name in WINDOWS else TRANSFORMS[name]
    expected = WINDOWS[name]() if name in WINDOWS else shared(name)
    x = fitting(expected, noise(2, N))
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        made = make()
        found = made(x)
        assert np.geterr()["under"] == "raise"
    assert filters(made) == filters(expected)
    for ours, theirs in zip(found, expected(x), strict=True):
        assert torch.equal(ours, theirs)
