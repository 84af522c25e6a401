"""
An image texture from noise
===========================

Two images have the same texture if their scattering coefficients have the same means. We start from
noise and change its pixels until the means agree, evaluating a few of several hundred paths per
step.
"""

import matplotlib.pyplot as plt
import torch

from multipath import StochasticLoss, TransformLoss
from multipath.transforms import Scattering2D

n_steps = 350
size = 64  # pixels

# %%
# Two textures to imitate: wavy stripes, and discs thrown at random.

generator = torch.Generator().manual_seed(0)
row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
phase = row + 0.6 * column + 4 * torch.sin(2 * torch.pi * column / 32)
stripes = torch.tanh(3 * torch.sin(2 * torch.pi * phase / 10))
centers = size * torch.rand(40, 2, generator=generator)
distances = torch.hypot(row - centers[:, :1, None], column - centers[:, 1:, None])
discs = torch.tanh(4.0 - distances.amin(dim=0))
target = torch.stack([stripes, discs])

# %%
# A path of ``Scattering2D`` has one coefficient for every 16 x 16 pixels. Comparing their means
# over the image, instead of each coefficient in its place, makes the loss blind to position, which
# is what defines a texture. ``power=0.5`` gives quiet paths more of a say, which fine detail needs.


def of_means(difference):
    return difference.flatten(1).mean(dim=1).square()


loss = TransformLoss(Scattering2D((size, size), J=4, L=6), distance=of_means)
criterion = StochasticLoss.for_training(
    loss, target, n_draws=24, power=0.5, generator=0
)
print(f"{criterion.n_draws} of {len(loss.paths)} paths per step")

# %%
# Adam changes the pixels, which tanh keeps between black and white.

noise = 0.5 * torch.randn(target.shape, generator=generator)
pixels = noise.clone().requires_grad_()
optimizer = torch.optim.Adam([pixels], lr=0.05)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
losses = []
for _ in range(n_steps):
    optimizer.zero_grad()
    value = criterion(pixels.tanh(), target)
    value.backward()
    optimizer.step()
    schedule.step()
    losses.append(value.item())

criterion.eval()  # from here on it computes all paths
with torch.no_grad():
    start, found = noise.tanh(), pixels.tanh()
    before, after = criterion(start, target).item(), criterion(found, target).item()
print(f"full loss: {before:.2e} at the start, {after:.2e} at the end")

# %%
# The results resemble the originals everywhere and are equal to them nowhere.

figure, axes = plt.subplots(2, 3, figsize=(9, 6.2), layout="constrained")
for images, title, column in zip(
    (target, start, found), ("texture", "start", "found"), axes.T, strict=True
):
    for image, axis in zip(images, column, strict=True):
        axis.imshow(image.numpy(), cmap="gray", vmin=-1, vmax=1)
        axis.set_axis_off()
    column[0].set_title(title)
plt.show()

# %%
# The loss of 24 random paths at each step, and the full loss at the beginning and at the end.

figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
axis.semilogy(losses, color="tab:blue", linewidth=1, label="24 paths")
axis.plot([0, n_steps - 1], [before, after], "o", color="black", label="all paths")
axis.set(xlabel="step", ylabel="loss")
axis.legend(frameon=False)
plt.show()
