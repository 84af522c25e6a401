r"""
Denoising by statistics
=======================

A recording :math:`d` is a sound with noise, and all we know of the noise is its law. We look for a
signal :math:`u` such that :math:`u` *with fresh noise* has the scattering coefficients of
:math:`d`. The loss is random whatever we do, since each step adds other noise. So it costs little
to let the paths be random as well, and to spend on more noise what this saves.
"""

import matplotlib.pyplot as plt
import torch

from multipath import StatisticsLoss, StochasticLoss, TransformLoss
from multipath.applications.audio.players import Players
from multipath.samplers import Uniform
from multipath.transforms import Scattering1D

n_steps = 300
n_samples, level = 4096, 0.3  # the level of the noise, which is known
sample_rate = 8192  # Hz, for listening only

# %%
# Bursts of hiss, in steady hiss as loud: no spectrum tells the one from the other.

generator = torch.Generator().manual_seed(0)
time = torch.arange(n_samples) / n_samples
envelope = torch.exp(-40 * (time % 0.125))
clean = torch.randn(n_samples, generator=generator) * envelope


def noise(n_items):
    return level * torch.randn(n_items, n_samples, generator=generator)


recording = clean + noise(1)[0]

Players({"clean sound": clean, "recording": recording}, sample_rate)

# %%
# There is no target signal: ``StatisticsLoss`` is given the coefficients of the recording, and
# divides by how far they typically stray with the noise. Paths that noise hardly moves count most.

transform = Scattering1D(n_samples, J=7, Q=(8, 1), T=128)
with torch.no_grad():
    spread = [c.std(dim=0).mean() for c in transform(recording + noise(16))]
    loss = StatisticsLoss(transform, transform(recording), scale=spread)
criterion = StochasticLoss(loss, Uniform(replacement=False), n_draws=8, generator=0)
print(f"{criterion.n_draws} of {len(loss.paths)} paths and 4 noises per step")

# %%
# Adam changes the samples, starting from the recording.

signal = recording.clone().requires_grad_()
optimizer = torch.optim.Adam([signal], lr=0.02)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
losses = []
for _ in range(n_steps):
    optimizer.zero_grad()
    value = criterion(signal + noise(4))
    value.backward()
    optimizer.step()
    schedule.step()
    losses.append(value.item())
found = signal.detach()

# %%
# For comparison, a spectral gate: what is quieter than the noise in a spectrogram is set to 0.


def gate(x):
    window = torch.hann_window(256)
    spectrum = torch.stft(x, 256, 64, window=window, return_complex=True)
    threshold = 3 * level * window.square().sum().sqrt()
    kept = spectrum * (spectrum.abs() > threshold)
    return torch.istft(kept, 256, 64, window=window, length=len(x))


def decibels(x):
    error = (x - clean).square().sum()
    return 10 * torch.log10(clean.square().sum() / error).item()


sounds = {
    "recording": recording,
    "found": found,
    "spectral gate": gate(recording),
}
wanted = TransformLoss(transform)
with torch.no_grad():
    silence = wanted(0 * clean, clean)
    for name, x in sounds.items():
        off = 100 * (wanted(x, clean) / silence).sqrt()
        print(
            f"{name}: {decibels(x):.1f} dB of signal to noise, "
            f"coefficients off by {off:.0f} %"
        )

# %%
# Sample by sample, both are about as far from the clean sound. But the coefficients of what was
# found are off by half as much.
#
# **When not.** For tones in noise a spectral gate is better, and costs nothing: of chirps and beeps
# it made 13.9 dB of signal to noise, and this 9.6. A network trained on many sounds knows more than
# one recording can tell. The law of the noise has to be known. What is found has the *coefficients*
# of the sound: its phases, and all else that the transform does not see, need not be right, and a
# little of the noise at hand is fitted as well. And only because each evaluation is random anyway
# do random paths cost so little here: where a loss can reach 0, L-BFGS on all paths is far better,
# as in ``multipath resynthesize``.

figure, axes = plt.subplots(
    4, 1, figsize=(8, 7), sharex=True, sharey=True, layout="constrained"
)
shown = {**sounds, "clean sound": clean}
for axis, (title, x) in zip(axes, shown.items(), strict=True):
    axis.plot(time, x, linewidth=0.5)
    axis.set(title=title, ylabel="amplitude")
axes[-1].set_xlabel("time")
plt.show()

# %%
# The same to listen to.

Players(shown, sample_rate)

# %%
# The loss of 8 paths with 4 noises at each step.

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
axis.semilogy(losses, linewidth=1)
axis.set(xlabel="step", ylabel="loss of 8 paths")
plt.show()
