"""Losses of which the variance is estimated."""

import torch

from multipath import Path, PathDecomposedLoss, PathTable


def table_with(columns):
    return PathTable(
        Path(i, metadata={name: values[i] for name, values in columns.items()}, cost=1 + i % 2)
        for i in range(6)
    )


PLANE = {
    "rate": [1.0, 1.0, 2.0, 2.0, 4.0, 400.0],
    "scale": [0.5, 0.5, 0.5, 0.0, 0.5, 0.5],
    "spin": [1, -1, 1, 0, -1, 1],
}


class Linear(PathDecomposedLoss):
    """The gradients are given: L_p = <gradients[p], x>."""

    def __init__(self, gradients, **options):
        super().__init__(len(gradients), **options)
        self.gradients = gradients

    def path_losses(self, input, target, indices):
        return self.gradients[list(indices)] @ input.T


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, 3, generator=generator, dtype=torch.float64).unbind()
