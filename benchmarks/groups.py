"""The groups of cases, in the order in which they run; `--only` chooses among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import STEP_LIMIT, Case, Contender
from .plan import Plan


def one_path(plan: Plan) -> list[Case]:
    """A spread of single paths, each against the peers; the spectrograms keep it company."""
    cases = []
    for index in plan.spread_paths():
        number, n_fr = divmod(index, plan.n_scales)
        contenders = (*plan.against_scrapl(indices=[index]), *plan.stft())
        facts = {"path": index, "n2": plan.first_rate + number, "n_fr": n_fr}
        what = f"path {index} of {plan.n_paths}"
        cases.append(
            Case(
                f"one-path/{index}",
                what,
                contenders,
                plan.repeats,
                facts=facts,
                seconds=14 * plan.seconds,
            )
        )
    return cases


def k_paths(plan: Plan) -> list[Case]:
    """Several random paths in one step, against one path of scrapl-loss."""
    cases = []
    for k in (*plan.ks, plan.n_paths):
        if k == plan.n_paths:
            name, what, repeats = "k-paths/all", f"all {k} paths", plan.few
            ours = plan.both()
        else:
            name, what = f"k-paths/{k}", "1 random path" if k == 1 else f"{k} random paths"
            repeats = 2 * plan.repeats - 1
            ours = plan.both(draws=plan.random_paths(name, k, repeats))  # one draw a repeat
        single = plan.contender("scrapl", draws=plan.random_paths(f"{name}, one", 1, repeats))
        cases.append(
            Case(name, what, (*ours, single), repeats, facts={"k": k}, seconds=25 * plan.seconds)
        )
    return cases


def per_rate(plan: Plan) -> list[Case]:
    """All scales of one rate together, for every rate."""
    cases = []
    for number in range(plan.n_rates):
        n2, first = plan.first_rate + number, number * plan.n_scales
        contenders = plan.both(indices=list(range(first, first + plan.n_scales)))
        what = f"all {plan.n_scales} scales of rate {n2}"
        cases.append(
            Case(
                f"per-rate/{n2}",
                what,
                contenders,
                plan.few,
                facts={"n2": n2},
                seconds=3 * plan.seconds,
            )
        )
    return cases


def scattering1d(plan: Plan) -> list[Case]:
    """The scattering over time, all its paths, beside an older state of this project."""
    what = "Scattering1D, all paths"
    contenders = (*plan.scattering1d(), *plan.of_older("scattering1d"))
    seconds = 30 * plan.seconds
    return [Case("scattering1d/all", what, contenders, 3 * plan.repeats, seconds=seconds)]


def scattering2d(plan: Plan) -> list[Case]:
    """The scattering of images, all its paths, against kymatio and an older state."""
    options: dict[str, Any] = {"settings": plan.images, "batch": 1}
    contenders = (
        plan.contender("scattering2d", **options),
        plan.contender("kymatio-scattering2d", **options),
        *plan.of_older("scattering2d", **options),
    )
    what = "Scattering2D, all paths, one image"
    return [Case("scattering2d/all", what, contenders, plan.repeats, seconds=20 * plan.seconds)]


def draws(plan: Plan) -> list[Case]:
    """A step of training as it is recommended, beside the spectrogram loss of DDSP."""
    contenders = plan.contender("energy-draws"), plan.contender("mss-log")
    what = "8 energy draws, reduced, targets cached"
    return [Case("draws/energy", what, contenders, 3 * plan.repeats, seconds=15 * plan.seconds)]


def mrstft(plan: Plan) -> list[Case]:
    """The spectrogram loss that a user would take otherwise."""
    what = "multi-resolution STFT, three resolutions"
    return [Case("mrstft/three", what, plan.stft(), 3 * plan.repeats, seconds=8 * plan.seconds)]


def set_up(plan: Plan) -> list[Case]:
    """Seconds to construct, in fresh processes: nothing is cached."""
    transforms = (*plan.against_scrapl(), plan.contender("kymatio-jtfs"))
    recording = (plan.contender("scattering1d", settings=plan.recording),)
    return [
        Case(
            f"set-up/{name}",
            f"construct {kind}",
            contenders,
            plan.processes,
            kind="stages",
            steps=0,
            seconds=4.0 * plan.processes * len(contenders),
        )
        for name, kind, contenders in (
            ("jtfs", "JTFS", transforms),
            ("scattering1d", "Scattering1D", plan.scattering1d()),
            ("recording", "Scattering1D of a long recording", recording),
        )
    ]


def memory(plan: Plan) -> list[Case]:
    """Memory of two steps in fresh processes; kymatio's whole JTFS is in the group `full`."""
    (some,) = plan.random_paths("memory", 16, 1)
    comparisons = (
        ("one path", "one path", plan.against_scrapl(indices=[plan.n_paths // 2])),
        ("16 paths", "16 random paths", plan.both(**some)),
        ("full", f"all {plan.n_paths} paths", plan.both()),
        ("scattering1d", "Scattering1D, all paths", plan.scattering1d()),
        ("mrstft", "multi-resolution STFT", plan.stft()),
    )
    return [
        Case(
            f"memory/{name}",
            what,
            contenders,
            kind="stages",
            steps=2,
            seconds=5.0 * len(contenders),
        )
        for name, what, contenders in comparisons
    ]


def growth(plan: Plan) -> list[Case]:
    """One path as the signal, the batch or the number of paths grows."""
    cases = [
        _grown(plan, f"N={2**log2}", {"axis": "N", "value": 2**log2}, _of_length(plan, log2))
        for log2 in plan.lengths
    ]
    short = _of_length(plan, plan.batch_length)
    for batch in plan.batches:
        facts = {"axis": "batch", "value": batch, "n_samples": 2**plan.batch_length}
        cases.append(_grown(plan, f"batch={batch}", facts, short, batch=batch))
    for changes in plan.path_settings:
        name = ",".join(f"{key}={value}" for key, value in changes.items()).replace(" ", "")
        cases.append(_grown(plan, name, {"axis": "P", "changes": name}, plan.settings | changes))
    return cases


def _of_length(plan: Plan, log2: int) -> dict[str, Any]:
    """T an eighth of the signal, and J as large as T up to 12 octaves."""
    octaves = log2 - 3
    return {**plan.settings, "n_samples": 2**log2, "J": min(12, octaves), "T": 2**octaves}


def _grown(
    plan: Plan, grown: str, facts: dict[str, Any], settings: dict[str, Any], **spec: Any
) -> Case:
    name = f"growth/{grown}"
    dice = plan.randomness(name)
    # a random path in each third of the table, whatever its length
    draws = [{"at": [(third + dice.random()) / 3]} for third in range(3)]
    contenders = plan.against_scrapl(draws=draws, limit=STEP_LIMIT, settings=settings, **spec)
    seconds = 25 * plan.seconds
    return Case(
        name, f"one path, {grown}", contenders, 2 * len(draws), facts=facts, seconds=seconds
    )


def floor(plan: Plan) -> list[Case]:
    """What the machine can do, and how far from it a step is."""
    slow = (plan.slow_rate - plan.first_rate) * plan.n_scales + plan.n_scales // 2
    (some,) = plan.random_paths("floor", 16, 1)
    machine = Contender("torch", "ours", {"small": plan.seconds < 1})
    counted = (
        (f"path {slow}", f"one path, rate {plan.slow_rate}", plan.both(indices=[slow])),
        ("16 paths", "16 random paths", plan.both(**some)),
        ("full", f"all {plan.n_paths} paths", plan.both()),
        ("scattering1d", "Scattering1D, all paths", plan.scattering1d()[:1]),
    )
    return [
        Case("floor/machine", "throughput", (machine,), kind="throughput"),
        *(
            Case(f"floor/{name}", what, contenders, kind="count", seconds=20 * plan.seconds)
            for name, what, contenders in counted
        ),
    ]


def full(plan: Plan) -> list[Case]:
    """All paths against kymatio's whole JTFS and an older state of this project."""
    peer = plan.contender("kymatio-jtfs", needs_bytes=plan.full_peer_bytes)
    what = f"all {plan.n_paths} paths"
    contenders = (*plan.both(), *plan.of_older("jtfs"), peer)
    return [Case("full/jtfs", what, contenders, plan.repeats, seconds=240 * plan.seconds)]


# The longest comes last: an interrupted run has the rest.
GROUPS: dict[str, Callable[[Plan], list[Case]]] = {
    "one-path": one_path,
    "k-paths": k_paths,
    "per-rate": per_rate,
    "scattering1d": scattering1d,
    "scattering2d": scattering2d,
    "mrstft": mrstft,
    "draws": draws,
    "set-up": set_up,
    "memory": memory,
    "floor": floor,
    "growth": growth,
    "full": full,
}


def select(plan: Plan, groups: list[str] | None = None) -> list[Case]:
    """The cases of some groups, of all by default."""
    chosen = groups or list(GROUPS)
    return [case for group in GROUPS if group in chosen for case in GROUPS[group](plan)]
