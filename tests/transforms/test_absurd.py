"""Settings that would fill the memory, or never end, are refused at once."""

import numpy as np
import pytest
import torch

from multipath import PathTable, SlicedWasserstein, StochasticLoss
from multipath.applications.losses.random_resolutions import RandomResolutionLoss
from multipath.errors import ConfigurationError
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    WaveletPacket,
    WaveletTransform,
)

B = 10**30
CASES = {
    "J of images": lambda: Scattering2D((8, 8), J=B),
    "angles": lambda: Scattering2D((8, 8), J=1, L=10**7),
    "size of images": lambda: Scattering2D((10**6, 10**6), J=1),
    **{
        f"{name} of {kind.__name__}": lambda kind=kind, options=options: kind(**options)
        for kind in (Scattering1D, JTFS)
        for name, options in {
            "J": {"n_samples": 256, "J": B},
            "Q": {"n_samples": 256, "J": 3, "Q": B},
            "many Q": {"n_samples": 2**20, "J": 12, "Q": 2**19},
            "T": {"n_samples": 256, "J": 3, "T": B},
            "n_samples": {"n_samples": 10**18, "J": 3},
        }.items()
    },
    "J_fr": lambda: JTFS(256, J=3, J_fr=62),
    "Q_fr": lambda: JTFS(256, J=3, Q_fr=10**7),
    "level": lambda: WaveletTransform(level=10**9),
    "packets": lambda: WaveletPacket(level=40),
    "projections": lambda: SlicedWasserstein(2, n_projections=10**12),
    "dimensions": lambda: SlicedWasserstein(10**12),
    "paths": lambda: PathTable(10**18),
    "draws": lambda: StochasticLoss(QuadraticLoss(4), n_draws=10**12),
    "draws of evaluation": lambda: StochasticLoss(QuadraticLoss(4), eval_draws=10**12),
    "FFT": lambda: MultiResolutionSTFT([2**40], [2**38], [2**40]),
    "resolutions": lambda: RandomResolutionLoss(16, 64, 10**12),
    "range": lambda: Importance(range(10**12)),
    "array": lambda: Importance(np.broadcast_to(1.0, (2**40,))),
    "view": lambda: Importance(torch.ones(()).expand(2**40)),
    "sparse": lambda: Importance(torch.ones(4).to_sparse()),
    "meta": lambda: Importance(torch.ones(4, device="meta")),
}


@pytest.mark.parametrize("name", CASES)
def test_absurd_settings_are_refused_in_one_line(name):
    with pytest.raises(ConfigurationError) as refused:
        CASES[name]()
    assert "\n" not in str(refused.value)
