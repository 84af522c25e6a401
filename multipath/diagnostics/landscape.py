r"""What a loss looks like over the parameters to be learned, before anything is trained.

A loss may tell sounds apart and still be of no use for finding the parameters they were made with:
there may be a second valley, far from the truth, in which training is caught, or no slope at all.
Both can be seen without training, by rendering sounds at known parameters and comparing them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from multipath._internal.bookkeeping import bookkept
from multipath._internal.extras import extra
from multipath._internal.inputs import check_real, check_tensor, described
from multipath._internal.modes import evaluating
from multipath._internal.settings import affordable, between, real, several, switch, whole
from multipath._internal.tables import aligned
from multipath.errors import ConfigurationError, InputError

from ._gradients import tracked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = Sequence[Tensor]
SHALLOW = 0.01
"""Dents less deep than this share of a curve's whole range are no valleys."""
PARTS = 3
MOST_POINTS = 1001
ROUNDING = 1e-5
"""Losses in single precision that differ by less than this, relative to their size, are equal."""
Place = tuple[int, ...]


class Valley(NamedTuple):
    """A local minimum over a grid of guesses.

    Args:
        guess: Where it is: a value for each parameter of the curve or plane.
        loss: The mean loss there.
        depth: What has to be climbed to reach a lower one, as a share of the whole range; 1 for the
            lowest of all.
    """

    guess: tuple[float, ...]
    loss: float
    depth: float


