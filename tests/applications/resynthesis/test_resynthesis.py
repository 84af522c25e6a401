"""Resynthesis: the search, its folder, and the command."""

import base64
import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from multipath.applications.audio.files import read_audio, write_audio
from multipath.applications.audio.spectrograms import plot_spectrograms
from multipath.applications.cli import resynthesize as resynthesize_command
from multipath.applications.distance.compare import default_transform
from multipath.applications.resynthesis.run import plot_descent, run_resynthesis
from multipath.applications.resynthesis.search import Resynthesis, make_start, resynthesize
from multipath.applications.resynthesis.settings import ResynthesisSettings
from multipath.applications.runs.files import read_csv, read_draws
from multipath.errors import ConfigurationError, InputError
from tests.applications.command import call, refused

pytestmark = pytest.mark.slow  # they train, search or start processes

RATE = 2048
TIME = torch.arange(1024) / RATE
TONE = 0.3 * torch.sin(2 * torch.pi * 300 * TIME) * torch.exp(-6 * TIME)


def settings(**changes):
    quick = {"transform": "scattering1d", "J": 5, "steps": 20, "interval": 5, "draws": 8}
    return ResynthesisSettings.for_recording(1024, RATE, **(quick | changes))


def noise(seed=0):
    return 0.1 * torch.randn(1024, generator=torch.Generator().manual_seed(seed))


# The search


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"draws": 0},
        {"draws": 0, "learning_rate": 0.1},
        {"start": "spectrum"},
        {"transform": "jtfs", "draws": 16},
    ],
)
def test_what_is_kept_never_gets_further_away(changes):
    search = Resynthesis(settings(**changes), TONE)
    kept = [search.signal]
    while not search.finished:
        search.advance()
        kept.append(search.signal)
    distances = [row["distance"] for row in search.rows]
    assert distances == sorted(distances, reverse=True)
    # phases are harder to move than noise
    assert distances[-1] < (0.9 if "start" in changes else 0.6) * distances[0]
    # the rows tell the truth about the signals
    level = 0.1 / TONE.square().mean().sqrt()
    for row, signal in zip(search.rows, kept, strict=True):
        found, relative = search.measure(level * signal)
        assert float(found.mean()) == pytest.approx(row["distance"], rel=1e-3)
        assert relative == pytest.approx(row["relative"], rel=1e-3)


