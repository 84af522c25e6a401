"""Interrupted and shared work gives what one call gives, bit by bit; and results are kept."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import PathTable
from multipath.errors import ConfigurationError, InputError
from multipath.importance import ThetaImportance, load_probabilities, theta_importance
from multipath.testing import QuadraticLoss
from multipath.transforms import JTFS
from tests import ROOT

from .cases import DTYPE, chirp, problem


class Interrupted:
    """A function that is interrupted after some calls."""

    def __init__(self, function, after=10**9):
        self.function, self.after, self.calls = function, after, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls > self.after:
            raise KeyboardInterrupt
        return self.function(*arguments)


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


def same(a, b):
    return torch.equal(a.curvature, b.curvature) and torch.equal(a.residuals, b.residuals)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.6, 0.9])
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


def test_a_torn_last_line_is_dropped(kept):
    made, file, expected = kept
    lines = file.read_bytes().splitlines(keepends=True)
    for torn in (lines[-1][:-10], lines[-1][:-1], b'{"for'):
        file.write_bytes(b"".join(lines[:-1]) + torn)
        assert same(theta_importance(*made.arguments, journal=file), expected)
        assert len(file.read_bytes().splitlines()) == len(lines)
    file.write_bytes(lines[0][:5])
    assert same(theta_importance(*made.arguments, journal=file), expected)


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


def test_settings_of_the_eigenvalues_do_not_mix(kept):
    made, file, _ = kept
    loose = theta_importance(*made.arguments, tolerance=0.3, journal=file)
    assert same(loose, theta_importance(*made.arguments, tolerance=0.3))
    cheap = theta_importance(*made.arguments, method="gradient", journal=file)
    assert torch.equal(
        cheap.curvature, theta_importance(*made.arguments, method="gradient").curvature
    )


# Several processes

SCRIPT = """
import sys, torch
from multipath.importance import theta_importance
from tests.importance.cases import problem
mode, folder = sys.argv[1:]
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
made = problem("quadratic", "shared", 2, (3, 2))
arguments = made.loss, made.encoder, made.decoder, made.batches
if mode == "run":
    result = theta_importance(*arguments, items_at_once=1, journal=folder + "/journal")
    torch.save((result.curvature, result.residuals), f"{folder}/{rank}.pt")
messages = []
with torch.no_grad():
    weight = next(made.encoder.parameters())
    weight += 0.01 * rank
try:
    theta_importance(*arguments)
except Exception as error:
    messages.append(str(error))
with torch.no_grad():
    weight -= 0.01 * rank
calls = 0
def decoder(theta, shift):
    global calls
    calls += 1
    if rank == 1 and calls > 9:
        raise ValueError("this synthesizer is out of order")
    return made.decoder(theta, shift)
try:
    theta_importance(made.loss, made.encoder, decoder, made.batches, items_at_once=1,
                     derivatives="forward")
except Exception as error:
    messages.append(f"{type(error).__name__}: {error}")
torch.save(messages, f"{folder}/messages{rank}.pt")
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(script), "run", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this build of torch has no gloo",
)
class TestRanks:
    def test_two_processes_are_one(self, ranks):
        made = problem("quadratic", "shared", 2, (3, 2))
        expected = theta_importance(*made.arguments, items_at_once=1)
        for rank in (0, 1):
            curvature, residuals = torch.load(ranks / f"{rank}.pt")
            assert torch.equal(curvature, expected.curvature)
            assert torch.equal(residuals, expected.residuals)

    def test_one_process_goes_on_from_two(self, ranks):
        files = sorted(f.name for f in ranks.glob("journal*"))
        assert files
        made = problem("quadratic", "shared", 2, (3, 2))
        decoder = Interrupted(made.decoder)
        decoder.__qualname__ = made.decoder.__qualname__
        expected = theta_importance(*made.arguments, items_at_once=1)
        made = made.with_(decoder=decoder)
        found = theta_importance(*made.arguments, items_at_once=1, journal=ranks / "journal")
        assert same(found, expected)
        assert decoder.calls < 16  # tried, but no item is differentiated again
        assert sorted(f.name for f in ranks.glob("journal*")) == files

    def test_ranks_with_other_weights_are_refused(self, ranks):
        for rank in (0, 1):
            message = torch.load(ranks / f"messages{rank}.pt")[0]
            assert "the ranks must be given the same loss, weights, batches" in message

    def test_a_rank_that_fails_ends_the_others(self, ranks):
        other, failed = (torch.load(ranks / f"messages{rank}.pt")[1] for rank in (0, 1))
        assert failed == "ValueError: this synthesizer is out of order"
        assert other.startswith("InputError: theta-importance failed on rank 1: this synth")


