"""Linear algebra on arrays of numpy, by torch.

The threads of numpy's own library go on spinning for a while after each call and hold up those of
torch: on two cores, steps that designed filters on the way took up to eight times as long.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Real = NDArray[np.float64]


def product(left: Real, right: Real) -> Real:
    """Compute ``left @ right``."""
    result: Real = (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()
    return result


def singular_vectors(matrix: Real) -> tuple[Real, Real, Real]:
    """Left singular vectors, as columns, singular values, and right ones, as rows."""
    left, values, right = torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False)
    return left.numpy(), values.numpy(), right.numpy()


def least_squares(matrix: Real, wanted: Real) -> Real:
    """The smallest solutions x of ``matrix @ x = wanted``, with all that the matrix can tell."""
    solution = torch.linalg.lstsq(
        torch.from_numpy(matrix),
        torch.from_numpy(wanted),
        rcond=float(np.finfo(np.float64).eps),
        driver="gelsd",
    )
    result: Real = solution.solution.numpy()
    return result
