"""descry compare."""

from __future__ import annotations

import sys
from typing import Any

import tyro

from ..errors import UsageError, nearest
from ..ranking import COMPOSITIONS, SERVED
from .evaluate import table
from .machine import Json, Seed, emit


def compare(
    a: tyro.conf.Positional[str],
    b: tyro.conf.Positional[str],
    /,
    ways: tuple[str, str] | None = None,
    measure: tuple[str, ...] = (),
    json_: Json = False,
    seed: Seed = 0,
) -> int:
    """Two results on the same queries: differences with 95 % intervals and a paired test over identities.

    Args:
        a: a file that descry evaluate wrote with --per-query (with --json: differences only, no test).
        b: another; or the same, to compare two ways of composing.
        ways: compose A's queries in the first way and B's in the second, such as served and early.
        measure: R@1, R@5, R@10, mAP, mINP; may be repeated; if omitted, R@1 and mAP.
        seed: of the exchanges and draws.
    """
    from ..studies.comparing import compare as lines_of
    from ..studies.comparing import differences
    from ..studies.results import read_results

    for way in ways or ():
        if way not in (SERVED, *COMPOSITIONS):
            raise UsageError(f"there is no composition {way!r}; {nearest(way, (SERVED, *COMPOSITIONS))}")
    one, other = read_results(a), read_results(b)
    lines = lines_of(one, other, ways, measure or ("R@1", "mAP"), seed=seed)
    said = differences(one, other)
    value = {"A": a, "B": b, "differences": said, "lines": lines}
    shown = table([_shown(line) for line in lines])
    emit(json_, value, shown, *(f"the two also differ in {sentence}" for sentence in said))
    if json_:
        return 0
    if any(line["p"] is None for line in lines):
        print("lines without p: no values per query were kept; evaluate with --per-query FILE", file=sys.stderr)
    else:
        print(
            "paired sign-flip test over identities, corrected for all lines (Holm): below 0.05, at most 5 % of such "
            "tables claim a difference where there is none",
            file=sys.stderr,
        )
    return 0


def _shown(line: dict[str, Any]) -> dict[str, str]:
    out = {k: str(line[k]) for k in ("benchmark", "composition", "note", "measure") if line[k]}
    out |= {"A": f"{line['A']:.2f}", "B": f"{line['B']:.2f}", "A - B": f"{line['difference']:+.2f}"}
    if line["p"] is not None:
        out |= {"95 %": f"[{line['low']:+.2f}, {line['high']:+.2f}]", "p": f"{line['p']:.4f}"}
        out |= {"p holm": f"{line['p holm']:.4f}", "identities": str(line["identities"])}
    return out
