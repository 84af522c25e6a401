"""``multipath check`` and the table of plug-ins of ``multipath list``."""

import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from multipath.errors import ConfigurationError
from multipath.plugins import Plugin, installed, unknown


class Outcome(NamedTuple):
    """What the conformance tests of a plug-in have found."""

    passed: bool
    words: str


def check(name: str, /) -> int:
    """Run the conformance tests of a plug-in: a loss, transform, sampler, optimizer or task.

    Args:
        name: Its name, as `multipath list` prints it.

    Returns:
        Exit code 0 if they pass, 1 if not.

    Raises:
        ConfigurationError: If there is no such plug-in, it has no tests, or pytest is missing.
    """
    found = installed(name=name)
    if not found:
        raise unknown(name)
    require_pytest()
    untested = [plugin for plugin in found if plugin.tests is None]
    if untested:
        untested[0].load_tests()  # says what to declare
    outcomes = [(plugin, run_tests(plugin, show=True)) for plugin in found]
    for plugin, outcome in outcomes:
        print(f"{plugin}: {outcome.words}")
    return 0 if all(outcome.passed for _, outcome in outcomes) else 1


def show_plugins(checked: bool = False) -> int:
    """Print what is installed and from where; with ``checked`` test it all.

    Returns:
        Exit code 0, or 1 if one is broken or fails its tests.
    """
    if checked:
        require_pytest()
    plugins = installed()
    columns = [(p.kind, p.name, f"{p.distribution} {p.version}", p.value) for p in plugins]
    header = ("kind", "name", "from", "is")
    widths = [max(map(len, cells)) for cells in zip(header, *columns, strict=True)]
    passed = True
    print("plug-ins")
    print_row(header, widths, "tests")
    for plugin, cells in zip(plugins, columns, strict=True):
        outcome = run_tests(plugin) if checked and plugin.tests else look(plugin)
        passed &= outcome.passed
        print_row(cells, widths, outcome.words)
    return 0 if passed else 1


def print_row(cells: tuple[str, ...], widths: list[int], last: str) -> None:
    """One line, at once: tests take a while."""
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    print("  ".join(("", *padded, last)), flush=True)


def look(plugin: Plugin) -> Outcome:
    """Whether it can be imported and has tests."""
    try:
        plugin.load()
    except ConfigurationError as error:
        return Outcome(False, f"broken: {' '.join(str(error.__cause__ or error).split())}")
    return Outcome(True, "none" if plugin.tests is None else "yes")


def run_tests(plugin: Plugin, show: bool = False) -> Outcome:
    """Run the tests in a process of their own, out of reach of the configuration around.

    Args:
        plugin: What to test; it has tests.
        show: Let pytest print.
    """
    try:
        plugin.load()
        plugin.load_tests()
    except ConfigurationError as error:
        return Outcome(False, f"broken: {' '.join(str(error).split())}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        name = re.sub(r"\W", "_", plugin.name)
        (root / "pytest.ini").write_text("[pytest]\n")
        (root / "test_conformance.py").write_text(
            "from importlib.metadata import EntryPoint\n\n"
            f"Test_{name} = EntryPoint({plugin.name!r}, {plugin.tests!r}, '').load()\n"
        )
        options = ["-q", "--tb=short", "-p", "no:cacheprovider", "--junitxml=results.xml"]
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, "test_conformance.py"],
            cwd=root,
            env=environment(),
            check=False,
            stdout=None if show else subprocess.DEVNULL,
            stderr=None if show else subprocess.DEVNULL,
        )
        return read_results(root / "results.xml")


def read_results(file: Path) -> Outcome:
    """What pytest wrote down, if it came to that."""
    try:
        suite = next(ElementTree.parse(file).iter("testsuite"))
    except (OSError, ElementTree.ParseError, StopIteration):
        return Outcome(False, "failed: pytest ended early")
    total, bad, skipped = (
        sum(int(suite.get(key, 0)) for key in keys)
        for keys in (("tests",), ("failures", "errors"), ("skipped",))
    )
    good = total - bad - skipped
    if bad or not good:
        return Outcome(False, f"failed: {bad} of {total} checks" if total else "failed: no checks")
    return Outcome(True, f"passed: {good} checks, {skipped} do not apply")


def environment() -> dict[str, str]:
    """What can be imported here can be there; options for other runs of pytest stay here."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    return {**kept, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


def require_pytest() -> None:
    """Tests need it, and nothing else does.

    Raises:
        ConfigurationError: If it is not installed.
    """
    if find_spec("pytest") is None:
        raise ConfigurationError(
            "checking plug-ins needs pytest, which is not installed: pip install pytest"
        )
