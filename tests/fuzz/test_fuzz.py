"""A minute of what ``make fuzz`` does for longer: always the same cases, however fast they run."""

import pytest

from .run import GENERATORS, try_case

CASES = {
    "constructors and forwards": 400,
    "tampered states": 500,
    "command lines": 40,
    "tampered folders": 12,
    "kills": 1,
}


@pytest.mark.slow
@pytest.mark.project
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GENERATORS)
def test_inputs_at_random(name):
    endings = {number: try_case(name, 0, number) for number in range(CASES[name])}
    findings = {number: finding for number, (_, finding) in endings.items() if finding}
    assert not findings, "\n".join(f"case {n}: {finding}" for n, finding in findings.items())
    assert {ended for ended, _ in endings.values()} <= {"right", "refused"}
