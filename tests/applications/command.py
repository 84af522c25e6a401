"""The command line, called as from a shell."""

import pytest

from multipath.applications.cli.main import main


def call(capsys, *arguments) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0, *capsys.readouterr()


def refused(capsys, *arguments) -> str:
    """The one line that a command ends with."""
    code, _, error = call(capsys, *arguments)
    lines = error.strip().splitlines()
    assert code == 2
    assert [line for line in lines if line.startswith("multipath: ")] == lines[-1:]
    return lines[-1]
