"""What the three papers report, table by table, so that ours can stand beside it. A figure that a paper does not give,
or that its text version lost, is None.

A column names what is asked of a model (a benchmark, and how sketch and words are joined) and the measure read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Figures = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, what is asked ("text", "sketch+text early", "cost", …) and the measure."""

    label: str
    asked: str
    measure: str


@dataclass(frozen=True)
class Table:
    """One table or figure. rows: name → the paper's figures by column; empty where it shows a picture or a curve.

    ours: no paper's figure stands in it.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Figures] = field(default_factory=dict)
    ours: bool = False


def _columns(asked: str, measures: str, label: str = "") -> tuple[Column, ...]:
    return tuple(Column(f"{label} {m}".strip(), asked, m) for m in measures.split())


_FIVE = _columns("sketch", "R@1 R@5 R@10 mAP mINP", "sketch") + _columns(
    "sketch+text early", "R@1 R@5 R@10 mAP mINP", "with text"
)
_THREE = _columns("sketch", "R@1 mAP mINP", "sketch") + _columns("sketch+text early", "R@1 mAP mINP", "with text")
_TEXT = _columns("text", "R@1 R@5 R@10 mAP")
_COST = (Column("million parameters", "cost", "M parameters"), Column("GFLOPs, training", "cost", "training GFLOPs"))
_NONE: Figures = (None,) * 5

_INTERACTREID = (
    Table(
        "interactreid-1",
        "InteractReID, Table I: Market-Sketch-1K",
        _FIVE,
        {
            "DCLNet": (12.24, 29.20, 39.58, 13.45, None, *_NONE),
            "DSCNet": (13.84, 30.55, 40.34, 14.73, None, *_NONE),
            "DEEN": (12.11, 25.44, 30.94, 12.62, None, *_NONE),
            "BDG": (18.10, 38.95, 50.75, 19.61, None, *_NONE),
            "UniReID": (8.65, 19.45, 26.88, 11.16, 7.52, 27.01, 53.97, 67.68, 31.48, 23.33),
            "InteractReID": (37.30, 61.81, 73.80, 39.65, 30.49, 50.42, 79.70, 88.61, 54.98, 46.88),
        },
    ),
    Table(
        "interactreid-2",
        "InteractReID, Table II: PKU-Sketch, mean of ten splits",
        _FIVE,
        {
            "AFLNet": (34.00, 56.30, 72.50, None, None, *_NONE),
            "LMDI": (49.00, 70.40, 80.20, None, None, *_NONE),
            "CDAC": (60.80, 80.60, 88.80, None, None, *_NONE),
            "BDG": (70.00, None, None, 66.37, None, *_NONE),
            "TriReID": (*_NONE, 20.00, 50.00, 64.00, None, None),
            "UniReID": (69.80, 88.60, 95.80, 72.97, 68.25, 91.40, 98.80, 99.80, 91.76, 88.97),
            "CCSC": (86.00, 98.00, 100.0, 83.70, None, *_NONE),
            "DALNet": (90.00, 98.60, 100.0, 86.20, None, *_NONE),
            "InteractReID": (89.00, 98.00, 99.00, 88.90, 85.11, 92.00, 98.60, 99.80, 91.14, 89.69),
        },
    ),
    Table(
        "interactreid-3",
        "InteractReID, Table III: what stage 1 is adapted on (Market-Sketch-1K)",
        _THREE,
        {
            "none": (22.87, 26.80, 18.96, 25.44, 30.45, 22.62),
            "Tri-CUHK": (34.09, 36.08, 25.98, 44.56, 48.65, 39.61),
            "Tri-ICFG": (31.77, 34.53, 25.54, 30.08, 35.53, 27.44),
            "Tri-RSTP": (30.04, 33.09, 23.82, 31.81, 36.34, 27.77),
            "Tri-PEDES": (37.30, 39.65, 30.49, 50.42, 54.98, 46.88),
        },
    ),
    Table(
        "interactreid-4",
        "InteractReID, Table IV: the mapping Φ (Market-Sketch-1K)",
        (Column("million trained", "cost", "M trained"), *_THREE),
        {
            "none": (86.19, 28.86, 30.92, 21.06, 33.84, 39.26, 31.63),
            "linear": (86.46, 34.77, 37.72, 28.40, 45.95, 50.97, 42.48),
            "1 layer, 512": (86.72, 36.29, 39.20, 27.74, 49.24, 53.06, 44.85),
            "1 layer, 768": (86.98, 37.30, 39.65, 30.49, 50.42, 54.98, 46.88),
            "1 layer, 1024": (87.24, 38.31, 40.38, 30.88, 46.79, 51.74, 44.08),
            "2 layers, 512": (86.98, 33.97, 36.91, 28.13, 44.43, 50.12, 42.14),
            "2 layers, 768": (87.57, 37.76, 40.11, 30.94, 46.71, 51.76, 43.97),
            "2 layers, 1024": (88.29, 38.95, 40.90, 31.29, 46.62, 50.54, 42.08),
            "3 layers, 512": (87.24, 29.75, 33.88, 25.72, 44.35, 49.17, 40.82),
            "3 layers, 768": (88.16, 35.19, 37.91, 28.94, 48.06, 52.74, 44.21),
            "3 layers, 1024": (89.34, 34.60, 38.37, 29.54, 45.49, 50.11, 41.78),
        },
    ),
    Table(
        "interactreid-token",
        "InteractReID, §IV: pseudo-word → own sketch (Market-Sketch-1K)",
        _columns("pseudo-word to sketch", "R@1 R@5"),
        {"InteractReID": (95.64, 99.76)},
    ),
    Table("interactreid-figure3", "InteractReID, Figure 3: before and after a text", _THREE),
)

_PROPOT = (
    Table(
        "propot-1",
        "Propot, Table 1: CUHK-PEDES",
        _TEXT,
        {
            "IRRA": (73.38, 89.93, 93.71, 66.13),
            "DCEL": (75.02, 90.89, 94.52, None),
            "Propot": (74.89, 89.90, 94.17, 67.12),
        },
    ),
    Table(
        "propot-2",
        "Propot, Table 2: ICFG-PEDES",
        _TEXT,
        {"IRRA": (63.46, 80.25, 85.82, 38.06), "Propot": (65.12, 81.57, 86.97, 42.93)},
    ),
    Table("propot-3", "Propot, Table 3: RSTPReid", _TEXT, {"Propot": (61.83, 83.45, 89.70, None)}),
    Table(
        "propot-4",
        "Propot, Table 4: components (CUHK-PEDES)",
        _columns("text", "R@1 R@5 R@10") + _COST,
        {
            "baseline": (72.73, 88.91, 93.01, 155.26, 20.266),
            "+IniPt": (73.08, 88.97, 93.19, 155.26, 20.278),
            "+DPP": (74.11, 89.46, 93.57, 203.48, 25.704),
            "+IPP (intra)": (73.83, 89.21, 93.53, 158.41, 23.058),
            "+IPP (inter)": (73.65, 89.42, 93.69, 158.41, 23.058),
            "+IPP": (74.03, 89.47, 93.66, 158.41, 25.838),
            "+DPP+IPP": (74.37, 89.59, 93.88, 206.64, 31.264),
            "+DPP+IPP+MLM": (74.89, 89.90, 94.17, 245.91, 37.353),
        },
    ),
    Table(
        "propot-5",
        "Propot, Table 5: aggregation (CUHK-PEDES; the paper's figures are lost in its text version)",
        _columns("text", "R@1 R@5 R@10"),
        {"adaptive (APA)": (74.89, 89.90, 94.17)},
    ),
    Table("propot-figure3", "Propot, Figure 3: K, Nₐ, Nₑ and λ₁ (CUHK-PEDES)", _columns("text", "R@1")),
    Table("propot-figure4", "Propot, Figure 4: baseline and Propot, query by query", _TEXT),
)

_VFE = (
    Table(
        "vfe-tps-1",
        "VFE-TPS, Table 1: CUHK-PEDES",
        _TEXT,
        {"baseline ViT+BERT": (70.12, 87.96, 92.78, 63.69), "VFE-TPS": (72.47, 88.24, 93.24, 64.26)},
    ),
    Table(
        "vfe-tps-2",
        "VFE-TPS, Table 2: ICFG-PEDES",
        _TEXT,
        {"baseline ViT+BERT": (60.98, 77.65, 83.51, 40.01), "VFE-TPS": (62.71, 78.73, 84.51, 43.08)},
    ),
    Table(
        "vfe-tps-3",
        "VFE-TPS, Table 3: RSTPReid",
        _TEXT,
        {"baseline ViT+BERT": (57.31, 79.98, 87.87, 44.01), "VFE-TPS": (59.25, 81.90, 88.85, 45.96)},
    ),
    Table(
        "vfe-tps-4",
        "VFE-TPS, Table 4: what it costs (the paper's machine is not ours)",
        (
            Column("million parameters", "cost", "M inference"),
            Column("GFLOPs, inference", "cost", "inference GFLOPs"),
            Column("GB in training, 8 rows", "cost", "GB in training"),
        ),
        {"VFE-TPS": (149.0, 12.0, 4.3)},
    ),
    Table(
        "vfe-tps-5",
        "VFE-TPS, Table 5: CLIP as it is, probed, fine-tuned (CUHK-PEDES)",
        _TEXT,
        {
            "zero-shot CLIP": (12.61, 27.08, 35.48, 12.36),
            "linear probe": (24.16, 38.99, 46.69, 21.25),
            "CLIP fine-tuned (CMPM)": (66.78, 85.29, 91.20, 59.68),
            "VFE-TPS": (72.47, 88.24, 93.24, 64.26),
        },
    ),
    Table(
        "vfe-tps-6",
        "VFE-TPS, Table 6: both auxiliary tasks (CUHK-PEDES)",
        _TEXT,
        {
            "none": (70.61, 87.66, 92.32, 63.12),
            "+TG-MIM": (72.16, 88.47, 93.02, 63.99),
            "+IS-GVFC": (71.61, 88.29, 92.85, 64.24),
            "both": (72.47, 88.24, 93.24, 64.26),
        },
    ),
    Table("vfe-tps-figure5", "VFE-TPS, Figure 5: masked image modelling (CUHK-PEDES)", _TEXT),
    Table(
        "vfe-tps-figure6",
        "VFE-TPS, Figure 6: masking ratio (CUHK-PEDES)",
        (*_columns("text", "mAP"), Column("avgDist", "masks", "avgDist")),
    ),
    Table(
        "vfe-tps-figure7",
        "VFE-TPS, Figure 7: calibration of global features (CUHK-PEDES)",
        (*_columns("text", "R@1 mAP"), Column("silhouette", "features", "silhouette")),
    ),
    Table(
        "vfe-tps-figure8",
        "VFE-TPS, Figure 8: features of ten people",
        (Column("silhouette", "features", "silhouette"),),
    ),
    Table("vfe-tps-figure9", "VFE-TPS, Figure 9: without and with both tasks, query by query", _TEXT),
)

TABLES: dict[str, Table] = {t.name: t for t in (*_INTERACTREID, *_PROPOT, *_VFE)}
"""Name → table, in the papers' order."""


