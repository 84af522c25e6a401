"""
What a synthesizer's parameters sound like
==========================================

The metric of the parameters says how far a small change moves the sound. An ellipse holds all the
parameters that sound equally far from its centre: where it is long, they are hard to tell apart.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from multipath import TransformLoss
from multipath.applications.audio.players import Players
from multipath.applications.synths.chirplet import ChirpletRanges, ChirpletSynth
from multipath.metric import parameter_metric
from multipath.transforms import JTFS, MultiResolutionSTFT

n_steps = 4
n_samples, sample_rate = 2048, 2048.0

# %%
# A chirplet has two parameters: the rate of its amplitude modulation and the speed of its frequency
# modulation, both on a scale from 0 to 1.

ranges = ChirpletRanges(am=(4.0, 16.0), fm=(2.0, 8.0))
synth = ChirpletSynth(ranges, n_samples=n_samples, sample_rate=sample_rate, f0=256.0)
grid = torch.linspace(0.1, 0.9, n_steps)  # ellipses along each side
theta = torch.cartesian_prod(grid, grid)
corners = {
    f"AM {am:.1f}, FM {fm:.1f}": (am, fm) for am in (0.1, 0.9) for fm in (0.1, 0.9)
}

Players(
    dict(zip(corners, synth(torch.tensor([*corners.values()])), strict=True)),
    sample_rate,
)

# %%
# Joint time-frequency scattering hears rates and speeds, spectrograms the places of the energy. The
# squared distances of both have a metric at each point.

losses = {
    "joint scattering": TransformLoss(
        JTFS(
            n_samples,
            J=8,
            Q=(8, 1),
            J_fr=3,
            Q_fr=1,
            T=512,
            F=8,
            sample_rate=sample_rate,
        )
    ),
    "spectrograms": TransformLoss(
        MultiResolutionSTFT([64, 256, 1024], [16, 64, 256], [64, 256, 1024])
    ),
}
metrics = {name: parameter_metric(loss, synth, theta) for name, loss in losses.items()}
for name, metric in metrics.items():
    eigenvalues = torch.linalg.eigvalsh(metric)
    ratio = (eigenvalues[:, 1] / eigenvalues[:, 0]).sqrt()
    print(f"{name}: ellipses are {ratio.median():.1f} times longer than wide (median)")

# %%
# The quadratic form predicts the loss nearby.

for name, loss in losses.items():
    error = 0.01 * torch.randn(theta.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        value = loss(synth(theta + error), synth(theta), "none")
    predicted = torch.einsum("bu,buv,bv->b", error, metrics[name], error)
    print(
        f"{name}: loss / prediction {float((value / predicted).median()):.2f} (median)"
    )

# %%
# Ellipses of one plot have the same distance from their centres.

figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", sharey=True)
circle = torch.linspace(0, 2 * np.pi, 100)
circle = torch.stack([circle.cos(), circle.sin()])
for axis, (name, metric) in zip(axes, metrics.items(), strict=True):
    values, vectors = torch.linalg.eigh(metric)
    size = 0.08 * values.prod(dim=1).pow(0.25).median()
    outlines = (vectors * (size / values.sqrt())[:, None]) @ circle
    for centre, outline in zip(theta, outlines, strict=True):
        axis.plot(*(centre[:, None] + outline), color="tab:purple", linewidth=1)
    axis.plot(*theta.T, ".", color="0.3", markersize=3)
    axis.set(title=name, xlabel="AM (0 to 1)", xlim=(-0.1, 1.1), ylim=(-0.1, 1.1))
axes[0].set_ylabel("FM (0 to 1)")
plt.show()