def test_a_step_of_all_paths_is_one_of_lbfgs_with_few_evaluations():
    """As torch makes them in one go; the point where one step ends begins the next."""
    search = Resynthesis(settings(draws=0, steps=12, interval=3), TONE)
    level, generator = 0.1 / TONE.square().mean().sqrt(), torch.Generator().manual_seed(0)
    alone = make_start("noise", level * TONE, generator)[None].requires_grad_()
    optimizer = torch.optim.LBFGS(
        [alone], max_iter=12, max_eval=999, history_size=10, line_search_fn="strong_wolfe",
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip
    counts = {"search": 0, "alone": 0}

    def evaluate():
        counts["alone"] += 1
        optimizer.zero_grad()
        loss = search.loss(alone, level * TONE[None])
        loss.backward()
        return loss

    optimizer.step(evaluate)
    path_losses = search.loss.path_losses

    def counting(*arguments):
        counts["search"] += 1
        return path_losses(*arguments)

    search.loss.path_losses = counting
    told = []
    while not search.finished:
        search.advance(told.append)
    assert told == list(range(1, 13))
    # a round keeps nothing of what it evaluated but its end
    assert counts["search"] == counts["alone"] <= 20
    torch.testing.assert_close(level * search.signal, alone.detach()[0], rtol=1e-3, atol=1e-4)


def test_all_paths_by_lbfgs_get_closer_than_draws():
    ends = []
    for options in ({"draws": 0, "steps": 40}, {"draws": 8, "steps": 60}):
        search = Resynthesis(settings(**options), TONE)
        while not search.finished:
            search.advance()
        ends.append(search.rows[-1]["distance"])
    assert ends[0] < 0.6 * ends[1]


def test_a_search_of_all_paths_ends_when_nothing_moves_any_more():
    search = Resynthesis(settings(draws=0, steps=10**6, interval=2), TONE)
    search._kept = search.target[0].clone()  # which is found
    search._restart()
    search.rows[0]["distance"] = 0.0
    while not search.finished:
        search.advance()
    assert search.step == 4
    torch.testing.assert_close(search.signal, TONE)
    again = Resynthesis(settings(draws=0, steps=10**6, interval=2), TONE)
    again.load_state_dict(search.state_dict())
    assert again.finished


def test_a_round_that_leads_away_is_taken_back():
    search = Resynthesis(settings(learning_rate=1e3, steps=60), TONE)
    start = search.signal
    search.advance()
    first, second = search.rows
    assert second["tried"] > first["distance"]
    assert (second["kept"], second["distance"]) == (0, first["distance"])
    assert torch.equal(search.signal, start)
    search.advance()
    assert search.rows[-1]["learning_rate"] == pytest.approx(500)
    assert torch.equal(search.signal, start)


@pytest.mark.parametrize("draws", [0, 8])
def test_a_round_that_ends_in_nan_is_taken_back(draws):
    search = Resynthesis(settings(draws=draws, interval=1), TONE)
    with torch.no_grad():
        search._moving.fill_(torch.nan)
    start = search.signal
    search.advance()
    assert torch.equal(search.signal, start)
    search.advance()
    assert search.rows[-1]["kept"] == 1


def test_the_search_ends_when_nothing_moves_any_more():
    search = Resynthesis(settings(learning_rate=1e6, steps=10**6, interval=1, draws=0), TONE)
    while not search.finished:
        search.advance()
    assert search.step < 40


def test_paths_are_drawn_by_what_is_missing_and_the_estimate_is_unbiased():
    search = Resynthesis(settings(), TONE)
    criterion = search._criterion()
    values, _ = search.measure(search._kept)
    shares = values.sqrt() / values.sqrt().sum()
    expected = 0.8 * shares + 0.2 / len(values)
    assert torch.allclose(criterion.sampler.probabilities, expected, rtol=1e-6)
    assert criterion.unbiased
    assert settings(draws=8).draws == criterion.n_draws
    search.advance()
    assert int(search.draws.counts.sum()) == 5 * 8


@pytest.mark.parametrize("draws", [0, 8])
def test_a_restored_search_goes_on_to_the_last_bit(draws):
    whole, first, second = (Resynthesis(settings(draws=draws), TONE) for _ in range(3))
    while not whole.finished:
        whole.advance()
    first.advance()
    first.advance()
    second.load_state_dict(first.state_dict())
    while not second.finished:
        second.advance()
    assert torch.equal(second.signal, whole.signal)
    assert second.rows == whole.rows
    assert torch.equal(second.draws.counts, whole.draws.counts)


def test_seeds_and_starts():
    def found(tone=TONE, **seed):
        return resynthesize(tone, RATE, transform="scattering1d", J=5, steps=5, **seed)

    one = found()
    assert torch.equal(one, found())
    assert not torch.allclose(one, found(seed=1), atol=1e-2)
    assert torch.allclose(found(10 * TONE), 10 * one, rtol=1e-2, atol=1e-3)
    white = make_start("noise", TONE, torch.Generator().manual_seed(0))
    assert float(white.square().mean() / TONE.square().mean()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"draws": -1}, "draws must be at least 0, got -1"),
        ({"interval": 0}, "interval must be at least 1, got 0"),
        ({"seed": -1}, r"seed must lie in \[0, 2\*\*63\), got -1"),
        ({"learning_rate": 0.0}, "the learning rate must be positive and at most 1e6, got 0.0"),
        ({"floor": 0.0}, r"floor must lie in \(0, 1\], got 0.0"),
        ({"start": "silence"}, "start must be one of noise, spectrum, colour, got silence"),
        ({"transform": "stft"}, "transform must be one of jtfs, scattering1d, got 'stft'"),
        ({"speed": 2}, "unknown settings speed"),
        ({"draws": 0, "floor": 0.3}, "floor is a share of the draws, and there are none"),
        # of other types
        ({"seed": "a"}, "seed must be a whole number, got 'a'"),
        ({"seed": 0.5}, "seed must be a whole number, got 0.5"),
        ({"draws": "a"}, "draws must be a whole number, got 'a'"),
        ({"steps": 2.5}, "steps must be a whole number, got 2.5"),
        ({"learning_rate": "a"}, "the learning rate must be positive and at most 1e6, got 'a'"),
        ({"floor": "a"}, r"floor must lie in \(0, 1\], got 'a'"),
        ({"J": "a"}, "J must be a whole number, got 'a'"),
        ({"Q": 8}, "Q must be a sequence, got 8"),
        ({"Q": (8,)}, r"Q must be 2 whole numbers, got \(8,\)"),
        ({"Q": ("a", 1)}, "Q must be a whole number, got 'a'"),
        ({"start": ["noise"]}, "start must be one of noise, spectrum, colour"),
    ],
)
def test_settings_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        settings(**changes)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (100, 10, 0, None, None)),
        ({"draws": 0}, (100, 10, 0, None, None)),
        ({"draws": 32}, (600, 25, 32, 0.2, 0.1)),
        ({"draws": 8, "floor": 0.5, "learning_rate": 0.3, "steps": 7}, (7, 25, 8, 0.5, 0.3)),
        ({"learning_rate": 0.05}, (600, 25, 0, None, 0.05)),
        ({"learning_rate": 0.05, "draws": 0}, (600, 25, 0, None, 0.05)),
        ({"learning_rate": 0.05, "draws": None, "interval": 5}, (600, 5, 0, None, 0.05)),
    ],
)
def test_steps_and_interval_are_those_of_the_optimizer(options, expected):
    found = ResynthesisSettings.for_recording(1024, RATE, **options)
    assert expected == (
        *(found.steps, found.interval, found.draws),
        *(found.floor, found.learning_rate),
    )


