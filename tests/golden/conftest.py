"""The recipes import packages that the tests must not depend on: pytest leaves them alone."""

collect_ignore = ["make_golden.py", "make_golden2d.py"]
"""The recipes import packages that the tests must not depend on: pytest leaves it alone."""

collect_ignore = ["make_golden.py", "make_sliced_golden.py"]
