"""InteractReID, §IV: is a pseudo-word the sketch that it was made of? Pseudo-words search all sketches.

    python recipes/interactreid_token.py --data market-sketch-1k --data ROOT
        --adapt tri-pedes ROOT --start CLIP-ViT-B-16
    python recipes/interactreid_token.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 95.64, R@5 99.76.
"""

from __future__ import annotations

from measuring import pseudo_words
from running import Cell, Study, main

STUDY = Study("interactreid-token", (Cell("InteractReID", "interactreid"),), measure=pseudo_words)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
