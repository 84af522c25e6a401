"""A loss whose paths are differences of signals at several scales, with its tests."""

import torch
from torch.nn.functional import adaptive_avg_pool1d

from multipath import Path, PathDecomposedLoss
from multipath.testing import LossTests


class PyramidLoss(PathDecomposedLoss):
    """Mean absolute difference of signals (batch, samples), averaged over 1, 2, 4, ..."""

    def __init__(self, n_scales=4):
        sizes = [2**scale for scale in range(n_scales)]
        super().__init__(Path(i, metadata={"samples": n}) for i, n in enumerate(sizes))

    def path_losses(self, input, target, indices):
        difference = input - target
        sizes = [self.paths[int(i)].metadata["samples"] for i in indices]
        means = [adaptive_avg_pool1d(difference, len(input[0]) // size) for size in sizes]
        return torch.stack([mean.abs().mean(dim=1) for mean in means])


class PyramidTests(LossTests):
    n_paths = 4

    def make_loss(self):
        return PyramidLoss()

    def make_batch(self, generator):
        return torch.randn(2, 3, 64, generator=generator).unbind()
