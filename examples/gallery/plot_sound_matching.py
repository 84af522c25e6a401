"""
Sound matching: how fast does a chirplet beat and rise?
=======================================================

The pitch of a chirplet rises while its loudness beats. We look for its two parameters, AM (Hz) and
FM (octaves/s), by gradient descent through the synthesizer. The catch is that we do not know *when*
it sounds. A spectrogram distance compares frame by frame and fails; the joint time-frequency
scattering transform (JTFS) measures modulations wherever they are.
"""

import matplotlib.pyplot as plt
import torch

from multipath import StochasticLoss, TransformLoss
from multipath.applications.audio.players import Players
from multipath.applications.synths.chirplet import ChirpletRanges, ChirpletSynth
from multipath.transforms import JTFS, MultiResolutionSTFT

n_steps = 250
sample_rate = 1024.0
n_samples = 2048  # two seconds

# sphinx_gallery_thumbnail_number = 2

# %%
# The target is 0.15 s late, and we start from six guesses. The synthesizer takes parameters between
# 0 and 1 and maps them logarithmically to these ranges. The sounds are low: we hear them at four
# times the speed, two octaves higher.

ranges = ChirpletRanges(am=(4.0, 16.0), fm=(1.0, 4.0))
synth = ChirpletSynth(ranges, n_samples=n_samples, sample_rate=sample_rate, f0=128.0)
truth = torch.tensor([[0.5, 0.5]])
target = synth(truth, shift=torch.tensor([int(0.15 * sample_rate)])).expand(6, -1)
guesses = torch.cartesian_prod(torch.tensor([0.1, 0.9]), torch.tensor([0.1, 0.5, 0.9]))
number = 5  # the guess that we follow

Players({"target": target[0], "guess": synth(guesses)[number]}, 4 * sample_rate)

# %%
# We compare two losses. The spectrogram has three paths, its resolutions, and computes them all.
# JTFS has dozens, of which each step draws four, loud ones more often.

resolutions = MultiResolutionSTFT([64, 128, 256], [16, 32, 64], [64, 128, 256])
spectrogram = TransformLoss(resolutions, distance="l1")
jtfs = TransformLoss(
    JTFS(n_samples, J=8, Q=(8, 1), J_fr=3, Q_fr=1, T=1024, F=8, sample_rate=sample_rate)
)
draws = StochasticLoss.for_training(jtfs, target[:1], n_draws=4, generator=0)
print(f"{draws.n_draws} of {len(jtfs.paths)} JTFS paths per step")

# %%
# Both losses are minimised in the same way.


def descend(criterion):
    """Return the parameters at every step (Hz, octaves/s), the last (0 to 1) and the losses."""
    theta = guesses.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    history, losses = [guesses], []
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss = criterion(synth(theta), target)
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            theta.clamp_(0.0, 1.0)
        history.append(theta.detach().clone())
        losses.append(loss.item())
    return synth.physical(torch.stack(history)), history[-1], losses


runs = {
    "spectrogram, all paths": descend(spectrogram),
    "JTFS, 4 paths per step": descend(draws),
}

# %%
# The parameters found, in physical units:

am, fm = synth.physical(truth)[0].tolist()
print(f"{'':24}AM (Hz)      FM (octaves/s)")
print(f"{'truth':24}{am:<13.2f}{fm:.2f}")
for name, (history, *_) in runs.items():
    for am_found, fm_found in history[-1].tolist():
        print(f"{name:24}{am_found:<13.2f}{fm_found:.2f}")

# %%
# This is what became of one of the guesses. JTFS is not disturbed by the delay of the target,
# whereas the spectrogram fitted whatever happened to overlap.


def show(axis, theta, title, delay=0):
    sound = synth(theta[None], shift=torch.tensor([delay]))[0].detach()
    settings = {"mode": "magnitude", "scale": "linear", "cmap": "magma"}
    axis.specgram(sound.numpy(), NFFT=128, noverlap=124, Fs=sample_rate, **settings)
    axis.set(title=title, xlabel="time (s)", xlim=(0.5, 1.7), ylim=(0, 350))


found = {name: theta[number] for name, (_, theta, _) in runs.items()}
figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained", sharey=True)
show(axes[0], truth[0], "target", int(0.15 * sample_rate))
show(axes[1], guesses[number], "guess")
for axis, (name, theta) in zip(axes[2:], found.items(), strict=True):
    show(axis, theta, f"found: {name}")
axes[0].set_ylabel("frequency (Hz)")
plt.show()

# %%
# The same to listen to.

sounds = {f"found: {name}": synth(theta[None])[0] for name, theta in found.items()}
Players({"target": target[0], **sounds}, 4 * sample_rate)

# %%
# On the left is the way from each guess (dots) to where it ended (crosses). On the right are the
# losses, relative to the first: that of random paths is noisy, and still leads to the target, here
# from all six guesses. That need not be so: any loss may have local minima, which
# ``multipath.diagnostics.loss_landscape`` shows.

colors = dict(zip(runs, ("tab:orange", "tab:blue"), strict=True))
figure, (plane, errors, curves) = plt.subplots(
    1, 3, figsize=(13, 4), layout="constrained"
)
for name, (history, _, losses) in runs.items():
    color = colors[name]
    for way in history.unbind(dim=1):
        plane.plot(way[:, 0], way[:, 1], color=color, linewidth=1.5, alpha=0.8)
        plane.plot(*way[-1], "x", color=color, markersize=8, markeredgewidth=2)
    octaves = (history / history.new_tensor([am, fm])).log2().abs().mean(dim=(1, 2))
    errors.plot(octaves, color=color, label=name)
    curves.plot([loss / losses[0] for loss in losses], color=color, linewidth=1)
plane.plot(*synth.physical(guesses).T, "o", color="0.4", markersize=5)
plane.plot(am, fm, "*", color="black", markersize=16, zorder=5)
plane.annotate("target", (am, fm), (8, 8), textcoords="offset points")
plane.set(xscale="log", yscale="log", xlabel="AM (Hz)", ylabel="FM (octaves/s)")
plane.set_xticks([4, 8, 16], ["4", "8", "16"])
plane.set_yticks([1, 2, 4], ["1", "2", "4"])
plane.minorticks_off()
plane.set_title("from six guesses")
errors.set(
    xlabel="step", ylabel="mean error (octaves)", title="error of the parameters"
)
errors.set_ylim(bottom=0)
errors.legend(frameon=False)
curves.set(xlabel="step", ylabel="loss / first loss", title="loss", yscale="log")
plt.show()
