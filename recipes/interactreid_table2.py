"""InteractReID, Table II: PKU-Sketch, the mean over ten splits, each trained and judged alone.

    python recipes/interactreid_table2.py --data pku-sketch --data ROOT --adapt tri-pedes ROOT --start CLIP-ViT-B-16
    python recipes/interactreid_table2.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 89.00 by sketch and 92.00 with text; one of the 50 people of a split is 2 points. Below the paper's
size there is one split.
"""

from __future__ import annotations

from running import Cell, Study, main

STUDY = Study(
    "interactreid-2",
    (
        Cell("CLIP as it is"),
        Cell("InteractReID", "interactreid"),
        Cell("InteractReID, as released", "interactreid", which="released"),
    ),
    splits=10,
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
