"""The command ``multipath metric``: what it prints and writes, and that it goes on."""

import re

import pytest
import torch

from multipath.applications.matching.metric import measure_metric
from multipath.importance import ThetaImportance
from multipath.metric import ParameterMetric, parameter
from tests.applications.command import call, refused
from tests.applications.tiny import TINY, use_tiny_presets


@pytest.fixture(autouse=True)
def tiny_presets(monkeypatch):
    use_tiny_presets(monkeypatch)


def test_it_writes_what_it_shows(tmp_path, capsys):
    out, plot, pi = (tmp_path / name for name in ("m.pt", "m.png", "pi.pt"))
    command = ("metric", "chirplet", "--examples", 3, "--out", out)
    code, text, error = call(capsys, *command, "--plot", plot, "--importance", pi)
    assert (code, plot.stat().st_size > 1000) == (0, True)
    result = ParameterMetric.load(out)
    assert str(result) in text
    assert f"metric: {out}\nprobabilities: {pi}\nplot: {plot}" in text
    assert "metrics of the parameters" in error
    wanted = measure_metric(TINY, examples=3)
    assert result.metric.equal(wanted.metric)
    torch.testing.assert_close(
        ThetaImportance.load(pi).probabilities(), wanted.importance().probabilities()
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.png", "m.pt", "pi.pt"]
    assert "exists; choose another file (--out)" in refused(capsys, *command)
    before = pi.read_bytes()
    elsewhere = ("metric", "chirplet", "--out", tmp_path / "n.pt", "--importance", pi)
    assert "pi.pt exists; choose another file (--importance)" in refused(capsys, *elsewhere)
    assert pi.read_bytes() == before


def test_an_interrupted_command_goes_on(tmp_path, capsys, monkeypatch):
    out = tmp_path / "m.pt"
    command = ("metric", "chirplet", "--examples", 17, "--out", out)
    calls, original = [], parameter.path_metrics

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(parameter, "path_metrics", interrupted)
    code, _, error = call(capsys, *command)
    assert code == 130
    assert "interrupted; the same command goes on" in error
    assert [file.name for file in tmp_path.iterdir()] == ["m.pt.journal"]
    code, _, _ = call(capsys, *command)
    assert (code, len(calls)) == (0, 4)  # only the last of three parts was left
    assert ParameterMetric.load(out).metric.equal(measure_metric(TINY, examples=17).metric)
    assert not out.with_name("m.pt.journal").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--examples", 0), "examples must be at least 1, got 0"),
        (("--out", "a.pt", "--importance", "./a.pt"), "expected different files"),
        (("--importance", "."), "is a folder; name a file"),
    ],
)
def test_mistakes_end_in_one_line(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(capsys, "metric", "chirplet", *options))
    assert list(tmp_path.iterdir()) == []
