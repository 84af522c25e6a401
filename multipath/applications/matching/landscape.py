"""What the loss of a sound matching run looks like over the parameters, before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from multipath import TargetCache, TransformLoss
from multipath._internal.settings import count
from multipath.diagnostics import LossLandscape, loss_landscape
from multipath.errors import ConfigurationError
from multipath.transforms import Transform

from .config import MatchConfig
from .module import SoundMatching

MOST_BYTES = 2**30
"""Of coefficients of targets."""


def look(
    config: MatchConfig,
    *,
    examples: int = 32,
    points: int = 11,
    pairs: bool = False,
    progress: bool = False,
) -> LossLandscape:
    """The landscape of the loss of a run, in full, over the parameters of its synthesizer.

    Targets are the first of the test, and reconstructions have time shifts or grains of their own,
    as in training. A loss that measures on training targets does so.

    Args:
        config: The run. Its loss may be any that compares sounds.
        examples: Targets to look at.
        points: Guesses of each parameter, from 0 to 1.
        pairs: Look at all pairs of parameters too, at the square of that many guesses.
        progress: Show a progress bar.

    Raises:
        ConfigurationError: If the true parameters of the targets are unknown, the loss compares
            parameters and not sounds, or an argument is out of range.

    Example:
        >>> from multipath.applications.matching.presets import preset
        >>> landscape = look(preset("quick", loss="mss-linear"), examples=4, points=3)
        >>> landscape.parameters, landscape.curves.shape
        (('AM', 'FM'), torch.Size([2, 3, 4]))
    """
    examples = count("examples", examples)
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        model = SoundMatching(config.changed(probabilities=None)).eval()
    if model.objective.supervised:
        raise ConfigurationError(
            f"the loss {config.objective.loss} compares parameters; choose one that compares sounds"
        )
    batch = next(model.batches.all_of("test", size=examples))
    theta = batch.targets.theta
    if theta is None:
        raise ConfigurationError(
            "the true parameters of these targets are unknown; look at targets that are rendered "
            "(tr808: --synthetic)"
        )
    names = model.synth.parameter_names
    return loss_landscape(
        _Remembering(model.criterion),
        model.synth,
        (theta, model.sounds(batch.targets), batch.nuisance),
        points=points,
        pairs=list(combinations(names, 2)) if pairs else (),
        progress=progress,
    )


class _Remembering(nn.Module):
    """A loss that computes the coefficients of each target once."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss, self.cache = loss, TargetCache(MOST_BYTES, verify=False)
        plain = [each for each in loss.modules() if isinstance(each, TransformLoss)]
        kept = {each.transform: _Whole(each.transform) for each in plain}
        for each in plain:
            each.transform, each.cache = kept[each.transform], self.cache

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Evaluate, with each target known by its samples."""
        with self.cache.keyed([sound.numpy().tobytes() for sound in target]):
            value: Tensor = self.loss(input, target)
        return value


class _Whole(Transform):
    """A transform of which a cache keeps all coefficients, and not only what paths share."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform.paths)
        self.transform = transform

    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Those of the transform."""
        return self.transform.coefficients(x, indices)
