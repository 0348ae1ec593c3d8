"""Lines that hold one another: number, hash of the line before, own hash; how one is read, and a whole file judged."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UsageError

FIRST = "0" * 64
LIMIT = 1 << 53
"""Numbers of lines stay below it."""
_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"}\n\Z')
_SEAL_BYTES = len(b',"hash":""}\n') + 64
_UNENDED = re.compile(rb',"hash":"[0-9a-f]{64}"}[^\n]\Z')


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


def sealed(row: dict[str, Any]) -> tuple[Line, bytes]:
    """A row ("n", "before" and facts) as a line with its own hash, which is of everything before that hash."""
    body = json.dumps(row, separators=(",", ":")).encode()
    made = Line(row["n"], hashlib.sha256(body).hexdigest())
    return made, body[:-1] + b',"hash":"' + made.hash.encode() + b'"}\n'


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


def spoilt_end(tail: bytes) -> bool:
    """Whether these bytes are a whole line but for its end of line, which was changed: no write was torn there."""
    return _UNENDED.search(tail) is not None


def read_head(head: str) -> tuple[int, str]:
    """ "number:hash", or the hash alone → (number, hash); (0, "") for none. Raises UsageError for another form."""
    number, colon, wanted = head.rpartition(":")
    if head and not (re.fullmatch("[0-9a-f]{64}", wanted) and (number.isdigit() or not colon)):
        raise UsageError(
            f"the head {head!r} was given; write it as exported: the line's number, a colon, 64 hex digits"
        )
    if wanted == FIRST:
        return 0, ""
    return int(number or 0), wanted
