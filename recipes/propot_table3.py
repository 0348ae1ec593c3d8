"""Propot, Table 3: RSTPReid.

    python recipes/propot_table3.py --data rstpreid --data ROOT --start CLIP-ViT-B-16
    python recipes/propot_table3.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 61.83.
"""

from __future__ import annotations

from running import Cell, Study, main

from descry.methods import baselines

STUDY = Study(
    "propot-3",
    (
        Cell("CLIP as it is"),
        Cell("IRRA", "baseline", baselines.ROWS["IRRA (SDM + ID + MLM)"]),
        Cell("Propot", "propot"),
    ),
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