def test_a_floor_that_was_saved_without_draws_has_no_effect():
    now = settings(draws=0, learning_rate=0.1)
    before = ResynthesisSettings.from_dict({**now.to_dict(), "floor": 0.2})
    assert before.to_dict()["floor"] == 0.2  # so that its run goes on
    searches = [Resynthesis(each, TONE) for each in (now, before)]
    for search in searches:
        search.advance()
    assert torch.equal(searches[0].signal, searches[1].signal)
    with pytest.raises(ConfigurationError, match=r"floor must lie in \(0, 1\], got 2.0"):
        ResynthesisSettings.from_dict({**now.to_dict(), "floor": 2.0})


def test_settings_follow_the_recording_and_return_from_json():
    found = ResynthesisSettings.for_recording(16384, 11025, "jtfs", T=4096)
    reference = default_transform("jtfs", 16384, 11025).paths
    assert found.make_transform().paths.keys == reference.keys
    assert found.T == 4096
    assert ResynthesisSettings.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(InputError, match=r"missing \['J'\], unknown \['K'\]"):
        ResynthesisSettings.from_dict(
            {("K" if name == "J" else name): value for name, value in found.to_dict().items()}
        )
    with pytest.raises(InputError, match="100 samples is too short for jtfs"):
        ResynthesisSettings.for_recording(100, RATE)
    with pytest.raises(InputError, match="expected a recording of 1024 samples, got 9"):
        Resynthesis(settings(), TONE[:9])


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (0 * TONE, "recording: the recording is silent"),
        (0 * TONE + 0.3, "recording: the recording is silent"),
        (TONE.log(), "recording: expected finite samples, got .* NaN or infinite"),
        (TONE * torch.inf, "recording: expected finite samples, got .* NaN or infinite"),
        (1e300 * TONE.double(), "recording: expected finite samples"),
        (1e20 * TONE, "recording: expected samples within 1e.10"),
        (TONE.numpy(), r"recording: expected a torch.Tensor, got numpy.ndarray; convert it with"),
        (TONE.tolist(), "recording: expected a torch.Tensor, got list"),
        (1024, "recording: expected a torch.Tensor, got int"),
        (None, "recording: expected a torch.Tensor, got None"),
        ((99 * TONE).int(), r"recording: expected a real .* got torch.int32; .* \.float\(\)"),
        (TONE + 1j, "recording: expected a real .* got torch.complex64"),
        (TONE.to_sparse(), "recording: expected a torch.Tensor, got one of layout torch.sparse"),
        (TONE[None], r"expected a recording of shape \(T,\), got \(1, 1024\)"),
        (TONE[:0], "recording: expected samples of shape"),
        (TONE[0], "recording: expected samples of shape"),
    ],
)
def test_recordings_refused(recording, message, tmp_path):
    for search in (
        lambda: resynthesize(recording, RATE, transform="scattering1d", J=5, steps=1),
        lambda: Resynthesis(settings(), recording),
        lambda: run_resynthesis(recording, settings(), tmp_path / "run"),
    ):
        with pytest.raises(InputError, match=message):
            search()
    assert not (tmp_path / "run").exists()