# What has been found


def made_up(curvature, residuals=None):
    paths = JTFS(n_samples=128, J=3, Q=(1, 1), J_fr=1, Q_fr=1, T=16, F=2).paths
    values = torch.as_tensor(curvature, dtype=DTYPE)[:, : len(paths)]
    return ThetaImportance(paths, tuple("abc"[: len(values)]), values, residuals, {"seed": 1})


N_PATHS = len(made_up(torch.ones(1, 99)).paths)
CURVATURES = st.lists(
    st.lists(st.floats(1e-30, 1e30), min_size=N_PATHS, max_size=N_PATHS), min_size=1, max_size=3
)


@settings(max_examples=25)
@given(CURVATURES, st.floats(0, 1))
def test_probabilities(curvature, floor):
    result = made_up(curvature)
    found = result.probabilities(floor)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)
    assert (found >= floor / N_PATHS * (1 - 1e-12)).all()
    plain = sum(row / row.sum() for row in result.curvature) / len(curvature)
    torch.testing.assert_close(found, (1 - floor) * plain + floor / N_PATHS)
    torch.testing.assert_close(result.sampler(floor).probabilities, found)
    inside = [i < 2 for i in range(N_PATHS)]
    assert result.share(inside, floor) == pytest.approx(float(found[:2].sum()))


def test_what_cannot_be_made_into_probabilities():
    result = ThetaImportance(PathTable(3), ("a",), torch.tensor([[1.0, 0.0, 2.0]]))
    with pytest.raises(ConfigurationError, match=r"1 paths have probability 0, .*pass a floor"):
        result.probabilities(reweight=True)
    assert (result.probabilities(0.1, reweight=True) > 0).all()
    with pytest.raises(ConfigurationError, match=r"floor must lie in \[0, 1\]"):
        result.probabilities(1.5)
    with pytest.raises(InputError, match="one truth value for each of the 3 paths"):
        result.share([True])
    for values, message in (
        ([[1.0, 2.0]], r"shape \(U, P\) = \(1, 3\), got \(1, 2\)"),
        ([[1.0, torch.nan, 2.0]], "finite and not negative"),
        ([[1.0, -1.0, 2.0]], "finite and not negative"),
        ([[0.0, 0.0, 0.0]], "no path has any curvature along a"),
    ):
        with pytest.raises(InputError, match=message):
            ThetaImportance(PathTable(3), ("a",), torch.tensor(values))


def test_saved_and_loaded(tmp_path):
    values = torch.rand(2, N_PATHS, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    result = made_up(values, residuals=values / 100)
    file = tmp_path / "new" / "result.pt"
    result.save(file)
    loaded = ThetaImportance.load(file)
    assert torch.equal(loaded.curvature, result.curvature)
    assert torch.equal(loaded.residuals, result.residuals)
    assert loaded.parameters == ("a", "b")
    assert loaded.settings == {"seed": 1}
    assert list(loaded.paths) == list(result.paths)
    assert torch.equal(load_probabilities(file), result.probabilities())
    assert str(loaded) == str(result)
    assert "largest residual" in str(result)
    assert [f.name for f in file.parent.iterdir()] == ["result.pt"]


def test_files_that_are_no_results(tmp_path):
    file = tmp_path / "result.pt"
    with pytest.raises(InputError, match="there is no file"):
        ThetaImportance.load(file)
    made_up(torch.ones(1, N_PATHS)).save(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        ThetaImportance.load(file)
    for content in ({"format": "other"}, [1, 2]):
        torch.save(content, file)
        with pytest.raises(InputError, match="is no result of theta-importance"):
            load_probabilities(file)
    torch.save({"format": "multipath theta-importance result, 1"}, file)
    with pytest.raises(InputError, match=r"is incomplete .*paths"):
        ThetaImportance.load(file)
    torch.save(torch.tensor([0.5, 0.6]), file)
    with pytest.raises(InputError, match=r"add up to 1, got shape \(2,\) and sum 1.1"):
        load_probabilities(file)
    torch.save(torch.tensor([0.25, 0.75]), file)
    assert load_probabilities(file).tolist() == [0.25, 0.75]


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
