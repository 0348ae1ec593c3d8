"""Our own tables, in which no paper's figure stands: every method from one CLIP, and ways of training stage 2.

The rows are those of the ledger, in its order. "tests" tables hold one line for a row: the paired comparison of the
mean over its seeds with another row, and the interval over people of that mean.
"""

from __future__ import annotations

from .papers import Column, Table

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

OWN: dict[str, Table] = {
    t.name: t
    for t in (
        Table(
            "comparison",
            "From one CLIP, with one budget",
            tuple(Column(f"text {m}", "text", m) for m in ("R@1", "R@5", "R@10", "mAP", "mINP")) + _R1[1:],
            ours=True,
        ),
        Table(
            "comparison-tests",
            "R@1, mean over seeds, paired by person",
            (_R1[0], *_compared("text"), *_compared("sketch")),
            ours=True,
        ),
        Table(
            "demo-start",
            "Stage 0 from random weights, with one budget (validation)",
            (Column("training loss", "training", "loss"), Column("text R@1", "text", "R@1")),
            ours=True,
        ),
        Table("demo-stage2", "Stage 2 from one stage 1, with one budget (validation)", _R1, ours=True),
        Table(
            "demo-stage2-tests",
            "R@1, mean over seeds, paired by person",
            (*_compared("text"), *_compared("sketch"), *_compared("sketch+text early")),
            ours=True,
        ),
    )
}
