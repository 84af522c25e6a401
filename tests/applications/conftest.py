"""What tests of several applications ask for."""

import pytest


@pytest.fixture
def without_report(monkeypatch):
    """Plots take longer than tiny runs; the report has tests of its own."""
    monkeypatch.setattr("multipath.applications.matching.train.write_report", lambda *_: None)


@pytest.fixture
def call(capsys):
    """A function that gives the exit code, stdout and stderr of a command line."""
    from multipath.applications.cli.main import main

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return ended.value.code or 0, *capsys.readouterr()

    return call
