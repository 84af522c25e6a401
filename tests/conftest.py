"""Settings for all tests."""

from hypothesis import settings

# Two busy cores are no place for deadlines, and a red run must be repeatable.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
