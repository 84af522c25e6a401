"""What notebooks show of an object that ends a cell."""

from html.parser import HTMLParser

import torch

from multipath import Draw, PathTable, StochasticLoss
from multipath.diagnostics import estimate_variance
from multipath.importance import theta_importance
from multipath.paths import Path
from multipath.samplers import Uniform
from multipath.testing import QuadraticLoss


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
