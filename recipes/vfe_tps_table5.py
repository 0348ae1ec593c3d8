"""VFE-TPS, Table 5: CLIP as it is, with a linear probe, fine-tuned, and VFE-TPS.

    python recipes/vfe_tps_table5.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_table5.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: R@1 12.61, 24.16, 66.78, 72.47.
"""

from __future__ import annotations

from running import Cell, Study, main

from descry.methods import baselines

STUDY = Study(
    "vfe-tps-5",
    (
        Cell("zero-shot CLIP"),
        Cell("linear probe", "baseline", baselines.ROWS["linear probe"]),
        Cell("CLIP fine-tuned (CMPM)", "baseline", baselines.ROWS["CLIP + CMPM"]),
        Cell("VFE-TPS", "vfe_tps"),
    ),
)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
