"""Find a sound whose scattering coefficients are those of a recording."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.optim import LBFGS, Adam, Optimizer

from multipath import Path, PathDecomposedLoss, StochasticLoss, TargetCache, TransformLoss
from multipath._internal.inputs import check_real
from multipath._internal.state import (
    check_names,
    loaded_generator,
    loaded_integer,
    loaded_real,
    loaded_tensor,
)
from multipath.applications.audio.files import check_waveform
from multipath.applications.distance.compare import LEVELS
from multipath.applications.distance.heard import Heard, measure
from multipath.applications.runs._optimizers import check_adam, check_lbfgs
from multipath.applications.runs.files import check_rows
from multipath.draws import DrawCounts, loaded_counts
from multipath.errors import InputError
from multipath.samplers import Importance

from .settings import ResynthesisSettings

__all__ = ["Resynthesis", "checked_recording", "make_start", "resynthesize"]

SMALLEST_RATE = 1e-6  # relative to the first learning rate: nothing moves any more
WHOLE: dict[str, Any] = {
    "max_iter": 1,
    "max_eval": 25,
    "tolerance_grad": 0.0,
    "tolerance_change": 0.0,
    "history_size": 10,
    "line_search_fn": "strong_wolfe",
}
"""How L-BFGS steps. What is too little to go on for is decided by the full distance."""
BETAS = 0.9, 0.99  # a round is too short for the usual 0.999 to settle


class Resynthesis:
    r"""Descends from noise to a recording, and never keeps a signal that is further away.

    It goes in rounds of ``interval`` steps on the samples, each followed by an evaluation of the
    full distance. If it is lower than that of the signal kept so far, the new signal is kept. If
    not, the round is taken back. So the distance of what is kept falls monotonically.

    **All paths**, the default: a step is one of L-BFGS with a line search that satisfies the
    strong Wolfe conditions. It starts afresh from what is kept after a round that was taken back,
    and ends if that leads nowhere either.

    **Random draws**: a step is one of Adam on ``draws`` paths. Each round draws them by what is
    still missing,

    .. math:: \pi_p = (1 - f)\, \frac{\sqrt{L_p(x)}}{\sum_q \sqrt{L_q(x)}} + \frac{f}{P},

    with weights that make the estimates unbiased. The learning rate grows by a twentieth with a
    round that is kept, and is halved with one that is taken back.

    The distance is that of :func:`~multipath.applications.distance.compare.compare`. A recording is
    resynthesised at a root mean square of 0.1, and handed back at its own.

    Args:
        settings: Everything else that defines the search.
        target: The recording, shape (T,).
        keep: Says of a path whether it counts; the others are left to chance. Default: all count.

    Attributes:
        loss: The distance, for signals of shape (1, T).
        target: The recording at that level, shape (1, T).
        rows: One dictionary per evaluation: ``step``; ``distance`` of what is kept and its
            ``relative`` distance; ``tried``, the distance of what the round led to; ``kept``
            (1 or 0); ``learning_rate``, 1 for L-BFGS.
        draws: How often each path was drawn.

    Raises:
        InputError: If the recording is not of the length in the settings, or not as
            :func:`checked_recording` wants it.

    Example:
        >>> settings = ResynthesisSettings.for_recording(
        ...     1024, 1024, "scattering1d", J=5, steps=20, interval=10
        ... )
        >>> search = Resynthesis(settings, torch.sin(0.3 * torch.arange(1024.0)))
        >>> while not search.finished:
        ...     search.advance()
        >>> search.rows[-1]["step"], search.rows[-1]["distance"] < search.rows[0]["distance"]
        (20, True)
    """

    def __init__(
        self,
        settings: ResynthesisSettings,
        target: Tensor,
        keep: Callable[[Path], bool] | None = None,
    ) -> None:
        target = checked_recording(target)
        if len(target) != settings.n_samples:
            raise InputError(
                f"expected a recording of {settings.n_samples} samples, got {len(target)}"
            )
        self.settings = settings
        level = LEVELS["rms"](target[None])[0]
        self._gain = float(target.abs().max() / level.abs().max())
        self.target = level[None]
        self._heard = Heard(settings.make_transform(), keep)
        self._cache = TargetCache(sys.maxsize)  # all that is heard of one target
        self.loss = TransformLoss(self._heard, cache=self._cache)
        self.draws = DrawCounts(self.loss.paths)
        self.rows: list[dict[str, float]] = []
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._kept = make_start(settings.start, level, self._generator)
        self._missing, relative = self.measure(self._kept)
        self._unit = 0.1 if settings.adam else 1.0  # 0.1 is the loudness
        self._rate = self._unit * (settings.learning_rate or 1.0)
        self._evaluated: list[tuple[Tensor, float, Tensor]] = []
        self._restart()
        self._note(0, float(self._missing.mean()), relative, True)

    @property
    def signal(self) -> Tensor:
        """The best signal so far, as loud as the recording."""
        return self._gain * self._kept

    @property
    def step(self) -> int:
        """Number of steps done, including those taken back."""
        return int(self.rows[-1]["step"])

    @property
    def finished(self) -> bool:
        """Whether the steps are done, or nothing moves any more."""
        if self.step >= self.settings.steps:
            return True
        if self.settings.adam:
            return self._rate < SMALLEST_RATE * self._unit * (self.settings.learning_rate or 1.0)
        return [row["kept"] for row in self.rows[-2:]] == [0, 0]

    def advance(self, after_step: Callable[[int], None] | None = None) -> None:
        """Make one round: some steps, and an evaluation.

        Args:
            after_step: Called after each step with the number of steps done. If it raises, the
                search stays as it was before the round, except for the random numbers and the
                counts of draws.
        """
        stop = min(self.step + self.settings.interval, self.settings.steps)
        criterion = self._criterion()
        for step in range(self.step, stop):
            if self.settings.adam:
                self._evaluate(criterion)
                self._optimizer.step()
            else:
                self._optimizer.step(partial(self._evaluate_once, criterion))
            if isinstance(criterion, StochasticLoss):
                self.draws.add(criterion.last_draw)
            if after_step is not None:
                after_step(step + 1)
        tried = self._moving.detach()[0].clone()
        missing, relative = self.measure(tried)
        distance = float(missing.mean())
        kept = distance < self.rows[-1]["distance"]  # false for NaN, too
        self._note(stop, distance, relative, kept)
        if kept:
            self._kept, self._missing = tried, missing
        if self.settings.adam:
            self._rate *= 1.05 if kept else 0.5
            self._optimizer.param_groups[0]["lr"] = self._rate
        if not kept:
            self._restart()

    def _evaluate(self, criterion: PathDecomposedLoss | StochasticLoss) -> Tensor:
        """The loss of the signal that moves, and its gradient."""
        self._optimizer.zero_grad()
        with self._cache.keyed([0]):
            loss: Tensor = criterion(self._moving, self.target)
        loss.backward()
        return loss.detach()

    def _evaluate_once(self, criterion: PathDecomposedLoss | StochasticLoss) -> float:
        """As :meth:`_evaluate`, but a step begins with what the line search before it ended with.

        L-BFGS is asked for one step at a time, so that each can be told of; it then evaluates the
        signal anew that it has just accepted.
        """
        signal = self._moving.detach()
        for known, loss, gradient in self._evaluated:
            if torch.equal(known, signal):
                self._evaluated = [(known, loss, gradient)]
                self._moving.grad = gradient.clone()
                return loss
        loss = float(self._evaluate(criterion))
        gradient = torch.zeros_like(signal) if self._moving.grad is None else self._moving.grad
        self._evaluated.append((signal.clone(), loss, gradient.clone()))
        return loss

    @torch.no_grad()
    def measure(self, signal: Tensor) -> tuple[Tensor, float]:
        """Measure the distance of a signal at the level of the target on each path, and in all.

        Args:
            signal: Shape (T,).

        Returns:
            As :func:`~multipath.applications.distance.heard.measure`.
        """
        with self._cache.keyed([0]):
            wanted = self._cache.prepared(self._heard, self.target)
        return measure(self._heard(signal[None]), wanted)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the search depends on; call it between two rounds."""
        return {
            "kept": self._kept,
            "moving": self._moving.detach().clone(),
            "optimizer": self._optimizer.state_dict(),
            "rate": self._rate,
            "missing": self._missing,
            "generator": self._generator.get_state(),
            "draws": self.draws.state_dict(),
            "rows": self.rows,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another search with the same settings stopped, to the last bit.

        Raises:
            InputError: If that search had no rows, other columns, or tensors of other shapes, or
                the state is damaged. The search is then as it was.
            ConfigurationError: If it is the state of something else.
        """
        own = self.state_dict()
        check_names("a resynthesis", state, own)
        tensors = {
            name: loaded_tensor(
                f"{name} of the search", state[name], own[name].shape, own[name].dtype
            )
            for name in ("kept", "moving", "missing")
        }
        if bool((tensors["missing"] < 0).any()):
            raise InputError("a distance on a path must not be negative; start the search again")
        rate = loaded_real("the learning rate of the search", state["rate"])
        generator = loaded_generator("the generator of the search", state["generator"])
        counts = loaded_counts(state["draws"], len(self.draws.counts))
        check = check_adam if self.settings.adam else check_lbfgs
        check(self._optimizer, state["optimizer"])
        if state["optimizer"]["param_groups"][0]["lr"] != rate:
            raise InputError("the optimizer has another learning rate than the search; start again")
        rows = self._checked_rows(state["rows"])
        self._kept, self._missing, self._rate = tensors["kept"], tensors["missing"], rate
        self._restart()
        self._moving.data.copy_(tensors["moving"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(generator)
        self.draws.counts, self.rows = counts, rows

    def _checked_rows(self, rows: Any) -> list[dict[str, float]]:
        """The rows, if they are those of a search."""
        check_rows("the rows of the search", rows)
        columns = self.rows[0].keys()
        if not rows or any(row.keys() != columns for row in rows):
            raise InputError(
                f"expected rows of {', '.join(columns)}, got others or none; they belong to "
                "another search"
            )
        for row in rows:
            for name in ("distance", "relative", "learning_rate"):
                loaded_real(f"{name} in a row of the search", row[name])
            loaded_integer("kept in a row of the search", row["kept"], high=1)
        return list(rows)

    def _criterion(self) -> PathDecomposedLoss | StochasticLoss:
        n_draws, floor = self.settings.draws, self.settings.floor or 0.0
        n_paths = len(self.loss.paths)
        missing = self._missing.sqrt()
        if not 0 < n_draws < n_paths or not missing.sum() > 0:
            return self.loss
        probabilities = (1 - floor) * missing / missing.sum() + floor / n_paths
        return StochasticLoss(
            self.loss, Importance(probabilities), n_draws, generator=self._generator
        )

    def _restart(self) -> None:
        """Go back to the signal that is kept, without the momentum that led astray."""
        self._moving = self._kept.clone()[None].requires_grad_()
        self._evaluated.clear()
        self._optimizer: Optimizer
        if self.settings.adam:
            self._optimizer = Adam([self._moving], lr=self._rate, betas=BETAS)
        else:
            self._optimizer = LBFGS([self._moving], lr=self._rate, **WHOLE)

    def _note(self, step: int, distance: float, relative: float, kept: bool) -> None:
        best = {"distance": distance, "relative": relative} if kept else self.rows[-1]
        self.rows.append(
            {
                "step": step,
                "distance": best["distance"],
                "relative": best["relative"],
                "tried": distance,
                "kept": int(kept),
                "learning_rate": self._rate / self._unit,
            }
        )


def checked_recording(recording: Any) -> Tensor:
    """The samples of a recording, in float32 and without a gradient.

    Args:
        recording: Real numbers, shape (T,).

    Raises:
        InputError: If it is no such tensor, is silent, or a sample is not finite or absurdly loud.
    """
    check_real(recording, "recording", "samples")
    if recording.ndim != 1:
        raise InputError(f"expected a recording of shape (T,), got {tuple(recording.shape)}")
    samples: Tensor = recording.detach().float()
    check_waveform(samples, "recording")
    return samples


def resynthesize(recording: Tensor, sample_rate: int, **settings: Any) -> Tensor:
    """Resynthesise a recording; :class:`Resynthesis` is the search itself, step by step.

    Args:
        recording: Shape (T,).
        sample_rate: Sample rate in Hz.
        **settings: Fields of
            :class:`~multipath.applications.resynthesis.settings.ResynthesisSettings`.

    Returns:
        A signal of the same shape and loudness, in float32.

    Raises:
        InputError: If the recording is too short, or not as :func:`checked_recording` wants it.
        ConfigurationError: If a setting is unknown or out of range.

    Example:
        >>> tone = torch.sin(0.3 * torch.arange(1024.0))
        >>> resynthesize(tone, 1024, transform="scattering1d", J=5, steps=10).shape
        torch.Size([1024])
    """
    recording = checked_recording(recording)
    search = Resynthesis(
        ResynthesisSettings.for_recording(len(recording), sample_rate, **settings), recording
    )
    while not search.finished:
        search.advance()
    return search.signal


def make_start(name: str, target: Tensor, generator: torch.Generator) -> Tensor:
    """Make the signal that a search starts from, one of :data:`STARTS`.

    Args:
        name: ``"noise"``, ``"spectrum"`` or ``"colour"``.
        target: The recording, shape (T,).
        generator: The generator of the noise.

    Example:
        >>> target = torch.sin(0.3 * torch.arange(1024.0))
        >>> start = make_start("spectrum", target, torch.Generator().manual_seed(0))
        >>> torch.allclose(torch.fft.rfft(start).abs(), torch.fft.rfft(target).abs(), atol=1e-2)
        True
    """
    noise = torch.randn(target.shape, generator=generator, device="cpu").to(target.device)
    if name == "noise":
        return noise * target.square().mean().sqrt()
    spectrum, magnitude = torch.fft.rfft(noise), torch.fft.rfft(target).abs()
    if name == "colour":
        magnitude = _smoothed(magnitude)
    phases = spectrum / spectrum.abs().clamp_min(1e-12)
    shaped: Tensor = torch.fft.irfft(phases * magnitude, n=len(target))
    return shaped


def _smoothed(magnitude: Tensor) -> Tensor:
    """Root mean squares of a spectrum over a third of an octave around each of its bins."""
    bins = torch.arange(len(magnitude), dtype=torch.float64, device="cpu")
    low = (bins / 2 ** (1 / 6)).ceil().long()
    high = (bins * 2 ** (1 / 6)).floor().long().clamp_max(len(magnitude) - 1)
    sums = pad(magnitude.cpu().double().square().cumsum(0), (1, 0))
    power = (sums[high + 1] - sums[low]).clamp_min(0) / (high + 1 - low)
    return power.sqrt().to(magnitude)
