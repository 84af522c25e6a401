"""Golden values of the sliced Wasserstein distance, computed once with POT.

    python3.11 -m venv peers
    peers/bin/pip install POT==0.9.7.post1
    peers/bin/python tests/golden/make_sliced_golden.py        # a second

`sliced.npz` holds float64 arrays: `projections` (P, dim) of unit length; clouds `x` (n, dim), `y`
(n, dim) and `z` (m, dim), masses `a` (n,) and `b` (m,), some of them zero. For powers p of 1, 2 and
3, with POT's `sliced_wasserstein_distance`: the power-p cost of each projection, (P,), between x
and y, `equal_<p>`, between x and z, `unequal_<p>`, between x under a and z under b, `masses_<p>`;
and its own summary of them, the root of their mean, `distance_<pair>_<p>`.
"""

from pathlib import Path

import numpy as np
import ot

N_PROJECTIONS, DIM, N, M = 11, 3, 8, 12


def main():
    random = np.random.default_rng(31)
    x, y = random.standard_normal((2, N, DIM))
    z = 2.0 * random.standard_normal((M, DIM)) + 0.5
    a, b = random.uniform(size=N), random.uniform(size=M)
    a[2] = b[0] = b[7] = 0.0
    a, b = a / a.sum(), b / b.sum()
    directions = random.standard_normal((N_PROJECTIONS, DIM))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    arrays = {"projections": directions, "x": x, "y": y, "z": z, "a": a, "b": b}
    pairs = {"equal": (x, y, None, None), "unequal": (x, z, None, None), "masses": (x, z, a, b)}
    for name, (first, second, mass, other) in pairs.items():
        for p in (1, 2, 3):
            distance, log = ot.sliced_wasserstein_distance(
                first, second, mass, other, p=p, projections=directions.T, log=True
            )
            costs = log["projected_emds"]
            assert np.isclose(np.mean(costs) ** (1 / p), distance)
            arrays[f"{name}_{p}"], arrays[f"distance_{name}_{p}"] = costs, distance
    np.savez_compressed(Path(__file__).parent / "sliced.npz", **arrays)


if __name__ == "__main__":
    main()
