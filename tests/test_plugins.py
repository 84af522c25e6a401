"""Plug-ins: ours and others' are found, broken ones are named, and `multipath check` tests them."""

import re
import sys
import tempfile
import tomllib

import pytest

import multipath
from multipath import optim, plugins, samplers, transforms
from multipath.applications.cli import plugins as plugins_command
from multipath.applications.cli.main import main
from multipath.applications.losses.plugin import make_plugin_loss
from multipath.applications.matching.tasks.chirplet import ChirpletTask
from multipath.applications.matching.tasks.find import find_task
from multipath.errors import ConfigurationError
from multipath.testing import QuadraticLoss, shipped
from tests import ROOT

LOSS = "multipath.testing:QuadraticLoss"
PASSING = "multipath.testing.shipped:TransformLossTests"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that writes what an installer would, first on the path."""

    def write(name, groups, version="1.0"):
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [
            line
            for group, entries in groups.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        return tmp_path

    monkeypatch.syspath_prepend(tmp_path)
    return write


@pytest.fixture
def ours(install):
    """What pyproject.toml announces, whatever was installed when."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    install(project["name"], project["entry-points"], multipath.__version__)
    return [plugin for plugin in plugins.installed() if plugin.distribution == project["name"]]


def run(*arguments):
    """Exit code of a command."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code or 0


def test_everything_that_we_ship_is_announced_with_its_tests(ours):
    abstract = {"Categorical", "PathwiseOptimizer", "Sampler", "Transform", "Visit"}
    for kind, module in (("transforms", transforms), ("samplers", samplers), ("optimizers", optim)):
        announced = {plugin.name for plugin in ours if plugin.kind == kind}
        classes = {name for name in module.__all__ if isinstance(getattr(module, name), type)}
        assert announced == classes - abstract
    losses = {plugin.name for plugin in ours if plugin.kind == "losses"}
    assert losses >= {name for name in multipath.__all__ if name.endswith("Loss")} - {
        "GroupedLoss",  # made by a method
        "SubsetLoss",
        "PathDecomposedLoss",
        "StochasticLoss",
    }
    for plugin in ours:
        found, tests = plugin.load(), plugin.load_tests()
        if plugin.kind == "tasks":
            assert found.name == plugin.name
            assert tests.task is found
        else:
            assert found.__name__ == plugin.name
            assert tests is getattr(shipped, f"{plugin.name}Tests")
        assert plugin.version == multipath.__version__
    assert [plugin.name for plugin in ours if plugin.kind == "tasks"] == [
        "amchirp",
        "chirplet",
        "drum",
        "granular",
        "tr808",
    ]


for _name, _tests in list(vars(shipped).items()):
    if _name.endswith("Tests") and _tests.__module__ == shipped.__name__:
        # pytest runs them here; in haste, those of tests/testing/test_conformance.py will do
        globals()[f"Test{_name}"] = type(_name, (_tests,), {"pytestmark": [pytest.mark.slow]})


def test_a_name_is_loaded_from_whoever_announces_it(install):
    install("other", {"multipath.losses": {"mine": LOSS}, "elsewhere": {"x": "nothing:x"}})
    (plugin,) = plugins.installed("losses", "mine")
    assert (plugin.distribution, plugin.version, plugin.tests) == ("other", "1.0", None)
    assert plugins.load("losses", "mine") is multipath.testing.QuadraticLoss
    assert plugins.installed("samplers", "mine") == []


def test_of_a_distribution_installed_twice_the_first_counts(install, tmp_path, monkeypatch):
    folder = install("twice", {"multipath.losses": {"mine": LOSS}}, "1.0")
    install("twice", {"multipath.losses": {"mine": LOSS}}, "2.0")
    first = folder / "first"
    first.mkdir()
    (folder / "twice-2.0.dist-info").rename(first / "twice-2.0.dist-info")
    monkeypatch.syspath_prepend(first)
    assert [plugin.version for plugin in plugins.installed(name="mine")] == ["2.0"]


def test_one_whose_import_raises_harms_itself_alone_and_only_when_it_is_loaded(install, capsys):
    # no Exception: as pytest.importorskip does, which would skip this test here
    folder = install("absent", {"multipath.losses": {"absent": "absent_module:Loss"}})
    (folder / "absent_module.py").write_text(
        "class Skipped(BaseException):\n    pass\n\nraise Skipped('no luck')\n"
    )
    (plugin,) = plugins.installed(name="absent")
    with pytest.raises(ConfigurationError, match=r"absent 1.0\) cannot be loaded .*Skipped"):
        plugin.load()
    assert run("list") == 0
    assert "broken: no luck" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:Loss", "cannot be loaded from no_such_module:Loss: ModuleNotFoundError"),
        ("multipath:NoSuchLoss", "AttributeError"),
        ("not a reference", "cannot be loaded"),
        ("multipath.plugins", "must name a class or a function, got multipath.plugins"),
    ],
)
def test_a_broken_one_is_named_when_it_is_loaded(install, value, message):
    install("broken", {"multipath.losses": {"bad": value}})
    with pytest.raises(ConfigurationError, match=message):
        plugins.load("losses", "bad")


def test_a_damaged_file_of_entry_points_harms_nobody_else(install, caplog):
    folder = install("fine", {"multipath.losses": {"good": LOSS}})
    install("damaged", {})
    (folder / "damaged-1.0.dist-info" / "entry_points.txt").write_text("[multipath.losses]\nbad\n")
    assert plugins.load("losses", "good")
    assert "entry points of damaged cannot be read" in caplog.text


def test_names_that_are_unknown_or_twofold_are_refused(install, ours):
    with pytest.raises(ConfigurationError, match="samplers called 'uniform'; did you mean Uniform"):
        plugins.load("samplers", "uniform")
    with pytest.raises(ConfigurationError, match="optimizers called 'x'; there are PAdam, PSAGA"):
        plugins.load("optimizers", "x")
    with pytest.raises(ConfigurationError, match=r"kind must be one of losses, .* got 'models'"):
        plugins.installed("models")
    install("rival", {"multipath.samplers": {"Uniform": "multipath.samplers:Uniform"}})
    with pytest.raises(ConfigurationError, match=r"several samplers .*multipath-loss.*rival 1\.0"):
        plugins.load("samplers", "Uniform")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (None, r"declares no conformance tests: .*multipath\.conformance.* mine = "),
        ("multipath.testing:SamplerTests", "must be a subclass of LossTests"),
        (LOSS, "must be a subclass of LossTests"),
    ],
)
def test_tests_that_are_none_are_refused(install, tests, message):
    conformance = {} if tests is None else {"mine": tests}
    install("other", {"multipath.losses": {"mine": LOSS}, "multipath.conformance": conformance})
    (plugin,) = plugins.installed(name="mine")
    with pytest.raises(ConfigurationError, match=message):
        plugin.load_tests()


def test_the_example_is_short():
    files = [path for path in (ROOT / "examples" / "plugin").iterdir() if path.is_file()]
    assert sum(len(path.read_text().splitlines()) for path in files) < 60


FAILING = """
from multipath.testing.shipped import TransformLossTests

