"""`Client`: the same methods for a gallery in this process and for a gallery behind a server.

    >>> from descry.client import Client                                   # doctest: +SKIP
    >>> with Client("gallery/") as here:                                   # doctest: +SKIP
    ...     first = here.ask(Query(wanted="red jacket"))
    ...     second = here.refine("no backpack")
    >>> there = Client("http://127.0.0.1:8642/#token=…")                   # doctest: +SKIP

Rounds, leads and refusals are the API's own values (see docs/api.md), so that a script does not care where it runs.
"""

from __future__ import annotations

import http.client
import io
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from .errors import DescryError, UsageError
from .query import Query
from .safe_files import json_of

__all__ = ["Client", "ServerRefused"]


class ServerRefused(DescryError):
    """A server said no: `code` is the API's, `status` its HTTP status."""

    def __init__(self, message: str, code: str, status: int):
        super().__init__(message)
        self.code, self.status = code, status


STRANGE = "the answer is none of descry serve; is another program at that port?"


def _said(status: int, kind: str, attached: str, data: bytes) -> Any:
    """What an answer holds: values of JSON, or the bytes of a file (an attachment, or of a type that is not JSON)."""
    if status == 204 or not data:
        return None
    if attached.startswith("attachment") or "json" not in kind:
        return data
    try:
        said = json_of(data)
    except ValueError:
        raise ServerRefused(STRANGE, "server_gone", status) from None
    if status >= 400:
        said = said if isinstance(said, dict) else {}
        raise ServerRefused(str(said.get("detail", STRANGE)), str(said.get("code", "failed")), status)
    return said


class Http:
    """A server of this machine, by its link. It uses no proxy and follows no redirect: nothing leaves the machine.

    The code of the link is exchanged for a cookie with the first request; a script's token is taken as well.
    """

    def __init__(self, link: str):
        try:
            parts = urlsplit(link)
            port = parts.port or 80
        except ValueError:
            parts, port = urlsplit(""), 0
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
            if not self.cookie.startswith(f"descry_{self.port}="):
                self.cookie = ""
                raise ServerRefused(STRANGE, "server_gone", 0)
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

    def close(self) -> None:
        """Nothing is held."""


class Here:
    """A gallery in this process: the same handlers, asked without a network."""

    def __init__(self, folder: Path, model: Any):
        import asyncio

        from .gallery import Gallery
        from .web.app import create_app
        from .web.desk import Desk
        from .web.safety import Tokens

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

    def close(self) -> None:
        """Release the gallery."""
        self.desk.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.gallery.close()


