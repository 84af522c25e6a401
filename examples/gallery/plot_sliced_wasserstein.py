"""
A point cloud turns into a word
===============================

The sliced Wasserstein distance is a mean over directions: for each, project two clouds onto a line,
sort and compare. A path is a direction, and five of two hundred are enough for a step.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from multipath import SlicedWasserstein, StochasticLoss

n_steps = 500
n_points = 2000

# %%
# The target consists of points inside the letters of a word, that is, within an odd number of
# outlines, since some letters have holes. The start is a blob.

letters = TextPath((0, 0), "paths", size=1)
corner, extent = letters.get_extents().min, letters.get_extents().size
points = corner + extent * np.random.default_rng(0).random((20 * n_points, 2))
outlines = [Path(polygon) for polygon in letters.to_polygons()]
crossings = np.sum([outline.contains_points(points) for outline in outlines], axis=0)
inside = points[crossings % 2 == 1][:n_points]
target = torch.tensor(
    (inside - inside.mean(axis=0)) / inside.std(), dtype=torch.float32
)[None]
start = 0.5 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))

# %%
# Each step uses five random directions. The gradient at each of the n points is 1/n of the way that
# it has to go, hence the learning rate.

loss = SlicedWasserstein(dim=2, n_projections=200, generator=0)
criterion = StochasticLoss(loss, n_draws=5, generator=0)
cloud = start.clone().requires_grad_()
optimizer = torch.optim.SGD([cloud], lr=0.5 * n_points)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=n_steps)
snapshots = {0: start}
for step in range(1, n_steps + 1):
    optimizer.zero_grad()
    criterion(cloud, target).backward()
    optimizer.step()
    schedule.step()
    if step in (3, 10, 30, n_steps):
        snapshots[step] = cloud.detach().clone()

for step, points in snapshots.items():
    distance = loss(points, target).sqrt().item()
    print(f"step {step:3}: distance over all directions {distance:.4f}")

# %%
# Colours show where each point began, from left to right. Neighbours stay neighbours.

origin = start[0, :, 0].argsort().argsort()
panels = [
    *((f"step {step}", points) for step, points in snapshots.items()),
    ("target", target),
]
figure, axes = plt.subplots(
    2, 3, figsize=(11, 4.6), layout="constrained", sharex=True, sharey=True
)
for axis in axes.flat:
    axis.set_axis_off()
    axis.set(xlim=(-2.6, 2.6), ylim=(-1.5, 1.5), aspect="equal")
for axis, (title, points) in zip(axes.flat, panels, strict=False):
    colors = {"color": "0.3"} if title == "target" else {"c": origin, "cmap": "turbo"}
    axis.scatter(*points[0].T, s=5, linewidths=0, **colors)
    axis.set_title(title)
plt.show()
