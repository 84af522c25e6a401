r"""Several distances between the coefficients of one transform, as paths of one loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, prod, sqrt

import torch
from torch import Tensor, nn

from multipath._internal.modes import trainable
from multipath._internal.printing import listed
from multipath._internal.settings import between, not_negative, positive
from multipath._internal.state import ANOTHER, loaded_tensor, pack, unpack
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.paths import Path, PathIndices, check_indices

from ._targets import average_over_targets, checked_batches
from .base import Indices, PathDecomposedLoss
from .transform import LOUDEST, QUIETEST, Log1p, TransformLoss, check_pair

Pick = Callable[[list[Tensor]], list[Tensor]]

EPS_MEDIANS = 10.0
"""Where compression sets in, in median coefficients of the targets."""


class CombinedLoss(PathDecomposedLoss):
    r"""Losses on the coefficients of one transform, combined: a path is a path of one of them.

    .. math:: L = \sum_i a_i \frac{L_i}{s_i}
        = \sum_{i,p} a_i w_{ip} \frac{L_{ip}}{s_i}, \qquad \sum_i a_i = 1

    with the shares :math:`a_i` and the sizes :math:`s_i`, so that distances in different units are
    comparable. The paths of all the losses form one table; a draw may contain any of them, and the
    coefficients that those drawn need are computed once, also where several losses look at the same
    path of the transform.

    **Why.** What a distance can teach depends on the coefficients that it listens to. The plain sum
    of squares hears the loudest and learns what they carry quickly, but it may have a second valley
    in a parameter that shows on the quiet ones: a training that enters it stays there. Compressed
    coefficients hear both, and more slowly. Together they have one valley where the plain loss has
    two; :func:`~multipath.diagnostics.loss_landscape` shows whether that is so for your parameters.
    :meth:`with_compression` makes this pair.

    Draws may take the paths one by one, or, from ``grouped("path")``, all the distances on a path
    of the transform together, which adds little to the cost of its coefficients.

    Args:
        losses: The losses, by name, of which all have the same ``transform``, ``cache`` and
            ``reduction``.
        shares: :math:`a_i \ge 0` by name, divided by their sum. Default: equal shares.
        sizes: :math:`s_i > 0` by name. Default: 1 each.

    Attributes:
        paths: Keys ``(NAME, KEY)`` with the key in the transform; the columns ``distance`` (the
            name) and ``path`` (the key) beside those of the transform. ``grouped("path")`` makes
            the distances on one path a unit.

    Raises:
        ConfigurationError: If the losses do not share what they have to, or shares or sizes do not
            fit them.

    Example:
        >>> from multipath.transforms import MultiResolutionSTFT
        >>> transform = MultiResolutionSTFT([64, 128])
        >>> plain, bold = TransformLoss(transform), TransformLoss(transform, rho="log1p", eps=0.1)
        >>> loss = CombinedLoss({"plain": plain, "bold": bold}, {"plain": 3.0, "bold": 1.0})
        >>> loss.paths[2].key
        ('bold', 'fft64-hop16-win64')
        >>> loss.path_weights
        tensor([0.3750, 0.3750, 0.1250, 0.1250], dtype=torch.float64)
        >>> tone = torch.sin(0.3 * torch.arange(1024.0))[None]
        >>> x, y = 0.5 * tone, tone
        >>> bool(torch.isclose(loss(x, y), 0.75 * plain(x, y) + 0.25 * bold(x, y)))
        True
    """

    def __init__(
        self,
        losses: Mapping[str, TransformLoss],
        shares: Mapping[str, float] | None = None,
        sizes: Mapping[str, float] | None = None,
    ) -> None:
        names = _check_losses(losses)
        first = next(iter(losses.values()))
        given = _numbers("share", shares, names)
        total = sum(given)
        if not total > 0:
            raise ConfigurationError(f"shares must not all be zero, got {shares}")
        self.shares = {name: share / total for name, share in zip(names, given, strict=True)}
        super().__init__(
            [
                Path(
                    index,
                    key=(name, path.key),
                    metadata={"distance": name, "path": path.key, **path.metadata},
                    cost=path.cost,
                )
                for index, (name, path) in enumerate(
                    (name, path) for name in names for path in first.paths
                )
            ],
            weights=torch.cat([self.shares[name] * losses[name].path_weights for name in names]),
            reduction=first.reduction,
        )
        self.losses = nn.ModuleList(losses.values())
        self.sizes = {
            name: positive(f"the size of {name!r}", size)
            for name, size in zip(names, _numbers("size", sizes, names), strict=True)
        }

    @classmethod
    def from_targets(
        cls,
        losses: Mapping[str, TransformLoss],
        targets: Iterable[Tensor] | Tensor,
        shares: Mapping[str, float] | None = None,
    ) -> CombinedLoss:
        r"""Measure the sizes on some targets: :math:`s_i` is the mean loss between two of them.

        Each target is compared with the next. Neither gradients nor labels are needed.

        Args:
            losses: As in the class.
            targets: Batches of targets, or one, gone through once; a few dozen sounds are enough.
            shares: As in the class.

        Raises:
            ConfigurationError: If an argument is out of range.
            InputError: If there are fewer than two targets, all are alike, they differ in shape, or
                they are not batches of finite numbers.
        """
        _check_losses(losses)
        first = next(iter(losses.values()))
        batches = _of_one_shape(first, targets)
        if sum(map(len, batches)) < 2:
            raise InputError("sizes are measured between targets: pass at least two of them")
        counting = {path for loss in losses.values() for path in loss._paths_that_count()[0]}
        paths = sorted(counting)
        before: list[tuple[list[Tensor], Tensor]] = []  # the last target of the batch before

        def between_neighbours(batch: Tensor) -> Tensor:
            # both sides of all pairs, and all losses, look at the same coefficients
            found, row = first._wanted(batch, paths)
            width = prod(batch.shape[1 : batch.ndim - first.transform.signal_ndim])
            for last, sound in before:
                found = [torch.cat(pair) for pair in zip(last, found, strict=True)]
                row = torch.cat([sound, row])
            before[:] = [([c[-width:] for c in found], row[-width:])]
            if len(row) <= width:  # the first target alone: it has no neighbour yet
                return row.new_zeros(len(losses), 0)
            ahead = {path: c[width:] for path, c in zip(paths, found, strict=True)}
            behind = {path: c[:-width] for path, c in zip(paths, found, strict=True)}
            return torch.stack(
                [loss._full(ahead, behind, row[:-width]) for loss in losses.values()]
            )

        sizes = average_over_targets(batches, between_neighbours).tolist()
        if not all(size > 0 for size in sizes):
            raise InputError("the targets are all alike: pass some that differ")
        return cls(losses, shares, dict(zip(losses, sizes, strict=True)))

    @classmethod
    def with_compression(
        cls, loss: TransformLoss, targets: Iterable[Tensor] | Tensor, share: float = 0.3
    ) -> CombinedLoss:
        r"""Combine a loss with itself on compressed coefficients, :math:`\log(1 + S/\varepsilon)`.

        :math:`\varepsilon` is ten times the median of the targets' coefficients (of their absolute
        values, zeros left out), and both losses are relative to their sizes between targets.

        Args:
            loss: The plain loss, without a ``rho``.
            targets: Batches of targets, or one, gone through once; a few dozen sounds are enough.
            share: Of the compressed loss, in [0, 1].

        Raises:
            ConfigurationError: If the loss is none, or compresses already; if the share is out of
                range.
            InputError: As :meth:`from_targets`; also if all coefficients are 0, or so small or
                large that the level of their compression is out of range.

        Example:
            >>> from multipath.transforms import MultiResolutionSTFT
            >>> targets = torch.sin(torch.rand(16, 1) * torch.arange(1024.0))
            >>> plain = TransformLoss(MultiResolutionSTFT([64, 128]))
            >>> loss = CombinedLoss.with_compression(plain, targets)
            >>> loss.shares
            {'plain': 0.7, 'compressed': 0.3}
            >>> print(f"{loss(targets[1:], targets[:-1]):.2f}")  # sounds that are unlike each other
            1.00
        """
        share = between("share", share, 0, 1)
        if not isinstance(loss, TransformLoss) or loss.rho is not None:
            raise ConfigurationError(
                f"loss must be a TransformLoss without a rho, got {loss!r}: what is compressed "
                "already needs no other compression"
            )
        batches = _of_one_shape(loss, targets)
        compressed = TransformLoss(
            loss.transform,
            rho=Log1p(_level(loss, batches)),
            distance=loss.distance,
            weights=loss.path_weights,
            reduction=loss.reduction,
            normalize=loss.normalize,
            cache=loss.cache,
        )
        both = {"plain": loss, "compressed": compressed}
        return cls.from_targets(both, batches, {"plain": 1 - share, "compressed": share})

    @property
    def compilable(self) -> bool:
        """Whether all the losses are."""
        return all(loss.compilable for loss in self.losses)

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """The chosen losses on the chosen paths, relative to the sizes.

        Args:
            input: Signals of shape (..., T); all leading dimensions together are the batch.
            target: The same shape.
            indices: Which paths.

        Raises:
            InputError: If the shapes, dtypes or devices differ, or do not suit the transform.
        """
        chosen = check_indices(indices, len(self.paths))
        check_pair(input, target)
        first = self._losses[0]
        flat, needed = first._flat(target), self._needed(chosen)
        predicted, wanted = first._both(first._flat(input), flat, needed)
        return self._assembled(
            chosen,
            needed,
            lambda loss, paths, some: loss._compare(some(predicted), some(wanted), flat, paths),
            relative_to=self._sizes,
        )

    def path_loss_jets(
        self, jets: Tensor, target: Tensor, indices: Indices, order: JetOrder
    ) -> Tensor:
        """The jets of the losses, from those of the coefficients."""
        chosen = check_indices(indices, len(self.paths))
        needed = self._needed(chosen)
        predicted, wanted, flat = self._losses[0]._jets(jets, target, needed, order)
        return self._assembled(
            chosen,
            needed,
            lambda loss, paths, some: loss._compare_jets(
                some(predicted), some(wanted), flat, paths, order
            ),
            relative_to=self._sizes,
        )

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        r"""The target norms of the losses, each relative to its size.

        They are comparable: divided by :math:`\sqrt{s_i}` for distances that grow with the square
        of the difference (and for functions of users), and by :math:`s_i` for ``"l1"`` and
        ``"l2"``.
        """
        chosen = check_indices(indices, len(self.paths))
        needed = self._needed(chosen)
        wanted, flat = self._losses[0]._wanted(target, needed)
        return self._assembled(
            chosen,
            needed,
            lambda loss, paths, some: loss._norms(some(wanted), flat, paths),
            relative_to=[
                size if _is_norm(loss) else sqrt(size)
                for loss, size in zip(self._losses, self._sizes, strict=True)
            ],
        )

    @property
    def _losses(self) -> list[TransformLoss]:
        return list(self.losses)  # type: ignore[arg-type]

    @property
    def _sizes(self) -> list[float]:
        return list(self.sizes.values())

    def _needed(self, indices: list[int]) -> PathIndices:
        """The paths of the transform on which any of the losses looks, each once."""
        n_paths = len(self._losses[0].paths)
        return PathIndices(dict.fromkeys(index % n_paths for index in indices), n_paths)

    def _assembled(
        self,
        indices: list[int],
        needed: PathIndices,
        evaluate: Callable[[TransformLoss, PathIndices, Pick], Tensor],
        relative_to: Sequence[float],
    ) -> Tensor:
        """What each loss makes of its paths, in the order asked for; paths are the last but one.

        Args:
            indices: Paths of this loss.
            needed: Those of the transform.
            evaluate: Called with a loss, its paths, and what picks their values out of a list of
                those needed.
            relative_to: What the values of each loss are divided by.
        """
        found: dict[int, Tensor] = {}
        for number, (loss, unit) in enumerate(zip(self._losses, relative_to, strict=True)):
            start = number * needed.n_paths
            own = [i for i in dict.fromkeys(indices) if start <= i < start + needed.n_paths]
            if own:
                paths = PathIndices((i - start for i in own), needed.n_paths)
                places = [needed.index(path) for path in paths]
                values = evaluate(loss, paths, lambda some, at=places: [some[i] for i in at])  # type: ignore[misc]
                found.update(zip(own, (values / unit).unbind(-2), strict=True))
        return torch.stack([found[index] for index in indices], dim=-2)

    def get_extra_state(self) -> Tensor:
        """What was measured, as bytes: an objective must be the same after a restart."""
        sizes = torch.tensor(self._sizes, dtype=torch.float64, device="cpu")
        eps = torch.tensor(
            [loss.rho.eps if isinstance(loss.rho, Log1p) else 0.0 for loss in self._losses],
            dtype=torch.float64,
            device="cpu",
        )
        return pack({"sizes": sizes, "eps": eps})

    @trainable
    def set_extra_state(self, state: Tensor) -> None:
        r"""Restore the sizes and the :math:`\varepsilon` of compressions, bit for bit.

        Raises:
            InputError: If they are out of range, or not as many as the losses; then nothing is
                restored.
        """
        saved = unpack(state, self, {"sizes", "eps"})
        name, shape = f"of {type(self).__name__}", (len(self.losses),)
        least = torch.finfo(torch.float64).tiny
        sizes = loaded_tensor(f"the sizes {name}", saved["sizes"], shape, torch.float64, least)
        eps = loaded_tensor(f"the eps {name}", saved["eps"], shape, torch.float64, 0.0)
        compressed = [isinstance(loss.rho, Log1p) for loss in self._losses]
        if (eps > 0).tolist() != compressed:
            raise InputError(f"the eps {name} must be positive where it compresses; {ANOTHER}")
        try:
            restored = [Log1p(value) if value else None for value in eps.tolist()]
        except ConfigurationError as error:
            raise InputError(f"{error}; {ANOTHER}") from error
        self.sizes = dict(zip(self.sizes, sizes.tolist(), strict=True))
        for loss, rho in zip(self._losses, restored, strict=True):
            if rho is not None:
                loss.rho = rho

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"{super().extra_repr()}, {listed(shares=self.shares, sizes=self.sizes)}"


def _check_losses(losses: Mapping[str, TransformLoss]) -> list[str]:
    """The names of losses that can be combined."""
    if not isinstance(losses, Mapping) or not losses:
        raise ConfigurationError(f"losses must be TransformLosses by name, got {losses!r}")
    first = next(iter(losses.values()))
    for name, loss in losses.items():
        if not isinstance(name, str) or not isinstance(loss, TransformLoss):
            raise ConfigurationError(
                f"losses must be TransformLosses by name, got {name!r}: {type(loss).__name__}"
            )
        for what in ("transform", "cache", "reduction"):
            if getattr(loss, what) is not getattr(first, what):
                raise ConfigurationError(
                    f"losses that are combined must have the same {what}; that of {name!r} is "
                    "another"
                )
    return list(losses)


def _numbers(what: str, given: Mapping[str, float] | None, names: list[str]) -> list[float]:
    """A number for each of the losses, in their order."""
    if given is None:
        return [1.0] * len(names)
    if not isinstance(given, Mapping) or given.keys() != set(names):
        raise ConfigurationError(f"give a {what} for each of {', '.join(names)}, got {given!r}")
    return [not_negative(f"the {what} of {name!r}", given[name]) for name in names]


def _is_norm(loss: TransformLoss) -> bool:
    """Whether the loss grows with the difference, rather than with its square."""
    return loss.normalize is None and loss.distance in ("l1", "l2")


def _of_one_shape(loss: TransformLoss, targets: Iterable[Tensor] | Tensor) -> list[Tensor]:
    """Batches of targets that can be compared with each other."""
    batches = list(checked_batches(targets))
    if not batches:
        raise InputError("no batch of targets came; pass at least two targets")
    for batch in batches:
        if batch.ndim <= loss.transform.signal_ndim or batch.shape[1:] != batches[0].shape[1:]:
            raise InputError(
                "targets must come in batches, (batch, ...), of signals of one shape, got shapes "
                f"{tuple(batches[0].shape)} and {tuple(batch.shape)}"
            )
    return batches


@torch.no_grad()
def _level(loss: TransformLoss, batches: Sequence[Tensor]) -> float:
    """The level of the compression, from the median magnitude of coefficients that are not zero."""
    everything = list(range(len(loss.paths)))
    found = torch.cat([c.flatten() for b in batches for c in loss._wanted(b, everything)[0]]).abs()
    median = float(found[found > 0].median()) if bool(found.any()) else 0.0
    if not 0 < median < inf:
        raise InputError("the coefficients of the targets are all zero, or not finite")
    if not QUIETEST <= EPS_MEDIANS * median <= LOUDEST:
        raise InputError(
            f"expected coefficients that can be compressed from a level between {QUIETEST:g} and "
            f"{LOUDEST:g}, ten times their median, but the median of the targets' is {median:g}; "
            "scale the signals"
        )
    return EPS_MEDIANS * median
