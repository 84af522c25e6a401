"""A new user installs the wheel, follows the page of twenty lines, and installs the examples."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path

import pytest

import multipath
from tests.project.test_distribution import ROOT, build

BLOCK = re.compile(
    r"^\.\. (?P<kind>testcode|code-block):: *(?P<language>\w*)\n"
    r"(?P<options>(?:   :.*\n)*)\n(?P<text>(?:(?:   .*)?\n)+)",
    re.MULTILINE,
)


class Environment:
    """A virtual environment that holds multipath as it is released.

    What multipath needs is borrowed from the environment of the tests, in which it is installed
    with all extras: to install PyTorch again would take minutes.
    """

    def __init__(self, folder, wheel):
        venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
        places = {name: str(folder) for name in ("base", "platbase")}
        self.scripts = Path(sysconfig.get_path("scripts", "venv", places))
        self.packages = Path(sysconfig.get_path("purelib", "venv", places))
        self.python = self.scripts / Path("python").with_suffix(Path(sys.executable).suffix)
        self.install(wheel)
        borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (self.packages / "borrowed.pth").write_text("\n".join(borrowed))

    def install(self, what):
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet"]
        options = ["--no-deps", "--no-index", "--no-build-isolation"]
        assert self.run([*pip, *options, what], self.packages).returncode == 0

    def run(self, command, folder):
        """Run as a user does: nothing of the checkout can be imported."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env=kept,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(done.stdout)
        return done


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("new")
    build(ROOT, folder / "dist", "wheel")
    (wheel,) = (folder / "dist").glob("*.whl")
    return Environment(folder / "environment", wheel)


def read(page):
    """What a page says: the code of each file that it names, and commands with their output."""
    files, commands, end = {}, [], 0
    for block in BLOCK.finditer(page):
        text = textwrap.dedent(block["text"]).strip() + "\n"
        if block["language"] == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                commands.append(command.partition("\n")[::2])
        elif ":hide:" not in block["options"]:
            (*_, name) = re.findall(r"``(\w+\.py)``", page[end : block.start()])
            files[name] = files.get(name, "") + text
            end = block.end()
    return files, commands


def test_the_page_of_twenty_lines_works_as_it_stands(environment, tmp_path):
    page = (ROOT / "docs" / "twenty_lines.rst").read_text(encoding="utf-8")
    files, commands = read(page)
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    assert len(files["blurs.py"].splitlines()) <= 20
    assert [command for command, _ in commands] == [
        "python train.py",
        "pip install pytest",
        "pytest test_blurs.py",
    ]
    done = environment.run([environment.python, "train.py"], tmp_path)
    assert (done.returncode, done.stdout) == (0, commands[0][1])
    tests = environment.run([environment.python, "-P", "-m", "pytest", "test_blurs.py"], tmp_path)
    assert tests.returncode == 0
    assert re.search(r"\b1[5-9] passed", tests.stdout)


@pytest.fixture(scope="module")
def examples(environment, tmp_path_factory):
    """The environment once both examples are installed."""
    for name in ("plugin", "fm_task"):
        example = tmp_path_factory.mktemp("examples") / name
        shutil.copytree(ROOT / "examples" / name, example)  # building leaves files behind
        environment.install(example)
    return environment


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pyramid", "pyramid (multipath-pyramid 0.1.0): passed: 18 checks"),
        ("fm", "fm (multipath-fm 0.1.0): passed: 9 checks, 0 do not apply"),
    ],
)
def test_the_examples_are_checked(examples, tmp_path, name, found):
    done = examples.run([examples.scripts / "multipath", "check", name], tmp_path)
    assert done.returncode == 0
    assert found in done.stdout


def test_the_examples_are_listed(examples, tmp_path):
    done = examples.run([examples.python, "-m", "multipath", "list"], tmp_path)
    assert done.returncode == 0
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "losses pyramid multipath-pyramid 0.1.0 multipath_pyramid:PyramidLoss yes" in rows
    release = f"multipath-loss {multipath.__version__}"
    assert f"transforms JTFS {release} multipath.transforms:JTFS yes" in rows
    assert "fm quick" in done.stdout
    assert "multipath_fm:FMTask" in done.stdout


def test_the_example_task_is_short():
    files = (ROOT / "examples" / "fm_task").iterdir()
    lines = [path.read_text().splitlines() for path in files if path.suffix in (".py", ".toml")]
    assert sum(map(len, lines)) < 120


def test_the_example_task_is_trained_resumed_and_reported(examples, tmp_path):
    options = "--loss kpaths --steps 6 --validate-every 2 --n-targets 20 --n-samples 1024"
    options += " --scattering.J 5 --scattering.Q 2 1 --scattering.J-fr 2 --scattering.Q-fr 1"
    options += " --scattering.F 4 --scattering.T 256 --energy-targets 4 --n-draws 2 --cqt-hop 16"
    command = ["match", "fm", *options.split(), "--out", "run"]
    stopped = examples.run([examples.python, "-c", STOPPED, *command], tmp_path)
    assert stopped.returncode == 130
    assert "interrupted; the same command with --resume goes on" in stopped.stdout
    done = examples.run([examples.python, "-c", RESUMED, *command, "--resume"], tmp_path)
    assert done.returncode == 0
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["step", "0", "2", "4", "6"]
    assert "fm" in (tmp_path / "comparison.html").read_text()


STOPPED = """
import sys
from multipath.applications.cli.main import main
from multipath.applications.matching.callbacks import History

def stop(self, trainer, *_):
    if trainer.global_step == 4:
        raise KeyboardInterrupt

History.on_train_batch_start = stop
main(sys.argv[1:])
"""

RESUMED = """
import sys
from multipath.applications.cli.main import main

for command in (sys.argv[1:], ["report", "run"]):
    try:
        main(command)
    except SystemExit as ended:
        if ended.code:
            raise
"""


def test_what_is_tested_is_the_wheel(environment, tmp_path):
    command = [environment.python, "-c", "import multipath; print(multipath.__file__)"]
    file = Path(environment.run(command, tmp_path).stdout.strip())
    assert file.is_relative_to(environment.packages)
