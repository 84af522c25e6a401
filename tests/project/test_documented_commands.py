"""Command lines in README and docs are those that exist."""

import importlib
import importlib.util
import re
import shlex
import tomllib

import pytest

from tests import ROOT

typer = pytest.importorskip("typer")
DOCS = ROOT / "docs"
PAGES = [page for page in DOCS.glob("**/*.rst") if not {"gallery", "_build"} & set(page.parts)]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(PAGES)]
ELSEWHERE = {"--nproc-per-node"}  # torchrun's


def commands(group, *path):
    """Yield (path, command) of every command below a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


APP = importlib.import_module("multipath.applications.cli.commands").app
COMMANDS = dict(commands(typer.main.get_command(APP)))


def options(name):
    """The long options of all commands whose first word is this."""
    return {
        option
        for path, command in COMMANDS.items()
        for parameter in command.params
        for option in parameter.opts
        if path[0] == name and option.startswith("--")
    }


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
    n_words = 2 if arguments[0] in {"match", "importance"} else 1
    if len(arguments) == 1:  # only the name is mentioned
        assert arguments[0] in {path[0] for path in COMMANDS}
    else:
        command = COMMANDS[tuple(arguments[:n_words])]
        command.make_context("multipath", arguments[n_words:])


LINES = lines_that_begin(r"(torchrun .* -m multipath\.applications\.cli|multipath) (?=[a-z]+\b)")


@pytest.mark.parametrize("line", LINES)
def test_command_lines_are_understood(line):
    parse(line)


def test_there_are_many_of_them_and_wrong_ones_are_found():
    assert len(LINES) >= 25
    for wrong in ["distance a.wav b.wav --loud", "match piano --seed 0", "distance a.wav"]:
        with pytest.raises(Exception, match=r"loud|piano|Missing parameter"):
            parse(wrong)


@pytest.mark.parametrize("name", sorted({path[0] for path in COMMANDS} - {"list", "paths"}))
def test_a_page_names_the_options_of_its_command_and_no_others(name):
    page = (DOCS / "commands" / f"{name}.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![-\w])--[A-Za-z][-\w]*", page)) - ELSEWHERE
    beside = options("list") if name == "check" else set()
    of_others = set().union(*(options(path[0]) for path in COMMANDS))
    assert options(name) <= named <= of_others | beside


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
