"""The package: no side effects of imports, public names with docstrings, who may import whom."""

import ast
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import multipath

PACKAGE = Path(multipath.__file__).parent
LAYERS = ["optim", "samplers", "transforms"]
SUB_PACKAGES = [*LAYERS, "compat", "diagnostics", "importance", "losses", "metric", "testing"]
APPLICATIONS = "multipath.applications"
# What all parts share, and what lies below it.
BELOW = {
    "multipath._internal": ["multipath.errors"],
    "multipath._plots": ["multipath.errors", "multipath.paths", "multipath._internal"],
}

# Modules that only the `applications`, `docs` and `dev` extras bring.
EXTRAS = [
    "auraloss",
    "cyclopts",
    "hypothesis",
    "jinja2",
    "lightning",
    "matplotlib",
    "nnAudio",
    "pytest",
    "pytorch_lightning",
    "rich",
    "sklearn",
    "soundfile",
    "tensorboard",
]

# Runs in a fresh interpreter: state before and after, and the extras that came along.
PROBE = """
import json, logging, os, random, sys, warnings
import numpy as np
import torch

def state():
    return {
        "log handlers": [repr(h) for h in logging.getLogger().handlers],
        "log level": logging.getLogger().level,
        "torch random state": torch.get_rng_state().tolist(),
        "numpy random state": repr(np.random.get_state()),
        "python random state": repr(random.getstate()),
        "torch threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "torch dtype": str(torch.get_default_dtype()),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warning filters": [repr(f) for f in warnings.filters],
        "path": list(sys.path),
        "environment": dict(os.environ),
        "folder": sorted(os.listdir()),
    }

before = state()
%s
after = state()
print(json.dumps({
    "changed": [name for name in before if before[name] != after[name]],
    "loggers": [n for n in logging.root.manager.loggerDict
                if n.startswith("multipath") and logging.getLogger(n).handlers],
    "modules": sorted(sys.modules),
}))
"""

IMPORT_ALL = """
import multipath, multipath.errors
import multipath.transforms, multipath.samplers, multipath.optim
import multipath.diagnostics, multipath.testing
import multipath.compat.kymatio.numpy, multipath.compat.kymatio.torch
"""


