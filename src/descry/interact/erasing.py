"""What a purge removes of inquiries, in the transaction of the purge."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from ..audit import ref_of
from ..safe_files import json_of
from .findings import About
from .rounds import visits, whole
from .store import InquiryStore, pictures_of


def abouts(store: InquiryStore) -> list[About]:
    """All inquiries, oldest first, without their rounds."""
    return [store.about(name) for name in store.names()]


def days_before(store: InquiryStore, day: str) -> int:
    """How many days before this one (ISO) still hold a key for searches outside inquiries."""
    with store._reading():
        return int(store._db.execute("SELECT count(*) FROM days WHERE day < ?", (day,)).fetchone()[0])


def findings_on(store: InquiryStore, refs: Collection[str], items: Collection[int]) -> int:
    """How many findings go with these inquiries and items."""
    with store._reading():
        rows = store._db.execute("SELECT key, item FROM findings JOIN inquiries ON inquiries.id = findings.inquiry")
        return sum(1 for key, item in rows if item in items or ref_of(key) in refs)


def pictures(store: InquiryStore) -> list[tuple[str, Any]]:
    """Every picture that was searched with: (SHA-256, bytes, image or array)."""
    with store._reading():
        return [(sha, store.picture(sha)) for (sha,) in store._db.execute("SELECT sha256 FROM pictures").fetchall()]


def rounds_with(store: InquiryStore, shas: Collection[str]) -> list[tuple[str, int]]:
    """(inquiry, round) of every round asked with one of these pictures, and of those made from it."""
    found: list[tuple[str, int]] = []
    with store._reading():
        for number, name in store._db.execute("SELECT id, name FROM inquiries ORDER BY id").fetchall():
            gone: set[int] = set()
            rows = store._db.execute("SELECT number, data FROM rounds WHERE inquiry = ? ORDER BY number", (number,))
            for n, data in rows:
                if parent_of(n, data) in gone or pictures_of(data) & set(shas):
                    gone.add(n)
            found += [(name, n) for n in sorted(gone)]
    return found


def erase(
    store: InquiryStore, refs: Collection[str], items: Sequence[int], rounds: Sequence[tuple[str, int]], day: str
) -> None:
    """Remove inquiries by their refs, findings by item, rounds as (ref, number), and keys of days before `day` ("" for
    none); all in one transaction. What is gone already does not matter."""
    with store._writing():
        known = {ref_of(key): n for n, key in store._db.execute("SELECT id, key FROM inquiries").fetchall()}
        store._db.executemany("DELETE FROM inquiries WHERE id = ?", [(known[r],) for r in refs if r in known])
        store._db.executemany("DELETE FROM findings WHERE item = ?", [(i,) for i in items])
        store._db.execute("DELETE FROM days WHERE day < ?", (day,))
        for ref in sorted({r for r, _ in rounds} & (set(known) - set(refs))):
            _prune(store, known[ref], {n for r, n in rounds if r == ref})
        store._sweep()


def parent_of(number: int, data: str) -> int:
    """The round from which a stored round was made; 0 where the row is damaged, which then has none."""
    try:
        parent = whole(json_of(data)["parent"])
    except (KeyError, TypeError, ValueError):
        return 0
    return parent if parent < number else 0


def _prune(store: InquiryStore, number: int, gone: set[int]) -> None:
    """Remove rounds of an inquiry; the head goes to the nearest round that stays."""
    db = store._db
    rows = db.execute("SELECT number, data FROM rounds WHERE inquiry = ?", (number,))
    parents = {n: parent_of(n, data) for n, data in rows}
    head, visited = db.execute("SELECT head, visited FROM inquiries WHERE id = ?", (number,)).fetchone()
    while head in gone:
        head = parents.get(head, 0)
    try:
        kept = [(a, b) for a, b in visits(json_of(visited)).items() if a not in gone and b not in gone]
    except (TypeError, ValueError):
        kept = []
    db.executemany("DELETE FROM rounds WHERE inquiry = ? AND number = ?", [(number, n) for n in gone])
    db.execute("UPDATE inquiries SET head = ?, visited = ? WHERE id = ?", (head, json.dumps(kept), number))
