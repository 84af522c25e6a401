"""The comparison with the authors' probabilities, on a tiny task and made-up files."""

import pytest
import torch

from benchmarks import theta_agreement
from multipath.applications.matching.objectives import scattering_loss
from multipath.errors import InputError
from tests.applications.tiny import TINY


def authors_file(folder, content):
    name = "x__am_lo_fm_med__probs__n_theta_2.pt"
    torch.save(content, folder / name)
    torch.save(content, folder / name.replace("__probs__", "__log_probs__"))


def test_ours_and_uniform_draws_are_compared_with_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(theta_agreement, "preset", lambda *_, **changes: TINY.changed(**changes))
    n_paths = len(scattering_loss(TINY.task).paths)
    rising = torch.arange(n_paths, dtype=torch.float64)
    authors_file(tmp_path, rising / rising.sum())
    theirs = theta_agreement.authors_probabilities(tmp_path, "slow-moderate")
    found = theta_agreement.compared("slow-moderate", theirs, 2)
    name, examples, _, ours, uniform, *shares = found
    assert (name, examples) == ("slow-moderate", "2")
    assert uniform == f"{(theirs - 1 / n_paths).abs().sum() / 2:.2f}"
    assert ours != uniform
    config = TINY.changed(synth="slow-moderate")
    inside = config.task.inside(scattering_loss(config.task).paths, 0.5)
    assert shares[1:] == [f"{theirs[inside].sum():.1%}", f"{inside.double().mean():.1%}"]
    with pytest.raises(InputError, match=f"the authors have 3 paths of slow-slow, not {n_paths}"):
        theta_agreement.compared("slow-slow", theirs[:3], 1)


def test_a_folder_without_the_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold one file \*am_lo_fm_med__probs__"):
        theta_agreement.authors_probabilities(tmp_path, "slow-moderate")
