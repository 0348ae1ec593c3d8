"""Findings: what the searcher says of an item, kept with the inquiry."""

from __future__ import annotations

from fastapi import APIRouter, Response

from ...errors import ImageRejected
from ...gallery.contract import Item
from ...gallery.reading import as_indexed
from ...interact.store import Finding
from ..desk import Desk
from ..problems import Refusal
from ..shapes import FindingOut, Findings, ItemOut, NewFinding
from . import REFUSALS, InquiryId, ItemId, TheDesk
from .items import one

router = APIRouter(prefix="/api/v1/inquiries/{inquiry}/findings", tags=["findings"], responses=REFUSALS)


def _out(desk: Desk, kept: list[Finding]) -> list[FindingOut]:
    whole = {item.id: item for item in desk.gallery.items([f.item for f in kept])}
    return [
        FindingOut(
            id=f.item,
            item=ItemOut.of(whole[f.item]) if f.item in whole else None,
            changed=bool(f.sha256) and f.item in whole and _changed(whole[f.item], f.sha256),
            verdict=f.verdict,  # type: ignore[arg-type]
            note=f.note,
            round=f.round,
            at=f.at,
        )
        for f in kept
    ]


def _changed(item: Item, sha256: str) -> bool:
    if item.sha256 != sha256:
        return True
    try:
        as_indexed(item)
    except ImageRejected as error:
        return error.reason == "changed"
    return False


def _find(desk: Desk, number: str, item: int, body: NewFinding) -> FindingOut:
    name = desk.named(number)
    found = one(desk, desk.name, item)
    certified = found.sha256
    try:
        as_indexed(found)
    except ImageRejected as error:
        if error.reason not in ("missing", "unreadable"):
            raise
        certified = ""  # nobody can have looked at it
    made = Finding(item, body.verdict, body.note.strip(), body.round, certified)
    return _out(desk, [desk.store.find(name, made)])[0]


def _unfind(desk: Desk, number: str, item: int) -> None:
    if not desk.store.unfind(desk.named(number), item):
        raise Refusal(404, "not_found", f"the inquiry has no finding on item {item}")


@router.get("")
async def findings(desk: TheDesk, inquiry: InquiryId) -> Findings:
    """What was found in an inquiry, by item."""
    return Findings(findings=await desk.do(lambda: _out(desk, desk.store.findings(desk.named(inquiry)))))


@router.put("/{item}")
async def find(desk: TheDesk, inquiry: InquiryId, item: ItemId, body: NewFinding) -> FindingOut:
    """Say of an item that it is worth following, or set it aside; in place of what was said before."""
    return await desk.do(_find, desk, inquiry, item, body)


@router.delete("/{item}", status_code=204)
async def unfind(desk: TheDesk, inquiry: InquiryId, item: ItemId) -> Response:
    """Take a finding back."""
    await desk.do(_unfind, desk, inquiry, item)
    return Response(status_code=204)
