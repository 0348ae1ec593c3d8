"""What goes in and out of the account of an inquiry: findings, report, how long it is kept, what a purge takes."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ..interact.findings import MAX_NOTE
from .shapes import ItemOut, Number, Shape

Verdict = Literal["worth following", "set aside"]


class NewFinding(Shape):
    """What the searcher says of an item: a judgement about a lead, never an identification. round: the one on show."""

    verdict: Verdict
    note: Annotated[str, Field(max_length=MAX_NOTE, examples=["same bag as on Tuesday"])] = ""
    round: Number = 0


class Keep(Shape):
    """keep_until: the last day the inquiry is kept; null for no day."""

    keep_until: date | None


class NewReport(Shape):
    """blur_others: in pictures, everyone not in a finding is blurred. redact_paths: items are named by number."""

    format: Literal["html", "json", "csv"] = "html"
    blur_others: bool = False
    redact_paths: bool = False


# ---------------------------------------------------------------------- out


class FindingOut(BaseModel):
    """item: null when it is not in the gallery any more. changed: its picture is another one than was judged."""

    id: int
    item: ItemOut | None
    changed: bool
    verdict: Verdict
    note: str
    round: int
    at: str


class Findings(BaseModel):
    findings: list[FindingOut]


class ReportPreview(BaseModel):
    """The report as values; nothing is written into the account."""

    report: dict[str, Any]


class PurgePlan(BaseModel):
    """What goes for good with an inquiry. assets: its pictures, of which a page may hold copies. what_stays: what a
    purge does not reach."""

    name: str
    rounds: int
    pictures: int
    findings: int
    assets: list[str]
    what_stays: list[str]


class Purged(BaseModel):
    """What went. head: of the account, after the line that says so."""

    inquiries: int
    items: int
    rounds: int
    findings: int
    head: str


class Pending(BaseModel):
    """Whether a purge was interrupted and has to be finished."""

    pending: bool


class AccountFault(BaseModel):
    line: int
    what: str


class AccountOut(BaseModel):
    """The append-only account of what was indexed, searched, exported and purged. head: "lines:hash"; kept elsewhere
    it shows later whether lines were cut off. torn: the last line is half written, which is mended with the next."""

    lines: int
    head: str
    ok: bool
    torn: bool
    faults: list[AccountFault]
