"""The same conversation with a gallery here and with one that a server keeps: `Client` speaks to both.

    >>> from descry.client import Client                                   # doctest: +SKIP
    >>> with Client("gallery/") as here:                                   # doctest: +SKIP
    ...     first = here.ask(Query(wanted="red jacket"))
    ...     second = here.refine("no backpack")
    >>> there = Client("http://127.0.0.1:8642/#token=…")                   # doctest: +SKIP

Rounds, leads and refusals are the API's own values (see docs/api.md), so that a script does not care where it runs.
"""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from .errors import DescryError, UsageError
from .query import Query


class ServerRefused(DescryError):
    """A server said no: `code` is the API's, `status` its HTTP status."""

    def __init__(self, message: str, code: str, status: int):
        super().__init__(message)
        self.code, self.status = code, status


class Client:
    """One inquiry in one gallery. where: a gallery folder, or the link that descry serve printed.

    model: another way to the gallery's model (folders only). name: of the inquiry that is begun with the first round.
    Everything returns plain values: a round is the dict that the API calls RoundOut.
    """

    def __init__(self, where: str | Path, model: Any = None, name: str = "inquiry"):
        self.name, self.inquiry = name, ""
        self._link = _Http(str(where)) if str(where).startswith(("http://", "https://")) else _Here(Path(where), model)

    # ------------------------------------------------------------------ asking

    def ask(self, query: Query) -> dict[str, Any]:
        """A round with this query. Pictures are read here and sent as pixels."""
        body: dict[str, Any] = {"liked": list(query.liked), "unliked": list(query.unliked)}
        for kind in ("sketches", "photos"):
            body[kind] = [{"asset": self.upload(p.value), "weight": p.weight, "on": p.on} for p in getattr(query, kind)]
        body["phrases"] = [
            {"text": p.value, "wanted": wanted, "weight": p.weight, "on": p.on}
            for wanted, parts in ((True, query.wanted), (False, query.unwanted))
            for p in parts
        ]
        f = query.filters
        if f.path:
            raise UsageError("a filter over paths was given; a server knows none: filter by camera or time")
        times = {"since": f.since.isoformat() if f.since else None, "until": f.until.isoformat() if f.until else None}
        body["filters"] = {"cameras": list(f.cameras), "marked": f.marked} | times
        return self._call("POST", f"/inquiries/{self._begun()}/rounds", body)

    def refine(self, text: str, replace: bool = False) -> dict[str, Any]:
        """A round with what the text says added. replace: let new phrases stand for held ones they contradict."""
        inquiry = self._begun()
        held = self._held(inquiry)
        heard = self._call("POST", "/chips", {"text": text, "held": held["phrases"]})
        if not heard["chips"]:
            raise UsageError(f"nothing to look for was found in {text!r}; name a garment, a colour or a thing")
        gone = {c["text"] for c in heard["chips"]} | {c["old"]["text"] for c in heard["conflicts"] if replace}
        new = [{k: c[k] for k in ("text", "wanted", "weight", "on")} for c in heard["chips"]]
        held["phrases"] = [p for p in held["phrases"] if p["text"] not in gone] + new
        return self._call("POST", f"/inquiries/{inquiry}/rounds", held)

    def mark(self, like: Iterable[int] = (), unlike: Iterable[int] = (), clear: Iterable[int] = ()) -> dict[str, Any]:
        """A round with items liked, unliked, or neither any more."""
        body = {"like": list(like), "unlike": list(unlike), "clear": list(clear)}
        return self._call("POST", f"/inquiries/{self._begun()}/marks", body)

    def closest(self, item: int) -> dict[str, Any]:
        """A round after "of those shown, this one is the closest"."""
        return self._call("POST", f"/inquiries/{self._begun()}/closest", {"item": item})

    def question(self) -> dict[str, Any] | None:
        """The question most worth asking now, or None."""
        found: dict[str, Any] | None = self._call("GET", f"/inquiries/{self._begun()}/question")["question"]
        return found

    def answer(self, key: str, said: str) -> dict[str, Any]:
        """A round after a question was answered "yes", "no" or "unknown"."""
        return self._call("POST", f"/inquiries/{self._begun()}/answers", {"key": key, "answer": said})

    # ------------------------------------------------------------------ looking

    def leads(self, number: int, count: int = 50) -> list[dict[str, Any]]:
        """The best leads of a round, from the rows it was ranked among."""
        rows: list[dict[str, Any]] = []
        cursor = "0"
        while cursor and len(rows) < count:
            limit = min(200, count - len(rows))
            path = f"/inquiries/{self._begun()}/rounds/{number}/results?cursor={cursor}&limit={limit}"
            page = self._call("GET", path)
            rows += page["leads"]
            cursor = page["cursor"]
        return rows

    def why(self, number: int, item: int, against: int | None = None) -> dict[str, Any]:
        """What each part of the query gave to a lead's score, and to another's."""
        tail = "" if against is None else f"?against={against}"
        return self._call("GET", f"/inquiries/{self._begun()}/rounds/{number}/contributions/{item}{tail}")

    def tree(self) -> dict[str, Any]:
        """The inquiry with all its rounds."""
        return self._call("GET", f"/inquiries/{self._begun()}")

    def undo(self) -> dict[str, Any]:
        """Show the parent again."""
        return self._call("PUT", f"/inquiries/{self._begun()}/head", {"step": "undo"})

    def redo(self) -> dict[str, Any]:
        """Show the child last seen."""
        return self._call("PUT", f"/inquiries/{self._begun()}/head", {"step": "redo"})

    def go(self, number: int) -> dict[str, Any]:
        """Show any round; the next one begins a branch there."""
        return self._call("PUT", f"/inquiries/{self._begun()}/head", {"round": number})

    def absence(self) -> str:
        """What may be said about whether the person is in this gallery at all."""
        return str(self._call("GET", f"/inquiries/{self._begun()}/absence")["text"])

    def gallery(self) -> dict[str, Any]:
        """The gallery: how large, what its model can be asked, what must be said beside results."""
        found: dict[str, Any] = self._call("GET", "/galleries")["galleries"][0]
        return found

    def open(self, name: str) -> dict[str, Any]:
        """Go on with an inquiry that exists. Raises UsageError for an unknown name."""
        from .errors import nearest

        known = {row["name"]: row["id"] for row in self._call("GET", "/inquiries")["inquiries"]}
        if name not in known:
            raise UsageError(f"there is no inquiry {name!r}; {nearest(name, list(known))}")
        self.name, self.inquiry = name, known[name]
        return self.tree()

    def upload(self, picture: Any) -> str:
        """The asset id of a picture: path, bytes, PIL image or array."""
        from .images import UPLOAD, read

        if isinstance(picture, bytes):
            data = picture
        else:
            buffer = io.BytesIO()
            read(picture, UPLOAD).save(buffer, "PNG")
            data = buffer.getvalue()
        return str(self._link.upload(data)["id"])

    def close(self) -> None:
        """Release a gallery that was opened here."""
        self._link.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ------------------------------------------------------------------ machinery

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        return self._link.send(method, path, data, "application/json")

    def _begun(self) -> str:
        if not self.inquiry:
            self.inquiry = self._call("POST", "/inquiries", {"name": self.name})["id"]
        return self.inquiry

    def _held(self, inquiry: str) -> dict[str, Any]:
        """The query on show as a body; an empty one before the first round."""
        head = self._call("GET", f"/inquiries/{inquiry}")["head"]
        if not head:
            return {"phrases": []}
        query = self._call("GET", f"/inquiries/{inquiry}/rounds/{head}")["query"]
        f = query["filters"]
        return {
            "sketches": [{"asset": p["sha256"], "weight": p["weight"], "on": p["on"]} for p in query["sketches"]],
            "photos": [{"asset": p["sha256"], "weight": p["weight"], "on": p["on"]} for p in query["photos"]],
            "phrases": [
                {**p, "wanted": wanted} for wanted in (True, False) for p in query["wanted" if wanted else "unwanted"]
            ],
            "filters": {k: f[k] for k in ("cameras", "since", "until", "marked")},
        }


