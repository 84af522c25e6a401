"""The command ``multipath``: runs the application, and turns errors into one line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

INSTALL = "pip install 'multipath-loss[applications]'"
EXTRAS = {
    *("jinja2", "lightning", "matplotlib", "nnAudio", "rich", "soundfile", "tensorboard", "typer")
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line.

    A wrong setting or an unreadable file ends in one line on stderr and exit code 2, an
    interruption in exit code 130; what is left is a bug and shows its traceback.

    Args:
        arguments: What to parse. Default: ``sys.argv[1:]``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from .commands import app

        app(args=given, prog_name="multipath")
    except KeyboardInterrupt:
        _exit(130, "interrupted")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRAS:
            raise
        _exit(2, f"this command needs {error.name}, which is not installed: {INSTALL}")
    except Exception as error:
        if not _is_users(error):
            raise
        _exit(2, str(error))


def _is_users(error: Exception) -> bool:
    """Whether the user can do something about it: a setting, a file."""
    from ..errors import MultipathError

    return isinstance(error, MultipathError | OSError)


def _exit(code: int, message: str) -> None:
    print("multipath: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(code)
