"""What the tests of the scattering engine share."""

import torch

DOUBLE = torch.zeros((), dtype=torch.float64)


def scalar(a, b):
    """Real scalar product."""
    return (a * b.conj()).real.sum()
