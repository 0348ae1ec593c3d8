"""VFE-TPS, Figure 7: calibration of global features against an identity loss and a triplet loss.

    python recipes/vfe_tps_figure7.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_figure7.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: the silhouette is highest with IS-GVFC; the figures are not in the paper's text.
"""

from __future__ import annotations

from measuring import features
from running import Cell, Study, main

NAMES = {"off": "none", "id": "ID loss", "triplet": "triplet loss", "batch": "IS-GVFC"}
CELLS = tuple(Cell(row, "vfe_tps", {"mim": "off", "gvfc": kind}) for kind, row in NAMES.items())
STUDY = Study("vfe-tps-figure7", CELLS, measure=features)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
