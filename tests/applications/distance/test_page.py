"""The page on which to hear where a distance comes from."""

import json
import re

import pytest
import torch

from multipath.applications.audio.files import write_audio
from multipath.applications.distance import page
from multipath.applications.distance.compare import compare
from multipath.applications.distance.page import group_paths, span, write_page
from multipath.applications.resynthesis.search import Resynthesis, make_start
from multipath.applications.resynthesis.settings import ResynthesisSettings
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import JTFS
from tests.applications.command import call, refused

RATE = 1024
TIME = torch.arange(512) / RATE
CARRIER = torch.sin(2 * torch.pi * 200 * TIME)
SLOW, FAST = (CARRIER * (1 + torch.sin(2 * torch.pi * f * TIME)) for f in (8, 64))
NAMES = ["slow <b>.wav", 'fast "&.wav']


@pytest.fixture(scope="module")
def comparison():
    return compare(SLOW, FAST, RATE)


@pytest.fixture(scope="module")
def written(comparison, tmp_path_factory):
    """A page, and what was told about its progress."""
    file, told = tmp_path_factory.mktemp("page") / "difference.html", []
    write_page(
        comparison,
        [SLOW, FAST],
        NAMES,
        file,
        groups=2,
        steps=2,
        progress=lambda *words: told.append(words),
    )
    return file, told


def test_groups_hold_every_path_once_and_span_two_octaves(comparison):
    groups = group_paths(comparison)
    keys = [key for group in groups for key in group.keys]
    assert sorted(keys) == sorted(comparison.paths.keys)
    assert sum(group.share for group in groups) == pytest.approx(1)
    assert [group.share for group in groups] == sorted((g.share for g in groups), reverse=True)
    assert len({(group.row, group.column) for group in groups}) == len(groups)
    losses = {item.path.key: item.share for item in comparison.contributions()}
    for group in groups:
        assert group.share == pytest.approx(sum(losses[key] for key in group.keys))
        for low, high in (group.rates, group.scales):
            assert low <= high < 4.001 * low or low == high == 0
        paths = [path for path in comparison.paths if path.key in group.keys]
        assert {path.metadata["spin"] for path in paths} == {group.spin}
        assert min(path.metadata["rate"] for path in paths) == group.rates[0]
    # groups further right have higher rates
    for one in groups:
        assert all(one.rates[1] < two.rates[0] for two in groups if one.column < two.column)


def test_the_group_that_differs_most_has_a_rate_of_one_of_the_sounds(comparison):
    low, high = group_paths(comparison)[0].rates
    assert any(low <= rate * 2**0.5 and rate <= high * 2**0.5 for rate in (8, 64))


def test_only_the_paths_that_count_are_resynthesised():
    settings = ResynthesisSettings.for_recording(512, RATE, start="colour", steps=10)
    kept = {path.key for path in settings.make_transform().paths if not path.metadata["scale"]}
    search = Resynthesis(settings, FAST, lambda path: path.key in kept)
    assert {path.key for path in search.loss.paths} == kept
    search.advance()
    assert search.rows[-1]["relative"] < 0.3 * search.rows[0]["relative"]
    _, relative = Resynthesis(settings, FAST).measure(search.signal / search._gain)
    assert relative > 2 * search.rows[-1]["relative"]  # the others are left to chance


def test_noise_of_the_colour_of_a_sound_has_its_loudness_in_each_third_of_an_octave():
    time = torch.arange(2**14) / 8192
    target = torch.sin(2 * torch.pi * 440 * time) + 0.1 * torch.sin(2 * torch.pi * 1760 * time)
    start = make_start("colour", target, torch.Generator().manual_seed(0))
    for middle in (440, 1760):
        low, high = (round(2 * middle * 2**octaves) for octaves in (-0.5, 0.5))
        theirs, ours = (
            float(torch.fft.rfft(x)[low:high].abs().square().sum()) for x in (target, start)
        )
        assert ours == pytest.approx(theirs, rel=0.1)
    # but no line of it: these 5 of 300 bins held all of the energy
    power = torch.fft.rfft(start).abs().square()
    assert float(power[878:883].sum() / power[750:1050].sum()) < 0.05


def test_numbers_are_ranges():
    assert span((0.0619, 0.175)) == "0.062–0.17"  # 0.175 in binary is below
    assert span((10.9, 43.75)) == "11–44"
    assert span((4.04, 4.02)) == "4"


def test_the_page_holds_everything_and_names_are_escaped(written):
    file, told = written
    content = file.read_text(encoding="utf-8")
    assert [step for step, _ in told] == list(range(1, 9))
    assert all(0 < relative < 2 for _, relative in told)
    assert "slow &lt;b&gt;.wav" in content
    assert not re.search(r"https?://", content)
    assert set(re.findall(r'src="(data:[^;]+)', content)) == {"data:audio/wav", "data:image/png"}
    groups = json.loads(re.search(r'id="sounds">(.*?)</script>', content, re.DOTALL)[1])
    assert [len(group["sounds"]) for group in groups] == [2, 2]
    assert len({sound for group in groups for sound in group["sounds"]}) == 4


