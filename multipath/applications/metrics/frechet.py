"""Fréchet audio distance: how far two sets of sounds are apart, as an embedding hears them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from multipath.errors import InputError

__all__ = ["frechet_audio_distance", "frechet_distance", "frechet_distance_of_moments"]

Array = NDArray[np.float64]


def frechet_distance(a: Tensor | ArrayLike, b: Tensor | ArrayLike) -> float:
    r"""Fréchet distance between the Gaussians that fit two sets of embeddings.

    .. math:: d^2 = \lVert \mu_a - \mu_b \rVert_2^2
        + \operatorname{tr}\big(A + B - 2 (A^{1/2} B A^{1/2})^{1/2}\big)

    with means :math:`\mu` and covariances A and B (divided by n - 1). What is returned is
    :math:`d^2`, as is the custom. It is 0 for equal sets, symmetric, the same after a rotation or a
    shift of both, and grows with the square of a common scale. Fewer samples than dimensions are
    allowed, but bias it upwards: compare distances at equal numbers of samples.

    Args:
        a: Embeddings, shape (n, d), n at least 2.
        b: Embeddings, shape (m, d), m at least 2.

    Raises:
        InputError: If the embeddings are not matrices of the same width, hold NaN or infinite
            values, or are fewer than two.

    Example:
        >>> a = np.array([[0.0], [1.0], [2.0]])  # mean 1, standard deviation 1
        >>> round(frechet_distance(a, 3 * a), 6)  # (3 - 1)^2 + (3 - 1)^2
        8.0

    Source: Kilgour, Zuluaga, Roblek and Sharifi, Fréchet audio distance: a metric for evaluating
    music enhancement algorithms, 2018; Dowson and Landau, The Fréchet distance between multivariate
    normal distributions, 1982.
    """
    first, second = _embeddings(a, "a"), _embeddings(b, "b")
    if first.shape[1] != second.shape[1]:
        raise InputError(
            "both sets must have embeddings of the same dimension, got "
            f"{first.shape[1]} and {second.shape[1]}"
        )
    return frechet_distance_of_moments(*_moments(first), *_moments(second))


def frechet_distance_of_moments(
    mean_a: Tensor | ArrayLike,
    covariance_a: Tensor | ArrayLike,
    mean_b: Tensor | ArrayLike,
    covariance_b: Tensor | ArrayLike,
) -> float:
    r"""Fréchet distance between two Gaussians; see :func:`frechet_distance`.

    The trace of the square root is the sum of the singular values of :math:`A^{1/2} B^{1/2}`, with
    square roots from symmetric eigenvalues. So singular covariances do no harm, and no product of
    covariances, with its squared rounding errors, is ever formed.

    Args:
        mean_a: Shape (d,).
        covariance_a: Shape (d, d), symmetric, no negative eigenvalue.
        mean_b: Shape (d,).
        covariance_b: Shape (d, d), as ``covariance_a``.

    Raises:
        InputError: If the shapes do not fit, a value is not finite, or a matrix is not a
            covariance.

    Example:
        >>> identity = np.eye(2)
        >>> frechet_distance_of_moments([0, 0], identity, [3, 4], identity)
        25.0
    """
    means = [_array(mean, "a mean", 1) for mean in (mean_a, mean_b)]
    covariances = [_array(matrix, "a covariance", 2) for matrix in (covariance_a, covariance_b)]
    size = len(means[0])
    for values, wanted in ((means[1], (size,)), *((c, (size, size)) for c in covariances)):
        if values.shape != wanted:
            raise InputError(
                f"means must have one shape (d,) and covariances (d, d), got means of {size} and "
                f"{len(means[1])} dimensions and covariances of shapes {covariances[0].shape} and "
                f"{covariances[1].shape}"
            )
    between = np.square(means[0] - means[1]).sum()
    root_a, root_b = (_square_root(matrix) for matrix in covariances)
    # tr sqrt(A^1/2 B A^1/2) = tr sqrt(R^T R) with R = B^1/2 A^1/2
    common = np.linalg.svd(root_b @ root_a, compute_uv=False).sum()
    within = np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * common
    return max(0.0, float(between + within))  # rounding of equal sets may go below


def frechet_audio_distance(
    sounds_a: Tensor, sounds_b: Tensor, embedding: Callable[[Tensor], Any]
) -> float:
    """Fréchet distance between two sets of sounds, as an embedding hears them.

    Args:
        sounds_a: Shape (n, samples).
        sounds_b: Shape (m, samples'), at the sample rate that the embedding expects.
        embedding: Maps (batch, samples) to one embedding a sound, (batch, d), or to one for each
            of its frames, (batch, frames, d), which then count as separate ones. It is called once
            for each sound, without gradient, so that memory does not grow with the sets.

    Raises:
        InputError: If the sounds are not batches of finite samples, or the embeddings are not of
            one of these shapes; further as :func:`frechet_distance`.

    Example:
        >>> def loudness(sounds):
        ...     return sounds.square().mean(dim=1, keepdim=True)
        >>> quiet = torch.ones(4, 100) * torch.tensor([[1.0], [2.0], [1.0], [2.0]])
        >>> round(frechet_audio_distance(quiet, quiet, loudness), 6)
        0.0
        >>> frechet_audio_distance(quiet, 2 * quiet, loudness) > 1
        True
    """
    sets = [_embed(sounds_a, "sounds_a", embedding), _embed(sounds_b, "sounds_b", embedding)]
    return frechet_distance(*sets)


def _embed(sounds: Tensor, name: str, embedding: Callable[[Tensor], Any]) -> Array:
    if not isinstance(sounds, Tensor) or sounds.ndim != 2 or 0 in sounds.shape:
        got = tuple(sounds.shape) if isinstance(sounds, Tensor) else type(sounds).__name__
        raise InputError(f"{name}: expected sounds as a tensor (n, samples), got {got}")
    _check_finite(sounds.detach().cpu().numpy(), name)
    found = []
    with torch.no_grad():
        for sound in sounds.split(1):
            values = embedding(sound)
            if isinstance(values, Tensor):
                values = values.detach().cpu().double().numpy()
            values = np.asarray(values, dtype=np.float64)
            if values.ndim not in (2, 3) or len(values) != 1:
                raise InputError(
                    "the embedding must map (batch, samples) to (batch, d) or (batch, frames, d), "
                    f"got shape {values.shape} for a batch of 1"
                )
            found.append(values.reshape(-1, values.shape[-1]))
    return np.concatenate(found)


def _embeddings(values: Tensor | ArrayLike, name: str) -> Array:
    array = _array(values, name, 2)
    if len(array) < 2:
        raise InputError(
            f"{name}: a covariance needs at least 2 embeddings, got {len(array)}; pass more sounds"
        )
    return array


def _array(values: Tensor | ArrayLike, name: str, ndim: int) -> Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim or not array.shape[-1]:
        wanted = "(d,)" if ndim == 1 else "(n, d)" if name in "ab" else "(d, d)"
        raise InputError(f"{name}: expected an array of shape {wanted}, got {array.shape}")
    _check_finite(array, name)
    return array


def _check_finite(array: NDArray[Any], name: str) -> None:
    n_bad = int((~np.isfinite(array)).sum())
    if n_bad:
        raise InputError(
            f"{name}: expected finite values, got {n_bad} NaN or infinite ones out of {array.size};"
            " leave those sounds out"
        )


def _moments(embeddings: Array) -> tuple[Array, Array]:
    mean = embeddings.mean(axis=0)
    centred = embeddings - mean
    return mean, centred.T @ centred / (len(embeddings) - 1)


def _square_root(covariance: Array) -> Array:
    """The symmetric root; eigenvalues that rounding pushed below zero are zero."""
    scale = np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > 1e-8 * scale:
        raise InputError("a covariance must be symmetric; pass numpy.cov(embeddings.T)")
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if values[0] < -1e-8 * scale:
        raise InputError(
            f"a covariance has no negative eigenvalue, got {values[0]:.3g}; pass "
            "numpy.cov(embeddings.T)"
        )
    root: Array = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
