"""What is heard of a sound: the coefficients of a transform, compressed and without the mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from multipath import Log1p, Path
from multipath._internal.bookkeeping import widened
from multipath.transforms import Transform

__all__ = ["Heard", "measure"]


class Heard(Transform):
    r"""The compressed coefficients of a transform but for the mean.

    .. math:: \rho(\phi_p(x)), \qquad \rho(S) = \log(1 + S / 10^{-3})

    Order 0 of a scattering transform, the mean, is not heard and is left out; the other paths are
    numbered anew. In a :class:`~multipath.TransformLoss` with a
    :class:`~multipath.TargetCache`, all that is heard of a target is computed once.

    Args:
        transform: :math:`\phi`.
        keep: Says of a path whether to listen to it. Default: to all of them.

    Attributes:
        audible: The paths of the transform that are heard, as the transform numbers them.

    Example:
        >>> from multipath import TransformLoss
        >>> from multipath.transforms import Scattering1D
        >>> heard = Heard(Scattering1D(1024, J=5, Q=(2, 1), T=256))
        >>> heard.paths[0].index, heard.audible[0].index
        (0, 1)
        >>> tone = torch.sin(0.3 * torch.arange(1024.0))
        >>> TransformLoss(heard)(tone, tone)
        tensor(0.)
    """

    def __init__(self, transform: Transform, keep: Callable[[Path], bool] | None = None) -> None:
        audible = transform.paths.filter(
            lambda path: path.metadata.get("order") != 0 and (keep is None or keep(path))
        )
        super().__init__(
            Path(index, path.key, path.metadata, path.cost) for index, path in enumerate(audible)
        )
        self.transform, self.audible, self._compress = transform, audible, Log1p()

    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Compute what is heard on the chosen paths."""
        chosen = [self.audible[int(index)].index for index in indices]
        return [self._compress(found) for found in self.transform.coefficients(x, chosen)]


def measure(x: Sequence[Tensor], y: Sequence[Tensor]) -> tuple[Tensor, float]:
    r"""How far apart two sounds are on all paths, and relative to silence.

    Args:
        x: What is heard of one sound on each path.
        y: What is heard of the other.

    Returns:
        :math:`L_p = P \lVert x_p - y_p \rVert_2^2` of every path in float64, and
        sqrt(L(x, y) / (L(x, 0) + L(y, 0))), which lies in [0, 1].

    Example:
        >>> losses, relative = measure([torch.tensor([3.0, 0.0])], [torch.tensor([0.0, 4.0])])
        >>> losses.tolist(), relative
        ([25.0], 1.0)
    """
    pairs = [(widened(ours), widened(theirs)) for ours, theirs in zip(x, y, strict=True)]
    losses = torch.stack([(ours - theirs).square().sum() for ours, theirs in pairs])
    bound = sum(float(ours.square().sum() + theirs.square().sum()) for ours, theirs in pairs)
    relative = (float(losses.sum()) / bound) ** 0.5 if bound else 0.0
    return len(pairs) * losses, relative
