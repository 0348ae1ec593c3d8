"""The HTTP API under /api/v1: one file per noun. Handlers wait for the desk and shape what comes back.

Here is what they are given.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from ..desk import Desk
from ..shapes import Problem

MANY = 2**53


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(_desk)]
InquiryId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="an inquiry's id")]
RoundNumber = Annotated[int, Path(ge=1, le=MANY, description="a round's number")]
ItemId = Annotated[int, Path(ge=0, le=MANY, description="an item's id")]
GalleryId = Annotated[str, Path(max_length=255, description="a gallery's id")]
Cursor = Annotated[str, Query(pattern="^[0-9]{0,9}$", description="from the page before; empty for the first")]
REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "refused: a problem with a stable code"},
    "5XX": {"model": Problem, "description": "not possible now: a problem with a stable code"},
}
