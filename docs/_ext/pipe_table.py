"""Shows a Markdown table as it was written, so that nobody copies numbers by hand.

``.. pipe-table:: results/table2.md`` shows the first table of the file, ``:number: 1`` the second.
"""

import csv
import io
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class PipeTable(SphinxDirective):
    """The cells of a table in Markdown as a ``csv-table``."""

    required_arguments = 1
    option_spec: ClassVar = {"number": directives.nonnegative_int}

    def run(self):
        """Called by docutils."""
        _, file = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(file)
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        blocks = groupby(lines, lambda line: line.startswith("|"))
        tables = [list(block) for inside, block in blocks if inside]
        number = self.options.get("number", 0)
        if number >= len(tables):
            raise self.error(f"{file} has {len(tables)} tables, so there is no number {number}")
        head, _dashes, *body = tables[number]
        cells = io.StringIO()
        csv.writer(cells, quoting=csv.QUOTE_ALL).writerows(map(_cells, [head, *body]))
        text = [".. csv-table::", "   :header-rows: 1", ""]
        text += [f"   {row}" for row in cells.getvalue().splitlines()]
        return self.parse_text_to_nodes("\n".join(text))


def _cells(line):
    # a lone dash would be a list
    return [cell.strip().replace("-", "\\-", 1) for cell in line.strip("|").split("|")]


def setup(app):
    """Called by Sphinx."""
    app.add_directive("pipe-table", PipeTable)
    return {"parallel_read_safe": True}
