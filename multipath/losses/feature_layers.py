"""Distance between the features of a network, one layer at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from threading import get_ident
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from multipath._internal.inputs import check_real
from multipath._internal.printing import listed
from multipath._internal.settings import choice, positive, several, switch, whole
from multipath.errors import ConfigurationError, InputError
from multipath.paths import Path, check_indices
from multipath.transforms.base import working_dtype

from ._constants import Constants
from .base import Indices, PathDecomposedLoss, Reduction

Distance = Literal["squared", "absolute"] | Callable[[Tensor], Tensor]


class FeatureLayers(PathDecomposedLoss):
    r"""What a network extracts from two signals, compared layer by layer; a path is a layer.

    .. math:: L_l(x, y) = \frac{1}{|S_l|} \sum_{s \in S_l} \sum_c
        \big(\hat f_l(x)_{cs} - \hat f_l(y)_{cs}\big)^2, \qquad
        \hat f_{cs} = \frac{f_{cs}}{\sqrt{\sum_{c'} f_{c's}^2 + \varepsilon^2}}

    over the channels c and all other positions s of the output :math:`f_l` of a layer: a perceptual
    loss as in LPIPS, without its learned weights. Layers share the network up to them: one forward
    serves all layers asked for, and stops after the last of them. Of a layer that runs several
    times in a forward, the first output counts.

    The target is always evaluated without gradients.

    Args:
        network: Any module that runs as Python: not one wrapped for several devices, scripted,
            traced or compiled, but the module inside. Called with the input alone.
        layers: Their dotted names, as in ``network.named_modules()``: ``"0"``, ``"encoder.conv2"``.
        normalize: Divide features by their norm over channels, as above; else take them as they
            are.
        distance: ``"squared"`` as above, ``"absolute"`` for magnitudes instead of squares, or a
            function from differences (batch, ...) to distances (batch,).
        frozen: The network is a constant, evaluated as after ``eval()``: no gradient reaches its
            weights, and it is left as it is at every moment, so that other threads may use it
            meanwhile. (Parts of it that only a plain Python object leads to, no module, list or
            function, are not known to be parts, and run as they are.) False trains it along, in
            the mode that it has.
        channel_dim: Dimension of the channels in the output of each layer: 1 for convolutions, -1
            for transformers.
        eps: :math:`\varepsilon`, below which features count as silent.
        costs: Cost of running the network up to each layer, relative to the others (> 0).
            Default: the operations counted on ``example`` or, without one, the parameters
            registered up to and with the layer.
        example: An input of the network, on which the operations up to each layer are counted.
        weights: :math:`w_l`, default 1/P.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ConfigurationError: If the network is one that hooks cannot look into, a layer does not
            exist or is named twice, or another setting cannot work.
        InputError: With an example, if the network does not reach a layer.

    Example:
        >>> layers = [torch.nn.Conv1d(1, 4, 9), torch.nn.ReLU(), torch.nn.Conv1d(4, 8, 9)]
        >>> loss = FeatureLayers(torch.nn.Sequential(*layers), ["1", "2"])
        >>> print(loss.paths)
        index  key  cost
            0  1       1
            1  2    8.22
        >>> x = torch.randn(2, 1, 64, requires_grad=True)
        >>> loss(x, torch.randn(2, 1, 64)).backward()
        >>> x.grad.shape, layers[0].weight.grad  # frozen
        (torch.Size([2, 1, 64]), None)

    Source: Zhang et al., *The unreasonable effectiveness of deep features as a perceptual metric*,
    2018.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        *,
        normalize: bool = True,
        distance: Distance = "squared",
        frozen: bool = True,
        channel_dim: int = 1,
        eps: float = 1e-5,
        costs: Sequence[float] | None = None,
        example: Tensor | None = None,
        weights: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        names = _check_layers(network, layers)
        if not callable(distance):
            choice("distance", distance, "squared", "absolute", other="a function")
        eps, channel_dim = positive("eps", eps), whole("channel_dim", channel_dim)
        counted = (
            _parameters(network, names) if example is None else _operations(network, names, example)
        )
        given = counted if costs is None else several("costs", costs)
        if len(given) != len(names):
            raise ConfigurationError(
                f"costs must have one entry for each of the {len(names)} layers, got {len(given)}"
            )
        priced = zip(names, given, strict=True)
        paths = [Path(i, name, cost=cost) for i, (name, cost) in enumerate(priced)]
        super().__init__(paths, weights=weights, reduction=reduction)
        self.network, self.frozen = network, switch("frozen", frozen)
        self.normalize, self.distance = switch("normalize", normalize), distance
        self.channel_dim, self.eps = channel_dim, eps

    @property
    def compilable(self) -> bool:
        """False: a forward that ends with the last layer asked for is left by an exception."""
        return False

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """Distance on each chosen layer, from one forward of each signal.

        Args:
            input: What the network takes, batch first.
            target: What it should match, batch first.
            indices: Which layers.

        Raises:
            InputError: If input or target is no tensor of real numbers, the network does not reach
                a layer, or the output of one is not one tensor.
        """
        chosen = check_indices(indices, len(self.paths))
        check_real(input, "input", "inputs of the network")
        check_real(target, "target", "inputs of the network")
        names = [str(self.paths[path].key) for path in chosen]
        with torch.no_grad():
            wanted = _features(self.network, target, names, self.frozen)
        found = _features(self.network, input, names, self.frozen)
        values = {name: self._compare(found[name], wanted[name]) for name in found}
        return torch.stack([values[name] for name in names])

    def _compare(self, found: Tensor, wanted: Tensor) -> Tensor:
        if found.shape != wanted.shape:
            raise InputError(
                "input and target must give features of the same shape, got "
                f"{tuple(found.shape)} and {tuple(wanted.shape)}"
            )
        # half precision, as autocast makes it, would round small differences away
        found, wanted = (features.to(working_dtype(features)) for features in (found, wanted))
        difference = self._unit(found) - self._unit(wanted)
        if not isinstance(self.distance, str):
            return self.distance(difference)
        pointwise = difference.square() if self.distance == "squared" else difference.abs()
        summed = pointwise.sum(dim=self.channel_dim)
        return summed.flatten(1).mean(dim=1) if summed.ndim > 1 else summed

    def _unit(self, features: Tensor) -> Tensor:
        if not self.normalize:
            return features
        # relative to the largest, for squares and their slopes would leave the range of numbers
        least = max(self.eps, torch.finfo(features.dtype).tiny)
        scale = features.detach().abs().amax(dim=self.channel_dim, keepdim=True).clamp_min(least)
        relative = features / scale
        energy = relative.square().sum(dim=self.channel_dim, keepdim=True)
        return relative * (energy + (least / scale).square()).rsqrt()

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        settings = listed(
            layers=self.paths.keys,
            normalize=self.normalize,
            distance=self.distance,
            frozen=self.frozen,
            channel_dim=self.channel_dim,
            eps=self.eps,
        )
        return f"{super().extra_repr()}, {settings}"


