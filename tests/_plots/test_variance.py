"""Plots of a variance report: work over draws, and gradients of the paths."""

from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

from multipath.diagnostics import estimate_variance
from tests.diagnostics.cases import PLANE, Linear, batch, table_with
from tests.samplers.cases import Bumps


def test_plot_over_draws_and_plane(tmp_path):
    loss = Bumps(table_with(PLANE))
    report = estimate_variance(loss, *batch(), n_draws=[1, 2, 4])
    figure = report.plot(tmp_path / "report.png")
    assert isinstance(figure, Figure)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    left, right, _ = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    assert set(lines) == {row.name for row in report.rows}
    works = [row.work / report.gradient_norm**2 for row in report.rows if row.name == "energy"]
    assert list(lines["energy"]) == pytest.approx(works)
    (mesh,) = right.collections
    shown = mesh.get_array()
    sizes = (report.gradient_norms / 6).tolist()
    assert shown.shape == (3, 4)  # scales -0.5, 0, +0.5 and rates 1, 2, 4, 400
    assert float(shown[2, 0]) == pytest.approx(max(sizes[0], max(sizes) * 1e-4))
    assert float(shown[1, 1]) == pytest.approx(max(sizes[3], max(sizes) * 1e-4))
    assert shown.mask.sum() == 12 - 6
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["1", "2", "4", "400"]
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["-0.5", "0", "+0.5"]


@pytest.mark.parametrize("n_paths", [3, 40])
def test_plot_of_one_number_of_draws(n_paths):
    report = estimate_variance(Bumps(n_paths), *batch(), n_draws=2)
    left, right = report.plot().axes
    assert len(left.patches) == len(report.rows)
    assert sorted(bar.get_width() for bar in left.patches) == pytest.approx(
        sorted(row.work / report.gradient_norm**2 for row in report.rows)
    )
    assert left.get_xlabel().endswith("2 draws per step")
    assert len(right.patches) == (3 if n_paths == 3 else 0)
    assert len(right.collections) == (0 if n_paths == 3 else 1)


def test_plot_without_any_gradient():
    x, y = batch()
    report = estimate_variance(Linear(torch.zeros(6, 3, dtype=torch.float64)), x, y, n_draws=[1, 2])
    assert {row.variance for row in report.rows} == {0.0}
    assert torch.equal(report.optimal_probabilities, torch.full((6,), 1 / 6, dtype=torch.float64))
    replace(report, paths=table_with(PLANE)).plot().canvas.draw()
