"""Every table and figure of the three papers as data: its rows, each with its method, preset and changes.

A row without a preset takes the one that `python -m descry_lab TABLE --preset …` names: the paper's unless another is
given. Rows of rivals name their own: IRRA as its authors train it, separate encoders and CLIP as the paper has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from descry.errors import UsageError, nearest
from descry.methods import baselines, preset, propot, vfe_tps

from .engine import Cell, Study
from .measuring import before_and_after, costs, curve, features, grids, maps, masks, pseudo_words, reconstructed
from .own_studies import OWN_STUDIES
from .scales import World

MARKET, CUHK = "market-sketch-1k", "cuhk-pedes"
AS_IT_IS = Cell("CLIP as it is")
IRRA = Cell("IRRA", "baseline", baselines.ROWS["IRRA (SDM + ID + MLM)"], "released")


def _mappings() -> list[Cell]:
    """InteractReID, Table IV: depth and width of Φ."""
    cells = [
        Cell("none", "interactreid", {"mapping_layers": -1}),
        Cell("linear", "interactreid", {"mapping_layers": 0}),
    ]
    for layers in (1, 2, 3):
        for width in (512, 768, 1024):
            changes = {"mapping_layers": layers, "mapping_hidden": width}
            cells.append(Cell(f"{layers} layer{'s' if layers > 1 else ''}, {width}", "interactreid", changes))
    return cells


def _printed_and_released(name: str, method: str) -> tuple[Cell, ...]:
    """The row of a paper's method, and the same by what its text and its code say."""
    return (
        Cell(name, method),
        Cell(f"{name}, as printed", method, preset="paper"),
        Cell(f"{name}, as released", method, preset="released"),
    )


def _kinds(method: str, field: str, names: Mapping[str, str], fixed: Mapping[str, Any] = {}) -> tuple[Cell, ...]:
    """A row for every value of one field. names: value → row."""
    return tuple(Cell(row, method, dict(fixed) | {field: value}) for value, row in names.items())


def _hidden_shares(runs: Mapping[str, Path], world: World, out: Path) -> list[Path]:
    """VFE-TPS, Figure 6: the curves, and what the models of the paper's share draw."""
    shown = {row: run for row, run in runs.items() if row.endswith("= 0.6")}
    curves = curve("text", "mAP", "vfe-tps-figure6", "mAP (%)")(runs, world, out)
    return curves + reconstructed(shown, world, out)


_RIVAL = Cell("baseline ViT+BERT", "vit_bert", preset="paper")
_WIDTHS = {
    "K": ("prompts", (1, 2, 3, 4, 5, 6)),
    "Nₐ": ("sae_blocks", (1, 2, 3, 4)),
    "Nₑ": ("cad_blocks", (1, 2, 3, 4)),
    "λ₁": ("p2i_weight", (0.01, 0.1, 0.2, 1.0, 10.0)),
}
_PROBE = {"probe": True, "identity": False, "mask_captions": False, "recipe": preset("vfe_tps", "paper").recipe}
_FIGURE7 = (
    *_kinds("vfe_tps", "gvfc", {"off": "none", "id": "ID loss", "triplet": "triplet loss"}, {"mim": "off"}),
    Cell("IS-GVFC", "vfe_tps", vfe_tps.ROWS["+IS-GVFC"]),
)

