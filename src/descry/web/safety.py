"""Who may ask at all: decided before anything of a request is parsed.

1. Host must be this server's own name (421), so that a name that is rebound to 127.0.0.1 gets nowhere.
2. A page of another origin may not ask (403): judged by Sec-Fetch-Site where the browser sends it, and by Origin. A
   cookie alone is not enough to change anything; a script without a browser shows its token as a Bearer instead.
3. Everything under /api but the login needs a token that holds (401): a script's as a Bearer, a page's as the cookie of
   this port. The value of a cookie is no Bearer: browsers send it to every port of this machine.
4. Headers may only be so long (431), and nothing that is personal is kept by a browser (no-store). The page's files
   are asked for anew each time (no-cache), so that an update is seen at once; unchanged ones cost a 304.
5. A body may only be so large (413) and take only so long (408); nothing beyond the limit is kept.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser

from ..safe_files import open_own
from .limits import LIMITS, Limits
from .problems import OPEN, REQUEST_ID, Refusal, answer

SAFE = ("GET", "HEAD")
HEADER_BYTES = 16_384
DRAINED = 64_000_000
"""Most bytes of a body that is too large and is still taken, and dropped, before it is refused."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Frame-Options": "DENY",
}


class Safety:
    """The outermost layer of the app (ASGI). hosts: names with port by which this server may be called. statuses:
    counts its answers."""

    def __init__(
        self,
        app: Any,
        tokens: Tokens,
        hosts: Callable[[], frozenset[str]],
        limits: Limits = LIMITS,
        statuses: Counter[int] | None = None,
    ):
        self.app, self.tokens, self.hosts, self.limits = app, tokens, hosts, limits
        self.statuses = Counter() if statuses is None else statuses

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        number, started, renew = secrets.token_hex(8), False, False
        REQUEST_ID.set(number)
        late: list[Refusal] = []
        headers = Headers(scope=scope)

        async def out(message: Any) -> None:
            nonlocal started
            if late and not started:
                return  # what the app makes of a body that was cut off is not sent
            if message["type"] == "http.response.start":
                started = True
                self.statuses[message["status"]] += 1
                told = MutableHeaders(scope=message)
                told.update(HEADERS | {"X-Request-Id": number})
                if renew:
                    told.append("Set-Cookie", self.cookie())
                if scope["path"].startswith("/api"):
                    private = told.get("content-type", "").startswith(("image/", "video/"))
                    told["Cache-Control"] = "private, no-store" if private else "no-store"
                elif scope["path"] not in OPEN:
                    told.setdefault("Cache-Control", "no-cache")
            await send(message)

        try:
            if sum(len(k) + len(v) for k, v in scope["headers"]) > HEADER_BYTES:
                said = f"the headers are too long; at most {HEADER_BYTES:,} bytes are read"
                raise Refusal(431, "headers_too_long", said)
            renew = self.admitted(scope, headers)
            await self.app(scope, self.bounded(scope, headers, receive, late), out)
        except Refusal as refused:
            late[:] = [refused]
        if late and not started:
            refusal = late.pop()
            if refusal.status == 413 and "expect" not in headers:
                await self.drained(receive, headers.get("content-length", ""))
            response = answer(refusal.status, refusal.code, str(refusal))
            if refusal.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
            if refusal.status in (408, 413):
                response.headers["Connection"] = "close"
            await response(scope, receive, out)

    async def drained(self, receive: Any, length: str) -> None:
        """Take a body of a stated length that is too large, keeping nothing: who is still sending reads no answer."""
        left = int(length) if length.isascii() and length.isdecimal() and len(length) < 12 else 0
        if left > DRAINED:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.request_seconds):
                while left > 0:
                    message = await receive()
                    left -= max(1, len(message.get("body", b"")))
                    if not message.get("more_body", False):
                        return

    @property
    def cookie_name(self) -> str:
        """The port is part of it: browsers send a host's cookies to all its ports, and each gallery has a secret of its
        own."""
        return f"descry_{min(self.hosts()).rpartition(':')[2]}"

    def cookie(self) -> str:
        """A Set-Cookie line with a fresh token."""
        age = int(self.tokens.seconds)
        value = self.tokens.make(self.cookie_name)
        return f"{self.cookie_name}={value}; Max-Age={age}; Path=/; HttpOnly; SameSite=Strict"

    def admitted(self, scope: Any, headers: Headers) -> bool:
        """Refuse other hosts and other origins, and who has no token that holds; → whether its cookie should be
        renewed."""
        if len(headers.getlist("host")) != 1 or headers["host"].lower() not in self.hosts():
            raise Refusal(421, "wrong_host", "this server answers only to its own address; open the link it printed")
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        api, safe = scope["path"].startswith("/api"), scope["method"] in SAFE
        elsewhere = site not in (None, "same-origin", "none") and (api or not safe)
        if elsewhere or (origin is not None and origin.lower() != f"http://{headers['host']}".lower()):
            raise Refusal(403, "cross_origin", "only the page of this server may ask")
        kind, _, token = headers.get("authorization", "").partition(" ")
        shown = token.strip() if kind.lower() == "bearer" else None  # by a script; a browser may send other kinds
        if not safe and shown is None and site != "same-origin" and origin is None:
            raise Refusal(
                403, "cross_origin", "where the request comes from is not known; scripts send the token as a Bearer"
            )
        if not api or scope["path"] in OPEN:
            return False
        name = self.cookie_name if shown is None else ""
        given = cookie_parser(headers.get("cookie", "")).get(name, "") if shown is None else shown
        state = self.tokens.check(given, name) if given else "missing"
        if state in ("ok", "old"):
            return state == "old" and shown is None
        said = {
            "missing": "no token was given",
            "wrong": "the token is not one of this server",
            "expired": "the token has expired",
        }
        raise Refusal(401, f"token_{state}", f"{said[state]}; open the link that descry serve printed")

    def bounded(self, scope: Any, headers: Headers, receive: Any, late: list[Refusal]) -> Any:
        """`receive` that counts bytes and time; what it refuses is also put into `late`, as the app may turn it into
        its own."""
        upload = scope["path"] == "/api/v1/assets"
        most = self.limits.upload_bytes + 65536 if upload else self.limits.json_bytes
        length = headers.get("content-length", "0")
        too_large = f"the request is too large; at most {most:,} bytes are read"
        if not length.isdecimal() or len(length) > 18 or int(length) > most:
            raise Refusal(413, "too_many_bytes", too_large)
        seen, whole = 0, False
        end = asyncio.get_running_loop().time() + self.limits.request_seconds

        async def bounded_receive() -> Any:
            nonlocal seen, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                late.append(Refusal(408, "too_slow", "the request did not arrive in time; send it again"))
                raise late[0] from None
            seen += len(message.get("body", b""))
            if seen > most:
                late.append(Refusal(413, "too_many_bytes", too_large))
                raise late[0]
            whole = not message.get("more_body", False)
            return message

        return bounded_receive