class _Reached(BaseException):
    """All layers asked for have run: leave the forward, past any ``except Exception`` in it."""


@_disable_dynamo  # whose guards would not know the stand-ins of the next call
def _features(
    network: nn.Module, x: Tensor, names: Sequence[str], frozen: bool
) -> dict[str, Tensor]:
    """Output of each named layer; the forward ends with the last of them."""
    found: dict[str, Tensor] = {}
    missing = set(names)
    thread = get_ident()

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if name not in missing or get_ident() != thread:
                return
            if not isinstance(output, Tensor):
                raise InputError(
                    f"layer {name!r} must return one tensor, got {type(output).__name__}; choose a "
                    "layer inside or after it"
                )
            missing.discard(name)
            # a copy: the layer that follows may work in place
            found[name] = output.clone() if missing else output
            if not missing:
                raise _Reached

        return hook

    stand_in: Callable[[nn.Module], nn.Module] = (
        Constants(network) if frozen else lambda module: module
    )
    handles = []
    try:
        for name in set(names):
            layer = stand_in(network.get_submodule(name))
            handles.append(layer.register_forward_hook(keep(name)))
        stand_in(network)(x)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if missing:
        raise InputError(
            f"the forward of {type(network).__name__} does not reach {', '.join(sorted(missing))}; "
            "choose layers that every forward calls"
        )
    return found


def _check_layers(network: nn.Module, layers: Sequence[str]) -> list[str]:
    if not isinstance(network, nn.Module):
        raise ConfigurationError(f"network must be a torch.nn.Module, got {network!r}")
    _check_transparent(network)
    if isinstance(layers, str):
        raise ConfigurationError(f"layers must be a list of names, got the string {layers!r}")
    known = [name for name, _ in network.named_modules() if name]
    for name in layers:
        if name not in known:
            raise ConfigurationError(_unknown(network, name, known))
    return list(layers)


def _check_transparent(network: nn.Module) -> None:
    """Refuse a network whose layers do not run here and now, as Python."""
    for name, module in network.named_modules():
        at = f"network.{name}" if name else "network"
        if isinstance(module, torch.jit.ScriptModule):
            remedy = "the nn.Module that it was made from"
        elif isinstance(module, DistributedDataParallel) or (
            module is network and isinstance(module, DataParallel)
        ):
            remedy = f"{at}.module"
        elif module is network and "_orig_mod" in module._modules:  # as torch.compile makes
            remedy = "network._orig_mod"
        elif any(map(is_lazy, module.parameters(recurse=False))):
            remedy = "it once, so that it gets its weights"
        else:
            continue
        raise ConfigurationError(
            f"{at} is a {type(module).__name__}, whose layers cannot be observed; use {remedy}"
        )


def _unknown(network: nn.Module, name: str, known: Sequence[str]) -> str:
    every = dict(network.named_modules(remove_duplicate=False))
    same = [other for other in known if every[other] is every.get(str(name))]
    if same:
        return (
            f"layer {name!r} is the same module as {same[0]!r}, of which the first output counts; "
            f"name {same[0]!r}"
        )
    near = get_close_matches(str(name), known, n=4, cutoff=0.3) or known[:4]
    return (
        f"{type(network).__name__} has no layer {name!r}; it has {len(known)}, such as "
        f"{', '.join(near)} (network.named_modules() lists them)"
    )


def _parameters(network: nn.Module, names: Sequence[str]) -> list[float]:
    """Parameters registered up to and with each layer, as multiples of the fewest."""
    counts, seen = {}, set[int]()
    total = 1
    for name, module in network.named_modules():
        own = {id(weight): weight.numel() for weight in module.parameters(recurse=False)}
        total += sum(count for key, count in own.items() if key not in seen)
        seen.update(own)
        counts[name] = total
    # a container ends with the last module in it
    return _relative(
        [max(counts[n] for n in counts if f"{n}.".startswith(f"{name}.")) for name in names]
    )


def _operations(network: nn.Module, names: Sequence[str], example: Tensor) -> list[float]:
    """Floating-point operations up to and with each layer, as multiples of the fewest."""
    counts = []
    with torch.no_grad():
        for name in names:
            with FlopCounterMode(display=False) as counter:
                _features(network, example, [name], frozen=True)
            counts.append(1 + counter.get_total_flops())  # pointwise layers count as none
    return _relative(counts)


def _relative(counts: Sequence[int]) -> list[float]:
    least = min(counts, default=1)
    return [count / least for count in counts]