START, PART = "− start", "− without"
"""What a row is compared with: the model that all begin with, and the row that it extends or varies."""


def _compared(asked: str) -> tuple[Column, ...]:
    """Columns of the paired tests of one way of asking."""
    return tuple(
        Column(f"{asked} {what}{'' if measure == 'R@1' else ', p'}", f"{asked} {what}", measure)
        for what in (START, PART)
        for measure in ("R@1", "p")
    )


_ASKED = ("text", "sketch", "sketch+text early", "sketch+text late")
_R1 = tuple(Column(f"{asked} R@1", asked, "R@1") for asked in _ASKED)


def _ours(name: str, title: str, columns: tuple[Column, ...]) -> Table:
    return Table(name, title, columns, ours=True)


OWN: dict[str, Table] = {
    t.name: t
    for t in (
        _ours(
            "comparison",
            "From one CLIP, with one budget",
            _columns("text", "R@1 R@5 R@10 mAP mINP", "text") + _R1[1:],
        ),
        _ours(
            "comparison-tests",
            "R@1, mean over seeds, paired by person",
            (_R1[0], *_compared("text"), *_compared("sketch")),
        ),
        _ours(
            "wrong-pairs",
            "Wrong pairs: RDE and its baseline, from one model with one budget",
            _columns("text", "R@1 R@5 R@10 mAP", "text"),
        ),
        _ours(
            "wrong-pairs-tests",
            "R@1, mean over seeds, paired by person",
            (_R1[0], *_compared("text")),
        ),
        _ours(
            "composed",
            "A picture with words: rivals from one model, with one budget (R@1)",
            (
                *(
                    Column(f"{both}, {how}", f"{both} {how}", "R@1")
                    for both in ("photo+text", "sketch+text")
                    for how in ("early", "late", "pseudo")
                ),
                Column("photo+text, k nearest tokens", "photo+text nearest", "R@1"),
            ),
        ),
        _ours(
            "other-domains",
            "Two populations: trained on one, judged on both",
            tuple(Column(f"{m}, {p}", f"text, {p}", m) for p in ("here", "there") for m in ("R@1", "mAP")),
        ),
        _ours(
            "long-texts",
            "Texts beyond what the encoder reads: what becomes of their end",
            _columns("text", "R@1 R@5 R@10 mAP", "text"),
        ),
        _ours(
            "demo-start",
            "Stage 0 from random weights, with one budget (validation)",
            (Column("training loss", "training", "loss"), _R1[0]),
        ),
        _ours("demo-stage2", "Stage 2 from one stage 1, with one budget (validation)", _R1),
        _ours(
            "demo-stage2-tests",
            "R@1, mean over seeds, paired by person",
            (*_compared("text"), *_compared("sketch"), *_compared("sketch+text early")),
        ),
    )
}