class Tests(TransformLossTests):
    n_paths = 77
"""


@pytest.mark.slow
def test_check_fails_with_the_tests(install, capfd):
    folder = install(
        "failing",
        {"multipath.losses": {"bad": LOSS}, "multipath.conformance": {"bad": "failing:Tests"}},
    )
    (folder / "failing.py").write_text(FAILING)
    assert run("check", "bad") == 1
    out = capfd.readouterr().out
    assert "expected n_paths=77, and the loss has 2 paths" in out
    assert "bad (failing 1.0): failed: 1 of" in out


@pytest.mark.slow
def test_the_configuration_around_does_not_matter(install, monkeypatch, tmp_path, capfd):
    install(
        "mine", {"multipath.losses": {"mine": LOSS}, "multipath.conformance": {"mine": PASSING}}
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # pytest looks into parent folders
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    assert run("check", "mine") == 0, capfd.readouterr().err


def test_what_cannot_be_checked_is_one_line_and_exit_code_2(install, monkeypatch, capsys):
    install("untested", {"multipath.losses": {"untested": LOSS}})
    assert run("check", "untestd") == 2
    assert capsys.readouterr().err == (
        "multipath: no installed distribution announces anything called 'untestd'; did you mean "
        "untested\n"
    )
    assert run("check", "untested") == 2
    assert "untested (untested 1.0) declares no conformance tests" in capsys.readouterr().err
    monkeypatch.setattr(plugins_command, "find_spec", lambda name: None)
    for arguments in (("check", "untested"), ("list", "--check")):
        assert run(*arguments) == 2
        assert "needs pytest, which is not installed: pip install pytest" in capsys.readouterr().err


def test_list_checks_everything_and_fails_if_one_does(install, monkeypatch, capsys):
    folder = install(
        "several",
        {
            "multipath.losses": {"a": LOSS, "b": LOSS, "c": "nowhere:Loss"},
            "multipath.conformance": {"a": PASSING},
        },
    )
    monkeypatch.setattr(sys, "path", [str(folder)])  # nothing else is installed there
    seen = []

    def tested(plugin, show=False):
        seen.append(plugin.name)
        return plugins_command.Outcome(True, "passed: 19 checks, 1 do not apply")

    monkeypatch.setattr(plugins_command, "run_tests", tested)
    assert run("list", "--check") == 1
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        "plug-ins",
        "kind name from is tests",
        f"losses a several 1.0 {LOSS} passed: 19 checks, 1 do not apply",
        f"losses b several 1.0 {LOSS} none",
        "losses c several 1.0 nowhere:Loss broken: No module named 'nowhere'",
    ]
    assert seen == ["a"]


def test_a_broken_one_fails_its_check(install, capsys):
    install(
        "broken", {"multipath.losses": {"bad": "nowhere:L"}, "multipath.conformance": {"bad": LOSS}}
    )
    assert run("check", "bad") == 1
    assert "broken: bad (broken 1.0) cannot be loaded from nowhere:L" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "failed: pytest ended early"),
        ("<testsuites", "failed: pytest ended early"),
        ("<a><testsuite tests='0'/></a>", "failed: no checks"),
        ("<a><testsuite tests='3' skipped='3'/></a>", "failed: 0 of 3 checks"),
        ("<a><testsuite tests='3' errors='1'/></a>", "failed: 1 of 3 checks"),
    ],
)
def test_no_results_are_no_success(tmp_path, text, words):
    file = tmp_path / "results.xml"
    if text is not None:
        file.write_text(text)
    assert plugins_command.read_results(file) == (False, words)


# Sound matching with the loss of a plug-in


class Sized(QuadraticLoss):
    def __init__(self, n_samples, sample_rate, n_paths=3, *names, **options):
        super().__init__(n_paths)
        self.given = n_samples, sample_rate


class Helpless:
    def __init__(self):
        raise ZeroDivisionError("no such luck")


def test_a_loss_is_told_the_sounds_it_is_for(install):
    install("other", {"multipath.losses": {"sized": "tests.test_plugins:Sized"}})
    loss = make_plugin_loss("sized", 100, 8000.0)
    assert (type(loss), loss.given, len(loss.paths)) == (Sized, (100, 8000.0), 3)


def test_a_transform_becomes_a_loss(ours):
    loss = make_plugin_loss("WaveletPacket", 64, 8000.0)
    assert isinstance(loss.transform, transforms.WaveletPacket)
    assert loss.paths.column("high")[-1] == 4000.0  # at the rate of the sounds


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PAdam", "announces losses or transforms called 'PAdam'; there are"),
        ("JTFS", "JTFS needs J, the octaves of its filter banks"),
        ("twice", "several plug-ins are called twice: .*in losses, .*in transforms; uninstall"),
        ("helpless", "sounds of 9 samples at 8 Hz: ZeroDivisionError: no such luck"),
        ("number", r"number \(other 1.0\) must make a PathDecomposedLoss or a Transform, got str"),
    ],
)
def test_what_makes_no_loss_is_refused(ours, install, name, message):
    losses = {"twice": LOSS, "helpless": "tests.test_plugins:Helpless", "number": "platform:node"}
    install("other", {"multipath.losses": losses, "multipath.transforms": {"twice": LOSS}})
    with pytest.raises(ConfigurationError, match=message):
        make_plugin_loss(name, 9, 8.0)


@pytest.mark.parametrize(
    "value", [LOSS, "multipath.applications.matching.tasks.chirplet:ChirpletTask"]
)
def test_what_is_no_task_of_its_name_is_refused(ours, install, value):
    install("other", {"multipath.tasks": {"bells": value}})
    assert find_task("chirplet").name == "chirplet"  # no other is harmed
    with pytest.raises(ConfigurationError, match=r"the task bells must be a subclass of .*'bells'"):
        find_task("bells")


class Cracked(ChirpletTask):
    """A task whose presets raise an error that is none of ours."""

    name = "cracked"

    @classmethod
    def presets(cls):
        raise TypeError("no bells today")


def test_a_task_that_raises_spoils_no_list(install, capsys):
    install("other", {"multipath.tasks": {"cracked": "tests.test_plugins:Cracked"}})
    assert run("list") == 0
    shown = capsys.readouterr().out.partition("tasks and presets")[2]
    assert re.search(r"cracked +broken: no bells today", shown)
    assert "chirplet quick" in shown


def test_paths_are_those_of_the_first_preset(capsys):
    run("paths", "--task", "granular")
    first = capsys.readouterr().out
    run("paths", "--task", "granular", "--preset", "quick")
    assert capsys.readouterr().out == first
