r"""
A physics-informed network, one term at a time
==============================================

A network is trained to solve :math:`-u'' = f` on the unit interval, where we know :math:`u(0) = 0`
and eight noisy measurements. The loss is a sum of three terms of unequal cost: the residual of the
equation needs second derivatives, and the others do not. ``TermLoss`` makes each of them a path.
"""

import matplotlib.pyplot as plt
import torch

from multipath import StochasticLoss, TermLoss
from multipath.diagnostics import estimate_variance
from multipath.samplers import AdaptiveImportance, Uniform

budget = 6000  # evaluations of the network
pi = torch.pi


def exact(x):
    return torch.sin(pi * x) + 0.3 * torch.sin(3 * pi * x)


def force(x):
    return pi**2 * (torch.sin(pi * x) + 2.7 * torch.sin(3 * pi * x))


generator = torch.Generator().manual_seed(0)
sensors = torch.linspace(0.1, 1.0, 8)
measured = exact(sensors) + 0.02 * torch.randn(8, generator=generator)

# %%
# The network has one hidden layer, and all its parameters form one row. That row is the *input* of
# the loss, so that samplers can measure the gradients that matter, those with respect to the
# parameters. The *target* is a row of points at which the equation should hold.

n_hidden = 32


def u(parameters, x):
    slope, offset, height = parameters.view(3, n_hidden)
    return torch.tanh(x[:, None] * slope + offset) @ height


def residual(parameters, points):
    x = points[0].clone().requires_grad_()
    (first,) = torch.autograd.grad(u(parameters, x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    return (second + force(x)).square().mean() / pi**4


def boundary(parameters, points):
    return u(parameters, torch.zeros(1)).square().mean()


def data(parameters, points):
    return (u(parameters, sensors) - measured).square().mean()


loss = TermLoss(
    {"residual": residual, "boundary": boundary, "data": data},
    weights={"residual": 1.0, "boundary": 10.0, "data": 10.0},
    costs={"residual": 6.0, "boundary": 1.0, "data": 1.0},
)
print(loss.paths)

# %%
# We spend the same budget in three ways: on all terms at every step, on one term at random, or on
# one term chosen by the size of its gradient and its cost.

start = torch.stack(
    [
        6 * torch.randn(n_hidden, generator=generator),
        3 * torch.randn(n_hidden, generator=generator),
        0.1 * torch.randn(n_hidden, generator=generator),
    ]
).view(1, -1)
grid = torch.linspace(0, 1, 201)
costs = loss.paths.costs


def train(criterion):
    """Return what was spent and the error of u after each step, and the parameters."""
    parameters = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=0.01)
    points = torch.Generator().manual_seed(1)
    spent, history = 0.0, []
    while spent < budget:
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - spent / budget) + 1e-4
        optimizer.zero_grad()
        criterion(parameters, torch.rand(1, 32, generator=points)).backward()
        optimizer.step()
        drawn = criterion.last_draw.indices if criterion is not loss else [0, 1, 2]
        spent += float(costs[drawn].sum())
        with torch.no_grad():
            error = (u(parameters, grid) - exact(grid)).square().mean().sqrt()
        history.append((spent, error.item()))
    return torch.tensor(history), parameters.detach()


adaptive = StochasticLoss(loss, AdaptiveImportance(cost_aware=True), generator=0)
runs = {
    "all terms": train(loss),
    "one term, uniform": train(StochasticLoss(loss, Uniform(), generator=0)),
    "one term, by gradient and cost": train(adaptive),
}
for name, (history, _) in runs.items():
    print(f"{name:32} {len(history):5} steps, error {history[-1, 1]:.4f}")
shares = zip(loss.paths.keys, adaptive.sampler.probabilities.tolist(), strict=True)
print("learned:", ", ".join(f"{name} {share:.2f}" for name, share in shares))

# %%
# The noise of a step with one term can be computed exactly, here at the end of the last run:

points = torch.rand(1, 32, generator=generator)
trained = runs["one term, by gradient and cost"][1].requires_grad_()
samplers = {"uniform": Uniform(), "by gradient and cost": adaptive.sampler}
print(estimate_variance(loss, trained, points, samplers))

# %%
# On the left are the solutions, and on the right what they cost (each error is a median over 2% of
# the budget). One term at a time gets there sooner. In the end all are as good as the measurements
# allow: noise of 0.02 in eight of them is :math:`0.02 / \sqrt 8 = 0.007` in their mean.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.plot(grid, exact(grid), color="0.75", linewidth=6, label="exact")
left.plot(sensors, measured, "o", color="black", label="measured")
for name, (history, parameters) in runs.items():
    (line,) = left.plot(grid, u(parameters.detach(), grid), linewidth=1.2, label=name)
    bins = (history[:, 0] / (0.02 * budget)).long()
    medians = [history[bins == number].median(dim=0).values for number in bins.unique()]
    right.plot(
        *torch.stack(medians).T, color=line.get_color(), linewidth=1.5, label=name
    )
left.set(xlabel="x", ylabel="u(x)", title="solution")
left.legend(frameon=False)
right.set(
    xlabel="cost (evaluations)", ylabel="error of u (root mean square)", yscale="log"
)
right.set_title("error")
right.legend(frameon=False)
plt.show()
