"""
A first loss: how fast is this tremolo?
=======================================

A tone trembles, and we want to know how many times per second. A spectrogram distance cannot tell
us, because our tone and the target do not tremble in step. A scattering transform measures *how
fast* and not *when*, path by path, and a few of its paths per step are enough to learn from.
"""

import matplotlib.pyplot as plt
import torch

from multipath import StochasticLoss, TransformLoss
from multipath.applications.audio.players import Players
from multipath.transforms import MultiResolutionSTFT, Scattering1D

n_steps = 200
sample_rate = 4096.0
n_samples = 8192  # two seconds

# %%
# The target trembles 7 times per second. We start from four guesses, which have another phase.

time = torch.arange(n_samples) / sample_rate
fade = torch.sin(torch.pi * torch.arange(n_samples) / n_samples) ** 2
carrier = sum(torch.sin(2 * torch.pi * 220 * k * time) / k for k in (1, 2, 3, 4))


def tremolo(rates, phase=0.0):
    """Tones of shape (batch, n_samples), for rates in Hz of shape (batch,)."""
    loudness = 1 - torch.cos(2 * torch.pi * rates[:, None] * time + phase)
    return 0.25 * fade * carrier * loudness


truth = torch.tensor([7.0])
guesses = torch.tensor([2.5, 4.5, 11.0, 18.0])
target = tremolo(truth, phase=2.0).expand(len(guesses), -1)

Players({"target": target[0], "guess of 18 Hz": tremolo(guesses)[3]}, sample_rate)

# %%
# A transform knows its paths. Those of scattering over time have a frequency and, in the second
# order, a rate: how fast the loudness around that frequency varies. This is their table, and any
# loss has one.

transform = Scattering1D(n_samples, J=10, Q=(8, 1), T=4096, sample_rate=sample_rate)
transform.paths

# %%
# ``TransformLoss`` makes it a loss between signals: the mean over all paths of a distance.
# ``StochasticLoss`` draws a few of them at each call and weights them so that the expected value is
# the full loss. ``for_training`` looks at the targets first, and draws loud paths more often.

loss = TransformLoss(transform)
criterion = StochasticLoss.for_training(loss, target[:1], n_draws=8, generator=0)
draw = criterion.new_draw()
draw

# %%
# An estimate is the weighted sum of the losses on the paths drawn. A single one may be far off, but
# their mean is the full loss.

start = tremolo(guesses)
with torch.no_grad():
    each = loss.path_losses(start, target, range(len(loss.paths))).mean(dim=1)
draws = [criterion.new_draw() for _ in range(2000)]
estimates = torch.stack([(d.weights * each[d.indices]).sum() for d in draws])
estimates = estimates / each.mean()
print(f"estimates / full loss: {estimates.mean():.2f} ± {estimates.std():.2f}")

# %%
# Training is as with any other loss. We do the same with a spectrogram distance, of which we
# compute all paths.


def descend(criterion):
    """Return the rates at every step, shape (n_steps + 1, 4)."""
    octaves = guesses.log2().requires_grad_()
    optimizer = torch.optim.Adam([octaves], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    history = [guesses]
    for _ in range(n_steps):
        optimizer.zero_grad()
        criterion(tremolo(octaves.exp2()), target).backward()
        optimizer.step()
        schedule.step()
        history.append(octaves.detach().exp2())
    return torch.stack(history)


resolutions = MultiResolutionSTFT([128, 256, 512], [32, 64, 128], [128, 256, 512])
spectrogram = TransformLoss(resolutions, distance="l1")
runs = {
    "spectrogram, all paths": descend(spectrogram),
    "scattering, 8 paths per step": descend(criterion),
}
for name, history in runs.items():
    found = ", ".join(f"{rate:.2f}" for rate in history[-1].tolist())
    print(f"{name}: {found} Hz")

# %%
# This is what became of the guess of 18 Hz.

sounds = {name: tremolo(history[-1])[3] for name, history in runs.items()}
Players({"target": target[0], **sounds}, sample_rate)

# %%
# On the left, the losses over the rate. That of spectrograms has a peak at the truth, where the two
# are out of step from beginning to end, and valleys where they partly coincide. On the right, the
# way from each guess.

rates = truth * 2 ** torch.linspace(-2, 1.5, 29)[:, None]  # Hz
with torch.no_grad():
    curves = {
        "spectrogram": [spectrogram(tremolo(r), target[:1]).item() for r in rates],
        "scattering": [loss(tremolo(r), target[:1]).item() for r in rates],
    }
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
colors = ("tab:orange", "tab:blue")
for (name, values), color in zip(curves.items(), colors, strict=True):
    left.plot(rates[:, 0], torch.tensor(values) / max(values), color=color, label=name)
for (name, history), color in zip(runs.items(), colors, strict=True):
    right.plot(history[:, 0], color=color, linewidth=1.2, label=name)
    right.plot(history[:, 1:], color=color, linewidth=1.2)
left.axvline(truth.item(), color="0.6", linestyle=":")
right.axhline(truth.item(), color="0.6", linestyle=":")
left.set(xscale="log", xlabel="rate (Hz)", ylabel="loss, relative to its largest")
left.set_xticks([2, 4, 7, 11, 18], ["2", "4", "7", "11", "18"])
left.minorticks_off()
right.set(yscale="log", xlabel="step", ylabel="rate (Hz)")
right.set_yticks([2.5, 4.5, 7, 11, 18], ["2.5", "4.5", "7", "11", "18"])
right.minorticks_off()
for axes in (left, right):
    axes.legend(frameon=False)
plt.show()
