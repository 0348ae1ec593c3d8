"""Rounds: a query in, leads out; pages of leads by cursor, all of them from the rows the round was ranked among. Marks
and answers make rounds too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Header, Query, Response

from ... import query as asking
from ...errors import UsageError, nearest
from ...gallery.filters import removed_by
from ...gallery.groups import group
from ...interact.absence import readable
from ...interact.questions import Question, read, vocabulary
from ...interact.rounds import Round, difference, marked
from ...interact.session import Session
from ...ranking import ranking_of
from ...search import LEVELS, Heights, fitting_notes, phrase_vectors
from ..desk import Desk, identity
from ..problems import Refusal
from ..shapes import (
    Absence,
    Answer,
    Closest,
    Difference,
    Fits,
    ItemOut,
    Lead,
    Level,
    Mark,
    Marks,
    NewRound,
    PartName,
    PhraseName,
    QuestionOut,
    Questions,
    Results,
    RoundOut,
    Share,
    Why,
)  # fmt: skip
from . import MANY, REFUSALS, Cursor, InquiryId, ItemId, RoundNumber, TheDesk, queued

STORED = "nothing that this round was ranked by is left in the gallery; it is shown as it was stored"
TOLD = 0.75
"""P(yes | item) from which a phrase counts as fulfilled, and below 1 - TOLD as not."""
router = APIRouter(prefix="/api/v1/inquiries/{inquiry}/rounds", tags=["rounds"], responses=REFUSALS)
marks_router = APIRouter(prefix="/api/v1/inquiries/{inquiry}", tags=["marks"], responses=REFUSALS)
questions_router = APIRouter(prefix="/api/v1/inquiries/{inquiry}", tags=["questions"], responses=REFUSALS)


def query_of(desk: Desk, body: NewRound, before: asking.Query) -> asking.Query:
    """The query a body describes; marks that it does not name stay as they were, but for items that it marks the other
    way. UsageError for an item that it likes and unlikes at once.
    """

    f = body.filters
    sketches, photos = (
        [asking.Part(desk.picture(p.asset), p.weight, p.on) for p in rows] for rows in (body.sketches, body.photos)
    )
    wanted, unwanted = (
        [asking.Part(p.text, p.weight, p.on) for p in body.phrases if p.wanted == said] for said in (True, False)
    )
    kept = asking.Query(liked=before.liked, unliked=before.unliked)
    liked, unliked = (tuple(dict.fromkeys(ids or ())) for ids in (body.liked, body.unliked))
    kept = marked(kept, liked, unliked)
    return asking.Query(
        sketches=sketches,
        photos=photos,
        wanted=wanted,
        unwanted=unwanted,
        liked=kept.liked if body.liked is None else liked,
        unliked=kept.unliked if body.unliked is None else unliked,
        closest=before.closest,
        filters=asking.Filters(tuple(f.cameras), f.since, f.until, marked=f.marked),
        as_drawn=body.as_drawn,
    )


def change_of(before: asking.Query, after: asking.Query) -> str:
    """What was done, in a few words, for the history."""
    old, new = before.to_json(), after.to_json()
    said = []
    for name, word in (("sketches", "sketch"), ("photos", "photograph"), ("filters", "filters")):
        said += [f"{word} changed" if old[name] else word] * (old[name] != new[name] and bool(new[name]))
        said += [f"no {word}"] * (bool(old[name]) and not new[name])
    for name, sign in (("wanted", ""), ("unwanted", "NOT ")):
        was, now = ({r["text"] for r in q[name] if r["on"]} for q in (old, new))
        said += [f"{sign}{t}" for t in sorted(now - was)] + [f"without “{sign}{t}”" for t in sorted(was - now)]
    for name, word in (("liked", "liked"), ("unliked", "unliked")):
        more, less = set(new[name]) - set(old[name]), set(old[name]) - set(new[name])
        said += [f"{len(more)} {word}"] * bool(more) + [f"{len(less)} no longer {word}"] * bool(less)
    if not said and old != new:
        said = ["weights changed"]
    return ", ".join(said)[:200] or "again"


def view(desk: Desk, session: Session, made: Round) -> RoundOut:
    """A round as the API tells of it, with its first page."""
    space = desk.space()
    found = desk.ranking(session, made) if made.results else None
    scores = found.everything if found else np.zeros(0)
    heights = Heights.of(scores)
    lines = [heights.score(level) for level in LEVELS] if heights else []
    removed: dict[str, int] = {}
    if not made.results:
        with desk.gallery.store.database.reading() as connection:
            removed = removed_by(connection, made.query.filters, made.query.marks)
    allowed = space.allowed(made.query.filters, made.query.marks)
    then = int(made.snapshot.rsplit(" ", 1)[-1] or 0) if made.snapshot else 0
    newer = 0 if made.snapshot == space.snapshot else max(1, space.rows.generation - then)
    return RoundOut(
        inquiry=identity(session.inquiry.name),
        number=made.number,
        parent=made.parent,
        change=made.change,
        query=made.query.to_json(),
        considered=len(space.ids) if allowed is None else int(allowed.sum()),
        total=len(space.ids),
        levels=[Level(score=score, above=int((scores > score).sum())) for score in lines],
        level=LEVELS.index(heights.usual) if heights else 0,
        difference=Difference(**difference(session.inquiry.rounds.get(made.parent), made)),
        answers=dict(made.asked),
        newer=newer,
        replayable=desk.spaces.get(made.snapshot) is not None,
        removed=removed,
        note=found.note if found else STORED * bool(made.results),
        notes=fitting_notes(desk.gallery.model, made.query, memo=session.memo),
        results=page(desk, session, made, 0, desk.limits.page),
    )


def page(desk: Desk, session: Session, made: Round, start: int, limit: int) -> Results:
    """Leads start + 1 … start + limit. The first are those the round keeps; deeper ones are ranked again. Where nothing
    is left to rank by, those it keeps are all there are, without shares."""
    if not made.results:
        return Results(round=made.number, leads=[], parts=[], cursor="", available=0, snapshot=made.snapshot)
    found = desk.ranking(session, made, start + limit)
    names, parts = merged(found) if found else ([], np.zeros((0, 0)))
    again = found.ids.tolist() if found else []
    where = {i: at for at, i in enumerate(again)}
    kept = dict(made.results)
    ids = [*made.ids, *(i for i in again if i not in kept)]
    whole = {i.id: i for i in desk.gallery.items(ids)}
    here = [i for i in ids if i in whole]
    tracks = np.array([f"{whole[i].camera}\0{whole[i].track}" if whole[i].track else "" for i in here])
    best = group(np.array([whole[i].look for i in here], np.uint64), tracks)
    groups = {i: here[j] for i, j in zip(here, best, strict=True)}
    rows = []
    for rank, item in list(enumerate(ids, 1))[start : start + limit]:
        shares = [round(float(s), 4) for s in parts[:, where[item]]] if item in where else []
        score = kept[item] if item in kept or found is None else float(found.scores[where[item]])
        mark: Literal["like", "unlike", ""] = (
            "like" if item in made.query.liked else "unlike" if item in made.query.unliked else ""
        )
        if item in whole:
            told = ItemOut.of(whole[item])
            rows.append(Lead(rank=rank, item=told, score=round(score, 4), shares=shares, group=groups[item], mark=mark))
    reach = len(ids)
    if found is not None and not found.whole:
        reach = max(len(made.ids), min(desk.limits.depth, found.considered))
    return Results(
        round=made.number,
        leads=rows,
        parts=[PartName(kind=kind, label=label) for kind, label in names],
        cursor="" if start + limit >= reach else str(start + limit),
        available=reach,
        snapshot=made.snapshot,
    )


def merged(found: Any) -> tuple[list[tuple[str, str]], np.ndarray]:
    """The parts of a ranking by (kind, label), each once: a drawing that counts in two compositions is one drawing."""
    names = list(dict.fromkeys(found.names))
    shares = np.zeros((len(names), found.shares.shape[1]))
    np.add.at(shares, [names.index(n) for n in found.names], found.shares)
    return names, shares


@router.post("", status_code=201)
@queued(paced=True)
def make(
    desk: TheDesk,
    inquiry: InquiryId,
    body: NewRound,
    response: Response,
    idempotency_key: Annotated[str, Header(max_length=100)] = "",
) -> RoundOut:
    """Search. The whole query is given each time; the answer is a new round with its first page of leads."""
    asked, key = body.model_dump_json(), (inquiry, idempotency_key)
    if idempotency_key and (done := desk.done.get(key)):
        which, before_asked = done
        if asked != before_asked:
            said = f"round {which} was asked for with this Idempotency-Key and another body; use a new key"
            raise Refusal(422, "key_reused", said)
        session = desk.session(inquiry)
        response.headers["Idempotency-Replayed"] = "true"
        return view(desk, session, desk.round(session, which))
    started = time.perf_counter()
    session = desk.session(inquiry)
    session.space = desk.space()
    parent = desk.round(session, body.parent) if body.parent else session.inquiry.current
    if body.parent == 0:
        raise UsageError("a parent of 0 was given; leave it out for a first round")
    before = parent.query if parent else asking.Query()
    query = query_of(desk, body, before)
    below = parent.number if parent else 0
    # replaced: the round that this one takes the place of; nothing was made from it
    replaced = parent if below == body.replace and not session.inquiry.children(below) else None
    try:
        made = session.ask(
            query, body.change.strip() or change_of(before, query), replaced.parent if replaced else below
        )
    except UsageError as error:
        if "empty" in str(error) or "nothing to rank" in str(error):
            raise Refusal(422, "empty_query", "draw something, say something, or give a picture first") from None
        raise
    if replaced:
        session.delete(replaced.number)
    desk.counts["rounds"] += 1
    desk.counts["round_seconds"] += time.perf_counter() - started
    if idempotency_key:
        desk.done.put(key, (made.number, asked))
    return view(desk, session, made)


@router.get("/{number}")
@queued()
def one(desk: TheDesk, inquiry: InquiryId, number: RoundNumber) -> RoundOut:
    """A round as it was made."""
    session = desk.session(inquiry)
    return view(desk, session, desk.round(session, number))


@router.get("/{number}/results")
@queued()
def results(
    desk: TheDesk,
    inquiry: InquiryId,
    number: RoundNumber,
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Results:
    """A page of leads, best first."""
    session = desk.session(inquiry)
    return page(desk, session, desk.round(session, number), int(cursor or 0), limit)


@router.get("/{number}/fits")
@queued()
def fits(
    desk: TheDesk,
    inquiry: InquiryId,
    number: RoundNumber,
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Fits:
    """For each lead of a page, which phrases it seems to fulfil. No part of the ranking, and no probability."""
    session = desk.session(inquiry)
    made = desk.round(session, number)
    said = [(p.value, True) for p in made.query.wanted if p.on] + [
        (p.value, False) for p in made.query.unwanted if p.on
    ]
    found = page(desk, session, made, int(cursor or 0), limit)
    model = desk.gallery.model
    if not said or not found.leads or "text" not in model.answers:
        return Fits(phrases=[], leads={})
    space = desk.space()
    ranking = ranking_of(model)
    similarity = space.scores(phrase_vectors(model, [text for text, _ in said], ranking))
    yes = read([Question(text, text, text) for text, _ in said], similarity, ranking)
    for row, (_, wanted) in enumerate(said):
        yes[row] = yes[row] if wanted else 1 - yes[row]
    signs = (yes >= TOLD).astype(int) - (yes <= 1 - TOLD).astype(int)
    ids = [lead.item.id for lead in found.leads]
    at = np.searchsorted(space.ids, ids)
    here = [(i, a) for i, a in zip(ids, at.tolist(), strict=True) if a < len(space.ids) and space.ids[a] == i]
    return Fits(
        phrases=[PhraseName(text=text, wanted=wanted) for text, wanted in said],
        leads={i: signs[:, a].tolist() for i, a in here},
    )


@router.get("/{number}/contributions/{item}")
@queued()
def contributions(
    desk: TheDesk,
    inquiry: InquiryId,
    number: RoundNumber,
    item: ItemId,
    against: Annotated[int | None, Query(ge=0, le=2**53, description="another item, to compare with")] = None,
) -> Why:
    """What each part of the query gave to one lead's score, and to another's."""
    session = desk.session(inquiry)
    made = desk.round(session, number)
    found = desk.ranking(session, made, desk.limits.depth) if made.results else None
    ids = found.ids.tolist() if found is not None else []
    for wanted in (item, *([against] if against is not None else [])):
        if found is None or wanted not in ids:
            raise Refusal(404, "not_found", f"item {wanted} is not among the leads of round {number}")
    assert found is not None
    at = ids.index(item)
    names, shares = merged(found)
    other = shares[:, ids.index(against)] if against is not None else None
    order = np.argsort(-np.abs(shares[:, at]), kind="stable")
    parts = [
        Share(
            kind=names[p][0],
            label=names[p][1],
            share=round(float(shares[p, at]), 4),
            against=None if other is None else round(float(other[p]), 4),
        )
        for p in order
    ]
    return Why(item=item, score=round(float(found.scores[at]), 4), rank=at + 1, parts=parts)


# ---------------------------------------------------------------------- marks


def _after(desk: Desk, inquiry: str, parent: int | None, act: Callable[[Session], Round]) -> RoundOut:
    """The round that an act makes over the rows of now, from the round that was looked at: what is marked or answered
    belongs to what was seen, whatever another tab shows meanwhile. Raises Refusal 409 before the first round, 404 for
    one that is gone."""
    session = desk.session(inquiry)
    session.space = desk.space()
    if parent is not None and session.inquiry.head != desk.round(session, parent).number:
        session.go(parent)
    if session.inquiry.current is None:
        raise Refusal(409, "no_round", "the inquiry has no round yet; begin with a sketch, a photograph or words")
    return view(desk, session, act(session))


@marks_router.put("/marks/{item}")
@queued(paced=True)
def mark(desk: TheDesk, inquiry: InquiryId, item: ItemId, body: Mark) -> RoundOut:
    """Like or unlike an item."""
    return _after(desk, inquiry, body.parent, lambda session: session.mark(**{body.mark: [item]}))


@marks_router.delete("/marks/{item}")
@queued(paced=True)
def unmark(
    desk: TheDesk,
    inquiry: InquiryId,
    item: ItemId,
    parent: Annotated[int | None, Query(ge=1, le=MANY, description="the round that was looked at")] = None,
) -> RoundOut:
    """Neither any more."""
    return _after(desk, inquiry, parent, lambda session: session.mark(clear=[item]))


@marks_router.post("/marks", status_code=201)
@queued(paced=True)
def batch(desk: TheDesk, inquiry: InquiryId, body: Marks) -> RoundOut:
    """Many marks in one round."""
    return _after(desk, inquiry, body.parent, lambda session: session.mark(body.like, body.unlike, body.clear))


@marks_router.post("/closest", status_code=201)
@queued(paced=True)
def closest(desk: TheDesk, inquiry: InquiryId, body: Closest) -> RoundOut:
    """Of those shown, this one is the closest."""
    return _after(desk, inquiry, body.parent, lambda session: session.closest(body.item))


# ---------------------------------------------------------------------- questions and absence


@questions_router.get("/question")
@queued()
def question(desk: TheDesk, inquiry: InquiryId) -> Questions:
    """The question whose answer is expected to narrow the gallery most."""
    session = desk.session(inquiry)
    current = session.inquiry.current
    if current is None or not current.results or "text" not in session.model.answers:
        return Questions(question=None, asked=dict(current.asked) if current else {})
    ranked = desk.ranking(session, current)
    if ranked is None or current.snapshot != desk.space().snapshot:
        return Questions(question=None, asked=dict(current.asked))
    asker = desk.asker()
    found = asker.next(ranked.everything, current.query, current.asked)
    made = QuestionOut(key=found[0][0].key, text=found[0][0].text, phrase=found[0][0].phrase) if found else None
    return Questions(question=made, asked=dict(current.asked), why=asker.why_none)


@questions_router.post("/answers", status_code=201)
@queued(paced=True)
def answer(desk: TheDesk, inquiry: InquiryId, body: Answer) -> RoundOut:
    """Answer a question: yes and no become chips, "unknown" (don't know) only a note that it was asked."""
    questions = {q.key: q for q in vocabulary()}
    if body.key not in questions:
        raise UsageError(f"there is no question {body.key!r}; {nearest(body.key, list(questions))}")
    return _after(desk, inquiry, body.parent, lambda session: session.answer(questions[body.key], body.answer))


@questions_router.get("/absence")
@queued()
def absence(desk: TheDesk, inquiry: InquiryId) -> Absence:
    """What may be said about whether the person is in this gallery at all."""
    session = desk.session(inquiry)
    found, fault = readable(desk.gallery.path)
    kind = session.query.kind
    calibrated = kind in found and found[kind].fits(desk.gallery.model)
    return Absence(text=f"uncalibrated: {fault}" if fault else session.notice(found), calibrated=calibrated)
