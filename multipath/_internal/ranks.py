"""What the processes of a distributed training tell one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from multipath.errors import ConfigurationError, DrawError

from .bookkeeping import has_float64

if dist.is_available():
    # Torch imports this module when it first needs it, and its functions then keep the process
    # group of that moment as a default argument. destroy_process_group no longer frees that group,
    # and the threads of gloo can abort an interpreter that shuts down. Imported early, the module
    # finds no group to keep.
    import torch.distributed.nn

DEEDS = {
    "loads": "loaded a state alone",
    "discards": "discarded a draw that the others have kept",
    "skips": "skipped a step: a forward in training mode was followed by no backward",
    "draws": "drawn more often than the others",
}
"""What makes ranks draw apart if only some do it, the likeliest cause first."""


def several_ranks() -> bool:
    """Whether ``torch.distributed`` is initialised, with more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def average_over_ranks(values: Tensor, device: torch.device) -> Tensor:
    """The mean over ranks of what each has measured, in float64 where the backend can.

    Args:
        values: Float64 on the CPU.
        device: Where the data are, and hence what the backend was chosen for.
    """
    if not several_ranks():
        return values
    total = values
    if has_float64(torch.empty(0, device=device)):
        total = total.to(device)
    elif "cpu:" not in dist.get_backend_config():
        total = total.float().to(device)
    with _together():
        dist.all_reduce(total)
        return total.cpu().double() / dist.get_world_size()


def compare_ranks(draws: Any, memory: Any, counts: Mapping[str, int]) -> None:
    """Make sure that all ranks draw the same from here on; every rank must call this.

    One ``all_gather`` of a few integers.

    Args:
        draws: What decides the next draws and what was drawn, as :func:`_digest` takes it.
        memory: What the sampler remembers, likewise.
        counts: How often this rank has done what :data:`DEEDS` names since the last comparison.

    Raises:
        ConfigurationError: On every rank, the same, if they differ. It names the cause.
        DrawError: If the others do not call it.
    """
    own = [_digest(draws), _digest(memory), *(counts[deed] for deed in DEEDS)]
    rows = _gathered(torch.tensor(own, device="cpu"))
    same_draws, same_memory, *same_counts = (rows == rows[0]).all(dim=0).tolist()
    same_skips = same_counts[list(DEEDS).index("skips")]
    if same_draws and same_memory and same_skips:
        return
    causes = [
        f"{_who(column > column.min())} {deed}"
        for column, same, deed in zip(rows[:, 2:].T, same_counts, DEEDS.values(), strict=True)
        if not same
    ]
    if causes:
        cause = f"{causes[0]}; what one rank does to its draws, all have to do together"
    elif same_draws:
        cause = "their samplers have learned different things; load the same state on every rank"
    else:
        cause = (
            "give StochasticLoss the same generator=... on every rank (generators differ: give the "
            "same seed, one that does not depend on the rank)"
        )
    raise ConfigurationError(f"ranks disagree about the draws: {cause}")


def _who(chosen: Tensor) -> str:
    names = [str(rank) for rank in chosen.nonzero().flatten().tolist()]
    if len(names) == 1:
        return f"rank {names[0]} has"
    return f"ranks {', '.join(names[:-1])} and {names[-1]} have"


def _gathered(row: Tensor) -> Tensor:
    """The row of every rank, shape (ranks, n), on the CPU."""
    if "cpu:" not in dist.get_backend_config():
        row = row.to(torch.accelerator.current_accelerator())
    rows = [torch.empty_like(row) for _ in range(dist.get_world_size())]
    with _together():
        dist.all_gather(rows, row)
        return torch.stack(rows).cpu()


@contextmanager
def _together() -> Iterator[None]:
    """Explain why a collective operation may fail."""
    try:
        yield
    except RuntimeError as error:
        raise DrawError(
            "ranks did not come together to compare their draws. Perhaps one of them ended early "
            "(give all the same number of batches, as with drop_last=True), left out a step that "
            "the others made, evaluated in training mode (call criterion.eval() first), or failed: "
            f"{error}"
        ) from error


def _digest(value: Any) -> int:
    """64 bits that differ if tensors, numbers or strings, in any nesting, do."""
    found = sha256()
    _feed(value, found.update)
    return int.from_bytes(found.digest()[:8], "little", signed=True)


def _feed(value: Any, sink: Callable[[bytes], None]) -> None:
    if isinstance(value, Mapping):
        value = [part for item in value.items() for part in item]
    if isinstance(value, Tensor):
        flat = value.detach().cpu().reshape(-1)
        sink(f"{value.dtype}{tuple(value.shape)}".encode())
        sink(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, list | tuple):
        sink(f"{len(value)} of".encode())
        for part in value:
            _feed(part, sink)
    else:
        sink(repr(value).encode())
