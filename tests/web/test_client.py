"""The same calls on a gallery here and on a server."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from descry.client import Client, ServerRefused
from descry.errors import DescryError, UsageError
from descry.gallery import Gallery
from descry.query import Filters, Part, Query
from descry.web.app import create_app
from descry.web.desk import Desk
from descry.web.safety import Tokens
from served import toy_model

from .in_process import png


@pytest.fixture(params=["here", "there"])
def client(request: pytest.FixtureRequest, folder: Path) -> Iterator[Client]:
    if request.param == "here":
        with Client(folder, toy_model()) as made:
            yield made
        return
    gallery = Gallery.open(folder, toy_model())
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    tokens = Tokens(b"x" * 32)
    app = create_app(Desk(gallery), tokens, lambda: frozenset({address}))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield Client(f"http://{address}/#token={tokens.make()}")
    server.should_exit = True
    thread.join(10)
    listener.close()
    gallery.close()


def test_a_conversation(client: Client, tmp_path: Path) -> None:
    sketch = tmp_path / "sketch.png"
    sketch.write_bytes(png(2))
    first = client.ask(
        Query(sketches=sketch, wanted=("red jacket", Part("hat", 0.5)), filters=Filters(cameras=("north gate",)))
    )
    assert first["considered"] == 24
    second = client.refine("no backpack")
    assert [p["text"] for p in second["query"]["unwanted"]] == ["backpack"]
    assert second["query"]["sketches"] == first["query"]["sketches"]
    assert second["query"]["filters"]["cameras"] == ["north gate"]
    third = client.mark(like=[second["results"]["leads"][3]["item"]["id"]])
    top = third["results"]["leads"][0]["item"]["id"]
    assert third["query"]["liked"] == [top]
    assert len(client.leads(3, 24)) == 24
    assert client.why(3, top)["rank"] == 1
    assert client.undo()["number"] == 2
    assert client.redo()["number"] == 3
    assert client.go(1)["number"] == 1
    question = client.question()
    assert question
    assert client.answer(question["key"], "unknown")["parent"] == 1
    assert client.closest(client.leads(1)[1]["item"]["id"])["number"] == 5
    assert "uncalibrated" in client.absence()
    assert len(client.tree()["rounds"]) == 5
    assert client.gallery()["items"] == 72
    assert client.open("inquiry")["head"] == 5


def test_the_account(client: Client) -> None:
    first = client.ask(Query(wanted="red jacket"))["results"]["leads"][0]["item"]["id"]
    client.find(first, "worth following", "same bag", 1)
    client.find(5, "set aside")
    client.unfind(5)
    assert [(f["id"], f["note"]) for f in client.findings()] == [(first, "same bag")]
    report = json.loads(client.report("json", redact_paths=True))
    assert [f["item"] for f in report["findings"]] == [first]
    assert client.report("html").lower().startswith(b"<!doctype html>")
    assert client.keep_until("2027-01-31")["keep_until"] == "2027-01-31"
    head = client.account()["head"]
    assert client.account(head)["ok"]
    assert client.purge()["inquiries"] == 1
    with pytest.raises(ServerRefused, match="no such inquiry"):
        client._call("GET", "/inquiries/" + "0" * 16)


def test_indexing_on_a_server_names_no_path(client: Client) -> None:
    assert client.folders()["folders"] == []
    with pytest.raises(ServerRefused) as refused:
        client.index("0" * 24, camera="dirname")
    assert refused.value.status == 404
    with pytest.raises(ServerRefused):
        client.job("0" * 16, "stopped")
    assert client.skipped()["total"] == 0


def test_refusals_keep_their_code(client: Client) -> None:
    with pytest.raises(ServerRefused) as refused:
        client.ask(Query())
    assert (refused.value.code, refused.value.status) == ("empty_query", 422)
    with pytest.raises(UsageError, match="inquiry"):
        client.open("inquiri")
    with pytest.raises(UsageError, match="nothing to search for"):
        client.refine("and the")


def test_a_link_without_a_token_is_no_link() -> None:
    with pytest.raises(UsageError, match="token"):
        Client("http://127.0.0.1:8642/")
    with pytest.raises(ServerRefused, match="does not answer"):
        Client("http://127.0.0.1:9/#token=x").gallery()


def test_both_give_the_same_leads(folder: Path) -> None:
    query = Query(wanted="red jacket", unwanted="hat")
    with Client(folder, toy_model()) as client:
        over_http = [lead["item"]["id"] for lead in client.ask(query)["results"]["leads"]]
    with Gallery.open(folder, toy_model()) as gallery:
        assert list(gallery.search(query, k=50).ids) == over_http


def test_looking_at_items(client: Client) -> None:
    assert [item["id"] for item in client.items(after=2, count=3)] == [3, 4, 5]
    assert client.item(1)["footage"] is None
    assert {"before", "after", "track"} == set(client.near(1, 2))
    with Image.open(io.BytesIO(client.picture(1))) as whole, Image.open(io.BytesIO(client.picture(1, 96))) as small:
        assert (whole.format, small.format) == ("JPEG", "JPEG")
        assert small.height <= whole.height
    for refused in (client.frame, client.video):
        with pytest.raises(ServerRefused, match="was not cut from footage") as caught:
            refused(1)
        assert caught.value.status == 404
    assert [camera["count"] for camera in client.facets()["cameras"]] == [24, 24, 24]
    assert client.about()["limits"]
    first = client.ask(Query(wanted="red jacket"))
    assert client.round(1)["results"] == first["results"]
    second = client.example(5)
    assert len(second["query"]["photos"]) == 1
    assert [p["text"] for p in second["query"]["wanted"]] == ["red jacket"]
    assert [step["number"] for step in client.delete_round(2)["rounds"]] == [1]
    assert [row["name"] for row in client.inquiries()] == ["inquiry"]
    assert client.contents()["rounds"][0]["number"] == 1
    assert client.would_purge()["rounds"] == 1
    assert client.purge_pending() == {"pending": False}
    assert client.jobs() == []


def test_the_client_can_ask_whatever_the_page_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method is called once, answered or refused; what the API offers beyond that has a reason."""
    needs = {
        "query": Query(wanted="red jacket"), "known": {}, "item": 1, "number": 1, "name": "inquiry", "text": "hat",
        "picture": png(1), "verdict": "set aside", "key": "x", "said": "yes", "folder": "0" * 24, "day": None,
    }  # fmt: skip
    asked: set[tuple[str, str]] = set()
    with Client(folder, toy_model()) as client:
        send = client._link.send

        def noted(method: str, path: str, *more: Any) -> Any:
            asked.add((method, path.partition("?")[0]))
            return send(method, path, *more)

        monkeypatch.setattr(client._link, "send", noted)
        client.ask(needs["query"])
        methods = {n: m for n, m in inspect.getmembers(client, inspect.ismethod) if n[0] != "_"}
        methods["purge"] = methods.pop("purge")  # last
        for name, method in methods.items():
            if name == "close":
                continue
            parameters = inspect.signature(method).parameters
            kinds = {"job": [("0" * 16, s) for s in ("", "running", "stopped")], "purge_pending": [(False,), (True,)]}
            kinds |= {"picture": [(1,), (1, 96)]}
            plain = tuple(needs[p] for p, v in parameters.items() if v.default is v.empty and v.kind != v.VAR_KEYWORD)
            for values in kinds.get(name, [plain]):
                with contextlib.suppress(DescryError):
                    method(*values)
        offered = client._link.app.app.openapi()["paths"]
    missing = set()
    for path, methods in offered.items():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$")
        for method in methods:
            if not any(m.lower() == method and pattern.match(f"/api/v1{p}") for m, p in asked):
                missing.add((method.upper(), path.removeprefix("/api/v1")))
    assert missing == {
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),  # for whoever runs a server
        ("POST", "/login"), ("POST", "/logout"), ("GET", "/index-jobs/{job}/events"),  # of a browser; see `job`
        ("GET", "/assets/{asset}"),  # what was uploaded
        ("GET", "/galleries/{gallery}"),  # see `gallery`
        ("GET", "/figure"),  # the vocabulary, which is descry.drawing's
        ("PUT", "/inquiries/{inquiry}/marks/{item}"), ("DELETE", "/inquiries/{inquiry}/marks/{item}"),  # see `mark`
    }  # fmt: skip
