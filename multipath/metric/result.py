"""What metrics say about a synthesizer: eigenvalues, inaudible directions, important paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from multipath._internal.extras import extra
from multipath._internal.files import write_tensors
from multipath._internal.inputs import brief, check_tensor, described, is_dense
from multipath._internal.settings import between
from multipath._internal.tables import aligned
from multipath.errors import InputError
from multipath.importance import ThetaImportance
from multipath.importance.result import load_paths, plain_paths, read_tensors
from multipath.paths import PathTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = "multipath parameter metrics, 1"
FIELDS = {"format", "paths", "parameters", "theta", "metric", "path_metrics", "settings"}


@dataclass(frozen=True, eq=False)
class ParameterMetric:
    r"""The metrics of some examples, and the share that each path has in them.

    Attributes:
        paths: The P paths of the loss.
        parameters: Names of the U parameters.
        theta: Where the metrics are those, shape (n, U).
        metric: :math:`M(\theta)`, float64 of shape (n, U, U).
        path_metrics: :math:`w_p M_p` averaged over the examples, float64 of shape (P, U, U); their
            sum is the mean of ``metric``.
        settings: How they were measured.

    Example:
        >>> parts = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 4.0]]])
        >>> found = ParameterMetric(
        ...     PathTable(2), ("AM", "FM"), torch.zeros(1, 2), parts.sum(0, keepdim=True), parts
        ... )
        >>> found.eigenvalues.round(decimals=2)
        tensor([0.7600, 5.2400], dtype=torch.float64)
        >>> found.importance().probabilities()
        tensor([0.2500, 0.7500], dtype=torch.float64)
        >>> print(found)
        metric of 2 parameters, mean of 1 examples, 2 paths
        parameter  sensitivity  share of the trace
               AM         1.41               33.3%
               FM            2               66.7%
        eigenvalue  of the largest  direction
             0.764           14.6%  0.85 AM - 0.53 FM
              5.24            100%  0.53 AM + 0.85 FM
    """

    paths: PathTable
    parameters: tuple[str, ...]
    theta: Tensor
    metric: Tensor
    path_metrics: Tensor
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what was found."""
        size, count = len(self.parameters), len(self.theta)
        shapes = {
            "theta": (count, size),
            "metric": (count, size, size),
            "path_metrics": (len(self.paths), size, size),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            check_tensor(values, name)
            if values.shape != shape or not (values.is_floating_point() and is_dense(values)):
                raise InputError(
                    f"{name} must be real numbers of shape {shape}, got {described(values)}"
                )
            if not bool(values.isfinite().all()):
                raise InputError(f"{name} must be finite")
            object.__setattr__(self, name, values.detach().cpu().double())

    @property
    def mean(self) -> Tensor:
        """The mean of the metrics, shape (U, U)."""
        return self.metric.mean(dim=0)

    @property
    def eigenvalues(self) -> Tensor:
        """Those of the mean metric, in ascending order, shape (U,)."""
        values: Tensor = torch.linalg.eigvalsh(self.mean)
        return values.clamp_min(0)

    @property
    def directions(self) -> Tensor:
        """Unit eigenvectors of the mean metric, a row for each eigenvalue, shape (U, U)."""
        rows: Tensor = torch.linalg.eigh(self.mean).eigenvectors.T
        # the sign is anybody's: the largest number is positive
        largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
        return rows * largest.sign()

    @property
    def traces(self) -> Tensor:
        r""":math:`w_p \operatorname{tr} M_p`, what each path adds to all parameters, shape (P,)."""
        return self.path_metrics.diagonal(dim1=1, dim2=2).sum(dim=1).clamp_min(0)

    def inaudible(self, share: float = 1e-3) -> Tensor:
        """Directions in which the sound hardly changes, shape (number of them, U).

        Args:
            share: Eigenvalues below this share of the largest count as inaudible.
        """
        share = between("share", share, 0, 1)
        return self.directions[self.eigenvalues <= share * self.eigenvalues.max()]

    def importance(self) -> ThetaImportance:
        r"""How much each path says about each parameter, without an encoder.

        The curvature of path p along parameter u is :math:`w_p (M_p)_{uu}`, the diagonal of its
        metric; :meth:`~multipath.importance.ThetaImportance.probabilities` then normalises each
        parameter, and a sampler can draw from them. Parameters without effect are left out.

        Raises:
            InputError: If no parameter has any effect.
        """
        curvature = self.path_metrics.diagonal(dim1=1, dim2=2).T.clamp_min(0)
        heard = curvature.any(dim=1).tolist()
        if not any(heard):
            raise InputError("no parameter has any effect: all metrics are zero")
        names = tuple(n for n, yes in zip(self.parameters, heard, strict=True) if yes)
        return ThetaImportance(
            self.paths, names, curvature[heard], None, {**self.settings, "method": "metric"}
        )

    def save(self, file: str | PathLike[str]) -> None:
        """Write everything to a file, whole or not at all."""
        target = FilePath(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "format": FORMAT,
            "paths": plain_paths(self.paths),
            "parameters": list(self.parameters),
            "theta": self.theta,
            "metric": self.metric,
            "path_metrics": self.path_metrics,
            "settings": dict(self.settings),
        }
        write_tensors(target, content)

    @classmethod
    def load(cls, file: str | PathLike[str]) -> ParameterMetric:
        """Read what :meth:`save` has written.

        Raises:
            InputError: If the file is missing, damaged, or something else.
        """
        content = read_tensors(file, "multipath metric")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{file} holds no metrics; make them with `multipath metric`")
        try:
            if content.keys() != FIELDS:
                raise KeyError(*(content.keys() ^ FIELDS))
            names = content["parameters"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise TypeError("the parameters have no names")
            return cls(
                load_paths(content["paths"]),
                tuple(names),
                content["theta"],
                content["metric"],
                content["path_metrics"],
                dict(content["settings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{file} is incomplete or damaged ({brief(error)}); make it again"
            ) from error

    def plot(self, file: str | PathLike[str] | None = None, *, title: str = "") -> Figure:
        """Plot ellipses over each pair of parameters, eigenvalues, and the traces of the paths.

        Parameters on an ellipse sound equally far from those in its middle, all others being those
        of the example; all ellipses of a plot have the same distance.

        Args:
            file: Where to save the plot, if anywhere; the suffix says in which format.
            title: Text above the plot.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed; the message names the extra.
        """
        with extra():
            from multipath._plots.metric import plot_metric
        return plot_metric(
            self.paths,
            self.parameters,
            self.theta.numpy(),
            self.metric.numpy(),
            self.traces.numpy(),
            file,
            title,
        )

    def __str__(self) -> str:
        """A table of the parameters, and one of the eigenvalues."""
        diagonal = self.mean.diagonal().clamp_min(0)
        rows = [["parameter", "sensitivity", "share of the trace"]]
        trace = float(diagonal.sum()) or 1.0
        for name, value in zip(self.parameters, diagonal.tolist(), strict=True):
            rows.append([name, f"{value**0.5:.3g}", f"{value / trace:.1%}"])
        spectrum = [["eigenvalue", "of the largest", "direction"]]
        largest = float(self.eigenvalues.max()) or 1.0
        for value, direction in zip(self.eigenvalues.tolist(), self.directions, strict=True):
            words = self._words(direction.tolist())
            spectrum.append([f"{value:.3g}", f"{100 * value / largest:.3g}%", words])
        head = (
            f"metric of {len(self.parameters)} parameters, mean of {len(self.theta)} examples, "
            f"{len(self.paths)} paths"
        )
        return "\n".join([head, aligned(rows), _last_left(spectrum)])

    def _words(self, direction: list[float]) -> str:
        """A direction as a sum of parameters; small parts are left out."""
        text = ""
        for name, part in zip(self.parameters, direction, strict=True):
            if abs(part) >= 0.05:
                sign = (" - " if part < 0 else " + ") if text else ("-" if part < 0 else "")
                text += f"{sign}{abs(part):.2g} {name}"
        return text


def _last_left(rows: list[list[str]]) -> str:
    """Numbers to the right, words to the left."""
    numbers = aligned([row[:-1] for row in rows]).splitlines()
    return "\n".join(f"{n}  {row[-1]}" for n, row in zip(numbers, rows, strict=True))
