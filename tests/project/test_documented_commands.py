"""Command lines in README and docs are those that exist."""

import importlib.util
import re
import shlex
import tomllib
from functools import cache

import pytest

from multipath.applications.cli.commands import make_app
from tests import ROOT

DOCS = ROOT / "docs"
PAGES = [page for page in DOCS.glob("**/*.rst") if not {"gallery", "_build"} & set(page.parts)]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(PAGES)]
HELP = {"--help"}
ELSEWHERE = {"--nproc-per-node", "--max-restarts"}  # torchrun's


TASKS = "amchirp", "chirplet", "drum", "granular", "tr808"
OF_TASKS = "match", "importance", "landscape", "metric"
COMMANDS = {name for name in make_app() if not name.startswith("-")}


@cache
def options(name):
    """The long options of a command, with any task."""
    found = set()
    for words in [(name, task) for task in TASKS] if name in OF_TASKS else [(name,)]:
        app = make_app(words)
        defaults = app.default_parameter
        for word in words:
            app = app[word]
        arguments = app.assemble_argument_collection(default_parameter=defaults)
        found |= {option for each in arguments for option in each.names}
    return {option for option in found if option.startswith("--")}


def lines_that_begin(pattern):
    """Code that begins so: between backquotes, indented, or after a prompt; without comments."""
    found = set()
    for file in TEXTS:
        text = file.read_text(encoding="utf-8")
        code = re.findall(r"(?<!`)`{1,2}([^`]+)`{1,2}(?!`)", text)
        code += re.findall(r"^ +(?:\$ )?(.*)$", text, re.MULTILINE)
        for line in code:
            line = re.sub(r"\s+#.*", "", " ".join(line.split()))
            if match := re.match(pattern, line):
                found.add(line[match.end() :].strip())
    return sorted(found)


def parse(line):
    """Read a command line as a call would, short of calling; what is wrong with it raises."""
    arguments = shlex.split(line)
    if len(arguments) == 1:  # only the name is mentioned
        assert arguments[0] in COMMANDS
    else:
        app = make_app(arguments)
        app.parse_args(arguments, exit_on_error=False, print_error=False)


@pytest.fixture(autouse=True)
def example_task(tmp_path, monkeypatch):
    """The task of the examples is installed, as the pages say."""
    example = ROOT / "examples" / "fm_task"
    project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
    (entry,) = project["entry-points"]["multipath.tasks"].items()
    info = tmp_path / "fm-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fm\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[multipath.tasks]\n{entry[0]} = {entry[1]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(example)


LINES = lines_that_begin(r"(torchrun .* -m multipath\.applications\.cli|multipath) (?=[a-z]+\b)")


@pytest.mark.parametrize("line", LINES)
def test_command_lines_are_understood(line):
    parse(line)


def test_there_are_many_of_them_and_wrong_ones_are_found():
    assert len(LINES) >= 25
    for wrong in ["distance a.wav b.wav --loud", "match piano --seed 0", "distance a.wav"]:
        with pytest.raises(Exception, match=r"loud|piano|requires an argument"):
            parse(wrong)


@pytest.mark.parametrize("name", sorted(COMMANDS - {"list", "paths"}))
def test_a_page_names_the_options_of_its_command_and_no_others(name):
    page = (DOCS / "commands" / f"{name}.rst").read_text(encoding="utf-8")
    if name in ("importance", "landscape", "metric"):  # the settings of tasks are those of match
        page += (DOCS / "commands" / "match.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![-\w])--[A-Za-z][-.\w]*\b", page)) - ELSEWHERE
    beside = options("list") if name == "check" else set()
    of_others = set().union(*map(options, COMMANDS))
    assert options(name) <= named <= of_others | beside | HELP


def test_what_else_the_texts_call_exists():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines_that_begin(r"make (?=[a-z]+$)"):
        assert line in targets
    for line in lines_that_begin(r"python -m (?=benchmarks\.)"):
        assert importlib.util.find_spec(line.split()[0]), line
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    for line in lines_that_begin(r"pip install '(\.|multipath-loss)\["):
        assert set(line.split("]")[0].split(",")) <= extras
