"""Fixed probabilities given by the user."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from multipath._internal.settings import switch
from multipath.errors import ConfigurationError
from multipath.paths import PathTable

from .base import as_probabilities, loaded_probabilities
from .categorical import Categorical


class Importance(Categorical):
    r"""Draws path p with the given probability :math:`\pi_p`.

    With ``reweight=True`` (the default of :class:`~multipath.StochasticLoss`) the estimate is
    unbiased as long as every :math:`\pi_p > 0`; with ``reweight=False`` it follows
    :math:`\sum_p \pi_p L_p`, the paper's importance sampling.

    Args:
        probabilities: :math:`\pi`, shape (P,); not negative, sums to 1.
        replacement: Independent draws, or k distinct paths with inclusion probabilities
            :math:`\min(1, c \pi_p)`, see :class:`Categorical`.

    Raises:
        ConfigurationError: If they are not a probability vector, or (when the sampler meets its
            loss) their number differs from that of the paths.

    Example:
        >>> Importance([0.5, 0.5, 0.0]).unbiased
        False
        >>> Importance([0.8, 0.1, 0.1], replacement=False).inclusion(2)  # path 0 in every draw
        tensor([0.5000, 0.2500, 0.2500], dtype=torch.float64)

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), section 3.3 and equation 10.
    """

    def __init__(self, probabilities: Sequence[float] | Tensor, replacement: bool = True) -> None:
        self._given = self._probabilities = as_probabilities(probabilities)
        self.replacement = switch("replacement", replacement)

    @property
    def probabilities(self) -> Tensor:
        """The probabilities given, divided by their sum over the paths of positive weight."""
        return self._probabilities

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit the sampler to a loss that has as many paths as there are probabilities."""
        if len(self._given) != len(paths):
            raise ConfigurationError(
                f"got {len(self._given)} probabilities for a loss with {len(paths)} paths"
            )
        super().bind(paths, weights)
        self._probabilities = self.conditioned(self._given)

    def state_dict(self) -> dict[str, Tensor]:
        """The probabilities given."""
        return {"probabilities": self._given.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the probabilities, bit for bit."""
        self._check_names(state)
        name, size = "the probabilities of Importance", len(self._given)
        given = loaded_probabilities(name, state["probabilities"], size)
        self._probabilities = self.conditioned(given)
        self._given = given
