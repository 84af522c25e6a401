"""The plots of a run show what they are given."""

from __future__ import annotations

import torch

from multipath.applications.matching.plots import plot_convergence, plot_estimates, plot_pairs


def test_convergence_plot_starts_at_the_untrained_error():
    rows = [{"step": 10.0, "theta": 100.0}, {"step": 20.0, "theta": 50.0}]
    axes = plot_convergence(rows, "mss", 240.0).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 240], [10, 100], [20, 50]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["mss", "always the middle"]


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
