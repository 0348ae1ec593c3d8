"""Who may ask: hosts, origins, tokens, sizes, times, paths, and what a refusal never says."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from dataclasses import replace

import pytest

from descry.web.desk import WorkQueue
from descry.web.limits import LIMITS
from descry.web.safety import Safety, Tokens

from .in_process import HOST, HOSTS, Server, ask, png, upload

FOREIGN = [
    "http://evil.com",
    "null",
    "https://127.0.0.1:8642",
    "http://127.0.0.1:9",
    "http://localhost.evil.com",
    "http://127.0.0.1",
    "",
]
NAMES = [
    "evil.com",
    "evil.com:8642",
    "127.0.0.1",
    "127.0.0.1:80",
    "localhost:8642.evil.com",
    "[::1]:8642",
    "0.0.0.0:8642",
    "",
]
WAYS = [
    "..",
    "../..",
    "%2e%2e",
    "%2e%2e%2f",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "C:\\",
    "C:%5cWindows",
]
WAYS += [
    "%5c%5chost%5cshare",
    "a%00b",
    "%00",
    ".",
    "...",
    "....//",
    "file:///etc/passwd",
    "~",
    "%252e%252e%252f",
    "con",
    "١",
]
PATHS = [
    "/api/v1/galleries/{}",
    "/api/v1/galleries/{}/facets",
    "/api/v1/galleries/{}/items/1/image",
    "/api/v1/galleries/gallery/items/{}",
    "/api/v1/galleries/gallery/items/{}/thumb",
    "/api/v1/inquiries/{}",
    "/api/v1/inquiries/{}/rounds/1",
    "/api/v1/assets/{}",
    "/static/{}",
    "/static/{}/index.html",
    "/{}",
]
OPEN = {"/healthz", "/readyz", "/api/v1/login"}


def operations(server: Server) -> list[tuple[str, str]]:
    paths = server.app.app.openapi()["paths"]
    return [(method.upper(), path) for path, row in paths.items() for method in row]


def cookie(server: Server) -> str:
    """The cookie that the login gives."""
    return f"descry_8642={server.tokens.make('descry_8642')}"


def filled(path: str) -> str:
    values = {"gallery": "gallery", "item": "1", "inquiry": "0" * 16, "number": "1", "asset": "0" * 64, "job": "0" * 16}
    return path.format(**values)


def test_every_route_is_refused_without_with_a_wrong_and_with_an_expired_token(server):
    old, jar = server.tokens.make(), cookie(server)
    server.now += 12 * 3600 + 1
    shown = {
        "missing": {},
        "wrong": {"Authorization": "Bearer 66f0c3a1." + "0" * 64},
        "expired": {"Authorization": f"Bearer {old}"},
    }
    jars = {"wrong": "descry_8642=abc.def", "expired": jar}
    tried = 0
    for method, path in operations(server):
        if path in OPEN:
            continue
        for state, headers in shown.items():
            for given in ({}, {"Cookie": jars[state]}) if state in jars else ({},):
                sent = given or headers
                same = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{HOST}"}
                answer = server.client(**same, **sent).request(method, filled(path))
                assert (answer.status_code, answer.json()["code"]) == (401, f"token_{state}"), (method, path)
                tried += 1
    assert tried > 100
    assert server.client().get("/api/openapi.json").status_code == 401


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_origins_change_nothing_and_read_nothing(server, origin):
    jar = {"Cookie": cookie(server), "Origin": origin}
    for method, path in operations(server):
        if method in ("POST", "PUT", "DELETE"):
            answer = server.client(**jar).request(method, filled(path), json={})
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin"), (method, path, origin)
            assert "access-control-allow-origin" not in answer.headers
    assert server.client(**jar).get("/api/v1/inquiries").status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_are_refused_even_without_an_origin(server, site):
    for method, path in operations(server):
        if path.startswith("/api"):
            headers = {"Cookie": cookie(server), "Sec-Fetch-Site": site}
            assert server.client(**headers).request(method, filled(path)).status_code == 403, (method, path)
    assert server.client(**{"Sec-Fetch-Site": site}).get("/").status_code == 200, "a link to the page may be followed"


def test_a_cookie_alone_changes_nothing(server):
    answer = server.client(Cookie=cookie(server)).post("/api/v1/inquiries", json={})
    assert answer.status_code == 403
    page = {"Cookie": cookie(server), "Sec-Fetch-Site": "same-origin"}
    assert server.client(**page).post("/api/v1/inquiries", json={}).status_code == 201


@pytest.mark.parametrize("shown", ["Basic eDp5", "Digest x", "bearer", "x", ""])
def test_a_cookie_beside_another_authorization_changes_nothing(server, shown):
    """Browsers send "Basic" for http://name:word@127.0.0.1: it is no token, and says nothing of who asks."""
    for method, path in operations(server):
        if method in ("POST", "PUT", "DELETE"):
            answer = server.client(Cookie=cookie(server), Authorization=shown).request(method, filled(path), json={})
            if path not in OPEN or shown != "bearer":
                assert answer.status_code in (401, 403), (method, path, shown, answer.status_code)


