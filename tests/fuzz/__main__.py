"""The command: ``python -m tests.fuzz --seconds 1200 --seed 0``."""

import argparse
import sys
import time

from .run import GENERATORS, Figures, fuzz, try_case


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0, help="for how long")
    parser.add_argument("--seed", type=int, default=0, help="of all cases")
    parser.add_argument("--only", choices=GENERATORS, help="this generator")
    parser.add_argument("--case", type=int, help="this case alone, to look into a finding")
    given = parser.parse_args()
    if given.only:
        for name in list(GENERATORS):
            if name != given.only:
                del GENERATORS[name]
    if given.case is not None:
        print(*try_case(given.only, given.seed, given.case))
        return 0
    shown = 0.0

    def report(figures: Figures) -> None:
        nonlocal shown
        if time.monotonic() - shown > 1 and sys.stderr.isatty():
            shown = time.monotonic()
            counts = ", ".join(f"{n} {name}" for name, n in _totals(figures).items())
            print(f"\r{counts}; {len(figures.findings)} findings", end="", file=sys.stderr)

    figures = fuzz(given.seconds, given.seed, report)
    print(f"\n{figures}")
    return bool(figures.findings)


def _totals(figures: Figures) -> dict[str, int]:
    return {name: ended.total() for name, ended in figures.ended.items()}


if __name__ == "__main__":
    raise SystemExit(main())
