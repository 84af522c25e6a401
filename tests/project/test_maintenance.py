"""What maintainers rely on: workflows, versions, tags, and nothing that only Linux has."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

import multipath
from tests import ROOT
from tools.lowest import lowest
from tools.tag import SAID, objections

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def read_yaml(file):
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def workflow(name):
    return read_yaml(ROOT / ".github" / "workflows" / f"{name}.yml")


def steps(job, kind):
    return [step[kind] for step in job["steps"] if kind in step]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.lower().split("==") for line in lines if not line.startswith("#"))


# Workflows and other settings


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_run_targets_that_exist_and_actions_of_one_version(file):
    content = read_yaml(file)
    assert content["permissions"] == {"contents": "read"}
    assert True in content  # `on`, as this version of YAML reads it
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert all(re.search(r"@(v\d+|release/v\d+)$", uses) for uses in steps(job, "uses"))
        for target in re.findall(r"make (\w+)", "\n".join(steps(job, "run"))):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_every_supported_python_is_tested_and_the_next_one_tried():
    jobs = workflow("tests")["jobs"]
    words = (line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"])
    supported = [word for word in words if re.fullmatch(r"3\.\d+", word)]
    assert jobs["test"]["strategy"]["matrix"]["python"] == supported
    following = f"3.{int(supported[-1][2:]) + 1}"
    assert jobs["newest"]["strategy"]["matrix"]["python"] == [supported[-1], following]
    assert following in jobs["newest"]["continue-on-error"]
    assert PROJECT["project"]["requires-python"] == f">={supported[0]}"
    (setup,) = (step["with"] for step in jobs["lowest"]["steps"] if "with" in step)
    assert setup == {"python-version": supported[0]}


def test_only_a_checked_and_installed_release_is_published():
    jobs = workflow("release")["jobs"]
    runs = steps(jobs["build"], "run")
    assert [re.match(r"make (\w+)", line)[1] for line in runs] == ["tag", "dist"]
    assert jobs["install"]["needs"] == "build"
    publish = jobs["publish"]
    assert publish["needs"] == "install"
    assert publish["environment"] == "release"
    assert publish["permissions"] == {"id-token": "write"}
    others = [job for name, job in jobs.items() if name != "publish"]
    assert not any("permissions" in job for job in others)


def test_forms_have_what_makes_them_one():
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = [read_yaml(file) for file in folder.glob("*.yml") if file.stem != "config"]
    assert forms
    for form in forms:
        assert {"name", "description", "body"} <= set(form)
        names = [field["id"] for field in form["body"]]
        assert len(set(names)) == len(names)
        assert all(field["attributes"]["label"] for field in form["body"])


def test_the_linter_of_commits_is_that_of_make():
    (source,) = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert source["rev"] == f"v{pins()['ruff']}"
    assert [hook["id"] for hook in source["hooks"]] == ["ruff-check", "ruff-format"]


def test_hosted_documentation_is_built_as_here():
    content = read_yaml(ROOT / ".readthedocs.yaml")
    assert (ROOT / content["sphinx"]["configuration"]).is_file()
    assert content["sphinx"]["fail_on_warning"]
    (group,) = re.findall(r"--group (\w+)", "\n".join(content["build"]["jobs"]["install"]))
    assert group in PROJECT["dependency-groups"]


def test_all_links_are_made_out_of_one_address():
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling makes them")
    from hatch_build import Links

    metadata = {}
    Links(str(ROOT), {"repository": ""}).update(metadata)
    assert metadata == {}
    Links(str(ROOT), {"repository": "https://host/me/it"}).update(metadata)
    assert metadata["urls"]["Repository"] == "https://host/me/it"
    assert all(url.startswith("https://host/me/it") for url in metadata["urls"].values())


# Versions


def test_lowest_versions_are_the_bounds_of_the_project():
    found = lowest(PROJECT)
    assert found["torch"] == "2.6"
    assert set(found) >= {"numpy", "lightning", "submitit", "scikit-learn", "pytest"}


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("numpy", "'numpy' needs a lower bound"),
        ("numpy<3", "'numpy<3' needs a lower bound"),
        ("numpy>=1.27", r"numpy has two lower bounds, 1\.26 and 1\.27"),
    ],
)
def test_a_requirement_has_one_lower_bound(requirement, message):
    extras = {"optional-dependencies": {"more": [requirement]}}
    content = {
        "project": {"dependencies": ["numpy>=1.26"], **extras},
        "dependency-groups": {"dev": []},
    }
    with pytest.raises(ValueError, match=message):
        lowest(content)


def test_pinned_versions_are_allowed():
    project, pinned = PROJECT["project"], pins()
    needed = [*project["dependencies"]]
    for some in (project["optional-dependencies"], PROJECT["dependency-groups"]):
        needed += [requirement for each in some.values() for requirement in each]
    for requirement in map(Requirement, needed):
        name = requirement.name.lower()
        version = pinned.get(name) or pinned[name.replace("-", "_")]
        assert requirement.specifier.contains(version), requirement


# Releases


def test_this_version_can_be_tagged():
    assert objections(f"v{multipath.__version__}") == []
    done = subprocess.run(
        [sys.executable, "-m", "tools.tag", "v0"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == len(SAID)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("multipath/__init__.py", '__version__ = "', '__version__ = "9', "has version 9"),
        ("multipath/__init__.py", "__version__ =", "version =", "names no version"),
        ("CITATION.cff", "\nversion: ", "\nversion: 9", "has version 9"),
        ("CITATION.cff", "date-released: 20", "date-released: 19", "CITATION.cff says 19"),
        ("CHANGELOG.md", "## [", "## [9", r"CHANGELOG\.md (has version 9|names no version)"),
        ("CHANGELOG.md", "] - 20", "] - 19", "CHANGELOG.md says 19"),
    ],
)
def test_a_tag_is_refused_where_something_else_is_said(file, old, new, message, tmp_path):
    for name in SAID:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    (objection,) = objections(f"v{multipath.__version__}", tmp_path)
    assert re.search(message, objection)


# Systems other than Linux

ELSEWHERE = {"crypt", "fcntl", "grp", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"}
"""Modules that Windows has not."""
SIGNALS = {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGTSTP", "SIGUSR1", "SIGUSR2"}
CALLS = {
    "fork",
    "getloadavg",
    "getpgid",
    "getuid",
    "killpg",
    "sched_getaffinity",
    "setsid",
    "uname",
}
FOLDERS = "multipath", "benchmarks", "docs", "examples", "tests", "tools"


def on_import(tree):
    """The nodes of a module that are run when it is imported, whatever the system."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Try) and any(catches(handler) for handler in node.handlers):
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (part for each in node.decorator_list for part in ast.walk(each))
            continue
        yield node
        yield from on_import(node)


