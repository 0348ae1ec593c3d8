"""Propot, Table 5: how the prototypes are joined.

    python recipes/propot_table5.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/propot_table5.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 74.89 for adaptive aggregation; the paper says that learnt weights stay below sum and mean, and these
below it. Its figures are lost in the text version.
"""

from __future__ import annotations

from running import Cell, Study, main

NAMES = {"apa": "adaptive (APA)", "sum": "sum", "mean": "mean", "mlp": "weights by an MLP", "learned": "learnt weights"}
STUDY = Study("propot-5", tuple(Cell(row, "propot", {"aggregation": kind}) for kind, row in NAMES.items()))


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
