"""InteractReID, Figure 3: the first photographs by sketch, and again after a sentence.

    python recipes/interactreid_figure3.py --data market-sketch-1k --data ROOT
        --adapt tri-pedes ROOT --start CLIP-ViT-B-16
    python recipes/interactreid_figure3.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: a picture; with text the person looked for moves to the front.
"""

from __future__ import annotations

from measuring import before_and_after
from running import Cell, Study, main

STUDY = Study("interactreid-figure3", (Cell("InteractReID", "interactreid"),), draw=before_and_after)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
