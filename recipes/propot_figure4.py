"""Propot, Figure 4: the first ten photographs of the baseline and of Propot.

    python recipes/propot_figure4.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/propot_figure4.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: a picture.
"""

from __future__ import annotations

from measuring import grids
from running import Cell, Study, main

from descry.methods import propot

STUDY = Study(
    "propot-figure4",
    (Cell("baseline", "propot", propot.ROWS["baseline"]), Cell("Propot", "propot")),
    draw=grids("text", ("baseline", "Propot"), "propot-figure4"),
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
