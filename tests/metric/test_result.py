"""What is told of metrics: eigenvalues, directions, importance; files and plots."""

import pytest
import torch

from multipath import PathTable, TransformLoss
from multipath.errors import InputError
from multipath.metric import ParameterMetric, parameter_metric
from multipath.transforms import JTFS

from .test_parameter import N, some_theta, synth

NAMES = ("pitch", "loudness", "decay")


@pytest.fixture(scope="module")
def measured():
    loss = TransformLoss(JTFS(n_samples=N, J=4, Q=(2, 1), J_fr=2, Q_fr=1, T=16, F=2))
    theta = some_theta(3)
    found = parameter_metric(loss, synth, theta, range(len(loss.paths)))
    weighted = loss.path_weights[:, None, None, None] * found
    whole = parameter_metric(loss, synth, theta)
    result = ParameterMetric(loss.paths, NAMES, theta, weighted.sum(0), weighted.mean(1))
    return result, whole


def test_it_tells_what_the_mean_metric_does(measured):
    result, whole = measured
    torch.testing.assert_close(result.mean, whole.mean(0))
    torch.testing.assert_close(result.path_metrics.sum(0), whole.mean(0))
    for value, direction in zip(result.eigenvalues, result.directions, strict=True):
        torch.testing.assert_close(result.mean @ direction, value * direction)
    torch.testing.assert_close(result.traces.sum(), whole.mean(0).trace())
    shares = result.path_metrics.diagonal(dim1=1, dim2=2) / result.mean.diagonal()
    torch.testing.assert_close(result.importance().probabilities(), shares.mean(1))


def test_a_parameter_without_effect_is_an_inaudible_direction():
    parts = torch.zeros(2, 3, 3)
    parts[:, 0, 0], parts[:, 2, 2] = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])
    whole = parts.sum(0, keepdim=True)
    result = ParameterMetric(PathTable(2), NAMES, torch.zeros(1, 3), whole, parts)
    assert result.inaudible().tolist() == [[0.0, 1.0, 0.0]]
    assert result.importance().parameters == ("pitch", "decay")
    assert result.importance().probabilities().tolist() == [0.375, 0.625]
    assert "loudness" in str(result)
    silent = ParameterMetric(PathTable(2), NAMES, torch.zeros(1, 3), 0 * whole, 0 * parts)
    assert len(silent.inaudible()) == 3
    assert len(silent.plot().axes) >= 5
    with pytest.raises(InputError, match="no parameter has any effect"):
        silent.importance()


def test_files_keep_everything(measured, tmp_path):
    result, _ = measured
    result.save(tmp_path / "deep" / "m.pt")
    again = ParameterMetric.load(tmp_path / "deep" / "m.pt")
    assert again.metric.equal(result.metric)
    assert again.path_metrics.equal(result.path_metrics)
    assert (again.paths, again.parameters) == (result.paths, result.parameters)
    result.importance().save(tmp_path / "pi.pt")
    with pytest.raises(InputError, match="holds no metrics; make them with `multipath metric`"):
        ParameterMetric.load(tmp_path / "pi.pt")
    with pytest.raises(InputError, match="make one with `multipath metric`"):
        ParameterMetric.load(tmp_path / "none.pt")
    content = torch.load(tmp_path / "deep" / "m.pt")
    for name in ("metric", "parameters", "paths"):
        torch.save({**content, name: torch.zeros(2)}, tmp_path / "bad.pt")
        with pytest.raises(InputError):
            ParameterMetric.load(tmp_path / "bad.pt")


def test_ellipses_are_level_lines(measured, tmp_path):
    result, _ = measured
    figure = result.plot(tmp_path / "m.png", title="three")
    assert (tmp_path / "m.png").stat().st_size > 1000
    axes = figure.axes[0]  # pitch and loudness
    (ellipses,) = axes.collections
    widths, heights = ellipses.get_widths(), ellipses.get_heights()
    angles = torch.tensor(ellipses.get_angles(), dtype=torch.float64).deg2rad()
    levels = []
    for width, angle, matrix in zip(widths, angles, result.metric[:, :2, :2], strict=True):
        end = 0.5 * float(width) * torch.stack([angle.cos(), angle.sin()])
        levels.append(end @ matrix @ end)
    torch.testing.assert_close(torch.stack(levels), levels[0].expand(3), rtol=1e-5, atol=0)
    for height, angle, matrix in zip(heights, angles, result.metric[:, :2, :2], strict=True):
        end = 0.5 * float(height) * torch.stack([-angle.sin(), angle.cos()])
        torch.testing.assert_close(end @ matrix @ end, levels[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["theta", "metric", "path_metrics"])
def test_shapes_that_do_not_fit_are_refused(name):
    values = {
        "theta": torch.zeros(1, 3),
        "metric": torch.zeros(1, 3, 3),
        "path_metrics": torch.zeros(2, 3, 3),
    }
    for spoilt in (values[name][:, :2], values[name] + torch.nan, values[name].long()):
        with pytest.raises(InputError, match=name):
            ParameterMetric(PathTable(2), NAMES, **{**values, name: spoilt})
