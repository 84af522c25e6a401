"""What the tests of the scattering engine share."""

import torch

DOUBLE = torch.zeros((), dtype=torch.float64)


def scalar(a, b):
    """Real scalar product."""
    return (a * b.conj()).real.sum()


def assert_near(actual, expected, tolerance=1e-12):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()
