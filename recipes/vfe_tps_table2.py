"""VFE-TPS, Table 2: ICFG-PEDES.

    python recipes/vfe_tps_table2.py --data icfg-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_table2.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 62.71, mAP 43.08; this set has no validation split, so the last epoch counts. The rival of
two separate encoders begins with weights of its own: set
image_encoder and text_encoder in its cell; from random weights it is not the paper's row.
"""

from __future__ import annotations

from running import Cell, Study, main

STUDY = Study(
    "vfe-tps-2",
    (
        Cell("baseline ViT+BERT", "vit_bert"),
        Cell("VFE-TPS", "vfe_tps"),
        Cell("VFE-TPS, as printed", "vfe_tps", which="paper"),
        Cell("VFE-TPS, as released", "vfe_tps", which="released"),
    ),
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
