"""VFE-TPS, Figure 9: the first photographs without and with both auxiliary tasks.

    python recipes/vfe_tps_figure9.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_figure9.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: a picture.
"""

from __future__ import annotations

from measuring import grids
from running import Cell, Study, main

STUDY = Study(
    "vfe-tps-figure9",
    (Cell("without", "vfe_tps", {"mim": "off", "gvfc": "off"}), Cell("VFE-TPS", "vfe_tps")),
    draw=grids("text", ("without", "VFE-TPS"), "vfe-tps-figure9"),
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