def test_recordings_of_any_precision_are_heard_in_float32(tmp_path):
    def found(recording):
        return resynthesize(recording, RATE, transform="scattering1d", J=5, steps=4)

    half = TONE.half()
    expected = found(half.float())
    for recording in (half, half.double(), half.float().requires_grad_()):
        signal = found(recording)
        assert (signal.dtype, signal.requires_grad) == (torch.float32, False)
        assert torch.equal(signal, expected)
    run_resynthesis(half.double().requires_grad_(), settings(steps=1), tmp_path / "run")
    with pytest.raises(ConfigurationError, match="seed must be a whole number, got 'a'"):
        resynthesize(TONE, RATE, seed="a")


# The folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    summary = run_resynthesis(TONE, settings(), folder, source="a & b.wav", notes=("2 channels",))
    return folder, summary


def test_a_folder_holds_everything_and_its_page_shows_it(finished):
    folder, summary = finished
    rows = read_csv(folder / "metrics.csv")
    assert [row["step"] for row in rows] == ["0", "5", "10", "15", "20"]
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["distance"] == float(rows[-1]["distance"])
    assert sum(row["count"] for row in read_draws(folder / "draws.csv")) == 160
    page = (folder / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)\s*=\s*["\']?([^"\'\s>]+)', page)
    kinds = Counter(address.partition(";")[0] for address in addresses)  # and no file beside it
    assert kinds == {"data:image/png": 3, "data:audio/wav": 2, "data:text/plain": 3}
    contents = [base64.b64decode(address.partition(",")[2]) for address in addresses]
    for name in ("spectrograms.png", "descent.png", "draws.png", "metrics.csv", "draws.csv"):
        assert (folder / name).read_bytes() in contents
    assert page.index("<audio") < page.index('class="cards"') < page.index("<img")
    assert "<label>a &amp; b.wav<audio" in page
    assert "a &amp; b.wav" in page
    assert "2 channels" in page
    assert f"{100 * summary['relative']:.1f} %" in page
    assert not (folder / "checkpoint.pt").exists()
    assert not list(folder.glob(".*"))


def test_each_step_is_told_once_and_the_last_with_the_final_distance(tmp_path):
    told = []
    summary = run_resynthesis(
        TONE, settings(), tmp_path / "run", progress=lambda *step: told.append(step)
    )
    assert [step for step, _ in told] == list(range(1, summary["steps"] + 1))
    assert told[-1][1] == summary["relative"] < told[-2][1]