@dataclass(frozen=True, eq=False)
class LossLandscape:
    """A loss over guesses of the parameters; made by :func:`loss_landscape`.

    Args:
        parameters: Their names, U of them.
        grid: The guesses, ascending, shape (K,).
        theta: The true parameters of the targets, shape (n, U).
        truth: The loss of each target at its true parameters, shape (n,).
        curves: The loss of each target where one parameter is guessed and the others are true,
            shape (U, K, n).
        planes: The mean loss where two parameters are guessed, by their names, shape (K, K): the
            first parameter is that of the rows.
    """

    parameters: tuple[str, ...]
    grid: Tensor
    theta: Tensor
    truth: Tensor
    curves: Tensor
    planes: Mapping[tuple[str, str], Tensor] = field(default_factory=dict)

    def curve(self, parameter: str, low: float = -inf, high: float = inf) -> Tensor:
        """The mean loss over guesses of a parameter, shape (K,).

        Args:
            parameter: Its name.
            low: Leave out targets whose true value is smaller,
            high: and those whose true value is not smaller than this.

        Raises:
            ConfigurationError: If a limit is no number.
            InputError: If there is no such parameter, or no such target.
        """
        place = self._place(parameter)
        low, high = (between(*end, -inf, inf) for end in (("low", low), ("high", high)))
        values = self.theta[:, place]
        chosen = (values >= low) & (values < high)
        if not bool(chosen.any()):
            raise InputError(f"no target has a {parameter} from {low:g} to {high:g}")
        return self.curves[place][:, chosen].mean(dim=1)

    def plane(self, first: str, second: str) -> Tensor:
        """The mean loss over guesses of two parameters, shape (K, K), the first in rows.

        Raises:
            InputError: If it was not measured.
        """
        for names, values in self.planes.items():
            if names in ((first, second), (second, first)):
                return values if names == (first, second) else values.T
        raise InputError(f"no plane of {first!r} and {second!r} was measured; name it in pairs")

    def valleys(self, *parameters: str, shallow: float = SHALLOW) -> list[Valley]:
        """The local minima along a parameter, or over two, the deepest first.

        A flat loss has none. Of equal neighbours the first counts.

        Args:
            parameters: The name of one or of two.
            shallow: Leave out those less deep than this share of the whole range.

        Raises:
            ConfigurationError: If not one or two are named, or ``shallow`` does not lie in [0, 1].
            InputError: If there is no such parameter, or they were not measured together.
        """
        if len(parameters) not in (1, 2):
            raise ConfigurationError(f"name one parameter or two, got {parameters}")
        shallow = between("shallow", shallow, 0.0, 1.0)
        *first, last = parameters
        values = self.plane(first[0], last) if first else self.curve(last)
        found, _ = valleys_of(values, shallow)
        grid = self.grid.tolist()
        return [
            Valley(tuple(grid[i] for i in place), float(values[place]), depth)
            for place, depth in found.items()
        ]

    def reach(self, parameter: str, shallow: float = SHALLOW) -> float:
        """From how many guesses the way downhill leads to where the targets are, from 0 to 1.

        The targets are taken in three parts, of low, middle and high true values, and the mean loss
        of each part over all guesses. A guess counts if the valley that it lies in has its lowest
        point within the part, give or take one step of the grid.

        Args:
            parameter: Its name.
            shallow: As in :meth:`valleys`.

        Raises:
            ConfigurationError: If ``shallow`` is no number from 0 to 1.
            InputError: If there is no such parameter.
        """
        shallow = between("shallow", shallow, 0.0, 1.0)
        shares = []
        for low, high in self.parts(parameter):
            _, basins = valleys_of(self.curve(parameter, low, high), shallow)
            step = float(self.grid[1] - self.grid[0]) * 1.001
            lowest = torch.tensor([float(self.grid[place]) for (place,) in basins], device="cpu")
            inside = (lowest >= low - step) & (lowest <= high + step)
            shares.append(float(inside.double().mean()) if len(basins) == len(self.grid) else 0.0)
        return sum(shares) / len(shares)

    def parts(self, parameter: str) -> list[tuple[float, float]]:
        """Thirds of the guesses, in which there is any target; the outer ones have no end."""
        low, high = float(self.grid[0]), float(self.grid[-1])
        edges = [-inf, *(low + (high - low) * i / PARTS for i in range(1, PARTS)), inf]
        values = self.theta[:, self._place(parameter)]
        return [
            (low, high)
            for low, high in pairwise(edges)
            if bool(((values >= low) & (values < high)).any())
        ]

    def plot(self, path: str | PathLike[str] | None = None, title: str = "") -> Figure:
        """Draw the curves, with their valleys marked, and the planes. Needs matplotlib.

        Args:
            path: Where to save the plot, if anywhere.
            title: Text above it.
        """
        with extra():
            from multipath._plots.landscape import plot_landscape
        curves = {}
        for name in self.parameters:
            parts = {part: self.curve(name, *part).numpy() for part in self.parts(name)}
            curves[name] = (self.curve(name).numpy(), parts, self.valleys(name))
        planes = {pair: (self.plane(*pair).numpy(), self.valleys(*pair)) for pair in self.planes}
        return plot_landscape(
            self.grid.numpy(), curves, float(self.truth.mean()), planes, path, title
        )

    def __str__(self) -> str:
        """A table: where the valleys are, how well the targets can be reached."""
        rows = [("parameter", "valleys", "lowest", "reach")]
        for name in self.parameters:
            valleys = self.valleys(name)
            places = ", ".join(
                f"{valley.guess[0]:.3g}" + f" ({valley.depth:.0%})" * (valley.depth < 1)
                for valley in valleys
            )
            lowest = f"{valleys[0].loss:.3g}" if valleys else "-"
            rows.append((name, places or "none", lowest, f"{self.reach(name):.0%}"))
        for pair in self.planes:
            valleys = self.valleys(*pair)
            places = ", ".join(
                "(" + ", ".join(f"{guess:.3g}" for guess in valley.guess) + ")"
                for valley in valleys
            )
            lowest = f"{valleys[0].loss:.3g}" if valleys else "-"
            rows.append((" and ".join(pair), places or "none", lowest, "-"))
        return (
            f"mean loss of {len(self.theta)} targets: {float(self.truth.mean()):.3g} at the truth\n"
            + aligned(rows)
        )

    def _place(self, parameter: str) -> int:
        if not isinstance(parameter, str) or parameter not in self.parameters:
            raise InputError(
                f"no parameter is called {parameter!r}; there are {', '.join(self.parameters)}"
            )
        return self.parameters.index(parameter)


