"""Golden values of the losses that ``multipath.compat.auraloss`` stands in for.

With auraloss's development version (0853e9e) and librosa 0.11 on the path:

    python tests/golden/make_auraloss.py        # seconds

`auraloss.npz` holds, for `input` and `target` (2, 2, 1500) drawn from `seed`:

    settings       JSON list of (module, class, arguments, keyword arguments, dtype); numpy's global
                   generator has the seed 3 before each is made
    values_<i>     all outputs, flattened and joined; every n-th of them, so that a hundred stay
    gradient_<i>   of the sum of all outputs with respect to the input, every 16th sample
    shapes_<i>     JSON text: the nested shapes of the outputs
    versions       JSON text
"""

import json
from importlib.metadata import version
from pathlib import Path

import auraloss
import numpy as np
import torch

SEED = 5
MEL = {"scale": "mel", "sample_rate": 16000}
SETTINGS = [
    ("freq", "STFTLoss", [], {}),
    ("freq", "STFTLoss", [256, 64, 101], {"window": "hamming_window", "mag_distance": "L2"}),
    ("freq", "STFTLoss", [255, 300, 64], {"window": "kaiser_window", "w_lin_mag": 0.3}),
    ("freq", "STFTLoss", [256, 64, 200], {"window": ["kaiser", 8.6], "output": "full"}),
    ("freq", "STFTLoss", [128, 64, 100], {"window": "flattop", "reduction": "none", "w_sc": 0.5}),
    ("freq", "STFTLoss", [255, 64, 200], {"w_phs": 0.5, "output": "full"}),
    ("freq", "STFTLoss", [256, 64, 200], {"log_eps": 1.0, "log_fac": 10.0, "reduction": "sum"}),
    ("freq", "STFTLoss", [256, 64, 200], {"eps": 1.0, "w_sc": 0.0}),
    ("freq", "STFTLoss", [256, 64, 200], {"perceptual_weighting": True, "sample_rate": 22050}),
    ("freq", "MelSTFTLoss", [16000, 511, 100, 400], {"n_mels": 20, "w_lin_mag": 1.0}),
    ("freq", "MultiResolutionSTFTLoss", [], {}),
    (
        *("freq", "MultiResolutionSTFTLoss", [[256, 100], [60, 33], [250, 41]]),
        {"window": "hann", "w_phs": 0.1, "w_lin_mag": 2.0, "output": "full"},
    ),
    (
        *("freq", "MultiResolutionSTFTLoss", [[256, 512], [60, 33], [250, 41]]),
        {"n_bins": 8, "perceptual_weighting": True, **MEL},
    ),
    ("freq", "RandomResolutionSTFTLoss", [], {"max_fft_size": 1024, "w_lin_mag": 0.1}),
    (
        *("freq", "SumAndDifferenceSTFTLoss", [[256, 64], [60, 20], [250, 33], "hamming_window"]),
        {"w_sum": 2.0, "w_diff": 0.5, "output": "full", "eps": 1e-4},
    ),
    ("time", "ESRLoss", [], {"reduction": "none"}),
    ("time", "DCLoss", [], {"eps": 1e-2, "reduction": "sum"}),
    ("time", "LogCoshLoss", [], {"a": 5.0, "eps": 1e-3}),
    ("time", "SNRLoss", [], {}),
    ("time", "SISDRLoss", [False], {"reduction": "none"}),
    ("time", "SDSDRLoss", [], {"eps": 1e-3, "reduction": "sum"}),
]
SINGLE = {"scale", "perceptual_weighting"}  # settings with which auraloss takes float32 only


def sounds(dtype):
    generator = np.random.default_rng(SEED)
    x, noise = generator.standard_normal((2, 2, 2, 1500)).astype(np.float32)
    return torch.from_numpy(x).to(dtype), torch.from_numpy(0.3 * x + 0.5 * noise).to(dtype)


def flat(outputs):
    if isinstance(outputs, list | tuple):
        return torch.cat([flat(part) for part in outputs])
    return torch.as_tensor(outputs, dtype=torch.float64).flatten()


def shapes(outputs):
    if isinstance(outputs, list | tuple):
        return [shapes(part) for part in outputs]
    return list(outputs.shape) if isinstance(outputs, torch.Tensor) else "number"


def main():
    arrays = {"seed": SEED, "versions": json.dumps({n: version(n) for n in ("torch", "librosa")})}
    rows = []
    for index, (module, name, arguments, named) in enumerate(SETTINGS):
        single = "Mel" in name or SINGLE & named.keys()
        dtype = torch.float32 if single else torch.float64
        rows.append([module, name, arguments, named, str(dtype).removeprefix("torch.")])
        np.random.seed(3)  # noqa: NPY002
        if isinstance(named.get("window"), list):
            named = {**named, "window": tuple(named["window"])}
        x, y = sounds(dtype)
        outputs = getattr(getattr(auraloss, module), name)(*arguments, **named)(
            x.requires_grad_(), y
        )
        values = flat(outputs)
        (gradient,) = torch.autograd.grad(values.sum(), x)
        arrays[f"values_{index}"] = values.detach()[:: -(-len(values) // 100)].numpy()
        arrays[f"gradient_{index}"] = gradient[..., ::16].float().numpy()
        arrays[f"shapes_{index}"] = json.dumps(shapes(outputs))
    arrays["settings"] = json.dumps(rows)
    arrays["input_head"] = sounds(torch.float32)[0][0, 0, :8].numpy()
    np.savez_compressed(Path(__file__).parent / "auraloss.npz", **arrays)


if __name__ == "__main__":
    main()
