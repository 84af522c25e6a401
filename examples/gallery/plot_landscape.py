r"""
Which parameter can a loss teach?
=================================

Tones of unknown pitch and level. Three losses tell any two of them apart; which of them could lead
an encoder to the right pitch? :func:`~multipath.diagnostics.loss_landscape` shows it without
training one (:doc:`/landscape`).
"""

import matplotlib.pyplot as plt
import torch

from multipath import CombinedLoss, TransformLoss
from multipath.applications.audio.players import Players
from multipath.diagnostics import loss_landscape
from multipath.transforms import JTFS, MultiResolutionSTFT

n_samples, sample_rate = 1024, 2048.0
points = 11


def tone(theta, phase):
    """Tones of 50 to 450 Hz; the guesses have phases of their own."""
    pitch, level = 50 * 9 ** theta[:, :1], theta[:, 1:]
    time = torch.arange(n_samples) / sample_rate
    return (0.1 + level) * torch.sin(2 * torch.pi * pitch * time + phase)


generator = torch.Generator().manual_seed(0)
theta = torch.rand(12, 2, generator=generator)
phases = 6.28 * torch.rand(2, 12, 1, generator=generator)
targets = tone(theta, phases[0])

Players({f"target {i}": targets[i] for i in range(3)}, sample_rate)

# %%
# A spectrogram has a narrow valley for each pitch, and a plain around it, on which nothing points
# the way. Averages over an octave widen the valley.

jtfs = TransformLoss(
    JTFS(n_samples, J=6, Q=(8, 1), J_fr=3, Q_fr=1, T=1024, F=8, orders=(1, 2))
)
losses = {
    "spectrogram": TransformLoss(MultiResolutionSTFT([512])),
    "JTFS": jtfs,
    "JTFS, plain and compressed": CombinedLoss.with_compression(jtfs, targets),
}
landscapes = {}
for name, loss in losses.items():
    batch = (theta, targets, phases[1])
    landscapes[name] = loss_landscape(
        loss, tone, batch, points=points, names=["pitch", "level"]
    )
    print(name, landscapes[name], sep="\n", end="\n\n")

# %%
# For each loss, the mean over the tones of low, middle and high pitch.

figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for axes, (name, landscape) in zip(panels, landscapes.items(), strict=True):
    for low, high in landscape.parts("pitch"):
        curve = landscape.curve("pitch", low, high)
        label = f"pitch from {low:.2f} to {min(high, 1.0):.2f}"
        axes.plot(landscape.grid, curve / curve.max(), label=label)
    axes.set(title=name, xlabel="guess of the pitch", ylim=(0, 1.05))
panels[0].set_ylabel("loss, relative to its largest")
panels[0].legend(frameon=False, fontsize=8)
plt.show()
