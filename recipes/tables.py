"""`make tables`: every marked table in docs/ made anew from results/ledger.jsonl.

python recipes/tables.py            writes the documents that differ
python recipes/tables.py --check    only says which differ, and exits with 1 when one does
"""

from __future__ import annotations

import argparse
from pathlib import Path

from descry_lab.tables import regenerate

ROOT = Path(__file__).resolve().parent.parent


def documents(root: Path = ROOT) -> list[Path]:
    """All that may hold a table."""
    return [*sorted((root / "docs").glob("**/*.md")), root / "README.md"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    changed = regenerate(documents(), ROOT / "results" / "ledger.jsonl", write=not args.check)
    for path in changed:
        print(f"{path.relative_to(ROOT)}: {'differs from the ledger; run make tables' if args.check else 'renewed'}")
    return 1 if args.check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
