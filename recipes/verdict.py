"""What the results of a contest say: paired tests between its rows, and the lines of the ledger.

Synthetic people are no evidence of accuracy on real people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from contest import FIRST, Contest, Held, finished

from descry.studies import ledger
from descry.studies.intervals import Paired, holm, intervals, paired
from descry.studies.results import asked_of, ranks_of
from descry_lab.papers import OWN, PART, START

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("R@1", "R@5", "R@10", "mAP", "mINP")


def hits(held: Mapping[int, dict[str, Any]], asked: str) -> tuple[np.ndarray, np.ndarray] | None:
    """R@1 of every query in percent, mean over seeds, and whose each query is; None where it was not asked."""
    rows = [r for h in held.values() for r in h["results"] if asked_of(r) == asked]
    if not rows:
        return None
    read = [ranks_of(r) for r in rows]
    return np.mean([100.0 * (ranks.first == 1) for ranks, _ in read], axis=0), read[0][1]


def tests(contest: Contest, found: Held, asked: str) -> dict[str, dict[str, Paired]]:
    """Row → what it is compared with → paired test over people of the means over seeds. Rows with fewer seeds than
    asked for are left out.
    """
    out: dict[str, dict[str, Paired]] = {}
    whole = {n for n, h in found.items() if n == FIRST or len(h) == len(contest.seeds)}
    for name in (n for n in contest.rows if n in whole):
        for what, other in ((START, FIRST), (PART, contest.rows[name].against)):
            ours, theirs = hits(found[name], asked), hits(found[other], asked) if other in whole else None
            if ours and theirs:
                out.setdefault(name, {})[what] = paired(ours[0], theirs[0], ours[1])
    return out


def differences(held: Contest, ways: Sequence[str] = ("text", "sketch")) -> list[str]:
    """What stands when all seeds are there: R@1 against the start and against the row that is extended."""
    lines = []
    for asked in ways:
        for name, by in tests(held, finished(held), asked).items():
            other = {START: FIRST, PART: held.rows[name].against}
            said = (
                f"{t.difference:+.2f} [{t.low:+.2f}, {t.high:+.2f}], p {t.p:.4f}, to {other[k]}" for k, t in by.items()
            )
            lines.append(f"{name}, {asked} R@1: " + "; ".join(said))
    return lines


def entries(contest: Contest, found: Held, command: str, test_table: str = "") -> Iterator[ledger.Entry]:
    """The lines of the ledger: each row with each seed, and with `test_table` the paired tests of each row."""
    for name, held in found.items():
        for seed, results in held.items():
            yield entry(contest, contest.table, name, seed, results, command)
    columns = OWN[test_table].columns if test_table else ()
    compared = dict.fromkeys(c.asked.removesuffix(f" {START}") for c in columns if c.asked.endswith(START))
    tested = {"text": {}} | {asked: tests(contest, found, asked) for asked in compared}
    for name in tested["text"]:
        line = entry(contest, test_table, name, 0, next(iter(found[name].values())), command)
        settings = {"seeds": list(contest.seeds), "against": contest.rows[name].against, "p": "Holm over the rows"}
        figures, spans = test_figures(found, tested, name)
        yield replace(line, figures=figures, intervals=spans, config=settings, seconds=0.0)


def test_figures(
    found: Held, tested: Mapping[str, Mapping[str, Mapping[str, Paired]]], name: str
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, tuple[float, float]]]]:
    """A row's R@1 over seeds and its paired differences, with intervals; p-values corrected for all rows."""
    hit = hits(found[name], "text")
    assert hit is not None  # every row answers text
    mean = intervals({"R@1": hit[0]}, hit[1])["R@1"]
    figures = {"text": {"R@1": round(mean.mean, 4)}}
    spans = {"text": {"R@1": (round(mean.low, 2), round(mean.high, 2))}}
    for asked, by_row in tested.items():
        for what, t in by_row.get(name, {}).items():
            rivals = [n for n, v in by_row.items() if what in v]
            corrected = dict(zip(rivals, holm([by_row[n][what].p for n in rivals]), strict=True))
            figures[f"{asked} {what}"] = {"R@1": round(t.difference, 4), "p": round(corrected[name], 4)}
            spans[f"{asked} {what}"] = {"R@1": (round(t.low, 2), round(t.high, 2))}
    return figures, spans


def entry(contest: Contest, table: str, name: str, seed: int, held: dict[str, Any], command: str) -> ledger.Entry:
    """One line: a row with one seed."""
    rows, run = held["results"], contest.work if name == FIRST else contest.run(name, seed)
    trained = json.loads((run / "metrics.json").read_text("utf-8")) if name != FIRST else {}
    config = json.loads((run / "config.json").read_text("utf-8"))["config"] if name != FIRST else {}
    mark = json.loads((contest.work / "contest.json").read_text("utf-8"))["start"]
    return ledger.Entry(
        table=table, row=name, scale="small", seed=seed, command=command, commit=ledger.commit(ROOT), at=ledger.now(),
        figures={asked_of(r): {m: round(float(r[m]), 4) for m in SHOWN} for r in rows},
        intervals={asked_of(r): r["intervals"] for r in rows}, split=contest.part,
        selection=trained.get("selection", "nothing (as given)"), data={asked_of(r): r["data"] for r in rows},
        config=config | {"start": mark}, hardware=ledger.hardware(1), seconds=trained.get("seconds", 0.0),
    )  # fmt: skip


def write_down(lines: Iterator[ledger.Entry], path: Path) -> int:
    """Append the lines whose figures the ledger does not hold already; how many there were."""
    known, count = {e.key: e.figures for e in ledger.latest(ledger.read(path))}, 0
    for line in lines:
        if known.get(line.key) != line.figures:
            ledger.append(path, line)
            count += 1
    return count
