"""What notebooks show of an object that ends a cell."""

from html.parser import HTMLParser

import torch

from multipath import Draw, PathTable, StochasticLoss
from multipath.applications.distance.compare import compare, plot
from multipath.diagnostics import estimate_variance, plot_path_values
from multipath.importance import theta_importance
from multipath.paths import Path
from multipath.samplers import Uniform
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT


class Table(HTMLParser):
    """The text of a table's cells, row by row; every tag must be closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.caption = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] == "caption":
            self.caption += data
        else:
            self.rows[-1][-1] += data


def shown(thing) -> Table:
    return Table(thing._repr_html_())


def test_a_table_of_paths_shows_its_ends_and_escapes_names():
    few = shown(PathTable([Path(0, key="<b>", metadata={"rate": 2.0}), Path(1, key="&")]))
    assert few.rows[0] == ["index", "key", "rate", "cost"]
    assert [row[1] for row in few.rows[1:]] == ["<b>", "&"]
    many = shown(PathTable(10**6))
    assert "1000000 paths" in many.caption
    numbers = [row[0] for row in many.rows[1:]]
    assert numbers == [*map(str, range(10)), "… 999980 more …", *map(str, range(999990, 10**6))]


def test_draws_show_paths_weights_and_probabilities():
    draw = StochasticLoss(QuadraticLoss(4), n_draws=3, generator=0).new_draw()
    table = shown(draw)
    assert table.rows[0] == ["path", "weight", "probability"]
    assert [int(row[0]) for row in table.rows[1:]] == draw.indices.tolist()
    assert {row[1] for row in table.rows[1:]} == {f"{1 / 3:.4g}"}
    long = Draw(torch.arange(100), *torch.ones(2, 100, dtype=torch.float64))
    assert shown(long).rows[11] == ["… 80 more …"]


def test_results_show_what_they_print():
    x, y = torch.randn(2, 5, 4)
    report = estimate_variance(QuadraticLoss(4), x, y, {"even": Uniform()}, [1, 2])
    encoder = torch.nn.Linear(5, 3, dtype=torch.float64)
    batch = torch.randn(4, 5, dtype=torch.float64), torch.ones(4, 3, dtype=torch.float64)
    importance = theta_importance(QuadraticLoss(3), encoder, torch.tanh, [batch])
    for result in (report, importance):
        text = str(result)
        for row in shown(result).rows:
            for cell in row:
                assert cell in text
        assert len(shown(result).rows) > 2


def test_a_distance_shows_the_paths_that_it_comes_from():
    noise = torch.randn(2, 1024, generator=torch.Generator().manual_seed(0))
    sizes = [2**n for n in range(3, 9)] + [3 * 2**n for n in range(2, 8)]
    found = compare(*noise, 2048, MultiResolutionSTFT(sizes))
    table = shown(found)
    assert f"{found.distance:.4g}" in table.caption
    assert "10 of 12 paths" in table.caption
    assert table.rows[0] == ["path", *found.paths.columns, "distance", "share"]
    ranked = found.contributions(10)
    assert [row[0] for row in table.rows[1:]] == [str(item.path.key) for item in ranked]
    assert [row[-1] for row in table.rows[1:]] == [f"{100 * item.share:.2f} %" for item in ranked]
    assert is_png(plot(found))


def is_png(figure):
    return figure._repr_png_().startswith(b"\x89PNG\r\n")


def test_plots_show_themselves_although_pyplot_was_never_imported():
    assert is_png(plot_path_values(PathTable(3), [1.0, 2.0, 3.0]))
    x, y = torch.randn(2, 5, 4)
    assert is_png(estimate_variance(QuadraticLoss(4), x, y, {"even": Uniform()}, 1).plot())
