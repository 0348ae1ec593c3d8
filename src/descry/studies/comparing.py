"""`descry compare`: two results on the same queries, measure by measure, with the paired test and what else differs.

All rows are corrected together (Holm): the more rows are compared, the larger a single difference must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import DataError, UsageError, nearest
from .intervals import FLIPS, MEASURES, holm, measures, paired
from .results import ranks_of

SAYS = ("data", "split", "selection", "pretrained_clip")


def compare(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    ways: tuple[str, str] | None = None,
    only: Sequence[str] = ("R@1", "mAP"),
    flips: int = FLIPS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A line for each benchmark, composition and measure that both results have: A minus B, interval, p, p after Holm.

    a, b: as `results.read_results` gives. ways: compare A's queries composed the first way with B's composed the second
    (early, late, pseudo); None compares equal ways. only: measures. A line without values per query has only the
    difference. Raises UsageError for an unknown measure, DataError when there is nothing the two share.
    """
    for name in only:
        if name not in MEASURES:
            raise UsageError(f"there is no measure {name!r}; {nearest(name, MEASURES)}")
    lines = [line for x, y in _pairs(a, b, ways) for line in _lines(x, y, only, flips, seed)]
    tested = [line for line in lines if line["p"] is not None]
    for line, p in zip(tested, holm([line["p"] for line in tested]), strict=True):
        line["p holm"] = p
    return lines


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What else tells the two results apart and may explain a difference, a sentence each."""
    return [f"{key}: A {a.get(key)!r}, B {b.get(key)!r}" for key in SAYS if a.get(key) != b.get(key)]


def _pairs(
    a: Mapping[str, Any], b: Mapping[str, Any], ways: tuple[str, str] | None
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    rows = [{(r["benchmark"], r["composition"], r.get("note", "")): r for r in x["results"]} for x in (a, b)]
    out = []
    for (bench, how, note), row in rows[0].items():
        other = how if ways is None else ways[1]
        if ways is not None and how != ways[0]:
            continue
        if (bench, other, note) in rows[1]:
            out.append((row, rows[1][bench, other, note]))
    if not out:
        held = [sorted({f"{x[0]} {x[1]}".strip() for x in r}) for r in rows]
        raise DataError(f"the results share nothing to compare; A holds {held[0]}, B holds {held[1]}; see --ways")
    for x, y in out:
        if x["data"] != y["data"]:
            raise DataError(
                f"{x['benchmark']}: A and B answered other questions (data {x['data']} and {y['data']}); "
                "evaluate both on the same data set, split and version"
            )
    return out


def _lines(x: dict[str, Any], y: dict[str, Any], only: Sequence[str], flips: int, seed: int) -> list[dict[str, Any]]:
    both = "queries" in x and "queries" in y
    if both:
        (one, whose), (other, again) = ranks_of(x), ranks_of(y)
        if len(whose) != len(again) or (whose != again).any():
            raise DataError(f"{x['benchmark']}: the queries of A and B are in different orders; evaluate both again")
        values = measures(one), measures(other)
    lines = []
    for name in only:
        how = x["composition"] if x["composition"] == y["composition"] else f"{x['composition']} / {y['composition']}"
        line = {"benchmark": x["benchmark"], "composition": how, "note": x.get("note", ""), "measure": name}
        line |= {"A": x[name], "B": y[name], "difference": round(x[name] - y[name], 2)}
        line |= dict.fromkeys(("low", "high", "p", "p holm", "identities"))
        if both:
            line |= asdict(paired(values[0][name], values[1][name], whose, flips, seed=seed))
        lines.append(line)
    return lines
