"""Whatever takes loaded state in refuses what its own saving can never have written.

Each way in is a row of ``DOORS``; one that the package has and the table has not fails the tests.
Every part of a valid state is replaced by each of the same bad values. The outcome must be an error
of multipath, in one line and with nothing changed.
"""

import copy
import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import multipath
from multipath import BalancedLoss, PathTable, StochasticLoss
from multipath._internal.journal import Journal
from multipath._internal.state import pack, unpack
from multipath.applications.losses.random_resolutions import RandomResolutionLoss
from multipath.applications.matching.callbacks import Damping, History
from multipath.applications.matching.train import load_encoder
from multipath.applications.reproduction.plan import Job
from multipath.applications.resynthesis.search import Resynthesis
from multipath.applications.resynthesis.settings import ResynthesisSettings
from multipath.compat import SCRAPLLoss
from multipath.draws import Draw, DrawCounts
from multipath.errors import MultipathError
from multipath.importance import ThetaImportance, load_probabilities
from multipath.integrations.lightning import DrawCounter
from multipath.metric import AdaptiveDamping, ParameterMetric
from multipath.optim import PSAGA, PAdam
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Stratified,
    Uniform,
)
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT
from tests.applications.tiny import TINY
from tests.runs_code import RunsCode
from tests.testing import test_conformance as conformance

P = 4
SEARCH = ResynthesisSettings.for_recording(
    1024, 1024, "scattering1d", J=4, steps=4, interval=2, draws=3
)
WHOLE_SEARCH = ResynthesisSettings.for_recording(
    1024, 1024, "scattering1d", J=4, steps=4, interval=3
)
LAW = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


@dataclass
class Door:
    """A way in.

    Args:
        make: Makes an object in a state worth saving; None for functions and class methods.
        save: From the object to its state.
        load: Takes a state in; what it returns is compared, or the state of the object.
        legal: Leaves that may hold other values, by the end of their path, with the names of those.
        depth: How deep its own parts lie; what is inside of them has rows of its own.
    """

    make: Callable[[], Any]
    save: Callable[[Any], Any]
    load: Callable[[Any, Any], Any]
    legal: dict[str, set[str]]
    depth: int = 9


def state(make, legal=None):
    return Door(
        make, lambda made: made.state_dict(), lambda made, s: made.load_state_dict(s), legal or {}
    )


def of_damping(make):
    # modules and optimizers compare their own states with themselves, once these are put back
    own = {"None", "dictionary", "extra", "missing"}
    legal = {"best": {"inf", "negative"}, "weights": own, "optimizer": own}
    return dataclasses.replace(state(make, legal), depth=1)


def extra(make, names, legal=None):
    return Door(
        make,
        lambda made: unpack(made.get_extra_state(), made, names),
        lambda made, s: made.set_extra_state(pack(s)),
        legal or {},
    )


def sampler(kind):
    def make():
        made = kind()
        made.bind(PathTable(P))
        made.draw(2, torch.Generator().manual_seed(0))
        if made.observes is not None:
            made.wants_observation()
            made.observe(torch.tensor([1, 2]), torch.tensor([3.0, 1.0], dtype=torch.float64))
        return made

    return make


def criterion(kind=Reshuffle):
    made = StochasticLoss(QuadraticLoss(P), kind(), generator=0)
    weights = torch.nn.Parameter(torch.ones(1, P))
    made.optimizer = PSAGA([weights], made)
    made.weights = weights
    for _ in range(6):
        made(weights, torch.zeros(1, P)).backward()
        made.optimizer.step()
        made.optimizer.zero_grad()
    made(weights, torch.zeros(1, P))
    return made


def optimizer(kind, **options):
    def make():
        loss = StochasticLoss(QuadraticLoss(P), generator=0)
        weights = torch.nn.Parameter(torch.ones(1, P))
        made = kind([weights], loss, **options)
        for _ in range(6):
            loss(weights, torch.zeros(1, P)).backward()
            made.step()
        return made

    return make


def counts():
    made = DrawCounts(PathTable(P))
    made.counts += torch.arange(P)
    return made


def counter():
    made = DrawCounter()
    made.draws = counts()
    return made


def history():
    made = History("metrics.csv")
    made.rows, made.durations = [{"step": 1, "loss": 2.0}, {"step": 3, "loss": 1.0}], [0.5, 0.25]
    return made


def search(settings=SEARCH):
    made = Resynthesis(settings, torch.sin(0.3 * torch.arange(1024.0)))
    made.advance()
    return made


def hooks():
    criterion = SCRAPLLoss(shape=256, J=4, Q1=2, Q2=1, J_fr=2, Q_fr=1, exact=True, generator=0)
    made = criterion.hooks
    weights = made.weights = torch.nn.Parameter(torch.ones(256))
    made.attach([weights])
    for path in (1, 3, 1):
        x = torch.linspace(-1, 1, 256)[None, None]
        criterion(x * weights, 2 * x, path_idx=path).backward()
    return made


