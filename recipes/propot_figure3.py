"""Propot, Figure 3: prompts K, blocks Nₐ and Nₑ, weight λ₁.

    python recipes/propot_figure3.py --data cuhk-pedes --data ROOT --start CLIP-ViT-B-16
    python recipes/propot_figure3.py --small | --smoke

Hardware and time: the paper's size needs a GPU of 24 GB or more; hours for each row and seed, not measured here.
Expected: K is best at 4, Nₐ at 1, Nₑ is flat, λ₁ is best at 0.2 and collapses at 10.
"""

from __future__ import annotations

from measuring import curve
from running import Cell, Study, main

VALUES = {
    "K": ("prompts", (1, 2, 3, 4, 5, 6)),
    "Nₐ": ("sae_blocks", (1, 2, 3, 4)),
    "Nₑ": ("cad_blocks", (1, 2, 3, 4)),
    "λ₁": ("p2i_weight", (0.01, 0.1, 0.2, 1.0, 10.0)),
}
CELLS = [Cell(f"{name} = {v:g}", "propot", {key: v}) for name, (key, values) in VALUES.items() for v in values]
STUDY = Study("propot-figure3", tuple(CELLS), draw=curve("text", "R@1", "propot-figure3", "R@1 (%)"))


if __name__ == "__main__":
    raise SystemExit(main(STUDY))
