"""The account of a gallery: what was indexed, searched, exported and purged, in lines that can only be added.

Each line holds its number, the hash of the line before it, and its own hash, so `verify` finds a line
that was changed, removed or moved. Lines are in the gallery's database and are committed together with the action they
record. The database also counts them, so lines cut from the end are found too. A *head* (number and hash of the last
line) that was kept elsewhere reveals that every line and the count were rewritten: each export shows a head.

The account does not contain what was searched for. Pictures, words and results appear as commitments (HMAC-SHA-256)
under the random key of their inquiry. A purge destroys the key: after that nobody can test a guess, and the chain can
still be verified.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError, nearest
from ..query import Query
from ..safe_files import address_of, read_regular, refuse_links
from .database import NAME, Database, database_at
from .local import OWN, LocalStore
from .upkeep import content_digest

KINDS = ("index", "search", "delete", "export", "purge")
FIRST = "0" * 64
EXPORTED_BYTES = 1 << 30
"""Most bytes of an exported account that is read."""
KEY = 32
"""Bytes of the random key of an inquiry, or of a day's searches."""
LIMIT = 1 << 53
"""Numbers of lines stay below it."""
_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"}\n\Z')
_SEAL_BYTES = len(b',"hash":""}\n') + 64
_UNENDED = re.compile(rb',"hash":"[0-9a-f]{64}"}[^\n]\Z')
"""A whole line but for its end of line, which was changed: no write was torn there."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was written. head: "number:hash", what an export shows."""

    number: int
    hash: str

    @property
    def head(self) -> str:
        """Number and hash as one word."""
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something `verify` found. line: counted from 1 as the file stands now."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found out. torn: the end of a write that was cut off; harmless, no one was told it was done."""

    lines: int
    head: str
    faults: tuple[Fault, ...] = ()
    torn: bool = False

    @property
    def ok(self) -> bool:
        """Whether every line is as it was written."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"lines": self.lines, "head": self.head, "ok": self.ok, "torn": self.torn} | {
            "faults": [asdict(f) for f in self.faults]
        }


class Chain:
    """Lines taken one after the other; what does not fit becomes a fault, and the next line is judged afresh."""

    def __init__(self) -> None:
        self.lines, self.hash, self.faults = 0, FIRST, list[Fault]()
        self._number, self._before, self._adrift = 1, {FIRST}, False

    def take(self, raw: bytes) -> None:
        """The next line, with its end."""
        self.lines += 1
        number, before, stored, real = _read(raw)
        self.hash = stored or hashlib.sha256(raw).hexdigest()
        if stored is None or stored != real:
            self._fault("was changed after it was written")
            self._number += 1
            self._before = {stored or "", real, hashlib.sha256(raw).hexdigest()}
            self._adrift = True  # two lines in one, when an end of line was changed: the next number may be any
            return
        if self._adrift and number > self._number and before in self._before:
            self._number = number
        if number > self._number:
            self._fault(
                f"bears number {number} where {self._number} should stand: lines before it were removed or moved"
            )
        elif number < self._number:
            self._fault(f"bears number {number} where {self._number} should stand: it was moved, or stands here twice")
        elif before not in self._before and not self._adrift:  # behind a changed line, what it said before is not known
            self._fault("does not continue the line before it: one of the two was replaced")
        self._number, self._before, self._adrift = number + 1, {stored}, False

    def _fault(self, what: str) -> None:
        self.faults.append(Fault(self.lines, what))


def _read(raw: bytes) -> tuple[int, str, str | None, str]:
    """Number, hash of the line before, own hash as stored (None: no line of an account) and as it is.

    A line that anybody can seal may hold anything: what is no number of a line reads as 0.
    """
    seal = _SEAL.search(raw)
    body = raw[:-_SEAL_BYTES] + b"}"
    real = hashlib.sha256(body).hexdigest()
    if seal is None:
        return 0, "", None, real
    try:
        row = json.loads(body)
        number, before = row["n"], row["before"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0, "", seal[1].decode(), real
    if type(number) is not int or not 0 < number < LIMIT or not isinstance(before, str):
        return 0, "", seal[1].decode(), real
    return number, before, seal[1].decode(), real


def read_head(head: str) -> tuple[int, str]:
    """ "number:hash", or the hash alone → (number, hash); (0, "") for none. Raises UsageError for another form."""
    number, colon, wanted = head.rpartition(":")
    if head and not (re.fullmatch("[0-9a-f]{64}", wanted) and (re.fullmatch("[0-9]{1,18}", number) or not colon)):
        raise UsageError(
            f"the head {head!r} was given; write it as exported: the line's number, a colon, 64 hex digits"
        )
    if wanted == FIRST:
        return 0, ""
    return int(number or 0), wanted


class Audit:
    """The account of a gallery, or one that was exported. Any number of threads and processes may add to it."""

    def __init__(self, place: str | Path | Database):
        """place: the folder of a gallery; its open database, whose transaction a line then belongs to; or a file that
        was exported, which can only be verified.
        """
        self.place = place if isinstance(place, Database) else Path(place)
        if isinstance(self.place, Path):
            refuse_links(self.place.parent if self.place.is_file() else self.place, OWN, "gallery")

    @property
    def exported(self) -> bool:
        """Whether this is a file that was exported."""
        return isinstance(self.place, Path) and self.place.is_file()

    @contextmanager
    def _opened(self) -> Iterator[Database]:
        if isinstance(self.place, Database):
            yield self.place
            return
        database = database_at(self.place)
        try:
            yield database
        finally:
            database.close()

    def head(self) -> str:
        """Number and hash of the last line; "0:" and zeros before the first."""
        if self.exported:
            return self.verify().head
        if not self._there:
            return Line(0, FIRST).head
        with self._opened() as database:
            state = database.state()
        return Line(state.lines, state.last or FIRST).head

    def verify(self, head: str = "") -> Verdict:
        """Read every line. head: one that was exported ("number:hash", or the hash alone); its line must be there.

        Raises UsageError for a head of another form.
        """
        number, wanted = read_head(head)
        chain, torn, found = Chain(), False, not wanted
        lines, counted, last = self._lines()
        for raw in lines:
            if self.exported and not raw.endswith(b"\n") and not _UNENDED.search(raw):
                torn = True
                break
            chain.take(raw if raw.endswith(b"\n") else raw + b"\n")
            found = found or (chain.hash == wanted and number in (0, chain.lines))
        if counted > chain.lines:
            chain.faults.append(Fault(chain.lines + 1, f"is missing: the gallery counts {counted} lines"))
        elif not self.exported and not chain.faults and (counted, last) != (chain.lines, chain.hash):
            chain.faults.append(Fault(max(chain.lines, 1), "is not the last line that the gallery wrote"))
        if not found:
            where = "the account ends before it: lines were cut from its end" if number > chain.lines else (
                "the line is not there: the account was cut or written anew"
            )  # fmt: skip
            chain.faults.append(Fault(number or chain.lines + 1, f"has not the hash {wanted[:12]}… exported; {where}"))
        return Verdict(chain.lines, Line(chain.lines, chain.hash).head, tuple(chain.faults), torn)

    def read(self) -> bytes:
        """All lines as they are exported."""
        return b"".join(self._lines()[0])

    def export(self) -> tuple[bytes, str]:
        """All lines, and the head after them; that they were exported is the last one."""
        with self._opened() as database, database.writing():
            line = add_line(database, "export", of="audit")
            return Audit(database).read(), line.head

    @property
    def _there(self) -> bool:
        return isinstance(self.place, Database) or bool(address_of(self.place)) or (self.place / NAME).exists()

    def _lines(self) -> tuple[list[bytes], int, str]:
        """Every line; how many the gallery counts, and the hash of the last one."""
        if self.exported:
            return list(io.BytesIO(read_regular(self.place, EXPORTED_BYTES))), 0, ""  # type: ignore[arg-type]
        if not self._there:
            return [], 0, FIRST
        with self._opened() as database, database.reading() as connection:
            state = database.state()
            rows = connection.execute("SELECT line FROM account ORDER BY number")
            lines = [line if isinstance(line, bytes) else b"no line" for (line,) in rows]
        return lines, state.lines, state.last or FIRST


def content(store: LocalStore) -> dict[str, Any]:
    """What a gallery holds now: its snapshot's name, as lines of searches give it; items; and a digest of them."""
    with store.database.reading():
        state = store.database.state()
        name = f"{store.config['created']} {state.generation}"
        return {"snapshot": name, "items": state.count, "digest": content_digest(store)}


