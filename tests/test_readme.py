"""The code in the README runs."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run_in_order(capsys):
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    assert len(examples[0].splitlines()) <= 20
    namespace = {}
    for example in examples:
        exec(example, namespace)
    assert "cost" in capsys.readouterr().out  # the path table was printed
    assert namespace["criterion"](namespace["target"], 0 * namespace["target"]) > 0
