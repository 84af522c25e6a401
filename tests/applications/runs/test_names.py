"""Names of any characters: shown, never obeyed."""

import os
import shutil
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipath import Path, PathTable
from multipath._internal.axes import LONGEST, plain
from multipath._internal.names import JOINERS, visible
from multipath.applications.audio.files import write_audio
from multipath.applications.audio.spectrograms import plot_spectrograms
from multipath.applications.cli.console import show_summary
from multipath.applications.matching.plots import plot_convergence, plot_estimates
from multipath.applications.runs.files import drawn
from multipath.diagnostics import plot_path_values
from tests.applications.command import call, refused

from .cases import TONE, do_resynthesis

NAMES = {
    "math": r"$\frac{1}{$",
    "one dollar": "5$",
    "TeX": r"\$x\$ _%{}^~&#",
    "underscore": "_hidden",
    "tags": "<script>alert('1')&\"",
    "rich": "[red]a[bold :smile:",
    "format": "{0} {task.description} %s %(a)s",
    "colours": "a\x1b[31mb\x07\x9b",
    "lines": "a\nmultipath: b\r\x85\u2028",
    "directions": "a\u202egpj.exe\u2066\u200f",
    "emoji": "🥁👩\u200d🎤",
    "dashes": "--out",
    "long": 200 * "x",
    "no text": os.fsdecode(b"\xff\xfe"),
}
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
named = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


def unseen(text, allowed=JOINERS):
    return [c for c in text if unicodedata.category(c) in UNSEEN and c not in allowed]


@given(st.text(st.characters(exclude_categories=())))
def test_all_that_is_shown_can_be_seen(text):
    shown = visible(text)
    assert not unseen(shown)
    assert visible(shown) == shown
    assert shown == text or not text.isprintable()


@given(st.text())
def test_a_name_in_a_plot_is_no_formula_and_not_left_out(text):
    from matplotlib.cbook import is_math_text

    found = plain(text)
    assert not is_math_text(found)
    assert not found.startswith("_")
    as_shown = found.replace(r"\$", "$")
    assert len(as_shown) <= LONGEST + 2
    if len(visible(text)) <= LONGEST:
        assert as_shown.strip(" ") == visible(text).strip(" ")


@pytest.mark.slow
@named
def test_names_in_plots(name):
    names = [name, name + "2"]
    values = TONE[:2, None].repeat(1, 2)
    figures = [
        plot_spectrograms(dict.fromkeys(names, (TONE, 8192))),
        plot_convergence([{"step": 1.0, name: 2.0}], name, 1.0, name),
        plot_estimates(values, values, names, names),
        plot_path_values(PathTable(map(Path, range(2), names)), [1.0, 2.0], "loss", "title"),
    ]
    for figure in figures:
        assert drawn(figure, "png", 30).startswith(b"\x89PNG")
    (label,) = figures[1].axes[0].get_legend_handles_labels()[1][:1]
    assert label == plain(name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / "run"
    do_resynthesis(folder)
    return folder


@pytest.mark.slow
def test_runs_of_any_name_are_compared(finished, tmp_path, capsys):
    folders = [shutil.copytree(finished, tmp_path / "runs" / name) for name in NAMES.values()]
    code, out, error = call(capsys, "report", *folders, "--out", tmp_path / "a\n$page.html")
    assert (code, error) == (0, "")
    assert not unseen(out, "\n" + JOINERS)
    assert out.endswith(f"report: {tmp_path}/a\\n$page.html\n")
    page = (tmp_path / "a\n$page.html").read_text(encoding="utf-8")
    assert not unseen(page, "\n" + JOINERS)
    assert "<script>alert" not in page
    assert r"a\u202egpj.exe" in page
    assert "$\\frac{1}{$" in page


@pytest.mark.slow
@named
def test_recordings_of_any_name(name, tmp_path, capsys):
    write_audio(tmp_path / "a.wav", TONE, 8192)
    file = tmp_path / f"{name}.wav"
    os.rename(tmp_path / "a.wav", file)
    code, out, _ = call(capsys, "distance", file, file, "--transform=scattering1d")
    assert (code, unseen(out, "\n" + JOINERS)) == (0, [])
    assert f"a: {visible(file)}\nb: {visible(file)}\n" in out
    line = refused(capsys, "distance", file, tmp_path / name / name)
    assert not unseen(line)


@pytest.mark.parametrize("name", [*NAMES.values(), "a[/red]", "[/]"])
def test_names_in_tables(name, tmp_path, capsys):
    numbers = {name: 1.0}
    show_summary(
        {
            "unit": "",
            "errors": "e",
            "e": numbers,
            "untrained_error": numbers,
            "types": {name: {"count": 1, "trained": numbers, "untrained": numbers}},
            "seconds_per_step": 1.0,
        },
        tmp_path / name,
    )
    out = capsys.readouterr().out
    assert not unseen(out, "\n" + JOINERS)
    if len(name) < 30:
        assert out.count(visible(name)[:12]) >= 3
