"""VFE-TPS, Figure 8: photographs of ten people by t-SNE, under four ways of calibration.

    python recipes/vfe_tps_figure8.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_figure8.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: a picture; the people lie apart best with IS-GVFC.
"""

from __future__ import annotations

from measuring import features, maps
from running import Study, main
from vfe_tps_figure7 import CELLS

STUDY = Study("vfe-tps-figure8", CELLS, measure=features, draw=maps)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
