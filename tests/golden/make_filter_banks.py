"""Golden values of frequency scales and of the A-weighting, computed once with librosa.

In an environment with librosa 0.11:

    python tests/golden/make_filter_banks.py        # a second

`filter_banks.npz` holds

    settings              JSON list of (kind, sample rate, FFT size, bands)
    bank_<i>              a thousand weights at most, every n-th of the flattened bank
    shape_<i>, sums_<i>   the shape, and the sums of the rows
    weighting_settings    JSON list of sample rate and FFT size
    weighting             gains of the bins from the first on
    versions              JSON text
"""

import json
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np

SETTINGS = [
    ("mel", 44100, 2048, 128),
    ("mel", 16000, 511, 20),
    ("mel", 1500.5, 64, 5),
    ("chroma", 44100, 2048, 12),
    ("chroma", 22050, 513, 24),
    ("chroma", 8000, 256, 5),
]
WEIGHTING = (44100, 512)


def bank(kind, rate, fft, bands):
    if kind == "mel":
        return librosa.filters.mel(sr=rate, n_fft=fft, n_mels=bands, dtype=np.float64)
    return librosa.filters.chroma(sr=rate, n_fft=fft, n_chroma=bands, dtype=np.float64)


def main():
    arrays = {
        "settings": json.dumps(SETTINGS),
        "weighting_settings": json.dumps(WEIGHTING),
        "versions": json.dumps({name: version(name) for name in ("librosa", "numpy")}),
    }
    for index, settings in enumerate(SETTINGS):
        values = bank(*settings)
        arrays[f"bank_{index}"] = values.ravel()[:: -(-values.size // 1000)]
        arrays[f"shape_{index}"] = values.shape
        arrays[f"sums_{index}"] = values.sum(axis=1)
    frequencies = librosa.fft_frequencies(sr=WEIGHTING[0], n_fft=WEIGHTING[1])[1:]
    arrays["weighting"] = 10 ** (librosa.A_weighting(frequencies, min_db=None) / 20)
    np.savez_compressed(Path(__file__).parent / "filter_banks.npz", **arrays)


if __name__ == "__main__":
    main()