def test_the_token_of_a_script_is_no_cookie(server):
    assert server.client(Cookie=f"descry_8642={server.token}").get("/api/v1/inquiries").status_code == 401


@pytest.mark.parametrize("host", NAMES)
def test_names_that_were_rebound_get_nowhere(server, host):
    for path in ("/", "/healthz", "/api/v1/inquiries", "/static/main.js"):
        answer = server.client(Host=host, Authorization=f"Bearer {server.token}").get(path)
        assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")


def test_both_of_its_own_names_are_answered(server):
    for host in HOSTS:
        assert server.client(Host=host).get("/healthz").text == "alive"


def test_paths_lead_nowhere(client):
    outside = b"root:"
    tried = 0
    for path in PATHS:
        for way in WAYS:
            answer = client.get(path.format(way))
            assert answer.status_code in (200, 400, 404, 405, 422), (path, way, answer.status_code)
            assert outside not in answer.content
            if answer.status_code == 200:
                assert way in (".", "..", "../.."), (path, way)  # taken away by the client already
            tried += 1
    assert tried >= 100


def test_the_login_gives_a_cookie_that_scripts_cannot_read(server):
    own = {"Origin": f"http://{HOST}"}
    made = server.client(**own).post("/api/v1/login", json={"token": server.token})
    assert made.status_code == 204
    cookie = made.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    value = cookie.split(";")[0].split("=", 1)[1]
    assert server.client(Cookie=f"descry_8642={value}").get("/api/v1/inquiries").status_code == 200
    wrong = server.client(**own).post("/api/v1/login", json={"token": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "token_wrong")
    assert (
        server.client(**own, Cookie=f"descry_8642={value}")
        .post("/api/v1/logout")
        .headers["set-cookie"]
        .startswith("descry_8642=;")
    )


def test_a_cookie_in_use_is_renewed(server):
    jar = cookie(server)
    server.now += 3600
    answer = server.client(Cookie=jar).get("/api/v1/inquiries")
    assert answer.status_code == 200
    assert answer.headers["set-cookie"].startswith("descry_8642=")
    server.now += 11.5 * 3600
    assert server.client(Cookie=jar).get("/api/v1/inquiries").status_code == 401


def test_servers_of_one_host_have_cookies_of_their_own(server):
    """A browser sends the cookies of a host to all its ports."""
    other = Safety(None, Tokens(b"o" * 32), lambda: frozenset({"127.0.0.1:9000", "localhost:9000"}))
    both = f"{other.cookie().split(';')[0]}; {cookie(server)}"
    answer = server.client(Cookie=both).get("/api/v1/inquiries")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert server.client(Cookie=f"descry_9000={server.token}").get("/api/v1/inquiries").status_code == 401


def test_every_answer_carries_the_headers(server):
    for path in ("/", "/static/main.js", "/healthz", "/api/v1/inquiries", "/nothing"):
        headers = server.client().get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
        assert "unsafe" not in headers["content-security-policy"]


def test_limits_hold_at_n_and_n_plus_one(client, server, inquiry):
    def said(**body):
        return client.post(f"/api/v1/inquiries/{inquiry}/rounds", json=body).status_code

    assert said(phrases=[{"text": "x" * 1000}]) == 201
    assert said(phrases=[{"text": "x" * 1001}]) == 422
    assert said(phrases=[{"text": f"hat {i}"} for i in range(32)]) == 201
    assert said(phrases=[{"text": f"hat {i}"} for i in range(33)]) == 422
    assert said(phrases=[{"text": "hat", "weight": 2.0}]) == 201
    assert said(phrases=[{"text": "hat", "weight": 2.0001}]) == 422
    assert said(phrases=[{"text": "hat"}], liked=list(range(501))) == 422
    pages = f"/api/v1/inquiries/{inquiry}/rounds/1/results"
    assert client.get(pages, params={"limit": 200}).status_code == 200
    assert client.get(pages, params={"limit": 201}).status_code == 422
    assert client.post("/api/v1/inquiries", content=b" " * 1_000_001).status_code == 413


def test_uploads_are_refused_before_they_are_read(client, server):
    most = server.desk.limits.upload_bytes
    big = client.post("/api/v1/assets", files={"file": ("a.png", png() + b"\0" * (most - len(png()) + 1))})
    assert (big.status_code, big.json()["code"]) == (413, "too_many_bytes")
    fits = client.post("/api/v1/assets", files={"file": ("a.png", png() + b"\0" * (most - len(png())))})
    assert fits.status_code == 201
    claimed = client.post("/api/v1/assets", content=b"", headers={"Content-Length": str(most * 2)})
    assert claimed.status_code == 413
    for data, status, code in (
        (b"%PDF-1.7", 415, "format"),
        (b"", 415, "format"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, 415, "format"),
    ):
        answer = client.post("/api/v1/assets", files={"file": ("a.png", data)})
        assert (answer.status_code, answer.json()["code"]) in ((status, code), (422, "corrupt"))
    wide = client.post("/api/v1/assets", files={"file": ("a.png", png(size=(8193, 8)))})
    assert (wide.status_code, wide.json()["code"]) == (422, "too_many_pixels")


def test_a_slow_sender_is_sent_away_and_a_long_body_is_not_kept(folder):
    server = Server(folder, request_seconds=0.05)
    taken = 0

    async def slow():
        await asyncio.sleep(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def endless():
        nonlocal taken
        taken += 65536
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    for receive, status in ((slow, 408), (endless, 413)):
        assert asyncio.run(spoken(server, receive)) == status
    assert taken < 2 * server.desk.limits.json_bytes
    server.desk.close()
    server.gallery.close()


async def spoken(server: Server, receive) -> int:
    said = []
    headers = {"host": HOST, "authorization": f"Bearer {server.token}", "content-type": "application/json"}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": "/api/v1/inquiries",
        "raw_path": b"/api/v1/inquiries", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip

    async def send(message):
        said.append(message)

    await server.app(scope, receive, send)
    return said[0]["status"]


def test_too_often_and_too_many_are_told_when_to_come_back(client, server, inquiry, monkeypatch):
    server.desk._tokens = 1.0
    no_more = replace(server.desk.limits, searches_per_minute=0)  # however slow the machine
    monkeypatch.setattr(server.desk, "limits", no_more)
    ask = {"phrases": [{"text": "hat"}]}
    answers = [client.post(f"/api/v1/inquiries/{inquiry}/rounds", json=ask) for _ in range(3)]
    assert [a.status_code for a in answers][-1] == 429
    assert answers[-1].headers["retry-after"] == "1"
    server.desk.searches.waiting = server.desk.limits.queue
    full = client.get("/api/v1/inquiries")
    server.desk.searches.waiting = 0
    assert (full.status_code, full.json()["code"]) == (503, "busy")
    assert full.headers["retry-after"] == "2"


def test_pictures_are_decoded_few_at_a_time_and_wait_in_a_line(client, server, inquiry):
    item = "/api/v1/galleries/gallery/items/1"

    def asked():
        return [
            client.post("/api/v1/assets", files={"file": ("a.png", png(), "image/png")}),
            client.get(f"{item}/thumb"),
            client.get(f"{item}/image"),
            client.post(f"{item}/asset"),
        ]

    server.desk.pictures.waiting = server.desk.limits.queue
    for full in asked():
        assert (full.status_code, full.json()["code"]) == (503, "busy")
        assert full.headers["retry-after"] == "2"
    assert client.get("/api/v1/inquiries").status_code == 200, "searches have a line of their own"
    server.desk.pictures.waiting = 0
    assert [a.status_code for a in asked()] == [201, 200, 200, 201]
    assert "descry_refused_busy_total 4" in client.get("/api/v1/metrics").text


def test_a_line_works_on_so_many_at_once_and_no_more():
    pair, guard, now, most = threading.Barrier(2, timeout=20), threading.Lock(), 0, 0

    def work(number):
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        pair.wait()
        with guard:
            now -= 1
        pair.wait()
        return number

    async def many():
        line = WorkQueue("pictures", 2, replace(LIMITS, queue=6))
        answers = await asyncio.gather(*(line.do(work, n) for n in range(7)), return_exceptions=True)
        line.close()
        return answers, line

    answers, line = asyncio.run(many())
    assert answers[:6] == list(range(6))
    assert (answers[6].status, answers[6].code, line.refused, line.waiting) == (503, "busy", 1, 0)
    assert most == 2


def test_no_refusal_shows_a_path_or_a_trace(client, server, inquiry, folder, monkeypatch):
    (folder / "absence.json").write_text("{broken")
    client.post(f"/api/v1/inquiries/{inquiry}/rounds", json={"phrases": [{"text": "hat"}]})
    answer = client.get(f"/api/v1/inquiries/{inquiry}/absence")
    assert answer.status_code == 200
    assert "uncalibrated: absence.json cannot be read" in answer.text
    assert str(folder) not in answer.text

    def broken(*args):
        raise RuntimeError(f"secret {folder}")

    monkeypatch.setattr(server.desk, "names", broken)
    answer = client.get("/api/v1/inquiries")
    assert answer.status_code == 500
    assert answer.json()["code"] == "failed"
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_another_way_to_search_is_told_until_something_is_indexed(server, client, folder):
    from descry.gallery.local import LocalStore

    def told() -> bool:
        return "changed since this gallery was last indexed" in client.get("/api/v1/galleries/gallery").json()["note"]

    model = server.gallery.model
    model.search_fingerprint = "b" * 64
    server.gallery.store.note_search("a" * 64)
    assert told()
    other = LocalStore(folder)  # as in a job, or another process
    other.note_search(model.search_fingerprint)
    other.close()
    assert not told()


def test_a_missing_model_leaves_browsing_and_says_so(folder):
    from descry.gallery import Gallery

    server = Server(folder)
    server.gallery.close()
    server.gallery = server.desk.gallery = Gallery.open(folder)
    with server.client(Authorization=f"Bearer {server.token}") as client:
        told = client.get("/api/v1/galleries/gallery").json()
        assert told["ready"] is False
        assert told["trouble_code"] in ("model_missing", "model_refused")
        assert str(folder) not in json.dumps(told)
        assert client.get("/api/v1/galleries/gallery/items").status_code == 200
        refused = client.post("/api/v1/inquiries", json={})
        assert refused.status_code == 503
        assert refused.json()["code"] in ("model_missing", "model_refused")
    server.gallery.close()


def test_nothing_is_asked_of_any_other_machine(client, inquiry, monkeypatch):
    """No address is looked up and no connection opened, whatever a request names."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"a connection was tried: {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    made = ask(client, inquiry, "http://evil.com/a.png", sketches=[{"asset": upload(client)}])
    item = made["results"]["leads"][0]["item"]["id"]
    assert client.get(f"/api/v1/galleries/gallery/items/{item}/thumb").status_code == 200
    assert client.get(f"/api/v1/inquiries/{inquiry}/question").status_code == 200
    assert client.post("/api/v1/assets", json={"url": "http://evil.com/a.png"}).status_code == 422


def test_the_description_says_how_to_ask(server):
    """Names that a generated client can bear, where the server is, and what lets one in."""
    described = server.app.app.openapi()
    names = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names), names
    assert described["servers"] == [{"url": "/"}]
    assert described["security"] == [{"token": []}]
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    unlocked = {p for p, path in described["paths"].items() if any(o.get("security") == [] for o in path.values())}
    assert unlocked == set(OPEN)


def test_every_refusal_names_its_request(server):
    client = server.client(Authorization=f"Bearer {server.tokens.make()}")
    refused = [
        client.get("/api/v1/inquiries/" + "0" * 16),  # of descry
        client.post("/api/v1/inquiries", json={"name": 5}),  # of the shape
        client.get("/api/v1/nothing"),  # of the routes
        server.client(Host="elsewhere:80").get("/api/v1/galleries"),  # of the outer layer
    ]
    assert [answer.status_code for answer in refused][:3] == [404, 422, 404]
    for answer in refused:
        assert answer.status_code >= 400
        assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert len({answer.json()["request_id"] for answer in refused}) == len(refused)


def test_limits_that_are_counts_are_whole_numbers(server):
    client = server.client(Authorization=f"Bearer {server.tokens.make()}")
    limits = client.get("/api/v1/about").json()["limits"]
    assert limits
    counts = [name for name in limits if not name.endswith(("_seconds", "_hours"))]  # the others are durations
    assert "upload_bytes" in counts
    assert {type(limits[name]) for name in counts} == {int}