def _form(data: bytes) -> tuple[bytes, str]:
    """A multipart body with one file."""
    import secrets

    mark = secrets.token_hex(16)
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n\r\n'
    return head.encode() + data + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def _said(status: int, data: bytes) -> Any:
    if status == 204 or not data:
        return None
    said = json.loads(data)
    if status >= 400:
        raise ServerRefused(said.get("detail", "refused"), said.get("code", "failed"), status)
    return said


class _Http:
    """A server somewhere, by its link."""

    def __init__(self, link: str):
        parts = urlsplit(link)
        self.token = parse_qs(parts.fragment).get("token", [""])[0]
        if not self.token:
            raise UsageError(f"{link} holds no token; give the whole link that descry serve printed, with #token=…")
        self.base = f"{parts.scheme}://{parts.netloc}/api/v1"

    def send(self, method: str, path: str, data: bytes | None, kind: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        asked = urllib.request.Request(self.base + quote(path, "/?=&:,"), data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return _said(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _said(error.code, error.read())
        except OSError as error:
            raise ServerRefused(
                f"{self.base} does not answer ({error}); is descry serve running?", "server_gone", 0
            ) from None

    def upload(self, data: bytes) -> Any:
        return self.send("POST", "/assets", *_form(data))

    def close(self) -> None:
        pass


class _Here:
    """A gallery in this process: the same handlers, asked without a network."""

    def __init__(self, folder: Path, model: Any):
        import asyncio

        from .gallery import Gallery
        from .web.app import create_app
        from .web.desk import Desk
        from .web.tokens import Tokens

        self.gallery = Gallery.open(folder, model)
        self.tokens = Tokens(b"here" * 8)
        self.desk = Desk(self.gallery)
        self.app = create_app(self.desk, self.tokens, lambda: frozenset({"here"}), warm=False)
        self.loop = asyncio.new_event_loop()

    def send(self, method: str, path: str, data: bytes | None, kind: str) -> Any:
        status, body = self.loop.run_until_complete(self._ask(method, path, data or b"", kind))
        if status == 429:
            import time

            time.sleep(1)  # the pace is that of a person at a page; a script waits
            return self.send(method, path, data, kind)
        return _said(status, body)

    async def _ask(self, method: str, path: str, data: bytes, kind: str) -> tuple[int, bytes]:
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
        return said[0]["status"], b"".join(m.get("body", b"") for m in said[1:])

    def upload(self, data: bytes) -> Any:
        return self.send("POST", "/assets", *_form(data))

    def close(self) -> None:
        self.desk.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.gallery.close()
