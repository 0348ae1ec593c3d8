"""Propot, Table 4: its parts, added one by one.

    python recipes/propot_table4.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/propot_table4.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 72.73 for the baseline, 74.89 with all parts.
"""

from __future__ import annotations

from measuring import costs
from running import Cell, Study, main

from descry.methods import propot

STUDY = Study("propot-4", tuple(Cell(row, "propot", changes) for row, changes in propot.ROWS.items()), measure=costs)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
