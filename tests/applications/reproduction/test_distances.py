"""Table 4 from recordings that are there already."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from multipath.applications.audio.files import read_audio, write_audio
from multipath.applications.cli.main import main
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.tr808 import DrumDistances
from multipath.applications.reproduction.distances import find_pairs, measure, summary
from multipath.applications.runs.files import read_csv
from multipath.errors import InputError

TASK = preset("quick", "tr808").task
RATE = round(TASK.sample_rate)
DECAYS = {"jtfs": 30.0, "mine": 10.0}


def drum(name: int, decay: float = 20.0, n_samples: int = TASK.n_samples) -> torch.Tensor:
    time = torch.arange(n_samples) / RATE
    late = (time >= TASK.onset / RATE).float()
    return 0.5 * late * torch.exp(-decay * time) * torch.sin(2 * np.pi * (100 + 50 * name) * time)


@pytest.fixture
def folder(tmp_path):
    """Two targets, and what two methods made of them."""
    root = tmp_path / "micro"
    for name in (1, 2):
        for method, decay in {"targets": 20.0, **DECAYS}.items():
            (root / method).mkdir(parents=True, exist_ok=True)
            write_audio(root / method / f"{name}.wav", drum(name, decay), RATE)
    return root


def flat(folder, root):
    """The same recordings, named as the authors name theirs."""
    root.mkdir()
    for file in folder.glob("*/*.wav"):
        kind = file.parent.name
        name = {"targets": f"jtfs_x__{file.stem}.wav", "jtfs": f"jtfs_x__{file.stem}__hat.wav"}
        shutil.copy(file, root / name.get(kind, f"{kind}__{file.stem}__hat.wav"))
    return root


def test_both_layouts_pair_the_same_recordings(folder, tmp_path):
    wanted = {
        (method, name, (folder / "targets" / f"{name}.wav").read_bytes()): (
            folder / method / f"{name}.wav"
        ).read_bytes()
        for method in DECAYS
        for name in "12"
    }
    for layout in (folder, flat(folder, tmp_path / "flat")):
        found = {
            (pair.method, pair.name, pair.target.read_bytes()): pair.reconstruction.read_bytes()
            for pair in find_pairs(layout)
        }
        assert found == wanted


def test_the_authors_names_are_those_of_the_tables(tmp_path):
    made = {
        "jtfs_Jfr5__mars": "jtfs",
        "scrapl_Jfr5__mars__probs_n_1": "scrapl-theta",
        "scrapl_Jfr5__mars": "scrapl",
        "mss_meso_lin_7__mars": "mss-linear",
        "mss_meso_log_7__mars": "mss-log",
        "mss_rev_7__mars": "mss-revisited",
        "rand_mss_7__mars": "mss-random",
    }
    write_audio(tmp_path / "jtfs_Jfr5__mars__test__7.wav", drum(1), RATE)
    for name in made:
        write_audio(tmp_path / f"{name}__test__7__hat.wav", drum(1), RATE)
    pairs = find_pairs(tmp_path)
    assert {
        pair.reconstruction.name[: -len("__test__7__hat.wav")]: pair.method for pair in pairs
    } == made
    assert {pair.target.name for pair in pairs} == {"jtfs_Jfr5__mars__test__7.wav"}


def test_numbers_are_those_of_the_metrics_and_equal_sounds_are_at_zero(folder, tmp_path):
    for file in (folder / "targets").iterdir():
        (folder / "same").mkdir(exist_ok=True)
        shutil.copy(file, folder / "same" / file.name)
    rows = list(measure(find_pairs(folder), tmp_path / "d.csv", TASK))
    metrics = DrumDistances(TASK, TASK.build_synth()).metrics
    for row in rows:
        sounds = [
            read_audio(folder / kind / f"{row['name']}.wav")[0]
            for kind in (row["method"], "targets")
        ]
        for name, value in metrics(*(sound.reshape(1, -1) for sound in sounds)).items():
            assert row[name] == pytest.approx(value.item(), rel=1e-6, abs=1e-9)
            assert (value.item() == 0) == (row["method"] == "same")
    orders = {len(path.key) for path in metrics.distances["jtfs"].paths}
    assert len(orders) > 1  # of the first order too, as in the paper


def test_a_table_of_means_intervals_and_published_numbers():
    rows = [
        {"method": method, "name": str(n), **dict.fromkeys(_columns(), n / 1000)}
        for method in ("jtfs", "mine")
        for n in (1, 2, 3)
    ]
    lines = summary(rows, "micro").splitlines()
    jtfs, mine = (
        next(line for line in lines if line.startswith(f"| {m} ")) for m in ("jtfs", "mine")
    )
    assert jtfs.startswith(
        "| jtfs | 3 | 2 ± 2.48 [617 ± 46] | 2 ± 2.48 [490 ± 28] | 0.2 ± 0.248 [137 ± 10] |"
    )
    assert "[" not in mine
    assert "[" not in summary(rows).replace("[0", "")


def _columns():
    parts = [
        f"{p}_{f}" for p in ("transient", "decay") for f in ("loudness", "centroid", "flatness")
    ]
    return ["mss", "jtfs", *parts]


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "distances", "--scale", "quick", *map(str, arguments)])
    return ended.value.code or 0


def test_the_command_goes_on_where_it_was_stopped(folder, tmp_path, monkeypatch, capsys):
    assert run("--reconstructions", folder, "--out", tmp_path / "whole") == 0
    text = capsys.readouterr().out
    assert "| jtfs | 2 |" in text
    assert "[490 ± 28]" in text

    out, calls = tmp_path / "out", []
    from multipath.applications.metrics.drums import DrumMetrics

    forward = DrumMetrics.forward

    def interrupted(self, *sounds):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(self, *sounds)

    monkeypatch.setattr(DrumMetrics, "forward", interrupted)
    assert run("--reconstructions", folder, "--out", out) == 130
    assert len(read_csv(out / "distances.csv")) == 2
    assert run("--reconstructions", folder, "--out", out) == 0
    assert len(calls) == 5  # none was compared again
    for name in ("distances.csv", "distances.md"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "is not a folder"),
        (lambda folder: (folder / "targets" / "2.wav").unlink(), "has no target"),
        (lambda folder: [shutil.rmtree(folder / m) for m in DECAYS], "holds no reconstructions"),
        (lambda folder: (folder / "mine" / "1.wav").write_text("no sound"), "1.wav"),
    ],
)
def test_folders_that_do_not_fit(folder, tmp_path, spoil, words):
    spoil(folder)
    with pytest.raises(InputError, match=words):
        list(measure(find_pairs(folder), tmp_path / "d.csv", TASK))


def test_results_of_other_recordings_or_scales_are_not_mixed_in(folder, tmp_path):
    whole = list(measure(find_pairs(folder), tmp_path / "d.csv", TASK))
    before = (tmp_path / "d.csv").read_bytes()
    folder.rename(tmp_path / "meso")  # recordings are known by their content
    found = list(measure(find_pairs(tmp_path / "meso"), tmp_path / "d.csv", TASK))
    assert [row["jtfs"] for row in found] == [row["jtfs"] for row in whole]
    another = dataclasses.replace(TASK, onset=TASK.onset + 1)
    write_audio(tmp_path / "meso" / "mine" / "2.wav", drum(2, 11.0), RATE)
    for task in (another, TASK):  # settled before anything is computed
        with pytest.raises(InputError, match="of other recordings or of another scale"):
            list(measure(find_pairs(tmp_path / "meso"), tmp_path / "d.csv", task))
    assert (tmp_path / "d.csv").read_bytes() == before
    for damaged in ("method,name\na,b\n", before.decode().replace("fingerprint", "finger")):
        (tmp_path / "d.csv").write_text(damaged)
        with pytest.raises(InputError, match="is damaged"):
            list(measure(find_pairs(tmp_path / "meso"), tmp_path / "d.csv", TASK))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--reconstructions DIR"),
        (["--reconstructions", "x", "--seeds", "2"], "--seeds"),
        (["--reconstructions", "x", "--data", "x"], "--data"),
        (["--reconstructions", "x", "--cluster", "slurm"], "--cluster"),
    ],
)
def test_options_of_other_tables_are_refused(arguments, words, capsys):
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err


def test_recordings_are_for_distances_alone(capsys):
    with pytest.raises(SystemExit):
        main(["reproduce", "table4", "--reconstructions", "x"])
    assert "for distances alone" in capsys.readouterr().err