def loss_landscape(
    loss: nn.Module | Callable[[Tensor, Tensor], Tensor],
    decoder: Callable[..., Tensor],
    batches: Iterable[Batch] | Batch,
    *,
    points: int = 11,
    bounds: tuple[float, float] = (0.0, 1.0),
    pairs: Iterable[tuple[str, str]] = (),
    names: Sequence[str] | None = None,
    progress: bool = False,
) -> LossLandscape:
    r"""Look at a loss over the parameters of a decoder (a synthesizer, say), before training.

    Targets with known parameters :math:`\theta_i` are compared with what the decoder renders from
    a guess g of one parameter u, the same for all targets, with the others true:

    .. math:: L_u(g) = \frac 1 n \sum_i L\big(\text{decoder}(\theta_i
        \text{ with } \theta_{iu} = g),\ y_i\big)

    and, for pairs of parameters, from a guess of both. This is what a training descends into that
    does not yet tell one target from another. Three things make a loss hard to learn from:

    - a *second valley*, or a lowest point at the edge: from there on, training stays there;
    - a *plain*: the loss hardly changes over most guesses;
    - no part of the targets is told from the others: the curves of targets with low, middle and
      high true values look alike (:meth:`LossLandscape.reach`).

    No gradients are needed, and the cost is n evaluations of the loss for each guess.

    Args:
        loss: What is to be minimised, called as ``loss(input, target)``. A
            :class:`~multipath.StochasticLoss` is evaluated in full.
        decoder: Called as ``decoder(theta, *context)``; makes what the loss compares.
        batches: Tuples ``(theta, target, *context)`` of tensors, batch first, or one of them: true
            parameters of shape (batch, U), targets, and what the decoder needs besides, such as
            time shifts or seeds. Where training renders with others than those of the target, so
            should this. A few dozen targets are enough.
        points: Number K of guesses, evenly spaced.
        bounds: The lowest and the highest guess.
        pairs: Pairs of parameters over which to look at the loss too, K squared evaluations each.
        names: Names of the parameters. Default: ``decoder.parameter_names`` if it has any, or their
            numbers.
        progress: Show a progress bar on standard error; needs rich.

    Raises:
        ConfigurationError: If an argument is out of range, or there is no such parameter.
        InputError: If there is no target, the decoder or the loss makes something else than real
            numbers, or the loss is not finite.

    Example:
        >>> def two_valleys(x, y):  # of x - y, at 0 and at 0.6
        ...     return ((x - y).square() * ((x - y - 0.6).square() + 0.02)).mean()
        >>> theta = torch.full((1, 1), 0.2)
        >>> landscape = loss_landscape(two_valleys, lambda theta: theta, (theta, theta))
        >>> [round(valley.guess[0], 1) for valley in landscape.valleys("0")]
        [0.2, 0.8]
    """
    points = whole("points", points)
    if points < 3:
        raise ConfigurationError(f"points must be at least 3, got {points}")
    affordable("points", points, MOST_POINTS)
    ends = [real(bound) for bound in several("bounds", bounds)]
    if len(ends) != 2 or not -inf < ends[0] < ends[1] < inf:
        raise ConfigurationError(f"bounds must be two finite numbers, ascending, got {bounds!r}")
    grid = torch.linspace(ends[0], ends[1], points, dtype=torch.float64, device="cpu")
    progress = switch("progress", progress)
    for name, function in (("loss", loss), ("decoder", decoder)):
        if not callable(function):
            raise ConfigurationError(f"{name} must be callable, got {described(function)}")
    given = _checked(batches)
    theta = torch.cat([batch[0] for batch in given])
    labels = _names(names, decoder, theta.shape[1])
    chosen = [_pair(pair, labels) for pair in several("pairs", pairs)]
    cells = list(product(range(points), repeat=2))
    guesses: list[dict[int, int]] = [{}]
    guesses += [{u: k} for u in range(len(labels)) for k in range(points)]
    guesses += [{u: j, v: k} for u, v in chosen for j, k in cells]
    measured = []
    with ExitStack() as stack:
        for module in (loss, decoder):
            if isinstance(module, nn.Module):
                stack.enter_context(evaluating(module))
        stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
        stack.enter_context(torch.no_grad())
        for i in tracked(len(guesses), "loss") if progress else range(len(guesses)):
            values = {u: float(grid[k]) for u, k in guesses[i].items()}
            measured.append(torch.cat([_losses(loss, decoder, batch, values) for batch in given]))
    found = torch.stack(measured)
    if not bool(torch.isfinite(found).all()):
        raise InputError("the loss is not finite; check the targets and what the decoder makes")
    n_curves = len(labels) * points
    surfaces = found[1 + n_curves :].mean(dim=1).reshape(-1, points, points)
    return LossLandscape(
        parameters=labels,
        grid=grid,
        theta=bookkept(theta),
        truth=found[0],
        curves=found[1 : 1 + n_curves].reshape(len(labels), points, -1),
        planes={
            (labels[u], labels[v]): surface
            for (u, v), surface in zip(chosen, surfaces, strict=True)
        },
    )


