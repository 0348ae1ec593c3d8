"""Inquiries: the tree of rounds, the place in it, and what the searcher says of items."""

from __future__ import annotations

from fastapi import APIRouter, Response

from ...errors import ImageRejected, UsageError
from ...gallery.reading import as_indexed
from ...interact.rounds import difference
from ...interact.session import Session
from ...interact.store import Finding
from ..desk import Desk, identity
from ..problems import Refusal
from ..shapes import (
    Difference,
    FindingOut,
    Findings,
    Head,
    Inquiries,
    InquiryLine,
    InquiryOut,
    ItemOut,
    NewFinding,
    NewInquiry,
    RoundOut,
    Step,
)
from . import REFUSALS, InquiryId, ItemId, RoundNumber, TheDesk, queued
from .items import one
from .rounds import view

router = APIRouter(prefix="/api/v1/inquiries", tags=["inquiries"], responses=REFUSALS)
findings_router = APIRouter(prefix="/api/v1/inquiries/{inquiry}/findings", tags=["findings"], responses=REFUSALS)


def tree(desk: Desk, session: Session) -> InquiryOut:
    """An inquiry with its rounds, children below their parents."""
    inquiry = session.inquiry
    about = desk.store.about(inquiry.name)
    steps = [
        Step(
            number=r.number,
            parent=r.parent,
            depth=depth,
            change=r.change,
            first=list(r.ids[:3]),
            difference=Difference(**difference(inquiry.rounds.get(r.parent), r)),
        )
        for depth, r in inquiry.shown()
    ]
    current = inquiry.current
    return InquiryOut(
        id=identity(inquiry.name),
        name=inquiry.name,
        begun=about.begun,
        keep_until=about.keep_until,
        head=inquiry.head,
        undo=bool(current and current.parent),
        redo=inquiry.visited.get(inquiry.head) in inquiry.rounds,
        rounds=steps,
    )


@router.get("")
@queued()
def inquiries(desk: TheDesk) -> Inquiries:
    """All inquiries of the gallery, oldest first."""
    return Inquiries(
        inquiries=[
            InquiryLine(id=number, name=name, keep_until=desk.store.about(name).keep_until)
            for number, name in desk.names().items()
        ]
    )


@router.post("", status_code=201)
@queued()
def begin(desk: TheDesk, body: NewInquiry) -> InquiryOut:
    """Begin one. A name that is taken gets a number."""
    return tree(desk, desk.begin(body.name.strip()))


@router.get("/{inquiry}")
@queued()
def inquiry(desk: TheDesk, inquiry: InquiryId) -> InquiryOut:
    """One inquiry with its rounds."""
    return tree(desk, desk.session(inquiry))


@router.put("/{inquiry}/head")
@queued()
def move(desk: TheDesk, inquiry: InquiryId, head: Head) -> RoundOut:
    """Show another round: undo, redo, or any by number. The next round made begins a branch there."""
    if (head.round is None) == (head.step is None):
        raise UsageError("give either the number of a round or a step, undo or redo")
    session = desk.session(inquiry)
    if head.round is not None:
        made = session.go(desk.round(session, head.round).number)
    else:
        made = session.undo() if head.step == "undo" else session.redo()
    return view(desk, session, made)


@router.delete("/{inquiry}/rounds/{number}")
@queued()
def prune(desk: TheDesk, inquiry: InquiryId, number: RoundNumber) -> InquiryOut:
    """Delete a round and everything made from it."""
    session = desk.session(inquiry)
    session.delete(desk.round(session, number).number)
    return tree(desk, session)


# ---------------------------------------------------------------------- findings


def _told(desk: Desk, kept: list[Finding]) -> list[FindingOut]:
    """What was found as the API tells of it. changed: the picture is not the one that was judged."""
    whole = {item.id: item for item in desk.gallery.items([f.item for f in kept])}
    rows = []
    for f in kept:
        item, changed = whole.get(f.item), False
        if item is not None and f.sha256:
            try:
                changed = item.sha256 != f.sha256 or as_indexed(item) is None
            except ImageRejected as error:
                changed = error.reason == "changed"
        shown = ItemOut.of(item) if item is not None else None
        rows.append(
            FindingOut(id=f.item, item=shown, changed=changed, verdict=f.verdict, note=f.note, round=f.round, at=f.at)  # type: ignore[arg-type]
        )
    return rows


@findings_router.get("")
@queued()
def findings(desk: TheDesk, inquiry: InquiryId) -> Findings:
    """What was found in an inquiry, by item."""
    return Findings(findings=_told(desk, desk.store.findings(desk.named(inquiry))))


@findings_router.put("/{item}")
@queued()
def find(desk: TheDesk, inquiry: InquiryId, item: ItemId, body: NewFinding) -> FindingOut:
    """Say of an item that it is worth following, or set it aside; in place of what was said before."""
    name = desk.named(inquiry)
    found = one(desk, desk.name, item)
    certified = found.sha256
    try:
        as_indexed(found)
    except ImageRejected as error:
        if error.reason not in ("missing", "unreadable"):
            raise
        certified = ""  # nobody can have looked at it
    made = Finding(item, body.verdict, body.note.strip(), body.round, certified)
    return _told(desk, [desk.store.find(name, made)])[0]


@findings_router.delete("/{item}", status_code=204)
@queued()
def unfind(desk: TheDesk, inquiry: InquiryId, item: ItemId) -> Response:
    """Take a finding back."""
    if not desk.store.unfind(desk.named(inquiry), item):
        raise Refusal(404, "not_found", f"the inquiry has no finding on item {item}")
    return Response(status_code=204)
