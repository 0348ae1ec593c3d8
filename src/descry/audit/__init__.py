"""The account of a gallery: what was indexed, searched, exported and purged, in lines that can only be added.

Each line of `audit.jsonl` holds its number, the hash of the line before it, and its own hash, so that a line changed,
removed or moved later shows, and where. Whoever rewrites every line up to the end is found out by a *head* (number and
hash of the last line) that was written down elsewhere: each export shows one.

Nothing that was searched for is in it. Pictures, words and results appear as commitments (HMAC-SHA-256) under the
random key of their inquiry; a purge destroys the key, after which nobody can test a guess, and the chain still holds.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DescryError, Locked, UsageError, nearest
from ..gallery import files
from ..gallery.local import OWN, LocalStore
from ..gallery.overview import content_digest
from ..safe_files import open_own, refuse_links
from .chain import FIRST, Chain, Fault, Line, Verdict, last_line, read_head, sealed, spoilt_end

FILE, LOCK = "audit.jsonl", "audit.lock"
KINDS = ("index", "search", "delete", "export", "purge", "mended")
PATIENCE = 10.0


class Audit:
    """The account in a folder. Any number of threads and processes may add to it."""

    def __init__(self, folder: str | Path):
        """folder: of a gallery; or the file itself, to verify one that was exported."""
        folder = Path(folder)
        self.path = folder if folder.is_file() else folder / FILE
        refuse_links(self.path.parent, OWN, "gallery")

    def append(self, what: str, **facts: Any) -> Line:
        """Add a line and wait until it is on the disk. what: one of KINDS. facts: plain values, no text of a searcher.

        Raises DescryError when it cannot be written: what is not accounted for must not be done.
        """
        if what not in KINDS:
            raise UsageError(f"there is no line {what!r} in an account; {nearest(what, KINDS)}")
        try:
            with self._alone() as fd:
                return self._add(fd, what, facts)
        except OSError as error:
            raise DescryError(
                f"the account {self.path} cannot be written ({error.strerror}), so nothing was done; free space or "
                "allow writing, then repeat"
            ) from None

    def head(self) -> str:
        """Number and hash of the last line; "0:" and zeros before the first."""
        if not self.path.is_file():
            return Line(0, FIRST).head
        fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            return last_line(fd)[0].head
        finally:
            os.close(fd)

    def verify(self, head: str = "") -> Verdict:
        """Read every line. head: one that was exported ("number:hash", or the hash alone); its line must be there.

        Raises UsageError for a head of another form.
        """
        number, wanted = read_head(head)
        chain, torn, found = Chain(), False, not wanted
        for raw in self._lines():
            if not raw.endswith(b"\n") and not spoilt_end(raw):
                torn = True
                break
            chain.take(raw if raw.endswith(b"\n") else raw + b"\n")
            found = found or (chain.hash == wanted and number in (0, chain.lines))
        if not found:
            where = "the account ends before it: lines were cut from its end" if number > chain.lines else (
                "the line is not there: the account was cut or written anew"
            )  # fmt: skip
            chain.faults.append(Fault(number or chain.lines + 1, f"has not the hash {wanted[:12]}… exported; {where}"))
        return Verdict(chain.lines, Line(chain.lines, chain.hash).head, tuple(chain.faults), torn)

    def export(self) -> tuple[bytes, str]:
        """All lines, and the head after them; that they were exported is the last one."""
        line = self.append("export", of="audit")
        whole = self.path.read_bytes()
        return whole[: _end_of(whole, line)], line.head

    def holds(self, text: str) -> bool:
        """Whether any line holds this text: a purge looks for its own number before it is written twice."""
        return any(text.encode() in raw for raw in self._lines())

    def _lines(self) -> Iterator[bytes]:
        if self.path.is_file():
            with open(self.path, "rb") as file:
                yield from file

    def _add(self, fd: int, what: str, facts: dict[str, Any]) -> Line:
        last, end, torn = last_line(fd)
        if torn:
            os.ftruncate(fd, end)
            last, end = self._put(fd, end, last, "mended", {"bytes": torn})
        return self._put(fd, end, last, what, facts)[0]

    def _put(self, fd: int, end: int, last: Line, what: str, facts: dict[str, Any]) -> tuple[Line, int]:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = {"n": last.number + 1, "at": at, "what": what, **facts, "before": last.hash}
        made, data = sealed(row)
        if end and not _ended(fd, end):
            data = b"\n" + data
        try:
            files.write_at(fd, end, data)
            files.sync(fd)
        except OSError:
            with suppress(OSError):  # should this fail too, the next writer finds a torn line and mends it
                os.ftruncate(fd, end)
            raise
        if not end:
            files.sync_folder(self.path.parent)
        return made, end + len(data)

    @contextmanager
    def _alone(self) -> Iterator[int]:
        lock = open_own(self.path.with_name(LOCK))
        try:
            until = time.monotonic() + PATIENCE
            while not _locked(lock):
                if time.monotonic() > until:
                    raise Locked(f"the account {self.path} has been held by another process for {PATIENCE:g} s; repeat")
                time.sleep(0.002)
            fd = open_own(self.path)
            try:
                yield fd
            finally:
                os.close(fd)
        finally:
            os.close(lock)


def changed(gallery: Any, of: str, what: str = "index", **counts: int) -> Line:
    """The line for a copy of a whole gallery. of: "merge" (what "index") or "migrate" (what "export")."""
    return Audit(gallery.path).append(what, of=of, **counts, gallery=content(gallery.store))


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


def _ended(fd: int, end: int) -> bool:
    os.lseek(fd, end - 1, os.SEEK_SET)
    return os.read(fd, 1) == b"\n"


def _end_of(whole: bytes, line: Line) -> int:
    mark = f',"hash":"{line.hash}"}}\n'.encode()
    return whole.index(mark) + len(mark)


if sys.platform == "win32":
    import msvcrt

    def _locked(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _locked(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
