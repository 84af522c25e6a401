"""
Which sampler suits your data?
==============================

All unbiased samplers have the same expected gradient. They differ in noise and in cost, and both
can be computed before training: ``estimate_variance`` evaluates every path once on one batch and
reports what each sampler would have made of it. Then we train, to see whether it was right.
"""

import matplotlib.pyplot as plt
import torch

from multipath import StochasticLoss, TransformLoss
from multipath.applications.audio.players import Players
from multipath.applications.synths.chirplet import ChirpletSynth
from multipath.diagnostics import estimate_variance
from multipath.samplers import Energy, Stratified, Uniform
from multipath.transforms import JTFS

n_steps = 45
sample_rate = 1024.0

# %%
# The targets are chirplets, and the reconstructions are some way off. They are low: we hear them at
# four times the speed, two octaves higher.

generator = torch.Generator().manual_seed(0)
synth = ChirpletSynth(
    "fast-moderate", n_samples=2048, sample_rate=sample_rate, f0=128.0
)
theta = torch.rand(4, 2, generator=generator)
target = synth(theta)
start = (theta + 0.2 * torch.randn(4, 2, generator=generator)).clamp(0, 1)
reconstruction = synth(start)

Players({"target": target[0], "reconstruction": reconstruction[0]}, 4 * sample_rate)

# %%
# The loss has all paths of a small JTFS, among which three samplers choose: all paths alike, loud
# paths more often, or a path of each rate in turn.

transform = JTFS(
    2048, J=8, Q=(8, 2), J_fr=3, Q_fr=2, T=512, F=8, sample_rate=sample_rate
)
loss = TransformLoss(transform)
samplers = {
    "uniform": Uniform(),
    "energy": Energy.from_targets(loss, [target], floor=0.1),
    "stratified": Stratified("rate"),
}
print(len(loss.paths), "paths")

# %%
# We compute exact variances for 1, 4 and 16 paths per step. Gradients are taken with respect to the
# second argument. *Optimal* knows every gradient in advance.

report = estimate_variance(
    loss, reconstruction.requires_grad_(), target, samplers, n_draws=[1, 4, 16]
)
report

# %%
# On the left, lower is better. The right shows why choosing pays: most of the gradient comes from a
# few paths.

best = report.best(by="work", n_draws=4)
print(f"least error for its cost with 4 draws: {best.name}")
plt.figure(report.plot())
plt.show()

# %%
# Now we train: gradient descent through the synthesizer, from where the reconstructions are, three
# times with each of two samplers.


def descend(sampler, seed):
    """Return the mean error of the parameters (0 to 1) at every step."""
    criterion = StochasticLoss(loss, sampler, n_draws=4, generator=seed)
    guess = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([guess], lr=0.03)
    errors = []
    for _ in range(n_steps):
        errors.append((guess.detach() - theta).abs().mean().item())
        optimizer.zero_grad()
        criterion(synth(guess), target).backward()
        optimizer.step()
        with torch.no_grad():
            guess.clamp_(0.0, 1.0)
    return errors


figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, color in {"uniform": "tab:orange", "energy": "tab:blue"}.items():
    curves = torch.tensor([descend(samplers[name], seed) for seed in range(3)])
    axes.plot(curves.T, color=color, linewidth=0.6, alpha=0.6)
    axes.plot(curves.mean(dim=0), color=color, linewidth=2, label=name)
    print(f"{name}: mean error over the run {curves.mean():.4f}")
axes.set(xlabel="step", ylabel="error of the parameters", yscale="log")
axes.legend(frameon=False)
plt.show()
