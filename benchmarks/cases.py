"""What is measured: a case is one comparison, a contender one side of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Spec = dict[str, Any]
Side = Literal["ours", "peers", "older"]

# Names of the contenders, as the tables show them.
EXACT, REDUCED = "multipath exact", "multipath reduced"
STFT, SCATTERING = "multipath MRSTFT", "multipath Scattering1D"
DRAWS, MSS = "multipath, 8 energy draws", "multipath mss-log"
IMAGES, OLDER = "multipath Scattering2D", "multipath, older"
SCRAPL, AURALOSS, KYMATIO = "scrapl-loss", "auraloss", "kymatio"

# By subject, how tables call it and whose interpreter runs it, in the order of the tables.
CONTENDERS: dict[str, tuple[str, Side]] = {
    "jtfs": (EXACT, "ours"),
    "jtfs-reduced": (REDUCED, "ours"),
    "scattering1d": (SCATTERING, "ours"),
    "scattering2d": (IMAGES, "ours"),
    "energy-draws": (DRAWS, "ours"),
    "mrstft": (STFT, "ours"),
    "mss-log": (MSS, "ours"),
    "older-jtfs": (OLDER, "older"),
    "older-scattering1d": (OLDER, "older"),
    "older-scattering2d": (OLDER, "older"),
    "scrapl": (SCRAPL, "peers"),
    "auraloss": (AURALOSS, "peers"),
    "kymatio-jtfs": (KYMATIO, "peers"),
    "kymatio-scattering1d": (KYMATIO, "peers"),
    "kymatio-scattering2d": (KYMATIO, "peers"),
}

# A step that takes longer is measured once, and its larger settings are not waited for.
STEP_LIMIT = 20.0
SECONDS_TO_PREPARE = 120.0


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    Args:
        name: As the tables show it.
        side: Whose interpreter runs it.
        spec: ``subject``, ``settings``, ``batch`` and the paths to take, see
            :func:`benchmarks.timing.step_of`.
        draws: What the spec has besides, another at every repeat, in turn; each is warmed up
            before it is timed.
        limit: Seconds of a step beyond which it is not repeated.
        needs_bytes: Of one that takes minutes and gigabytes: where so many are free, it is measured
            in one repeat only, in a process of its own, which tells its memory too.
    """

    name: str
    side: Side
    spec: Spec
    draws: tuple[Spec, ...] = ({},)
    limit: float | None = None
    needs_bytes: float = 0.0

    @property
    def timeout(self) -> float | None:
        """Seconds to wait for an answer: construction, and two steps within the limit."""
        return None if self.limit is None else SECONDS_TO_PREPARE + 2 * self.limit


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        name: ``group/what``, stable from version to version.
        what: The same in words.
        contenders: Who takes part, measured in turn.
        repeats: Samples of each.
        kind: ``steps`` are timed in the lasting workers; ``stages`` in fresh processes, with
            their memory; ``count`` and ``throughput`` belong to the floor.
        steps: How many steps a fresh process runs.
        facts: What tables and plots need to know: k, n2, N, ...
        seconds: A rough guess of its duration, for the progress bar.
    """

    name: str
    what: str
    contenders: tuple[Contender, ...]
    repeats: int = 1
    kind: Literal["steps", "stages", "count", "throughput"] = "steps"
    steps: int = 1
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 10.0

    @property
    def group(self) -> str:
        """The part of the name before the slash."""
        return self.name.split("/", 1)[0]
