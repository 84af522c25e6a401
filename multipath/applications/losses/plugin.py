"""A loss or a transform that somebody else's package announces, for sounds of some length."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

from multipath import PathDecomposedLoss, TransformLoss
from multipath.errors import ConfigurationError, MultipathError
from multipath.plugins import installed, unknown
from multipath.transforms import Transform

__all__ = ["make_plugin_loss"]

KINDS = "losses", "transforms"


def make_plugin_loss(name: str, n_samples: int, sample_rate: float) -> PathDecomposedLoss:
    """The loss of a plug-in; a transform is compared by squared L2 distances.

    What is announced is called with ``n_samples`` and ``sample_rate`` (Hz), if it names them; every
    other argument needs a default.

    Args:
        name: As ``multipath list`` prints it, of a loss or a transform (:mod:`multipath.plugins`).
        n_samples: Length of the sounds.
        sample_rate: Sample rate of the sounds, in Hz.

    Raises:
        ConfigurationError: If there is none, several have the name, it wants other arguments, or
            makes neither a loss nor a transform.

    Example:
        >>> loss = make_plugin_loss("MultiResolutionSTFT", 4096, 8192.0)
        >>> type(loss).__name__, len(loss.paths)
        ('TransformLoss', 3)
    """
    found = [plugin for kind in KINDS for plugin in installed(kind, name)]
    if not found:
        raise unknown(name, *KINDS)
    if len(found) > 1:
        names = ", ".join(f"{plugin} in {plugin.kind}" for plugin in found)
        raise ConfigurationError(f"several plug-ins are called {name}: {names}; uninstall one")
    make = found[0].load()
    try:
        made = make(**_arguments(name, make, {"n_samples": n_samples, "sample_rate": sample_rate}))
    except MultipathError:
        raise
    except Exception as error:  # code of others
        raise ConfigurationError(
            f"{found[0]} makes no loss for sounds of {n_samples} samples at {sample_rate:g} Hz: "
            f"{type(error).__name__}: {error}"
        ) from error
    loss = TransformLoss(made) if isinstance(made, Transform) else made
    if not isinstance(loss, PathDecomposedLoss):
        raise ConfigurationError(
            f"{found[0]} must make a PathDecomposedLoss or a Transform, got {type(made).__name__}"
        )
    return loss


def _arguments(name: str, make: Any, known: dict[str, Any]) -> dict[str, Any]:
    parameters = signature(make).parameters.values()
    several = Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in several and p.name not in known
    ]
    if missing:
        raise ConfigurationError(
            f"{name} has no default for {', '.join(missing)}; announce a function that chooses, "
            f"and takes no other arguments than {' and '.join(known)}"
        )
    return {p.name: known[p.name] for p in parameters if p.name in known}
