"""Importing the package: no side effects, no extras, and everything public is documented."""

import ast
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import multipath

PACKAGE = Path(multipath.__file__).parent
LAYERS = ["optim", "samplers", "transforms"]

# Modules that only the `applications`, `docs` and `dev` extras bring.
EXTRAS = [
    "auraloss",
    "hypothesis",
    "jinja2",
    "lightning",
    "matplotlib",
    "nnAudio",
    "pytest",
    "pytorch_lightning",
    "rich",
    "soundfile",
    "tensorboard",
    "typer",
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
def test_public_names_exist_and_are_documented(module_name):
    module = importlib.import_module(module_name)
    assert inspect.getdoc(module), f"{module_name} has no docstring"
    for name in getattr(module, "__all__", []):
        item = getattr(module, name)
        if inspect.isclass(item) or inspect.isroutine(item) or inspect.ismodule(item):
            # Own docstring only: an inherited one describes something else.
            assert (item.__doc__ or "").strip(), f"{module_name}.{name} has no docstring"


@pytest.mark.parametrize("package", ["multipath", *(f"multipath.{layer}" for layer in LAYERS)])
def test_packages_list_their_public_names(package):
    module = importlib.import_module(package)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)


def imports_of(file):
    """Absolute names of everything that a file of the package imports."""
    parents = ["multipath", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_imports_are_resolved():
    assert {"multipath.errors", "torch", "torch.nn"} < set(
        imports_of(PACKAGE / "losses" / "base.py")
    )
    assert "multipath.paths" in set(imports_of(PACKAGE / "samplers" / "base.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_meet_only_in_the_core(layer):
    forbidden = {f"multipath.{other}" for other in [*LAYERS, "applications"] if other != layer}
    for file in sorted((PACKAGE / layer).rglob("*.py")):
        found = {".".join(name.split(".")[:2]) for name in imports_of(file)}
        assert forbidden.isdisjoint(found), file


def test_core_does_not_import_applications():
    command_line = PACKAGE / "__main__.py"
    for file in sorted(PACKAGE.rglob("*.py")):
        if file == command_line or "applications" in file.relative_to(PACKAGE).parts:
            continue
        found = {".".join(name.split(".")[:2]) for name in imports_of(file)}
        assert "multipath.applications" not in found, file


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
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(name='typer')")
    done = run_module(tmp_path, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "multipath: this command needs typer, which is not installed: "
        "pip install 'multipath-loss[applications]'\n"
    )
