"""The HTTP API under /api/v1. Handlers wait in a line of the desk, work there, and shape what comes back.

Here is what they are given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from fastapi import Depends, Path, Query, Request
from fastapi.routing import APIRoute

from ..desk import Desk
from ..shapes import Problem

P = ParamSpec("P")
Answer = TypeVar("Answer")
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


def operation_id(route: APIRoute) -> str:
    """The name of an operation in the API's description, as generated clients bear it: `rounds_make`."""
    return "_".join([*map(str, route.tags[:1]), route.name])


def queued(
    line: Literal["searches", "pictures", "lookups"] = "searches", patience: float = 0.0, paced: bool = False
) -> Callable[[Callable[P, Answer]], Callable[P, Awaitable[Answer]]]:
    """Let a handler wait in a line of the desk and run in a worker of it. patience: seconds it may take, else as the
    limits say. paced: it makes a round, which the pace allows or refuses before it waits."""

    def in_line(handler: Callable[P, Answer]) -> Callable[P, Awaitable[Answer]]:
        @wraps(handler)
        async def waits(*args: P.args, **given: P.kwargs) -> Answer:
            desk: Any = given["desk"]
            if paced:
                desk.paced()
            return await getattr(desk, line).do(partial(handler, *args, **given), patience=patience)  # type: ignore[no-any-return]

        return waits

    return in_line
