"""Theta-importance as its definition reads: the whole matrix, row by row, and its eigenvalues."""

import torch


def weighted_gradient(loss, encoder, decoder, weights, batch, u, p):
    """sum_b s_{b,u,p}(w) dE_{b,u}/dw as a function of w: a vector with a graph back to w."""
    inputs, target, *context = batch
    theta = encoder(inputs)
    values = loss.evaluate(decoder(theta, *context), target, [p])[0]
    total = values.sum() if loss.reduction == "sum" else values.mean()
    (slopes,) = torch.autograd.grad(
        total, theta, create_graph=True, allow_unused=True, materialize_grads=True
    )
    rows = torch.autograd.grad(
        theta[:, u], weights, slopes[:, u], create_graph=True, allow_unused=True,
        materialize_grads=True,
    )  # fmt: skip
    return torch.cat([row.flatten() for row in rows])


def products(vector, weights):
    """The function v -> (d vector / dw)^T v."""

    def product(direction):
        if not vector.requires_grad:
            return torch.zeros_like(vector)
        found = torch.autograd.grad(
            vector, weights, direction, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in found])

    return product


def matrix(loss, encoder, decoder, weights, batch, u, p):
    """d/dw of the weighted gradient, shape (W, W)."""
    vector = weighted_gradient(loss, encoder, decoder, weights, batch, u, p)
    row = products(vector, weights)
    return torch.stack([row(one) for one in torch.eye(len(vector)).to(vector)])


def curvature(loss, encoder, decoder, batches, weights):
    """C, shape (U, P)."""

    def radius(u, p):
        matrices = [matrix(loss, encoder, decoder, weights, batch, u, p) for batch in batches]
        return torch.stack([torch.linalg.eigvals(m).abs().max() for m in matrices]).mean()

    n_parameters, n_paths = encoder(batches[0][0]).shape[1], len(loss.paths)
    return torch.stack(
        [torch.stack([radius(u, p) for p in range(n_paths)]) for u in range(n_parameters)]
    )
