"""VFE-TPS, Table 6: without and with each auxiliary task.

    python recipes/vfe_tps_table6.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_table6.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 70.61, 72.16, 71.61, 72.47.
"""

from __future__ import annotations

from running import Cell, Study, main

from descry.methods import vfe_tps

STUDY = Study("vfe-tps-6", tuple(Cell(row, "vfe_tps", changes) for row, changes in vfe_tps.ROWS.items()))


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
