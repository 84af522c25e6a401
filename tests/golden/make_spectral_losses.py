"""Golden values of the multi-scale spectral losses, computed once with auraloss.

In the environment of make_golden.py:

    peers/bin/python tests/golden/make_spectral_losses.py        # a second

`spectral_losses.npz` holds, for `input` and `target` (2, 4096), noises of one and of a tenth of the
size drawn from `seed`, the second target silent after 1000 samples:

    linear, log                the losses, averaged over the two items
    gradient_linear, _log      with respect to the input, every 16th sample
    resolutions                JSON list of (fft, hop, win, window)
    resolution_<i>             the loss of the first item alone: spectral convergence plus
                               logarithms. Norms of auraloss run over the whole batch
    versions                   JSON text
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from auraloss.freq import MultiResolutionSTFTLoss, STFTLoss

SEED = 31
SIZES = [64, 128, 256, 512, 1024, 2048]
RESOLUTIONS = [
    (16, 1, 4, "hann"),
    (256, 250, 64, "bartlett"),
    (512, 100, 256, "blackman"),
    (1024, 700, 1024, "hamming"),
    (128, 13, 32, "kaiser"),
]


def sounds():
    generator = np.random.default_rng(SEED)
    x = generator.standard_normal((2, 4096)).astype(np.float32)
    y = 0.1 * generator.standard_normal((2, 4096)).astype(np.float32)
    y[1, 1000:] = 0
    return torch.from_numpy(x), torch.from_numpy(y)


def main():
    x, y = sounds()
    arrays = {
        "seed": SEED,
        "input_head": x[0, :8].numpy(),
        "resolutions": json.dumps(RESOLUTIONS),
        "versions": json.dumps({name: version(name) for name in ("auraloss", "torch", "numpy")}),
    }
    for name, weight in (("linear", 0.0), ("log", 1.0)):
        loss = MultiResolutionSTFTLoss(
            SIZES, [n // 4 for n in SIZES], SIZES, w_sc=0.0, w_log_mag=weight, w_lin_mag=1.0
        )
        leaf = x.clone().requires_grad_()
        value = loss(leaf[:, None], y[:, None])
        (gradient,) = torch.autograd.grad(value, leaf)
        arrays[name] = value.item()
        arrays[f"gradient_{name}"] = gradient[:, ::16].numpy()
    for index, (fft, hop, win, window) in enumerate(RESOLUTIONS):
        loss = STFTLoss(fft, hop, win, f"{window}_window")
        arrays[f"resolution_{index}"] = loss(x[:1, None], y[:1, None]).item()
    np.savez_compressed(Path(__file__).parent / "spectral_losses.npz", **arrays)


if __name__ == "__main__":
    main()