def test_sounds_share_a_gain_and_browsers_play_them(finished):
    folder, _ = finished
    target, rate = read_audio(folder / "target.wav")
    sound, _ = read_audio(folder / "resynthesis.wav")
    assert rate == 8192
    assert len(target) == len(sound) == 4096
    assert float(max(target.abs().max(), sound.abs().max())) == pytest.approx(0.9, abs=0.15)
    search = Resynthesis(settings(), TONE)
    while not search.finished:
        search.advance()
    gain = target.norm() / TONE.norm()  # changing the rate costs noise near the Nyquist frequency
    assert float(sound.norm()) == pytest.approx(float(gain * search.signal.norm()), rel=0.06)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted") / "run"

    def interrupt(step, relative):
        if step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_resynthesis(TONE, settings(), folder, progress=interrupt)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda search: search.update(rows=[]),
        lambda search: search.update(rows=[{"step": 5}]),
        lambda search: search.update(missing=search["missing"][:-1]),
        lambda search: search.update(kept=search["kept"][:1]),
        lambda search: search["optimizer"]["state"][0].update(exp_avg=torch.zeros(1)),
        lambda search: search["optimizer"].clear(),
        lambda search: search["draws"].update(counts=torch.zeros(3)),
        lambda search: search.clear(),
    ],
)
def test_an_intact_checkpoint_of_other_content_is_damaged(interrupted, tmp_path, change):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    state = torch.load(folder / "checkpoint.pt")
    change(state["search"])
    torch.save(state, folder / "checkpoint.pt")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged; start again with --over"):
        run_resynthesis(TONE, settings(), folder, resume=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_search_goes_on_with_its_own_settings_and_recording_alone(interrupted, tmp_path):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    with pytest.raises(ConfigurationError, match="other settings: J was 5, is 6; T was 16, is 32"):
        run_resynthesis(TONE, settings(J=6), folder, resume=True)
    with pytest.raises(ConfigurationError, match=r"other settings: recording was \w+, is \w+$"):
        run_resynthesis(-TONE, settings(), folder, resume=True)


def test_an_interrupted_search_of_all_paths_ends_as_a_whole_one(tmp_path):
    def interrupt(step, relative):
        if step == 12:
            raise KeyboardInterrupt

    def found(folder, **options):
        summary = run_resynthesis(TONE, settings(draws=0), folder, **options)
        assert "by L-BFGS" in (folder / "report.html").read_text()
        return summary["distance"], read_csv(folder / "metrics.csv")

    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "run", progress=interrupt)
    assert found(tmp_path / "run", resume=True) == found(tmp_path / "whole")
    for name in ("resynthesis.wav", "draws.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_plots():
    rows = [
        {"step": 0, "distance": 9.0, "tried": 9.0, "kept": 1},
        {"step": 5, "distance": 9.0, "tried": 12.0, "kept": 0},
    ]
    kept, refused = plot_descent(rows).axes[0].lines
    assert kept.get_xydata().tolist() == [[0, 9], [5, 9]]
    assert refused.get_xydata().tolist() == [[5, 12]]
    assert len(plot_descent(rows[:1]).axes[0].lines) == 1
    high = torch.sin(2 * torch.pi * 600 * TIME)
    panels = plot_spectrograms({"low": (TONE, RATE), "high": (high, RATE)}).axes[:2]
    for panel, frequency in zip(panels, (300, 600), strict=True):
        mesh = panel.collections[0]
        loudest = int(np.asarray(mesh.get_array()).mean(axis=1).argmax())
        assert mesh.get_coordinates()[loudest, 0, 1] == pytest.approx(frequency, abs=20)


# The command


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    write_audio(folder / "tone.wav", TONE, RATE)
    write_audio(folder / "short.wav", TONE[:100], RATE)
    write_audio(folder / "silent.wav", 0 * TONE, RATE)
    write_audio(folder / "late.wav", torch.cat([0 * TONE, TONE]), RATE)
    write_audio(folder / "nan.wav", torch.full((1024,), torch.nan), RATE)
    write_audio(folder / "long.wav", TONE.repeat(200), 16000)
    stereo = torch.stack([TONE, 0 * TONE], dim=1).numpy()
    soundfile.write(folder / "stereo.wav", stereo, RATE, subtype="FLOAT")
    return folder


QUICK = "--transform=scattering1d", "--J=5", "--steps=4", "--interval=2"


def test_command(recordings, tmp_path, capsys):
    out = tmp_path / "run"
    code, output, _ = call(
        capsys, "resynthesize", recordings / "stereo.wav", *QUICK, "--out", out, "--draws=4"
    )
    assert code == 0
    assert "note: 2 channels are mixed down to their mean" in output
    assert f"report: {out / 'report.html'}" in output
    config = json.loads((out / "config.json").read_text())
    assert (config["J"], config["draws"], config["sample_rate"]) == (5, 4, RATE)
    target, _ = read_audio(out / "target.wav")
    assert len(target) == 4096


def test_command_cuts_and_resamples(recordings, tmp_path, capsys):
    code, output, _ = call(
        capsys, "resynthesize", recordings / "late.wav", *QUICK, "--out", tmp_path / "run",
        "--offset=0.5", "--duration=0.4", "--sample-rate=4096",
    )  # fmt: skip
    assert code == 0
    assert "note: resampled from 2048 to 4096 Hz" in output
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["n_samples"] == 2 * round(0.4 * RATE)


@pytest.mark.parametrize("duration", ["inf", "99"])
def test_a_recording_is_no_longer_than_it_is(recordings, tmp_path, capsys, duration):
    code, _, _ = call(
        capsys, "resynthesize", recordings / "tone.wav", *QUICK, "--out", tmp_path / "run",
        f"--duration={duration}", f"--seed={2**63 - 1}",
    )  # fmt: skip
    assert code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["n_samples"] == len(TONE)


def test_long_recordings_are_heard_at_a_lower_rate_or_refused(recordings, capsys):
    longest = resynthesize_command.LONGEST["jtfs"]
    rate = resynthesize_command._working_rate
    assert rate("a.wav", "jtfs", longest, 44100) == 44100
    assert rate("a.wav", "jtfs", longest + 1, 44100) == 32000
    assert rate("a.wav", "jtfs", 4 * 44100, 44100) == 16000
    line = refused(capsys, "resynthesize", recordings / "long.wav")
    assert re.search("12.8 s is too long for jtfs: more than 8.19 s at 8000 Hz .*--duration", line)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("missing.wav", [], "missing.wav: there is no such file"),
        ("silent.wav", [], "silent.wav: the recording is silent"),
        ("late.wav", ["--duration=0.5"], "late.wav: the recording is silent"),
        ("nan.wav", [], "nan.wav: expected finite samples, got 1024 NaN"),
        ("short.wav", [], "a recording of 100 samples is too short for jtfs"),
        ("tone.wav", ["--offset=2"], "lasts 0.5 s: nothing is left after --offset 2"),
        ("tone.wav", ["--offset=inf"], "lasts 0.5 s: nothing is left after --offset inf"),
        ("tone.wav", ["--seed=9223372036854775808"], "seed must lie in [0, 2**63), got 92233"),
        ("tone.wav", ["--offset=-1"], "offset must not be negative"),
        ("tone.wav", ["--duration=0"], "duration must be positive, got 0.0 and 0.0"),
        ("tone.wav", ["--J=14"], "got T=8192 for 1024 samples; use a smaller T"),
        ("tone.wav", ["--J=0"], "J must be at least 1"),
        ("tone.wav", ["--resume"], "nothing to resume"),
        ("tone.wav", ["--sample-rate=-5"], "a sample rate must be a whole number of Hz from 1 to"),
    ],
)
def test_command_refuses_in_one_line(recordings, tmp_path, capsys, name, options, message):
    out = tmp_path / "run"
    assert message in refused(capsys, "resynthesize", recordings / name, *options, "--out", out)
    assert not out.exists()


def test_command_interrupted(recordings, tmp_path, capsys, monkeypatch):
    advance = Resynthesis.advance

    def interrupted(self, after_step=None):
        advance(self, after_step)
        if self.step == 4:
            raise KeyboardInterrupt

    run = "resynthesize", recordings / "tone.wav", *QUICK, "--out", tmp_path / "run"
    monkeypatch.setattr(Resynthesis, "advance", interrupted)
    code, _, error = call(capsys, *run)
    monkeypatch.undo()
    assert code == 130
    assert "--resume goes on" in error
    assert "other settings: seed was 0, is 3" in refused(capsys, *run, "--resume", "--seed=3")
    moved = shutil.copy(recordings / "tone.wav", tmp_path / "moved.wav")
    assert call(capsys, run[0], moved, *run[2:], "--resume")[0] == 0
