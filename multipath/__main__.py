"""``python -m multipath``: the command line, for whichever Python and wherever its scripts are."""

from .applications.cli.main import main

if __name__ == "__main__":
    main()
