"""Findings: an item worth a closer look or set aside, with a note; and what is known about an inquiry as a whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ..errors import LimitExceeded, UsageError, nearest

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
