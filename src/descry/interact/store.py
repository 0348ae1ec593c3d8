"""Inquiries on disk: one SQLite file beside the gallery, written in whole rounds.

A round is one row of JSON and never changes; the head is a column. The searcher's pictures are kept once each under
their digest, because a replay needs them; deleting an inquiry deletes those that no other inquiry uses, and the freed
pages are overwritten (secure_delete). Each new round adds a line to the account beside the file (`audit.py`) before it
is committed: no search is kept that was not accounted for.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ..audit import Audit
from ..errors import DataError, LimitExceeded, Locked, UsageError, nearest
from ..query import Query, digest
from . import rounds
from .account import ref_of, searched
from .findings import MAX_FINDINGS, About, Finding, now
from .freezing import frozen, thawed
from .rounds import Inquiry, Round
from .schema import VERSION, new_key, prepare

FILE = "inquiries.db"


class InquiryStore:
    """The inquiries of one gallery. Open it where it is used, by one thread; several processes may."""

    def __init__(self, path: str | Path):
        """path: the file, or a folder that holds (or will hold) inquiries.db. Raises DataError for another kind of
        file."""
        path = Path(path)
        self.path = path / FILE if path.is_dir() else path
        try:
            self._db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA temp_store = MEMORY")  # nothing of it goes to a file elsewhere
            version = prepare(self._db, self.path)
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} is not a file of inquiries ({error}); move it away and begin anew") from None
        if version != VERSION:
            raise DataError(f"{self.path} has version {version}; this descry reads version {VERSION}; update descry")
        self.audit = Audit(self.path.parent)
        self._seen: WeakKeyDictionary[Inquiry, str] = WeakKeyDictionary()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def names(self) -> list[str]:
        """All inquiries, oldest first."""
        return [name for (name,) in self._db.execute("SELECT name FROM inquiries ORDER BY id")]

    def save(self, inquiry: Inquiry) -> None:
        """Write what is new, drop what was deleted, move the head: in one transaction.

        Raises UsageError for an inquiry that was deleted or purged since it was loaded: it is not written anew.
        """
        with self._writing():
            before = self._still_there(inquiry)
            moment = now()
            self._db.execute(
                "INSERT INTO inquiries (name, head, last, visited, key, begun, touched) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET head = excluded.head, last = max(last, excluded.last), "
                "visited = excluded.visited, touched = excluded.touched",
                (
                    *(inquiry.name, inquiry.head, inquiry.last, json.dumps(list(inquiry.visited.items()))),
                    *(new_key(), moment, moment),
                ),
            )
            number, key = self._row(inquiry.name)
            known = {n for (n,) in self._db.execute("SELECT number FROM rounds WHERE inquiry = ?", (number,))}
            fresh = [inquiry.rounds[n] for n in sorted(set(inquiry.rounds) - known)]
            if any(made.number <= before for made in fresh):
                raise _gone(f"round {fresh[0].number} of the inquiry {inquiry.name!r}")
            for made in fresh:
                self._insert(number, made)
            gone = [(number, n) for n in known - set(inquiry.rounds)]
            self._db.executemany("DELETE FROM rounds WHERE inquiry = ? AND number = ?", gone)
            if gone:
                self._sweep()
            for made in fresh:
                self.audit.append("search", **searched(key, made))
        self._seen[inquiry] = ref_of(key)

    def load(self, name: str) -> Inquiry:
        """An inquiry as it was saved. Raises UsageError for an unknown name, DataError for a damaged one."""
        number = self._number(name)
        row = self._db.execute("SELECT head, last, visited FROM inquiries WHERE id = ?", (number,)).fetchone()
        rows = self._db.execute("SELECT data FROM rounds WHERE inquiry = ? ORDER BY number", (number,))
        try:
            made = [rounds.from_json(json.loads(data), self.picture) for (data,) in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"inquiry {name!r} in {self.path} is damaged ({error}); delete it or restore a copy"
            ) from None
        found = Inquiry(name, made, row[0], row[1], dict(json.loads(row[2])))
        self._seen[found] = ref_of(self.key(name))
        return found

    def delete(self, name: str) -> None:
        """Remove an inquiry with its rounds, findings, key and the pictures only it used. `purge` also does it for
        good."""
        number = self._number(name)
        with self._writing():
            self._db.execute("DELETE FROM inquiries WHERE id = ?", (number,))
            self._sweep()

    # ------------------------------------------------------------------ what stands beside the rounds

    def about(self, name: str) -> About:
        """Dates and counts of an inquiry. Raises UsageError for an unknown name."""
        number, key = self._row(name)
        row = self._db.execute(
            "SELECT begun, touched, keep_until, (SELECT count(*) FROM rounds WHERE inquiry = id), "
            "(SELECT count(*) FROM findings WHERE inquiry = id) FROM inquiries WHERE id = ?",
            (number,),
        ).fetchone()
        begun, touched, keep_until, rounds_made, findings_kept = row
        return About(name, begun, touched, keep_until, ref_of(key), rounds_made, findings_kept)

    def keep_until(self, name: str, day: date | None) -> None:
        """Set the last day an inquiry is kept (`descry purge --expired` removes it after that), or None for no day."""
        number = self._number(name)
        with self._writing():
            self._db.execute(
                "UPDATE inquiries SET keep_until = ? WHERE id = ?", (day.isoformat() if day else "", number)
            )

    def findings(self, name: str) -> list[Finding]:
        """What was found in an inquiry, by item."""
        columns = "item, verdict, note, round, sha256, at"
        rows = self._db.execute(
            f"SELECT {columns} FROM findings WHERE inquiry = ? ORDER BY item", (self._number(name),)
        )
        return [Finding(*row) for row in rows]

    def find(self, name: str, finding: Finding) -> Finding:
        """Keep a finding, in the place of an earlier one about the same item; as it is kept. LimitExceeded beyond
        500."""
        number = self._number(name)
        kept = replace(finding, at=finding.at or now())
        with self._writing():
            others = self._db.execute(
                "SELECT count(*) FROM findings WHERE inquiry = ? AND item <> ?", (number, kept.item)
            ).fetchone()[0]
            if others >= MAX_FINDINGS:
                raise LimitExceeded(f"the inquiry has {MAX_FINDINGS} findings, the most allowed; remove some")
            row = (kept.item, kept.verdict, kept.note, kept.round, kept.sha256, kept.at)
            self._db.execute("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *row))
        return kept

    def unfind(self, name: str, item: int) -> bool:
        """Remove a finding; whether there was one."""
        number = self._number(name)
        with self._writing():
            gone = self._db.execute("DELETE FROM findings WHERE inquiry = ? AND item = ?", (number, item)).rowcount
        return bool(gone)

    def on_show(self, name: str) -> int:
        """The number of the round on show; 0 before the first."""
        return int(self._db.execute("SELECT head FROM inquiries WHERE id = ?", (self._number(name),)).fetchone()[0])

    def key(self, name: str) -> bytes:
        """The key under which the account commits to what was searched for."""
        return self._row(name)[1]

    def key_of_day(self) -> bytes:
        """The key of today's searches (UTC) that belong to no inquiry."""
        today = now()[:10]
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO days VALUES (?, ?)", (today, new_key()))
            key = self._db.execute("SELECT key FROM days WHERE day = ?", (today,)).fetchone()[0]
        return bytes(key)

    def picture(self, sha256: str) -> Any:
        """The picture of a digest: the bytes of a file, or a PIL image."""
        row = self._db.execute("SELECT kind, data FROM pictures WHERE sha256 = ?", (sha256,)).fetchone()
        if row is None:
            raise DataError(f"{self.path} lacks the picture {sha256[:12]}…; its inquiry cannot be opened")
        return thawed(row[0], row[1])

    def _insert(self, inquiry: int, made: Round) -> None:
        self._keep(made.query)
        data = json.dumps(rounds.to_json(made), ensure_ascii=False, separators=(",", ":"))
        self._db.execute("INSERT INTO rounds (inquiry, number, data) VALUES (?, ?, ?)", (inquiry, made.number, data))

    def _keep(self, query: Query) -> None:
        for part in (*query.sketches, *query.photos):
            kind, data = frozen(part.value)
            self._db.execute("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?)", (digest(part.value), kind, data))

    def _sweep(self) -> None:
        used = set()
        for (data,) in self._db.execute("SELECT data FROM rounds"):
            query = json.loads(data)["query"]
            used |= {row["sha256"] for row in (*query["sketches"], *query["photos"])}
        held = [name for (name,) in self._db.execute("SELECT sha256 FROM pictures")]
        self._db.executemany("DELETE FROM pictures WHERE sha256 = ?", [(name,) for name in held if name not in used])

    def _number(self, name: str) -> int:
        return self._row(name)[0]

    def _still_there(self, inquiry: Inquiry) -> int:
        """The highest round number ever given to it in this file. Raises UsageError for one deleted since it was
        loaded."""
        ref = self._seen.get(inquiry)
        row = self._db.execute("SELECT key, last FROM inquiries WHERE name = ?", (inquiry.name,)).fetchone()
        if ref is not None and (row is None or ref_of(row[0]) != ref):
            raise _gone(f"the inquiry {inquiry.name!r}")
        return int(row[1]) if row and ref is not None else 0

    def _row(self, name: str) -> tuple[int, bytes]:
        row = self._db.execute("SELECT id, key FROM inquiries WHERE name = ?", (name,)).fetchone()
        if row is None:
            names = self.names()
            hint = nearest(name, names) if names else "there is none yet; begin one with descry inquiry new"
            raise UsageError(f"there is no inquiry {name!r}; {hint}")
        return int(row[0]), bytes(row[1])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise Locked(f"{self.path} is being written by another process ({error}); try again") from None
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _gone(what: str) -> UsageError:
    return UsageError(f"{what} has been deleted meanwhile, and is not written anew; load the inquiry again")