def settings(made, legal=None, depth=9):
    values = json.loads(json.dumps(made.to_dict()))
    own = {name: value for name, value in values.items() if name != "name"}
    return Door(None, lambda _: own, lambda _, s: type(made).from_dict(s), legal or {}, depth)


def in_file(load, content, legal=None):
    def enter(folder, made):
        torch.save(made, folder / "state.pt")
        return load(folder / "state.pt")

    return Door(None, lambda _: content, enter, legal or {})


def result():
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    return {
        "format": "multipath theta-importance result, 1",
        "paths": [(key, {"rate": 2.0}, 1.0) for key in ("a", "b", "c", "d")],
        "parameters": ["AM"],
        "curvature": values,
        "residuals": values / 100,
        "settings": {"seed": 1},
    }


def metrics():
    values = torch.eye(1, dtype=torch.float64).expand(4, 1, 1).clone()
    return {
        "format": "multipath parameter metrics, 1",
        "paths": [(key, {"rate": 2.0}, 1.0) for key in ("a", "b", "c", "d")],
        "parameters": ["AM"],
        "theta": values[:2, 0],
        "metric": values[:2],
        "path_metrics": values,
        "settings": {"seed": 1},
    }


def damping():
    made, module = AdaptiveDamping(1.0), torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1)).backward()
    optimizer.step()
    made.update(1.0, module, optimizer)
    return made


def read_journal(folder, content):
    import base64
    import io

    buffer = io.BytesIO()
    torch.save(content, buffer)
    lines = [
        {"format": "multipath theta-importance, 1", "fingerprint": "f"},
        {"unit": "u", "data": base64.b64encode(buffer.getvalue()).decode()},
    ]
    file = folder / "journal"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return Journal(file, "f").records["u"]


