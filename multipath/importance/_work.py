"""The two stages of theta-importance, split into units that any process can do."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from multipath._internal.units import Shape, Units

from ._curvature import dominant_eigenvalues, one_product
from ._derivatives import EncoderDerivatives, Mode, ThetaDerivatives, theta_derivatives
from ._problem import Batch, Problem


class Work:
    """Both stages: derivatives of the loss, and curvature of the encoder.

    Args:
        problem: Loss, encoder, decoder and weights.
        batches: The examples.
        units: Does the work.
    """

    def __init__(self, problem: Problem, batches: list[Batch], units: Units) -> None:
        self.problem, self.batches, self.units = problem, batches, units
        self.paths = range(len(problem.loss.paths))

    def theta_derivatives(
        self, mode: Mode, items_at_once: int, order: Literal[1, 2]
    ) -> list[ThetaDerivatives]:
        """Derivatives s, and H with order 2, of each batch."""
        parts = {
            f"order {order}/{number}/{start}": (number, slice(start, start + items_at_once))
            for number, batch in enumerate(self.batches)
            for start in range(0, len(batch), items_at_once)
        }
        advance = self.units.stage("derivatives of the loss", sum(map(len, self.batches)))

        def work(unit: str) -> ThetaDerivatives:
            number, part = parts[unit]
            items = self.batches[number].items(part)
            found = theta_derivatives(self.problem, items, self.paths, mode, order)
            advance(found.first.shape[1])
            return found

        def shapes(unit: str) -> list[Shape]:
            number, part = parts[unit]
            n_items = len(range(len(self.batches[number]))[part])
            first = (len(self.paths), n_items, None)
            return [first, (*first, None) if order == 2 else None]

        found = self.units.run(
            list(parts), work, lambda record: advance(record[0].shape[1]), shapes
        )
        joined = []
        for number in range(len(self.batches)):
            mine = [found[unit] for unit, (owner, _) in parts.items() if owner == number]
            first, second = zip(*mine, strict=True)
            joined.append(ThetaDerivatives(torch.cat(first, dim=1), torch.cat(second, dim=1)))
        return joined

    def curvature(
        self,
        derivatives: list[ThetaDerivatives],
        method: str,
        tolerance: float,
        max_products: int,
        seed: int,
    ) -> tuple[Tensor, Tensor | None, int]:
        """C, the residuals, and how many Hessian-vector products it took."""
        n_parameters = derivatives[0].first.shape[2]
        units = {
            f"{method} {tolerance:g} {max_products} {seed}/{number}/{u}": (number, u)
            for number in range(len(self.batches))
            for u in range(n_parameters)
        }
        advance = self.units.stage("curvature of the encoder", len(units) * len(self.paths))
        gradients: dict[int, Tensor] = {}

        def work(unit: str) -> tuple[Tensor, ...]:
            number, u = units[unit]
            encoder = EncoderDerivatives(self.problem, self.batches[number])
            if number not in gradients:
                gradients.clear()  # keep those of one batch only: they take B U W numbers
                gradients[number] = encoder.gradients()
            arguments = (encoder, gradients[number], derivatives[number], u)
            generator = torch.Generator().manual_seed(seed * 1009 + number * 131 + u)
            weight = self.problem.item_weight(self.batches[number])
            if method == "hutchinson":
                norms = one_product(*arguments, weight=weight, generator=generator)
                advance(len(norms))
                return (norms,)
            done = 0

            def report(n_paths: int) -> None:
                nonlocal done
                advance(max(0, n_paths - done))  # after a search some may be open again
                done = max(done, n_paths)

            found = dominant_eigenvalues(
                *arguments,
                weight=weight,
                tolerance=tolerance,
                max_products=max_products,
                generator=generator,
                report=report,
            )
            return found.magnitudes, found.residuals, torch.tensor(found.products, device="cpu")

        each = (len(self.paths),)
        shapes: list[Shape] = [each] if method == "hutchinson" else [each, each, ()]
        found = self.units.run(
            list(units), work, lambda record: advance(len(record[0])), lambda unit: shapes
        )
        shape = (len(self.batches), n_parameters, -1)
        columns = list(zip(*(found[unit] for unit in units), strict=True))
        curvature = torch.stack(columns[0]).reshape(shape).mean(dim=0)
        if len(columns) == 1:
            return curvature, None, len(units)
        residuals = torch.stack(columns[1]).reshape(shape).amax(dim=0)
        return curvature, residuals, int(torch.stack(columns[2]).sum())