_ALL = (
    Study(
        "interactreid-1",
        MARKET,
        "R@1 37.30 by sketch and 50.42 with text",
        (AS_IT_IS, *_printed_and_released("InteractReID", "interactreid")),
    ),
    Study(
        "interactreid-2",
        "pku-sketch",
        "R@1 89.00 by sketch and 92.00 with text; one of the 50 people of a split is 2 "
        "points; below the paper's size there is one split",
        (
            AS_IT_IS,
            Cell("InteractReID", "interactreid"),
            Cell("InteractReID, as released", "interactreid", {}, "released"),
        ),
        splits=10,
    ),
    Study(
        "interactreid-3",
        MARKET,
        "sketch R@1 22.87 without stage 1 and 37.30 with all three sets; with text 25.44 and "
        "50.42; on synthetic people the sets are three groups of people, the middle one drawn in the test's world",
        (
            Cell("none", "interactreid", adapt=""),
            *(Cell(f"Tri-{part}", "interactreid", adapt=part) for part in ("CUHK", "ICFG", "RSTP", "PEDES")),
        ),
    ),
    Study(
        "interactreid-4",
        MARKET,
        "sketch R@1 28.86 without Φ, 37.30 with one hidden layer of 768; below the paper's size "
        "the widths are divided by 8, as the encoders are narrower",
        tuple(_mappings()),
        measure=costs,
    ),
    Study(
        "interactreid-token",
        MARKET,
        "R@1 95.64, R@5 99.76",
        (Cell("InteractReID", "interactreid"),),
        measure=pseudo_words,
    ),
    Study(
        "interactreid-figure3",
        MARKET,
        "a picture; with text the person looked for moves to the front",
        (Cell("InteractReID", "interactreid"),),
        draw=before_and_after,
    ),
    Study("propot-1", CUHK, "R@1 74.89, mAP 67.12", (AS_IT_IS, IRRA, Cell("Propot", "propot"))),
    Study(
        "propot-2",
        "icfg-pedes",
        "R@1 65.12, mAP 42.93; the set has no validation split, so the last epoch counts",
        (AS_IT_IS, IRRA, Cell("Propot", "propot")),
    ),
    Study("propot-3", "rstpreid", "R@1 61.83", (AS_IT_IS, IRRA, Cell("Propot", "propot"))),
    Study(
        "propot-4",
        CUHK,
        "R@1 72.73 for the baseline, 74.89 with all parts",
        tuple(Cell(row, "propot", changes) for row, changes in propot.ROWS.items()),
        measure=costs,
    ),
    Study(
        "propot-5",
        CUHK,
        "R@1 74.89 for adaptive aggregation; learnt weights below sum and mean, and these below it; its "
        "other figures are lost in the text version",
        _kinds(
            "propot",
            "aggregation",
            {
                "apa": "adaptive (APA)",
                "sum": "sum",
                "mean": "mean",
                "mlp": "weights by an MLP",
                "learned": "learnt weights",
            },
        ),
    ),
    Study(
        "propot-figure3",
        CUHK,
        "K is best at 4, Nₐ at 1, Nₑ is flat, λ₁ is best at 0.2 and collapses at 10",
        tuple(Cell(f"{n} = {v:g}", "propot", {key: v}) for n, (key, values) in _WIDTHS.items() for v in values),
        draw=curve("text", "R@1", "propot-figure3", "R@1 (%)"),
    ),
    Study(
        "propot-figure4",
        CUHK,
        "a picture",
        (Cell("baseline", "propot", propot.ROWS["baseline"]), Cell("Propot", "propot")),
        draw=grids("text", ("baseline", "Propot"), "propot-figure4"),
    ),
    Study("vfe-tps-1", CUHK, "R@1 72.47, mAP 64.26", (_RIVAL, *_printed_and_released("VFE-TPS", "vfe_tps"))),
    Study(
        "vfe-tps-2",
        "icfg-pedes",
        "R@1 62.71, mAP 43.08; the set has no validation split, so the last epoch counts",
        (_RIVAL, *_printed_and_released("VFE-TPS", "vfe_tps")),
    ),
    Study(
        "vfe-tps-3",
        "rstpreid",
        "R@1 59.25, mAP 45.96",
        (_RIVAL, *_printed_and_released("VFE-TPS", "vfe_tps")),
    ),
    Study(
        "vfe-tps-4",
        CUHK,
        "149 M parameters at inference; 12 GFLOPs in the paper's count",
        (Cell("VFE-TPS", "vfe_tps"),),
        measure=costs,
    ),
    Study(
        "vfe-tps-5",
        CUHK,
        "R@1 12.61, 24.16, 66.78, 72.47, all at 384×128 by one recipe and eq. (6)-(9); the third row is "
        "what Table 6 calls none, and gives 70.61 there",
        (
            Cell("zero-shot CLIP", "zero_shot", {"image_size": (384, 128)}, "paper"),
            Cell("linear probe", "baseline", _PROBE, "paper"),
            Cell("CLIP fine-tuned (CMPM)", "vfe_tps", vfe_tps.ROWS["none"]),
            Cell("VFE-TPS", "vfe_tps"),
        ),
    ),
    Study(
        "vfe-tps-6",
        CUHK,
        "R@1 70.61, 72.16, 71.61, 72.47",
        tuple(Cell(row, "vfe_tps", changes) for row, changes in vfe_tps.ROWS.items()),
    ),
    Study(
        "vfe-tps-figure5",
        CUHK,
        "gains over no masking, largest for its own; the figures are not in the text",
        _kinds("vfe_tps", "mim", {"off": "none", "mae": "MAE", "simmim": "SimMIM", "text": "TG-MIM"}, {"gvfc": "off"}),
    ),
    Study(
        "vfe-tps-figure6",
        CUHK,
        "mAP is best at 0.5 to 0.6; avgDist grows with the share and is smallest for TG-MIM",
        tuple(
            Cell(f"{name}, share hidden = {share:g}", "vfe_tps", {"mim": kind, "gvfc": "off", "mask_ratio": share})
            for kind, name in (("mae", "MAE"), ("simmim", "SimMIM"), ("text", "TG-MIM"))
            for share in (0.3, 0.4, 0.5, 0.6, 0.7)
        ),
        measure=masks,
        draw=_hidden_shares,
    ),
    Study(
        "vfe-tps-figure7",
        CUHK,
        "the silhouette is highest with IS-GVFC; the figures are not in the text",
        _FIGURE7,
        measure=features,
    ),
    Study(
        "vfe-tps-figure8",
        CUHK,
        "a picture; the people lie apart best with IS-GVFC",
        _FIGURE7,
        measure=features,
        draw=maps,
    ),
    Study(
        "vfe-tps-figure9",
        CUHK,
        "a picture",
        (Cell("without", "vfe_tps", vfe_tps.ROWS["none"]), Cell("VFE-TPS", "vfe_tps")),
        draw=grids("text", ("without", "VFE-TPS"), "vfe-tps-figure9"),
    ),
)

STUDIES: dict[str, Study] = {study.table: study for study in (*_ALL, *OWN_STUDIES)}
"""Name of a table or figure → how it is made, in the papers' order; then ours."""


def study_of(table: str, which: str = "paper", **encoders: str) -> Study:
    """The study of a table with the presets of its rows named. Raises UsageError for an unknown table."""
    if table not in STUDIES:
        raise UsageError(f"there is no table {table!r}; {nearest(table, tuple(STUDIES))}")
    return STUDIES[table].by(which, **encoders)


def command_of(study: Study) -> str:
    """What to type for a table at the paper's size."""
    if study.world:
        return f"python -m descry_lab {study.table} --small" + (f" --start {study.data}" if study.data else "")
    adapt = " --adapt tri-pedes ROOT" if any(c.method == "interactreid" and c.adapt for c in study.cells) else ""
    encoders = " --image-encoder VIT --text-encoder BERT" if any(c.method == "vit_bert" for c in study.cells) else ""
    return f"python -m descry_lab {study.table} --data {study.data} ROOT{adapt} --start CLIP{encoders}"
