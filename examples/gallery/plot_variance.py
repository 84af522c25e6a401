"""
Which sampler suits your data?
==============================

All unbiased samplers have the same expected gradient. They differ in noise and in cost, and both
can be computed before training: ``estimate_variance`` evaluates every path once on one batch and
reports what each sampler would have made of it.
"""

import matplotlib.pyplot as plt
import torch

from multipath import TransformLoss
from multipath.applications.synths.chirplet import ChirpletSynth
from multipath.diagnostics import estimate_variance
from multipath.transforms import JTFS

# %%
# The targets are chirplets, and the reconstructions are some way off.

generator = torch.Generator().manual_seed(0)
synth = ChirpletSynth("fast-moderate", n_samples=2048, sample_rate=1024.0, f0=128.0)
theta = torch.rand(4, 2, generator=generator)
target = synth(theta)
reconstruction = synth(
    (theta + 0.2 * torch.randn(4, 2, generator=generator)).clamp(0, 1)
)

# %%
# The loss has all paths of a small JTFS.

transform = JTFS(2048, J=8, Q=(8, 2), J_fr=3, Q_fr=2, T=512, F=8, sample_rate=1024.0)
loss = TransformLoss(transform)
print(len(loss.paths), "paths")

# %%
# We compute exact variances for 1, 4 and 16 paths per step. Gradients are taken with respect to the
# second argument.

report = estimate_variance(
    loss, reconstruction.requires_grad_(), target, n_draws=[1, 4, 16]
)
print(report)
best = report.best(by="work")
print(f"least error for its cost: {best.name}, {best.n_draws} draws")

# %%
# On the left, lower is better; *optimal* knows every gradient in advance. The right shows why
# choosing pays: most of the gradient comes from a few paths.

plt.figure(report.plot())
plt.show()