def valleys_of(values: Tensor, shallow: float) -> tuple[dict[Place, float], list[Place]]:
    """The local minima of a curve or a plane with their depths, and the one below each point.

    Water that rises from the lowest point on fills one valley after the other. Where two meet, the
    higher one ends, and what lies between its bottom and the water is its depth.

    Args:
        values: Shape (K,) or (K, K); neighbours are also those across a corner.
        shallow: Depths up to this share of the range do not count: the valley belongs to the other.

    Returns:
        The depth of each minimum, as a share of the range, by its place, the deepest first, and the
        places of the minima that the points lead down to, in the order of the points. Nothing if
        all values are equal, up to rounding.
    """
    flat = bookkept(values.flatten()).tolist()
    spread = max(flat) - min(flat)
    if not spread > ROUNDING * max(map(abs, flat)):
        return {}, []
    places = list(product(*map(range, values.shape)))
    number = {place: i for i, place in enumerate(places)}
    label: dict[int, int] = {}  # the minimum at which the steepest way down from a point ends
    parent: dict[int, int] = {}  # of a minimum, one in the same water that is deeper, or itself
    absorbed: dict[int, int] = {}
    depth: dict[int, float] = {}

    def height(i: int) -> tuple[float, int]:
        return flat[i], i

    def deepest(minimum: int) -> int:
        while parent[minimum] != minimum:
            minimum = parent[minimum]
        return minimum

    for i in sorted(range(len(flat)), key=height):
        around = product(*(range(x - 1, x + 2) for x in places[i]))
        below = sorted((number[p] for p in around if number.get(p) in label), key=height)
        if not below:
            label[i] = parent[i] = i
            continue
        label[i] = label[below[0]]
        lowest, *others = sorted({deepest(label[j]) for j in below}, key=height)
        beside = next(label[j] for j in below if deepest(label[j]) == lowest)
        for other in others:
            climb = (flat[i] - flat[other]) / spread
            if climb > shallow:
                depth[other] = climb
            else:
                absorbed[other] = beside
            parent[other] = lowest
    depth[flat.index(min(flat))] = 1.0

    def basin(minimum: int) -> Place:
        while minimum in absorbed:
            minimum = absorbed[minimum]
        return places[minimum]

    ranked = sorted(depth.items(), key=lambda item: -item[1])
    return {places[i]: d for i, d in ranked}, [basin(label[i]) for i in range(len(flat))]


def _checked(batches: Any) -> list[Batch]:
    """Batches as a list, each a tuple of theta, targets and context."""
    single = isinstance(batches, tuple | list) and batches and isinstance(batches[0], Tensor)
    if not isinstance(batches, Iterable) or isinstance(batches, Mapping | Tensor):
        raise InputError(
            f"batches must be tuples (theta, target, *context) of tensors, got {described(batches)}"
        )
    given: list[Batch] = [batches] if single else list(batches)  # type: ignore[list-item]
    for batch in given:
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            raise InputError("batches must be tuples (theta, target, *context) of tensors")
        check_real(batch[0], "theta", "parameters")
        for part in batch[1:]:
            check_tensor(part, "targets and context")
        if batch[0].ndim != 2 or len({part.shape[:1] for part in batch}) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in batch)
            raise InputError(
                f"expected theta of shape (batch, U), and targets and context of as many items, "
                f"got shapes {shapes}"
            )
    if not given:
        raise InputError("no batch came; pass at least one")
    if len({batch[0].shape[1] for batch in given}) > 1:
        raise InputError("theta must have the same number of parameters in all batches")
    return given


def _losses(loss: Any, decoder: Any, batch: Batch, values: Mapping[int, float]) -> Tensor:
    """The loss of each target of a batch, where some parameters have other values."""
    theta, target, *context = batch
    guess = theta.clone()
    for parameter, value in values.items():
        guess[:, parameter] = value
    made = decoder(guess, *context)
    check_tensor(made, "what the decoder makes")
    if made.shape[:1] != target.shape[:1]:
        raise InputError(
            f"the decoder must make one item for each of the {len(target)} targets, got shape "
            f"{tuple(made.shape)}"
        )
    # one by one: whatever the loss does with a batch, these are the losses of single targets
    pairs = zip(made.split(1), target.split(1), strict=True)
    return bookkept(torch.stack([_mean(loss(x, y)) for x, y in pairs]))


def _mean(value: Any) -> Tensor:
    """The mean of what a loss returns, which may be one number or several."""
    check_tensor(value, "what the loss returns")
    if not value.is_floating_point():
        raise InputError(f"the loss must return real numbers, got {described(value)}")
    mean: Tensor = value.mean()
    return mean


def _names(names: Sequence[str] | None, decoder: Any, n_parameters: int) -> tuple[str, ...]:
    given = getattr(decoder, "parameter_names", None) if names is None else names
    given = range(n_parameters) if given is None else several("names", given)
    labels = tuple(map(str, given))
    if len(labels) != n_parameters or len(set(labels)) < n_parameters:
        raise ConfigurationError(
            f"names must be {n_parameters} different names, one for each parameter, got {labels}"
        )
    return labels


def _pair(pair: Any, labels: Sequence[str]) -> tuple[int, int]:
    given = list(pair) if isinstance(pair, Iterable) and not isinstance(pair, str) else []
    found = [labels.index(name) for name in given if isinstance(name, str) and name in labels]
    if len(found) != 2 or len(given) != 2 or found[0] == found[1]:
        raise ConfigurationError(
            f"a pair must be two of the parameters {', '.join(labels)}, got {pair!r}"
        )
    return found[0], found[1]
