"""Probabilities that follow the size of each path's gradient."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from multipath._internal.settings import choice, switch
from multipath.paths import PathTable

from ._learned import LearnedSampler


class AdaptiveImportance(LearnedSampler):
    r"""Draws paths of large gradient more often, and learns as it goes which these are.

    .. math:: \pi_p = (1 - f) \frac{w_p \bar g_p c_p^{-1/2}}{\sum_q w_q \bar g_q c_q^{-1/2}}
        + \frac f P

    :math:`\bar g_p` is a moving average of the norm of the gradient of :math:`L_p` with respect to
    the *reconstruction* (the ``input`` of the criterion, root mean square over the batch), measured
    in training on the paths drawn; paths not seen yet count as the mean of those seen, so that it
    starts uniform. Of all laws, :math:`\pi_p \propto w_p \lVert g_p \rVert` minimises the variance
    of the estimated gradient (by Cauchy-Schwarz), and divided by :math:`\sqrt{c_p}` the variance
    times the mean cost of a draw. The floor f keeps every path possible, whatever was measured, and
    bounds the weights by :math:`P w_p / f`.

    Each measurement costs a backward through the loss for each path drawn (not through the model);
    ``every`` makes them rarer: with k draws, ``every=k`` keeps the cost near one more backward per
    step. A draw or an observation costs :math:`O(k \log P)`.

    With ``observes="losses"``, :math:`\bar g_p` is a moving average of :math:`|L_p|` instead (mean
    over the batch): no optimal law, but a free one, and large losses tend to have large gradients.
    It is also what is learned from wherever there is no gradient with respect to ``input``: where
    ``input`` is no tensor, such as the network of a :class:`~multipath.TermLoss`, or where only
    something else is trained. The log says so once. Nothing is learned where nothing is trained.

    Args:
        decay: Of the moving average, in [0, 1): the mean is over some 1 / (1 - decay) visits of a
            path.
        floor: f in [0, 1]. At 0, a path whose gradient came as zero is never drawn again, a bias
            declared from the start: ``unbiased`` is then False.
        cost_aware: Divide by the square root of the relative cost :math:`c_p` of each path.
        every: Measure at every m-th draw only.
        replacement: Independent draws, or k distinct paths, see :class:`Categorical`.
        observes: ``"gradient_norms"``, or ``"losses"``.

    Raises:
        ConfigurationError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss  # gradients grow with p
        >>> criterion = StochasticLoss(QuadraticLoss(3), AdaptiveImportance(), generator=0)
        >>> x = torch.full((1, 1), 5.0, requires_grad=True)
        >>> for step in range(50):
        ...     criterion(x, torch.zeros(1, 1)).backward()
        >>> criterion.sampler.probabilities
        tensor([0.1980, 0.3407, 0.4614], dtype=torch.float64)

    Source: P. Zhao and T. Zhang, "Stochastic optimization with importance sampling for regularized
    loss minimization", ICML 2015; D. Needell, N. Srebro and R. Ward, "Stochastic gradient descent,
    weighted sampling, and the randomized Kaczmarz algorithm", NIPS 2014 (the uniform floor); M. A.
    Nabian, R. J. Gladstone and H. Meidani, "Efficient training of physics-informed neural networks
    via importance sampling", Computer-Aided Civil and Infrastructure Engineering 36, 2021 (losses
    in place of gradients).
    """

    def __init__(
        self,
        decay: float = 0.9,
        floor: float = 0.1,
        cost_aware: bool = False,
        every: int = 1,
        replacement: bool = True,
        *,
        observes: Literal["gradient_norms", "losses"] = "gradient_norms",
    ) -> None:
        super().__init__(floor=floor, decay=decay, every=every, replacement=replacement)
        self.observes = choice("observes", observes, "gradient_norms", "losses")
        self.cost_aware = switch("cost_aware", cost_aware)

    def factors(self, paths: PathTable, weights: Tensor) -> Tensor:
        """Weights in the loss, divided by the roots of the costs if these are to count."""
        return weights / paths.costs.sqrt() if self.cost_aware else weights

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"cost_aware={self.cost_aware}, {super().extra_repr()}"
