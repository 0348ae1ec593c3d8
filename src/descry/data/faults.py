"""What is wrong with the rows of a table, and how identities are numbered. No file is touched."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from .table import SPLITS, Row, Table

DISTRACTORS = ("-1",)
"""Identities of a gallery that no probe looks for."""


def faults(table: Table) -> list[str]:
    """What is wrong with the rows themselves, one sentence each; no file is touched.

    A photograph listed twice for the same person is none, see `repeated`.
    """
    out: list[str] = []
    if not table.rows:
        return ["it holds no rows at all"]
    splits: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in table.rows:
        splits[row.pid].add(row.split)
        file = row.path or row.sketch
        owners[file].add((row.split, row.pid))
    shared = {pid: s for pid, s in splits.items() if len(s) > 1 and pid not in DISTRACTORS}
    if shared:
        named = ", ".join(f"{pid} ({' and '.join(sorted(s))})" for pid, s in list(shared.items())[:3])
        out.append(f"{len(shared)} identities shared between splits: {named}")
        return out
    torn = {file: who for file, who in owners.items() if len(who) > 1}
    if torn:
        file, who = next(iter(torn.items()))
        out.append(
            f"{len(torn)} files under several identities: {file} under {' and '.join(p for _, p in sorted(who))}"
        )
    return out + _unanswerable(table)


def repeated(table: Table) -> tuple[str, ...]:
    """A note on files listed more than once for the same person (ICFG-PEDES has one); a gallery shows each once."""
    times = Counter((row.path or row.sketch) for row in table.rows)
    twice = [file for file, n in times.items() if n > 1]
    return (f"{len(twice)} files are listed more than once, first {', '.join(twice[:3])}",) if twice else ()


def _unanswerable(table: Table) -> list[str]:
    out = []
    photographed = {(r.split, r.pid) for r in table.rows if r.path and not r.role}
    for split in SPLITS:
        drawn = {r.pid for r in table.rows if r.split == split and (r.sketch or r.role)}
        alone = sorted(pid for pid in drawn if (split, pid) not in photographed)
        if alone:
            out.append(f"{split}: {len(alone)} identities are asked for but have no photograph: {', '.join(alone[:3])}")
    return out


def natural(pid: str) -> tuple[int, int, str]:
    """Sort key: numbers by value, then names."""
    return (0, int(pid), "") if pid.lstrip("-").isdigit() else (1, 0, pid)


def numbered(rows: Iterable[Row]) -> dict[str, int]:
    """Identity as written → 0 … N−1 in natural order; distractors → −1."""
    pids = sorted({r.pid for r in rows} - set(DISTRACTORS), key=natural)
    return {pid: i for i, pid in enumerate(pids)} | dict.fromkeys(DISTRACTORS, -1)
