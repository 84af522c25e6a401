"""Checkpoints of Lightning that are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from .files import write_tensors

__all__ = ["WholeCheckpoints"]


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces.

    Lightning writes to the folder of temporary files and moves from there, which is a copy where
    that is another disk: an interruption or a full disk would leave half a checkpoint and no other.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Save to a file; its folder is made if needed.

        Args:
            checkpoint: What to save.
            path: The file.
            storage_options: Of other places than files; without meaning here.
        """
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(file, checkpoint)
