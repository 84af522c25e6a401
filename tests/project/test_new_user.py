"""A new user installs the wheel and follows the page of twenty lines, then the example plug-in."""

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


def test_the_example_plug_in_is_installed_listed_and_checked(environment, tmp_path):
    example = tmp_path / "plugin"
    shutil.copytree(ROOT / "examples" / "plugin", example)  # building leaves files behind
    environment.install(example)
    done = environment.run([environment.scripts / "multipath", "check", "pyramid"], tmp_path)
    assert done.returncode == 0
    assert "pyramid (multipath-pyramid 0.1.0): passed: 18 checks" in done.stdout
    done = environment.run([environment.python, "-m", "multipath", "list"], tmp_path)
    assert done.returncode == 0
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "losses pyramid multipath-pyramid 0.1.0 multipath_pyramid:PyramidLoss yes" in rows
    assert "transforms JTFS multipath-loss 0.1.0 multipath.transforms:JTFS yes" in rows


def test_what_is_tested_is_the_wheel(environment, tmp_path):
    command = [environment.python, "-c", "import multipath; print(multipath.__file__)"]
    file = Path(environment.run(command, tmp_path).stdout.strip())
    assert file.is_relative_to(environment.packages)
