"""The application: safety around everything, the API, the page's files, one desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.formparsers import MultiPartParser

from .. import __version__
from . import problems
from .api import account, description, health, inquiries, items, jobs, operation_id, rounds
from .desk import Desk
from .safety import Safety, Tokens

STATIC = Path(str(files(__package__).joinpath("static")))
ROUTERS = (
    *(items.galleries_router, jobs.router, items.router, items.footage_router, items.assets_router, inquiries.router),
    *(rounds.router, rounds.marks_router, rounds.questions_router, inquiries.findings_router, account.router),
    *(description.chips_router, description.router, health.router),
)
ABOUT = "Search a gallery of crops by sketch, words and pictures. Results are leads, never identifications."


def create_app(desk: Desk, tokens: Tokens, hosts: Callable[[], frozenset[str]], warm: bool = True) -> Any:
    """The ASGI application. hosts: the names, with port, that this server answers to. warm: load the model at once."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(desk.do(desk.warm)) if warm else None
        yield
        if warming is not None:
            await asyncio.wait([warming])
        await asyncio.to_thread(desk.close)

    app = FastAPI(
        title="descry",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    app.state.desk = desk
    MultiPartParser.spool_max_size = desk.limits.upload_bytes + 65_536  # an upload is never written to a file
    problems.install(app)
    app.state.safety = safety = Safety(app, tokens, hosts, desk.limits, desk.statuses)
    for router in ROUTERS:
        app.include_router(router)
    problems.described(app)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return safety
