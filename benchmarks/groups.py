"""The groups of cases, in the order in which they run; `--only` chooses among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .cases import STEP_LIMIT, Case, Contender, Spec
from .plan import Plan


def one_path(plan: Plan) -> list[Case]:
    """A spread of single paths, each against the peers; the spectrograms keep it company."""
    return [
        Case(
            f"one-path/{index}",
            f"path {index} of {plan.n_paths}",
            (
                *plan.both(indices=[index]),
                plan.peer_path(indices=[index]),
                plan.stft("ours"),
                plan.stft("peers"),
            ),
            repeats=plan.repeats,
            facts={"path": index, **_rate_and_scale(plan, index)},
            seconds=plan.seconds * 14,
        )
        for index in plan.spread_paths()
    ]


def k_paths(plan: Plan) -> list[Case]:
    """Several random paths in one step, against one path of scrapl-loss."""
    cases = []
    for k in (*plan.ks, plan.n_paths):
        name = f"k-paths/{'all' if k == plan.n_paths else k}"
        # one draw a repeat, the same for both modes; all paths need no draw
        repeats = plan.few if k == plan.n_paths else 2 * plan.repeats - 1
        draws = () if k == plan.n_paths else plan.random_paths(name, k, repeats)
        single = plan.random_paths(f"{name}, one", 1, repeats)
        contenders = (*plan.both(draws=draws), plan.peer_path(single))
        some = "1 random path" if k == 1 else f"{k} random paths"
        what = f"all {k} paths" if k == plan.n_paths else some
        cases.append(
            Case(name, what, contenders, repeats, facts={"k": k}, seconds=plan.seconds * 25)
        )
    return cases


def per_rate(plan: Plan) -> list[Case]:
    """All scales of one rate together, for every rate."""
    cases = []
    for number in range(plan.n_rates):
        first = number * plan.n_scales
        indices = list(range(first, first + plan.n_scales))
        n2 = plan.first_rate + number
        cases.append(
            Case(
                f"per-rate/{n2}",
                f"all {plan.n_scales} scales of rate {n2}",
                plan.both(indices=indices),
                repeats=plan.few,
                facts={"n2": n2},
                seconds=plan.seconds * 3,
            )
        )
    return cases


def scattering1d(plan: Plan) -> list[Case]:
    """The scattering over time, all its paths."""
    contenders = (plan.scattering1d("ours"), plan.scattering1d("peers"))
    return [
        Case(
            "scattering1d/all",
            "Scattering1D, all paths",
            contenders,
            repeats=plan.repeats,
            seconds=plan.seconds * 30,
        )
    ]


def mrstft(plan: Plan) -> list[Case]:
    """The spectrogram loss that a user would take otherwise."""
    contenders = (plan.stft("ours"), plan.stft("peers"))
    return [
        Case(
            "mrstft/three",
            "multi-resolution STFT, three resolutions",
            contenders,
            repeats=3 * plan.repeats,
            seconds=plan.seconds * 8,
        )
    ]


def set_up(plan: Plan) -> list[Case]:
    """Seconds to construct, in fresh processes: nothing is cached."""
    transforms = (*plan.both(), plan.peer_path(), plan.full_peer())
    over_time = (plan.scattering1d("ours"), plan.scattering1d("peers"))
    every_repeat: dict[str, Any] = {"only_repeat": None, "needs_bytes": 0.0}
    return [
        Case(
            f"set-up/{name}",
            what,
            tuple(replace(contender, **every_repeat) for contender in contenders),
            repeats=plan.processes,
            kind="stages",
            steps=0,
            seconds=4.0 * plan.processes * len(contenders),
        )
        for name, what, contenders in (
            ("jtfs", "construct JTFS", transforms),
            ("scattering1d", "construct Scattering1D", over_time),
        )
    ]


def memory(plan: Plan) -> list[Case]:
    """Memory of two steps in fresh processes; kymatio's whole JTFS is in the group `full`."""
    one: Spec = {"indices": [plan.n_paths // 2]}
    some = plan.random_paths("memory", 16, 1)[0]

    comparisons = (
        ("one path", "one path", (*plan.both(**one), plan.peer_path(**one))),
        ("16 paths", "16 random paths", plan.both(**some)),
        ("full", f"all {plan.n_paths} paths", plan.both()),
        (
            "scattering1d",
            "Scattering1D, all paths",
            (plan.scattering1d("ours"), plan.scattering1d("peers")),
        ),
        ("mrstft", "multi-resolution STFT", (plan.stft("ours"), plan.stft("peers"))),
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
    cases = []
    for log2 in plan.lengths:
        facts = {"axis": "N", "value": 2**log2}
        cases.append(_grown(plan, f"N={2**log2}", settings_of_length(plan, log2), facts))
    short = settings_of_length(plan, plan.batch_length)
    for batch in plan.batches:
        facts = {"axis": "batch", "value": batch, "n_samples": 2**plan.batch_length}
        cases.append(_grown(plan, f"batch={batch}", short, facts, batch))
    for changes in plan.path_settings:
        settings = {**plan.settings, **changes}
        name = ",".join(f"{key}={value}" for key, value in changes.items()).replace(" ", "")
        cases.append(_grown(plan, name, settings, {"axis": "P", "changes": name}))
    return cases


def settings_of_length(plan: Plan, log2: int) -> dict[str, Any]:
    """T an eighth of the signal, and J as large as T up to 12 octaves."""
    octaves = log2 - 3
    return {**plan.settings, "n_samples": 2**log2, "J": min(12, octaves), "T": 2**octaves}


def _grown(
    plan: Plan,
    name: str,
    settings: dict[str, Any],
    facts: dict[str, Any],
    batch: int | None = None,
) -> Case:
    name = f"growth/{name}"
    dice = plan.randomness(name)
    # a random path in each third of the table, whatever its length
    draws = [{"at": [(third + dice.random()) / 3]} for third in range(3)]
    arguments: dict[str, Any] = {
        "draws": draws, "settings": settings, "batch": batch, "limit": STEP_LIMIT,
    }  # fmt: skip
    return Case(
        name,
        f"one path, {name.split('/')[1]}",
        (*plan.both(**arguments), plan.peer_path(**arguments)),
        repeats=2 * len(draws),
        facts=facts,
        seconds=plan.seconds * 25,
    )


def floor(plan: Plan) -> list[Case]:
    """What the machine can do, and how far from it a step is."""
    slow = (plan.slow_rate - plan.first_rate) * plan.n_scales + plan.n_scales // 2
    some = plan.random_paths("floor", 16, 1)[0]
    machine = Contender("torch", "ours", {"small": plan.seconds < 1})
    over_time = plan.scattering1d("ours")

    counted = (
        (f"path {slow}", f"one path, rate {plan.slow_rate}", plan.both(indices=[slow])),
        ("16 paths", "16 random paths", plan.both(**some)),
        ("full", f"all {plan.n_paths} paths", plan.both()),
        ("scattering1d", "Scattering1D, all paths", (over_time,)),
    )
    return [
        Case("floor/machine", "throughput", (machine,), kind="throughput", seconds=10.0),
        *(
            Case(
                f"floor/{name}",
                what,
                contenders,
                kind="count",
                seconds=plan.seconds * 20,
            )
            for name, what, contenders in counted
        ),
    ]


def full(plan: Plan) -> list[Case]:
    """All paths against kymatio's whole JTFS."""
    return [
        Case(
            "full/jtfs",
            f"all {plan.n_paths} paths",
            (*plan.both(), plan.full_peer()),
            repeats=plan.few,
            seconds=plan.seconds * 240,
        )
    ]


def _rate_and_scale(plan: Plan, index: int) -> dict[str, int]:
    number, n_fr = divmod(index, plan.n_scales)
    return {"n2": plan.first_rate + number, "n_fr": n_fr}


# The longest comes last: an interrupted run has the rest.
GROUPS: dict[str, Callable[[Plan], list[Case]]] = {
    "one-path": one_path,
    "k-paths": k_paths,
    "per-rate": per_rate,
    "scattering1d": scattering1d,
    "mrstft": mrstft,
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
