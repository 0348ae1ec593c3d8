"""Questions worth asking next, their answers, and whether the person may not be in this gallery at all."""

from __future__ import annotations

from fastapi import APIRouter

from ...errors import UsageError, nearest
from ...interact.questions import vocabulary
from ..desk import Desk
from ..shapes import Absence, Answer, QuestionOut, Questions, RoundOut
from .depends import REFUSALS, InquiryId, TheDesk
from .marks import begun
from .rounds import view

router = APIRouter(prefix="/api/v1/inquiries/{inquiry}", tags=["questions"], responses=REFUSALS)


def _next(desk: Desk, inquiry: str) -> Questions:
    session = desk.session(inquiry)
    current = session.inquiry.current
    if current is None or not current.results or "text" not in session.model.answers:
        return Questions(question=None, asked=dict(current.asked) if current else {})
    ranked = desk.ranking(inquiry, current.number)
    if ranked is None or current.snapshot != desk.space().snapshot:
        return Questions(question=None, asked=dict(current.asked))
    asker = desk.asker()
    found = asker.next(ranked.everything, current.query, current.asked)
    made = QuestionOut(key=found[0][0].key, text=found[0][0].text, phrase=found[0][0].phrase) if found else None
    return Questions(question=made, asked=dict(current.asked), why=asker.why_none)


def _answer(desk: Desk, inquiry: str, body: Answer) -> RoundOut:
    questions = {q.key: q for q in vocabulary()}
    if body.key not in questions:
        raise UsageError(f"there is no question {body.key!r}; {nearest(body.key, list(questions))}")
    return view(desk, inquiry, begun(desk, inquiry, body.parent).answer(questions[body.key], body.answer))


def _absence(desk: Desk, inquiry: str) -> Absence:
    text, calibrated = desk.notice(inquiry)
    return Absence(text=text, calibrated=calibrated)


@router.get("/question")
async def question(desk: TheDesk, inquiry: InquiryId) -> Questions:
    """The question whose answer is expected to narrow the gallery most."""
    return await desk.do(_next, desk, inquiry)


@router.post("/answers", status_code=201)
async def answer(desk: TheDesk, inquiry: InquiryId, body: Answer) -> RoundOut:
    """Answer a question: yes and no become chips, "unknown" (don't know) only a note that it was asked."""
    desk.paced()
    return await desk.do(_answer, desk, inquiry, body)


@router.get("/absence")
async def absence(desk: TheDesk, inquiry: InquiryId) -> Absence:
    """What may be said about whether the person is in this gallery at all."""
    return await desk.do(_absence, desk, inquiry)