ANY = {"nan", "inf", "negative", "None", "string", "bool", "complex", "dictionary", "extra"}
ANY |= {"missing", "tensor"}
# who asked for a result knows its shape, and compares that
SHAPES = {"shorter", "wrong shape", "empty", "one more", "negative"}
OF_RECORDS = {"": SHAPES}
# values that are finite but other than those that were saved
NUMBERS = {"negative"}
# a parameter or path may never have been visited, and schedulers keep their own in groups
OF_OPTIMIZERS = {"state": {"missing"}, "paths": {"missing"}, "param_groups.0": {"extra"}}
DOORS = {
    "Sampler.load_state_dict": state(sampler(Uniform)),
    "Importance.load_state_dict": state(sampler(lambda: Importance(LAW))),
    "Stratified.load_state_dict": state(sampler(lambda: Stratified([[0, 1], [2, 3]], LAW))),
    "Reshuffle.load_state_dict": state(sampler(Reshuffle)),
    "LearnedSampler.load_state_dict": state(
        sampler(AdaptiveImportance), {"estimates": {"nan"}}  # NaN stands for what is not known
    ),
    "LearnedSampler.load_state_dict of energies": state(sampler(lambda: Energy(LAW))),
    "Mixture.load_state_dict": state(
        sampler(lambda: Mixture([Importance(LAW), Reshuffle(), AdaptiveImportance()])),
        {"estimates": {"nan"}},
    ),
    "Draw.from_state": Door(
        None,
        lambda _: Draw(torch.tensor([1, 3]), LAW[:2], LAW[2:]).state_dict(),
        lambda _, s: Draw.from_state(s, P).state_dict(),
        {},
    ),
    "DrawCounts.load_state_dict": state(counts, {"counts": {"large"}}),
    "DrawCounter.load_state_dict": state(counter, {"": {"large", "missing"}}),
    "StochasticLoss.set_extra_state": extra(
        criterion,
        set(unpack(criterion().get_extra_state(), criterion(), multipath.stochastic.STATE)),
        {"pending": {"None"}, "last": {"None"}, "reweight": {"bool"}},
    ),
    "BalancedLoss.set_extra_state": extra(
        lambda: BalancedLoss(QuadraticLoss(P), [1.0, 2.0, 3.0, 4.0]), {"path_weights"}
    ),
    "CombinedLoss.set_extra_state": extra(
        lambda: conformance.combined(MultiResolutionSTFT([16])), {"sizes", "eps"}
    ),
    "RandomResolutionLoss.set_extra_state": extra(
        RandomResolutionLoss, {"generator", "evaluated"}
    ),
    "PathwiseOptimizer.load_state_dict": state(
        optimizer(PAdam), {"direction": NUMBERS, **OF_OPTIMIZERS}
    ),
    "PathwiseOptimizer.load_state_dict of PSAGA": state(
        optimizer(PSAGA, adaptive=False),
        {
            **dict.fromkeys(("gradient", "sum", "compensation"), NUMBERS),
            **OF_OPTIMIZERS,
        },
    ),
    "History.load_state_dict": state(
        history, {"loss": {"nan", "inf", "negative"}, "s": {"shorter"}}
    ),
    "Resynthesis.load_state_dict": state(
        search,
        {
            **dict.fromkeys(("kept", "moving", "exp_avg"), NUMBERS),
            "tried": {"nan", "inf", "negative"},
            **{"counts": {"large"}, "rows": {"shorter"}, "optimizer.state": {"missing"}},
        },
    ),
    "Resynthesis.load_state_dict of L-BFGS": state(
        lambda: search(WHOLE_SEARCH),
        {
            **dict.fromkeys(
                ("kept", "moving", "d", "t", "H_diag", "prev_loss", "prev_flat_grad"), NUMBERS
            ),
            **{f"{name}.{i}": NUMBERS for name in ("old_dirs", "old_stps", "ro") for i in (0, 1)},
            # what torch keeps as a number or as a tensor, and what it has not computed yet
            **{key: {"number", "negative"} for key in ("state.0.t", "H_diag")},
            **{f"al.{i}": {"None", "negative"} for i in (0, 1)},
            "tried": {"nan", "inf", "negative"},
            **{"counts": {"large"}, "rows": {"shorter"}, "optimizer.state": {"missing"}},
        },
    ),
    "GradientHooks.set_extra_state": extra(
        hooks,
        {"clock", "seen", "unsampled", "parameters"},
        {
            **dict.fromkeys(("mean", "update"), NUMBERS),
            **{"seen": {"shorter", "empty"}, "unsampled": {"shorter", "empty"}},
            "parameters.0": {"missing"},
        },
    ),
    "MatchConfig.from_dict": settings(TINY, {"preset": {"string"}}, depth=1),
    "Settings.from_dict of tasks": settings(
        TINY.task, {"eps": {"None"}, "detach_window": {"bool"}}
    ),
    "Settings.from_dict of encoders": settings(
        TINY.encoder, {"pools": {"None"}, "channels": {"shorter"}}
    ),
    "Settings.from_dict of objectives": settings(
        TINY.objective,
        {
            **{"probabilities": {"None", "string"}, "reweight": {"bool"}, "loss": {"string"}},
            "sizes": {"shorter"},
        },
    ),
    "Settings.from_dict of training": settings(
        TINY.training, {"threshold": {"None"}, "start": {"string"}}
    ),
    "Settings.from_dict": settings(SEARCH),
    "Job.from_dict": Door(
        None,
        lambda _: Job("a", "match", "folder", {}).to_dict(),
        lambda _, s: Job.from_dict(s).to_dict(),
        {"name": {"string"}, "target": {"string"}, "needs": {"None", "string"},
         "config": {"dictionary", "extra"}},
    ),
    "ThetaImportance.load": in_file(
        ThetaImportance.load,
        result(),
        {
            **{"residuals": {"None"}, "settings": {"extra", "dictionary", "missing"}},
            **{"seed": ANY, "parameters.0": {"string"}, "rate": ANY},  # free words, of users
            **{f"paths.{n}.{part}": ANY for n in range(2) for part in range(2)},
        },
    ),
    "ParameterMetric.load": in_file(
        ParameterMetric.load,
        metrics(),
        {
            **{"settings": {"extra", "dictionary", "missing"}, "theta": NUMBERS},
            **{"seed": ANY, "parameters.0": {"string"}, "rate": ANY},
            **dict.fromkeys(("metric", "path_metrics"), NUMBERS),
            **{f"paths.{n}.{part}": ANY for n in range(2) for part in range(2)},
        },
    ),
    "AdaptiveDamping.load_state_dict": of_damping(damping),
    "Damping.load_state_dict": of_damping(lambda: Damping(damping())),
    "load_probabilities": in_file(load_probabilities, LAW),
    "load_encoder": in_file(
        lambda file: load_encoder(file, nn.Linear(2, 1)),
        nn.Linear(2, 1).state_dict(),
        dict.fromkeys(("weight", "bias"), NUMBERS),
    ),
    "Journal": Door(None, lambda _: (LAW, LAW[:1]), read_journal, OF_RECORDS),
}  # fmt: skip
WAYS = {"load_state_dict", "set_extra_state", "load", "from_dict", "from_state"}
# what takes nothing in itself, or is tested beside what it reads
ELSEWHERE = {
    "Plugin.load": "imports code that is installed",
    "multipath.plugins.load": "imports code that is installed",
    "multipath.applications.networks.panns.load": "tests/applications/networks",
    "multipath.applications.networks.clap.load": "tests/applications/networks",
}


