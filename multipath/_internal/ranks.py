"""What the processes of a distributed training tell one another."""

from __future__ import annotations

from hashlib import sha256

import torch
from torch import Tensor
from torch import distributed as dist

from multipath.errors import ConfigurationError

from .bookkeeping import has_float64

if dist.is_available():
    # Torch imports this module when it first needs it, and its functions then keep the process
    # group of that moment as a default argument. destroy_process_group no longer frees that group,
    # and the threads of gloo can abort an interpreter that shuts down. Imported early, the module
    # finds no group to keep.
    import torch.distributed.nn


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
    dist.all_reduce(total)
    return total.cpu().double() / dist.get_world_size()


def check_agreement(generator: torch.Generator) -> None:
    """Check that all ranks have equal generators; every rank must call this.

    Raises:
        ConfigurationError: On every rank, if the states differ.
    """
    digest = sha256(generator.get_state().numpy().tobytes()).digest()
    own = int.from_bytes(digest[:8], "little", signed=True)
    found: list[int] = [0] * dist.get_world_size()
    dist.all_gather_object(found, own)  # moves its tensors to the device that the backend wants
    if len(set(found)) > 1:
        raise ConfigurationError(
            "ranks disagree about the draws: give StochasticLoss the same generator=... on every "
            "rank, such as a seed that does not depend on the rank"
        )
