"""Interrupted work goes on where it stopped, and gives what one call gives, bit by bit."""

import json
from contextlib import nullcontext

import pytest
import torch

from multipath.errors import ConfigurationError, InputError
from multipath.importance import theta_importance
from multipath.testing import QuadraticLoss

from .cases import DTYPE, Interrupted, chirp, problem, same


class Counted(torch.nn.Module):
    """An encoder that counts in a plain attribute that the fingerprint must not see."""

    def __init__(self, encoder, tick):
        super().__init__()
        self.encoder, self.tick = encoder, tick

    def forward(self, x):
        self.tick(x)
        return self.encoder(x)


def counted(after=10**9):
    made = problem("quadratic", "shared", 2, (3, 2))
    tick = Interrupted(lambda x: x, after)
    return made.with_(encoder=Counted(made.encoder, tick)), tick


@pytest.mark.parametrize("share", [0.15, 0.3, 0.6, 0.9])
@pytest.mark.slow
def test_an_interrupted_call_goes_on(tmp_path, share):
    whole, tick = counted()
    expected = theta_importance(*whole.arguments, items_at_once=1)
    made, _ = counted(after=int(share * tick.calls))
    journal = tmp_path / "deep" / "journal"
    with pytest.raises(KeyboardInterrupt):
        theta_importance(*made.arguments, items_at_once=1, journal=journal)
    again, second = counted()
    found = theta_importance(*again.arguments, items_at_once=1, journal=journal)
    assert same(found, expected)
    if share > 0.5:
        assert second.calls < tick.calls
    finished, third = counted()
    assert same(theta_importance(*finished.arguments, items_at_once=1, journal=journal), expected)
    assert third.calls < 0.3 * tick.calls  # what remains is to try the encoder


@pytest.fixture
def kept(tmp_path):
    made = problem("quadratic", "shared", 2, (2,))
    file = tmp_path / "journal[1]"  # brackets mean something to glob
    return made, file, theta_importance(*made.arguments, journal=file)


@pytest.mark.slow
def test_a_torn_last_line_is_dropped(kept):
    made, file, expected = kept
    lines = file.read_bytes().splitlines(keepends=True)
    for torn in (lines[-1][:-10], lines[-1][:-1], b'{"for'):
        file.write_bytes(b"".join(lines[:-1]) + torn)
        assert same(theta_importance(*made.arguments, journal=file), expected)
        assert len(file.read_bytes().splitlines()) == len(lines)
    file.write_bytes(lines[0][:5])
    assert same(theta_importance(*made.arguments, journal=file), expected)


@pytest.mark.slow
def test_a_damaged_line_is_refused(kept):
    made, file, _ = kept
    lines = file.read_text().splitlines()
    for line in ("", "{", json.dumps({"unit": "x", "data": "AAAA"})):
        file.write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")
        with pytest.raises(InputError, match="is damaged in line 2"):
            theta_importance(*made.arguments, journal=file)


@pytest.mark.parametrize("content", ["some text\nof mine\n", "some text", '{"format": 3}\n'])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, content):
    file = tmp_path / "notes"
    file.write_text(content)
    with pytest.raises(InputError, match="is no journal of theta-importance"):
        theta_importance(*problem().arguments, journal=file)
    assert file.read_text() == content


def test_a_folder_is_no_journal(tmp_path):
    with pytest.raises(ConfigurationError, match="is a folder; give a file"):
        theta_importance(*problem().arguments, journal=tmp_path)


def other_weights(made):
    with torch.no_grad():
        next(made.encoder.parameters()).add_(1e-6)
    return made


class Synth(torch.nn.Module):
    """Its settings are seen neither in its ``repr`` nor in its parameters."""

    def __init__(self, gain=1.0, offset=0.0):
        super().__init__()
        self.gain = gain
        self.register_buffer("offset", torch.tensor(offset, dtype=DTYPE))

    def forward(self, theta, shift):
        return self.gain * chirp(theta, shift) + self.offset


OTHERS = {
    "loss": lambda made: made.with_(loss=QuadraticLoss(4)),
    "reduction": lambda made: made.with_(loss=QuadraticLoss(3, reduction="sum")),
    "weights": other_weights,
    "batches": lambda made: made.with_(batches=[tuple(t[:1] for t in made.batches[0])]),
    "setting of the decoder": lambda made: made.with_(decoder=Synth(gain=2.0)),
    "buffer of the decoder": lambda made: made.with_(decoder=Synth(offset=0.1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_journal_of_other_work_is_refused(tmp_path, name):
    made = problem("quadratic", "shared", 2, (2,)).with_(decoder=Synth())
    theta_importance(*made.arguments, journal=tmp_path / "j", method="gradient")
    with pytest.raises(ConfigurationError, match="belongs to other work"):
        theta_importance(*OTHERS[name](made).arguments, journal=tmp_path / "j", method="gradient")


@pytest.mark.slow
def test_settings_of_the_eigenvalues_do_not_mix(kept):
    made, file, _ = kept
    loose = theta_importance(*made.arguments, tolerance=0.3, journal=file)
    assert same(loose, theta_importance(*made.arguments, tolerance=0.3))
    cheap = theta_importance(*made.arguments, method="gradient", journal=file)
    assert torch.equal(
        cheap.curvature, theta_importance(*made.arguments, method="gradient").curvature
    )


@pytest.mark.slow
def test_progress_counts_what_is_there_already(tmp_path, monkeypatch):
    advanced = {}

    class Bar:
        def add_task(self, name, total):
            advanced[name] = [0, total]
            return name

        def advance(self, task, amount):
            assert amount >= 0
            advanced[task][0] += amount

    monkeypatch.setattr(
        "multipath.importance.theta.progress_bars", lambda wanted: nullcontext(Bar())
    )
    made = problem("quadratic", "shared", 2, (2, 1))
    for method in ("eigenvalue", "hutchinson", "eigenvalue"):
        advanced.clear()
        theta_importance(*made.arguments, journal=tmp_path / "j", method=method, items_at_once=1)
        assert advanced == {
            "derivatives of the loss": [3, 3], "curvature of the encoder": [12, 12]
        }  # fmt: skip