def test_the_table_is_complete():
    found = set()
    for module in pkgutil.walk_packages(multipath.__path__, "multipath."):
        if "__main__" in module.name:
            continue
        content = vars(importlib.import_module(module.name))
        for name, value in list(content.items()):
            if getattr(value, "__module__", None) != module.name:
                continue
            if inspect.isclass(value):
                for method in (
                    "load_state_dict",
                    "set_extra_state",
                    "load",
                    "from_dict",
                    "from_state",
                ):
                    if method in vars(value):
                        found.add(f"{name}.{method}")
            elif name == "load":
                found.add(f"{module.name}.load")
    covered = {name.partition(" of ")[0] for name in DOORS} | set(ELSEWHERE)
    assert found <= covered, f"add rows for {sorted(found - covered)}"


def leaves(value, path=()):
    """The paths to all parts of a state, containers included."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        inner = list(enumerate(value))[:2]
    for key, part in inner:
        yield from leaves(part, (*path, key))


def put(value, path, new):
    """A copy of a state with another part."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: put(value[key], rest, new)}
    parts = list(value)
    parts[key] = put(parts[key], rest, new)
    return type(value)(parts)


def bad_values(old, folder):
    """What a part may be replaced by, by name; one makes a folder if its pickle is trusted."""
    found: dict[str, Any] = {"None": None, "string": "bad", "complex": 1j, "dictionary": {"a": 1}}
    found["code"] = RunsCode(folder)
    if isinstance(old, torch.Tensor):
        found |= {
            "wrong type": old.to(torch.int32),
            "bool": old.bool(),
            "complex": old.to(torch.complex64),
            "wrong shape": old[None],
            "empty": old.new_zeros(0),
            "sparse": old.to_sparse(),
            "meta": old.to("meta"),
            "quantized": torch.quantize_per_tensor(old.float(), 0.1, 0, torch.quint8),
            "huge": old.new_zeros(()).expand(2**40),
            "number": 3,
        }
        if old.numel():
            found["one more"] = torch.cat([old.flatten(), old.flatten()[:1]])
        if old.is_floating_point() and old.numel():
            for name, number in (("nan", torch.nan), ("inf", torch.inf), ("negative", -1.0)):
                found[name] = old.clone()
                found[name].view(-1)[0] = number
        elif old.dtype == torch.int64:
            found["negative"], found["large"] = old - 100, old + 2**40
    elif isinstance(old, bool):
        found["bool"] = 1
    elif isinstance(old, int | float):
        found |= {"nan": float("nan"), "inf": float("inf"), "negative": -abs(old) - 1, "bool": True}
        found["tensor"] = torch.tensor([old])
    elif isinstance(old, dict):
        found |= {"extra": {**old, "other": 1}, "list": [*old]}
        if old:
            found["missing"] = {key: old[key] for key in [*old][1:]}
    elif isinstance(old, list | tuple):
        found |= {"shorter": type(old)(list(old)[:-1]), "number": 3}
    return found


def plain(value):
    """Values that can be compared, tensors by their bits."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes())
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*(quantiz|[Ss]parse)")  # of torch, where bad values are made
@pytest.mark.parametrize("name", DOORS)
def test_what_was_never_saved_is_refused_in_one_line(name, tmp_path):
    door = DOORS[name]
    made = tmp_path if door.make is None else door.make()
    good = copy.deepcopy(door.save(made))
    door.load(made, copy.deepcopy(good))
    before = None if door.make is None else plain(door.save(made))
    accepted = []
    for path in [(), *(path for path in leaves(good) if len(path) <= door.depth)]:
        old = good
        for key in path:
            old = old[key]
        allowed = set().union(
            *(names for end, names in door.legal.items() if ".".join(map(str, path)).endswith(end))
        )
        for kind, bad in bad_values(old, tmp_path / "ran").items():
            if kind in allowed or (bad is None and old is None):
                continue
            where = f"{'.'.join(map(str, path))}: {kind}"
            try:
                door.load(made, put(good, list(path), bad))
            except MultipathError as error:
                if "\n" in str(error):
                    accepted.append(f"{where}: more than one line: {error}")
            except Exception as error:
                accepted.append(f"{where}: {type(error).__name__}: {str(error)[:80]}")
            else:
                accepted.append(f"{where} is accepted")
                door.load(made, copy.deepcopy(good))
            if before is not None and plain(door.save(made)) != before:
                accepted.append(f"{where} has changed the object")
                door.load(made, copy.deepcopy(good))
    assert not accepted, "\n".join(accepted)
    assert not (tmp_path / "ran").exists(), "a file that was read ran code"
