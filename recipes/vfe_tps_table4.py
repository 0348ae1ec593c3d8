"""VFE-TPS, Table 4: parameters and multiply-adds. `descry model info RUN --training` gives time and memory of a step.

    python recipes/vfe_tps_table4.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_table4.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: 149 M parameters; 12 GFLOPs at inference in the paper's count.
"""

from __future__ import annotations

from measuring import costs
from running import Cell, Study, main

STUDY = Study("vfe-tps-4", (Cell("VFE-TPS", "vfe_tps"),), measure=costs)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