# ------------------------------------------------------------------------------------------- tokens


FILE = "page.key"
TOUCH = 300
"""Seconds between two notes that the secret is in use."""
SKEW = 120
"""Seconds that a token may seem to come from the future."""
CODES = 16
"""Links that wait to be opened."""


class Tokens:
    """Makes and checks tokens: a time and a seal made with a secret, so that nothing has to be remembered about them.

    The secret lies beside the gallery, readable by its owner alone, so that an open page survives a restart of the
    server. A secret that came with a received gallery is not used: the file names its own inode, which no giver can
    know. Three things open the API, and none of them stands for another: a token is shown as a Bearer by scripts; a
    cookie's value is bound to the cookie's name, and so to the port; the code of an opening link is exchanged for a
    cookie once.

    secret: 32 bytes. hours: how long one holds. clock: seconds, for tests. file: where the
    secret is kept; its time of change says when it was last used."""

    def __init__(
        self, secret: bytes, hours: float = 12.0, clock: Callable[[], float] = time.time, file: Path | None = None
    ):
        self.secret, self.seconds, self.clock, self.file = secret, hours * 3600, clock, file
        self._touched = -float("inf")
        self._codes: dict[str, float] = {}
        self._guard = threading.Lock()
        self._used()

    @classmethod
    def beside(cls, folder: Path, hours: float = 12.0, clock: Callable[[], float] = time.time) -> Tokens:
        """With the secret of a gallery folder: a new one where there is none, or where it was unused too long."""
        path = folder / FILE
        secret = _kept(path, clock() - hours * 3600, clock() + SKEW)
        if secret:
            return cls(secret, hours, clock, path)
        try:
            path.unlink(missing_ok=True)
            secret = secrets.token_bytes(32)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secret + _place(os.fstat(file.fileno())))
        except OSError:  # a gallery that cannot be written: its pages end with the server
            return cls(secrets.token_bytes(32), hours, clock)
        return cls(secret, hours, clock, path)

    def make(self, use: str = "") -> str:
        """A token that holds from now on. use: the name of a cookie, of which it becomes the value and nothing else."""
        issued = format(int(self.clock()), "x")
        return f"{issued}.{self._seal(issued, use)}"

    def code(self) -> str:
        """A code for one opening link: `redeem` takes it once."""
        code = secrets.token_urlsafe(24)
        with self._guard:
            self._codes[code] = self.clock() + self.seconds
            while len(self._codes) > CODES:
                del self._codes[next(iter(self._codes))]
        return code

    def redeem(self, code: str) -> str:
        """ "ok" for a code that was not used before, or a token that holds; "expired" or "wrong"."""
        with self._guard:
            ends = self._codes.pop(code, None)
        if ends is not None:
            return "ok" if self.clock() <= ends else "expired"
        return "ok" if self.check(code) == "old" else self.check(code)

    def check(self, token: str, use: str = "") -> str:
        """ "ok", "old" (it holds, but should be renewed), "expired" or "wrong". use: as in `make`."""
        issued, _, seal = token.partition(".")
        if len(token) > 200 or not token.isascii() or not hmac.compare_digest(seal, self._seal(issued, use)):
            return "wrong"
        age = self.clock() - int(issued, 16)
        if age > self.seconds or age < -SKEW:
            return "expired"
        self._used()
        return "old" if age > self.seconds / 24 else "ok"

    def _used(self) -> None:
        """Note at the secret, once in some minutes, that it is in use."""
        now = self.clock()
        if self.file is not None and now - self._touched >= TOUCH:
            self._touched = now
            with suppress(OSError):  # purged with the gallery, or kept where nothing can be written
                os.utime(self.file, (now, now))

    def _seal(self, issued: str, use: str) -> str:
        return hmac.new(self.secret, f"{use} {issued}".strip().encode(), sha256).hexdigest()


def _kept(path: Path, since: float, until: float) -> bytes:
    """The secret of a file that this machine wrote, that its owner alone can read and that was in use lately; else
    nothing."""
    try:
        with open(open_own(path, os.O_RDONLY), "rb") as file:
            found, data = os.fstat(file.fileno()), file.read(64)
    except OSError:
        return b""
    private = os.name == "nt" or not stat.S_IMODE(found.st_mode) & 0o077
    whole = len(data) == 48 and data[32:] == _place(found)
    return data[:32] if private and whole and since < found.st_mtime <= until else b""


def _place(found: os.stat_result) -> bytes:
    return (found.st_dev % 2**64).to_bytes(8, "big") + (found.st_ino % 2**64).to_bytes(8, "big")
