"""A model small enough to be trained in every check of an optimizer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from torch.optim import Optimizer

from multipath.stochastic import StochasticLoss


class Run:
    """A tiny model in training, the sum of whose parameters should become 0.3.

    Args:
        criterion: The estimator to train with.
        parameters: The parameters of the model.
        make: Makes the optimizer of the parameters.
    """

    def __init__(
        self,
        criterion: StochasticLoss,
        parameters: list[nn.Parameter],
        make: Callable[[list[nn.Parameter]], Optimizer],
    ) -> None:
        self.criterion, self.parameters = criterion, parameters
        self.optimizer = make(list(parameters))

    def value(self) -> Tensor:
        """The sum of the parameters, not by torch.stack, whose gradients would share memory."""
        first, *others = self.parameters
        return sum(others, start=first)

    def loss(self, factor: float = 1.0) -> Tensor:
        """An estimate of the loss, times a factor."""
        value = self.value()
        estimate: Tensor = self.criterion(value, torch.full_like(value, 0.3))
        return factor * estimate

    def backward(self, factor: float = 1.0) -> Tensor:
        """Compute new gradients in place of the old ones, and return the loss."""
        self.optimizer.zero_grad()
        value = self.loss(factor)
        value.backward()
        return value

    def step(self, n: int = 1, factor: float = 1.0) -> Run:
        """Train for n steps, and return the run itself."""
        for _ in range(n):
            self.backward(factor)
            self.optimizer.step()
        return self

    def full_loss(self) -> float:
        """The loss over all paths."""
        with torch.no_grad():
            value = self.value()
            return float(self.criterion.loss(value, torch.full_like(value, 0.3)))

    @property
    def weights(self) -> Tensor:
        """All weights of the model, shape (D,)."""
        return parameters_to_vector(self.parameters).detach()
