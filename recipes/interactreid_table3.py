"""InteractReID, Table III: what stage 1 is adapted on.

    python recipes/interactreid_table3.py --data market-sketch-1k --data ROOT
        --adapt tri-pedes ROOT --start CLIP-ViT-B-16
    python recipes/interactreid_table3.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: sketch R@1 22.87 without stage 1 and 37.30 with all three sets; with text 25.44 and 50.42. On synthetic
people the three sets are three groups of people, the middle one drawn in the test's world.
"""

from __future__ import annotations

from running import Cell, Study, main

STUDY = Study(
    "interactreid-3",
    (
        Cell("none", "interactreid", adapt=""),
        Cell("Tri-CUHK", "interactreid", adapt="CUHK"),
        Cell("Tri-ICFG", "interactreid", adapt="ICFG"),
        Cell("Tri-RSTP", "interactreid", adapt="RSTP"),
        Cell("Tri-PEDES", "interactreid"),
    ),
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