# ----------------------------------------------------------------------------------------------------- what a line says


canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode
"""JSON in one spelling, so that it can be hashed."""


def add_line(database: Database, what: str, **facts: Any) -> Line:
    """Add a line, in the transaction that the database is in, or in one of its own. what: one of KINDS. facts: plain
    values, no text of a searcher.

    Its own hash is of everything before that hash. Raises DescryError when the line cannot be written; the caller must
    then not go on with the action.
    """
    if what not in KINDS:
        raise UsageError(f"there is no line {what!r} in an account; {nearest(what, KINDS)}")
    with database.writing() as change:
        number, at = change.state.lines + 1, datetime.now(UTC).isoformat(timespec="milliseconds")
        row = {"n": number, "at": at, "what": what, **facts, "before": change.state.last or FIRST}
        body = json.dumps(row, separators=(",", ":")).encode()
        line = Line(number, hashlib.sha256(body).hexdigest())
        change.connection.execute(
            "INSERT INTO account VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET line = excluded.line",
            (number, body[:-1] + b',"hash":"' + line.hash.encode() + b'"}\n'),
        )
        change.state.lines, change.state.last = number, line.hash
    return line


def key_of_day(database: Database) -> bytes:
    """The key of today's searches (UTC) that belong to no inquiry.

    All that the account says of them, as of an inquiry under its own key, is committed to under it; when the key is
    gone, nothing can be read from the account any more.
    """
    today = datetime.now(UTC).date().isoformat()
    with database.writing() as change:
        fresh = (today, secrets.token_bytes(KEY))
        change.connection.execute("INSERT INTO days VALUES (?, ?) ON CONFLICT DO NOTHING", fresh)
        found = change.connection.execute("SELECT key FROM days WHERE day = ?", (today,)).fetchone()
    return bytes(found[0])


