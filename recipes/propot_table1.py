"""Propot, Table 1: CUHK-PEDES.

    python recipes/propot_table1.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/propot_table1.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 74.89, mAP 67.12.
"""

from __future__ import annotations

from running import Cell, Study, main

from descry.methods import baselines

STUDY = Study(
    "propot-1",
    (
        Cell("CLIP as it is"),
        Cell("IRRA", "baseline", baselines.ROWS["IRRA (SDM + ID + MLM)"]),
        Cell("Propot", "propot"),
    ),
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
