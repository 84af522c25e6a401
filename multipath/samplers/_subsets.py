"""Simple random sampling: all subsets of k paths equally likely."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb

import torch
from torch import Tensor

from multipath.errors import ConfigurationError


def draw_subset(n_paths: int, n_draws: int, generator: torch.Generator) -> Tensor:
    """Some k distinct paths, in ascending order, in O(k) whatever P is.

    Source: Floyd's algorithm, in Bentley and Floyd, "A sample of brilliance", Communications of
    the ACM 30 (1987).
    """
    if 8 * n_draws > n_paths:
        chosen = torch.randperm(n_paths, generator=generator, device="cpu")[:n_draws]
        return chosen.sort().values
    last = torch.arange(n_paths - n_draws, n_paths, device="cpu")
    uniform = torch.rand(n_draws, generator=generator, dtype=torch.float64, device="cpu")
    subset: set[int] = set()
    for path, top in zip((uniform * (last + 1)).long().tolist(), last.tolist(), strict=True):
        subset.add(top if path in subset else path)
    return torch.tensor(sorted(subset), device="cpu")


def enumerate_subsets(paths: Tensor, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every subset of k of these paths with its probability."""
    probability = 1 / comb(len(paths), n_draws)
    for subset in combinations(paths.tolist(), n_draws):
        yield subset, probability


def subset_covariance(probabilities: Tensor, n_draws: int) -> Tensor:
    r""":math:`\frac{k (P - k)}{P (P - 1)} (I - \frac 1 P 1 1^\top)` over the P paths possible."""
    possible = (probabilities > 0).double()
    n_paths = int(possible.sum())
    scale = n_draws * (n_paths - n_draws) / (n_paths * max(n_paths - 1, 1))
    return scale * (torch.diag(possible) - possible[:, None] * possible / n_paths)


def check_subset(n_paths: int, n_draws: int, name: str) -> None:
    """Refuse more distinct paths than there are.

    Raises:
        ConfigurationError: If k > P.
    """
    if n_draws > n_paths:
        raise ConfigurationError(
            f"{name} cannot make {n_draws} draws without replacement: only {n_paths} paths can be "
            "drawn; lower n_draws or draw with replacement"
        )
