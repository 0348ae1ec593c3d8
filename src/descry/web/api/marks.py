"""Marks: like, unlike, closest of those shown. Each change makes a round."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from ...interact.session import Session
from ..desk import Desk
from ..problems import Refusal
from ..shapes import Closest, Mark, Marks, RoundOut
from .depends import MANY, REFUSALS, InquiryId, ItemId, TheDesk
from .rounds import view

router = APIRouter(prefix="/api/v1/inquiries/{inquiry}", tags=["marks"], responses=REFUSALS)


def begun(desk: Desk, inquiry: str, parent: int | None = None) -> Session:
    """The session over the rows of now, at the round that was looked at: what is marked or answered belongs to what was
    seen, whatever another tab shows meanwhile. Raises Refusal 409 before the first round, 404 for one that is gone."""
    session = desk.refreshed(inquiry)
    if parent is not None and session.inquiry.head != desk.round(inquiry, parent).number:
        session.go(parent)
    if session.inquiry.current is None:
        raise Refusal(409, "no_round", "the inquiry has no round yet; begin with a sketch, a photograph or words")
    return session


async def _marked(
    desk: Desk, inquiry: str, parent: int | None, like: Any = (), unlike: Any = (), clear: Any = ()
) -> RoundOut:
    desk.paced()
    return await desk.do(lambda: view(desk, inquiry, begun(desk, inquiry, parent).mark(like, unlike, clear)))


@router.put("/marks/{item}")
async def mark(desk: TheDesk, inquiry: InquiryId, item: ItemId, body: Mark) -> RoundOut:
    """Like or unlike an item."""
    return await _marked(desk, inquiry, body.parent, **{body.mark: [item]})


@router.delete("/marks/{item}")
async def unmark(
    desk: TheDesk,
    inquiry: InquiryId,
    item: ItemId,
    parent: Annotated[int | None, Query(ge=1, le=MANY, description="the round that was looked at")] = None,
) -> RoundOut:
    """Neither any more."""
    return await _marked(desk, inquiry, parent, clear=[item])


@router.post("/marks", status_code=201)
async def batch(desk: TheDesk, inquiry: InquiryId, body: Marks) -> RoundOut:
    """Many marks in one round."""
    return await _marked(desk, inquiry, body.parent, body.like, body.unlike, body.clear)


@router.post("/closest", status_code=201)
async def closest(desk: TheDesk, inquiry: InquiryId, body: Closest) -> RoundOut:
    """Of those shown, this one is the closest."""
    desk.paced()
    return await desk.do(lambda: view(desk, inquiry, begun(desk, inquiry, body.parent).closest(body.item)))
