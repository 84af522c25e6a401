"""The recipe imports packages that the tests must not depend on: pytest leaves it alone."""

collect_ignore = ["make_golden.py"]
