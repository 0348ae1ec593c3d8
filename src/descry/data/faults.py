"""What is wrong with the rows of a table, and how identities are numbered. No file is touched."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from ..errors import nearest
from .table import SPLITS, Row, Table

DISTRACTORS = ("-1",)
"""Identities of a gallery that no probe looks for."""
MAX_DIGITS = 1000
"""An id of more digits is ordered as a name."""


def faults(table: Table) -> list[str]:
    """What is wrong with the rows themselves, one sentence each; no file is touched.

    A photograph listed twice for the same person is none, see `repeated`.
    """
    out: list[str] = []
    if not table.rows:
        return ["it holds no rows at all"]
    splits: dict[str, set[str]] = defaultdict(set)
    owners: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for row in table.rows:
        splits[row.pid].add(row.split)
        file = row.path or row.sketch
        owners[file, row.role if table.instances else ""].add((row.split, row.pid))
    shared = {pid: s for pid, s in splits.items() if len(s) > 1 and pid not in DISTRACTORS}
    if shared:
        named = ", ".join(f"{pid} ({' and '.join(sorted(s))})" for pid, s in list(shared.items())[:3])
        out.append(f"{len(shared)} identities shared between splits: {named}")
        return out
    torn = {file: who for file, who in owners.items() if len(who) > 1}
    if torn:
        (file, _), who = next(iter(torn.items()))
        out.append(
            f"{len(torn)} files under several identities: {file} under {' and '.join(p for _, p in sorted(who))}"
        )
    return out + _contradicted(table) + _nameless(table) + _unresolved(table) + _unanswerable(table)


def _contradicted(table: Table) -> list[str]:
    """Photographs that are listed with two cameras or two tracks: one of them is wrong."""
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in table.rows:
        for name in ("camera", "track") if row.path else ():
            if value := getattr(row, name):
                told[row.path, name].add(value)
    torn = [(path, name, sorted(values)) for (path, name), values in told.items() if len(values) > 1]
    if not torn:
        return []
    path, name, values = torn[0]
    return [f"{len(torn)} photographs are listed with several cameras or tracks: {path} with {name} {values}"]


def _nameless(table: Table) -> list[str]:
    """Distractors that are trained on or asked for: two of them are two unknown people, not one known person."""
    asked = [r for r in table.rows if r.pid in DISTRACTORS and (r.role or r.sketch or r.captions or r.split == "train")]
    if not asked:
        return []
    return [
        f"{len(asked)} rows of people that nobody knows (pid {asked[0].pid}) are asked for or trained on, first "
        f"{asked[0].path or asked[0].sketch}; such a row is a photograph of a gallery alone: give each person an id of "
        "their own, or leave out its role, sketch and captions"
    ]


def _unresolved(table: Table) -> list[str]:
    """Sketches whose `drawn_from` names no photograph, or one of somebody else."""
    shown: dict[str, set[str]] = defaultdict(set)
    for row in table.rows:
        if row.path:
            shown[row.path].add(row.pid)
    drawn = [r for r in table.rows if r.drawn_from]
    lost = [r for r in drawn if r.drawn_from not in shown]
    other = [r for r in drawn if r.drawn_from in shown and r.pid not in shown[r.drawn_from]]
    out = []
    if lost:
        hint = nearest(lost[0].drawn_from, list(shown))
        out.append(
            f"{len(lost)} of {len(drawn)} sketches name a photograph in drawn_from that the table does not hold: "
            f"{lost[0].sketch or lost[0].path} names {lost[0].drawn_from}; {hint}"
        )
    if other:
        first = other[0]
        out.append(
            f"{len(other)} of {len(drawn)} sketches are drawn from a photograph of somebody else: "
            f"{first.sketch or first.path} of {first.pid} names {first.drawn_from}"
        )
    return out


def unlike(table: Table) -> tuple[str, ...]:
    """Notes on what is unknown or written in two ways, and how it is read."""
    out = []
    for what, names in (("people", {r.pid for r in table.rows}), ("cameras", {r.camera for r in table.rows})):
        ways: dict[str, set[str]] = defaultdict(set)
        for name in names:
            ways[_alike(name)].add(name)
        twice = sorted(sorted(held) for held in ways.values() if len(held) > 1)
        if twice:
            out.append(
                f"{len(twice)} {'ids' if what == 'people' else 'names'} are written in several ways and count as "
                f"different {what}: {twice[0]}"
            )
    asked = [r for r in table.rows if r.role]
    blind = sum(not r.camera for r in asked)
    if blind:
        out.append(
            f"{blind} of {len(asked)} query photographs have no camera: none of the person's photographs is ignored "
            "for them"
        )
    return tuple(out)


def _alike(name: str) -> str:
    """What ids and names have in common that are probably meant to be one: 7, 07 and 7.0, A and a, é in two spellings
    of Unicode."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if unicodedata.category(c) != "Cf")
    found = len(plain) <= MAX_DIGITS and re.fullmatch(r"(-?)0*([0-9]+?)(?:\.0+)?", plain)
    return f"{found[1]}{found[2]}" if found else " ".join(plain.split())


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
    """Sort key: numbers by value, then names. No two ids share a key, so no order depends on a set's."""
    number = len(pid) <= MAX_DIGITS and re.fullmatch(r"-?[0-9]+", pid)
    return (0, int(pid), pid) if number else (1, 0, pid)


def numbered(rows: Iterable[Row]) -> dict[str, int]:
    """Identity as written → 0 … N−1 in natural order; distractors → −1."""
    pids = sorted({r.pid for r in rows} - set(DISTRACTORS), key=natural)
    return {pid: i for i, pid in enumerate(pids)} | dict.fromkeys(DISTRACTORS, -1)
