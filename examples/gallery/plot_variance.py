"""
Which sampler? Ask your data
============================

Every sampler leads to the same expected gradient. They differ in noise and in price, and both can
be computed before training: ``estimate_variance`` evaluates every path once on one batch and says
what each sampler would have made of it.
"""

import matplotlib.pyplot as plt
import torch

from multipath import TransformLoss
from multipath.applications.synths.chirplet import ChirpletSynth
from multipath.diagnostics import estimate_variance
from multipath.transforms import JTFS

# %%
# Chirplets to match, and reconstructions that are some way off.

generator = torch.Generator().manual_seed(0)
synth = ChirpletSynth("fast-moderate", n_samples=2048, sample_rate=1024.0, f0=128.0)
theta = torch.rand(4, 2, generator=generator)
target = synth(theta)
reconstruction = synth(
    (theta + 0.2 * torch.randn(4, 2, generator=generator)).clamp(0, 1)
)

# %%
# The loss: all paths of a small JTFS.

transform = JTFS(2048, J=8, Q=(8, 2), J_fr=3, Q_fr=2, T=512, F=8, sample_rate=1024.0)
loss = TransformLoss(transform)
print(len(loss.paths), "paths")

# %%
# Exact variances, for 1, 4 and 16 paths a step. The second argument is where gradients begin.

report = estimate_variance(
    loss, reconstruction.requires_grad_(), target, n_draws=[1, 4, 16]
)
print(report)
best = report.best(by="work")
print(f"least error for its price: {best.name}, {best.n_draws} draws")

# %%
# On the left, lower is better; *optimal* knows every gradient beforehand. On the right, why it pays
# to choose: most of the gradient comes from a few paths.

plt.figure(report.plot())
plt.show()
