"""Write what recipes/compare_synthetic.py has trained into the ledger, for its two tables in docs/results.md.

    python recipes/note_comparison.py WORK [--ledger results/ledger.jsonl]
    make tables

WORK is the work folder of compare_synthetic.py; only finished runs are taken, and a line that the ledger holds already
is not written again. The papers' tables have recipes of their own and are not touched. Synthetic people are no evidence
of accuracy on real people.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from compare_synthetic import TABLE, TESTS, rows
from contest import Contest, finished
from verdict import ROOT, entries, write_down

from descry.studies import ledger

COMMAND = "python recipes/compare_synthetic.py --start work/demo/stage0"


def compared(work: Path) -> Contest:
    """The contest of a work folder with the seeds that were run; what it started from is not needed any more."""
    seeds = sorted({int(folder.name) for folder in (work / "runs").glob("*/*") if folder.name.isdigit()})
    return Contest(TABLE, "", rows(), {"": (work / "people",)}, work / "asked", "test", work, seeds=tuple(seeds))


def lines(work: Path) -> Iterator[ledger.Entry]:
    """Every line of the comparison."""
    held = compared(work)
    return entries(held, finished(held), COMMAND, TESTS)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--ledger", type=Path, default=ROOT / "results" / "ledger.jsonl")
    args = parser.parse_args()
    print(f"{write_down(lines(args.work), args.ledger)} lines were added to {args.ledger}; next: make tables")


if __name__ == "__main__":
    main()
