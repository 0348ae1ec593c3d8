"""What can be shown of an inquiry afterwards, and how it is removed: report, last day, purge, and the account."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ... import purge, report
from ...gallery.account import Audit, Verdict
from ...query import digest
from ..shapes import AccountOut, InquiryOut, Keep, NewReport, Pending, Purged, PurgePlan, ReportPreview
from . import REFUSALS, InquiryId, TheDesk, queued
from .inquiries import tree

router = APIRouter(prefix="/api/v1", tags=["account"], responses=REFUSALS)
PATIENCE = 300.0
FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind.partition(";")[0]: {} for kind in report.MEDIA.values()},
        "description": "the report as a file; the header X-Account-Head holds the account's head after this export",
    }
}
STAYS = [
    "the account's lines that something was searched, exported and removed; nobody can read from them what",
    "the crops of the gallery",
    "reports that were exported, and copies and backups of the gallery's folder",
]


@router.patch("/inquiries/{inquiry}")
@queued()
def keep(desk: TheDesk, inquiry: InquiryId, body: Keep) -> InquiryOut:
    """Set the last day an inquiry is kept. Nothing is removed by itself: `descry purge --expired` does it."""
    desk.store.keep_until(desk.named(inquiry), body.keep_until)
    return tree(desk, desk.session(inquiry))


# ---------------------------------------------------------------------- the report


@router.get("/inquiries/{inquiry}/report")
@queued(patience=PATIENCE)
def preview(desk: TheDesk, inquiry: InquiryId, blur_others: bool = False, redact_paths: bool = False) -> ReportPreview:
    """What a report would hold. It is not written into the account."""
    name = desk.named(inquiry)
    return ReportPreview(report=report.preview(desk.gallery, desk.store, name, blur_others, redact_paths))


@router.post("/inquiries/{inquiry}/reports", response_class=Response, responses=FILES)
@queued(patience=PATIENCE)
def export(desk: TheDesk, inquiry: InquiryId, body: NewReport) -> Response:
    """The report as a file, and a line in the account that it was made."""
    name = desk.named(inquiry)
    made = report.export(desk.gallery, desk.store, name, body.format, body.blur_others, body.redact_paths)
    headers = {
        "Content-Disposition": f'attachment; filename="report.{body.format}"',
        "X-Account-Head": made.head,
        "Cache-Control": "no-store",
    }
    return Response(made.data, media_type=made.media_type, headers=headers)


# ---------------------------------------------------------------------- purge


@router.get("/inquiries/{inquiry}/purge")
@queued()
def planned(desk: TheDesk, inquiry: InquiryId) -> PurgePlan:
    """What would go for good, and what would stay. Changes nothing."""
    name = desk.named(inquiry)
    chosen = purge.plan(desk.gallery, desk.store, inquiries=[name])
    queries = [made.query for made in desk.store.load(name).rounds.values()]
    assets = sorted({digest(part.value) for query in queries for part in (*query.sketches, *query.photos)})
    about = desk.store.about(name)
    return PurgePlan(
        name=name, rounds=about.rounds, pictures=len(assets), findings=chosen.findings, assets=assets, what_stays=STAYS
    )


@router.delete("/inquiries/{inquiry}", response_model=Purged)
@queued(patience=PATIENCE)
def purged(desk: TheDesk, inquiry: InquiryId) -> purge.Done:
    """Remove an inquiry for good: sketches, words, marks, rounds, findings, its key; no byte of them is left."""
    chosen = purge.plan(desk.gallery, desk.store, inquiries=[desk.named(inquiry)])
    try:
        return purge.run(desk.gallery, desk.store, chosen)
    finally:
        desk.emptied()


@router.get("/purge")
@queued("lookups")
def pending(desk: TheDesk) -> Pending:
    """Whether a purge was interrupted."""
    return Pending(pending=purge.pending(desk.gallery.path))


@router.post("/purge", response_model=Purged | None)
@queued(patience=PATIENCE)
def finish(desk: TheDesk) -> purge.Done | None:
    """Go on with an interrupted purge; null when there is none."""
    try:
        return purge.finish(desk.gallery, desk.store)
    finally:
        desk.emptied()


# ---------------------------------------------------------------------- the account


@router.get("/audit", response_model=AccountOut)
@queued("lookups")
def account(desk: TheDesk, head: Annotated[str, Query(pattern=r"^([0-9]{1,12}:[0-9a-f]{0,64})?$")] = "") -> Verdict:
    """Whether every line of the account is as it was written, also up to a head that was kept elsewhere."""
    found = Audit(desk.gallery.store.database).verify(head)
    return replace(found, faults=found.faults[:100])
