"""How a refusal looks: RFC 9457 problem details with a stable code; never a stack trace or a path of this machine."""

from __future__ import annotations

import functools
import logging
from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import DescryError, ImageRejected

log = logging.getLogger("descry.web")

STATUS = {
    "usage": 422,
    "limit_exceeded": 422,
    "data": 503,
    "footage": 410,
    "model_missing": 503,
    "model_refused": 503,
    "index_mismatch": 409,
    "index_corrupt": 503,
    "locked": 423,
    "read_only": 409,
    "store_unavailable": 503,
}
PICTURE = {"format": 415, "too_many_bytes": 413, "missing": 410, "unreadable": 503, "outside": 403, "changed": 409}
PLAIN = {
    "footage": "the footage of this item is not there any more, or cannot be read",
    "data": "something beside the gallery cannot be read; the terminal that runs the server says what",
    "model_missing": "the model of this gallery is not there; the terminal that runs the server says which file",
    "model_refused": "the model of this gallery was refused; the terminal that runs the server says why",
    "index_mismatch": "the gallery was made by another model; the server's terminal has the command that rebuilds it",
    "index_corrupt": "bytes of the gallery have changed; run descry verify in a terminal",
    "read_only": "this gallery is read-only; copy its folder to where you may write, and serve the copy",
    "locked": "another process is writing to the gallery; try again in a moment",
    "store_unavailable": "the store does not answer; try again in a moment",
    "failed": "it could not be done; the terminal that runs the server says why",
}
"""What is said instead of messages that name paths; the whole message goes to the server's log."""
TITLES = {
    400: "Not understood",
    401: "No valid token",
    403: "Not allowed from there",
    404: "Not here",
    405: "Not done this way",
    408: "Too slow",
    409: "Does not fit",
    410: "Gone",
    413: "Too large",
    415: "Not a format that is read",
    421: "Not this host",
    422: "Cannot be meant",
    423: "Locked",
    429: "Too often",
    431: "Too long",
    500: "Failed",
    503: "Not available",
    504: "Took too long",
}


OPEN = ("/healthz", "/readyz", "/api/v1/login")
"""What needs no token."""
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is answered, as its header X-Request-Id says."""


class Refusal(DescryError):
    """A refusal of the server itself: status, stable code, what to do next."""

    def __init__(self, status: int, code: str, message: str, retry_after: int = 0):
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


def answer(
    status: int, code: str, detail: str, hint: str = "", errors: list[Any] | None = None, retry: int = 0
) -> JSONResponse:
    """A refusal as a response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES.get(status, "Failed"),
        "status": status,
        "code": code,
        "detail": detail,
    }
    more = {"request_id": REQUEST_ID.get(), "hint": hint, "errors": errors}
    body |= {name: value for name, value in more.items() if value}
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(retry)} if retry else {})
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def described(app: FastAPI) -> None:
    """Let the OpenAPI description say what refusals look like, and what needs a token. It is made when it is first
    asked for."""
    plain = app.openapi

    @functools.cache
    def openapi() -> dict[str, Any]:
        whole = plain()
        for path, operations in whole["paths"].items():
            for operation in operations.values():
                for key in ("4XX", "5XX"):
                    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                    operation["responses"][key]["content"] = content
                if path in OPEN:
                    operation["security"] = []
        whole["servers"] = [{"url": "/"}]
        whole["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        whole["security"] = [{"token": []}]
        return whole

    app.openapi = openapi  # type: ignore[method-assign]


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""

    async def descry(request: Request, error: Any) -> JSONResponse:
        if isinstance(error, Refusal):
            return answer(error.status, error.code, str(error), retry=error.retry_after)
        if isinstance(error, ImageRejected):
            status = PICTURE.get(error.reason, 422)
            hint = "" if status in (403, 409, 410, 503) else "allowed are PNG, JPEG and WebP"
            return answer(status, error.reason, str(error), hint)
        status = STATUS.get(error.code, 500)
        if error.code in PLAIN or status >= 500:
            log.error("%s: %s", error.code, error)
        return answer(status, error.code, PLAIN.get(error.code, str(error)), retry=1 if status in (423, 503) else 0)

    async def invalid(request: Request, error: Any) -> JSONResponse:
        rows = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()[:20]]
        said = "; ".join(f"{r['where']}: {r['what']}" for r in rows[:3])
        return answer(422, "invalid", said[:500] or "the request is not valid", errors=rows)

    async def http(request: Request, error: Any) -> JSONResponse:
        codes = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
        said = {404: "there is nothing here", 405: f"{request.method} is not done here"}.get(
            error.status_code, error.detail
        )
        made = answer(error.status_code, codes.get(error.status_code, "http"), str(said))
        made.headers.update({k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"})
        return made

    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("unforeseen error", exc_info=error)
        return answer(500, "failed", PLAIN["failed"])

    app.add_exception_handler(DescryError, descry)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)
