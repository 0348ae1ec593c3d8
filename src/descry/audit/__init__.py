"""The account of a gallery: what was indexed, searched, exported and purged, in lines that can only be added.

Each line holds its number, the hash of the line before it, and its own hash, so that a line changed, removed or moved
later shows, and where. Lines stand in the gallery's database and are committed with the act that they are about; its
state counts them, so that lines cut from the end show too. Whoever rewrites every line and the state is found out by a
*head* (number and hash of the last line) that was written down elsewhere: each export shows one.

Nothing that was searched for is in it. Pictures, words and results appear as commitments (HMAC-SHA-256) under the
random key of their inquiry; a purge destroys the key, after which nobody can test a guess, and the chain still holds.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError, nearest
from ..gallery.database import HEAD, NAME, Database
from ..gallery.local import OWN, LocalStore
from ..gallery.overview import content_digest
from ..safe_files import refuse_links
from .chain import FIRST, Chain, Fault, Line, Verdict, read_head, sealed, spoilt_end

KINDS = ("index", "search", "delete", "export", "purge")


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
        database = Database(self.place, create=not (self.place / HEAD).exists())
        try:
            yield database
        finally:
            database.close()

    def append(self, what: str, **facts: Any) -> Line:
        """Add a line, in the transaction that the database is in, or in one of its own. what: one of KINDS. facts:
        plain values, no text of a searcher.

        Raises DescryError when it cannot be written: what is not accounted for must not be done.
        """
        if what not in KINDS:
            raise UsageError(f"there is no line {what!r} in an account; {nearest(what, KINDS)}")
        with self._opened() as database, database.writing() as change:
            number, at = change.state.lines + 1, datetime.now(UTC).isoformat(timespec="milliseconds")
            line, data = sealed({"n": number, "at": at, "what": what, **facts, "before": change.state.last or FIRST})
            change.connection.execute("INSERT OR REPLACE INTO account VALUES (?, ?)", (number, data))
            change.note(lines=number, last=line.hash)
        return line

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
            if self.exported and not raw.endswith(b"\n") and not spoilt_end(raw):
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
            account = Audit(database)
            line = account.append("export", of="audit")
            return account.read(), line.head

    @property
    def _there(self) -> bool:
        return isinstance(self.place, Database) or (self.place / NAME).exists()

    def _lines(self) -> tuple[list[bytes], int, str]:
        """Every line; how many the gallery counts, and the hash of the last one."""
        if self.exported:
            with open(self.place, "rb") as file:  # type: ignore[arg-type]
                return list(file), 0, ""
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


def commitment(key: bytes, what: str, value: str | bytes) -> str:
    """HMAC-SHA-256 (hex) of a value under an inquiry's key; `what` keeps uses of one key apart."""
    data = value.encode() if isinstance(value, str) else value
    return hmac.new(key, what.encode() + b"\0" + data, hashlib.sha256).hexdigest()
