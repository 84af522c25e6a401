"""The plots of a run show what they are given."""

from __future__ import annotations

import pytest
import torch

from multipath.applications.matching.cqt import LogCQT
from multipath.applications.matching.plots import (
    plot_convergence,
    plot_estimates,
    plot_loss,
    plot_pairs,
)


def test_convergence_plot_starts_at_the_untrained_error():
    rows = [{"step": 10.0, "theta": 100.0}, {"step": 20.0, "theta": 50.0}]
    axes = plot_convergence(rows, "mss", 240.0).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 240], [10, 100], [20, 50]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["mss", "always the middle"]


def test_curves_are_those_of_the_rows():
    rows = [{"step": 0, "loss": 3.0, "theta": 240.0}, {"step": 5, "loss": 2.0, "theta": 100.0}]
    curve = plot_convergence(rows, "mss", 999.0).axes[0].lines[0]
    assert curve.get_xydata().tolist() == [[0, 240], [5, 100]]
    axes = plot_loss(rows).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 3], [5, 2]]
    assert (axes.get_title(), axes.get_xlabel()) == ("training loss", "step")


def test_pairs_have_seconds_and_hertz():
    features = LogCQT(2048.0, 3, hop=64)
    sounds = torch.randn(2, 4096, generator=torch.Generator().manual_seed(0))
    planes = features(sounds)
    figure = plot_pairs(planes, planes, ["kick", "snare"], features)
    figure.canvas.draw()
    first, second, below, _ = figure.axes
    assert [first.get_title(), second.get_title()] == ["kick", "snare"]
    lowest = 0.4 * 2048 / 2**3
    ticks = [tick.get_text() for tick in first.get_yticklabels()]
    wanted = [lowest * factor for factor in (1, 2, 4, 8)]
    assert [float(tick) for tick in ticks] == pytest.approx(wanted, rel=5e-3)
    assert first.get_ylabel() == "target\nfrequency (Hz)"
    assert below.get_xlabel() == "time (s)"
    assert below.get_xlim() == pytest.approx((0.0, planes.shape[2] * 64 / 2048))
    assert below.get_ylim() == (0.0, 3.0)


def test_estimate_and_pair_plots_show_what_they_are_given():
    theta = torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    figure = plot_estimates(theta, theta + 1, ("AM", "FM"), ("Hz", "octaves/s"))
    points = figure.axes[1].collections[0].get_offsets()
    assert points.tolist() == [[3.0, 4.0], [4.0, 5.0]]
    assert figure.axes[0].get_xlabel() == "true AM (Hz)"
    features = torch.arange(12.0).reshape(2, 2, 3)
    shown = plot_pairs(features, 2 * features).axes
    assert len(shown) == 4
    assert shown[3].images[0].get_array().tolist() == (2 * features[1]).tolist()
