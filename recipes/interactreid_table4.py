"""InteractReID, Table IV: depth and width of the mapping Φ.

    python recipes/interactreid_table4.py --data market-sketch-1k --data ROOT
        --adapt tri-pedes ROOT --start CLIP-ViT-B-16
    python recipes/interactreid_table4.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: sketch R@1 28.86 without Φ, 37.30 with one hidden layer of 768. Below the paper's size the widths are
divided by 8, as the encoders are narrower.
"""

from __future__ import annotations

from measuring import costs
from running import Cell, Study, main

WIDTHS = (512, 768, 1024)
CELLS = [Cell("none", "interactreid", {"mapping_layers": -1}), Cell("linear", "interactreid", {"mapping_layers": 0})]
for layers in (1, 2, 3):
    for width in WIDTHS:
        changes = {"mapping_layers": layers, "mapping_hidden": width}
        CELLS.append(Cell(f"{layers} layer{'s' if layers > 1 else ''}, {width}", "interactreid", changes))
STUDY = Study("interactreid-4", tuple(CELLS), measure=costs)


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
