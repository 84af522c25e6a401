"""The command ``multipath``: runs a command, and turns errors into one line each."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

from multipath._internal.names import visible
from multipath.errors import MultipathError

INSTALL = "pip install 'multipath-loss[applications]'"
EXTRAS = {
    *("cyclopts", "docstring_parser", "jinja2", "lightning", "matplotlib", "nnAudio", "rich"),
    *("soundfile", "tensorboard"),
}

FULL = "make room, then give the command again (with --resume, where it has it)"
REMEDIES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EACCES: "choose another place, or ask for the permission",
    errno.EPERM: "choose another place, or ask for the permission",
    errno.EROFS: "choose a place that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a folder is needed there: choose another place, or remove the file",
    errno.EEXIST: "a folder is needed there: choose another place, or remove the file",
    errno.EISDIR: "a file is to be there: choose another name",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line.

    A wrong setting or an unreadable file ends in one line on stderr and exit code 2, an
    interruption in exit code 130; what is left is a bug and shows its traceback.

    Args:
        arguments: What to parse. Default: ``sys.argv[1:]``.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    if arguments is None:
        # a process of its own shows no figures: the backend of the notebook that started it need
        # not be installed, and would fail the import of matplotlib
        os.environ["MPLBACKEND"] = "agg"
    given = list(sys.argv[1:] if arguments is None else arguments)
    _refuse_empty(given)
    try:
        code = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads the output has seen enough, and wants no word more
        sys.stdout = None  # nor would Python, which flushes in the end
        _exit(141)  # as the shell says of a process that SIGPIPE ends
    except KeyboardInterrupt:
        _exit(130, "interrupted")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRAS:
            raise
        _exit(2, f"this command needs {error.name}, which is not installed: {INSTALL}")
    except (MultipathError, OSError) as error:
        _exit(2, _explain(error))
    _exit(code)


def _run(given: Sequence[str]) -> int:
    """The exit code of a command; a command line that it cannot take is the user's to repair."""
    from cyclopts import CycloptsError

    from .commands import make_app

    try:
        app = make_app(given)
        return app(given, exit_on_error=False, print_error=False, help_on_error=False) or 0
    except CycloptsError as error:
        _exit(2, f"{error} (--help lists what there is)")


def _refuse_empty(given: Sequence[str]) -> None:
    """Nothing takes empty text; as a path it would be the current directory."""
    words = ["multipath"]
    for argument in given:
        words += argument.split("=", maxsplit=1) if argument.startswith("--") else [argument]
    if "" in words:
        before = words[words.index("") - 1]
        _exit(
            2,
            f"expected a value after {before}, got empty text (a variable that is not set?); give "
            "one, or leave it out",
        )


def _explain(error: Exception) -> str:
    """What came, and what to do; errors of the system name a file and say little more."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    where = "" if error.filename is None else f"{visible(os.fsdecode(error.filename))}: "
    remedy = REMEDIES.get(error.errno or 0, "check the name, the folder and its permissions")
    return f"{where}{error.strerror.lower()}; {remedy}"


def _exit(code: int, message: str = "") -> NoReturn:
    if message:
        print("multipath: " + visible(" ".join(message.split())), file=sys.stderr)
    raise SystemExit(code)
