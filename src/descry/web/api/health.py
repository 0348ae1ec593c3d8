"""Alive, ready, numbers for a monitor, and what the page needs to begin."""

from __future__ import annotations

import time
from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from ... import __version__
from ..problems import answer
from ..safety import Safety
from ..shapes import About, Login
from . import REFUSALS, TheDesk

router = APIRouter(tags=["health"], responses=REFUSALS)


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """Alive."""
    return "alive"


@router.get("/readyz", response_class=PlainTextResponse)
async def readyz(desk: TheDesk) -> Response:
    """Whether the model is loaded."""
    return PlainTextResponse("ready" if desk.loaded else "not ready", 200 if desk.loaded else 503)


@router.get("/api/v1/about")
async def about(desk: TheDesk) -> About:
    """Version, limits, and whether this is the demo."""
    return About(
        version=__version__,
        limits=asdict(desk.limits),
        demo=desk.gallery.binding.source == "demo",
        example=desk.example,
    )


@router.get("/api/v1/metrics", response_class=PlainTextResponse)
async def metrics(desk: TheDesk) -> str:
    """Numbers in the format of Prometheus."""
    rows: list[tuple[str, str, dict[str, float]]] = [
        ("descry_up_seconds", "gauge", {"": time.time() - desk.started}),
        ("descry_waiting", "gauge", {"": desk.searches.waiting + desk.pictures.waiting}),
        ("descry_items", "gauge", {"": await desk.do(lambda: len(desk.gallery))}),
        ("descry_rounds_total", "counter", {"": desk.counts["rounds"]}),
        ("descry_round_seconds_total", "counter", {"": desk.counts["round_seconds"]}),
        ("descry_refused_busy_total", "counter", {"": desk.searches.refused + desk.pictures.refused}),
        ("descry_answers_total", "counter", {f'{{status="{s}"}}': n for s, n in sorted(desk.statuses.items())}),
    ]
    lines = [
        line
        for name, kind, values in rows
        for line in (f"# TYPE {name} {kind}", *(f"{name}{k} {v:g}" for k, v in values.items()))
    ]
    return "\n".join(lines) + "\n"


@router.post("/api/v1/login", status_code=204)
async def login(request: Request, body: Login) -> Response:
    """Exchange the code of the opening link, which holds once, for a cookie that scripts of a page cannot read. A
    script's token is taken as well."""
    safety: Safety = request.app.state.safety
    state = safety.tokens.redeem(body.token)
    if state == "ok":
        return Response(status_code=204, headers={"Set-Cookie": safety.cookie()})
    said = {"wrong": "the link was used, or is not one of this server", "expired": "the token has expired"}[state]
    return answer(401, f"token_{state}", f"{said}; open the link that descry serve printed")


@router.post("/api/v1/logout", status_code=204)
async def logout(request: Request) -> Response:
    """Forget the cookie."""
    gone = f"{request.app.state.safety.cookie_name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"
    return Response(status_code=204, headers={"Set-Cookie": gone})
