"""Galleries and their facets. One gallery is served at a time; its id is the name of its folder."""

from __future__ import annotations

from fastapi import APIRouter

from ...gallery.contract import from_microseconds
from ..desk import Desk
from ..problems import PLAIN, Refusal
from ..shapes import Count, Facets, Galleries, GalleryOut
from . import REFUSALS, GalleryId, TheDesk

router = APIRouter(prefix="/api/v1/galleries", tags=["galleries"], responses=REFUSALS)
DAY = 86_400_000_000
READ_ONLY = "this gallery is read-only: rounds end with the server, and no line is written to the account"


def checked(desk: Desk, gallery: str) -> None:
    """Raises Refusal 404 for a gallery that is not served here."""
    if gallery != desk.name:
        raise Refusal(404, "not_found", "there is no such gallery here; /api/v1/galleries lists what there is")


def told(desk: Desk) -> GalleryOut:
    """The gallery as the API tells of it."""
    model = desk.gallery.model if desk.loaded else None
    trouble = desk.trouble
    notes = [desk.gallery.note()] if model else []
    notes += [READ_ONLY] if desk.gallery.read_only else []
    return GalleryOut(
        id=desk.name,
        items=len(desk.gallery),
        model=desk.gallery.binding.fingerprint[:12],
        answers=sorted(model.answers) if model else [],
        pretrained=bool(getattr(model, "pretrained", False)),
        note=". ".join(filter(None, notes)),
        read_only=desk.gallery.read_only,
        ready=desk.loaded,
        trouble=PLAIN.get(trouble.code, PLAIN["failed"]) if trouble else "",
        trouble_code=trouble.code if trouble else "",
    )


def counted(desk: Desk) -> Facets:
    """Cameras and days with their counts."""
    with desk.gallery.store.database.reading() as connection:
        cameras = connection.execute(
            "SELECT camera, count(*) FROM items GROUP BY camera ORDER BY camera LIMIT 200"
        ).fetchall()
        days = connection.execute(
            f"SELECT time / {DAY} AS time, count(*) FROM items WHERE time IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT 1000"
        ).fetchall()
        total = connection.execute("SELECT count(*) FROM items").fetchone()[0]
    named = [(str(from_microseconds(day * DAY))[:10], n) for day, n in days]
    return Facets(
        total=total,
        cameras=[Count(name=name, count=n) for name, n in cameras if name],
        days=[Count(name=name, count=n) for name, n in named],
        untimed=total - sum(n for _, n in days),
    )


@router.get("")
async def galleries(desk: TheDesk) -> Galleries:
    """What is served."""
    return Galleries(galleries=[await desk.do(told, desk)])


@router.get("/{gallery}")
async def gallery(desk: TheDesk, gallery: GalleryId) -> GalleryOut:
    """One gallery: how large it is, what its model can be asked, and what must be said beside its results."""
    checked(desk, gallery)
    return await desk.do(told, desk)


@router.get("/{gallery}/facets")
async def facets(desk: TheDesk, gallery: GalleryId) -> Facets:
    """Cameras and days with counts, for the filters."""
    checked(desk, gallery)
    return await desk.do(counted, desk)