def test_the_page_in_a_browser(written, browser):
    file, _ = written
    assert browser.faults(file) == []
    assert browser.run("document.querySelectorAll('audio').length") == 4
    # the first cell is chosen, and not played before anybody asks for it
    pressed = "document.querySelector('[aria-pressed=true]').dataset.group"
    players = "[...document.querySelectorAll('#hear audio')]"
    assert browser.run(pressed) == "0"
    assert browser.run(f"{players}.every(player => player.paused)")
    before = browser.run(f"{players}.map(player => player.src)")
    browser.run(
        "window.played = [];"
        f"{players}.forEach((p, i) => p.addEventListener('playing', () => played.push(i)))"
    )
    # spectrograms of both, in colors
    drawn = "[...document.querySelectorAll('#hear canvas')].every(canvas => %s)"
    browser.wait(drawn % "canvas.width === 62 && canvas.height === 16")  # 8 ms, 31 Hz
    pixels = "canvas.getContext('2d').getImageData(0, 0, 62, 16).data"
    assert browser.run(drawn % f"new Set({pixels}).size > 20")
    # by the keyboard
    browser.run("document.querySelector('[data-group=\"1\"]').focus()")
    browser.press("Enter")
    assert browser.run(pressed) == "1"
    browser.wait("played.join() === '0,1'")  # A, then B
    after = browser.run(f"{players}.map(player => player.src)")
    assert not set(before) & set(after)
    # by a click, and only those that were resynthesised
    browser.run("document.querySelector('[data-group=\"0\"]').click()")
    assert browser.run(f"{players}.map(player => player.src)") == before
    assert browser.run("document.querySelectorAll('.map button:enabled').length") == 2
    # whatever plays next, it plays alone
    browser.run("document.querySelector('audio').play()")
    browser.wait(
        "[...document.querySelectorAll('audio')].filter(player => !player.paused).length === 1"
    )
    assert browser.complaints == []


def test_a_page_needs_rates_and_scales_and_a_group(comparison, tmp_path):
    own = JTFS(**JTFS.suggest(len(SLOW), RATE) | {"J": 6})  # its keys would be other paths there
    for transform in ("mrstft", own):
        other = compare(SLOW, FAST, RATE, transform)
        with pytest.raises(InputError, match="rates and scales needs a comparison by jtfs"):
            write_page(other, [SLOW, FAST], NAMES, tmp_path / "a.html")
    with pytest.raises(ConfigurationError, match="groups must be at least 1, got 0"):
        write_page(comparison, [SLOW, FAST], NAMES, tmp_path / "a.html", groups=0)
    with pytest.raises(ConfigurationError, match="steps must be at least 1, got 0"):
        write_page(comparison, [SLOW, FAST], NAMES, tmp_path / "a.html", steps=0)
    assert not list(tmp_path.iterdir())


# The command


@pytest.fixture
def files(tmp_path):
    write_audio(tmp_path / "slow.wav", 0.3 * SLOW, RATE)
    write_audio(tmp_path / "fast.wav", 0.3 * FAST[:400], RATE)
    write_audio(tmp_path / "long.wav", torch.rand(2**16 + 1) - 0.5, RATE)
    (tmp_path / "there.html").write_text("mine")
    return tmp_path


def test_command_writes_the_page(files, capsys, monkeypatch):
    monkeypatch.setattr(page, "STEPS", 1)
    pair = files / "slow.wav", files / "fast.wav"
    options = "--page", files / "there.html", "--groups", "1"
    assert "there.html exists; choose another file" in refused(capsys, "distance", *pair, *options)
    assert (files / "there.html").read_text() == "mine"
    code, output, _ = call(capsys, "distance", *pair, *options, "--overwrite")
    assert code == 0
    assert f"page: {files / 'there.html'}" in output
    content = (files / "there.html").read_text(encoding="utf-8")
    assert "slow.wav" in content
    assert "b is followed by 0.109 s of silence" in content


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fast.wav", ["--page", "none/a.html"], "none/a.html: there is no folder none; make it"),
        ("fast.wav", ["--page", "a.png"], "a.png: expected a page whose name ends in .html"),
        ("fast.wav", ["--groups", "3"], "--groups is about a page; pass --page FILE too"),
        ("fast.wav", ["--overwrite"], "--overwrite is about a page; pass --page FILE too"),
        ("fast.wav", ["--page", "a.html", "--groups", "0"], "--groups must be at least 1, got 0"),
        (
            "fast.wav",
            ["--page", "a.html", "--transform", "mrstft"],
            "rates and scales, which mrstft does not hear",
        ),
        (
            "long.wav",
            ["--page", "a.html"],
            "64 s at 1024 Hz are too long for a page: expected at most 65536 samples, got 65537; "
            "cut them, or lower their rate with --sample-rate 1023",
        ),
    ],
)
def test_command_refuses_in_one_line(files, capsys, monkeypatch, name, options, message):
    monkeypatch.chdir(files)
    assert message in refused(capsys, "distance", "slow.wav", name, *options)
    assert not (files / "a.html").exists()