def catches(handler):
    return handler.type is not None and "ImportError" in ast.unparse(handler.type)


def only_on_linux(source):
    """What a module needs to be imported that Windows has not."""
    for node in on_import(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in ELSEWHERE)
        elif isinstance(node, ast.ImportFrom) and node.module in ELSEWHERE:
            yield node.module
        elif isinstance(node, ast.Attribute) and node.attr in SIGNALS | CALLS:
            yield node.attr


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_that_only_linux_has_is_needed_to_import(folder):
    files = [file for file in (ROOT / folder).rglob("*.py") if "_build" not in file.parts]
    assert files
    found = {file: list(only_on_linux(file.read_text(encoding="utf-8"))) for file in files}
    assert not {str(file): names for file, names in found.items() if names}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os, fcntl", ["fcntl"]),
        ("from resource import getrusage", ["resource"]),
        ("if True:\n    import pwd", ["pwd"]),
        ("class A:\n    by = signal.SIGKILL", ["SIGKILL"]),
        ("@mark(signal.SIGHUP)\ndef f(): pass", ["SIGHUP"]),
        ("def f():\n    import fcntl\n    os.fork()", []),
        ("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None", []),
        ("try:\n    import fcntl\nfinally:\n    pass", ["fcntl"]),
    ],
)
def test_planted_needs_are_found(source, names):
    assert list(only_on_linux(source)) == names


# Others may need them, so they are imported first; what follows is imported as on Windows.
AS_ON_WINDOWS = """
import importlib, os, pkgutil, signal, sys
import lightning.pytorch, matplotlib.pyplot, nnAudio.features, sklearn.base, torch.distributed
import multipath
for name in {modules}:
    sys.modules[name] = None
for name in {signals}:
    delattr(signal, name)
for name in {calls}:
    delattr(os, name)
for package in (multipath, importlib.import_module("benchmarks")):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from multipath.applications.reproduction import cost
cost.STATUS = cost.Path("nowhere")
print(cost._peak(cost.torch.device("cpu")))
"""


def test_every_module_is_imported_without_what_windows_has_not():
    code = AS_ON_WINDOWS.format(modules=ELSEWHERE, signals=SIGNALS, calls=CALLS)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
