"""theta-importance of sound matching runs: what is measured, the command, the plots."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from multipath import PathTable, TransformLoss
from multipath._plots import importance as _plot
from multipath.applications.cli.main import main
from multipath.applications.matching import importance as importance_run
from multipath.applications.matching.importance import measure, published_examples
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.objectives import scattering_loss
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.data import seeded
from multipath.errors import ConfigurationError, InputError
from multipath.importance import ThetaImportance, theta_importance
from multipath.transforms import MultiResolutionSTFT
from tests.applications.tiny import TASKS, TINY, TINY_GRANULAR, TINY_TR808, use_tiny_presets


@pytest.fixture(autouse=True)
def tiny_presets(monkeypatch):
    """The commands see tasks of a blink."""
    use_tiny_presets(monkeypatch)


def command(*arguments):
    """The exit status of `multipath importance`."""
    try:
        main(["importance", *map(str, arguments)])
    except SystemExit as end:
        return end.code or 0
    return 0


# What is measured


@pytest.mark.slow
def test_measures_the_encoder_a_run_begins_with_on_its_first_batches():
    config = TINY.changed(seed=3)
    found = measure(config, examples=6, method="gradient")
    torch.manual_seed(seeded(3, "weights").initial_seed())
    model = SoundMatching(config).eval()
    batches = []
    for step, count in ((0, 4), (1, 2)):
        batch = model.batches.training_batch(step)
        sounds = model.sounds(batch.targets.take(slice(count)))
        batches.append((model.features(sounds), sounds, batch.nuisance[:count]))
    by_hand = theta_importance(
        scattering_loss(config.task), model.encoder, model.synth, batches, method="gradient"
    )
    assert torch.equal(found.curvature, by_hand.curvature)
    assert found.parameters == ("AM", "FM")
    assert (found.settings["examples"], found.settings["batches"]) == (6, 2)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_default_losses_of_all_tasks_are_differentiated_forward(task):
    """A dozen times faster than path by path, and as exact: falling back goes unnoticed else."""
    found = measure(TASKS[task], examples=1, method="gradient")
    assert found.settings["derivatives"] == "forward"


def test_another_loss_of_the_same_sounds_is_measured_on_its_own_paths():
    spectra = TransformLoss(MultiResolutionSTFT([64, 256]), distance="l2")
    found = measure(TINY, loss=spectra, examples=2, method="gradient")
    assert found.paths.keys == spectra.paths.keys
    assert found.curvature.shape == (2, 2)


def test_the_loss_of_the_run_does_not_matter_and_no_random_stream_is_touched():
    before = torch.get_rng_state()
    plain = measure(TINY, examples=2, method="gradient")
    drawing = TINY.changed(loss="scrapl", probabilities="missing.pt", reweight=True)
    assert torch.equal(measure(drawing, examples=2, method="gradient").curvature, plain.curvature)
    assert torch.equal(torch.get_rng_state(), before)
    other = measure(TINY.changed(seed=1), examples=2, method="gradient")
    assert not torch.equal(other.curvature, plain.curvature)


def test_published_numbers_of_examples():
    assert published_examples(preset("paper", "chirplet")) == 32
    assert published_examples(preset("paper", "granular")) == 320
    assert published_examples(TINY) == importance_run.QUICK_EXAMPLES


@pytest.mark.parametrize("settings", [{"examples": 0}, {"batch": 0}])
def test_no_examples_are_refused(settings):
    with pytest.raises(ConfigurationError, match="must be at least 1"):
        measure(TINY, **settings)


# The rectangle of a synthesizer


@pytest.mark.parametrize("synth", ["slow-slow", "slow-moderate", "fast-moderate", "fast-fast"])
@pytest.mark.slow
def test_inside_is_the_rectangle(synth):
    config = preset("paper", synth=synth)
    paths = scattering_loss(config.task).paths
    (slow, fast), (flat, steep) = config.task.ranges.am, config.task.ranges.fm
    for spacings in (0.0, 0.5, 1.0):
        wider = 2 ** (spacings / 2) + 1e-6  # two wavelets an octave, both ways
        for path, found in zip(paths, config.task.inside(paths, spacings).tolist(), strict=True):
            rate, scale = path.metadata["rate"], path.metadata["scale"]
            expected = (
                scale > 0
                and slow / wider <= rate <= fast * wider
                and flat / wider <= rate / scale <= steep * wider
            )
            assert found == expected, path


def test_inside_has_both_spins_and_the_edges():
    config = preset("paper", synth="fast-moderate")
    paths = scattering_loss(config.task).paths
    inside = config.task.inside(paths)
    chosen = [path.metadata for path, yes in zip(paths, inside, strict=True) if yes]
    assert sorted({m["spin"] for m in chosen}) == [-1, 1]
    assert min(m["rate"] for m in chosen) == pytest.approx(2.8)  # 2.7999999999999954


def test_other_tasks_have_no_rectangle_and_other_paths_no_place():
    assert TINY_GRANULAR.task.inside(PathTable(3)) is None
    with pytest.raises(ConfigurationError, match="must have a rate and a scale"):
        TINY.task.inside(PathTable(3))


# The command


@pytest.mark.slow
def test_command_writes_prints_and_cleans_up(tmp_path, capsys):
    out, plot = tmp_path / "pi.pt", tmp_path / "pi.png"
    arguments = ("chirplet", "--synth", "fast-fast", "--examples", "3", "--tolerance", "0.1")
    assert command(*arguments, "--out", out, "--plot", plot) == 0
    printed = capsys.readouterr().out
    result = ThetaImportance.load(out)
    assert str(result) in printed
    assert "examples: 3, batches: 1, largest relative residual: " in printed
    chosen = preset("quick", synth="fast-fast").task.inside(result.paths)
    assert f"{float(chosen.double().mean()):.1%}" in printed
    assert f"{result.share(chosen):.1%}" in printed
    assert result.settings["tolerance"] == 0.1
    assert imread(plot).std() > 0.05
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pi.png", "pi.pt"]


def test_result_is_not_replaced_unless_asked(tmp_path, capsys):
    out = tmp_path / "pi.pt"
    out.write_bytes(b"precious")
    arguments = ("granular", "--examples", "1", "--method", "gradient", "--out", out)
    assert command(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"multipath: {out} exists; choose another file (--out)")
    assert error.count("\n") == 1
    assert out.read_bytes() == b"precious"
    assert command(*arguments, "--overwrite") == 0
    assert ThetaImportance.load(out).parameters == ("density", "slope")


@pytest.mark.slow
def test_drums_made_or_recorded(tmp_path, capsys):
    made = ("--synthetic", "8", "--examples", "2", "--method", "gradient")
    assert command("tr808", *made, "--out", tmp_path / "pi.pt") == 0
    result = ThetaImportance.load(tmp_path / "pi.pt")
    assert result.parameters == TINY_TR808.task.build_synth().parameter_names
    assert float(result.probabilities().sum()) == pytest.approx(1)
    assert "tr808" in result.settings["task"]
    capsys.readouterr()
    assert command("tr808", "--out", tmp_path / "other.pt") == 2
    assert "--data DIR) or --synthetic [N], got neither" in capsys.readouterr().err


@pytest.mark.slow
def test_interruption_goes_on_with_the_same_command(tmp_path, capsys, monkeypatch):
    out = tmp_path / "pi.pt"
    arguments = ("chirplet", "--examples", "8", "--method", "hutchinson", "--out", out)
    from multipath.importance import _work

    original, calls = _work.one_product, []

    def interrupted(*given, **named):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*given, **named)

    monkeypatch.setattr(_work, "one_product", interrupted)
    assert command(*arguments) == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pi.pt.journal"]
    assert command(*arguments) == 0
    assert len(calls) == 3 + 2  # of two batches and two parameters, two were done
    assert [path.name for path in tmp_path.iterdir()] == ["pi.pt"]
    whole = measure(TINY, examples=8, method="hutchinson")
    assert torch.equal(ThetaImportance.load(out).curvature, whole.curvature)


@pytest.mark.slow
def test_a_journal_of_other_work_is_refused_and_discarded_on_request(tmp_path, capsys):
    out, journal = tmp_path / "pi.pt", tmp_path / "mine"
    arguments = ("chirplet", "--examples", "1", "--method", "gradient", "--out", out)
    assert command(*arguments, "--journal", journal) == 0
    assert journal.exists()  # named, so kept: other methods go on from it
    (tmp_path / "mine.1").write_bytes(journal.read_bytes()[:-9])  # of another rank, torn
    other = (*arguments, "--overwrite", "--journal", journal, "--seed", "1")
    assert command(*other) == 2
    assert capsys.readouterr().err.count("\n") >= 1
    assert command(*other, "--restart") == 0
    assert not (tmp_path / "mine.1").exists()


@pytest.mark.parametrize("precious", ["keep.wav", "keep.wav.1"])
def test_only_journals_are_discarded(precious, tmp_path, capsys):
    out, journal = tmp_path / "pi.pt", tmp_path / "keep.wav"
    arguments = ("chirplet", "--examples", "1", "--method", "gradient", "--out", out)
    arguments = (*arguments, "--overwrite", "--journal", journal)
    assert command(*arguments) == 0
    (tmp_path / precious).write_text('{"format": "mine"}')
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    capsys.readouterr()
    assert command(*arguments, "--restart") == 2
    assert f"{precious} is no journal of theta-importance" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--synth", "medium"], "unknown chirplet synthesizer 'medium'"),
        (["--plot", "pi.nonsense"], "expected a plot with one of the suffixes"),
        (["--tolerance", "2"], "tolerance must lie between 0 and 1"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, tmp_path, capsys):
    assert command("chirplet", "--out", tmp_path / "pi.pt", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.splitlines()[-1].startswith("multipath: ")
    assert not (tmp_path / "pi.pt").exists()


@pytest.mark.parametrize(
    "files",
    [
        ("--out", "a.png", "--plot", "folder/../a.png"),
        ("--out", "a.pt", "--journal", "./a.pt"),
        ("--out", "a", "--plot", "a.journal"),
        ("--out", "a.pt", "--plot", "a.png", "--journal", "a.png"),
    ],
)
def test_one_file_for_two_things_is_refused(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert command("chirplet", "--examples", "1", "--method", "gradient", *files) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"multipath: expected different files, got --out {files[1]}, --")
    assert error.endswith("; rename one of them\n")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("option", ["--plot", "--journal", "--out"])
def test_a_folder_that_may_not_be_written_to_is_refused_first(
    option, tmp_path, capsys, monkeypatch
):
    closed = tmp_path / "closed"
    closed.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and access(path, mode))
    monkeypatch.setattr(importance_run, "measure", lambda *_, **__: pytest.fail("too late"))
    files = {"--out": tmp_path / "pi.pt", option: closed / "pi.png"}
    assert command("chirplet", *(word for pair in files.items() for word in pair)) == 2
    error = capsys.readouterr().err
    assert error.endswith(f"{closed} may not be written to; choose another place ({option})\n")


def test_world_size_without_torchrun_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert command("chirplet", "--out", tmp_path / "pi.pt") == 2
    assert "start with torchrun" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_share_the_work(tmp_path):
    script = tmp_path / "shared.py"
    script.write_text(
        "from pytest import MonkeyPatch\n"
        "from multipath.applications.cli.main import main\n"
        "from tests.applications.tiny import use_tiny_presets\n"
        "use_tiny_presets(MonkeyPatch())\n"
        "main()\n"
    )
    root = os.getcwd()
    options = ["importance", "chirplet", "--examples", "8", "--method", "hutchinson"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(script), *options, "--out", str(tmp_path / "pi.pt")],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("theta-importance of") == 1  # of the first rank alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pi.pt", "shared.py"]
    alone = measure(TINY, examples=8, method="hutchinson")
    shared = ThetaImportance.load(tmp_path / "pi.pt").curvature
    assert torch.allclose(shared, alone.curvature, rtol=1e-6)


# Pictures


def result_of(paths, seed=0):
    curvature = torch.rand(2, len(paths), generator=torch.Generator().manual_seed(seed))
    return ThetaImportance(paths, ("a", "b"), curvature.double())


def test_plane_shows_ratios_and_outlines_paths(tmp_path):
    paths = scattering_loss(TINY.task).paths
    result = result_of(paths)
    chosen = torch.zeros(len(paths), dtype=torch.bool)
    chosen[5] = True
    figure = result.plot(tmp_path / "pi.png", inside=chosen, title="a title")
    assert (tmp_path / "pi.png").stat().st_size > 0
    axes = figure.axes[0]
    mesh, lines = axes.collections
    shown = np.exp2(np.ma.getdata(mesh.get_array())).ravel()
    ratios = len(paths) * result.probabilities().numpy()
    assert np.sort(shown[~np.isnan(shown)]) == pytest.approx(np.sort(ratios))
    # the outline is the border of the cell that holds the ratio of path 5
    corners = np.concatenate(lines.get_segments())
    row, column = corners[:, 1].min(), corners[:, 0].min()
    assert len(lines.get_segments()) == 4
    plane = np.exp2(np.ma.getdata(mesh.get_array()))
    assert plane[int(row), int(column)] == pytest.approx(ratios[5])
    assert axes.get_title() == "a title"


def test_colours_are_centred_at_uniform():
    paths = scattering_loss(TINY.task).paths
    curvature = torch.ones(1, len(paths))
    curvature[0, 3], curvature[0, 4] = 20.0, 0.0
    figure = ThetaImportance(paths, ("a",), curvature).plot()
    (mesh,) = figure.axes[0].collections
    assert mesh.norm.vmin == -mesh.norm.vmax
    assert 2**mesh.norm.vmax == pytest.approx(20 * len(paths) / (len(paths) + 18))
    assert mesh.colorbar.extend == "min"  # a path that is never drawn


def test_few_paths_are_bars_around_one():
    paths = MultiResolutionSTFT([64, 256, 1024, 2048]).paths
    result = ThetaImportance(paths, ("a",), torch.tensor([[4.0, 2.0, 1.0, 1.0]]))
    axes = result.plot(inside=[True, False, False, True]).axes[0]
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == pytest.approx([2.0, 1.0, 0.5, 0.5])
    assert {bar.get_y() for bar in axes.patches} == {1}
    assert [bar.get_edgecolor()[3] for bar in axes.patches] == [1.0, 0.0, 0.0, 1.0]
    assert axes.get_yscale() == "log"


def test_many_paths_without_a_plane_are_an_area(tmp_path):
    axes = result_of(PathTable(100)).plot(tmp_path / "pi.png", inside=torch.arange(100) < 7).axes[0]
    assert len(axes.collections) == 2
    assert len(axes.patches) == 7


def test_plot_refuses_another_number_of_truth_values():
    with pytest.raises(InputError, match="one truth value for each of the 4 paths"):
        result_of(PathTable(4)).plot(inside=[True])
    assert _plot.octave_limit(np.array([1.1, 0.1])) == 1.0
