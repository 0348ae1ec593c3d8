"""Two ways to ask the API: a server by its link, and the app in this process, without a network."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from ..errors import DescryError, UsageError


class ServerRefused(DescryError):
    """A server said no: `code` is the API's, `status` its HTTP status."""

    def __init__(self, message: str, code: str, status: int):
        super().__init__(message)
        self.code, self.status = code, status


def _form(data: bytes) -> tuple[bytes, str]:
    """A multipart body with one file."""
    import secrets

    mark = secrets.token_hex(16)
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n\r\n'
    return head.encode() + data + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def _said(status: int, kind: str, attached: str, data: bytes) -> Any:
    """What an answer holds: values of JSON, or the bytes of a file (an attachment, or of a type that is not JSON)."""
    if status == 204 or not data:
        return None
    if attached.startswith("attachment") or "json" not in kind:
        return data
    said = json.loads(data)
    if status >= 400:
        raise ServerRefused(said.get("detail", "refused"), said.get("code", "failed"), status)
    return said


class Http:
    """A server of this machine, by its link. No proxy is asked and no redirect followed: nothing leaves the machine.

    The code of the link is exchanged for a cookie with the first request; a script's token is taken as well.
    """

    def __init__(self, link: str):
        parts = urlsplit(link)
        try:
            port = parts.port or 80
        except ValueError:
            port = 0
        if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost") or not port:
            raise UsageError(
                f"{link.partition('#')[0]} is not the address of a server of this machine, http://127.0.0.1:PORT; give "
                "the link that descry serve printed"
            )
        self.code = parse_qs(parts.fragment).get("token", [""])[0]
        if not self.code:
            raise UsageError(
                f"{link} holds no token; give the whole link that descry serve printed for scripts, with #token=…"
            )
        self.host, self.port, self.cookie = f"{parts.hostname}:{port}", port, ""

    def send(self, method: str, path: str, data: bytes | None, kind: str) -> Any:
        """One request below /api/v1; what was answered. Raises ServerRefused."""
        if not self.cookie:
            self._ask("POST", "/login", json.dumps({"token": self.code}).encode(), "application/json")
        return self._ask(method, path, data, kind)

    def _ask(self, method: str, path: str, data: bytes | None, kind: str) -> Any:
        headers = {"Host": self.host, "Origin": f"http://{self.host}", "Content-Type": kind, "Cookie": self.cookie}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, "/api/v1" + quote(path, "/?=&:,"), data, headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServerRefused(
                f"http://{self.host} does not answer ({error}); is descry serve running?", "server_gone", 0
            ) from None
        finally:
            connection.close()
        if 300 <= answer.status < 400:
            raise ServerRefused(f"http://{self.host} sends elsewhere; that is not descry serve", "server_gone", 0)
        self.cookie = (answer.headers.get("Set-Cookie") or self.cookie).partition(";")[0]
        told = answer.headers
        return _said(answer.status, told.get("Content-Type", ""), told.get("Content-Disposition", ""), body)

    def upload(self, data: bytes) -> Any:
        """Send a picture; its asset."""
        return self.send("POST", "/assets", *_form(data))

    def close(self) -> None:
        """Nothing is held."""


class Here:
    """A gallery in this process: the same handlers, asked without a network."""

    def __init__(self, folder: Path, model: Any):
        import asyncio

        from ..gallery import Gallery
        from .app import create_app
        from .desk import Desk
        from .tokens import Tokens

        self.gallery = Gallery.open(folder, model)
        self.tokens = Tokens(b"here" * 8)
        self.desk = Desk(self.gallery)
        self.app = create_app(self.desk, self.tokens, lambda: frozenset({"here"}), warm=False)
        self.loop = asyncio.new_event_loop()

    def send(self, method: str, path: str, data: bytes | None, kind: str) -> Any:
        """One request below /api/v1; what was answered. Raises ServerRefused."""
        status, kinds, body = self.loop.run_until_complete(self._ask(method, path, data or b"", kind))
        if status == 429:
            import time

            time.sleep(1)  # the pace is that of a person at a page; a script waits
            return self.send(method, path, data, kind)
        return _said(status, *kinds, body)

    async def _ask(self, method: str, path: str, data: bytes, kind: str) -> tuple[int, tuple[str, str], bytes]:
        where, _, query = path.partition("?")
        headers = {"host": "here", "authorization": f"Bearer {self.tokens.make()}", "content-type": kind}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
            "path": f"/api/v1{where}", "raw_path": f"/api/v1{where}".encode(),
            "query_string": query.encode(), "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in (headers | {"content-length": str(len(data))}).items()],
        }  # fmt: skip
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        told = {k.lower(): v.decode() for k, v in said[0]["headers"]}
        kinds = told.get(b"content-type", ""), told.get(b"content-disposition", "")
        return said[0]["status"], kinds, b"".join(m.get("body", b"") for m in said[1:])

    def upload(self, data: bytes) -> Any:
        """Send a picture; its asset."""
        return self.send("POST", "/assets", *_form(data))

    def close(self) -> None:
        """Release the gallery."""
        self.desk.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.gallery.close()
