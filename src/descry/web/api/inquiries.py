"""Inquiries: the tree of rounds, and the place in it."""

from __future__ import annotations

from fastapi import APIRouter

from ...errors import UsageError
from ...interact.rounds import difference
from ..desk import Desk, identity
from ..shapes import Difference, Head, Inquiries, InquiryLine, InquiryOut, NewInquiry, RoundOut, Step
from . import REFUSALS, InquiryId, RoundNumber, TheDesk
from .rounds import view

router = APIRouter(prefix="/api/v1/inquiries", tags=["inquiries"], responses=REFUSALS)


def tree(desk: Desk, number: str) -> InquiryOut:
    """An inquiry with its rounds, children below their parents."""
    inquiry = desk.session(number).inquiry
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
        id=number,
        name=inquiry.name,
        begun=about.begun,
        keep_until=about.keep_until,
        head=inquiry.head,
        undo=bool(current and current.parent),
        redo=inquiry.visited.get(inquiry.head) in inquiry.rounds,
        rounds=steps,
    )


def _move(desk: Desk, number: str, head: Head) -> RoundOut:
    if (head.round is None) == (head.step is None):
        raise UsageError("give either the number of a round or a step, undo or redo")
    session = desk.session(number)
    if head.round is not None:
        made = session.go(desk.round(session, head.round).number)
    else:
        made = session.undo() if head.step == "undo" else session.redo()
    return view(desk, session, made)


@router.get("")
async def inquiries(desk: TheDesk) -> Inquiries:
    """All inquiries of the gallery, oldest first."""

    def work() -> list[InquiryLine]:
        return [
            InquiryLine(id=number, name=name, keep_until=desk.store.about(name).keep_until)
            for number, name in desk.names().items()
        ]

    return Inquiries(inquiries=await desk.do(work))


@router.post("", status_code=201)
async def begin(desk: TheDesk, body: NewInquiry) -> InquiryOut:
    """Begin one. A name that is taken gets a number."""

    def work() -> InquiryOut:
        return tree(desk, identity(desk.begin(body.name.strip()).inquiry.name))

    return await desk.do(work)


@router.get("/{inquiry}")
async def inquiry(desk: TheDesk, inquiry: InquiryId) -> InquiryOut:
    """One inquiry with its rounds."""
    return await desk.do(tree, desk, inquiry)


@router.put("/{inquiry}/head")
async def move(desk: TheDesk, inquiry: InquiryId, head: Head) -> RoundOut:
    """Show another round: undo, redo, or any by number. The next round made begins a branch there."""
    return await desk.do(_move, desk, inquiry, head)


@router.delete("/{inquiry}/rounds/{number}")
async def prune(desk: TheDesk, inquiry: InquiryId, number: RoundNumber) -> InquiryOut:
    """Delete a round and everything made from it."""

    def work() -> InquiryOut:
        session = desk.session(inquiry)
        session.delete(desk.round(session, number).number)
        desk.dropped(inquiry)
        return tree(desk, inquiry)

    return await desk.do(work)
