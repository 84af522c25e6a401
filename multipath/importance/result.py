"""What theta-importance has found: a matrix, probabilities, a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from multipath._internal.extras import extra
from multipath._internal.files import write_tensors
from multipath._internal.inputs import brief, check_tensor, described, is_dense, is_whole
from multipath._internal.settings import between
from multipath._internal.tables import aligned, html_table
from multipath.errors import ConfigurationError, InputError
from multipath.paths import Path, PathTable
from multipath.samplers import Importance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = "multipath theta-importance result, 1"
FIELDS = {"format", "paths", "parameters", "curvature", "residuals", "settings"}


@dataclass(frozen=True, eq=False)
class ThetaImportance:
    r"""The curvature of each path's loss along each parameter, and probabilities made from it.

    Attributes:
        paths: The paths of the loss.
        parameters: Names of the U parameters.
        curvature: :math:`C_{u,p}`, float64 of shape (U, P).
        residuals: How well the eigenvalues have converged, shape (U, P): the largest over the
            batches of :math:`|M y - \lambda y| / |\lambda|`, where y is the unit vector found.
            None for a proxy.
        settings: How the curvature was measured.

    Example:
        >>> result = ThetaImportance(
        ...     PathTable(3), ("AM", "FM"), torch.tensor([[1.0, 1.0, 2.0], [6.0, 1.0, 1.0]])
        ... )
        >>> result.probabilities()
        tensor([0.5000, 0.1875, 0.3125], dtype=torch.float64)
        >>> print(result)
        theta-importance of 3 paths for 2 parameters
        parameter  effective paths  largest share  of path
               AM             2.83            0.5        2
               FM             2.09           0.75        0
             both             2.78            0.5        0
    """

    paths: PathTable
    parameters: tuple[str, ...]
    curvature: Tensor
    residuals: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what was found."""
        values = self._matrix("curvature", self.curvature)
        if self.residuals is not None:
            object.__setattr__(self, "residuals", self._matrix("residuals", self.residuals))
        for name, row in zip(self.parameters, values, strict=True):
            if not row.any():
                raise InputError(
                    f"no path has any curvature along {name}: there is nothing to make "
                    "probabilities from; check that the encoder does not detach it, and that the "
                    "decoder uses it"
                )
        object.__setattr__(self, "curvature", values)

    def _matrix(self, name: str, values: Any) -> Tensor:
        """One number for each parameter and path, float64 on the CPU."""
        check_tensor(values, name)
        if values.shape != (len(self.parameters), len(self.paths)):
            raise InputError(
                f"{name} must have shape (U, P) = ({len(self.parameters)}, {len(self.paths)}), "
                f"got {tuple(values.shape)}"
            )
        if not values.is_floating_point() or not is_dense(values):
            raise InputError(f"{name} must be real and dense, got {described(values)}")
        found: Tensor = values.detach().cpu().double()
        if not bool(torch.isfinite(found).all() and (found >= 0).all()):
            raise InputError(f"{name} must be finite and not negative")
        return found

    @property
    def shares(self) -> Tensor:
        r""":math:`C_{u,p} / \sum_{p'} C_{u,p'}`, shape (U, P)."""
        return self.curvature / self.curvature.sum(dim=1, keepdim=True)

    def probabilities(self, floor: float = 0.0, reweight: bool = False) -> Tensor:
        r"""Equation 10: :math:`\pi_p = \frac{1}{U} \sum_u C_{u,p} / \sum_{p'} C_{u,p'}`.

        Args:
            floor: The share f of the draws that is spread evenly over all paths,
                :math:`(1 - f) \pi_p + f / P`. Default 0, as published.
            reweight: Whether the probabilities are meant for an estimator of the mean loss
                (``StochasticLoss(reweight=True)``), which must be able to draw every path.

        Returns:
            Probabilities that sum to 1, float64 of shape (P,).

        Raises:
            ConfigurationError: If floor is not in [0, 1], or if ``reweight`` is set and a
                probability is zero.
        """
        floor = between("floor", floor, 0, 1)
        mean = self.shares.mean(dim=0)
        found = (1 - floor) * mean / mean.sum() + floor / len(self.paths)
        if reweight and bool((found == 0).any()):
            raise ConfigurationError(
                f"{int((found == 0).sum())} paths have probability 0, and an estimate of the mean "
                "loss would miss them: pass a floor, e.g. floor=0.1"
            )
        return found

    def sampler(self, floor: float = 0.0) -> Importance:
        """A sampler that draws with :meth:`probabilities`."""
        return Importance(self.probabilities(floor))

    def share(self, inside: Sequence[bool] | Tensor, floor: float = 0.0) -> float:
        """Share of the probability that falls on some of the paths.

        Args:
            inside: Which paths, one boolean each.
            floor: As in :meth:`probabilities`.
        """
        return float(self.probabilities(floor)[self._chosen(inside)].sum())

    def save(self, file: str | PathLike[str]) -> None:
        """Write everything to a file, whole or not at all."""
        target = FilePath(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "format": FORMAT,
            "paths": plain_paths(self.paths),
            "parameters": list(self.parameters),
            "curvature": self.curvature,
            "residuals": self.residuals,
            "settings": dict(self.settings),
        }
        write_tensors(target, content)

    @classmethod
    def load(cls, file: str | PathLike[str]) -> ThetaImportance:
        """Read what :meth:`save` has written.

        Raises:
            InputError: If the file is missing, damaged, or something else.
        """
        content = read_tensors(file)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(
                f"{file} is no result of theta-importance; make one with "
                "`multipath importance` or theta_importance(...).save(file)"
            )
        try:
            paths = load_paths(content["paths"])
            parameters = tuple(content["parameters"])
            if not isinstance(content["parameters"], list) or not all(
                isinstance(name, str) for name in parameters
            ):
                raise TypeError("the parameters have no names")
            values = content["curvature"], content["residuals"], dict(content["settings"])
            if unknown := content.keys() - FIELDS:
                raise KeyError(*unknown)
            return cls(paths, parameters, *values)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{file} is incomplete or damaged ({brief(error)}); make it again"
            ) from error

    def plot(
        self,
        file: str | PathLike[str] | None = None,
        *,
        inside: Sequence[bool] | Tensor | None = None,
        title: str = "",
    ) -> Figure:
        r"""Plot :math:`P \pi_p`, how much more often than uniformly each path is drawn.

        The plot is over the plane of rates and scales if the paths have such columns, as in figure
        6 of the paper, and otherwise over the indices of the paths.

        Args:
            file: Where to save the plot, if anywhere; the suffix says in which format.
            inside: Which paths to outline, one boolean each.
            title: Text above the plot.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed; the message names the extra.
        """
        with extra():
            from multipath._plots.importance import plot_probabilities
        chosen = None if inside is None else self._chosen(inside).numpy()
        return plot_probabilities(self.paths, self.probabilities().numpy(), file, chosen, title)

    def _chosen(self, inside: Sequence[bool] | Tensor) -> Tensor:
        chosen = torch.as_tensor(inside, dtype=torch.bool, device="cpu")
        if chosen.shape != (len(self.paths),):
            raise InputError(
                f"inside must hold one truth value for each of the {len(self.paths)} paths, got "
                f"shape {tuple(chosen.shape)}"
            )
        return chosen

    def __str__(self) -> str:
        """A table with a row for each parameter."""
        lines = [self._heading(), aligned(self._cells())]
        if self.residuals is not None:
            lines.append(f"largest residual {float(self.residuals.max()):.2g}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same table, in notebooks."""
        return html_table(self._cells(), self._heading())

    def _heading(self) -> str:
        return f"theta-importance of {len(self.paths)} paths for {len(self.parameters)} parameters"

    def _cells(self) -> list[list[str]]:
        named = [*zip(self.parameters, self.shares, strict=True)]
        if len(named) > 1:
            named.append(("both" if len(named) == 2 else "all", self.probabilities()))
        rows = [["parameter", "effective paths", "largest share", "of path"]]
        for name, shares in named:
            entropy = -(shares * shares.clamp_min(1e-300).log()).sum()
            largest = int(shares.argmax())
            path = str(self.paths[largest].key)
            rows.append([name, f"{entropy.exp():.3g}", f"{shares[largest]:.3g}", path])
        return rows


def load_probabilities(file: str | PathLike[str]) -> Tensor:
    """Probabilities from a saved :class:`ThetaImportance`, or a saved tensor of shape (P,).

    Raises:
        InputError: If the file is missing or damaged, or does not hold probabilities.
    """
    content = read_tensors(file)
    if not isinstance(content, Tensor):
        return ThetaImportance.load(file).probabilities()
    if content.ndim != 1 or not content.is_floating_point() or not is_whole(content):
        raise InputError(
            f"{file} must hold probabilities of shape (P,), got {described(content)}; make it again"
        )
    values: Tensor = content.detach().cpu().double()
    fine = bool(torch.isfinite(values).all() and (values >= 0).all())
    if not fine or abs(float(values.sum()) - 1) > 1e-6:
        raise InputError(
            f"{file} must hold probabilities of shape (P,) that add up to 1, got shape "
            f"{tuple(values.shape)} and sum {float(values.sum()):g}"
        )
    return values


def plain_paths(paths: PathTable) -> list[Any]:
    """The paths in plain values, for a file."""
    return [_plain((path.key, dict(path.metadata), path.cost)) for path in paths]


def load_paths(rows: Any) -> PathTable:
    """The inverse of :func:`plain_paths`; what is damaged raises anything."""
    return PathTable(
        Path(index, _hashable(key), {k: _hashable(v) for k, v in metadata.items()}, cost)
        for index, (key, metadata, cost) in enumerate(rows)
    )


def read_tensors(file: str | PathLike[str], command: str = "multipath importance") -> Any:
    """What a file of tensors and plain values holds; no code of it is run.

    Raises:
        InputError: If it cannot be read; the message names the command that makes one.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no file {file}; make one with `{command}`") from None
    except Exception as error:  # unpickling a damaged file may raise anything
        raise InputError(
            f"{file} cannot be read ({type(error).__name__}); make it again"
        ) from error


def _hashable(value: Any) -> Any:
    if isinstance(value, Tensor):
        raise TypeError("a path is described by a tensor")
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Replace numpy's scalars by Python's, since ``torch.load(weights_only=True)`` refuses them."""
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value