class Client:
    """One inquiry in one gallery. where: a gallery folder, or the link that descry serve printed.

    model: another way to the gallery's model (folders only). name: of the inquiry that is begun with the first round.
    Everything returns plain values: a round is the dict that the API calls RoundOut.
    """

    def __init__(self, where: str | Path, model: Any = None, name: str = "inquiry"):
        self.name, self.inquiry = name, ""
        self._link = Http(str(where)) if str(where).startswith(("http://", "https://")) else Here(Path(where), model)

    # ------------------------------------------------------------------ asking

    def ask(self, query: Query) -> dict[str, Any]:
        """A round with this query. Pictures are read here and sent as pixels."""
        body: dict[str, Any] = {"liked": list(query.liked), "unliked": list(query.unliked)}
        body["as_drawn"] = query.as_drawn
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
            raise UsageError(f"found nothing to search for in {text!r}; name a garment, a colour or a thing")
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
        found = self._call("GET", f"/inquiries/{self._begun()}/question")["question"]
        return dict(found) if found else None

    def answer(self, key: str, said: str) -> dict[str, Any]:
        """A round after a question was answered "yes", "no" or "unknown"."""
        return self._call("POST", f"/inquiries/{self._begun()}/answers", {"key": key, "answer": said})

    def example(self, item: int) -> dict[str, Any]:
        """A round with the picture of an item added, as a photograph of somebody who looks alike."""
        inquiry = self._begun()
        body = self._held(inquiry)
        asset = self._call("POST", f"{self._item(item)}/asset")["id"]
        body["photos"] = [*body.get("photos", ()), {"asset": asset, "weight": 1.0, "on": True}]
        return self._call("POST", f"/inquiries/{inquiry}/rounds", body)

    # ------------------------------------------------------------------ looking

    def round(self, number: int) -> dict[str, Any]:
        """A round that was made, with its best leads."""
        return self._call("GET", f"/inquiries/{self._begun()}/rounds/{number}")

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

    def fits(self, number: int, cursor: str = "") -> dict[str, Any]:
        """Which phrases the leads of a page seem to fulfil: item → 1 (yes), -1 (no) or 0 for each of the phrases."""
        return self._call("GET", f"/inquiries/{self._begun()}/rounds/{number}/fits?cursor={cursor}")

    def figure(self, known: Mapping[str, str]) -> dict[str, Any]:
        """The line drawing (PNG in base64) and the phrases of what is remembered, such as {"top": "jacket"}."""
        return self._call("POST", "/figure", {"known": dict(known)})

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

    def delete_round(self, number: int) -> dict[str, Any]:
        """Take a round, with all made from it, out of the inquiry; what is left of it."""
        return self._call("DELETE", f"/inquiries/{self._begun()}/rounds/{number}")

    def absence(self) -> str:
        """What may be said about whether the person is in this gallery at all."""
        return str(self._call("GET", f"/inquiries/{self._begun()}/absence")["text"])

    def gallery(self) -> dict[str, Any]:
        """The gallery: how large, what its model can be asked, what must be said beside results."""
        return dict(self._call("GET", "/galleries")["galleries"][0])

    def facets(self) -> dict[str, Any]:
        """Cameras and days, with the number of items of each."""
        return self._call("GET", f"/galleries/{self._gallery()}/facets")

    def about(self) -> dict[str, Any]:
        """The version, the limits of a query, and whether the gallery is a demo."""
        return self._call("GET", "/about")

    def items(self, after: int = 0, count: int = 50) -> list[dict[str, Any]]:
        """Items by rising id, from the one after `after` on; at most 200."""
        path = f"/galleries/{self._gallery()}/items?cursor={after or ''}&limit={count}"
        return list(self._call("GET", path)["items"])

    def item(self, number: int) -> dict[str, Any]:
        """One item: camera, time, track, whether its file is there, and the footage that it was cut from."""
        return self._call("GET", self._item(number))

    def near(self, number: int, count: int = 4) -> dict[str, Any]:
        """What the same camera saw just before and after an item, and the rest of its track."""
        return self._call("GET", f"{self._item(number)}/near?count={count}")

    def picture(self, number: int, height: int = 0) -> bytes:
        """The crop as JPEG; height: in pixels, or the next size that is kept; 0 for the whole crop."""
        return self._file("GET", self._item(number) + (f"/thumb?h={height}" if height else "/image"))

    def frame(self, number: int) -> bytes:
        """The whole frame that an item was cut from, with its box, as JPEG."""
        return self._file("GET", f"{self._item(number)}/still")

    def video(self, number: int) -> bytes:
        """The video that an item was cut from, where browsers may play it; `item` says at which second."""
        return self._file("GET", f"{self._item(number)}/video")

    def inquiries(self) -> list[dict[str, Any]]:
        """All inquiries of the gallery, the oldest first."""
        return list(self._call("GET", "/inquiries")["inquiries"])

    def open(self, name: str) -> dict[str, Any]:
        """Go on with an inquiry that exists. Raises UsageError for an unknown name."""
        from .errors import nearest

        known = {row["name"]: row["id"] for row in self.inquiries()}
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
        mark = secrets.token_hex(16)
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
        return str(self._link.send("POST", "/assets", body, f"multipart/form-data; boundary={mark}")["id"])

    # ------------------------------------------------------------------ the account

    def find(self, item: int, verdict: str, note: str = "", number: int = 0) -> dict[str, Any]:
        """Say of an item that it is "worth following", or "set aside". number: the round it was seen in."""
        body = {"verdict": verdict, "note": note, "round": number}
        return self._call("PUT", f"/inquiries/{self._begun()}/findings/{item}", body)

    def unfind(self, item: int) -> None:
        """Take a finding back."""
        self._call("DELETE", f"/inquiries/{self._begun()}/findings/{item}")

    def findings(self) -> list[dict[str, Any]]:
        """What was found, by item."""
        return list(self._call("GET", f"/inquiries/{self._begun()}/findings")["findings"])

    def report(self, format: str = "json", blur_others: bool = False, redact_paths: bool = False) -> bytes:  # noqa: A002
        """The report as the bytes of an html, json or csv file. The account has a line that it was made."""
        body = {"format": format, "blur_others": blur_others, "redact_paths": redact_paths}
        return self._file("POST", f"/inquiries/{self._begun()}/reports", body)

    def contents(self) -> dict[str, Any]:
        """What a report of the inquiry would hold; no line is written."""
        return dict(self._call("GET", f"/inquiries/{self._begun()}/report")["report"])

    def keep_until(self, day: str | None) -> dict[str, Any]:
        """Set the last day the inquiry is kept, as 2027-01-31; None for no day."""
        return self._call("PATCH", f"/inquiries/{self._begun()}", {"keep_until": day})

    def would_purge(self) -> dict[str, Any]:
        """What a purge of the inquiry would remove for good."""
        return self._call("GET", f"/inquiries/{self._begun()}/purge")

    def purge_pending(self, finish: bool = False) -> dict[str, Any]:
        """Whether a purge was interrupted. finish: go on with it."""
        return self._call("POST" if finish else "GET", "/purge")

    def purge(self) -> dict[str, Any]:
        """Remove the inquiry for good; what went, and the head of the account."""
        gone = self._call("DELETE", f"/inquiries/{self._begun()}")
        self.inquiry = ""
        return gone

    def account(self, head: str = "") -> dict[str, Any]:
        """Whether the account is as it was written, also up to a head that was kept elsewhere."""
        return self._call("GET", f"/audit?head={head}")

    # ------------------------------------------------------------------ indexing on a server

    def folders(self, within: str = "") -> dict[str, Any]:
        """Folders that a server allows to be indexed, or what lies in one of them."""
        return self._call("GET", f"/galleries/{self._gallery()}/folders?within={within}")

    def preview(self, folder: str, **mapping: Any) -> dict[str, Any]:
        """How some of the files of a folder would be read. mapping: as of `index`."""
        body = {"folder": folder, "mapping": mapping}
        return self._call("POST", f"/galleries/{self._gallery()}/index-preview", body)

    def jobs(self) -> list[dict[str, Any]]:
        """Index jobs of this server."""
        return list(self._call("GET", "/index-jobs")["jobs"])

    def index(self, folder: str, dry: bool = False, **mapping: Any) -> dict[str, Any]:
        """Begin to index a folder of `folders`, by its id; the job. mapping: camera, time, track, pattern, table."""
        body = {"folder": folder, "mapping": mapping, "dry": dry}
        return self._call("POST", f"/galleries/{self._gallery()}/index-jobs", body)

    def job(self, number: str, state: str = "") -> dict[str, Any]:
        """How an index job stands. state: "paused" or "running", to let it pause or go on; "stopped", to end it."""
        path = f"/index-jobs/{number}"
        if state == "stopped":
            return self._call("DELETE", path)
        return self._call("PUT", f"{path}/state", {"state": state}) if state else self._call("GET", path)

    def skipped(self, count: int = 200) -> dict[str, Any]:
        """Files that could not be read, with reasons."""
        return self._call("GET", f"/galleries/{self._gallery()}/skipped?limit={count}")

    def close(self) -> None:
        """Release a gallery that was opened here."""
        self._link.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ------------------------------------------------------------------ machinery

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        return self._link.send(method, path, data, "application/json")  # type: ignore[no-any-return]

    def _file(self, method: str, path: str, body: Any = None) -> bytes:
        return self._call(method, path, body)  # type: ignore[return-value]

    def _gallery(self) -> str:
        return str(self.gallery()["id"])

    def _item(self, number: int) -> str:
        return f"/galleries/{self._gallery()}/items/{number}"

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
        pictures = {
            kind: [{"asset": p["sha256"], "weight": p["weight"], "on": p["on"]} for p in query[kind]]
            for kind in ("sketches", "photos")
        }
        phrases = [{**p, "wanted": True} for p in query["wanted"]] + [{**p, "wanted": False} for p in query["unwanted"]]
        filters = {name: query["filters"][name] for name in ("cameras", "since", "until", "marked")}
        return pictures | {"phrases": phrases, "filters": filters, "as_drawn": query.get("as_drawn", False)}