def run_probe(code, folder):
    arguments = [sys.executable, "-c", PROBE % code]
    environment = {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, env=environment, check=True
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return run_probe(IMPORT_ALL, tmp_path_factory.mktemp("empty"))


def test_import_changes_no_global_state(probe):
    assert probe["changed"] == []
    assert probe["loggers"] == []


def test_import_needs_no_extra(probe):
    assert set(EXTRAS).isdisjoint(probe["modules"])
    assert "multipath.applications" not in probe["modules"]


def test_public_modules_come_when_asked_for_and_not_before(tmp_path):
    code = """
import multipath
late = {"multipath.diagnostics", "multipath.optim", "multipath.testing"}
assert late.isdisjoint(sys.modules)
for name in ["diagnostics", "optim", "samplers", "testing", "transforms"]:
    assert getattr(multipath, name).__name__ == "multipath." + name
assert late < set(sys.modules)
"""
    assert run_probe(code, tmp_path)["changed"] == []
    with pytest.raises(AttributeError, match="'multipath' has no attribute 'optimizers'"):
        _ = multipath.optimizers


def test_probe_sees_side_effects(tmp_path):
    code = (
        "import logging; logging.basicConfig(); torch.rand(1); torch.set_num_threads(1 + "
        "torch.get_num_threads()); warnings.simplefilter('ignore'); sys.path.append('x')"
    )
    changed = run_probe(code, tmp_path)["changed"]
    assert set(changed) == {
        "log handlers",
        "torch random state",
        "torch threads",
        "warning filters",
        "path",
    }


def public_modules():
    names = [multipath.__name__]
    for module in pkgutil.walk_packages(multipath.__path__, "multipath."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            names.append(module.name)
    return names


@pytest.mark.parametrize("module_name", public_modules())
def test_public_names_exist_once_and_are_documented(module_name):
    module = importlib.import_module(module_name)
    assert inspect.getdoc(module), f"{module_name} has no docstring"
    public = getattr(module, "__all__", [])
    assert len(set(public)) == len(public)
    assert public or module_name.partition(".")[2] not in ["", *SUB_PACKAGES]
    for name in public:
        item = getattr(module, name)
        if inspect.isclass(item) or inspect.isroutine(item) or inspect.ismodule(item):
            # Own docstring only: an inherited one describes something else.
            assert (item.__doc__ or "").strip(), f"{module_name}.{name} has no docstring"


def test_everyday_names_need_no_sub_package():
    assert {*SUB_PACKAGES, *multipath.losses.__all__} < set(multipath.__all__)


# Who may import whom


def modules_of(package):
    """What each module of a folder imports, types and imports inside functions included."""
    files = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return {name: set(imports_of(file, package, files)) for name, file in files.items()}


def imports_of(file, package, modules):
    """Full names: of a module where one is imported, and of what is imported from it otherwise."""
    parents = file.relative_to(package.parent).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def inside(name, *packages):
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def broken_rules(package):
    """One line for each import of a package's folder that breaks a rule."""
    modules = modules_of(package)
    lines = [f"{file.name} is private at the root" for file in package.glob("_[!_]*.py")]
    for module, imported in modules.items():
        for name in sorted(imported):
            lines += [f"{module} imports {name}: {r}" for r in rules_broken_by(module, name)]
    if found := circle(modules):
        lines.append(f"a circle: {', '.join(found)}")
    return lines


def rules_broken_by(module, name):
    layers = [f"multipath.{layer}" for layer in LAYERS]
    own = [layer for layer in layers if inside(module, layer)]
    if own and inside(name, *layers) and not inside(name, *own):
        yield "layers meet only in the core"
    if inside(name, APPLICATIONS) and not inside(module, APPLICATIONS, "multipath.__main__"):
        yield "the core knows no application"
    for shared, below in BELOW.items():
        if (
            inside(module, shared)
            and inside(name, "multipath")
            and not inside(name, shared, *below)
        ):
            yield "what all share imports nothing above it"
    foreign = inside(name, "multipath") and not inside(name, APPLICATIONS, "multipath._internal")
    if inside(module, APPLICATIONS) and foreign and re.search(r"\._(?!_)", name):
        yield "applications use public names"


def circle(modules):
    """Modules each of which leads to the next and the last to the first, if there are any.

    To import a module of another package is to import that package first; what a package imports
    of its own is no circle.
    """
    edges = {}
    for module, imported in modules.items():
        found = set()
        for name in imported:
            parts = name.split(".")
            steps = [".".join(parts[:n]) for n in range(2, len(parts) + 1)]
            found |= {step for step in steps if step in modules and not inside(module, step)}
            if name.rpartition(".")[0] == "multipath" and name not in modules:
                found.add("multipath")
        edges[module] = found - {module}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return sorted(set(error.args[1]))
    return []


def test_imports_keep_to_the_layers():
    assert list(broken_rules(PACKAGE)) == []


PLANTED = {  # the file and its line, and the rule that it breaks
    "a layer in a folder of another": (
        {"samplers/_deep/planted.py": "from multipath.transforms._dwt import haar"},
        r"samplers\._deep\.planted imports multipath\.transforms\._dwt\.haar: layers meet",
    ),
    "a layer by a relative import, in a function": (
        {"optim/_deep/planted.py": "def f():\n    from ...samplers import Uniform"},
        r"optim\._deep\.planted imports multipath\.samplers\.Uniform: layers meet",
    ),
    "the core, for types only": (
        {"losses/_deep/planted.py": "if 0:\n    from multipath.applications.audio import x"},
        "the core knows no application",
    ),
    "an integration": (
        {"integrations/planted.py": "import multipath.applications.cli"},
        "the core knows no application",
    ),
    "what all share": (
        {"_internal/_deep/planted.py": "from multipath.losses import base"},
        "imports nothing above it",
    ),
    "a plot, for types only": (
        {"_plots/planted.py": "if 0:\n    from multipath.diagnostics import VarianceReport"},
        "imports nothing above it",
    ),
    "an application, of a private module": (
        {"applications/cli/deep/planted.py": "from multipath.importance._journal import Journal"},
        "applications use public names",
    ),
    "an application, of a private name": (
        {"applications/planted.py": "from multipath.paths import _number"},
        "applications use public names",
    ),
    "a private file at the root": ({"_planted.py": ""}, "_planted.py is private at the root"),
    "a circle, of types and inside a function": (
        {
            "losses/a.py": "def f():\n    from .deep import b",
            "losses/deep/b.py": "if 0:\n    from ..a import f",
        },
        r"a circle: multipath\.losses\.a, multipath\.losses\.deep\.b",
    ),
    "a circle through the name of a package": (
        {
            "losses/__init__.py": "from .a import f",
            "losses/a.py": "from multipath.draws import Draw",
            "draws.py": "from multipath.losses import f",
        },
        r"a circle: multipath\.draws, multipath\.losses, multipath\.losses\.a",
    ),
    "a circle through the name of the whole": (
        {"__init__.py": "from .draws import Draw", "draws.py": "from multipath import Path"},
        r"a circle: multipath, multipath\.draws",
    ),
}


def plant(files, folder):
    """A package of these files, of which the names are relative to it."""
    for name, source in files.items():
        file = folder / "multipath" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return folder / "multipath"


@pytest.mark.parametrize("case", PLANTED)
def test_planted_imports_break_them(case, tmp_path):
    files, line = PLANTED[case]
    (found,) = broken_rules(plant(files, tmp_path))
    assert re.search(line, found), found


def test_what_is_allowed_breaks_none(tmp_path):
    allowed = {
        "__init__.py": "from . import errors\nfrom .losses import TermLoss",
        "losses/__init__.py": "from .terms import TermLoss",
        "losses/terms.py": "from . import base\nfrom multipath.errors import InputError",
        "losses/base.py": "import torch._dynamo",
        "errors.py": "",
        "__main__.py": "from multipath.applications import main",
        "applications/cli.py": "from multipath._internal.files import replacing",
    }
    assert broken_rules(plant(allowed, tmp_path)) == []


def run_module(*path, folder):
    """What ``python -m multipath --version`` does with these folders first on the path."""
    return subprocess.run(
        [sys.executable, "-m", "multipath", "--version"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, PACKAGE.parent]))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_runs_as_the_command_line(tmp_path):
    done = run_module(folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"multipath {multipath.__version__}\n")


def test_without_its_extra_the_command_line_says_what_to_install(tmp_path):
    (tmp_path / "cyclopts.py").write_text("raise ModuleNotFoundError(name='cyclopts')")
    done = run_module(tmp_path, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "multipath: this command needs cyclopts, which is not installed: "
        "pip install 'multipath-loss[applications]'\n"
    )
