"""VFE-TPS, Figure 5: text-guided masked image modelling against SimMIM and MAE.

    python recipes/vfe_tps_figure5.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_figure5.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: the paper draws gains over no masking, largest for its own; the figures are not in its text.
"""

from __future__ import annotations

from running import Cell, Study, main

NAMES = {"off": "none", "mae": "MAE", "simmim": "SimMIM", "text": "TG-MIM"}
STUDY = Study(
    "vfe-tps-figure5", tuple(Cell(row, "vfe_tps", {"mim": kind, "gvfc": "off"}) for kind, row in NAMES.items())
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