def commitment(key: bytes, what: str, value: str | bytes) -> str:
    """HMAC-SHA-256 (hex) of a value under an inquiry's key; `what` keeps uses of one key apart."""
    data = value.encode() if isinstance(value, str) else value
    return hmac.new(key, what.encode() + b"\0" + data, hashlib.sha256).hexdigest()


def ref_of(key: bytes) -> str:
    """How the account names an inquiry: the same in all its lines, and nothing without the key."""
    return commitment(key, "inquiry", "")[:32]


def asked(key: bytes, query: Query, results: Sequence[tuple[int, float]], snapshot: str, model: str) -> dict[str, Any]:
    """The facts of a search's line: that it was made, against which rows, by which model; and commitments.

    With the inquiry's key each commitment can be checked against the inquiry: that this picture, these words and this
    ranking are what was searched for and shown. Without it they are noise. results: (item id, score), best first.
    snapshot: names the rows. model: fingerprint.
    """
    said = query.to_json()
    pictures = [row["sha256"] for name in ("sketches", "photos") for row in said[name]]
    return {
        "asked_with": query.kind,
        "pictures": [commitment(key, "picture", sha) for sha in pictures],
        "query": commitment(key, "query", canonical(said)),
        "results": commitment(key, "results", canonical([[i, s] for i, s in results])),
        "shown": len(results),
        "gallery": snapshot,
        "model": model,
    }
