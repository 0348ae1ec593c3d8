"""Inquiries on disk: tables of the gallery's database, written in whole rounds.

A round is one row of JSON and never changes; the head is a column. The searcher's pictures are kept once each under
their digest, because a replay needs them; deleting an inquiry deletes those that no other inquiry uses, and the freed
pages are overwritten (secure_delete). Each new round adds a line to the account in the same transaction: no search is
kept that was not accounted for.

Several processes may work at one inquiry in turns. Nobody overwrites what they have not loaded: `save` refuses when
rounds were added or deleted since, and whoever stays long asks `changed` first and loads again.
"""

from __future__ import annotations

import io
import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import DataError, LimitExceeded, Locked, UsageError, nearest
from ..gallery.account import KEY, add_line, asked, ref_of
from ..gallery.database import HEAD, Database, database_at
from ..gallery.local import OWN
from ..query import digest
from ..safe_files import json_of, refuse_links
from . import rounds
from .rounds import Inquiry, Round, text


@dataclass(frozen=True, slots=True)
class _State:
    """An inquiry in the file: its ref, its place, and the rounds it has, by number."""

    ref: str
    head: int
    last: int
    visited: str
    numbers: frozenset[int]


class InquiryStore:
    """The inquiries of one gallery. Everything raises Locked while another process writes for long, and DescryError for
    a full or unwilling disk.
    """

    def __init__(self, place: str | Path | Database):
        """place: a folder that holds (or will hold) a gallery's database, or that database, open. Raises IndexCorrupt
        for another kind of file.
        """
        self._owned = not isinstance(place, Database) or not place.kept
        if not isinstance(place, Database):
            refuse_links(place, OWN, "gallery")
            place = database_at(place, create=not (Path(place) / HEAD).exists())
        self.database, self.path = place, place.path
        self._reading, self._writing = place.reading, place.writing
        self._seen: WeakKeyDictionary[Inquiry, _State] = WeakKeyDictionary()

    @property
    def _db(self) -> sqlite3.Connection:
        return self.database.connection()

    def close(self) -> None:
        """Close the database, unless it is a file that was open before."""
        if self._owned:
            self.database.close()

    def names(self) -> list[str]:
        """All inquiries, oldest first."""
        with self._reading():
            return [name for (name,) in self._db.execute("SELECT name FROM inquiries ORDER BY id")]

    def save(self, inquiry: Inquiry) -> None:
        """Write what is new, drop what was deleted, move the head: in one transaction.

        Raises UsageError for an inquiry or a round that was deleted or purged since it was loaded (it is not written
        anew), and for a new inquiry whose name is taken; Locked when another process added rounds since.
        """
        with self._writing():
            there = self._seen_whole(inquiry)
            fresh = [inquiry.rounds[n] for n in sorted(set(inquiry.rounds) - there.numbers)]
            if not there.numbers and not inquiry.name.strip():
                raise UsageError(f"an inquiry needs a name; got {inquiry.name!r}")
            if fresh and fresh[0].number <= there.last:
                raise _gone(f"round {fresh[0].number} of the inquiry {inquiry.name!r}")
            moment, visited = now(), json.dumps(list(inquiry.visited.items()))
            self._db.execute(
                "INSERT INTO inquiries (name, head, last, visited, key, begun, touched) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET head = excluded.head, last = excluded.last, "
                "visited = excluded.visited, touched = excluded.touched",
                (inquiry.name, inquiry.head, inquiry.last, visited, secrets.token_bytes(KEY), moment, moment),
            )
            number, key = self._row(inquiry.name)
            for made in fresh:
                self._insert(number, made)
            gone = [(number, n) for n in there.numbers - set(inquiry.rounds)]
            self._db.executemany("DELETE FROM rounds WHERE inquiry = ? AND number = ?", gone)
            if gone:
                self._sweep()
            for made in fresh if self.database.kept else ():
                where = {"inquiry": ref_of(key), "round": made.number, "parent": made.parent}
                facts = asked(key, made.query, made.results, made.snapshot, made.model)
                add_line(self.database, "search", **where, **facts)
        if gone:
            self.database.fold()
        self._seen[inquiry] = _State(ref_of(key), inquiry.head, inquiry.last, visited, frozenset(inquiry.rounds))

    def load(self, name: str) -> Inquiry:
        """An inquiry as it was saved. Raises UsageError for an unknown name, DataError for a damaged one."""
        with self._reading():
            number, state = self._number(name), self._state(name)
            assert state is not None
            rows = self._db.execute("SELECT data FROM rounds WHERE inquiry = ? ORDER BY number", (number,))
            try:
                made = [rounds.from_json(json_of(data), self.picture) for (data,) in rows]
                found = Inquiry(name, made, state.head, state.last, rounds.visits(json_of(state.visited)))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, UsageError) as error:
                raise DataError(
                    f"inquiry {name!r} in {self.path} is damaged ({error}); delete it or restore a copy"
                ) from None
        self._seen[found] = state
        return found

    def changed(self, inquiry: Inquiry) -> bool:
        """Whether the file holds it otherwise than it was loaded or saved here: another process continued it."""
        with self._reading():
            return self._state(inquiry.name) != self._seen.get(inquiry)

    def delete(self, name: str) -> None:
        """Remove an inquiry with its rounds, findings, key and the pictures only it used. `purge` also does it for
        good."""
        with self._writing():
            self._db.execute("DELETE FROM inquiries WHERE id = ?", (self._number(name),))
            self._sweep()
        self.database.fold()

    def clear(self) -> None:
        """Remove all inquiries, for a gallery that is being removed."""
        with self._writing():
            for table in ("findings", "rounds", "inquiries", "pictures", "days"):
                self._db.execute(f"DELETE FROM {table}")
        self.database.fold()

    # ------------------------------------------------------------------ what stands beside the rounds

    def about(self, name: str) -> About:
        """Dates and counts of an inquiry. Raises UsageError for an unknown name."""
        with self._reading():
            number, key = self._row(name)
            row = self._db.execute(
                "SELECT begun, touched, keep_until, (SELECT count(*) FROM rounds WHERE inquiry = id), "
                "(SELECT count(*) FROM findings WHERE inquiry = id) FROM inquiries WHERE id = ?",
                (number,),
            ).fetchone()
        begun, touched, keep_until, rounds_made, findings_kept = row
        return About(name, begun, touched, keep_until, ref_of(key), rounds_made, findings_kept)

    def abouts(self) -> list[About]:
        """Those of all inquiries, oldest first."""
        return [self.about(name) for name in self.names()]

    def keep_until(self, name: str, day: date | None) -> None:
        """Set the last day an inquiry is kept (`descry purge --expired` removes it after that), or None for no day."""
        kept = day.isoformat() if day else ""
        with self._writing():
            self._db.execute("UPDATE inquiries SET keep_until = ? WHERE id = ?", (kept, self._number(name)))

    def findings(self, name: str) -> list[Finding]:
        """What was found in an inquiry, by item."""
        columns = "item, verdict, note, round, sha256, at"
        with self._reading():
            number = self._number(name)
            rows = self._db.execute(f"SELECT {columns} FROM findings WHERE inquiry = ? ORDER BY item", (number,))
            return [Finding(*row) for row in rows]

    def find(self, name: str, finding: Finding) -> Finding:
        """Keep a finding, in the place of an earlier one about the same item; as it is kept. LimitExceeded beyond
        500."""
        kept = replace(finding, at=finding.at or now())
        with self._writing():
            number = self._number(name)
            others = self._db.execute(
                "SELECT count(*) FROM findings WHERE inquiry = ? AND item <> ?", (number, kept.item)
            ).fetchone()[0]
            if others >= MAX_FINDINGS:
                raise LimitExceeded(f"the inquiry has {MAX_FINDINGS} findings, the most allowed; remove some")
            row = (kept.item, kept.verdict, kept.note, kept.round, kept.sha256, kept.at)
            self._db.execute(
                "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (inquiry, item) DO UPDATE SET "
                "verdict = excluded.verdict, note = excluded.note, round = excluded.round, sha256 = excluded.sha256, "
                "at = excluded.at",
                (number, *row),
            )
        return kept

    def unfind(self, name: str, item: int) -> bool:
        """Remove a finding; whether there was one."""
        with self._writing():
            number = self._number(name)
            gone = self._db.execute("DELETE FROM findings WHERE inquiry = ? AND item = ?", (number, item)).rowcount
        return bool(gone)

    def on_show(self, name: str) -> int:
        """The number of the round on show; 0 before the first."""
        with self._reading():
            number = self._number(name)
            return int(self._db.execute("SELECT head FROM inquiries WHERE id = ?", (number,)).fetchone()[0])

    def key(self, name: str) -> bytes:
        """The key under which the account commits to what was searched for."""
        with self._reading():
            return self._row(name)[1]

    def picture(self, sha256: str) -> Any:
        """The picture of a digest: the bytes of a file, or a PIL image."""
        with self._reading():
            row = self._db.execute("SELECT kind, data FROM pictures WHERE sha256 = ?", (sha256,)).fetchone()
        if row is None:
            raise DataError(f"{self.path} lacks the picture {sha256[:12]}…; its inquiry cannot be opened")
        made = thawed(row[0], row[1])
        if digest(made) != sha256:
            raise DataError(f"the picture {sha256[:12]}… in {self.path} is another one; its inquiry cannot be opened")
        return made

    def _insert(self, inquiry: int, made: Round) -> None:
        for part in (*made.query.sketches, *made.query.photos):
            kind, picture = frozen(part.value)
            self._db.execute(
                "INSERT INTO pictures VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (digest(part.value), kind, picture)
            )
        data = json.dumps(rounds.to_json(made), ensure_ascii=False, separators=(",", ":"))
        self._db.execute("INSERT INTO rounds (inquiry, number, data) VALUES (?, ?, ?)", (inquiry, made.number, data))

    def _sweep(self) -> None:
        used = {sha for (data,) in self._db.execute("SELECT data FROM rounds") for sha in pictures_of(data)}
        held = [name for (name,) in self._db.execute("SELECT sha256 FROM pictures")]
        self._db.executemany("DELETE FROM pictures WHERE sha256 = ?", [(name,) for name in held if name not in used])

    def _number(self, name: str) -> int:
        return self._row(name)[0]

    def _state(self, name: str) -> _State | None:
        row = self._db.execute("SELECT id, key, head, last, visited FROM inquiries WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        number, key, head, last, visited = row
        numbers = self._db.execute("SELECT number FROM rounds WHERE inquiry = ?", (number,))
        return _State(ref_of(key), head, last, visited, frozenset(n for (n,) in numbers))

    def _seen_whole(self, inquiry: Inquiry) -> _State:
        """What the file holds of it, none of which is unknown to it. Raises UsageError and Locked as `save`."""
        seen, there = self._seen.get(inquiry), self._state(inquiry.name)
        if seen is None:
            if there is not None:
                raise UsageError(f"there is an inquiry {inquiry.name!r} already; load it, or choose another name")
            return _State("", 0, 0, "", frozenset())
        if there is None or there.ref != seen.ref:
            raise _gone(f"the inquiry {inquiry.name!r}")
        if there.last != seen.last:
            raise Locked(
                f"the inquiry {inquiry.name!r} was changed by another process, which made round {there.last}; nothing "
                "was done and nothing is lost: load the inquiry again, then repeat"
            )
        return there

    def _row(self, name: str) -> tuple[int, bytes]:
        row = self._db.execute("SELECT id, key FROM inquiries WHERE name = ?", (name,)).fetchone()
        if row is None:
            names = self.names()
            hint = nearest(name, names) if names else "there is none yet; begin one with descry inquiry new"
            raise UsageError(f"there is no inquiry {name!r}; {hint}")
        return int(row[0]), bytes(row[1])


def pictures_of(data: str) -> set[str]:
    """The digests of the pictures that a stored round was asked with; none of one that is damaged."""
    try:
        query = json_of(data)["query"]
        return {text(row["sha256"]) for row in (*query["sketches"], *query["photos"])}
    except (KeyError, TypeError, ValueError):
        return set()


def _gone(what: str) -> UsageError:
    return UsageError(f"{what} has been deleted meanwhile, and is not written anew; load the inquiry again")


def frozen(picture: Any) -> tuple[str, bytes]:
    """(kind, bytes): "file" with the bytes of a file, or "image" and "array" as PNG."""
    if isinstance(picture, (str, Path)):
        return "file", Path(picture).read_bytes()
    if isinstance(picture, bytes):
        return "file", picture
    from PIL import Image

    buffer = io.BytesIO()
    kind = "image" if hasattr(picture, "mode") else "array"
    (picture if kind == "image" else Image.fromarray(picture)).save(buffer, "PNG")
    return kind, buffer.getvalue()


def thawed(kind: str, data: bytes) -> Any:
    """What was frozen: the bytes of a file, a PIL image or an array. Raises ImageRejected."""
    if kind == "file":
        return bytes(data)
    if kind not in ("image", "array"):
        raise DataError(f"a kept picture is of the kind {kind[:40]!r}; this version knows file, image and array")
    import numpy as np

    from ..images import kept

    image = kept(bytes(data))
    return image if kind == "image" else np.asarray(image)


# ------------------------------------------------------------------------- findings, and an inquiry as a whole


VERDICTS = ("worth following", "set aside")
MAX_FINDINGS = 500
MAX_NOTE = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """A searcher's verdict on one item. It is a judgement about a lead, never an identification.

    item: its id in the gallery. verdict: one of VERDICTS. round: the one on show when it was said, 0 for unknown.
    sha256: of the picture's file then (hex), so that a later picture under the same id shows. at: UTC, ISO 8601; the
    store fills it in. Raises UsageError for another verdict, LimitExceeded beyond 1,000 characters.
    """

    item: int
    verdict: str
    note: str = ""
    round: int = 0
    sha256: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise UsageError(f"{self.verdict!r} is not a verdict; {nearest(self.verdict, VERDICTS)}")
        if len(self.note) > MAX_NOTE:
            raise LimitExceeded(f"the note has {len(self.note)} characters, allowed are {MAX_NOTE:,}; say it shorter")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class About:
    """An inquiry without its rounds. begun, touched: UTC, ISO 8601 ("" for one begun before descry kept it).

    keep_until: the last day it is kept, as 2027-01-31, or "". ref: how the account (audit) names it; nothing can be
    read from it. rounds, findings: how many.
    """

    name: str
    begun: str
    touched: str
    keep_until: str
    ref: str
    rounds: int
    findings: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def now() -> str:
    """This moment as it is kept: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
