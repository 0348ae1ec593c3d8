"""VFE-TPS, Figure 6: share of hidden patches, and how far what is drawn there lies from what is seen around it.

    python recipes/vfe_tps_figure6.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/vfe_tps_figure6.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: mAP is best at 0.5 to 0.6; avgDist grows with the share and is smallest for TG-MIM.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from measuring import curve, masks, reconstructed
from running import Cell, Study, main
from worlds import World

KINDS = {"mae": "MAE", "simmim": "SimMIM", "text": "TG-MIM"}
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)
CELLS = [
    Cell(f"{name}, share hidden = {share:g}", "vfe_tps", {"mim": kind, "gvfc": "off", "mask_ratio": share})
    for kind, name in KINDS.items()
    for share in SHARES
]


def draw(runs: Mapping[str, Path], world: World, out: Path) -> list[Path]:
    """The curves, and what the models of the paper's share draw."""
    shown = {row: run for row, run in runs.items() if row.endswith("= 0.6")}
    return curve("text", "mAP", "vfe-tps-figure6", "mAP (%)")(runs, world, out) + reconstructed(shown, world, out)


STUDY = Study("vfe-tps-figure6", tuple(CELLS), measure=masks, draw=draw)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
